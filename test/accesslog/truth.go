package accesslog

import (
	"cmp"
	"math/big"
	"slices"
	"strings"
)

// Truth is what an exact meter makes of the log under the options' mapping.
type Truth struct {
	Lines       int          `json:"lines"`
	Metered     int          `json:"metered"`
	Unmeterable map[Kind]int `json:"unmeterable"`
	Bill        []Line       `json:"bill"` // by customer and meter
}

// Line is the usage of one meter by one customer, in the form that package amberflo prints and reads.
type Line struct {
	Customer string `json:"customer"`
	Meter    string `json:"meter"`
	Events   int    `json:"events"`
	Usage    string `json:"usage"` // exact decimal without trailing zeros
}

// Rejected returns the number of records that cannot be metered.
func (t Truth) Rejected() int { return t.Lines - t.Metered }

type count struct {
	opt       Options
	customers []string
	accounts  [][]account // [customer][api]
	lines     int
	bad       map[Kind]int
}

type account struct {
	events int
	sum    big.Int // in millionths if the value is $duration
}

func newCount(opt Options, customers []string) *count {
	c := &count{opt: opt, customers: customers, accounts: make([][]account, len(customers)), bad: map[Kind]int{}}
	for i := range c.accounts {
		c.accounts[i] = make([]account, len(apis))
	}
	return c
}

// matters says whether the mapping looks at what is wrong with the record.
func (o Options) matters(k Kind) bool {
	switch k {
	case TextBytes, NaNBytes, ListBytes, NoBytes:
		return o.Value == "$bytes"
	case BadTime:
		return o.MeterTime
	default:
		return k != ""
	}
}

func (c *count) add(e *event) {
	c.lines++
	if c.opt.matters(e.bad) {
		c.bad[e.bad]++
		return
	}
	value := int64(1)
	switch c.opt.Value {
	case "$bytes":
		value = e.bytes
	case "$duration":
		value = e.micros
	}
	a := &c.accounts[e.customer][e.api]
	a.events++
	a.sum.Add(&a.sum, big.NewInt(value))
}

func (c *count) truth() Truth {
	t := Truth{Lines: c.lines, Metered: c.lines, Unmeterable: c.bad, Bill: []Line{}}
	for _, n := range c.bad {
		t.Metered -= n
	}
	for i, accounts := range c.accounts {
		var all account
		for j := range accounts {
			a := &accounts[j]
			if c.opt.Meter == "$api" {
				t.Bill = c.appendLine(t.Bill, c.customers[i], string(apis[j].name), a)
			}
			all.events += a.events
			all.sum.Add(&all.sum, &a.sum)
		}
		if c.opt.Meter != "$api" {
			t.Bill = c.appendLine(t.Bill, c.customers[i], c.opt.Meter, &all)
		}
	}
	slices.SortFunc(t.Bill, func(a, b Line) int {
		return cmp.Or(strings.Compare(a.Customer, b.Customer), strings.Compare(a.Meter, b.Meter))
	})
	return t
}

func (c *count) appendLine(bill []Line, customer, meter string, a *account) []Line {
	if a.events == 0 {
		return bill
	}
	unit := int64(1)
	if c.opt.Value == "$duration" {
		unit = 1_000_000
	}
	r := new(big.Rat).SetFrac(&a.sum, big.NewInt(unit))
	digits, _ := r.FloatPrec()
	return append(bill, Line{Customer: customer, Meter: meter, Events: a.events, Usage: r.FloatString(digits)})
}
