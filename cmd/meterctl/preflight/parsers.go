package preflight

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"out_amberflo/cmd/meterctl/pipeline"
)

// use is a parser that a section on the way to the output names.
type use struct {
	pipeline.Property // that names it
	by                *pipeline.Section
	parser            *pipeline.Section // nil: nobody defines it
}

// uses finds the parsers of inputs and filters.
func (v *view) uses() (all []use) {
	add := func(s *pipeline.Section, keys ...string) {
		for _, key := range keys {
			for _, p := range s.Each(key) {
				all = append(all, use{p, s, v.p.ParserNamed(p.Value)})
			}
		}
	}
	for _, in := range v.inputs {
		add(in, "parser", "parser_firstline", "docker_mode_parser")
	}
	for _, f := range v.filters {
		switch f.Name {
		case "parser":
			add(f, "parser")
		case "kubernetes":
			add(f, "merge_parser")
		}
	}
	return all
}

// parserNames looks for parsers that nobody defines.
func parserNames(v *view) {
	for _, u := range v.uses() {
		if u.parser == nil && v.p.Complete {
			v.failAt(u.by, u.Property, "want a parser of Parsers_File, got %q, which no file defines: lines stay one string in the field log, or Fluent Bit does not start", u.Value)
		}
	}
}

// cast is what Types makes of strings that are no plain number.
var cast = map[string]string{
	"integer": `"-" becomes 0, "1,234" becomes 1, a name becomes 0 and 20 digits become 9223372036854775807`,
	"float":   `"-" and a name become 0, "1,234" becomes 1, and digits beyond the 15th are lost`,
	"hex":     `"10" becomes 16, "-" becomes 0 and "1,234" becomes 1`,
	"bool":    `it is no number and no string any more`,
}

// types looks for parsers that turn a string which the mapping names into a number: the plugin reads numbers in strings to the last
// digit, and rejects what is none.
func types(v *view) {
	for _, u := range v.uses() {
		if u.parser == nil || strings.EqualFold(u.parser.Get("format"), "json") { // which looks at no Types
			continue
		}
		for _, item := range strings.Fields(u.parser.Get("types")) {
			name, kind, _ := strings.Cut(item, ":")
			becomes, known := cast[strings.ToLower(kind)]
			named := func(f Field) bool { return f.Root == "record" && f.Key == name }
			i := slices.IndexFunc(v.fields, func(f Field) bool { return named(f) && f.Money() })
			report := v.fail
			if i < 0 {
				report, i = v.warn, slices.IndexFunc(v.fields, named) // of the time and of dimensions
			}
			if !known || i < 0 || digitsOnly(u.parser.Get("regex"), name, strings.ToLower(kind)) {
				continue
			}
			report(u.parser, "types", "want no type for %s, which %s names, got %q: %s; without it the plugin takes each number as it stands", name, v.fields[i].Option, item, becomes)
		}
	}
}

var (
	digits   = regexp.MustCompile(`^(\\d|\[0-9\])(\+|\*|\{\d+(,\d*)?\})?$`)
	decimals = regexp.MustCompile(`^(\\d|\[(0-9|\\d)\.\]|\[\.(0-9|\\d)\]|\[0-9\])[+*](\\\.(\\d|\[0-9\])[+*])?$`)
)

// digitsOnly tells if a regex gives a group nothing but digits, which the type then takes as they are.
func digitsOnly(regex, name, kind string) bool {
	_, group, found := strings.Cut(regex, "(?<"+name+">")
	if !found {
		return false
	}
	depth := 0
	for i := 0; i < len(group); i++ {
		switch group[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth < 0 {
				return kind == "integer" && digits.MatchString(group[:i]) || kind == "float" && (digits.MatchString(group[:i]) || decimals.MatchString(group[:i]))
			}
		}
	}
	return false
}

// taken is the field that a parser takes away as the record's time, "" if none.
func taken(parser *pipeline.Section) string {
	if parser.Get("time_format") == "" || pipeline.IsOn(parser.Get("time_keep")) {
		return ""
	}
	return cmp.Or(parser.Get("time_key"), "time")
}

// timeKeys looks for fields that a parser takes away with the time.
func timeKeys(v *view) {
	texts := mapping(v.out.Get)
	for _, u := range v.uses() {
		if u.parser == nil || taken(u.parser) == "" {
			continue
		}
		for _, f := range v.fields {
			if f.Key != taken(u.parser) {
				continue
			}
			report := v.warn
			switch {
			case f.Option == "meter_time" && slices.Contains(items(texts["meter_time"]), "event"):
				continue // the event has the time
			case f.Option == "meter_time" || f.Money():
				report = v.fail
			}
			report(u.parser, "time_keep", "want On, since %s names %s, got %s: the parser takes that field out of the record, for example: Time_Keep On", f.Option, f.Text, got(u.parser.Get("time_keep")))
		}
	}
}

// silent are filters that make no field.
var silent = []string{"grep", "throttle", "stdout", "rewrite_tag", "multiline", "expect"}

// onlyLog looks for a tail input whose lines nobody parses.
func onlyLog(v *view) {
	var made []string
	for _, f := range v.filters {
		names, all := kubernetesFields(f)
		if !slices.Contains(silent, f.Name) && (f.Name != "kubernetes" || !all) {
			return
		}
		if f.Name == "kubernetes" {
			made = append(made, names...)
		}
	}
	for _, in := range v.inputs {
		if in.Name != "tail" || in.Get("parser") != "" || in.Get("parser_firstline") != "" || len(in.Processors)+len(v.out.Processors) > 0 {
			continue
		}
		has := append([]string{cmp.Or(in.Get("key"), "log"), in.Get("path_key"), in.Get("offset_key")}, made...)
		if ml := in.Get("multiline.parser"); ml != "" {
			has = append(has, "log", "stream", "time", "_p")
			for _, name := range strings.FieldsFunc(ml, func(r rune) bool { return r == ',' || r == ' ' }) {
				if !slices.Contains([]string{"docker", "cri", "go", "java", "python", "ruby"}, name) {
					return // one of the user's, which may have a parser
				}
			}
		}
		for _, f := range v.fields {
			if f.Root == "record" && f.Money() && f.Option != "unique_id" && !slices.Contains(has, f.Key) {
				v.fail(in, "parser", "want a parser, or a filter that makes fields, since %s names %s, got nothing: each line is one string in the field %s, and that is not found, for example: Parser json_lines", f.Option, f.Text, has[0])
				break
			}
		}
	}
}

// noGroup looks for fields that no parser's expression makes, and nothing else either.
func noGroup(v *view) {
	var groups []string
	var in *pipeline.Section
	for _, in = range v.inputs {
		parser := v.p.ParserNamed(in.Get("parser"))
		if in.Name != "tail" || in.Get("multiline.parser") != "" || parser == nil || !strings.EqualFold(parser.Get("format"), "regex") {
			return
		}
		groups = append(groups, groupsOf(parser)...)
	}
	for _, f := range v.fields {
		_, mayBe := v.madeBy(v.way(), f.Key)
		if in == nil || f.Root != "record" || slices.Contains(groups, f.Key) || v.ofPlace(f.Key) || mayBe || v.out.Get(f.Option) == "" {
			continue
		}
		report := v.warn
		if f.Money() {
			report = v.fail
		}
		report(v.out, f.Option, "want a field that the parser makes (%s), got %s: no group of the Regex has that name", strings.Join(groups, ", "), f.Text)
	}
}
