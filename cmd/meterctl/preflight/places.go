package preflight

import (
	"regexp"
	"slices"
	"strings"

	"out_amberflo/cmd/meterctl/pipeline"
)

// placeKeys are options of inputs that name a field which the input adds to each record, over one that the line has.
var placeKeys = []string{"path_key", "offset_key", "remote_addr_key", "source_address_key", "raw_message_key", "meta_key", "splunk_token_key"}

// places looks for fields that an input adds, which the mapping takes for the line's own.
func places(v *view) {
	for _, in := range v.inputs {
		for _, key := range placeKeys {
			name := in.Get(key)
			i := slices.IndexFunc(v.fields, func(f Field) bool { return f.Root == "record" && f.Key == name })
			if name == "" || i < 0 {
				continue
			}
			f := v.fields[i]
			certain, possible := v.holds(in, name)
			none := f.Option == "meters" || f.Option == "meter_value" || key == "offset_key" // that anybody would bill
			switch {
			case certain, possible && none && f.Money() && f.Option != "unique_id":
				v.fail(in, key, "want a name that no field of the line has, got %q, which %s names: the input writes over what the line says, for example: %s amberflo_%s", name, f.Option, key, strings.TrimSuffix(key, "_key"))
			case possible && f.Money() && f.Option != "unique_id":
				v.warn(in, key, "want a name that no field of the line has, got %q, which %s names: where a line has that field too, the input writes over it", name, f.Option)
			}
		}
	}
}

// mayHold tells if the lines of an input may have a field, or an input adds it.
func (v *view) mayHold(field string) bool {
	return v.ofPlace(field) || slices.ContainsFunc(v.inputs, func(in *pipeline.Section) bool {
		_, possible := v.holds(in, field)
		return possible
	})
}

// holds tells if parsers make a field of an input's lines: if they do for certain, or if they may.
func (v *view) holds(in *pipeline.Section, field string) (certain, possible bool) {
	possible = in.Name != "tail" || in.Get("multiline.parser") != "" || len(in.Processors) > 0
	for _, u := range v.uses() {
		if u.Key != "parser" || u.by != in && u.by.Kind != pipeline.Filter {
			continue
		}
		regex := u.parser != nil && strings.EqualFold(u.parser.Get("format"), "regex")
		certain = certain || regex && slices.Contains(groupsOf(u.parser), field)
		possible = possible || certain || u.parser != nil && !regex
	}
	return certain, possible
}

// groupsOf are the fields that a parser's expression makes.
func groupsOf(parser *pipeline.Section) []string { return groupNames(parser.Get("regex")) }

var group = regexp.MustCompile(`\(\?<(\w+)>`)

func groupNames(expression string) (names []string) {
	for _, m := range group.FindAllStringSubmatch(expression, -1) {
		names = append(names, m[1])
	}
	return names
}
