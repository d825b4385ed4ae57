// Package meter turns log events into Amberflo's meter records by the rules that a user wrote, or says in a word why it cannot.
//
// What holds throughout: it is pure, and knows no clock but the one that it is given. Rules are compiled once and never change; a
// Mapper holds the scratch of one flush. An event gives all of its meter records or none, and a reason. No number goes through a
// float, and mapping an event allocates nothing.
//
// A meter record is one line of JSON, with the keys in this order and without dimensions where there are none:
//
//	{"customerId":"c","meterApiName":"m","dimensions":{"k":"v"},"meterValue":1,"meterTimeInMillis":1795291200123,"uniqueId":"u"}
//
// What many records have in common comes first and what tells them apart last: gzip makes 8 % less of it than with the
// dimensions at the end, in less time.
package meter

import (
	"bytes"
	"math"
	"time"

	"out_amberflo/plugin/meter/internal/find"
	"out_amberflo/plugin/meter/internal/packed"
	"out_amberflo/plugin/meter/internal/rules"
)

type (
	// Options are the mapping options as the user typed them; "" is the default.
	Options = rules.Options
	// OptionError says what is wrong with one option of an output, and how to fix it.
	OptionError = rules.OptionError
)

// Rules are compiled options. They are immutable and safe for concurrent use.
type Rules struct{ rules *rules.Rules }

// Compile checks all options and returns the rules, or every mistake there is.
func Compile(o Options) (*Rules, []*OptionError) {
	r, errs := rules.Compile(o)
	if len(errs) > 0 {
		return nil, errs
	}
	return &Rules{r}, nil
}

// Keys returns the fields of the record that a chunk.Reader has to find for the mapper. The slice is the rules' own.
func (r *Rules) Keys() []string { return r.rules.Fields.Names }

// MostRecords is how many meter records an event can give.
func (r *Rules) MostRecords() int { return max(1, len(r.rules.Meters)) }

// Aggregate returns the names of the meters whose records are added up, * for all, "" where none are, and the width of the
// buckets, 0 where none are.
func (r *Rules) Aggregate() (names string, bucket time.Duration) {
	a := &r.rules.Aggregate
	switch {
	case a.All:
		return "*", a.Bucket
	case !a.On():
		return "", 0
	}
	return string(bytes.Join(a.Names, []byte(", "))), a.Bucket
}

// NewMapper returns a mapper for one flush after the other.
func (r *Rules) NewMapper() *Mapper {
	m := &Mapper{ev: find.New(&r.rules.Fields, &r.rules.Absent), rules: r.rules, oldest: math.MinInt64, newest: math.MaxInt64, keys: newKeys(r.rules)}
	m.StartIDs("", 0)
	return m
}

// ParseDuration reads 30s, 5m, 1h, 2d and Go's forms such as 1m30s: more than nothing, and at most ten years.
func ParseDuration(v string) (d time.Duration, ok bool) { return rules.ParseDuration(v) }

// AppendJSON appends the one msgpack value that b holds as JSON, on one line, for people. Maps keep their order and duplicate
// keys, numbers their value to the last digit; what JSON cannot say is replaced. It returns an error, and dst unchanged, for
// what is not one whole value or nests deeper than 512. It is safe for concurrent use and does not keep b.
func AppendJSON(dst, b []byte) ([]byte, error) { return packed.AppendJSON(dst, b) }
