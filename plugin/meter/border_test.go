package meter

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"out_amberflo/plugin/chunk"
)

// short is what mapChunk gives, shortened to what the tests of this file are about: customer, meter, dimensions, value.
func short(text string) string {
	for old, with := range map[string]string{`"customerId":`: "", `"meterApiName":`: "", `"dimensions":`: "", `"meterValue":`: "",
		`,"meterTimeInMillis":` + atMillis: "", `,"uniqueId":"<id>"`: ""} {
		text = strings.ReplaceAll(text, old, with)
	}
	return text
}

type borderCase struct {
	name    string
	options Options
	record  string
	want    string // short; "ignored"; or how the rejection begins
}

func testBorders(t *testing.T, cases []borderCase) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			got := short(mapRecord(t, tt.options, tt.record))
			if got != tt.want && !(strings.Contains(tt.want, ":") && !strings.HasPrefix(tt.want, "{") && strings.HasPrefix(got, tt.want)) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// CASES A1, A2, A10.
func TestAStringThatSaysNothingIsAsGoodAsAMissingField(t *testing.T) {
	access := Options{CustomerID: "$tenant", Meters: "ApiCalls=1, BytesOut=$bytes", Dimensions: "method, region", MeterTime: "$time, event", UniqueID: "$id, generate"}
	common := Options{CustomerID: "$user", Meters: "ApiCalls=1, BytesIn=$bytes_in, BytesOut=$bytes_out"}
	words := access
	words.Absent = `N/A, "null", undefined, <nil>, -1`
	testBorders(t, []borderCase{
		{"a customer", access, `{"tenant":"-","method":"GET","status":401,"bytes":12,"region":"-"}`, `no_customer: customer_id: want a string that is not empty, or a number at $tenant, got "-"`},
		{"a dimension", access, `{"tenant":"acme","method":"GET","region":"-","bytes":"-"}`, `{"acme","ApiCalls",{"method":"GET"},1}`},
		{"a value, a time and an id", access, `{"tenant":"acme","bytes":" - ","time":"-","id":"-"}`, `{"acme","ApiCalls",1}`},
		{"one meter of several", common, `{"user":"acme","bytes_in":"-","bytes_out":1205}`, "{\"acme\",\"ApiCalls\",1}\n{\"acme\",\"BytesOut\",1205}"},
		{"the only value", Options{CustomerID: "c", MeterAPIName: "m", MeterValue: "$v"}, `{"v":"-"}`, `no_value: meter_value: want a finite number at $v, got "-"`},
		{"other words, whatever their case", words, `{"tenant":"acme","bytes":"n/a","region":"NULL","method":"<nil>","time":"undefined","id":"null"}`, `{"acme","ApiCalls",1}`},
		{"a number among them, as a string and as a number", words, `{"tenant":"acme","bytes":-1,"region":"-1"}`, `{"acme","ApiCalls",1}`},
		{"- is a string then", words, `{"tenant":"-","region":"-"}`, `{"-","ApiCalls",{"region":"-"},1}`},
		{"with spaces after it", words, `{"tenant":"acme","region":"n/a  "}`, `{"acme","ApiCalls",1}`},
		{"spaces after a string belong to it", words, `{"tenant":"acme  ","region":"eu "}`, `{"acme  ","ApiCalls",{"region":"eu "},1}`},
		{"a dash and a space", access, `{"tenant":"acme","region":"- "}`, `{"acme","ApiCalls",1}`},
		{"none at all", with(func(o *Options) { o.Absent, o.Dimensions = `""`, "a, b" }), `{"a":"-","b":""}`, `{"acme","ApiCalls",{"a":"-"},1}`},
		{"in a map of dimensions", Options{Absent: "-, none", CustomerID: "c", MeterAPIName: "m", MeterValue: "1"}, `{"dimensions":{"a":"-","b":"None","c":"x","":"-"}}`, `{"c","m",{"c":"x"},1}`},
		{"the next customer counts", Options{CustomerID: "$consumer['custom_id'], $consumer['username'], 'no body'", MeterAPIName: "m", MeterValue: "1"}, `{"consumer":{"custom_id":"-","username":"kong-1"}}`, `{"kong-1","m",1}`},
		{"or the literal after them", Options{CustomerID: "$consumer['custom_id'], $consumer['username'], 'no body'", MeterAPIName: "$m, Calls", MeterValue: "1"}, `{"consumer":{}}`, `{"no body","Calls",1}`},
		{"the last duplicate in a map counts, also if it says nothing", Options{CustomerID: "c", MeterAPIName: "m", MeterValue: "1"}, `{"dimensions":{"a":"x","a":"-"}}`, `{"c","m",1}`},
	})
}

