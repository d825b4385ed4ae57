// Package preflight looks at a whole pipeline of Fluent Bit before it goes live, and names what would lose, double or misbill
// records. checks is the list of what it looks at: to add one, write a function over a view and a row there.
package preflight

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"out_amberflo/cmd/meterctl/pipeline"
	"out_amberflo/plugin"
)

// checks run in this order. Each looks at one output of the plugin and at the way of records to it.
var checks = []func(*view){
	keys,          // keys of the output
	forms,         // how a value is written
	values,        // values that the plugin does not take
	variables,     // variables
	match,         // what has a tag that the output matches
	twice,         // two outputs that bill the same
	spool,         // where accepted records wait
	host,          // what Fluent Bit does with chunks
	storage,       // where inputs keep their chunks
	tail,          // the tail input
	readTwice,     // files that are read twice
	unparsed,      // lines that no parser comes to
	inParts,       // lines that come in parts
	idle,          // filters that nothing comes to
	emitters,      // filters that send records on under a new tag, or hold them back
	lossy,         // filters that lose or change records
	changed,       // filters and processors that take fields away, or write over them
	places,        // inputs that write over fields
	parserNames,   // parsers that are named
	parserOptions, // what parsers are told
	types,         // parsers that change what is metered
	timeKeys,      // parsers that take the time away
	onlyLog,       // fields that nobody makes
	noGroup,       // fields that no parser makes
	levels,        // what is told
	processors,    // processors of the output
	openTelemetry, // OpenTelemetry
	literals,      // literals that look like fields
	shared,        // ids that several records have
	secondReading, // ids and times of a second reading
}

// Output gives the findings for one output of p, in the order of the files.
func Output(p *pipeline.Pipeline, out *pipeline.Section) []pipeline.Finding {
	return inOrder(find(newView(p, out)))
}

func find(v *view) []pipeline.Finding {
	for _, f := range v.p.Findings {
		if f.Section == nil || f.Section == v.out || v.concerns(f.Section) {
			v.found = append(v.found, f)
		}
	}
	for _, check := range checks {
		check(v)
	}
	return v.found
}

// inOrder sorts findings as they stand in the files.
func inOrder(findings []pipeline.Finding) []pipeline.Finding {
	slices.SortStableFunc(findings, func(a, b pipeline.Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return findings
}

// All gives the findings for every output of the plugin, each once.
func All(p *pipeline.Pipeline) (all []pipeline.Finding) {
	mine := p.Mine()
	if len(mine) == 0 {
		return []pipeline.Finding{{Place: p.Service.Place, Error: true, Key: "name", Text: "want an output whose name is amberflo, got none, for example: Name amberflo"}}
	}
	seen := map[string]bool{}
	for i, out := range mine {
		v := newView(p, out)
		v.others = mine[i+1:] // each pair once
		for _, f := range find(v) {
			if !seen[f.String()] {
				seen[f.String()] = true
				all = append(all, f)
			}
		}
	}
	return inOrder(all)
}

// Failed tells if one of them is an error.
func Failed(findings []pipeline.Finding) bool {
	return slices.ContainsFunc(findings, func(f pipeline.Finding) bool { return f.Error })
}

// view is one output and what comes to it.
type view struct {
	p       *pipeline.Pipeline
	out     *pipeline.Section
	others  []*pipeline.Section // outputs of the plugin to compare it with
	streams []stream            // all of the pipeline
	inputs  []*pipeline.Section // whose records may reach the output
	filters []*pipeline.Section // through which they may go
	fields  []Field             // that the mapping names
	found   []pipeline.Finding
}

func newView(p *pipeline.Pipeline, out *pipeline.Section) *view {
	v := &view{p: p, out: out, streams: streams(p), fields: Fields(out.Get)}
	v.others = slices.DeleteFunc(p.Mine(), func(s *pipeline.Section) bool { return s == out })
	for _, s := range v.streams {
		if !reaches(out, s) {
			continue
		}
		v.inputs = appendNew(v.inputs, s.inputs...)
		for _, f := range p.Filters {
			if slices.Contains(s.through, f) || overlaps(f, s) && (s.known() || meet(f, out)) {
				v.filters = appendNew(v.filters, f)
			}
		}
	}
	return v
}

// concerns tells if a section is on the way to the output.
func (v *view) concerns(s *pipeline.Section) bool {
	return s == v.out || s == v.p.Service || slices.Contains(v.inputs, s) || slices.Contains(v.filters, s) || slices.Contains(v.out.Processors, s)
}

func appendNew(list []*pipeline.Section, more ...*pipeline.Section) []*pipeline.Section {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// fail reports an error at a key of a section, or at the section.
func (v *view) fail(s *pipeline.Section, key, text string, args ...any) {
	v.report(true, s, s.PlaceOf(key), key, text, args...)
}

// failAt is fail for one of several properties of the same key.
func (v *view) failAt(s *pipeline.Section, p pipeline.Property, text string, args ...any) {
	v.report(true, s, p.Place, p.Key, text, args...)
}

// warn is fail for what may be meant.
func (v *view) warn(s *pipeline.Section, key, text string, args ...any) {
	v.report(false, s, s.PlaceOf(key), key, text, args...)
}

// warnAt is failAt for what may be meant.
func (v *view) warnAt(s *pipeline.Section, p pipeline.Property, text string, args ...any) {
	v.report(false, s, p.Place, p.Key, text, args...)
}

func (v *view) report(isError bool, s *pipeline.Section, at pipeline.Place, key, text string, args ...any) {
	v.found = append(v.found, pipeline.Finding{Place: at, Error: isError, Section: s, Key: key, Text: fmt.Sprintf(text, args...)})
}

// got is a value in quotes, or nothing.
func got(value string) string {
	if value == "" {
		return "nothing"
	}
	return fmt.Sprintf("%q", value)
}

// ofMapping are the options of "How a log becomes a meter".
func ofMapping() []string {
	_, mapping := plugin.Keys()
	return mapping
}
