package main

import (
	"os"
	"path/filepath"
	"testing"

	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/meter"
)

// Whatever stands in a configuration, it is read or refused.
func FuzzConfiguration(f *testing.F) {
	for _, seed := range []string{
		"[OUTPUT]\n    Name amberflo\n    [G x]\n        a b\n    dimensions ${A:-b}\n", "@SET A=b\n@INCLUDE x*\n", "[X\n", "\t\n \n", "[OUTPUT]\n a ${}\n",
		"env: {a: 1}\npipeline:\n  outputs:\n    - name: amberflo\n      dimensions: [a, *b]\n", "---\n---\n# nothing\n", "includes: [x]\n", "pipeline: {outputs: [{name: &a amberflo, ? [x] : y}]}",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, text string, yaml bool) {
		file := filepath.Join(t.TempDir(), map[bool]string{false: "a.conf", true: "a.yaml"}[yaml])
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := readConfiguration(file)
		if err != nil {
			return
		}
		for _, s := range c.outputs {
			c.review(s)
		}
	})
}

// Whatever is a sample becomes a chunk of one event that says the same.
func FuzzSample(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":[1,-0,1.50,1e400,18446744073709551616,null,true,{"b":"\u0000\ud800"}],"a":2}`, `{"a":1}x`, `[`, `{"a"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		record, err := parseObject(text)
		if err != nil {
			return
		}
		b, err := appendSample(nil, sampleTime, nil, orderedMap{"resource", orderedMap{}}, record)
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
		again, err := parseObject(said)
		if err != nil {
			t.Fatalf("%q became %q: %v", text, said, err)
		}
		if b2, err := appendSample(nil, sampleTime, nil, orderedMap{"resource", orderedMap{}}, again); err != nil || string(b2) != string(b) {
			t.Errorf("%q became %q, which is another record (%v)", text, said, err)
		}
		if r.Next() {
			t.Errorf("%q became two events", text)
		}
	})
}