// CASES A3.
func TestANegativeValueIsRejectedUnlessTheUserTakesIt(t *testing.T) {
	target := Options{CustomerID: "c", Meters: "TargetSeconds=$target_time"}
	accepts := target
	accepts.NegativeValues = "accept"
	testBorders(t, []borderCase{
		{"-1 of a load balancer", target, `{"target_time":-1}`, "bad_value: meters: want a number that is not negative (negative_values accept takes it) at $target_time, got -1"},
		{"as a string", target, `{"target_time":"-1"}`, "bad_value: meters: want a number that is not negative"},
		{"with a fraction", target, `{"target_time":-0.001}`, "bad_value: meters: want a number that is not negative"},
		{"in a sum", Options{CustomerID: "c", Meters: "a=$a+$b"}, `{"a":5,"b":-1}`, "bad_value: meters: want a number that is not negative"},
		{"in a list", Options{CustomerID: "c", Meters: "a=sum($a)"}, `{"a":"5, -1"}`, "bad_value: meters: want a number that is not negative"},
		{"zero is not negative", target, `{"target_time":"-0.0"}`, `{"c","TargetSeconds",-0.0}`},
		{"a correction that the user wants", accepts, `{"target_time":-12.50}`, `{"c","TargetSeconds",-12.5}`},
		{"left out as absent", Options{Absent: "-, -1", CustomerID: "c", Meters: "Calls=1, TargetSeconds=$target_time"}, `{"target_time":-1}`, `{"c","Calls",1}`},
	})
}

// CASES A4, A5, A11, and others of their kinds.
func TestUnitsListsAndSumsAreExact(t *testing.T) {
	value := func(expression string) Options { return Options{CustomerID: "c", Meters: "m=" + expression} }
	number := func(n string) string { return `{"c","m",` + n + `}` }
	testBorders(t, []borderCase{
		{"nginx: upstreams by commas", value("sum($v)"), `{"v":"0.004, 0.012"}`, number("0.016")},
		{"nginx: upstreams by colons", value("sum($v)"), `{"v":"0.1 : 0.2"}`, number("0.3")},
		{"one that says nothing among them", value("sum($v)"), `{"v":"-, 0.004 : 0.1"}`, number("0.104")},
		{"all say nothing", value("sum($v)"), `{"v":"- : -"}`, "no_value: meters: want a finite number at $v"},
		{"one alone", value("sum($v)"), `{"v":7}`, number("7")},
		{"a list of msgpack", value("sum($v)"), `{"v":[1,"2.5",null,"-",18446744073709551615]}`, number("18446744073709551618.5")},
		{"a list of msgpack without numbers", value("sum($v)"), `{"v":[null,"-"]}`, "no_value: meters"},
		{"a list in a list", value("sum($v)"), `{"v":[[1]]}`, "bad_value: meters: want numbers"},
		{"separators of thousands are no list", value("sum($v)"), `{"v":"1,234"}`, "bad_value: meters: want numbers"},
		{"nor are spaces between them", value("sum($v)"), `{"v":"1 234"}`, "bad_value: meters: want numbers"},
		{"a semicolon", value("sum($v)"), `{"v":"1; 2 ; 3"}`, number("6")},
		{"a word among them", value("sum($v)"), `{"v":"1, two"}`, "bad_value: meters: want numbers"},
		{"a comma at the end", value("sum($v)"), `{"v":"1, 2,"}`, "bad_value: meters: want numbers"},

		{"GCP: seconds", value("ms($v)"), `{"v":"0.012s"}`, number("12")},
		{"Caddy: milliseconds", value("s($v)"), `{"v":"24.3ms"}`, number("0.0243")},
		{"Go: microseconds, with the sign of either alphabet", value("us($v)+us($w)"), `{"v":"1.5µs","w":"1.5μs"}`, number("3")},
		{"Go: several units", value("s($v)"), `{"v":"1h2m3.25s"}`, number("3723.25")},
		{"a space before the unit", value("ms($v)"), `{"v":"12 ms"}`, number("12")},
		{"nothing needs no unit", value("ms($v)"), `{"v":0}`, number("0")},
		{"a number without a unit is not guessed", value("ms($v)"), `{"v":12}`, "bad_value: meters: want a number with a unit (or the unit of those without, such as ms($v ms)) at $v, got 12"},
		{"Traefik: nanoseconds", value("s($v ns)"), `{"v":1234567}`, number("0.001234567")},
		{"Kong: milliseconds as a string", value("s( $v ms )"), `{"v":"25"}`, number("0.025")},
		{"a small float", value("us($v s)"), `{"v":0.0000005}`, number("0.5")},
		{"one that has a unit all the same", value("s($v ns)"), `{"v":"3ms"}`, number("0.003")},
		{"sizes that have none", value("MB(sum($v KiB))"), `{"v":"1000, 1 MB"}`, number("2.024")},
		{"a size is no duration", value("ms($v)"), `{"v":"12KB"}`, "bad_value: meters: want a number with a unit that ms can be made of"},
		{"decimal sizes", value("B($v)"), `{"v":"1.5 kB"}`, number("1500")},
		{"binary sizes", value("B($v)"), `{"v":"5KiB"}`, number("5120")},
		{"sizes of Kubernetes", value("B($v)"), `{"v":"2Gi"}`, number("2147483648")},
		{"in gigabytes", value("GB($v)"), `{"v":"1234567 B"}`, number("0.001234567")},
		{"in gibibytes", value("GiB($v)"), `{"v":"1B"}`, number("0.000000000931322574615478515625")},
		{"in mebibytes", value("MiB($v)"), `{"v":"3 GiB"}`, number("3072")},
		{"in tebibytes", value("TiB($v)"), `{"v":"512GiB"}`, number("0.5")},
		{"a K may be either", value("B($v)"), `{"v":"5K"}`, "bad_value: meters"},
		{"bits are no bytes", value("B($v)"), `{"v":"5kb"}`, "bad_value: meters"},
		{"a sum of durations", value("sum(ms($v))"), `{"v":"4ms, 0.012s"}`, number("16")},
		{"the other way round", value("ms(sum($v))"), `{"v":["4ms","12 ms"]}`, number("16")},
		{"a space before the unit in a list", value("ms(sum($v))"), `{"v":"4 ms, 12 µs"}`, number("4.012")},

		{"two fields", value("$in+$out"), `{"in":512,"out":"1024"}`, number("1536")},
		{"spaces around the plus", value("$in + $out"), `{"in":0.1,"out":0.2}`, number("0.3")},
		{"one of them says nothing", value("$in+$out"), `{"in":"-","out":7}`, number("7")},
		{"one of them is no number", value("$in+$out"), `{"in":true,"out":7}`, "bad_value: meters: want a finite number at $in, got true"},
		{"beyond 64 bits", value("$in+$out"), `{"in":18446744073709551615,"out":18446744073709551615}`, number("36893488147419103230")},
		{"thirty decimals", value("$in+$out"), `{"in":"0.000000000000000000000000000001","out":1}`, number("1.000000000000000000000000000001")},
		{"too many digits", value("$in+$out"), `{"in":"1e99","out":"1e-99"}`, "bad_value: meters: want a sum of at most 100 digits"},
		{"as meter_value", Options{CustomerID: "c", MeterAPIName: "m", MeterValue: "$in+ms($out)"}, `{"in":1,"out":"2ms"}`, number("3")},
	})
}

