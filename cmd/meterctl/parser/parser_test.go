package parser

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"out_amberflo/cmd/meterctl/pipeline"
)

// section is a [PARSER] of lines "Key value".
func section(t *testing.T, lines string) *pipeline.Section {
	t.Helper()
	s := &pipeline.Section{Kind: pipeline.Parser, Name: "p", Place: pipeline.Place{File: "parsers.conf", Line: 1}}
	for line := range strings.Lines(lines) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		s.Properties = append(s.Properties, pipeline.Property{Key: strings.ToLower(key), Value: strings.TrimSpace(value)})
	}
	return s
}

func parsed(t *testing.T, lines, text string) string {
	t.Helper()
	p, err := New(section(t, lines))
	if err != nil {
		t.Fatal(err)
	}
	record, at, ok := p.Parse(text)
	if !ok {
		return "no"
	}
	said := fmt.Sprintf("%q", []any(record))
	if !at.IsZero() {
		said = at.UTC().Format(time.RFC3339Nano) + " " + said
	}
	return said
}

// What Fluent Bit makes of these lines is compared with the real one in the tests of meterctl.
func TestFormats(t *testing.T) {
	const access = "Format regex\nRegex ^(?<user>\\S+) (?:-|(?<size>\\d+))(?: (?<note>.*))?$\n"
	for name, test := range map[string]struct{ parser, line, want string }{
		"json":                               {"Format json", `{"a":1,"b":"x","a":2.5}`, `["a" '\x01' "b" "x" "a" %!q(float64=2.5)]`},
		"json beyond a double":               {"Format json", `{"a":1e309}`, "no"},
		"json with something after it":       {"Format json", `{"a":true} x`, `["a" %!q(bool=true)]`},
		"json with a word after it":          {"Format json", `{"a":true} trailing`, `["a" %!q(bool=true)]`},
		"json with null after it":            {"Format json", `{"a":true} null`, "no"},
		"two objects":                        {"Format json", `{"a":true}{"a":false}`, "no"},
		"json with a byte that is no UTF-8":  {"Format json", "{\"a\":\"\xff\"}", `["a" "\xff"]`},
		"regex":                              {access, "acme 12", `["user" "acme" "size" "12"]`},
		"regex, nothing left out":            {access + "Skip_Empty_Values Off", "acme -", `["user" "acme" "size" "" "note" ""]`},
		"regex that does not match":          {access, "acme", "no"},
		"regex on bytes that are no UTF-8":   {access, "\xff 1", `["user" "\xff" "size" "1"]`},
		"hexadecimal digits of Ruby":         {`Format regex` + "\n" + `Regex ^(?<a>\h+)(?<b>[\H])$`, "0fx", "no"},
		"hexadecimal digits of Ruby, beside": {`Format regex` + "\n" + `Regex ^(?<a>\h+)(?<b>[^\h]+)$`, "0fx", `["a" "0f" "b" "x"]`},
		"a lookahead":                        {`Format regex` + "\n" + `Regex ^(?<a>.+?)(?= \[)`, "x y [z", `["a" "x y"]`},
		"a bracket at the front of a class":  {`Format regex` + "\n" + `Regex ^(?<a>[^]]+)`, "x]", `["a" "x"]`},
		"logfmt":                             {"Format logfmt", `a=1 b="x \"y\"" c d=`, `["a" "1" "b" "x \"y\"" "c" %!q(bool=true) "d" %!q(bool=true)]`},
		"ltsv":                               {"Format ltsv", "a:1\tb:http://x", `["a" "1" "b" "http://x"]`},
		"a time":                             {"Format ltsv\nTime_Key t\nTime_Format %d/%b/%Y:%H:%M:%S %z", "t:20/Nov/2026:12:00:00 +0200\ta:1", `2026-11-20T10:00:00Z ["a" "1"]`},
		"a time that is kept":                {"Format ltsv\nTime_Key t\nTime_Keep on\nTime_Format %s.%L", "t:1795168800.125", `2026-11-20T10:00:00.125Z ["t" "1795168800.125"]`},
		"a time that is none":                {"Format json\nTime_Format %s", `{"time":"x"}`, `["time" "x"]`},
		"a time with an offset of its own":   {"Format ltsv\nTime_Format %Y-%m-%d\nTime_Offset -0130", "time:2026-11-20\ta:1", `2026-11-20T01:30:00Z ["a" "1"]`},
		"a time in a zone":                   {"Format ltsv\nTime_Format %F %T\nTime_Zone Europe/Berlin", "time:2026-11-20 10:00:00\ta:1", `2026-11-20T09:00:00Z ["a" "1"]`},
		"a time of half a day":               {"Format ltsv\nTime_Format %y-%m-%d %I:%M %p", "time:26-11-20 12:05 am\ta:1", `2026-11-20T00:05:00Z ["a" "1"]`},
		"a day of the year":                  {"Format ltsv\nTime_Format %Y %j", "time:2026 324\ta:1", `2026-11-20T00:00:00Z ["a" "1"]`},
		"a time that is not strict":          {"Format json\nTime_Strict off\nTime_Format %Y-%m-%dT%H", `{"time":"2026-11-20","a":"b"}`, `2026-11-20T00:00:00Z ["a" "b"]`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := parsed(t, test.parser, test.line); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// CASES A23
func TestTypesAreCastAsFluentBitDoes(t *testing.T) {
	for _, test := range []struct {
		kind, text string
		want       any
	}{
		{"integer", "-", int64(0)}, {"integer", "1,234", int64(1)}, {"integer", "99999999999999999999", int64(9223372036854775807)}, {"integer", " +7x", int64(7)},
		{"float", "-", 0.0}, {"float", ".5x", 0.5}, {"float", "1e3", 1000.0},
		{"hex", "ff", uint64(255)}, {"hex", "0x10", uint64(16)}, {"hex", "-1", uint64(18446744073709551615)}, {"hex", "x", uint64(0)},
		{"bool", "True", true}, {"bool", "false!", false}, {"bool", "yes", "yes"}, {"string", "1", "1"}, {"", "1", "1"},
	} {
		if got := typed(test.kind, test.text); got != test.want {
			t.Errorf("%s of %q: got %v, want %v", test.kind, test.text, got, test.want)
		}
	}
}

func TestAParserThatCannotBeRunHereIsSaid(t *testing.T) {
	for lines, want := range map[string]string{
		"Format xml":                                          "format: want regex, json, logfmt or ltsv, got \"xml\"",
		"Format regex\nRegex (?<a>x":                          "want an expression that meterctl can run",
		"Format regex\nRegex (?<a>[a-z&&[^x]])":               "want no class inside of a class",
		"Format regex\nRegex (?<a>[[:name:]])":                "want a class such as [:alnum:]",
		"Format json\nTime_Format %s\nTime_Offset x":          "time_offset: want +hhmm",
		"Format json\nTime_Format %F\nTime_Zone Nowhere/Land": "time_zone: want a zone",
	} {
		if _, err := New(section(t, lines)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", lines, err, want)
		}
	}
	p, err := New(section(t, "Format json\nDecode_Field_As escaped log"))
	if err != nil || len(p.NotApplied) != 1 {
		t.Errorf("got %v, %v, want the decoder named", p, err)
	}
}

// Whatever stands in a line, it is read as it is or not at all.
func FuzzParsers(f *testing.F) {
	for _, seed := range []string{`{"a":1e309}`, "a=1 b=\"x\\", "a:\t:b", "\xff\xfe", "12/Nov/2026", ""} {
		f.Add(seed)
	}
	var all []*Parser
	for _, format := range []string{"json", "logfmt", "ltsv", "regex\nRegex ^(?<time>\\S*) (?<b>.*)$"} {
		s := &pipeline.Section{Kind: pipeline.Parser}
		for line := range strings.Lines("Format " + format + "\nTime_Format %d/%b/%Y:%L%z\nTypes b:integer") {
			key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			s.Properties = append(s.Properties, pipeline.Property{Key: strings.ToLower(key), Value: value})
		}
		p, err := New(s)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, p)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if shielded := unshield(shield(line)); shielded != line {
			t.Errorf("%q became %q", line, shielded)
		}
		for _, p := range all {
			if record, _, ok := p.Parse(line); ok && len(record)%2 != 0 {
				t.Errorf("%q: got %q, which is no map", line, record)
			}
		}
	})
}

func TestAnExpressionThatRunsTooLongIsNoMismatch(t *testing.T) {
	defer func(was time.Duration) { matchTimeout = was }(matchTimeout)
	matchTimeout = time.Millisecond
	p, err := New(&pipeline.Section{Kind: pipeline.Parser, Name: "slow", Properties: []pipeline.Property{
		{Key: "format", Value: "regex"}, {Key: "regex", Value: `^(?<a>(?:(?:x|xx)+)+)$`}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := p.Parse(strings.Repeat("x", 5000) + "!"); ok || p.GivenUp != 1 {
		t.Errorf("got %v and %d lines given up, want false and 1", ok, p.GivenUp)
	}
	if _, _, ok := p.Parse("nothing of it"); ok || p.GivenUp != 1 {
		t.Errorf("a line that does not match: got %v and %d lines given up, want false and 1", ok, p.GivenUp)
	}
}
