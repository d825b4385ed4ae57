package page

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"out_amberflo/cmd/meterctl/ledger"
	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/cmd/meterctl/store"
	"out_amberflo/plugin"
	"out_amberflo/plugin/decimal"
	"out_amberflo/plugin/disk"
)

// What of each the page shows.
const (
	mostMeters = 12 // with a chart
	mostMore   = 200
	apart      = 5 // customers with a colour of their own

)

func showSum(s *ledger.Sum) shownSum {
	return shownSum{show.Thousands(ledger.ValueText(s.Value)), show.Count(int(s.Events)), show.Count(int(s.Records))}
}

// Read reads a ledger. Of the customers of each meter, and of the objects, so many have a line of their own.
func Read(l *ledger.Ledger, top int) (*Page, error) {
	var p *Page
	var counts map[string]*shownCount
	var unusable int64
	var objects, failed []*ledger.Source
	l.Begin = func() {
		p = &Page{Version: plugin.Version, Written: show.Time(time.Now()), usage: newUsage()}
		counts, unusable, objects, failed = map[string]*shownCount{}, 0, nil, nil
	}
	l.Record = func(of *ledger.Source, r *ledger.Record) error {
		if of.Directory != disk.Failed { // what is there is on no bill
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
		if of.Directory == disk.Failed {
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
	if p.Of = show.Number(len(l.Paths), "file"); len(l.Paths) == 0 {
		p.Spool, p.Of = true, show.Short(l.Dir)
	}
	p.Missed = l.Missed
	if unusable > 0 {
		p.Unusable = show.Count(int(unusable))
	}
	p.showUsage(top)
	p.Objects, p.Unlisted = showObjects(objects, top, total(counts, disk.Failed))
	p.Failed, p.Unfailed = showObjects(failed, top, 0)
	if counts[disk.Failed] != nil {
		p.Unfailed = counts[disk.Failed].objects - len(p.Failed)
	}
	if p.Spool {
		p.showWay(counts)
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

func (p *Page) problem(of store.Found) {
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
	{disk.Open, "accepted, and collected for the next object"},
	{disk.Sealing, "being made into an object"},
	{disk.Outbox, "waits for its upload"},
	{disk.Sent, "uploaded, and Amberflo may still say no"},
	{disk.Failed, "not taken by Amberflo; not in the usage on this page"},
}

func (p *Page) showWay(counts map[string]*shownCount) {
	for _, w := range way {
		c := cmp.Or(counts[w.directory], &shownCount{})
		since := "–"
		if !c.since.IsZero() {
			since = show.Time(c.since)
		}
		p.Way = append(p.Way, shownStage{w.directory, w.what, show.Count(c.objects), show.Count(int(c.events)), show.Count(int(c.records)), show.Bytes(c.bytes), since})
	}
}

// Add adds how a spool is: what needs somebody, what was rejected, and how full it is.
func (p *Page) Add(attention []string, rejects []*ledger.Rejects, fills []Fill) {
	p.Attention, p.Fills = attention, fills
	rejected := 0
	for _, r := range rejects {
		rejected += r.Records
		if len(p.Rejects) < 50 {
			p.Rejects = append(p.Rejects, shownRejects{show.Short(r.Reason), r.Records, shortNames(r.Outputs[:min(len(r.Outputs), 5)]), show.Short(r.Tag), shortNames(r.Example)})
		}
	}
	p.Rejected = show.Count(rejected)
}

// Summary is what the page says, in a line.
func (p *Page) Summary() string {
	return fmt.Sprintf("%s of %s in %s", show.Number(int(p.usage.total.Records), "record"), show.Number(p.usage.customers(), "customer"), show.Number(len(p.Meters)+len(p.More), "meter"))
}

func shortNames(names []string) string {
	var list []string
	for _, name := range names {
		list = append(list, show.Short(name))
	}
	return strings.Join(list, ", ")
}

// showUsage chooses what of the usage is shown.
func (p *Page) showUsage(top int) {
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
