package preflight

import (
	"slices"
	"strings"

	"out_amberflo/cmd/meterctl/pipeline"
	"out_amberflo/plugin"
)

// readTwice looks for two tail inputs that read one file, or forget where the other was.
func readTwice(v *view) {
	for i, in := range v.inputs {
		for _, other := range v.inputs[i+1:] {
			if db := in.Get("db"); db != "" && db == other.Get("db") && in.Name == "tail" && other.Name == "tail" {
				v.fail(other, "db", "want a file that no other input uses, got %q, which the input at %s has: at a start each deletes the positions of the other, whose lines are then read again", db, in.Place)
			}
			path := sharedPath(in.Get("path"), other.Get("path"))
			if in.Name == "tail" && other.Name == "tail" && path != "" {
				report := v.fail
				if in.Get("exclude_path")+other.Get("exclude_path") != "" {
					report = v.warn
				}
				report(other, "path", "want files that no other input reads, got %q, of which the input at %s reads some too: their lines are billed twice", path, in.Place)
			}
		}
	}
}

// sharedPath gives one of the patterns in b that a file of a may match.
func sharedPath(a, b string) string {
	for _, one := range strings.Split(a, ",") {
		for _, other := range strings.Split(b, ",") {
			one, other = strings.TrimSpace(one), strings.TrimSpace(other)
			if one != "" && strings.Count(one, "/") == strings.Count(other, "/") && intersect(one, other) {
				return other
			}
		}
	}
	return ""
}

// unparsed looks at inputs whose parser does not come to a line.
func unparsed(v *view) {
	for _, in := range v.inputs {
		if in.Name != "tail" {
			continue
		}
		if in.Get("parser") != "" && in.Get("multiline.parser") != "" {
			v.fail(in, "parser", "want either Parser or multiline.parser, got both, of which Fluent Bit applies multiline.parser alone: lines stay one string; put the parser into a [FILTER] parser")
		}
		if strings.Contains(in.Get("path"), "/containers/") && in.Get("parser")+in.Get("multiline.parser")+in.Get("docker_mode") == "" {
			v.warn(in, "multiline.parser", "want docker, cri for the logs of containers, got nothing: their lines begin with a time and a stream, for example: multiline.parser docker, cri")
		}
	}
}

// inParts looks for lines that Docker's log driver cuts at 16 KB, and that are parsed before anybody joins them.
func inParts(v *view) {
	joined := slices.ContainsFunc(v.filters, func(f *pipeline.Section) bool {
		return f.Name == "multiline" && strings.EqualFold(f.Get("mode"), "partial_message")
	})
	forward := slices.ContainsFunc(v.inputs, func(in *pipeline.Section) bool { return in.Name == "forward" })
	for _, f := range v.filters {
		if forward && !joined && f.Name == "parser" && f.Get("key_name") == "log" {
			v.warn(f, "name", "want a filter multiline with Mode partial_message in front of it, got none: Docker sends a line over 16 KB in parts, of which none can be parsed or billed")
		}
	}
}

// parserKeys are the options of a [PARSER] (flb_parser.c).
var parserKeys = []string{"name", "format", "regex", "time_key", "time_format", "time_keep", "time_offset", "time_zone", "time_strict",
	"time_system_timezone", "types", "decode_field", "decode_field_as", "skip_empty_values", "logfmt_no_bare_keys"}

// parserOptions looks at what parsers on the way are told.
func parserOptions(v *view) {
	byEvent := slices.Contains(items(mapping(v.out.Get)["meter_time"]), "event")
	for _, u := range v.uses() {
		if u.parser == nil {
			continue
		}
		for _, p := range u.parser.Properties {
			if near := nearest(p.Key, parserKeys); !slices.Contains(parserKeys, p.Key) && near != "" {
				v.fail(u.parser, p.Key, "want an option of a parser, got one that it does not have, which Fluent Bit never says; did you mean %s?", near)
			}
		}
		if format := u.parser.Get("time_format"); byEvent && format != "" && !zoned(format) && u.parser.Get("time_offset")+u.parser.Get("time_zone")+u.parser.Get("time_system_timezone") == "" {
			v.warn(u.parser, "time_format", "want %%z in it, or Time_Offset or Time_Zone beside it, got %q: times are taken for UTC, and billed in another hour if they are not", format)
		}
	}
}

