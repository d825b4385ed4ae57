package sample

import (
	"math"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"out_amberflo/cmd/meterctl/parser"
	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/meter"
)

var sampleTime = time.Date(2026, 11, 20, 10, 0, 0, 123e6, time.UTC)

// Whatever is a sample becomes a chunk of one event that says the same.
func FuzzSample(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":[1,-0,1.50,1e400,18446744073709551616,null,true,{"b":"\u0000\ud800"}],"a":2}`, `{"a":1}x`, `[`, `{"a"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		record, err := parser.Object(text)
		if err != nil || !finite(record) || !utf8.Valid(text) { // a byte that is no UTF-8 stays in a record, and JSON cannot say it
			return
		}
		b, err := AppendEvent(nil, sampleTime, nil, parser.Map{"resource", parser.Map{}}, record)
		if err != nil {
			t.Fatal(err)
		}
		r := chunk.NewReader(b, nil)
		if !r.Next() || r.Event().Malformed != "" || len(r.Event().Group) == 0 || r.Event().Seconds != sampleTime.Unix() {
			t.Fatalf("%q: got %+v, %v", text, r.Event(), r.Err())
		}
		said, err := meter.AppendJSON(nil, r.Event().Record)
		if err != nil {
			return // nested too deep for a record
		}
		again, err := parser.Object(said)
		if err != nil {
			t.Fatalf("%q became %q: %v", text, said, err)
		}
		if b2, err := AppendEvent(nil, sampleTime, nil, parser.Map{"resource", parser.Map{}}, again); err != nil || string(b2) != string(b) {
			t.Errorf("%q became %q, which is another record (%v)", text, said, err)
		}
		if r.Next() {
			t.Errorf("%q became two events", text)
		}
	})
}

// finite tells if JSON can say all numbers again.
func finite(v any) bool {
	switch v := v.(type) {
	case float64:
		return !math.IsInf(v, 0)
	case parser.Map:
		return finite([]any(v))
	case []any:
		return !slices.ContainsFunc(v, func(item any) bool { return !finite(item) })
	}
	return true
}
