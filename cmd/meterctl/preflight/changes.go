package preflight

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"out_amberflo/cmd/meterctl/pipeline"
)

// change is what one option of a filter, or of a processor, does to fields of a record.
type change struct {
	pipeline.Property
	takes func(field string) bool // away; nil: none
	sets  func(field string) bool // to another value, whatever the log says; nil: none
	makes func(field string) bool // where there is none; nil: as sets
	maybe bool                    // not of every record
	rest  bool                    // it takes all that it does not name
}

// changers know the filters and processors whose changes can be read from their options.
var changers = map[string]func(*view, *pipeline.Section) []change{
	"modify": modify, "record_modifier": recordModifier, "nest": nest, "parser": parserFilter, "content_modifier": contentModifier,
	"sql": sql, "type_converter": typeConverter, "checklist": lookedUp, "geoip2": lookedUp, "kubernetes": kubernetes,
}

// changed looks for filters and processors that take a field away which the mapping names, or write over it.
func changed(v *view) {
	way := v.way()
	for i, s := range way {
		changes := changers[s.Name]
		if changes == nil {
			continue
		}
		for _, c := range changes(v, s) {
			for _, f := range v.fields {
				if f.Root == "record" && (f.Money() || f.Option == "meter_time") {
					v.tell(s, c, f, way[i+1:])
				}
			}
		}
	}
}

// way is what a record goes through, in its order: processors of inputs, filters, processors of the output.
func (v *view) way() (all []*pipeline.Section) {
	for _, in := range v.inputs {
		all = append(all, in.Processors...)
	}
	return append(append(all, v.filters...), v.out.Processors...)
}

// tell reports what a change does to a field, unless what comes later makes the field again.
func (v *view) tell(s *pipeline.Section, c change, f Field, later []*pipeline.Section) {
	made, mayBe := v.madeBy(later, f.Key)
	switch {
	case c.takes != nil && c.takes(f.Key) && !made && !(c.rest && v.out.Get(f.Option) == ""):
		switch {
		case c.maybe || mayBe:
			v.warnAt(s, c.Property, "want the field %s kept, since %s names it, got %q, which may take it out of records", f.Key, f.Option, c.Value)
		case c.rest:
			v.failAt(s, c.Property, "want %s among the fields that are kept, since %s names it, got %s", f.Key, f.Option, c.Value)
		default:
			v.failAt(s, c.Property, "want the field %s kept, since %s names it, got %q", f.Key, f.Option, c.Value)
		}
	case c.sets != nil && c.sets(f.Key) && v.mayHold(f.Key):
		v.warnAt(s, c.Property, "want the field %s as the log has it, since %s names it, got %q, which writes over it: what the log says is not billed", f.Key, f.Option, c.Value)
	}
}

// madeBy tells if one of these filters and processors makes a field, or may.
func (v *view) madeBy(list []*pipeline.Section, field string) (made, mayBe bool) {
	for _, s := range list {
		changes := changers[s.Name]
		if changes == nil {
			mayBe = mayBe || !slices.Contains(silent, s.Name)
			continue
		}
		mayBe = mayBe || s.Name == "kubernetes" || s.Name == "nest" && strings.EqualFold(s.Get("operation"), "lift")
		for _, c := range changes(v, s) {
			makes := c.makes
			if makes == nil {
				makes = c.sets
			}
			if makes != nil && makes(field) {
				made, mayBe = made || !c.maybe, true
			}
		}
	}
	return made, mayBe
}

// is tells if a field has that name.
func is(name string) func(string) bool {
	return func(field string) bool { return field == name }
}

// begins tells if a field begins so.
func begins(prefix string) func(string) bool {
	return func(field string) bool { return strings.HasPrefix(field, prefix) }
}

// word gives the word at i, "" if there is none.
func word(words []string, i int) string {
	if i < len(words) {
		return words[i]
	}
	return ""
}

