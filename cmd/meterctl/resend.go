package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/cmd/meterctl/store"
	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/repair"
)

const takenUp = "a running plugin takes them up within 15 seconds, otherwise the next start does"

// dryRunFlag adds --dry-run.
func dryRunFlag(cmd *cobra.Command, to *bool) {
	cmd.Flags().BoolVar(to, "dry-run", false, "say what would be done, and change nothing")
}

// resend hands failed objects back for delivery.
func (a *app) resend() *cobra.Command {
	var at place
	var all, dryRun bool
	cmd := &cobra.Command{
		Use: "resend [flags] {KEY... | --all}", Short: "send objects that Amberflo did not take again", GroupID: acts, DisableFlagsInUseLine: true,
		Long: `resend sends objects of failed/ again, under fresh keys. Their records keep their uniqueId, so that what Amberflo had taken of
them already is not billed twice. Fix the cause first, such as a meter that is not defined at Amberflo.`,
		Example:           "  meterctl resend --all --dry-run\n  meterctl resend KEY",
		Annotations:       done(),
		ValidArgsFunction: completeFiles(&at, disk.Failed),
		RunE: func(_ *cobra.Command, keys []string) error {
			found, err := at.find()
			switch {
			case err != nil:
				return err
			case all && len(keys) > 0:
				return errors.New("want keys or --all, got both")
			case all:
				if keys, err = found.failed(); err != nil {
					return err
				}
			case len(keys) == 0:
				return errors.New("want keys or --all, got nothing; meterctl ls --long lists failed/")
			}
			return a.resendKeys(found, keys, dryRun)
		},
	}
	at.flags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "all objects of failed/")
	dryRunFlag(cmd, &dryRun)
	return cmd
}

func (a *app) resendKeys(at *spoolPlace, keys []string, dryRun bool) error {
	if dryRun {
		return a.wouldTake(at, keys, "would be sent again under a fresh key")
	}
	for _, key := range keys {
		fresh, err := repair.Resend(at.dir, strings.TrimPrefix(key, disk.Failed+"/"))
		if errors.Is(err, fs.ErrNotExist) && isThere(at.dir, disk.Open) {
			return fmt.Errorf("%w; meterctl ls --long lists them", err)
		}
		if err != nil {
			return at.explain(err)
		}
		fmt.Fprintf(a.out, "%s is sent again as %s\n", show.Plain(key), show.Plain(fresh))
	}
	fmt.Fprintf(a.out, "%s; %s\n", show.Number(len(keys), "object"), takenUp)
	return nil
}

// wouldTake says of objects of failed/ what would be done with them.
func (a *app) wouldTake(at *spoolPlace, keys []string, what string) error {
	files, err := at.files()
	if err != nil {
		return err
	}
	total := 0
	for _, key := range keys {
		f, ok := findFile(store.In(files, disk.Failed), at.dir, key)
		if !ok || !f.HasRecords() {
			return fmt.Errorf("want the key of an object in %s/, got %q; meterctl ls --long lists them", disk.Failed, key)
		}
		n, problems, gone, err := store.Records(at.dir, f, nil)
		if err == nil && gone {
			err = fmt.Errorf("%s is not there any more", key)
		}
		if err != nil {
			return err
		}
		total += n
		reason, _, _ := strings.Cut(store.ReasonOf(at.dir, f), "\n")
		if reason == "" {
			reason = "not known"
		}
		fmt.Fprintf(a.out, "%s %s: %s, %s; Amberflo's reason: %s\n", show.Plain(f.Key()), what, show.Number(n, "record"), show.Bytes(f.Bytes), show.Cut(reason, 200))
		for _, problem := range problems {
			fmt.Fprintln(a.out, " ", show.Plain(problem.String()))
		}
	}
	fmt.Fprintf(a.out, "dry run: nothing was changed; %s, %s\n", show.Number(len(keys), "object"), show.Number(total, "record"))
	return nil
}