// zoned tells if a format says the offset from UTC.
func zoned(format string) bool {
	return slices.ContainsFunc([]string{"%z", "%Z", "%s", "%SZ", "%LZ"}, func(verb string) bool { return strings.Contains(format, verb) })
}

// idle looks for filters that no record comes to.
func idle(v *view) {
	for _, f := range v.p.Filters {
		switch {
		case f.Get("match")+f.Get("match_regex") == "":
			v.fail(f, "match", "want the tags whose records it takes, got nothing, with which Fluent Bit does not start, for example: Match *")
		case len(v.streams) > 0 && !slices.ContainsFunc(v.streams, func(s stream) bool { return overlaps(f, s) }):
			v.warn(f, matchKey(f), "want a pattern that matches one of the tags %s, got %q: the filter %s does nothing", tags(v.streams), f.Get("match")+f.Get("match_regex"), f.Name)
		}
	}
}

// removed looks for filters that take a field away which the mapping names.
func removed(v *view) {
	for _, f := range v.filters {
		gone := map[string][]string{"record_modifier": {"remove_key"}, "modify": {"remove", "rename", "hard_rename"}}[f.Name]
		for _, key := range gone {
			for _, value := range f.All(key) {
				name, _, _ := strings.Cut(value, " ")
				if i := slices.IndexFunc(v.fields, func(field Field) bool { return field.Money() && field.Key == name }); i >= 0 {
					v.fail(f, key, "want the field %s kept, since %s names it, got %q", name, v.fields[i].Option, value)
				}
			}
		}
		for _, key := range []string{"allowlist_key", "whitelist_key"} {
			list := f.All(key)
			i := slices.IndexFunc(v.fields, func(field Field) bool {
				return field.Money() && field.Key != "" && v.out.Get(field.Option) != "" && !slices.Contains(list, field.Key)
			})
			if f.Name == "record_modifier" && len(list) > 0 && i >= 0 {
				v.fail(f, key, "want %s among the fields that are kept, since %s names it, got %s", v.fields[i].Key, v.fields[i].Option, strings.Join(list, ", "))
			}
		}
	}
}

// spool looks at where accepted records wait, and with whom an output shares it.
func spool(v *view) {
	dir := v.out.Get("store_dir")
	if dir == "" && v.out.Find("store_dir") == nil {
		v.warn(v.out, "store_dir", "want a directory that outlives the machine's restarts, got nothing: the default may not, for example: store_dir /var/lib/fluent-bit/amberflo")
	}
	if within(dir, v.p.Service.Get("storage.path")) {
		v.fail(v.out, "store_dir", "want a directory beside storage.path, got %q in %q: Fluent Bit takes what is there for chunks of its own", dir, v.p.Service.Get("storage.path"))
	}
	for _, other := range v.others {
		if alias := other.Get("alias"); alias != "" && alias == v.out.Get("alias") {
			v.fail(other, "alias", "want a name of its own for each output, got %q, which the output at %s has: what each has rejected could not be told apart", alias, v.out.Place)
		}
		if other.Get("store_dir") != dir {
			continue
		}
		delivery, _ := plugin.Keys()
		for _, key := range delivery {
			if other.Get(key) != v.out.Get(key) && key != "store_dir" {
				v.fail(other, key, "want what the output at %s has (%s), since both use one store_dir, got %s: the plugin does not start with it; or give each a store_dir of its own", v.out.Place, got(v.out.Get(key)), got(other.Get(key)))
			}
		}
		if other.Get("alias") == "" || v.out.Get("alias") == "" {
			v.warn(other, "alias", "want an Alias for each of the outputs that share a store_dir, got none: the name %s in rejected/ changes when outputs come or go, for example: Alias bytes", other.ID)
		}
	}
}

// within tells if a path is another one, or lies in it.
func within(path, dir string) bool {
	dir = strings.TrimRight(dir, "/")
	return dir != "" && (strings.TrimRight(path, "/") == dir || strings.HasPrefix(path, dir+"/"))
}

// kubernetesFields gives the fields that the kubernetes filter makes of a line, false if it makes others too.
func kubernetesFields(f *pipeline.Section) (names []string, all bool) {
	key := f.Get("merge_log_key")
	if isOn(f.Get("merge_log")) && key == "" {
		return nil, false
	}
	return []string{"kubernetes", key}, true
}