// modify reads the rules of the filter. One that sets a field under the condition that there is none writes over nothing.
func modify(_ *view, s *pipeline.Section) (list []change) {
	var absent []string
	maybe := len(s.All("condition")) > 0
	for _, condition := range s.All("condition") {
		if words := ruleWords(condition); strings.EqualFold(word(words, 0), "key_does_not_exist") {
			absent = append(absent, word(words, 1))
		}
	}
	for _, p := range s.Properties {
		words := ruleWords(p.Value)
		first, second := word(words, 0), word(words, 1)
		c := change{Property: p, maybe: maybe}
		switch p.Key {
		case "remove":
			c.takes = is(first)
		case "remove_wildcard":
			c.takes = begins(first)
		case "remove_regex":
			c.takes = fits(first)
		case "rename":
			c.takes, c.makes = is(first), is(second)
		case "hard_rename":
			c.takes, c.sets = is(first), is(second)
		case "hard_copy":
			c.sets = is(second)
		case "set":
			c.sets = is(first)
		case "add":
			c.makes = is(first)
		case "copy":
			c.makes = is(second)
		default:
			continue
		}
		if sets := c.sets; sets != nil {
			c.makes = sets
			c.sets = func(field string) bool { return sets(field) && !slices.Contains(absent, field) }
		}
		list = append(list, c)
	}
	return list
}

// fits tells if an expression matches a field, wherever in it; one that cannot be read here matches nothing.
func fits(pattern string) func(string) bool {
	re, err := compile(pattern, "", "")
	return func(field string) bool { return err == nil && re.MatchString(field) }
}

// recordModifier compares names without regard to case; a * at the end stands for any string. With Remove_key, it has no
// Allowlist_key.
func recordModifier(_ *view, s *pipeline.Section) (list []change) {
	var kept []func(string) bool
	var allow pipeline.Property
	for _, p := range s.Properties {
		switch p.Key {
		case "remove_key":
			list = append(list, change{Property: p, takes: ofAnyCase(p.Value)})
		case "record":
			list = append(list, change{Property: p, sets: is(word(ruleWords(p.Value), 0))})
		case "uuid_key":
			list = append(list, change{Property: p, sets: is(p.Value)})
		case "allowlist_key", "whitelist_key":
			kept, allow = append(kept, ofAnyCase(p.Value)), p
		}
	}
	if len(kept) > 0 && s.Get("remove_key") == "" {
		allow.Value = strings.Join(s.All(allow.Key), ", ")
		list = append(list, change{Property: allow, rest: true, takes: func(field string) bool {
			return !slices.ContainsFunc(kept, func(has func(string) bool) bool { return has(field) })
		}})
	}
	return list
}

func ofAnyCase(name string) func(string) bool {
	prefix, any := strings.CutSuffix(name, "*")
	return func(field string) bool {
		return strings.EqualFold(field, name) || any && len(field) >= len(prefix) && strings.EqualFold(field[:len(prefix)], prefix)
	}
}

// nest puts fields below another one, or those of another one in its place.
func nest(_ *view, s *pipeline.Section) (list []change) {
	lifts := strings.EqualFold(s.Get("operation"), "lift")
	for _, p := range s.Properties {
		prefix, any := strings.CutSuffix(p.Value, "*")
		switch {
		case p.Key == "nested_under" && lifts:
			list = append(list, change{Property: p, takes: is(p.Value)})
		case p.Key == "wildcard" && !lifts && any:
			list = append(list, change{Property: p, takes: begins(prefix)})
		case p.Key == "wildcard" && !lifts:
			list = append(list, change{Property: p, takes: is(p.Value)})
		case p.Key == "nest_under" && !lifts:
			list = append(list, change{Property: p, makes: is(p.Value)})
		}
	}
	return list
}