func TestOnlyIfDecidesWhatIsMetered(t *testing.T) {
	only := func(condition string) Options { return with(func(o *Options) { o.OnlyIf = condition }) }
	const billed, ignored = `{"acme","ApiCalls",1}`, "ignored"
	testBorders(t, []borderCase{
		{"a number", only("$status == 200"), `{"status":200}`, billed},
		{"a number as a string", only("$status == 200"), `{"status":"200"}`, billed},
		{"a number written otherwise", only("$status == 200"), `{"status":"200.0"}`, billed},
		{"another number", only("$status == 200"), `{"status":201}`, ignored},
		{"nothing equals no number", only("$status == 200"), `{}`, ignored},
		{"what says nothing equals nothing", only("$status == 200"), `{"status":"-"}`, ignored},
		{"a string", only("$state == done"), `{"state":"done"}`, billed},
		{"a string in another case is another", only("$state == done"), `{"state":"Done"}`, ignored},
		{"a string with spaces", only(`$state == "all done"`), `{"state":"all done"}`, billed},
		{"a boolean", only("$ok == true"), `{"ok":true}`, billed},
		{"the other one", only("$ok == true"), `{"ok":false}`, ignored},
		{"not a string", only("$state != failed"), `{"state":"done"}`, billed},
		{"not a string, and nothing is there", only("$state != failed"), `{}`, billed},
		{"a range", only("$status >= 200 and $status < 300"), `{"status":204}`, billed},
		{"out of it", only("$status >= 200 and $status < 300"), `{"status":"301"}`, ignored},
		{"nothing is in no range", only("$status < 300"), `{}`, ignored},
		{"its ends", only("$status > 199 AND $status <= 200"), `{"status":200}`, billed},
		{"a list", only("$status in (200, 201, created)"), `{"status":"created"}`, billed},
		{"not in it", only("$status in (200, 201)"), `{"status":500}`, ignored},
		{"not in a list", only("$status not in (500, 503)"), `{"status":503}`, ignored},
		{"absent", only("$error is absent"), `{"error":null}`, billed},
		{"not absent", only("$error is absent"), `{"error":"x"}`, ignored},
		{"present", only("$user is present and $TAG[0] == app"), `{"user":"u"}`, billed},
		{"a dash is not present", only("$user is present"), `{"user":"-"}`, ignored},
		{"a string has no order", only("$status < 300"), `{"status":"OK"}`, `bad_condition: only_if: want a number to compare at $status, got "OK"`},
		{"a list is not compared", only("$status == 200"), `{"status":[200]}`, "bad_condition: only_if: want a string, a number or a boolean to compare at $status, got [200]"},
		{"large numbers to the last digit", only("$n == 18446744073709551615"), `{"n":18446744073709551614}`, ignored},
		{"a record as it is", Options{Payload: "record", OnlyIf: "$status == 200"}, `{"status":500}`, ignored},
	})
}

