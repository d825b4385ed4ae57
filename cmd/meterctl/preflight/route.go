package preflight

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"out_amberflo/cmd/meterctl/parser"
	"out_amberflo/cmd/meterctl/pipeline"
)

// stream is records under one tag, or under the tags of a pattern.
type stream struct {
	tag     string              // * stands for any string
	source  *pipeline.Section   // the input, or the rewrite_tag filter that makes the tag
	inputs  []*pipeline.Section // from which the records are
	through []*pipeline.Section // filters before the tag was rewritten
}

// known tells if the tag is known in full.
func (s stream) known() bool { return !strings.Contains(s.tag, "*") }

// streams finds the tags of all inputs, and what rewrite_tag makes of them.
func streams(p *pipeline.Pipeline) (all []stream) {
	for _, in := range p.Inputs {
		if strings.HasSuffix(in.Name, "_metrics") || strings.HasPrefix(in.Name, "prometheus_") {
			continue // no logs, and nothing that comes to an output in Go
		}
		for _, tag := range inputTags(in) {
			all = append(all, stream{tag: tag, source: in, inputs: []*pipeline.Section{in}})
		}
	}
	if len(p.Streams) > 0 || p.Service.Get("streams_file") != "" {
		all = append(all, stream{tag: "*", source: p.Service, inputs: p.Inputs})
	}
	// A rewritten tag may be rewritten again by the filters: as often as there are filters is enough.
	for from := 0; from < len(all) && len(all) < 1000; from++ {
		for _, filter := range p.Filters {
			if filter.Name != "rewrite_tag" || !overlaps(filter, all[from]) || slices.Contains(all[from].through, filter) {
				continue
			}
			for _, rule := range filter.All("rule") {
				if tag, ok := newTag(rule, all[from].tag); ok {
					all = append(all, stream{tag: tag, source: filter, inputs: all[from].inputs,
						through: append(slices.Clone(through(p, all[from])), filter)})
				}
			}
		}
	}
	return all
}

// through are the filters that records of a stream go through.
func through(p *pipeline.Pipeline, s stream) []*pipeline.Section {
	list := s.through
	for _, f := range p.Filters {
		if overlaps(f, s) {
			list = appendNew(slices.Clone(list), f)
		}
	}
	return list
}

// ofSenders are inputs whose senders choose the tag, or may.
var ofSenders = []string{"splunk", "elasticsearch", "calyptia_fleet", "lib", "storage_backlog"}

var placeholder = regexp.MustCompile(`<[^<>]*>`)

// inputTags gives the patterns of tags that an input's records may have.
func inputTags(in *pipeline.Section) []string {
	tag := in.Get("tag")
	own := cmp.Or(tag, in.ID)
	switch {
	case in.Get("tag_key") != "", slices.Contains(ofSenders, in.Name):
		return []string{"*"}
	case in.Name == "forward" && in.Get("tag_prefix") != "":
		return []string{in.Get("tag_prefix") + "*"}
	case in.Name == "forward" && tag == "":
		return []string{"*"}
	case in.Name == "opentelemetry" && tag == "" && !pipeline.IsOff(in.Get("tag_from_uri")):
		return []string{"*"} // v1_logs, or what the path is
	case in.Name == "http":
		return []string{own, "*"} // what the path is, if there is one
	case tag == "":
		return []string{own}
	}
	if in.Get("tag_regex") != "" {
		tag = placeholder.ReplaceAllString(tag, "*")
	}
	return []string{tag}
}

var template = regexp.MustCompile(`\$(TAG\b(\[\d+\])?|[A-Za-z0-9_-]*(\[[^\]]*\])*)`)

// newTag is the third word of a rule of rewrite_tag, with tag in place of $TAG.
func newTag(rule, tag string) (string, bool) {
	words := ruleWords(rule)
	if len(words) < 3 {
		return "", false
	}
	return template.ReplaceAllStringFunc(words[2], func(accessor string) string {
		if accessor == "$TAG" {
			return tag
		}
		return "*"
	}), true
}

// keeps tells if a rule leaves the record under its old tag as well.
func keeps(rule string) bool {
	words := ruleWords(rule)
	return len(words) > 3 && pipeline.IsOn(words[3])
}

// ruleWords splits a rule at its spaces; a word in quotes may hold some.
func ruleWords(rule string) (words []string) {
	for rule = strings.TrimSpace(rule); rule != ""; rule = strings.TrimSpace(rule) {
		if rule[0] == '"' {
			end := endOfQuotes(rule, 0)
			words = append(words, rule[1:min(end, len(rule))])
			rule = rule[min(end+1, len(rule)):]
			continue
		}
		word, rest, _ := strings.Cut(rule, " ")
		words = append(words, word)
		rule = rest
	}
	return words
}

// reaches tells if records of a stream may come to an output.
func reaches(out *pipeline.Section, s stream) bool {
	if overlaps(out, s) {
		return true
	}
	for _, in := range s.inputs {
		if s.source == in && (slices.Contains(in.Routes, out.Name) || slices.Contains(in.Routes, out.ID) || slices.Contains(in.Routes, out.Get("alias"))) {
			return true
		}
	}
	return false
}

// overlaps tells if Match or Match_Regex of a section may match a tag of the stream.
func overlaps(s *pipeline.Section, of stream) bool {
	if pattern := s.Get("match_regex"); pattern != "" {
		re, err := TagRegex(pattern)
		if err != nil || !of.known() || re.FindString(of.tag) != "" {
			return true // as far as it can be known here
		}
	}
	return intersect(s.Get("match"), of.tag)
}

// meet tells if two sections may match one tag.
func meet(a, b *pipeline.Section) bool {
	return a.Get("match_regex")+b.Get("match_regex") != "" || intersect(a.Get("match"), b.Get("match"))
}

// intersect tells if there is a string that both patterns match. Of patterns beyond all reason it says so without looking.
func intersect(a, b string) bool {
	if len(a)*len(b) > 1<<16 {
		return true
	}
	known := map[[2]int]bool{}
	var from func(i, j int) bool
	from = func(i, j int) bool {
		at := [2]int{i, j}
		if answer, seen := known[at]; seen {
			return answer
		}
		known[at] = false
		switch {
		case i < len(a) && a[i] == '*':
			known[at] = from(i+1, j) || j < len(b) && from(i, j+1)
		case j < len(b) && b[j] == '*':
			known[at] = from(i, j+1) || i < len(a) && from(i+1, j)
		default:
			known[at] = i == len(a) && j == len(b) || i < len(a) && j < len(b) && a[i] == b[j] && from(i+1, j+1)
		}
		return known[at]
	}
	return from(0, 0)
}

// TagRegex is a Match_Regex as Fluent Bit reads it: what it matches begins where the tag does, and is not empty.
func TagRegex(pattern string) (*regexp.Regexp, error) {
	return compile(pattern, "^(?:", ")")
}

// compile compiles an expression of Fluent Bit, which has Ruby's syntax, between two of Go's. It takes what both have.
func compile(pattern, before, after string) (*regexp.Regexp, error) {
	inner, flags, ok := parser.Slashes(pattern)
	if !ok {
		return regexp.Compile(before + pattern + after)
	}
	for _, f := range []struct{ ruby, golang string }{{"i", "(?i)"}, {"m", "(?s)"}} {
		if strings.Contains(flags, f.ruby) {
			before = f.golang + before
		}
	}
	if strings.Contains(flags, "x") {
		return nil, fmt.Errorf("%q, with the option x", pattern)
	}
	return regexp.Compile(before + inner + after)
}
