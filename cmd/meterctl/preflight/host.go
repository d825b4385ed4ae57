package preflight

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"out_amberflo/cmd/meterctl/pipeline"
)

// host looks at what Fluent Bit does with chunks that the output has not accepted, and how it calls it.
func host(v *view) {
	if limit := strings.ToLower(v.out.Get("retry_limit")); !slices.Contains([]string{"no_limits", "false", "off"}, limit) {
		v.warn(v.out, "retry_limit", "want no_limits, got %s: where a host does not let the output set it by itself, a chunk that could not be accepted in time is dropped, for example: Retry_Limit no_limits", got(limit))
	}
	workers := v.out.Get("workers")
	if n, err := strconv.Atoi(workers); err != nil || n < 1 {
		v.warn(v.out, "workers", "want 1 or more, got %s: flushes run in the thread that reads the inputs, for example: Workers 1", got(workers))
	}
	if limit := v.out.Get("storage.total_limit_size"); limit != "" {
		v.fail(v.out, "storage.total_limit_size", "want no limit, got %q: Fluent Bit deletes the oldest chunks beyond it, which are not billed", limit)
	}
	if daemon := v.p.Service.Get("daemon"); pipeline.IsOn(daemon) {
		v.fail(v.p.Service, "daemon", "want Off, got %q: no output written in Go can run in daemon mode, for example: Daemon Off", daemon)
	}
}

// levels looks at how much of what goes wrong is told.
func levels(v *view) {
	for _, s := range []*pipeline.Section{v.p.Service, v.out} {
		if level := strings.ToLower(s.Get("log_level")); level == "error" || level == "off" {
			v.warn(s, "log_level", "want warn or info, got %q: the plugin tells what is not billed, and why, as warnings", level)
		}
	}
}

// madeUp are inputs whose records are nobody's.
var madeUp = []string{"dummy", "random"}

// senders are inputs that cannot ask for a line again.
var senders = []string{"forward", "http", "tcp", "udp", "syslog", "opentelemetry", "mqtt", "splunk", "elasticsearch", "unix_socket", "statsd"}

// storage looks at where chunks wait that the output has not accepted yet.
func storage(v *view) {
	service := v.p.Service
	inherited := ""
	if pipeline.IsOn(service.Get("storage.inherit")) {
		inherited = strings.ToLower(service.Get("storage.type"))
	}
	onDisk := false
	for _, in := range v.inputs {
		kind, inherits := strings.ToLower(in.Get("storage.type")), false
		if kind == "" {
			kind, inherits = inherited, inherited != ""
		}
		if kind == "filesystem" {
			onDisk = true
			continue
		}
		if slices.Contains(madeUp, in.Name) {
			continue
		}
		why := "a crash loses what the output has not accepted yet"
		switch limit := in.Get("mem_buf_limit"); {
		case kind == "memrb":
			why = "the oldest chunks are dropped when its memory is full, and a crash loses the others"
		case limit != "" && slices.Contains(senders, in.Name):
			why = "beyond Mem_Buf_Limit " + limit + " what is sent is not taken, and a crash loses what is"
		}
		at := in
		if inherits {
			at = service
		}
		v.fail(at, "storage.type", "want filesystem for the input %s, got %s: %s, for example: storage.type filesystem", in.ID, got(kind), why)
	}
	for _, f := range v.filters {
		onDisk = onDisk || strings.EqualFold(f.Get("emitter_storage.type"), "filesystem")
	}
	if onDisk && service.Get("storage.path") == "" {
		v.fail(service, "storage.path", "want a directory for chunks on disk, got nothing, with which Fluent Bit does not start, for example: storage.path /var/lib/fluent-bit/chunks")
	}
}

// tail looks at what the tail input needs so as to read each line once.
func tail(v *view) {
	for _, in := range v.inputs {
		if in.Name != "tail" {
			continue
		}
		if in.Get("db") == "" {
			why := "what is written while Fluent Bit does not run is lost"
			if pipeline.IsOn(in.Get("read_from_head")) {
				why = "each start reads and bills all lines again"
			}
			v.fail(in, "db", "want a file for the position in the logs, got nothing: %s, for example: DB /var/lib/fluent-bit/tail.db", why)
		}
		if in.Get("db") != "" && !pipeline.IsOn(in.Get("read_from_head")) {
			v.warn(in, "read_from_head", "want On, got %s: of a file that appears while Fluent Bit does not run, only what is written later is read, for example: Read_from_Head On", got(in.Get("read_from_head")))
		}
		if !pipeline.IsOn(in.Get("skip_long_lines")) && !pipeline.IsOn(in.Get("truncate_long_lines")) {
			v.warn(in, "skip_long_lines", "want On, got %s: after a line longer than Buffer_Max_Size (%s) the rest of the file is not read, for example: Skip_Long_Lines On",
				got(in.Get("skip_long_lines")), cmp.Or(in.Get("buffer_max_size"), "32K"))
		}
	}
}

