package rules

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"out_amberflo/plugin/meter/internal/grammar"
	"out_amberflo/plugin/tally"
)

// Aggregation says which records are added up.
type Aggregation struct {
	All    bool     // of all meters
	Names  [][]byte // else of these, as JSON
	Bucket time.Duration
}

// On tells if any are.
func (a *Aggregation) On() bool { return a.All || len(a.Names) > 0 }

// Has tells if the records of the meter with a name, which is JSON, are added up.
func (a *Aggregation) Has(name []byte) bool {
	return a.All || slices.ContainsFunc(a.Names, func(have []byte) bool { return bytes.Equal(have, name) })
}

const (
	aggregateExample = "ApiCalls, BytesOut"
	defaultBucket    = "15m"
	wantBucket       = "a duration from 1s to 1h that divides an hour"
)

// aggregate compiles what is added up. The meters and ids are compiled already.
func (c *compiler) aggregate(o Options) {
	r, a := c.rules, &c.rules.Aggregate
	var ok bool
	value := cmp.Or(o.AggregateBucket, defaultBucket)
	if a.Bucket, ok = ParseDuration(value); !ok || a.Bucket < time.Second || a.Bucket%time.Millisecond != 0 || time.Hour%a.Bucket != 0 {
		c.fail("aggregate_bucket", value, wantBucket, defaultBucket)
	}
	if o.Aggregate == "" {
		if value != defaultBucket && !c.failed("aggregate_bucket") { // nothing would be added up, in silence; a default may be typed
			c.fail("aggregate_bucket", value, "aggregate beside it, which says for which meters it is", value+", with aggregate *")
		}
		return
	}
	if ids := cmp.Or(o.UniqueID, defaultID); !r.GenerateIDs && !c.failed("unique_id") {
		c.fail("unique_id", ids, "generate at its end, because aggregate adds up no records that have an id of their own", ids+", generate")
	}
	var known []string // names of meters
	for i := range r.Meters {
		known = append(known, string(r.Meters[i].Name.Literal))
	}
	allKnown := len(known) > 0 && !slices.ContainsFunc(r.Meters, func(m Meter) bool { return m.Name.From != nil || m.Name.Literal == nil }) // none from a field, or wrong
	s := c.scan(o.Aggregate)
	err := s.Pairs(func(p grammar.Pair) *grammar.Error {
		name, err := c.literal(p.Name, p.At)
		switch {
		case p.HasValue:
			return &grammar.Error{Want: "names of meters alone, or *", At: p.At}
		case p.Name == "*":
			a.All = true
		case err != nil:
			return err
		case allKnown && !slices.Contains(known, string(name)):
			return &grammar.Error{Want: "the name of a meter, which is one of " + strings.Join(known, ", "), At: p.At}
		default:
			a.Names = append(a.Names, name)
		}
		return nil
	})
	switch {
	case err != nil && strings.HasPrefix(o.Aggregate[err.At:], "$"):
		err.Want = "names of meters, not fields"
	case err == nil && a.All && len(a.Names) > 0:
		err = &grammar.Error{Want: "names, or * alone for all meters"}
	}
	c.failAt("aggregate", o.Aggregate, aggregateExample, err)
	for i := range r.Meters {
		m := &r.Meters[i]
		m.Adds = m.Name.From != nil || a.Has(m.Name.Literal)
		m.Value.Amount, m.Value.IsAmount = tally.Parse(m.Value.Literal)
	}
}
