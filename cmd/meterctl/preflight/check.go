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
var checks = []struct {
	name string
	run  func(*view)
}{
	{"keys of the output", keys},
	{"how a value is written", forms},
	{"values that the plugin refuses", values},
	{"variables", variables},
	{"what has a tag that the output matches", match},
	{"two outputs that bill the same", twice},
	{"where accepted records wait", spool},
	{"what Fluent Bit does with chunks", host},
	{"where inputs keep their chunks", storage},
	{"the tail input", tail},
	{"files that are read twice", readTwice},
	{"lines that no parser comes to", unparsed},
	{"lines that come in parts", inParts},
	{"filters that nothing comes to", idle},
	{"filters that send records on under a new tag, or hold them back", emitters},
	{"filters that lose or change records", lossy},
	{"filters that take fields away", removed},
	{"parsers that are named", parserNames},
	{"what parsers are told", parserOptions},
	{"parsers that change what is metered", types},
	{"parsers that take the time away", timeKeys},
	{"fields that nobody makes", onlyLog},
	{"processors of the output", processors},
	{"OpenTelemetry", openTelemetry},
	{"literals that look like fields", literals},
	{"ids and times of a second reading", secondReading},
}

// Output gives the findings for one output of p, in the order of the files.
func Output(p *pipeline.Pipeline, out *pipeline.Section) []pipeline.Finding {
	return find(newView(p, out))
}

func find(v *view) []pipeline.Finding {
	for _, f := range v.p.Findings {
		if f.Section == nil || f.Section == v.out || v.concerns(f.Section) {
			v.found = append(v.found, f)
		}
	}
	for _, c := range checks {
		c.run(v)
	}
	slices.SortStableFunc(v.found, func(a, b pipeline.Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return v.found
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
	slices.SortStableFunc(all, func(a, b pipeline.Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return all
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
	v.found = append(v.found, pipeline.Finding{Place: s.PlaceOf(key), Error: true, Section: s, Key: key, Text: fmt.Sprintf(text, args...)})
}

// warn is fail for what may be meant.
func (v *view) warn(s *pipeline.Section, key, text string, args ...any) {
	v.found = append(v.found, pipeline.Finding{Place: s.PlaceOf(key), Section: s, Key: key, Text: fmt.Sprintf(text, args...)})
}

// got is a value in quotes, or nothing.
func got(value string) string {
	if value == "" {
		return "nothing"
	}
	return fmt.Sprintf("%q", value)
}

func isOn(value string) bool {
	return slices.Contains([]string{"on", "true", "yes"}, strings.ToLower(value))
}

// ofMapping are the options of "How a log becomes a meter".
func ofMapping() []string {
	_, mapping := plugin.Keys()
	return mapping
}