// emitters looks at filters that hand records on through a buffer of their own, or twice.
func emitters(v *view) {
	for _, f := range v.filters {
		buffered := f.Name == "rewrite_tag" || f.Name == "multiline" && (f.Get("buffer") == "" || pipeline.IsOn(f.Get("buffer")))
		if buffered && !strings.EqualFold(f.Get("emitter_storage.type"), "filesystem") {
			v.fail(f, "emitter_storage.type", "want filesystem, got %s: what waits in the filter %s is lost at a stop if the output cannot take it, for example: Emitter_Storage.type filesystem",
				got(f.Get("emitter_storage.type")), f.Name)
		}
		if f.Name == "rewrite_tag" {
			v.kept(f)
			v.moved(f)
		}
	}
}

// everything are expressions that match any string, but perhaps the empty one.
var everything = regexp.MustCompile(`^\^?\(?\.[*+]?\)?\$?$`)

// moved looks for a rule that moves records away from the output, to where no output of the plugin takes them.
func (v *view) moved(f *pipeline.Section) {
	for _, p := range f.Each("rule") {
		rule, words := p.Value, ruleWords(p.Value)
		if keeps(rule) || len(words) < 3 {
			continue
		}
		for _, s := range v.streams {
			tag, ok := newTag(rule, s.tag)
			to := stream{tag: tag}
			if !ok || !overlaps(f, s) || !reaches(v.out, s) || slices.ContainsFunc(v.p.Mine(), func(out *pipeline.Section) bool { return overlaps(out, to) }) {
				continue
			}
			if all := everything.MatchString(words[1]); all || !slices.ContainsFunc(v.p.Outputs, func(out *pipeline.Section) bool { return overlaps(out, to) }) {
				report := v.warnAt
				if all {
					report = v.failAt
				}
				report(f, p, "want an output of amberflo that matches the new tag, got %q, which moves records to %s: they are not billed", rule, tag)
				break
			}
		}
	}
}

// kept looks for a rule whose records come to the output under the old tag and under the new one.
func (v *view) kept(f *pipeline.Section) {
	for _, p := range f.Each("rule") {
		rule := p.Value
		if !keeps(rule) {
			continue
		}
		for _, s := range v.streams {
			tag, ok := newTag(rule, s.tag)
			if s.tag == "*" && v.out.Get("match") != "*" {
				continue // nobody knows what it becomes
			}
			if ok && overlaps(f, s) && reaches(v.out, s) && intersect(v.out.Get("match"), tag) {
				v.failAt(f, p, "want an output that matches the old tag or the new one, got %s with true at its end and %s, which matches %s and %s: these records are billed twice",
					got(rule), got(v.out.Get(matchKey(v.out))), s.tag, tag)
				break
			}
		}
	}
}

// lossy looks at filters that drop records, or change numbers on their way.
func lossy(v *view) {
	group := slices.ContainsFunc(v.fields, func(f Field) bool { return f.Root == "group" })
	money := slices.ContainsFunc(v.fields, Field.Money)
	for _, f := range v.filters {
		switch f.Name {
		case "throttle", "throttle_size":
			v.warn(f, "name", "want no bound on how many records come, got %s: what is above its rate is not billed", f.Name)
		case "lua":
			if money {
				v.warn(f, "name", "want integers below 10^15 after a Lua filter, or strings: Fluent Bit 5.1.1 changes the digits of longer ones")
			}
		case "grep":
			for _, key := range []string{"regex", "exclude"} {
				v.numbers(f, key)
			}
		case "rewrite_tag":
			v.numbers(f, "rule")
			if group {
				v.fail(f, "name", "want no rewrite_tag where the mapping names $group, got one: a record that is moved alone loses its group, or gets another's")
			}
		}
	}
}

var ofNumbers = regexp.MustCompile(`^[\^$\d\[\]()|.+*?{},\\d-]*\d[\^$\d\[\]()|.+*?{},\\d-]*$`)

// numbers looks for a rule whose expression is to fit a number, which in JSON is none of the strings that Fluent Bit looks at.
func (v *view) numbers(f *pipeline.Section, key string) {
	json := slices.ContainsFunc(v.uses(), func(u use) bool { return u.parser != nil && strings.EqualFold(u.parser.Get("format"), "json") })
	for _, p := range f.Each(key) {
		words := ruleWords(p.Value)
		if field, expression := word(words, 0), word(words, 1); json && ofNumbers.MatchString(expression) {
			v.warnAt(f, p, "want a field that is a string, got %s with %q: %s compares strings only, and a number of JSON fits nothing; only_if of the output compares numbers", field, expression, f.Name)
		}
	}
}
