package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

const nginxParser = `[PARSER]
    Name nginx
    Format regex
    Regex ^(?<client>\S+) - (?:-|(?<user>\S+)) \[(?<time>[^\]]+)\] "(?<method>\S+) (?<path>\S+)[^"]*" (?<status>\d+) (?:-|(?<size>\d+))$
    Time_Key time
    Time_Format %d/%b/%Y:%H:%M:%S %z
[PARSER]
    Name json
    Format json
`

// ofLines runs map over the lines of a log, in a pipeline with a tail input. more are lines of the input, and the mapping.
func ofLines(t *testing.T, more []string, mapping []string, lines string, args ...string) (out, notes string, err error) {
	t.Helper()
	conf := strings.Replace(tailConf, "    Parser p\n", "    "+strings.Join(more, "\n    ")+"\n", 1) + "    " + strings.Join(mapping, "\n    ") + "\n"
	dir := write(t, map[string]string{"main.conf": conf, "parsers.conf": nginxParser})
	var o, n strings.Builder
	err = mapSamples(strings.NewReader(lines), &o, &n, append([]string{"-c", filepath.Join(dir, "main.conf"), "--time", "2026-11-20T10:00:00Z"}, args...))
	return o.String(), strings.ReplaceAll(n.String(), dir+"/", ""), err
}

// CASES B8
func TestMapReadsTheLinesOfALogThroughTheParserOfTheInput(t *testing.T) {
	const line = `10.0.0.1 - acme [20/Nov/2026:12:30:00 +0200] "GET /a HTTP/1.1" 200 512`
	byUser := []string{"customer_id $user", "meters ApiCalls=1, BytesOut=$size", "unique_id $client"}
	object := []string{"customer_id $user", "meter_api_name M", "meter_value 1", "unique_id $user"}
	const fromObject = `{"customerId":"a","meterApiName":"M","meterValue":1,"meterTimeInMillis":1795168800000,"uniqueId":"a"}` + "\n"
	for name, test := range map[string]struct {
		input, mapping []string
		lines          string
		args           []string
		want, note     string
		err            error
	}{
		"a line of nginx": {
			[]string{"Parser nginx"}, byUser, line + "\n", nil,
			`{"customerId":"acme","meterApiName":"ApiCalls","meterValue":1,"meterTimeInMillis":1795170600000,"uniqueId":"10.0.0.1"}
{"customerId":"acme","meterApiName":"BytesOut","meterValue":512,"meterTimeInMillis":1795170600000,"uniqueId":"10.0.0.1"}
`, "1 sample: 2 meter records\n", nil,
		},
		"a line that the parser does not match": {
			[]string{"Parser nginx"}, []string{"customer_id $log", "meter_api_name M", "meter_value 1", "unique_id $log"}, "x\n", nil,
			`{"customerId":"x","meterApiName":"M","meterValue":1,"meterTimeInMillis":1795168800000,"uniqueId":"x"}` + "\n",
			"line 1: the parser nginx does not match: the line is one string in the field log\n", errProblems,
		},
		"an object that is no line": {
			[]string{"Parser nginx"}, object, `{"user":"a"}` + "\n", nil, "", "the line is one string in the field log; --records takes it for a record\n", errProblems,
		},
		"a time in another format": {
			[]string{"Parser nginx"}, []string{"customer_id $user", "meter_api_name M", "meter_value 1", "unique_id $user"},
			strings.Replace(line, "20/Nov/2026:12:30:00 +0200", "2026-11-20T12:30:00Z", 1), nil,
			`{"customerId":"acme","meterApiName":"M","meterValue":1,"meterTimeInMillis":1795168800000,"uniqueId":"acme"}` + "\n",
			`parsers.conf:6: warning: time_format: want what the times of the log look like, got "%d/%b/%Y:%H:%M:%S %z", which 1 line does not fit`, nil,
		},
		"a record after a parser": {
			[]string{"Parser nginx"}, object, `{"user":"a"}` + "\n", []string{"--records"}, fromObject, "1 sample: 1 meter record\n", nil,
		},
		"an object and the json parser": {
			[]string{"Parser json"}, object, `{"user":"a"}` + "\r\n", nil, fromObject, "1 sample: 1 meter record\n", nil,
		},
		"an object and no parser, with a processor of the user's own": {
			[]string{"multiline.parser mine"}, object, `{"user":"a"}` + "\n", nil, fromObject, "multiline.parser is not applied: mine; --through-fluent-bit applies it\n", nil,
		},
		"a text and no parser": {
			[]string{"Key line", "Path_Key file", "Offset_Key at"}, []string{"customer_id $line", "meter_api_name M", "meter_value $at", "unique_id $file"}, "ab\ncd\n", nil,
			`{"customerId":"ab","meterApiName":"M","meterValue":0,"meterTimeInMillis":1795168800000,"uniqueId":"(standard input)"}
{"customerId":"cd","meterApiName":"M","meterValue":3,"meterTimeInMillis":1795168800000,"uniqueId":"(standard input)"}
`, "2 samples: 2 meter records\n", nil,
		},
		"an object that is a text": {
			[]string{"Key line"}, []string{"customer_id $line", "meter_api_name M", "meter_value 1", "unique_id $line"}, "{}\n", []string{"--raw"},
			`{"customerId":"{}","meterApiName":"M","meterValue":1,"meterTimeInMillis":1795168800000,"uniqueId":"{}"}` + "\n", "1 sample: 1 meter record\n", nil,
		},
		"the tag of the input": {
			[]string{"Parser json"}, []string{"customer_id $TAG[1]", "meter_api_name M", "meter_value 1", "unique_id $id"}, `{"id":"i"}`, nil,
			`{"customerId":"log","meterApiName":"M","meterValue":1,"meterTimeInMillis":1795168800000,"uniqueId":"i"}` + "\n", "1 sample: 1 meter record\n", nil,
		},
		// CASES B13: with the json parser Fluent Bit keeps the line as one text.
		"a number beyond a double": {
			[]string{"Parser json"}, []string{"customer_id c", "meter_api_name M", "meter_value $n"}, `{"n":1e309}` + "\n", nil, "", "line 1: the parser json does not match", errProblems,
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, notes, err := ofLines(t, test.input, test.mapping, test.lines, test.args...)
			if out != test.want || !strings.Contains(notes, test.note) || !errors.Is(err, test.err) {
				t.Errorf("got %v\n%s%swant %v\n%s%s", err, notes, out, test.err, test.note, test.want)
			}
		})
	}
}