// CASES A6, A7, A8.
func TestUnmatchedIsWhatIsNotFoundAndNotWhatIsWrong(t *testing.T) {
	tokens := Options{CustomerID: "$user", Meters: "TokensIn=$usage['in'], TokensOut=$usage['out']"}
	pods := Options{CustomerID: "$kubernetes['labels']['tenant']", MeterAPIName: "m", MeterValue: "$n"}
	calls := Options{CustomerID: "acme", Meters: "Calls=1, Bytes=$bytes", MeterTime: "$time, event"}
	unmatched := func(o Options, v string) Options { o.Unmatched = v; return o }
	const pod, usage = `{"log":"GET /healthz","kubernetes":{"labels":{"tenant":"acme"}}}`, `{"n":3,"kubernetes":{"labels":{}}}`
	mixed := Options{CustomerID: "$c", Meters: "Calls=1, Bytes=$b"}
	testBorders(t, []borderCase{
		{"a failed call of a model has no counts", unmatched(tokens, "ignore"), `{"user":"acme","usage":{"in":null,"out":null},"status":429}`, "ignored"},
		{"but not by default", tokens, `{"user":"acme","usage":{"in":null,"out":null}}`, "no_value: meters: want at least one of $usage['in'], $usage['out'], got nothing"},
		{"values stand in the reason as they were written", Options{CustomerID: "c", Meters: "A=sum( $a ), B=ms($b s)+ $c"}, `{}`, "no_value: meters: want at least one of sum( $a ), ms($b s)+ $c, got nothing"},
		{"a line without usage of a pod that has a customer", unmatched(pods, "ignore"), pod, "ignored"},
		{"the same, where any may be missing", unmatched(pods, "ignore_any"), pod, "ignored"},
		{"the same, where all have to be", unmatched(pods, "ignore_all"), pod, "no_value: meter_value"},
		{"usage without a customer", unmatched(pods, "ignore"), usage, "no_customer: customer_id"},
		{"the same, where any may be missing", unmatched(pods, "ignore_any"), usage, "ignored"},
		{"usage that is no number", unmatched(pods, "ignore"), `{"n":"many","kubernetes":{"labels":{"tenant":"acme"}}}`, "bad_value: meter_value"},
		{"a time that is none", unmatched(calls, "ignore"), `{"x":1,"time":"yesterday"}`, "bad_time: meter_time"},
		{"calls without a customer", unmatched(mixed, "ignore"), `{"log":"x"}`, "ignored"},
		{"bytes without a customer", unmatched(mixed, "ignore"), `{"b":5}`, "no_customer: customer_id"},
		{"a literal customer, a meter from the record", unmatched(Options{CustomerID: "c", MeterAPIName: "$m", MeterValue: "1"}, "ignore"), `{}`, "ignored"},
		{"literals match everything, in every way", unmatched(Options{CustomerID: "c", MeterAPIName: "m", MeterValue: "1", MeterTime: "$t"}, "ignore_all"), `{}`, "bad_time: meter_time"},
		{"a tag is always there", unmatched(Options{CustomerID: "$TAG[0]", MeterAPIName: "m", MeterValue: "$n"}, "ignore"), `{"log":"x"}`, "ignored"},
	})
}

// CASES A9, A15, A17, A22.
func TestTextsAndBytesComeOutSoThatEveryReaderReadsThem(t *testing.T) {
	ids := with(func(o *Options) {
		o.UniqueID, o.Dimensions = "$metadata['otlp']['span_id'], generate", "trace=$metadata['otlp']['trace_id'], text=$metadata['otlp']['text']"
	})
	metadata := pack(t, `{"otlp":{"span_id":"msgpack:\\xc4\\x08\\x01\\x02\\x03\\x04\\x05\\x06\\x07\\xff","trace_id":"msgpack:\\xc4\\x02\\x41\\x00","text":"msgpack:\\xc4\\x02hi"}}`)
	got := mapChunk(t, ids, "", eventOf(metadata, pack(t, `{"log":"x"}`)))
	if want := `{"customerId":"acme","meterApiName":"ApiCalls","dimensions":{"trace":"4100","text":"hi"},"meterValue":1,"meterTimeInMillis":` + atMillis + `,"uniqueId":"01020304050607ff"}`; got != want {
		t.Errorf("bytes: got  %s\nwant %s", got, want)
	}
	testBorders(t, []borderCase{
		{"what other readers take for the end of a line", with(func(o *Options) { o.Dimensions = "a" }), "{\"a\":\"x\u2028y\u2029z\u0085\u0084é\"}", `{"acme","ApiCalls",{"a":"x\u2028y\u2029z\u0085` + "\u0084é" + `"},1}`},
		{"the same in a record as it is", Options{Payload: "record"}, "{\"a\u2028\":\"\u0085\u2029\"}", `{"a\u2028":"\u0085\u2029"}`},
		{"a name that is no UTF-8 of what is left out", Options{CustomerID: "c", MeterAPIName: "m", MeterValue: "1"}, `{"dimensions":"msgpack:\\x82\\xa1\\xfe\\xc0\\xa1a\\xa1b"}`, `{"c","m",{"a":"b"},1}`},
		{"a customer that was damaged on its way", Options{}, "{\"customerId\":\"\ufffd\",\"meterApiName\":\"m\",\"meterValue\":1}", "bad_utf8: customer_id: want a string without U+FFFD"},
		{"a meter", Options{}, "{\"customerId\":\"c\",\"meterApiName\":\"m\ufffd\",\"meterValue\":1}", "bad_utf8: meter_api_name: want a string without U+FFFD"},
		{"an id", Options{}, "{\"customerId\":\"c\",\"meterApiName\":\"m\",\"meterValue\":1,\"uniqueId\":\"é\ufffd\"}", "bad_utf8: unique_id: want a string without U+FFFD"},
		{"a dimension may have one", with(func(o *Options) { o.Dimensions = "a" }), "{\"a\":\"\ufffd\"}", "{\"acme\",\"ApiCalls\",{\"a\":\"\ufffd\"},1}"},
	})
}

