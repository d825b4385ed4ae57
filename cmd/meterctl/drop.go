package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/spool"
)

// drop deletes one failed object for good.
func (a *app) drop() *cobra.Command {
	var at place
	var why string
	var dryRun bool
	cmd := &cobra.Command{
		Use: "drop [flags] KEY --why TEXT", Short: "delete an object that Amberflo did not take, for good", GroupID: acts, DisableFlagsInUseLine: true,
		Long: `drop gives up an object of failed/: what is in it is never billed. The audit log, ` + spool.AuditLog + `, keeps who it was, why, and
how many records it had.`,
		Example:           "  meterctl drop KEY --why 'test records, ticket 812'",
		Annotations:       done(),
		ValidArgsFunction: completeFiles(&at, disk.Failed),
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return errors.New("want a key and --why TEXT, got no key; meterctl ls --long lists failed/")
			case len(args) > 1:
				return fmt.Errorf("want one key, got %q; a --why of several words stands in quotes", args)
			case strings.TrimSpace(why) == "":
				return errors.New("want a reason for whoever asks later, got none; set --why TEXT")
			}
			found, err := at.find()
			if err != nil {
				return err
			}
			if dryRun {
				return a.wouldTake(found, args, "would be deleted for good")
			}
			key := strings.TrimPrefix(args[0], disk.Failed+"/")
			if err := repair.Drop(found.dir, key, why); err != nil {
				return found.explain(err)
			}
			fmt.Fprintf(a.out, "%s is deleted; %s says why\n", show.Plain(key), spool.AuditLog)
			return nil
		},
	}
	at.flags(cmd)
	cmd.Flags().StringVar(&why, "why", "", "the reason, as `TEXT` for the audit log; required")
	dryRunFlag(cmd, &dryRun)
	return cmd
}