// CASES B13: the http input makes an infinity of it.
func TestANumberBeyondADoubleIsNoValue(t *testing.T) {
	_, notes, err := mapped(t, "customer_id c\nmeter_api_name M\nmeter_value $n", `{"n":1e309}`+"\n")
	if !errors.Is(err, errProblems) || !strings.Contains(notes, "line 1: bad_value: ") {
		t.Errorf("got %v, %s", err, notes)
	}
}

func TestMapSaysWhatItDoesNotApply(t *testing.T) {
	conf := strings.Replace(tailConf, "    Parser p\n", "    Parser json\n", 1)
	conf = strings.Replace(conf, "[OUTPUT]", "[FILTER]\n    Name grep\n    Match *\n    Regex a .\n[FILTER]\n    Name nest\n    Match other\n[OUTPUT]", 1)
	dir := write(t, map[string]string{"main.conf": conf, "parsers.conf": nginxParser})
	var out, notes strings.Builder
	_ = mapSamples(strings.NewReader("{}\n"), &out, &notes, []string{"-c", filepath.Join(dir, "main.conf")})
	if !strings.Contains(notes.String(), "filters are not applied: grep; --through-fluent-bit applies them\n") {
		t.Errorf("got %s", notes.String())
	}
}

func TestOfSeveralInputsOneIsChosen(t *testing.T) {
	conf := tailConf + "    customer_id $TAG[1]\n    meter_api_name M\n    meter_value $n\n[INPUT]\n    Name http\n    Tag app.http\n    Alias web\n    storage.type filesystem\n"
	conf = strings.Replace(conf, "Parser p", "Parser json", 1)
	file := filepath.Join(write(t, map[string]string{"main.conf": conf, "parsers.conf": nginxParser}), "main.conf")
	for _, test := range []struct{ choice, want string }{
		{"", "want --input with one of 0 tail.0 (main.conf:4), 1 http.1 web (main.conf:24), since their lines are read differently, got none"},
		{"2", `--input: want one of 0 tail.0 (main.conf:4), 1 http.1 web (main.conf:24), got "2"`},
		{"0", `"customerId":"log"`}, {"tail.0", `"customerId":"log"`}, {"web", `"customerId":"http"`}, {"1", `"customerId":"http"`},
	} {
		var out, notes strings.Builder
		err := mapSamples(strings.NewReader(`{"n":1}`), &out, &notes, []string{"-c", file, "--input", test.choice})
		if got := strings.ReplaceAll(fmt.Sprint(out.String(), err), filepath.Dir(file)+"/", ""); !strings.Contains(got, test.want) {
			t.Errorf("%q: got %s, want %q", test.choice, got, test.want)
		}
	}
}

