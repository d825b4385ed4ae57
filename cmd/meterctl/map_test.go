package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// mapped runs map over samples with a mapping, at 2026-11-20T10:00:00Z.
func mapped(t *testing.T, mapping, samples string, args ...string) (out, notes string, err error) {
	t.Helper()
	conf := "[OUTPUT]\n  Name amberflo\n  bucket b\n  Retry_Limit no_limits\n"
	for _, line := range strings.Split(mapping, "\n") {
		if line != "" {
			conf += "  " + line + "\n"
		}
	}
	file := filepath.Join(write(t, map[string]string{"fluent-bit.conf": conf}), "fluent-bit.conf")
	var o, n strings.Builder
	err = mapSamples(strings.NewReader(samples), &o, &n, append([]string{"-c", file, "--time", "2026-11-20T10:00:00Z"}, args...))
	return o.String(), n.String(), err
}

func TestMapPrintsTheRecordsThatWouldBeSent(t *testing.T) {
	const head = `"meterTimeInMillis":1795168800000,"uniqueId":"<uuid>-`
	for name, test := range map[string]struct {
		mapping, samples string
		args             []string
		want             string
	}{
		"numbers to the last digit": {
			mapping: "customer_id $t\nnegative_values accept\nmeters A=$a, B=$b, C=$c, D=$d",
			samples: `{"t":"x","a":18446744073709551615,"b":-9223372036854775808,"c":0.1,"d":1e3}` + "\n",
			want: `{"customerId":"x","meterApiName":"A","meterValue":18446744073709551615,` + head + `0"}
{"customerId":"x","meterApiName":"B","meterValue":-9223372036854775808,` + head + `1"}
{"customerId":"x","meterApiName":"C","meterValue":0.1,` + head + `2"}
{"customerId":"x","meterApiName":"D","meterValue":1000,` + head + `3"}
`,
		},
		"meter records need no mapping": {
			samples: `{"customerId":"c","meterApiName":"m","dimensions":{"z":"1","a":"2"},"meterValue":2,"meterTimeInMillis":1795168800123,"uniqueId":"u"}`,
			want:    `{"customerId":"c","meterApiName":"m","dimensions":{"z":"1","a":"2"},"meterValue":2,"meterTimeInMillis":1795168800123,"uniqueId":"u"}` + "\n",
		},
		"the tag, the metadata and the group": {
			mapping: "customer_id $group['resource']['tenant']\nmeter_api_name $TAG[1]\nmeter_value $metadata['n']",
			samples: "\n{}\n", args: []string{"--tag", "app.Calls", "--metadata", `{"n":3}`, "--group", `{"resource":{"tenant":"acme"}}`},
			want: `{"customerId":"acme","meterApiName":"Calls","meterValue":3,` + head + `0"}` + "\n",
		},
		"a record as it is, with its order, and the last of duplicates": {
			mapping: "payload record", samples: `{"z":1,"a":{"y":[1,2.5,null,true]},"z":2}` + "\n",
			want: `{"a":{"y":[1,2.5,null,true]},"z":2}` + "\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, notes, err := mapped(t, test.mapping, test.samples, test.args...)
			if err != nil || out != test.want {
				t.Errorf("got %v\n%s%s\nwant\n%s", err, notes, out, test.want)
			}
		})
	}
}

func TestMapTellsWhatIsRejectedAndWhy(t *testing.T) {
	out, notes, err := mapped(t, "customer_id $t\nmeter_api_name M\nmeter_value $n", `{"t":"a","n":1}
{"n":1}
{"t":"a","n":"12abc"}

{"t":"a","n":
[1]
{"t":"a","n":1} {}
`)
	if !errors.Is(err, errProblems) {
		t.Errorf("got %v, want the status of a problem", err)
	}
	if strings.Count(out, "\n") != 1 {
		t.Errorf("want one record, got %s", out)
	}
	for _, want := range []string{
		"line 2: no_customer: customer_id: want ", `line 3: bad_value: meter_value: want a finite number at $n, got "12abc"`,
		"line 5: want a JSON object on one line, got one that breaks off", "line 6: want a JSON object on one line, got [1]",
		"line 7: want a JSON object on one line, got something after it",
		"3 samples: 1 meter record, 2 rejected (bad_value 1, no_customer 1); 3 lines could not be read",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("want %q in\n%s", want, notes)
		}
	}
}

