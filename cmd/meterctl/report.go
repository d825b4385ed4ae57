package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"out_amberflo/cmd/meterctl/ledger"
	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/cmd/meterctl/store"
	"out_amberflo/plugin"
	"out_amberflo/plugin/decimal"
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
			page, err := a.gather(&at, files, top)
			if err != nil {
				return err
			}
			if to == "-" {
				return writePage(a.out, page)
			}
			if err := writeFile(to, page); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "%s: %s of %s in %s\n", to, show.Number(int(page.usage.total.Records), "record"), show.Number(page.usage.customers(), "customer"), show.Number(len(page.Meters)+len(page.More), "meter"))
			return nil
		},
	}
	at.flags(cmd)
	cmd.Flags().StringVarP(&to, "out", "o", "", "`FILE.html` to write, - for standard output; required")
	cmd.Flags().IntVar(&top, "top", top, "how many customers of each meter, and how many objects, have a line of their own")
	return cmd
}

// What of each the page shows.
const (
	mostMeters = 12 // with a chart
	mostMore   = 200
	apart      = 5 // customers with a colour of their own

)

func showSum(s *ledger.Sum) shownSum {
	return shownSum{show.Thousands(ledger.ValueText(s.Value)), show.Count(int(s.Events)), show.Count(int(s.Records))}
}

// gather reads all that the page says.
func (a *app) gather(where *place, paths []string, top int) (*page, error) {
	l, at, err := a.ledgerOf(where, paths, "report")
	if err != nil {
		return nil, err
	}
	var p *page
	var counts map[string]*shownCount
	var unusable int64
	var objects, failed []*ledger.Source
	l.Begin = func() {
		p = &page{Version: plugin.Version, Written: show.Time(time.Now()), usage: newUsage()}
		counts, unusable, objects, failed = map[string]*shownCount{}, 0, nil, nil
	}
	l.Record = func(of *ledger.Source, r *ledger.Record) error {
		if of.Directory != store.Failed { // what is there is on no bill
			p.usage.add(r)
		}
		return nil
	}
	l.End = func(of *ledger.Source) error {
		if counts[of.Directory] == nil {
			counts[of.Directory] = &shownCount{}
		}
		counts[of.Directory].add(of)
		unusable += of.Unusable
		for _, problem := range of.Problems {
			p.problem(problem)
		}
		list := &objects
		if of.Directory == store.Failed {
			list = &failed
		}
		if *list = append(*list, of); len(*list) > 16*top { // the newest of many
			newestFirst(*list)
			*list = (*list)[:4*top]
		}
		return nil
	}
	if err := l.Read(); err != nil {
		return nil, err
	}
	if p.Of = show.Number(len(paths), "file"); at != nil {
		p.Spool, p.Of = true, show.Short(l.Dir)
	}
	p.Missed = l.Missed
	if unusable > 0 {
		p.Unusable = show.Count(int(unusable))
	}
	p.showUsage(top)
	p.Objects, p.Unlisted = showObjects(objects, top, total(counts, store.Failed))
	p.Failed, p.Unfailed = showObjects(failed, top, 0)
	if counts[store.Failed] != nil {
		p.Unfailed = counts[store.Failed].objects - len(p.Failed)
	}
	if p.Spool {
		return p, a.showSpool(p, at, counts)
	}
	return p, nil
}

// total is how many objects there are in all directories but one.
func total(counts map[string]*shownCount, but string) (n int) {
	for name, c := range counts {
		if name != but {
			n += c.objects
		}
	}
	return n
}

func (p *page) problem(of store.Found) {
	if len(p.Problems) >= 50 {
		p.Unnamed++
		return
	}
	p.Problems = append(p.Problems, store.Found{File: show.Short(of.File), Offset: of.Offset, What: show.Cut(of.What, 300)})
}

// shownCount is what is in a directory.
type shownCount struct {
	objects         int
	events, records int64
	bytes           int64
	since           time.Time
}

func (c *shownCount) add(of *ledger.Source) {
	c.objects++
	c.events += of.Events
	c.records += of.Records
	c.bytes += of.Bytes
	if c.since.IsZero() || of.Since.Before(c.since) {
		c.since = of.Since
	}
}

func newestFirst(list []*ledger.Source) {
	slices.SortFunc(list, func(a, b *ledger.Source) int { return cmp.Or(b.Since.Compare(a.Since), cmp.Compare(a.Name, b.Name)) })
}

func showObjects(list []*ledger.Source, top, all int) (rows []shownObject, left int) {
	newestFirst(list)
	for _, of := range list[:min(len(list), top)] {
		rows = append(rows, shownObject{show.Short(cmp.Or(of.Key, of.Name)), cmp.Or(of.Directory, "file"), show.Count(int(of.Events)), show.Count(int(of.Records)),
			show.Bytes(of.Bytes), show.Time(of.Since), show.Cut(cmp.Or(of.Reason, "not known"), 400)})
	}
	return rows, max(all-len(rows), 0)
}