// CASES A18, B1
func TestASampleShowsTextsThatAreFieldsAndFieldsThatAreNot(t *testing.T) {
	for _, test := range []struct {
		mapping []string
		sample  string
		want    string
		err     error
	}{
		{[]string{"customer_id org_unit", "meter_api_name M", "meter_value 1"}, `{"org_unit":"a"}`, `error: customer_id: "org_unit" is one string for all records, and they have a field of that name: did you mean $org_unit?`, errProblems},
		{[]string{"customer_id $a", "meter_api_name kind", "meter_value 1"}, `{"a":"a","kind":"x"}`, `error: meter_api_name: "kind" is one string`, errProblems},
		{[]string{"customer_id acme", "meter_api_name M", "meter_value 1"}, `{"org_unit":"a"}`, "1 sample: 1 meter record\n", nil},
		{[]string{"customer_id $a", "meter_api_name M", "meter_value 1", "dimensions region=zone"}, `{"a":"a","zone":"x"}`, `warning: dimensions: "zone" is one string`, nil},
		{[]string{"customer_id $a", "meters M=1, N=$bites"}, `{"a":"a","bytes":1}`, "warning: meters: the record did not have $bites: is it spelt as in the log?", nil},
		{[]string{"customer_id $a", "meters M=1, N=$metadata['bytes']"}, `{"a":"a","metadata":{"bytes":1}}`, "The records have a field metadata, which is written $['metadata']", nil},
		{[]string{"customer_id $a", "meter_api_name M", "meter_value 1", "meter_time $t, event", "unique_id $id, generate"}, `{"a":"a"}`, "1 sample: 1 meter record\n", nil},
	} {
		_, notes, err := ofLines(t, []string{"Parser json"}, test.mapping, test.sample)
		if !strings.Contains(notes, test.want) || !errors.Is(err, test.err) {
			t.Errorf("%v: got %v and\n%swant %q", test.mapping, err, notes, test.want)
		}
	}
}

func TestASampleShowsFieldsThatTheInputWritesOver(t *testing.T) {
	mapping := []string{"customer_id $tenant", "meters Calls=1, Bytes=$bytes"}
	for _, test := range []struct {
		input []string
		want  string
		err   error
	}{
		{[]string{"Path_Key tenant"}, `error: path_key: want a name that no field of the line has, got "tenant", which customer_id names, and which 1 line has: the input writes over it`, errProblems},
		{[]string{"Offset_Key bytes"}, `error: offset_key: want a name that no field of the line has, got "bytes", which meters names, and which 1 line has`, errProblems},
		{[]string{"Path_Key file"}, "1 sample: 2 meter records\n", nil},
	} {
		_, notes, err := ofLines(t, append(test.input, "Parser json"), mapping, `{"tenant":"a","bytes":1,"file":2}`)
		if !strings.Contains(notes, test.want) || !errors.Is(err, test.err) {
			t.Errorf("%v: got %v and\n%swant %q", test.input, err, notes, test.want)
		}
	}
}

func TestCheckConfigLooksAtASample(t *testing.T) {
	conf := strings.Replace(tailConf, "    Parser p\n", "    Parser nginx\n", 1) + "    customer_id $user\n    meter_api_name M\n    meter_value $size\n"
	files := map[string]string{"main.conf": conf, "parsers.conf": nginxParser, "other.log": "x\n", "broken.conf": "[X\n",
		"good.log": `10.0.0.1 - acme [20/Nov/2026:12:30:00 +0200] "GET /a HTTP/1.1" 200 512` + "\n"}
	dir := write(t, files)
	for _, test := range []struct {
		args string
		want string
		err  error
	}{
		{"-c main.conf", "1 output: 0 errors, 0 warnings\n", nil},
		{"-c main.conf --sample good.log", "1 output: 0 errors, 0 warnings\n", nil},
		{"-c main.conf --sample other.log", `main.conf:8: error: parser: want a parser that matches the lines, got "nginx", which matches none of the samples`, errProblems},
		{"-c broken.conf", "broken.conf:1: want [SECTION]", errProblems},
	} {
		args := strings.Fields(test.args)
		for i, arg := range args {
			if !strings.HasPrefix(arg, "-") {
				args[i] = filepath.Join(dir, arg)
			}
		}
		out, err := meterctl(t, append([]string{"check-config"}, args...)...)
		if !strings.Contains(out, test.want) || !errors.Is(err, test.err) {
			t.Errorf("%s: got %v and\n%swant %q", test.args, err, out, test.want)
		}
	}
	for args, want := range map[string]string{
		"":                              "want -c",
		"-c /nowhere.conf":              "want -c with a configuration that can be read",
		"-x":                            "meterctl check-config --help explains the flags",
		"-c " + dir + "/main.conf more": "want -c CONF and flags only",
		"-c " + dir + "/main.conf --sample /nowhere.log": "want a file of samples",
	} {
		if _, err := meterctl(t, append([]string{"check-config"}, strings.Fields(args)...)...); err == nil || errors.Is(err, errProblems) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", args, err, want)
		}
	}
}