// CASES B9: a variable that is not set is no value, here and in Fluent Bit.
func TestMapFailsOverAMistakeAndOverAVariableThatIsNotSet(t *testing.T) {
	t.Setenv("AMBERFLO_TEST_SET", "us-west-2")
	for mapping, want := range map[string]error{
		"region ${AMBERFLO_TEST_SET}":                           nil,
		"region us-west-2\nstore_dir ${AMBERFLO_TEST_UNSET}":    errProblems,
		"region us-west-2\nmax_records ${AMBERFLO_UNSET}x":      errProblems,
		"region ${AMBERFLO_TEST_UNSET:-us-west-2}":              nil,
		"region r-1\nexternal_id x\nrole_arn ${AMBERFLO_UNSET}": errProblems,
		"region r-1\nexternal_id x":                             errProblems,
		"customer_idd $x":                                       errProblems,
		"max_records x":                                         errProblems,
		"region us-west-2\nsts_endpoint 127.0.0.1:1/x":          errProblems, // no URL
	} {
		out, notes, err := mapped(t, mapping, `{"customerId":"a","meterApiName":"m","meterValue":1}`+"\n")
		if !errors.Is(err, want) || !strings.Contains(out, `"customerId":"a"`) {
			t.Errorf("%s: got %v and %q, want %v and the record\n%s", mapping, err, out, want, notes)
		}
	}
}

func TestMapCountsWhatIsIgnored(t *testing.T) {
	out, notes, err := mapped(t, "unmatched ignore", "{\"a\":1}\n")
	if err != nil || out != "" || !strings.HasSuffix(notes, "1 sample: 0 meter records, 1 ignored\nno sample is billed; the first that is skipped has the fields a\n") {
		t.Errorf("got %v, %q, %q", err, out, notes)
	}
}

func TestAWrongMappingIsShownWithItsPlaceAndACaret(t *testing.T) {
	_, notes, err := mapped(t, "customer_id $a.b\nmeter_value x", "{}\n")
	if !errors.Is(err, errProblems) {
		t.Errorf("got %v, want the status of a problem", err)
	}
	for _, want := range []string{"fluent-bit.conf:5: error: customer_id: want ", "fluent-bit.conf:6: error: meter_value: want a number", "$a.b\n", "  ^"} {
		if !strings.Contains(notes, want) {
			t.Errorf("want %q in %s", want, notes)
		}
	}
}

// CASES B14
func TestMapFailsWithoutSamples(t *testing.T) {
	for _, samples := range []string{"", "\n \n"} {
		if _, notes, err := mapped(t, "", samples); !errors.Is(err, errProblems) || !strings.Contains(notes, "0 samples: 0 meter records\nwant samples, one a line, got none") {
			t.Errorf("%q: got %v, %q", samples, err, notes)
		}
	}
}

