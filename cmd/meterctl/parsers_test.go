package main

import (
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"out_amberflo/cmd/meterctl/pipeline"
	"out_amberflo/cmd/meterctl/preflight"
	"out_amberflo/cmd/meterctl/replay"
	"out_amberflo/cmd/meterctl/sample"
	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/meter"
)

// fluentBit skips a test where Fluent Bit is not to be found.
func fluentBit(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(replay.Program()); err != nil {
		t.Skip("no fluent-bit on PATH or in FLUENT_BIT")
	}
}

const tailConf = `[SERVICE]
    Parsers_File parsers.conf
    storage.path /nowhere/chunks
[INPUT]
    Name tail
    Path /nowhere/*.log
    Tag app.log
    Parser p
    DB /nowhere/tail.db
    storage.type filesystem
    Skip_Long_Lines On
    Read_from_Head On
[OUTPUT]
    Name amberflo
    Match app.*
    bucket b
    region us-west-2
    store_dir /nowhere/amberflo
    Workers 1
    Retry_Limit no_limits
`

// formats are parsers and lines for them.
var formats = map[string]struct {
	parser string
	lines  []string
}{
	"json": {"    Format json\n", []string{
		`{"a":1e309}`, `{"a":18446744073709551616}`, `{"a":-9223372036854775809,"b":-0,"c":1.0,"d":1e2}`, `{"a":"\ud83dA","c":"\u0000x"}`,
		`{"a":1,"a":2}`, `{"a":NaN}`, `{"a":1} x`, `{"a":1} trailing`, `{"a":1} true`, `{"a":1} nope`, `{"a":1}{"a":2}`, `[{"a":1}]`, `5`, `{"a":1,}`, `{}`, ` {"a": 1e-400}`, "{\"a\":\"caf\xe9\"}", "\ufeff{\"a\":1}",
		"{\"a\":\"x\x00y\"}", "{\"a\":\"x\x01y\"}", "{\"a\":\"x\ty\"}", "{\"a\":\"\x1b[32mx\x7f\"}", "{\"a\x00\":1}", "{\x00\"a\":1}", "{\"a\":1}\x00",
		`{"a":{"b":[1,"x",null,true,{}]}}`, `{"a":1} {"a":2}`, `{"a":1} 5`, `{"a":1} "x"`, `not json`,
	}},
	"json with a time": {"    Format json\n    Time_Key time\n    Time_Format %Y-%m-%dT%H:%M:%S.%L%z\n", []string{
		`{"time":"2026-11-20T10:00:00.123456789Z","a":1}`, `{"a":1,"time":"2026-11-20T10:00:00.5+02:00","b":2}`, `{"time":"yesterday","a":1}`, `{"time":5,"a":1}`, `{"a":1}`,
	}},
	"json that keeps its time": {"    Format json\n    Time_Key ts\n    Time_Format %s.%L\n    Time_Keep on\n", []string{
		`{"ts":"1795168800.25","a":1}`, `{"ts":1795168800.25}`,
	}},
	"regex": {`    Format regex
    Regex ^(?<client>\S+) \S+ (?:-(?= \[)|(?<user>.+?)) \[(?<time>[^\]]+)\] "(?:(?<method>[A-Z]+) (?<path>\S+)[^"]*|[^"]*)" (?<status>\d{3}) (?:-|(?<size>\d+)) "(?<referer>[^"]*)" "(?<agent>[^"]*)"$
    Time_Key time
    Time_Format %d/%b/%Y:%H:%M:%S %z
    Types status:integer size:integer
`, []string{
		`10.0.0.1 - acme [20/Nov/2026:10:00:00 +0000] "GET /a HTTP/1.1" 200 512 "-" "curl"`, `10.0.0.1 - - [20/Nov/2026:12:00:00 +0200] "GET /ü HTTP/1.1" 401 - "" ""`,
		"10.0.0.1 - a b [20/Nov/2026:10:00:00 +0000] \"\\x16\\x03\" 400 99999999999999999999 \"-\" \"\xff\"", `10.0.0.1 - x [today] "GET / HTTP/1.0" 200 1 "-" "-"`, ``, `nothing of it`,
	}},
	"regex with all types": {"    Format regex\n    Regex ^(?<a>[^ ]*) (?<b>[^ ]*) (?<c>[^ ]*) (?<d>[^ ]*)(?<e>.*)$\n    Types a:integer b:float c:hex d:bool\n", []string{
		"- - - -", "1,234 1,234 1,234 true", "99999999999999999999 1e400 ffffffffffffffffff TRUEx", "-5x .5 0x1f falsey", "+7 -1.5e3z -1 no rest",
	}},
	"regex with classes of Ruby": {`    Format regex
    Regex /^(?<hex>\h+) (?<word>[\w\-]+) (?<posix>[[:alpha:]]+) (?<rest>(?m:.*))$/
    Skip_Empty_Values Off
`, []string{"00ff a-b_c Grün x", "00ff a-b Abc ", "00ff a-b abc", "xx a b c", "0a ü abc d"}},
	"regex with flags":     {"    Format regex\n    Regex /^(?<a>[a-c]+)(?<b>\\d*)$/i\n", []string{"ABC12", "abd", "c"}},
	"regex without a name": {"    Format regex\n    Regex ^(\\d+)$\n", []string{"12"}},
	"logfmt": {"    Format logfmt\n", []string{
		`level=info tenant=acme bytes=12 msg="a \"b\" c\n" empty= q="" bare`, `=x a==b "c" d`, "t=\u00fc u=\"\\u00fc\" v=\"\\x\"", ``, ` `, `a="open`,
	}},
	"logfmt with types and a time": {"    Format logfmt\n    Time_Key t\n    Time_Format %Y-%m-%d %H:%M:%S\n    Time_Offset +0100\n    Types n:integer\n", []string{
		`t="2026-11-20 10:00:00" n=12x m="a \"b\"" bare`, `t=later n=1`, `n=1`,
	}},
	"logfmt without bare keys": {"    Format logfmt\n    Logfmt_No_Bare_Keys on\n", []string{"a=1 b", "a=1 b="}},
	"ltsv": {"    Format ltsv\n    Types size:integer\n", []string{
		"time:20/Nov\ttenant:acme\tsize:-\turi:http://x/y", "a:1\tb\tc:2", "a:\tb:", "ä:1", "no pair", "a:1\t\tb:2",
	}},
	"a time without a year": {"    Format ltsv\n    Time_Key t\n    Time_Format %b %e %H:%M:%S\n", []string{"t:Jan  2 03:04:05\ta:1", "t:January 12 03:04:05\ta:1", "t:Foo 1 00:00:00\ta:1"}},
	"a time of half a day": {"    Format ltsv\n    Time_Key t\n    Time_Format %y%m%d %I:%M:%S %p\n", []string{
		"t:261120 12:00:01 AM\ta:1", "t:261120 12:00:01 pm\ta:1", "t:991120 01:00:01 PM\ta:1", "t:261120 13:00:01 PM\ta:1", "t:261120 01:00:01\ta:1",
	}},
	"a time in words": {"    Format ltsv\n    Time_Key t\n    Time_Format %A, %d %B %Y %R %Z\n", []string{
		"t:Friday, 20 November 2026 10:11 UTC\ta:1", "t:Fri, 20 Nov 2026 10:11 EST\ta:1", "t:Fri, 20 Nov 2026 10:11 CEST\ta:1", "t:Fri, 20 Nov 2026 10:11 JST\ta:1", "t:Fri, 20 Nov 2026 10:11 NPT\ta:1", "t:Fri, 20 Nov 2026 10:11 XYZ\ta:1", "t:Fri, 20 Nov 2026 10:11\ta:1",
	}},
	"a time with offsets": {"    Format ltsv\n    Time_Key t\n    Time_Format %FT%T.%L%z\n    Time_Offset +0500\n", []string{
		"t:2026-11-20T10:00:00.1Z\ta:1", "t:2026-11-20T10:00:00.123456789123+02\ta:1", "t:2026-11-20T10:00:00.5-02:30\ta:1", "t:2026-11-20T10:00:00.5 GMT\ta:1", "t:2026-11-20T10:00:00.5EST\ta:1", "t:2026-11-20T10:00:00.5CET\ta:1",
		"t:2026-11-20T10:00:00.5\ta:1", "t:2026-11-20T10:00:00.xZ\ta:1", "t:2026-11-31T24:00:00.5Z\ta:1", "t:2026-11-31T23:00:60.5Z and more\ta:1",
	}},
	"a time by the day of the year": {"    Format ltsv\n    Time_Key t\n    Time_Format %Y %j %H\n", []string{"t:2026 324 10\ta:1", "t:2024 366 0\ta:1", "t:2026 0 1\ta:1"}},
	"a time that need not fit":      {"    Format json\n    Time_Key t\n    Time_Strict off\n    Time_Format %Y-%m-%dT%H:%M:%S.%L\n", []string{`{"t":"2026-11-20T10:00:00","a":1}`, `{"t":"2026-11-20","a":1}`}},
	"ltsv with a time":              {"    Format ltsv\n    Time_Key t\n    Time_Format %Y %b %e %T\n    Time_Keep on\n", []string{"t:2026 Nov  5 10:00:00\ta:1", "t:x\ta:1", "a:1"}},
}