// CASES A16.
func TestOfDuplicateKeysTheLastWinsEverywhere(t *testing.T) {
	var large, want strings.Builder
	for i := range 100 {
		fmt.Fprintf(&large, `"k%d":%d,`, i%60, i)
		if i >= 40 {
			fmt.Fprintf(&want, `"k%d":%d,`, i%60, i)
		}
	}
	testBorders(t, []borderCase{
		{"of a record as it is", Options{Payload: "record"}, `{"a":1,"b":{"c":1,"c":2},"a":3}`, `{"b":{"c":2},"a":3}`},
		{"of many keys", Options{Payload: "record"}, "{" + strings.TrimSuffix(large.String(), ",") + "}", "{" + strings.TrimSuffix(want.String(), ",") + "}"},
	})
	if got, want := mapChunk(t, Options{Payload: "record"}, "", eventOf([]byte{0x80}, []byte("\x82\x01\x02\xa11\x03"))), `{"1":3}`; got != want {
		t.Errorf("a number and its string: got %s, want %s", got, want)
	}
}

// The hash is a contract: whoever reads a line again after an upgrade needs the same.
func TestAHashOfFieldsIsAnIDThatSurvivesASecondReading(t *testing.T) {
	o := with(func(o *Options) { o.UniqueID = "hash($path, $offset, $log)" })
	line := func(id string) string { return counted[:len(counted)-len(`<id>"`)] + id + `"}` }
	const record = `{"path":"/var/log/a.log","offset":1024,"log":"GET /"}`
	const golden = "d3405b6a5725675b5cb5e8e3acb9a9d2" // made by another SHA-256, with the lengths 14, 4 and 5
	for name, tt := range map[string]struct {
		options      Options
		record, want string
	}{
		"a line":                          {o, record, line(golden)},
		"the same, its fields otherwise":  {o, `{"x":1,"log":"GET /","offset":"1024","path":"/var/log/a.log"}`, line(golden)},
		"a field is missing":              {o, `{"path":"/var/log/a.log","log":"GET /"}`, "bad_unique_id: unique_id: want all fields of hash($path, $offset, $log), got not all"},
		"a field is missing, one is made": {with(func(o *Options) { o.UniqueID = "hash( $path ,$offset), generate" }), `{"path":"x"}`, counted + "}"},
		"an id of its own goes before":    {with(func(o *Options) { o.UniqueID = "$id, hash($path)" }), `{"path":"x","id":"own"}`, line("own")},
		"a map, a list and a boolean":     {with(func(o *Options) { o.UniqueID = "hash($a, $b, $c)" }), `{"a":{"x":1},"b":[1],"c":true}`, line("ec04e96de4ef3bf88756a2418af02f0a")},
	} {
		if got := mapRecord(t, tt.options, tt.record); got != tt.want {
			t.Errorf("%s: got  %s\nwant %s", name, got, tt.want)
		}
	}
	seen := map[string]string{}
	for _, record := range []string{`{"a":"x","b":"yz"}`, `{"a":"xy","b":"z"}`, `{"a":"xyz","b":0}`, `{"a":"x","b":"y"}`, `{"a":"y","b":"x"}`} {
		id := mapRecord(t, with(func(o *Options) { o.UniqueID = "hash($a,$b)" }), record)
		if other, twice := seen[id]; twice {
			t.Errorf("%s and %s have one id", record, other)
		}
		seen[id] = record
	}
}

// mapAt maps a record at a time and returns what came of it, and what there is to doubt.
func mapAt(t *testing.T, o Options, now time.Time, record string) (string, []Doubt) {
	t.Helper()
	r := compile(t, o)
	m := r.NewMapper()
	m.StartClock(now)
	reader := chunk.NewReader(eventOf([]byte{0x80}, pack(t, record)), r.Keys())
	reader.Next()
	out, _, rejection := m.Append(nil, "app", reader.Event())
	if rejection != nil {
		return rejection.Reason + ": " + rejection.Detail, m.TakeDoubts()
	}
	return string(out), m.TakeDoubts()
}