// parserFilter replaces the record by what a parser makes of one field, unless Reserve_Data is on. Of parsers other than regex
// nobody knows what they make; where they read the line itself, they make all that there is.
func parserFilter(v *view, s *pipeline.Section) []change {
	c := change{Property: pipeline.Property{Place: s.PlaceOf("reserve_data"), Key: "reserve_data", Value: cmp.Or(s.Get("reserve_data"), "Off")}}
	key, line := s.Get("key_name"), true
	for _, in := range v.inputs {
		line = line && in.Get("parser") == ""
	}
	var groups []string
	known := true
	for _, name := range s.All("parser") {
		section := v.p.ParserNamed(name)
		known = known && section != nil && strings.EqualFold(section.Get("format"), "regex")
		if known {
			groups = append(groups, groupsOf(section)...)
		}
	}
	c.maybe, c.rest = !known, !pipeline.IsOn(s.Get("reserve_data"))
	c.makes = func(field string) bool { return !known || slices.Contains(groups, field) }
	c.takes = func(field string) bool {
		switch {
		case slices.Contains(groups, field) || field == key && pipeline.IsOn(s.Get("preserve_key")):
			return false
		case pipeline.IsOn(s.Get("reserve_data")):
			return field == key && known
		case known:
			return true
		}
		return !line && key != "log" || v.ofPlace(field)
	}
	return []change{c}
}

// ofPlace tells if an input adds the field to what the line says.
func (v *view) ofPlace(field string) bool {
	return slices.ContainsFunc(v.inputs, func(in *pipeline.Section) bool {
		return slices.ContainsFunc(placeKeys, func(key string) bool { return in.Get(key) == field })
	})
}

// contentModifier is a processor; its other contexts are no fields of the record.
func contentModifier(_ *view, s *pipeline.Section) []change {
	if !slices.Contains([]string{"", "body", "message", "record"}, strings.ToLower(s.Get("context"))) {
		return nil
	}
	key, value := s.Get("key"), s.Get("value")
	c := change{Property: pipeline.Property{Place: s.PlaceOf("action"), Key: "action", Value: strings.TrimSpace(s.Get("action") + " " + key)}, maybe: s.Find("condition") != nil}
	switch strings.ToLower(s.Get("action")) {
	case "delete":
		c.takes = is(key)
	case "rename":
		c.takes, c.sets = is(key), is(value)
	case "insert":
		c.makes = is(key)
	case "upsert", "hash", "convert":
		c.sets = is(key)
	case "extract":
		groups := groupNames(s.Get("pattern"))
		c.sets = func(field string) bool { return slices.Contains(groups, field) }
	}
	return []change{c}
}

var selected = regexp.MustCompile(`(?is)^\s*select\s+(.*?)\s+from\s`)

// sql keeps the columns of SELECT, under the names that AS gives them.
func sql(_ *view, s *pipeline.Section) []change {
	p := s.Find("query")
	if p == nil {
		return nil
	}
	m := selected.FindStringSubmatch(p.Value + " ")
	if m == nil || strings.Contains(m[1], "*") {
		return nil
	}
	var names, others []string
	for _, column := range strings.Split(m[1], ",") {
		words := strings.Fields(column)
		if len(words) == 0 {
			continue
		}
		name := strings.Trim(words[len(words)-1], `'"`)
		if names = append(names, name); name != words[0] {
			others = append(others, name)
		}
	}
	return []change{{Property: *p, rest: true,
		takes: func(field string) bool { return !slices.Contains(names, field) },
		sets:  func(field string) bool { return slices.Contains(others, field) },
	}}
}

// typeConverter writes a field, cast, under another name.
func typeConverter(_ *view, s *pipeline.Section) (list []change) {
	for _, p := range s.Properties {
		if slices.Contains([]string{"int_key", "uint_key", "float_key", "str_key"}, p.Key) {
			list = append(list, change{Property: p, sets: is(word(ruleWords(p.Value), 1)), maybe: true})
		}
	}
	return list
}

// lookedUp are filters that add a record's fields by what they find in a list.
func lookedUp(_ *view, s *pipeline.Section) (list []change) {
	for _, p := range s.Properties {
		if p.Key == "record" {
			list = append(list, change{Property: p, sets: is(word(ruleWords(p.Value), 0)), maybe: true})
		}
	}
	return list
}

// kubernetes takes the line away once it has merged it.
func kubernetes(_ *view, s *pipeline.Section) []change {
	if p := s.Find("keep_log"); p != nil && pipeline.IsOff(p.Value) && pipeline.IsOn(s.Get("merge_log")) {
		return []change{{Property: *p, takes: is("log"), maybe: true}}
	}
	return nil
}