func TestMapRefusesWhatItCannotRead(t *testing.T) {
	if out, notes, err := mapped(t, "", "{\"customerId\":\"a\xff\",\"meterApiName\":\"m\",\"meterValue\":1}\n"); err == nil || out != "" || !strings.Contains(notes, "line 1: bad_utf8: ") {
		t.Errorf("bytes that the plugin refuses: got %q, %q, %v", out, notes, err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--time", "yesterday"}, "--time"},
		{[]string{"--time", "2200-01-01T00:00:00Z"}, "1970 to 2106"},
		{[]string{"--metadata", "[]"}, "want a JSON object"},
		{[]string{"a", "b"}, "want one file"},
		{[]string{"--raw", "--records"}, "want --raw or --records"},
		{[]string{"--input", "x"}, `--input: want one of , got "x"`},
		{[]string{"/nonexistent"}, "want a file of samples"},
		{[]string{"-c", ""}, "want -c"},
	} {
		if _, _, err := mapped(t, "", "", test.args...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: got %v, want %q in it", test.args, err, test.want)
		}
	}
}

func TestMapAddsUpAsTheSealDoes(t *testing.T) {
	const mapping = "customer_id $t\nmeters Calls=1, Bytes=$b\ndimensions region\nunique_id $id, generate\naggregate *\naggregate_bucket 1h\n"
	samples := `{"t":"a","b":0.1,"region":"eu"}
{"t":"a","b":0.2,"region":"eu"}
{"t":"a","b":0.7,"region":"eu"}
{"t":"b","b":5,"region":"eu"}
{"t":"a","b":9,"region":"eu","id":"own"}
{"t":"a","b":"x","region":"eu"}
`
	out, notes, err := mapped(t, mapping, samples)
	const head = `"dimensions":{"region":"eu"},"meterValue":`
	const at = `,"meterTimeInMillis":1795168800000,"uniqueId":"`
	const sum = `,"records":3,"firstMillis":1795168800000,"lastMillis":1795168800000}` + "\n"
	want := `{"customerId":"a","meterApiName":"Calls",` + head + `1` + at + `own"}
{"customerId":"a","meterApiName":"Bytes",` + head + `9` + at + `own"}
{"customerId":"a","meterApiName":"Calls",` + head + `3` + at + `<uuid>-2"` + sum + `{"customerId":"a","meterApiName":"Bytes",` + head + `1` + at + `<uuid>-3"` + sum +
		`{"customerId":"b","meterApiName":"Calls",` + head + `1` + at + `<uuid>-4"}
{"customerId":"b","meterApiName":"Bytes",` + head + `5` + at + `<uuid>-5"}
`
	if !errors.Is(err, errProblems) || out != want {
		t.Errorf("got %v\n%swant\n%s", err, out, want)
	}
	for _, want := range []string{"6 samples: 10 meter records, added up to 6 events, 1 rejected (bad_value 1)\n", "2 records have an id of its own and are not added up: own_id\n"} {
		if !strings.Contains(notes, want) {
			t.Errorf("want %q in\n%s", want, notes)
		}
	}
	if strings.Contains(notes, "adding up does little") {
		t.Errorf("so few say nothing:\n%s", notes)
	}
	out, _, err = mapped(t, mapping, samples, "--json")
	if !errors.Is(err, errProblems) || !strings.Contains(out, `"meter_records": 10,`) || !strings.Contains(out, `"events": 6,`) || !strings.Contains(out, `"own_id": 2`) {
		t.Errorf("got %v\n%s", err, out)
	}
	// Where a dimension keeps records apart, it is named; more than one chunk's are added up too.
	var many, few strings.Builder
	for i := range 200 {
		fmt.Fprintf(&many, `{"t":"a","b":1,"region":"r%d"}`+"\n", i)
	}
	for range 20_001 {
		few.WriteString(`{"t":"a","b":0.1,"region":"eu"}` + "\n")
	}
	_, notes, err = mapped(t, mapping, many.String())
	if err != nil || !strings.Contains(notes, "fluent-bit.conf:9: warning: aggregate: want records that have much in common, got 400 events of 400 records") || !strings.Contains(notes, "the dimension region has most values, 200:") {
		t.Errorf("got %v\n%s", err, notes)
	}
	out, notes, err = mapped(t, mapping, few.String())
	if err != nil || strings.Count(out, "\n") != 2 || !strings.Contains(out, `"meterValue":2000.1,`) || !strings.Contains(out, `"records":20001,`) || strings.Contains(notes, "does little") {
		t.Errorf("got %v\n%s%s", err, out, notes)
	}
}

func TestMapNamesAFewLinesAndCountsTheOthers(t *testing.T) {
	lines := strings.Repeat(`{"host":"a","n":1}`+"\n", 4) + "x\n" + strings.Repeat(`{"host":"a","n":1}`+"\n", 3) + `{"tenant":"a","n":"?"}` + "\n"
	_, notes, err := mapped(t, "customer_id $tenant\nmeter_api_name M\nmeter_value $n", lines)
	want := `line 1: no_customer: customer_id: want a string that is not empty, or a number at $tenant, got nothing; its record has the fields host, n
line 2: no_customer: customer_id: want a string that is not empty, or a number at $tenant, got nothing
`
	if !errors.Is(err, errProblems) || !strings.Contains(notes, want) || strings.Count(notes, "no_customer: customer_id") != 5 ||
		!strings.Contains(notes, "no_customer: 2 more lines\n") || !strings.Contains(notes, "line 9: bad_value: ") {
		t.Errorf("got %v\n%s", err, notes)
	}
}