// CASES A12.
func TestATimeThatAmberfloDoesNotTakeIsToldOrRejected(t *testing.T) {
	now := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	o := with(func(o *Options) { o.MeterTime = "$t, event" })
	rejects, wide := o, o
	rejects.MeterTimeOutside = "reject"
	wide.MeterTimeWindow = "3650d,30d"
	for _, tt := range []struct {
		name    string
		options Options
		record  string
		outside bool
	}{
		{"now", o, `{}`, false},
		{"a clock that was reset", o, `{"t":"2000-01-01T00:00:07Z"}`, true},
		{"the roll-over of GPS", o, `{"t":"2007-04-07T00:00:00Z"}`, true},
		{"the documented example", o, `{"t":1619445706909}`, true},
		{"the end of the century", o, `{"t":"2096-02-07T06:28:15Z"}`, true},
		{"sixty days back", o, `{"t":"2026-09-22T20:00:00Z"}`, false},
		{"a second more", o, `{"t":"2026-09-22T19:59:59Z"}`, true},
		{"less than a day ahead", o, `{"t":"2026-11-22T19:59:59Z"}`, false},
		{"a day ahead", o, `{"t":"2026-11-22T20:00:00Z"}`, true},
		{"in a wider window", wide, `{"t":"2026-12-20T20:00:00Z"}`, false},
	} {
		got, doubts := mapAt(t, tt.options, now, tt.record)
		told := len(doubts) == 1 && doubts[0].Kind == OutsideWindow && doubts[0].Option == "meter_time" && doubts[0].Records == 1
		if !strings.HasPrefix(got, "{") || told != tt.outside {
			t.Errorf("%s: got %s, %+v", tt.name, got, doubts)
		}
	}
	got, doubts := mapAt(t, rejects, now, `{"t":"2000-01-01T00:00:07Z"}`)
	if want := "time_outside_window: meter_time: want a time within 60d back and 1d ahead of now (meter_time_window), got 2000-01-01T00:00:07Z"; got != want || len(doubts) != 0 {
		t.Errorf("got  %s, %v\nwant %s", got, doubts, want)
	}
	rejects.MeterTime = "event"
	if got, _ := mapAt(t, rejects, now.AddDate(1, 0, 0), `{}`); !strings.HasPrefix(got, "time_outside_window: ") {
		t.Errorf("the event's own time: got %s", got)
	}
}

// CASES A14, and what else is metered although somebody should know of it.
func TestWhatIsDoubtfulIsMeteredAndTold(t *testing.T) {
	value := Options{CustomerID: "$c, acme", MeterAPIName: "m", MeterValue: "$v"}
	dimensions := Options{CustomerID: "acme", MeterAPIName: "m", MeterValue: "1", LongDimensions: "cut"}
	long := strings.Repeat("ü", 201)
	for _, tt := range []struct {
		name    string
		options Options
		record  string
		kind    string
	}{
		{"2^53 is a double", value, `{"v":9007199254740992}`, ""},
		{"one more is not", value, `{"v":9007199254740993}`, BeyondDouble},
		{"an even one is again", value, `{"v":9007199254740994}`, ""},
		{"a string with more digits than a double", value, `{"v":"0.1234567890123456789"}`, BeyondDouble},
		{"a sum", Options{CustomerID: "c", MeterAPIName: "m", MeterValue: "$v+$w"}, `{"v":9007199254740992,"w":1}`, BeyondDouble},
		{"the same in a sum", Options{CustomerID: "c", MeterAPIName: "m", MeterValue: "sum($v)"}, `{"v":36893488147419103233}`, BeyondDouble},
		{"a customer that is a template", value, `{"v":1,"c":"${tenant}"}`, WordForNothing},
		{"a customer of another language's nothing", value, `{"v":1,"c":"<no value>"}`, WordForNothing},
		{"a customer without a letter", value, `{"v":1,"c":"–"}`, WordForNothing},
		{"a customer that absent does not have any more", Options{CustomerID: "$c", MeterAPIName: "m", MeterValue: "1", Absent: "N/A"}, `{"c":"-"}`, WordForNothing},
		{"a customer in colours", value, `{"v":1,"c":"\u001b[32macme"}`, HiddenCharacter},
		{"a customer after a byte order mark", value, `{"v":1,"c":"\ufeffacme"}`, HiddenCharacter},
		{"a customer from right to left", value, `{"v":1,"c":"ac\u202eme"}`, HiddenCharacter},
		{"a customer with an umlaut and quotes", value, `{"v":1,"c":"Ä \"x\" –"}`, ""},
		{"an id of zeros", Options{CustomerID: "c", MeterAPIName: "m", MeterValue: "1", UniqueID: "$c"}, `{"c":"00000000-0000"}`, WordForNothing},
		{"an id of bytes, which becomes hex", Options{CustomerID: "c", MeterAPIName: "m", MeterValue: "1", UniqueID: "$c"}, `{"c":"msgpack:\\xc4\\x08\\x01\\x02\\x03\\xef\\xbf\\xbd\\x07\\xff"}`, ""},
		{"an id of bytes that are zeros", Options{CustomerID: "c", MeterAPIName: "m", MeterValue: "1", UniqueID: "$c"}, `{"c":"msgpack:\\xc4\\x04\\x00\\x00\\x00\\x00"}`, WordForNothing},
		{"an id that begins with zeros", Options{CustomerID: "c", MeterAPIName: "m", MeterValue: "1", UniqueID: "$c"}, `{"c":"0007"}`, ""},
		{"a customer with spaces around nothing", value, `{"v":1,"c":"N/A "}`, WordForNothing},
		{"a dimension without a letter is one", dimensions, `{"dimensions":{"path":"/"}}`, ""},
		{"a customer that begins with a sign", value, `{"v":1,"c":"@acme"}`, ""},
		{"a float that was an integer beyond uint64", value, `{"v":36893488147419103233}`, BeyondDouble},
		{"a float with many digits", value, `{"v":0.30000000000000004}`, ""},
		{"a customer by the name of null", value, `{"v":1,"c":"null"}`, WordForNothing},
		{"a customer by a name that begins so", value, `{"v":1,"c":"nullsoft"}`, ""},
		{"a dimension N/A", dimensions, `{"dimensions":{"plan":"N/A"}}`, WordForNothing},
		{"a dimension without a name", dimensions, `{"dimensions":{"":"x"}}`, NoName},
		{"a dimension that is too long", dimensions, `{"dimensions":{"a":"` + long + `"}}`, CutDimension},
	} {
		got, doubts := mapAt(t, tt.options, time.Unix(1795291200, 0), tt.record)
		kind := ""
		if len(doubts) == 1 {
			kind = doubts[0].Kind
		}
		if !strings.HasPrefix(got, "{") || kind != tt.kind || len(doubts) > 1 {
			t.Errorf("%s: got %s, %+v", tt.name, got, doubts)
		}
		if strings.Contains(got, long) || tt.kind == CutDimension && !strings.Contains(got, `"`+long[2:]+`"`) {
			t.Errorf("%s: got %s", tt.name, got)
		}
	}
	hex := `{"dimensions":{"a":"msgpack:\\xc4\\x65\\xff` + strings.Repeat(`\\xfc`, 100) + `"}}`
	if got, doubts := mapAt(t, dimensions, time.Unix(1795291200, 0), hex); !strings.Contains(got, `"ff`+strings.Repeat("fc", 99)+`"`) || len(doubts) != 1 || doubts[0].Kind != CutDimension {
		t.Errorf("bytes that are too long as hex: got %s, %+v", got, doubts)
	}
	dimensions.LongDimensions = ""
	if got, _ := mapAt(t, dimensions, time.Unix(1795291200, 0), `{"dimensions":{"a":"`+long+`"}}`); !strings.HasPrefix(got, "long_dimension: dimensions: want at most 200 characters") {
		t.Errorf("got %s", got)
	}
	if got, _ := mapAt(t, dimensions, time.Unix(1795291200, 0), `{"dimensions":{"a":"`+long[2:]+`"}}`); !strings.HasPrefix(got, "{") {
		t.Errorf("200 characters: got %s", got)
	}
}

