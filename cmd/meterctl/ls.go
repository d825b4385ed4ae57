package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/cmd/meterctl/store"
	"out_amberflo/plugin/disk"
)

// ls tells what a spool has: a line for each directory of it, or for each file.
func (a *app) ls() *cobra.Command {
	var at place
	var long, quick, asJSON bool
	cmd := &cobra.Command{
		Use: "ls [flags]", Short: "what is open, waits, was sent, failed, was rejected, is damaged", GroupID: looks, DisableFlagsInUseLine: true,
		Long: `ls tells how many files, bytes and records each directory of a spool has, and since when. With --long it names each file;
open/<uuid>.log:rejected is what a segment holds of rejected records.`,
		Example:           "  meterctl ls --store-dir /var/lib/fluent-bit/amberflo\n  meterctl ls -ln -c fluent-bit.conf",
		Annotations:       looked("records could not be read; meterctl check names them"),
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			return a.list(&at, long, quick, asJSON)
		},
	}
	at.flags(cmd)
	cmd.Flags().BoolVarP(&long, "long", "l", false, "a line for each file")
	cmd.Flags().BoolVarP(&quick, "no-count", "n", false, "do not count records, for which compressed objects have to be read")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// listed is a directory, or a file, of ls.
type listed struct {
	Path      string     `json:"path,omitempty"`
	Key       string     `json:"key,omitempty"`
	Directory string     `json:"directory"`
	Files     *int       `json:"files,omitempty"`
	Bytes     int64      `json:"bytes"`
	Records   *int       `json:"records"` // null: not counted
	Since     *time.Time `json:"since"`   // of a directory its oldest file's
}

func (a *app) list(where *place, long, quick, asJSON bool) error {
	at, err := where.find()
	if err != nil {
		return err
	}
	files, err := at.files()
	if err != nil {
		return err
	}
	bad := 0
	var rows []*listed
	totals := map[string]*listed{}
	for _, name := range disk.Dirs {
		totals[name] = &listed{Directory: name, Files: new(int), Records: new(int)}
		if !long {
			rows = append(rows, totals[name])
		}
		if quick {
			totals[name].Records = nil
		}
	}
	p := a.progress("count", store.SizeOf(files))
	defer p.End()
	for _, f := range files {
		row := &listed{Path: f.Path, Key: f.Key(), Directory: f.Dir, Bytes: f.Bytes, Since: show.OptionalTime(f.Modified)}
		sum := totals[row.Directory]
		if !quick {
			n, problems, gone, err := store.Records(at.dir, f, nil)
			if err != nil {
				return err
			}
			if p.Add(f.Bytes); gone {
				continue
			}
			bad += len(problems)
			row.Records = &n
			*sum.Records += n
		}
		if long {
			rows = append(rows, row)
		}
		if f.HasRecords() {
			*sum.Files++
		}
		sum.Bytes += f.Bytes
		if sum.Since == nil || f.Modified.Before(*sum.Since) {
			sum.Since = row.Since
		}
	}
	p.End()
	if asJSON {
		kind := "directories"
		if long {
			kind = "files"
		}
		err = show.JSON(a.out, map[string]any{"store_dir": at.dir, kind: append([]*listed{}, rows...), "problems": bad})
	} else {
		err = a.showListed(rows, long, bad)
	}
	if bad > 0 {
		return errors.Join(err, errProblems)
	}
	return err
}

func (a *app) showListed(rows []*listed, long bool, bad int) error {
	t := show.Table(a.out)
	if long {
		fmt.Fprintln(t, "FILE\tSIZE\tRECORDS\tCHANGED")
	} else {
		fmt.Fprintln(t, "DIRECTORY\tFILES\tSIZE\tRECORDS\tOLDEST")
	}
	for _, row := range rows {
		records, since := "-", "-"
		if row.Records != nil {
			records = fmt.Sprint(*row.Records)
		}
		if row.Since != nil {
			since = show.Ago(*row.Since)
		}
		if long {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", show.Plain(row.Path), show.Bytes(row.Bytes), records, since)
		} else {
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\n", row.Directory, *row.Files, show.Bytes(row.Bytes), records, since)
		}
	}
	if bad > 0 {
		fmt.Fprintf(t, "%s; meterctl check names them\n", show.Number(bad, "problem"))
	}
	return t.Flush()
}

// noArguments refuses arguments beside flags.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("want flags only, got %q", args[0])
	}
	return nil
}
