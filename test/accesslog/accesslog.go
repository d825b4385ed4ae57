// Package accesslog writes a company's API access log, together with the bill that follows from it.
// The same options give the same bytes. Records have 12 fields and some 350 bytes as a line of JSON:
//
//	time tenant api method path status bytes duration region request_id user_agent client_ip
//
// An output maps them with customer_id $tenant, meter_api_name $api or a literal, meter_value
// $bytes, $duration or 1, and dimensions such as method, status.
package accesslog

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// Options say what to write and how it will be metered. The zero value of each has a default.
type Options struct {
	Lines     int       // number of records
	Customers int       // 12; the n-th has about 1/n of the first one's traffic
	Seed      uint64    // 0 is a seed like any other
	Start     time.Time // of the first record, then about 1 ms apart; 2026-01-02 03:04:05 UTC
	Bad       float64   // share of records that cannot be metered, of every Kind in turn
	// Odd is the share of records that are unusual but good: byte counts as numeric strings or
	// beyond 2^53, quotes and non-Latin text.
	Odd float64

	Meter     string // the mapping's meter_api_name: $api, which is the default, or a literal
	Value     string // the mapping's meter_value: $bytes, which is the default, $duration or 1
	MeterTime bool   // the mapping has meter_time $time
}

// Kind is a way in which a record cannot be metered.
type Kind string

// The kinds. Those of bytes matter only when Options.Value is $bytes, BadTime only with
// Options.MeterTime; a Truth counts those that matter.
const (
	NoTenant    Kind = "no_tenant"    // the field is missing
	EmptyTenant Kind = "empty_tenant" // ""
	NullTenant  Kind = "null_tenant"  // null
	ListTenant  Kind = "list_tenant"  // ["acme"]
	NotUTF8     Kind = "not_utf8"     // a tenant with the byte 0xFF
	NotJSON     Kind = "not_json"     // plain text, which Fluent Bit passes on in the field log
	TextBytes   Kind = "text_bytes"   // "12abc"
	NaNBytes    Kind = "nan_bytes"    // "NaN"
	ListBytes   Kind = "list_bytes"   // [1,2]
	NoBytes     Kind = "no_bytes"     // the field is missing
	BadTime     Kind = "bad_time"     // "yesterday noon"
)

var kinds = []Kind{NoTenant, TextBytes, BadTime, NotUTF8, ListBytes, NotJSON, EmptyTenant, NaNBytes, NullTenant, NoBytes, ListTenant}

func (o Options) withDefaults() (Options, error) {
	o.Customers = cmp.Or(o.Customers, 12)
	o.Meter = cmp.Or(o.Meter, "$api")
	o.Value = cmp.Or(o.Value, "$bytes")
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	}
	switch {
	case o.Lines < 0 || o.Customers < 1:
		return o, fmt.Errorf("lines and customers: want at least 0 and 1, got %d and %d", o.Lines, o.Customers)
	case o.Bad < 0 || o.Odd < 0 || o.Bad+o.Odd > 1:
		return o, fmt.Errorf("bad and odd: want shares that add up to at most 1, got %g and %g", o.Bad, o.Odd)
	case o.Meter[0] == '$' && o.Meter != "$api":
		return o, fmt.Errorf("meter: want $api or a literal, got %q", o.Meter)
	case o.Value != "$bytes" && o.Value != "$duration" && o.Value != "1":
		return o, fmt.Errorf("value: want $bytes, $duration or 1, got %q", o.Value)
	}
	return o, nil
}

// WriteLines writes the log as lines of JSON and returns the bill that follows from it.
func WriteLines(w io.Writer, opt Options) (Truth, error) {
	out := bufio.NewWriterSize(w, 1<<20)
	var buf []byte
	truth, err := generate(opt, func(e *event) error {
		buf = append(e.appendJSON(buf[:0]), '\n')
		_, err := out.Write(buf)
		return err
	})
	if err != nil {
		return truth, err
	}
	return truth, out.Flush()
}

// generate calls emit with each event; the event is valid during the call only.
func generate(opt Options, emit func(*event) error) (Truth, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return Truth{}, err
	}
	g := newGenerator(opt)
	count := newCount(opt, g.customers)
	for range opt.Lines {
		e := g.next()
		count.add(e)
		if err := emit(e); err != nil {
			return Truth{}, err
		}
	}
	return count.truth(), nil
}

type generator struct {
	opt       Options
	rng       *rand.Rand
	customers []string
	weights   []float64 // cumulative, of 1
	at        time.Time
	bads      int
	e         event
	text      []byte // what the event's strings point into
}