// way says what each directory is, for who does not know them.
var way = []struct{ directory, what string }{
	{store.Open, "accepted, and collected for the next object"},
	{store.Sealing, "being made into an object"},
	{store.Outbox, "waits for its upload"},
	{store.Sent, "uploaded, and Amberflo may still say no"},
	{store.Failed, "not taken by Amberflo; not in the usage on this page"},
}

func (a *app) showSpool(p *page, at *spoolPlace, counts map[string]*shownCount) error {
	for _, w := range way {
		c := cmp.Or(counts[w.directory], &shownCount{})
		since := "–"
		if !c.since.IsZero() {
			since = show.Time(c.since)
		}
		p.Way = append(p.Way, shownStage{w.directory, w.what, show.Count(c.objects), show.Count(int(c.events)), show.Count(int(c.records)), show.Bytes(c.bytes), since})
	}
	looked, err := (&looker{app: a, at: at, quick: true, counted: map[string]int{}}).look()
	if err != nil {
		return err
	}
	p.Attention = looked.Attention
	rejected := 0
	for _, r := range looked.Rejects {
		rejected += r.Records
		if len(p.Rejects) < 50 {
			p.Rejects = append(p.Rejects, shownRejects{show.Short(r.Reason), r.Records, shortNames(r.Outputs[:min(len(r.Outputs), 5)]), show.Short(r.Tag), shortNames(r.Example)})
		}
	}
	p.Rejected = show.Count(rejected)
	for _, of := range []struct {
		name string
		is   fill
	}{{"spool", looked.Spool}, {"rejected/", looked.Rejected}} {
		if of.is.Limit != nil {
			percent := strconv.FormatFloat(*of.is.Percent, 'f', 1, 64)
			p.Fills = append(p.Fills, shownFill{of.name, fmt.Sprintf("%s of %s, %s %%", show.Bytes(of.is.Bytes), show.Bytes(*of.is.Limit), percent), percent})
		}
	}
	return nil
}

func shortNames(names []string) string {
	var list []string
	for _, name := range names {
		list = append(list, show.Short(name))
	}
	return strings.Join(list, ", ")
}

// showUsage chooses what of the usage is shown.
func (p *page) showUsage(top int) {
	u := p.usage
	p.Total, p.Customers = showSum(&u.total), show.Count(u.customers())
	if u.total.Events > 0 {
		p.From, p.To = show.Time(time.UnixMilli(u.first)), show.Time(time.UnixMilli(u.last))
	}
	meters := u.meters()
	p.MeterSum = show.Count(len(meters))
	charted := meters[:min(len(meters), mostMeters)]
	series := u.seriesOf(charted, apart)
	for i, m := range charted {
		s := &shownMeter{shownMeterSum: showMeter(m), ID: "meter-" + strconv.Itoa(i+1)}
		for j, c := range m.customers[:min(len(m.customers), top)] {
			s.Top = append(s.Top, shownCustomer{show.Short(c.name), share(c.sum.Value, m.sum.Value), min(j, apart), showSum(c.sum)})
		}
		if rest := m.customers[len(s.Top):]; len(rest) > 0 {
			var of ledger.Sum
			for _, c := range rest {
				of.AddSum(c.sum)
			}
			s.Others = &shownCustomer{othersText(len(rest)), share(of.Value, m.sum.Value), apart, showSum(&of)}
		}
		var names []string
		for _, c := range m.customers[:min(len(m.customers), apart)] {
			names = append(names, show.Short(c.name))
		}
		s.Chart = u.draw(s.Name, s.ID, names, len(m.customers)-len(names), series[i])
		p.Meters = append(p.Meters, s)
	}
	rest := meters[len(charted):]
	for _, m := range rest[:min(len(rest), mostMore)] {
		p.More = append(p.More, showMeter(m))
	}
	p.Rest = len(rest) - len(p.More)
}

func showMeter(m *meterUse) shownMeterSum {
	return shownMeterSum{show.Short(m.name), show.Count(len(m.customers)), showSum(&m.sum)}
}

func othersText(n int) string {
	if n == 1 {
		return "1 other"
	}
	return show.Count(n) + " others"
}

// approximate is a number for a drawing, and for percents.
func approximate(n decimal.Number) float64 {
	f, _ := strconv.ParseFloat(ledger.ValueText(n), 64)
	return f
}

func share(of, all decimal.Number) string {
	if whole := approximate(all); whole > 0 && of.Sign() >= 0 {
		return strconv.FormatFloat(100*approximate(of)/whole, 'f', 1, 64) + " %"
	}
	return "–"
}