func TestDoubtsOfAnEventThatIsRejectedDoNotCount(t *testing.T) {
	got, doubts := mapAt(t, Options{CustomerID: "$c", MeterAPIName: "m", MeterValue: "$v"}, time.Unix(1795291200, 0), `{"c":"null","v":"x"}`)
	if !strings.HasPrefix(got, "bad_value") || len(doubts) != 0 {
		t.Errorf("got %s, %+v", got, doubts)
	}
}

// CASES A21: rewrite_tag moves single events, each with the markers in front of it.
func TestEventsOfATornGroupAreRejectedWhereTheGroupCounts(t *testing.T) {
	start := func(tenant string) string {
		return string(inGroup(pack(t, `{"resource":{"attributes":{"tenant":"`+tenant+`"}}}`), nil))
	}
	event := string(eventOf([]byte{0x80}, pack(t, `{"log":"x"}`)))
	whole := start("a") + event + event + chunk.GroupEnd + start("b") + event + chunk.GroupEnd
	o := with(func(o *Options) { o.CustomerID = "$group['resource']['attributes']['tenant']" })
	for name, tt := range map[string]struct {
		chunk string
		torn  bool
	}{
		"whole":                    {whole, false},
		"no group":                 {event + event, false},
		"a start and its event":    {start("a") + event, false},
		"an event after the end":   {whole + event, false},
		"a start without an end":   {start("a") + event + event, true},
		"an end without a start":   {chunk.GroupEnd + start("a") + event + chunk.GroupEnd, true},
		"a start after a start":    {start("a") + event + start("b") + event + chunk.GroupEnd, true},
		"torn after what is whole": {whole + start("a") + event, true},
	} {
		got := mapChunk(t, o, "otel", []byte(tt.chunk))
		if torn := strings.Contains(got, "torn_group: $group: want a group whose start and end are both in the chunk"); torn != tt.torn {
			t.Errorf("%s: got %s", name, got)
		}
		if tt.torn && strings.Contains(got, `"customerId"`) {
			t.Errorf("%s: billed: %s", name, got)
		}
		if got := mapChunk(t, count, "otel", []byte(tt.chunk)); strings.Contains(got, "torn_group") {
			t.Errorf("%s, and the group does not count: got %s", name, got)
		}
	}
}

