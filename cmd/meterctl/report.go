package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"out_amberflo/cmd/meterctl/look"
	"out_amberflo/cmd/meterctl/page"
	"out_amberflo/cmd/meterctl/show"
)

// report writes one page of HTML: what a spool has used, and how it is.
func (a *app) report() *cobra.Command {
	var at place
	var to string
	top := 20
	cmd := &cobra.Command{
		Use: "report [flags] -o FILE.html [FILE...]", Short: "one page of HTML: usage per customer and meter, rejects, failures", GroupID: looks, DisableFlagsInUseLine: true,
		Long: `report writes one page that needs no network: usage per customer and meter over time, what was rejected and failed and why, and
where each object is on its way. With FILE it adds up meter records of files instead of a spool: lines or a JSON array,
compressed or not, - for standard input.

The page holds names of customers and meters, and of rejected records the names of the fields of one example: send it to nobody
who may not see them. It is readable by its owner only.`,
		Example:     "  meterctl report -c fluent-bit.conf -o report.html\n  meterctl cat KEY | meterctl report -o report.html -",
		Annotations: exits("0  the page is written\n2  it is not"),
		RunE: func(_ *cobra.Command, files []string) error {
			switch {
			case to == "":
				return errors.New("want a file to write to, got none; set -o FILE.html")
			case top < 1 || top > 1000:
				return fmt.Errorf("want --top from 1 to 1000, got %d", top)
			}
			p, err := a.pageOf(&at, files, top)
			if err != nil {
				return err
			}
			if to == "-" {
				return page.Write(a.out, p)
			}
			if err := page.WriteFile(to, p); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "%s: %s\n", to, p.Summary())
			return nil
		},
	}
	at.flags(cmd)
	cmd.Flags().StringVarP(&to, "out", "o", "", "`FILE.html` to write, - for standard output; required")
	cmd.Flags().IntVar(&top, "top", top, "how many customers of each meter, and how many objects, have a line of their own")
	return cmd
}

// pageOf is that of files, or of the spool that is meant.
func (a *app) pageOf(where *place, files []string, top int) (*page.Page, error) {
	l, at, err := a.ledgerOf(where, files, "report")
	if err != nil {
		return nil, err
	}
	p, err := page.Read(l, top)
	if err != nil || at == nil {
		return p, err
	}
	looked, err := a.looker(at, true).Look()
	if err != nil {
		return nil, err
	}
	var fills []page.Fill
	for _, of := range []struct {
		name string
		is   look.Fill
	}{{"spool", looked.Spool}, {"rejected/", looked.Rejected}} {
		if of.is.Limit != nil {
			percent := strconv.FormatFloat(*of.is.Percent, 'f', 1, 64)
			fills = append(fills, page.Fill{Name: of.name, Text: fmt.Sprintf("%s of %s, %s %%", show.Bytes(of.is.Bytes), show.Bytes(*of.is.Limit), percent), Percent: percent})
		}
	}
	p.Add(looked.Attention, looked.Rejects, fills)
	return p, nil
}