// event is a record and its time as text; times of the reading are all the same.
func event(at time.Time, record []byte) string {
	said, err := meter.AppendJSON(nil, record)
	if err != nil {
		said = fmt.Appendf(nil, "%v %x", err, record)
	}
	if time.Since(at).Abs() < time.Hour {
		return "now " + string(said)
	}
	return at.UTC().Format(time.RFC3339Nano) + " " + string(said)
}

func events(t *testing.T, b []byte) (list []string) {
	t.Helper()
	r := chunk.NewReader(b, nil)
	for r.Next() {
		list = append(list, event(time.Unix(r.Event().Seconds, int64(r.Event().Nanos)), r.Event().Record))
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return list
}

func readConf(t *testing.T, files map[string]string) (*pipeline.Pipeline, *pipeline.Section) {
	t.Helper()
	p, err := pipeline.Read(filepath.Join(write(t, files), "main.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if findings := preflight.Output(p, p.Mine()[0]); preflight.Failed(findings) {
		t.Fatal(findings)
	}
	return p, p.Mine()[0]
}

// CASES B8, B13
func TestLinesAreParsedAsFluentBitParsesThem(t *testing.T) {
	fluentBit(t)
	for name, test := range formats {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, out := readConf(t, map[string]string{"main.conf": tailConf, "parsers.conf": "[PARSER]\n    Name p\n" + test.parser})
			s, err := sample.NewReader(p, out, "")
			if err != nil {
				t.Fatal(err)
			}
			s.Raw = true
			var got []string
			for _, line := range test.lines {
				record, at, _, err := s.Read([]byte(line + "\n"))
				if err != nil {
					t.Fatal(err)
				}
				if at.IsZero() {
					at = time.Now()
				}
				b, err := sample.AppendEvent(nil, at, nil, nil, record)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, events(t, b)...)
			}
			chunks, err := replay.Chunks(p, pipeline.Replay{Input: s.Input, Output: out}, []byte(strings.Join(test.lines, "\n")), io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			want := events(t, chunks["app.log"])
			if !slices.Equal(got, want) {
				for i := range max(len(got), len(want)) {
					if i >= len(got) || i >= len(want) || got[i] != want[i] {
						t.Errorf("line %q:\ngot  %s\nwant %s", at(test.lines, i), at(got, i), at(want, i))
					}
				}
			}
		})
	}
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "nothing"
}
