package preflight

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strings"

	"out_amberflo/cmd/meterctl/parser"
	"out_amberflo/cmd/meterctl/pipeline"
	"out_amberflo/plugin"
)

// readTwice looks for two tail inputs that read one file, or forget where the other was.
func readTwice(v *view) {
	for i, in := range v.inputs {
		for _, other := range v.inputs[i+1:] {
			if in.Name != "tail" || other.Name != "tail" {
				continue
			}
			if db := other.Get("db"); db != "" && in.Get("db") != "" && path.Clean(in.Get("db")) == path.Clean(db) {
				v.fail(other, "db", "want a file that no other input uses, got %q, which the input at %s has: at a start each deletes the positions of the other, whose lines are then read again", db, in.Place)
			}
			shared, certain := sharedPath(in.Get("path"), other.Get("path"))
			if shared == "" {
				continue
			}
			report := v.fail
			if !certain || in.Get("exclude_path")+other.Get("exclude_path") != "" {
				report = v.warn
			}
			report(other, "path", "want files that no other input reads, got %q, of which the input at %s reads some too: their lines are billed twice", shared, in.Place)
		}
	}
}

// sharedPath gives one of the patterns in b that a file of a may match; certain where the patterns have no ? and [.
func sharedPath(a, b string) (shared string, certain bool) {
	for _, one := range strings.Split(a, ",") {
		for _, other := range strings.Split(b, ",") {
			x, simple := filesOf(one)
			y, simpleToo := filesOf(other)
			if x != "" && strings.Count(x, "/") == strings.Count(y, "/") && intersect(x, y) {
				return strings.TrimSpace(other), simple && simpleToo || x == y
			}
		}
	}
	return "", false
}

var oneOf = regexp.MustCompile(`\?|\[[^/\]]+\]`)

// filesOf cleans a pattern of files, with * for what glob(3) has for one character; simple where there is none.
func filesOf(pattern string) (cleaned string, simple bool) {
	if pattern = strings.TrimSpace(pattern); pattern == "" {
		return "", true
	}
	cleaned = path.Clean(pattern)
	return oneOf.ReplaceAllString(cleaned, "*"), !oneOf.MatchString(cleaned)
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
	times := items(mapping(v.out.Get)["meter_time"])
	byEvent := slices.Contains(times, "event")
	v.wrongParsers()
	for _, u := range v.uses() {
		if u.parser == nil {
			continue
		}
		for _, p := range u.parser.Properties {
			if near := nearest(p.Key, parserKeys); !slices.Contains(parserKeys, p.Key) && near != "" {
				v.failAt(u.parser, p, "want an option of a parser, got one that it does not have, which Fluent Bit never says; did you mean %s?", near)
			}
		}
		if byEvent {
			v.timeless(u.parser, times[0] == "event")
		}
		if format := u.parser.Get("time_format"); byEvent && format != "" && !zoned(format) && u.parser.Get("time_offset")+u.parser.Get("time_zone")+u.parser.Get("time_system_timezone") == "" {
			v.warn(u.parser, "time_format", "want %%z in it, or Time_Offset or Time_Zone beside it, got %q: times are taken for UTC, and billed in another hour if they are not", format)
		}
	}
}

// timeless looks for a parser that takes no time from the line although it is told to: events then have the time of reading.
func (v *view) timeless(p *pipeline.Section, alone bool) {
	report := v.warn
	if alone {
		report = v.fail
	}
	key, format := p.Get("time_key"), p.Get("time_format")
	switch {
	case key != "" && format == "":
		report(p, "time_key", "want a Time_Format beside it, got none: the parser takes no time from the line, and meter_time is when it was read, for example: Time_Format %%s")
	case format != "" && strings.EqualFold(p.Get("format"), "regex") && !slices.Contains(groupsOf(p), cmp.Or(key, "time")):
		report(p, "time_key", "want a group of the Regex (%s), got %q: the parser takes no time from the line, and meter_time is when it was read", strings.Join(groupsOf(p), ", "), cmp.Or(key, "time"))
	}
}

// wrongParsers looks at all parsers, since Fluent Bit reads those too that nobody names.
func (v *view) wrongParsers() {
	seen := map[string]*pipeline.Section{}
	for _, s := range v.p.Parsers {
		const so = ", with which Fluent Bit does not start"
		before := seen[s.Name]
		if key, want := parser.Wrong(s); key != "" {
			v.fail(s, key, "%s, got %s%s", want, got(s.Get(key)), so)
		}
		switch {
		case s.Name == "":
			v.fail(s, "name", "want a name for each parser, got nothing%s", so)
		case before != nil:
			v.fail(s, "name", "want a name of its own for each parser, got %q, which the parser at %s has%s", s.Name, before.Place, so)
		}
		seen[s.Name] = s
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
		if path.Clean(other.Get("store_dir")) != path.Clean(dir) {
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
func within(file, dir string) bool {
	if dir == "" || file == "" {
		return false
	}
	dir, file = path.Clean(dir), path.Clean(file)
	return file == dir || strings.HasPrefix(file, strings.TrimSuffix(dir, "/")+"/")
}

// kubernetesFields gives the fields that the kubernetes filter makes of a line, false if it makes others too.
func kubernetesFields(f *pipeline.Section) (names []string, all bool) {
	key := f.Get("merge_log_key")
	if pipeline.IsOn(f.Get("merge_log")) && key == "" {
		return nil, false
	}
	return []string{"kubernetes", key}, true
}