// CASES B1, A18.
func TestASurveyNamesWhatNobodyMeans(t *testing.T) {
	survey := func(o Options, records ...string) (literals, all []string) {
		t.Helper()
		if o.Dimensions == count.Dimensions {
			o.Dimensions = "TAG"
		}
		r := compile(t, o)
		s, mapper := r.NewSurvey(), r.NewMapper()
		reader := chunk.NewReader(nil, r.Keys())
		for _, record := range records {
			reader.Reset(eventOf(pack(t, `{"otlp":{"x":1}}`), pack(t, record)))
			reader.Next()
			lines, _, rejection := mapper.Append(nil, "app.web", reader.Event())
			if rejection != nil {
				t.Fatal(rejection)
			}
			s.Look("app.web", reader.Event(), lines)
		}
		for _, f := range s.Findings(false) {
			literals = append(literals, f.Option+": "+f.Text)
		}
		for _, f := range s.Findings(true) {
			all = append(all, f.Option+": "+f.Text)
		}
		return literals, all
	}
	for _, tt := range []struct {
		name     string
		options  Options
		records  []string
		literals string
		missing  string
	}{
		{"a literal that is a field", Options{CustomerID: "tenant", MeterAPIName: "m", MeterValue: "1"}, []string{`{"tenant":"acme"}`},
			`customer_id: "tenant" is one string for all records, and they have a field of that name: did you mean $tenant?`, ""},
		{"a literal that is none", with(func(o *Options) { o.Dimensions = "source=edge" }), []string{`{"tenant":"acme"}`}, "", ""},
		{"a dimension that is a field", with(func(o *Options) { o.Dimensions = "region=region" }), []string{`{"region":"eu"}`},
			`dimensions: "region" is one string for all records, and they have a field of that name: did you mean $region?`, ""},
		{"a misspelt field", with(func(o *Options) { o.Dimensions = "region, plan=$plna" }), []string{`{"plan":"pro"}`, `{"region":"eu"}`}, "",
			"dimensions: none of 2 records had $plna: is it spelt as in the log?"},
		{"half of a sum", Options{CustomerID: "c", Meters: "Bytes=$in+$otu"}, []string{`{"in":1,"out":2}`}, "",
			"meters: the record did not have $otu: is it spelt as in the log?"},
		{"one of several times", with(func(o *Options) { o.MeterTime = "$time, $tmie, event" }), []string{`{"time":1795291200}`}, "",
			"meter_time: the record did not have $tmie: is it spelt as in the log?"},
		{"a misspelt customer before a literal", with(func(o *Options) { o.CustomerID = "$tennant, nobody" }), []string{`{"tenant":"acme"}`}, "",
			"customer_id: the record did not have $tennant: is it spelt as in the log?"},
		{"a misspelt meter", with(func(o *Options) { o.MeterAPIName = "$metod, $method" }), []string{`{"method":"GET"}`}, "",
			"meter_api_name: the record did not have $metod: is it spelt as in the log?"},
		{"the tag without its $", with(func(o *Options) { o.CustomerID = "TAG" }), []string{`{}`},
			`customer_id: "TAG" is one string for all records: did you mean $TAG?`, ""},
		{"a path without its $", with(func(o *Options) { o.Dimensions = "plan=user.plan" }), []string{`{"user":{"plan":"pro"}}`},
			`dimensions: "user.plan" is one string for all records, and they have a field of that name: did you mean $user['plan']?`, ""},
		{"an id that tells nothing apart", with(func(o *Options) { o.UniqueID = "$tenant" }), []string{`{"tenant":"acme"}`, `{"tenant":"acme"}`, `{"tenant":"b"}`}, "",
			"unique_id: 1 of 3 records are equal to another one in customer, meter, time, dimensions and id, and Amberflo keeps one of such: does the id tell records apart?"},
		{"a field that says nothing is there", with(func(o *Options) { o.Dimensions = "flags" }), []string{`{"flags":"-"}`}, "", ""},
		{"defaults need not be there", Options{}, []string{`{"customerId":"c","meterApiName":"m","meterValue":1}`}, "", ""},
		{"a field that is called metadata", with(func(o *Options) { o.Dimensions = "a=$metadata['bytes']" }), []string{`{"metadata":{"bytes":1}}`}, "",
			"dimensions: the record did not have $metadata['bytes']: is it spelt as in the log? The records have a field metadata, which is written $['metadata']"},
		{"conditions by misspelt fields, which hold", with(func(o *Options) { o.OnlyIf = "$stauts != 500 and $eror is absent" }), []string{`{}`, `{"status":200}`}, "",
			"only_if: none of 2 records had $stauts: is it spelt as in the log?\nonly_if: none of 2 records had $eror: is it spelt as in the log?"},
		{"a condition that passes its field over", with(func(o *Options) { o.OnlyIf = "$error is absent" }), []string{`{"error":"x"}`, `{}`}, "", ""},
		{"no record, no finding", with(func(o *Options) { o.Dimensions = "a" }), nil, "", ""},
	} {
		literals, missing := survey(tt.options, tt.records...)
		if got := strings.Join(literals, "\n"); got != tt.literals {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.literals)
		}
		if got := strings.Join(missing, "\n"); got != tt.missing {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.missing)
		}
	}
}