func newGenerator(opt Options) *generator {
	g := &generator{opt: opt, at: opt.Start.UTC(), rng: rand.New(rand.NewPCG(opt.Seed, 0x616363657373))}
	sum := 0.0
	for i := range opt.Customers {
		name := tenants[i%len(tenants)]
		if i >= len(tenants) {
			name = fmt.Sprintf("%s-%d", name, i/len(tenants))
		}
		g.customers = append(g.customers, name)
		sum += 1 / float64(i+1)
		g.weights = append(g.weights, sum)
	}
	for i := range g.weights {
		g.weights[i] /= sum
	}
	return g
}

func (g *generator) next() *event {
	e := &g.e
	g.text = g.text[:0]
	// Half of the steps stay within a millisecond: the time alone must not tell two events apart.
	g.at = g.at.Add(time.Duration(1 + g.rng.IntN(2_000_000)))

	pick := g.rng.Float64()
	for e.customer = 0; g.weights[e.customer] <= pick && e.customer < len(g.weights)-1; {
		e.customer++
	}
	e.at, e.bad, e.plain = g.at, "", false
	e.api = g.rng.IntN(len(apis))
	api := apis[e.api]
	e.bytes = int64(g.rng.ExpFloat64() * 8000)
	e.micros = int64(g.rng.ExpFloat64() * 40_000)

	e.fields = [12]value{
		text(g.keep(func(b []byte) []byte { return g.at.AppendFormat(b, time.RFC3339Nano) })),
		text([]byte(g.customers[e.customer])),
		text(api.name),
		text(api.method),
		text(g.keep(func(b []byte) []byte { return fmt.Appendf(b, "%s/%08x", api.path, g.rng.Uint32()) })),
		integer(statuses[g.rng.IntN(len(statuses))]),
		integer(e.bytes),
		{kind: float, n: e.micros},
		text(regions[g.rng.IntN(len(regions))]),
		text(g.keep(func(b []byte) []byte { return fmt.Appendf(b, "%016x%016x", g.rng.Uint64(), g.rng.Uint64()) })),
		text(agents[g.rng.IntN(len(agents))]),
		text(g.keep(func(b []byte) []byte {
			return fmt.Appendf(b, "198.51.%d.%d", g.rng.IntN(256), 1+g.rng.IntN(254))
		})),
	}
	switch p := g.rng.Float64(); {
	case p < g.opt.Bad:
		g.spoil(kinds[g.bads%len(kinds)])
		g.bads++
	case p < g.opt.Bad+g.opt.Odd:
		g.twist()
	}
	return e
}

func (g *generator) spoil(kind Kind) {
	e := &g.e
	e.bad = kind
	switch kind {
	case NoTenant:
		e.fields[fieldTenant] = value{kind: absent}
	case EmptyTenant:
		e.fields[fieldTenant] = text(nil)
	case NullTenant:
		e.fields[fieldTenant] = value{kind: null}
	case ListTenant:
		e.fields[fieldTenant] = value{kind: listOfText, s: []byte(g.customers[e.customer])}
	case NotUTF8:
		e.fields[fieldTenant] = text([]byte("ac\xffme"))
	case NotJSON:
		e.plain = true
		e.line = fmt.Appendf(e.line[:0], "panic: runtime error: index out of range [%d] with length %d", e.bytes, e.bytes)
	case TextBytes:
		e.fields[fieldBytes] = text([]byte("12abc"))
	case NaNBytes:
		e.fields[fieldBytes] = text([]byte("NaN"))
	case ListBytes:
		e.fields[fieldBytes] = value{kind: listOfInts}
	case NoBytes:
		e.fields[fieldBytes] = value{kind: absent}
	case BadTime:
		e.fields[fieldTime] = text([]byte("yesterday noon"))
	}
}

func (g *generator) twist() {
	e := &g.e
	switch g.rng.IntN(3) {
	case 0:
		e.fields[fieldBytes] = text(g.keep(func(b []byte) []byte { return fmt.Appendf(b, "%d", e.bytes) }))
	case 1:
		e.bytes = 1<<53 + 1 + 2*g.rng.Int64N(1<<40) // odd, so that no double holds it
		e.fields[fieldBytes] = integer(e.bytes)
	case 2:
		e.fields[fieldUserAgent] = text([]byte(`curl "8.5" \ Ελληνικά 日本語 🚀 	tab`))
	}
}

// keep builds a string in the generator's buffer; it is valid until the next event.
func (g *generator) keep(build func([]byte) []byte) []byte {
	n := len(g.text)
	g.text = build(g.text)
	return g.text[n:len(g.text):len(g.text)]
}
