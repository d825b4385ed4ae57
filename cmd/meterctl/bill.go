package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"out_amberflo/cmd/meterctl/ledger"
	"out_amberflo/cmd/meterctl/show"
)

// bill adds up what was metered.
func (a *app) bill() *cobra.Command {
	var at place
	b := ledger.NewBill()
	var by []string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "bill [flags] [FILE...]", Short: "what was metered, added up exactly: to hold against an invoice", GroupID: looks, DisableFlagsInUseLine: true,
		Long: `bill adds up the meter records that lie in open/, sealing/, outbox/, sent/ and failed/ of a spool: how many events there are,
how many records these stand for, and their usage, in exact decimals. What Amberflo did not take, and what was rejected, stands
beside it. With FILE it adds up files instead, such as objects copied back from the bucket: lines or a JSON array, compressed or
not, - for standard input; of a directory, all files in it.

--by names columns, the first the one by which rows are in order: customer, meter, month, day, hour (in UTC), or the name of a
dimension; dimensions.day is a dimension of that name. The usage of two meters is no sum: meter is always among them.`,
		Example:     "  meterctl bill -c fluent-bit.conf --since 2026-11-01 --until 2026-11-30\n  meterctl bill --by meter,day,region --json copies/ | jq .rows",
		Annotations: looked("a file is damaged, a line is no meter record, or a file was given twice"),
		RunE: func(_ *cobra.Command, files []string) error {
			if err := b.SetColumns(by); err != nil {
				return err
			}
			if !b.Since.IsZero() && !b.Until.IsZero() && !b.Since.Before(b.Until) {
				return errors.New("want --until on the day of --since or later, got an earlier one")
			}
			return a.addUp(&at, files, b, asJSON)
		},
	}
	at.flags(cmd)
	cmd.Flags().StringSliceVar(&by, "by", []string{"customer", "meter"}, "`COLUMNS`, with commas between them")
	cmd.Flags().Func("since", "leave out records of times before that `DAY` in UTC, YYYY-MM-DD", func(v string) (err error) { b.Since, err = day(v); return })
	cmd.Flags().Func("until", "leave out records of times after that `DAY`", func(v string) (err error) {
		b.Until, err = day(v)
		b.Until = b.Until.AddDate(0, 0, 1)
		return
	})
	jsonFlag(cmd, &asJSON)
	return cmd
}

func day(v string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, v)
	if err != nil {
		err = errors.New("want a day such as 2026-11-20")
	}
	return t, err
}

// addUp writes the bill of a spool, or of files.
func (a *app) addUp(where *place, paths []string, b *ledger.Bill, asJSON bool) error {
	l, _, err := a.ledgerOf(where, paths, "bill")
	if err != nil {
		return err
	}
	defer b.Close()
	if err := b.Read(l); err != nil {
		return err
	}
	for _, p := range b.Found() {
		fmt.Fprintf(a.notes, "meterctl: %s\n", show.Plain(p.String()))
	}
	for _, name := range b.Absent() {
		fmt.Fprintf(a.notes, "meterctl: --by: no record has a dimension %s\n", show.Plain(name))
	}
	if asJSON {
		err = b.JSON(a.out, l.Dir)
	} else {
		err = errors.Join(b.Table(a.out), b.Beside(a.out))
	}
	if len(b.Found()) > 0 {
		return errors.Join(err, errProblems)
	}
	return err
}

// ledgerOf is that of files, or of the spool that is meant.
func (a *app) ledgerOf(where *place, paths []string, what string) (l *ledger.Ledger, at *spoolPlace, err error) {
	l = &ledger.Ledger{Paths: paths, What: what, In: a.in, Notes: a.notes}
	if len(paths) == 0 {
		if at, err = where.find(); err == nil {
			l.Dir, l.List = at.dir, at.files
		}
		return l, at, err
	}
	if where.storeDir != "" || where.conf != "" || where.output != "" {
		return nil, nil, errors.New("want files, or a spool by --store-dir or -c, got both")
	}
	return l, nil, nil
}
