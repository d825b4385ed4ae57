package preflight

import (
	"slices"
	"strings"

	"out_amberflo/cmd/meterctl/pipeline"
)

// match looks for an input, or a filter, that has a tag for the output.
func match(v *view) {
	pattern, regex := v.out.Get("match"), v.out.Get("match_regex")
	routed := slices.ContainsFunc(v.inputs, func(in *pipeline.Section) bool { return len(in.Routes) > 0 })
	switch {
	case len(v.streams) == 0:
		v.warn(v.p.Service, "input", "want inputs of logs, so that they can be looked at too, got none in this configuration")
	case routed:
	case pattern == "" && regex == "":
		v.fail(v.out, "match", "want the tags whose records it takes, got nothing: no record would come, for example: Match %s", v.streams[0].tag)
	case len(v.inputs) == 0:
		v.fail(v.out, matchKey(v.out), "want a pattern that matches one of the tags %s, got %s: no record would come, for example: Match %s",
			tags(v.streams), got(pattern+regex), exampleMatch(v.streams[0].tag))
	}
	for _, in := range v.inputs {
		if tag := in.Get("tag"); in.Name == "http" && tag != "" && in.Get("tag_key") == "" && !overlaps(v.out, stream{tag: tag}) {
			v.warn(v.out, matchKey(v.out), "want a pattern that matches the tag %s of the input %s, got %s: only requests whose path says so would come", tag, in.ID, got(pattern+regex))
		}
	}
	for _, in := range v.p.Inputs {
		if first := slices.Index(in.Routes, v.out.ID); first >= 0 && slices.Contains(in.Routes[first+1:], v.out.ID) ||
			v.out.Get("alias") != "" && count(in.Routes, v.out.Get("alias")) > 1 {
			v.fail(in, "routes", "want one route to an output, got two: Fluent Bit loses what goes by the second")
		}
	}
}

func count(list []string, item string) (n int) {
	for _, s := range list {
		if s == item {
			n++
		}
	}
	return n
}

func matchKey(s *pipeline.Section) string {
	if s.Get("match") == "" && s.Get("match_regex") != "" {
		return "match_regex"
	}
	return "match"
}

func tags(streams []stream) string {
	var list []string
	for _, s := range streams {
		if !slices.Contains(list, s.tag) {
			list = append(list, s.tag)
		}
	}
	return strings.Join(list, ", ")
}

// exampleMatch is the first part of a tag and what follows.
func exampleMatch(tag string) string {
	first, _, parts := strings.Cut(tag, ".")
	if !parts {
		return tag
	}
	return first + ".*"
}

// twice looks for another output of the plugin that bills the same records once more.
func twice(v *view) {
	mine := mapping(v.out.Get)
	for _, other := range v.others {
		if other.Get("bucket")+other.Get("endpoint") != v.out.Get("bucket")+v.out.Get("endpoint") {
			continue
		}
		shared := slices.IndexFunc(v.streams, func(s stream) bool {
			return reaches(v.out, s) && reaches(other, s) && (s.known() || meet(v.out, other))
		})
		meter := sharedMeter(mine, mapping(other.Get))
		if shared < 0 || meter == "" {
			continue
		}
		report := v.fail
		if mine["only_if"] != mapping(other.Get)["only_if"] || mine["customer_id"] != mapping(other.Get)["customer_id"] {
			report = v.warn // may be meant
		}
		report(other, matchKey(other), "want other records or other meters than the output at %s has, got the tag %s and the meter %s in both: they are billed twice",
			v.out.Place, v.streams[shared].tag, meter)
	}
}

// sharedMeter gives a meter that both mappings bill, "" if there is none.
func sharedMeter(a, b map[string]string) string {
	if a["payload"] == "record" || b["payload"] == "record" {
		if a["payload"] == b["payload"] {
			return "(whole records)"
		}
		return ""
	}
	names := func(m map[string]string) (names []string) {
		if m["meters"] == "" {
			return items(m["meter_api_name"])
		}
		for _, item := range items(m["meters"]) {
			name, _, _ := strings.Cut(item, "=")
			names = append(names, strings.Trim(strings.TrimSpace(name), `'"`))
		}
		return names
	}
	others := names(b)
	for _, name := range names(a) {
		if slices.Contains(others, name) {
			return name
		}
	}
	return ""
}
