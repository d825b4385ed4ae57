package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/cmd/meterctl/store"
	"out_amberflo/plugin/disk"
)

// cat prints the records of files.
func (a *app) cat() *cobra.Command {
	var at place
	var asJSON bool
	cmd := &cobra.Command{
		Use: "cat [flags] FILE...", Short: "the records of a file, one line of JSON each", GroupID: looks, DisableFlagsInUseLine: true,
		Long: `cat prints the records of files of a spool, one line of JSON each. FILE is a path as ls --long prints it, or an object key.
With --json each line is an object with the file and the record. Where a file is damaged, it prints what can be read.`,
		Example:           "  meterctl cat KEY | jq .customerId",
		Annotations:       looked("something of a file cannot be read, and was named on standard error"),
		ValidArgsFunction: completeFiles(&at, disk.Dirs...),
		RunE:              func(_ *cobra.Command, names []string) error { return a.printRecords(&at, names, asJSON) },
	}
	at.flags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) printRecords(where *place, names []string, asJSON bool) error {
	if len(names) == 0 {
		return errors.New("want a file, got none; meterctl ls --long lists them")
	}
	at, err := where.find()
	if err != nil {
		return err
	}
	files, err := at.files()
	if err != nil {
		return err
	}
	var chosen []store.File
	for _, name := range names {
		f, ok := findFile(files, at.dir, name)
		if !ok {
			return fmt.Errorf("want a file of %s, got %q; meterctl ls --long lists them", at.dir, name)
		}
		if !f.HasRecords() {
			return fmt.Errorf("want a file of records, got %s: look into it as it is", f.Path)
		}
		chosen = append(chosen, f)
	}
	p := &show.Progress{}
	if !a.seen { // where the records are seen, they are progress enough
		p = a.progress("cat", store.SizeOf(chosen))
		defer p.End()
	}
	bad := 0
	for _, f := range chosen {
		_, problems, gone, err := store.Records(at.dir, f, func(line []byte) error {
			p.Tick()
			if asJSON {
				var err error
				if line, err = json.Marshal(map[string]any{"file": f.Path, "record": json.RawMessage(line)}); err != nil {
					return err
				}
			}
			_, err := fmt.Fprintf(a.out, "%s\n", line)
			return err
		})
		p.Add(f.Bytes)
		if err == nil && gone {
			err = fmt.Errorf("%s is not there any more: it was sealed or sent meanwhile", f.Path)
		}
		if err != nil {
			return err
		}
		p.Hide()
		for _, problem := range problems {
			fmt.Fprintln(a.notes, "meterctl:", show.Plain(problem.String()))
			bad++
		}
	}
	if bad > 0 {
		return errProblems
	}
	return nil
}

// findFile takes a path below dir, a path that leads into dir, or an object key.
func findFile(files []store.File, dir, name string) (store.File, bool) {
	within, err := filepath.Rel(dir, name)
	for _, f := range files {
		if f.Path == name || f.Key() == name || f.Dir+"/"+f.Key() == name || err == nil && f.Path == within {
			return f, true
		}
	}
	return store.File{}, false
}

// completeFiles offers the files of directories, in the spool that the command line names so far.
func completeFiles(where *place, of ...string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
		at, err := where.find()
		if err != nil {
			return nil, cobra.ShellCompDirectiveDefault
		}
		files, _ := at.files()
		for _, f := range files {
			for _, directory := range of {
				if f.Dir == directory && f.HasRecords() {
					names = append(names, f.Path)
				}
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
