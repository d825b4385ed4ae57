package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"out_amberflo/cmd/meterctl/ledger"
	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/cmd/meterctl/store"
	"out_amberflo/plugin/disk"
)

// check reads every file to its end.
func (a *app) check() *cobra.Command {
	var at place
	var asJSON bool
	cmd := &cobra.Command{
		Use: "check [flags]", Short: "read everything, and name each problem by file and offset", GroupID: looks, DisableFlagsInUseLine: true,
		Long: `check reads every file of a spool to its end, and names what is damaged by file and offset. Of events that stand for several
records it compares how many these are, with what the flushes accepted as long as that is known, and their times.`,
		Annotations:       looked("something cannot be read, does not fit, or lies in damaged/"),
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return a.checkSpool(&at, asJSON) },
	}
	at.flags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) checkSpool(where *place, asJSON bool) error {
	at, err := where.find()
	if err != nil {
		return err
	}
	files, err := at.files()
	if err != nil {
		return err
	}
	p := a.progress("check", store.SizeOf(files))
	defer p.End()
	total := 0
	found := []store.Found{}
	for _, f := range files {
		c := &coherence{}
		n, problems, gone, err := store.Records(at.dir, f, c.each(f))
		if p.Add(f.Bytes); gone {
			continue
		}
		total += n
		problems = append(problems, c.problems(f)...)
		if f.Dir == disk.Open && err == nil {
			var of []store.Problem
			of, err = store.CompareFrames(at.dir, f)
			problems = append(problems, of...)
		}
		if err != nil {
			problems = append(problems, store.ProblemIn(f, err.Error()))
		}
		if f.Dir == disk.Damaged && len(problems) == 0 && !strings.HasSuffix(f.Path, ".torn") && !store.IsRescued(f) {
			problems = append(problems, store.ProblemIn(f, fmt.Sprintf("%d bytes that could not be read were kept here", f.Bytes)))
		}
		for _, problem := range problems {
			found = append(found, store.Found(problem))
			if !asJSON {
				p.Hide()
				fmt.Fprintln(a.out, show.Plain(problem.String()))
			}
		}
	}
	p.End()
	if asJSON {
		err = show.JSON(a.out, map[string]any{"store_dir": at.dir, "files": len(files), "records": total, "problems": found})
	} else {
		fmt.Fprintf(a.out, "%s, %s, %s\n", show.Number(len(files), "file"), show.Number(total, "record"), show.Number(len(found), "problem"))
	}
	if len(found) > 0 {
		return errors.Join(err, errProblems)
	}
	return err
}

// coherence looks at the events of a file that stand for several records.
type coherence struct {
	reader  ledger.Reader
	records int
	wrong   int
	first   string
}

// each is called for each record of a file; nil where none can be such an event.
func (c *coherence) each(f store.File) func(line []byte) error {
	if f.Dir == disk.Rejected {
		return nil
	}
	return func(line []byte) error {
		c.records++
		if what := c.reader.Incoherent(line); what != "" {
			if c.wrong++; c.wrong == 1 {
				c.first = fmt.Sprintf("record %d: %s", c.records, what)
			}
		}
		return nil
	}
}

func (c *coherence) problems(f store.File) []store.Problem {
	switch c.wrong {
	case 0:
		return nil
	case 1:
		return []store.Problem{store.ProblemIn(f, c.first)}
	}
	return []store.Problem{store.ProblemIn(f, fmt.Sprintf("%s; %d such records in all", c.first, c.wrong))}
}
