package page

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"out_amberflo/cmd/meterctl/ledger"
	"out_amberflo/plugin/decimal"
)

// account is one customer's use of one meter.
type account struct{ customer, meter int32 } // places in usage.names

// cell is that in one span of time.
type cell struct {
	account
	span int64 // counted from 1970
}

// usage adds meter records up by customer, meter and time. As spans it takes the shortest of widths of which there are few
// enough: its memory is that of the accounts, and some mostCells more.
type usage struct {
	names  []string
	places map[string]int32

	total    ledger.Sum
	accounts ledger.Sums[account]
	cells    ledger.Sums[cell]
	spans    map[int64]bool
	width    int // in widths
	first    int64
	last     int64 // in milliseconds
}

// Each width is a multiple of the one before it; beyond them come multiples of the last.
var widths = []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 28 * 24 * time.Hour, 364 * 24 * time.Hour, 36400 * 24 * time.Hour}

const (
	mostSpans = 48        // bars of a chart
	mostCells = 1_000_000 // beside the accounts
)

func newUsage() *usage {
	return &usage{places: map[string]int32{}, accounts: ledger.Sums[account]{}, cells: ledger.Sums[cell]{}, spans: map[int64]bool{}}
}

func (u *usage) place(text []byte) int32 {
	at, seen := u.places[string(text)]
	if !seen {
		name := string(text)
		at = int32(len(u.names))
		u.places[name] = at
		u.names = append(u.names, name)
	}
	return at
}

func (u *usage) add(r *ledger.Record) {
	of := account{u.place(r.Customer), u.place(r.Meter)}
	u.total.Add(r)
	u.accounts.Add(of, r)
	if u.total.Events == 1 || r.Millis < u.first {
		u.first = r.Millis
	}
	u.last = max(u.last, r.Millis)
	span := floor(r.Millis, widths[u.width].Milliseconds())
	u.spans[span] = true
	u.cells.Add(cell{of, span}, r)
	for u.width < len(widths)-1 && (len(u.spans) > mostSpans || len(u.cells) > mostCells+len(u.accounts)) {
		u.widen()
	}
}

// widen goes on with longer spans.
func (u *usage) widen() {
	before := widths[u.width].Milliseconds()
	u.width++
	cells := make(ledger.Sums[cell], len(u.cells)/2)
	u.spans = map[int64]bool{}
	for at, of := range u.cells {
		at.span = floor(at.span*before, widths[u.width].Milliseconds())
		u.spans[at.span] = true
		if cells[at] == nil {
			cells[at] = &ledger.Sum{}
		}
		cells[at].AddSum(of)
	}
	u.cells = cells
}

func floor(n, by int64) int64 {
	if n < 0 {
		return -((-n + by - 1) / by)
	}
	return n / by
}

// customers is how many there are.
func (u *usage) customers() int {
	seen := map[int32]bool{}
	for of := range u.accounts {
		seen[of.customer] = true
	}
	return len(seen)
}

// meterUse is what all customers have used of one meter.
type meterUse struct {
	name      string
	place     int32
	sum       ledger.Sum
	customers []customerUse // the largest values first
}

type customerUse struct {
	name  string
	place int32
	sum   *ledger.Sum
}

// meters are those with most records first.
func (u *usage) meters() (list []*meterUse) {
	by := map[int32]*meterUse{}
	for of, s := range u.accounts {
		m := by[of.meter]
		if m == nil {
			m = &meterUse{name: u.names[of.meter], place: of.meter}
			by[of.meter] = m
			list = append(list, m)
		}
		m.sum.AddSum(s)
		m.customers = append(m.customers, customerUse{u.names[of.customer], of.customer, s})
	}
	slices.SortFunc(list, func(a, b *meterUse) int {
		return cmp.Or(cmp.Compare(b.sum.Records, a.sum.Records), cmp.Compare(a.name, b.name))
	})
	for _, m := range list {
		slices.SortFunc(m.customers, func(a, b customerUse) int {
			return cmp.Or(b.sum.Value.Cmp(a.sum.Value), cmp.Compare(b.sum.Records, a.sum.Records), cmp.Compare(a.name, b.name))
		})
	}
	return list
}

// series are the values of a meter in each span: of the first customers each, and of all others together.
type series struct {
	spans  []int64 // in order
	values [][]decimal.Number
}

// seriesOf reads all cells once for several meters: first says how many customers of each stand apart.
func (u *usage) seriesOf(meters []*meterUse, first int) []series {
	var spans []int64
	for span := range u.spans {
		spans = append(spans, span)
	}
	slices.Sort(spans)
	column := map[int64]int{}
	for i, span := range spans {
		column[span] = i
	}
	all := make([]series, len(meters))
	row := map[account]int{}
	meterAt := map[int32]int{}
	for i, m := range meters {
		meterAt[m.place] = i
		apart := min(first, len(m.customers))
		for j := range apart {
			row[account{m.customers[j].place, m.place}] = j
		}
		rows := apart
		if len(m.customers) > apart {
			rows++
		}
		all[i] = series{spans: spans, values: make([][]decimal.Number, rows)}
		for j := range rows {
			all[i].values[j] = make([]decimal.Number, len(spans))
		}
	}
	for at, s := range u.cells {
		i, shown := meterAt[at.meter]
		if !shown {
			continue
		}
		j, apart := row[at.account]
		if !apart {
			j = first
		}
		v := &all[i].values[j][column[at.span]]
		*v = v.Add(s.Value)
	}
	return all
}

// spanStart is when a span begins.
func (u *usage) spanStart(span int64) time.Time {
	return time.UnixMilli(span * widths[u.width].Milliseconds()).UTC()
}

// widthText names the width of a span.
func (u *usage) widthText() string {
	d := widths[u.width]
	switch {
	case d == time.Minute:
		return "minute"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " minutes"
	case d == time.Hour:
		return "hour"
	case d < 24*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " hours"
	case d == 24*time.Hour:
		return "day"
	}
	return strconv.Itoa(int(d.Hours()/24)) + " days"
}
