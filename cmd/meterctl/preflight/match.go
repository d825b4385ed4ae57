package preflight

import (
	"regexp"
	"slices"
	"strings"

	"out_amberflo/cmd/meterctl/parser"
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
	case parser.Unclosed(regex):
		v.fail(v.out, "match_regex", "want an expression whose brackets all close, got %q: no record would come", regex)
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
		if count(in.Routes, v.out.ID) > 1 || v.out.Get("alias") != "" && count(in.Routes, v.out.Get("alias")) > 1 {
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
		theirs := mapping(other.Get)
		meter, certain := sharedMeter(mine, theirs)
		if shared < 0 || meter == "" || disjoint(mine["only_if"], theirs["only_if"]) {
			continue
		}
		report, are := v.fail, "are"
		if !certain || mine["only_if"] != theirs["only_if"] || mine["customer_id"] != theirs["customer_id"] {
			report, are = v.warn, "may be"
		}
		report(other, matchKey(other), "want other records or other meters than the output at %s has, got the tag %s and the meter %s in both: they %s billed twice",
			v.out.Place, v.streams[shared].tag, meter, are)
	}
}

// sharedMeter gives a meter that both mappings bill, "" if there is none. Where one takes the name from a field, it may be any
// of the other's.
func sharedMeter(a, b map[string]string) (name string, certain bool) {
	if a["payload"] == "record" || b["payload"] == "record" {
		if a["payload"] == b["payload"] {
			return "(whole records)", true
		}
		return "", false
	}
	names, others := meterNames(a), meterNames(b)
	for _, name := range names {
		if slices.Contains(others, name) {
			return name, true
		}
	}
	for _, list := range [][]string{names, others} {
		for _, name := range list {
			if _, text := literal(name); !text && name != "" {
				return name, false
			}
		}
	}
	return "", false
}

// meterNames are the names of a mapping's meters, and the accessors that give some.
func meterNames(m map[string]string) (names []string) {
	if m["meters"] == "" {
		for _, item := range items(m["meter_api_name"]) {
			if text, ok := literal(item); ok {
				item = text
			}
			names = append(names, item)
		}
		return names
	}
	for _, item := range items(m["meters"]) {
		name, _, _ := strings.Cut(item, "=")
		names = append(names, strings.Trim(strings.TrimSpace(name), `'"`))
	}
	return names
}

var compared = regexp.MustCompile(`^(\$\S+?)\s*(==|!=|is)\s*(.*)$`)

// disjoint tells if two conditions of only_if say the opposite of one field, so that no record fits both. Where it is not
// simple, it does not know.
func disjoint(a, b string) bool {
	for _, one := range conditions(a) {
		for _, other := range conditions(b) {
			if one == nil || other == nil || one[1] != other[1] {
				continue
			}
			same := one[3] == other[3]
			switch one[2] + other[2] {
			case "==!=", "!===":
				if same {
					return true
				}
			case "====":
				if !same && !number.MatchString(one[3]+other[3]) || whole.MatchString(one[3]) && whole.MatchString(other[3]) && !same {
					return true
				}
			case "isis":
				if !strings.EqualFold(one[3], other[3]) {
					return true
				}
			}
		}
	}
	return false
}

var (
	number = regexp.MustCompile(`[0-9]`)
	whole  = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)
	joined = regexp.MustCompile(`(?i)\s+and\s+`)
)

// conditions splits only_if; nil stands for what it cannot read.
func conditions(text string) (list [][]string) {
	for _, one := range joined.Split(text, -1) {
		m := compared.FindStringSubmatch(strings.TrimSpace(one))
		if m != nil {
			m[3] = strings.Trim(m[3], `'"`)
		}
		list = append(list, m)
	}
	return list
}
