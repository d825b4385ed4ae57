package preflight

import (
	"slices"
	"strings"

	"out_amberflo/cmd/meterctl/pipeline"
	"out_amberflo/plugin"
)

// keys names those that neither Fluent Bit nor the plugin knows, and those that stand twice.
func keys(v *view) {
	delivery, mapping := plugin.Keys()
	known := slices.Concat(mapping, delivery, pipeline.HostKeys())
	first := map[string]pipeline.Property{}
	for _, p := range v.out.Properties {
		if before, twice := first[p.Key]; twice {
			v.stoodBefore(p, before)
			continue
		}
		first[p.Key] = p
		if slices.Contains(known, p.Key) || pipeline.IsHostKey(p.Key) {
			continue
		}
		if p.Key == "processors" || p.Key == "routes" {
			continue
		}
		example := ""
		if near := nearest(p.Key, known); near != "" {
			example = "; did you mean " + near + "?"
		}
		v.failAt(v.out, p, "want an option of amberflo or of Fluent Bit, got one that neither has, with which Fluent Bit 5.1.1 does not start, and which older ones may skip%s", example)
	}
	for _, g := range v.out.Groups {
		v.failAt(v.out, pipeline.Property{Place: g.Place, Key: "[" + g.Name + "]"}, "want all options directly below [OUTPUT], got a group: Fluent Bit skips what is in it")
	}
}

// stoodBefore reports a key that stands twice, but for the items of one list.
func (v *view) stoodBefore(p, before pipeline.Property) {
	if p.Place == before.Place {
		return
	}
	counts := "Fluent Bit 5.1.1 does not start with that, and in older ones the first counts"
	if v.out.LastCounts(p.Key) {
		counts = "the last one counts"
	}
	if pipeline.IsHostKey(p.Key) && p.Key != "match" && p.Key != "match_regex" {
		v.warn(v.out, p.Key, "want it once, got it in line %d already: %s", before.Line, counts)
		return
	}
	v.failAt(v.out, p, "want it once, got it in line %d already: %s", before.Line, counts)
}

// forms names lists and maps of YAML, and values that say nothing: Fluent Bit does not start with some, and of others gives the
// plugin the first item, or nothing, and a default bills instead.
func forms(v *view) {
	for _, s := range slices.Concat([]*pipeline.Section{v.p.Service}, v.p.Inputs, v.p.Filters, v.p.Outputs) {
		for _, p := range s.Properties {
			switch {
			case p.Form == pipeline.Spaces:
				v.failAt(s, p, "want a string, got only spaces, with which Fluent Bit does not start")
			case p.Form == pipeline.Null:
				v.failAt(s, p, "want a string, or no such line, got the null of YAML, which for Fluent Bit is the string %q", p.Value)
			case p.Form == pipeline.Map && p.Key != "telemetry" && p.Key != "routes", p.Form == pipeline.Empty:
				v.failAt(s, p, "want one string, got a map or an empty list, with which Fluent Bit does not start")
			}
		}
	}
	told := map[pipeline.Place]bool{}
	for _, p := range v.out.Properties {
		if told[p.Place] {
			continue
		}
		items := v.out.All(p.Key)
		switch {
		case p.Form == pipeline.List && len(items) > 1:
			counts := "with which Fluent Bit 5.1.1 does not start, and of which older ones take the first item"
			if v.out.LastCounts(p.Key) {
				counts = "of which the last item counts"
			}
			v.failAt(v.out, p, "want one string, got a list, %s, for example: %s: %s", counts, p.Key, strings.Join(items, ", "))
		case p.Form == pipeline.Text && p.Value == "" && !v.unset(p):
			v.failAt(v.out, p, "want a string, got an empty one: the default would count instead; leave the line out if that is meant")
		}
		told[p.Place] = true
	}
}

// unset tells if a property uses a variable that has no value.
func (v *view) unset(p pipeline.Property) bool {
	return slices.ContainsFunc(v.p.Unset, func(u pipeline.Variable) bool { return u.Place == p.Place && u.Key == p.Key })
}

// values are the plugin's own verdicts.
func values(v *view) {
	_, wrong := plugin.Check(v.out.Get)
	unset := slices.ContainsFunc(v.p.Unset, func(u pipeline.Variable) bool { return u.Section == v.out })
	for _, m := range wrong {
		if p := v.out.Find(m.Key); p != nil && v.unset(*p) {
			continue // the variable is named
		}
		text := strings.TrimPrefix(m.Error(), m.Key+": ")
		if mapping := slices.Contains(ofMapping(), m.Key); unset && !mapping {
			v.warn(v.out, m.Key, "%s (with variables that are not set here)", text)
			continue
		}
		v.fail(v.out, m.Key, "%s", text)
	}
}

// variables names those that have no value where this runs.
func variables(v *view) {
	for _, u := range v.p.Unset {
		if !v.concerns(u.Section) && u.Section.Kind != pipeline.Parser {
			continue
		}
		why := "is not set here, and is empty for Fluent Bit too if it is not set there"
		if u.Emptied {
			why = "is set to nothing by the configuration itself, where Fluent Bit 5.1.1 may take any other word of its memory"
		}
		v.report(true, u.Section, u.Place, u.Key, "want a value for ${%s}, got none: it %s", u.Name, why)
	}
}

// nearest gives the name that takes the fewest edits to become key, "" if none is near.
func nearest(key string, names []string) string {
	best, least := "", max(2, len(key)/3)+1
	for _, name := range names {
		if n := edits(key, name); n < least {
			best, least = name, n
		}
	}
	return best
}

// edits is the Levenshtein distance of two strings, in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0]++
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
