package meter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"out_amberflo/plugin/chunk"
)

// count meters one call per record, so that a case needs to say only what it is about.
var count = Options{CustomerID: "acme", MeterAPIName: "ApiCalls", MeterValue: "1", Dimensions: "none"}

func with(change func(o *Options)) Options {
	o := count
	change(&o)
	return o
}

const counted = `{"customerId":"acme","meterApiName":"ApiCalls","meterValue":1,"meterTimeInMillis":` + atMillis + `,"uniqueId":"<id>"`

// countedWith is counted with dimensions.
func countedWith(dimensions string) string {
	return strings.Replace(counted, `"meterValue"`, `"dimensions":{`+dimensions+`},"meterValue"`, 1) + "}"
}

func TestARecordThatIsAMeterRecordNeedsNoMapping(t *testing.T) {
	const full = `{"customerId":"123","meterApiName":"ApiCalls","dimensions":{"region":"US West","customerType":"Tech"},"meterValue":5,"meterTimeInMillis":1619445706909,"uniqueId":"u-1"}`
	const bare = `{"customerId":"123","meterApiName":"ApiCalls","meterValue":5,"meterTimeInMillis":` + atMillis + `,"uniqueId":"<id>"`
	for _, tt := range []struct{ name, record, want string }{
		{"a whole one comes out as it went in", full, full},
		{"in whatever order its keys are", `{"dimensions":{"region":"US West","customerType":"Tech"},"uniqueId":"u-1","meterValue":5,"meterTimeInMillis":1619445706909,"meterApiName":"ApiCalls","customerId":"123"}`, full},
		{"without time, id and dimensions", `{"customerId":"123","meterApiName":"ApiCalls","meterValue":5}`, bare + `}`},
		{"null is absent", `{"customerId":"123","meterApiName":"ApiCalls","meterValue":5,"meterTimeInMillis":null,"uniqueId":null,"dimensions":null}`, bare + `}`},
		{"other keys are left out", `{"x":[1],"customerId":"123","meterApiName":"ApiCalls","meterValue":5,"y":{}}`, bare + `}`},
		{"numbers become the string of a customer, a meter and an id", `{"customerId":18446744073709551615,"meterApiName":7,"meterValue":5,"uniqueId":-1.5}`,
			`{"customerId":"18446744073709551615","meterApiName":"7","meterValue":5,"meterTimeInMillis":` + atMillis + `,"uniqueId":"-1.5"}`},
		{"the last duplicate wins", `{"customerId":"1","customerId":"123","meterApiName":"ApiCalls","meterValue":5}`, bare + `}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := mapRecord(t, Options{}, tt.record); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestARecordThatCannotBeMeteredIsRejectedWithAReason(t *testing.T) {
	const ok = `"customerId":"c","meterApiName":"m","meterValue":1`
	for _, tt := range []struct{ name, record, want string }{
		{"no customer", `{"meterApiName":"m","meterValue":1}`, "no_customer: customer_id: want a string that is not empty, or a number at $customerId, got nothing"},
		{"an empty customer", `{"customerId":""}`, `no_customer: customer_id: want a string that is not empty, or a number at $customerId, got ""`},
		{"a customer of spaces", `{"customerId":" \t\n"}`, `no_customer: customer_id: want a string that is not empty, or a number at $customerId, got " \t\n"`},
		{"a null customer", `{"customerId":null}`, "no_customer: customer_id: want a string that is not empty, or a number at $customerId, got nothing"},
		{"a customer that is a list", `{"customerId":["a"]}`, `bad_customer: customer_id: want a string that is not empty, or a number at $customerId, got ["a"]`},
		{"a customer that is a boolean", `{"customerId":true}`, `bad_customer: customer_id: want a string that is not empty, or a number at $customerId, got true`},
		{"a customer that is NaN", `{"customerId":"msgpack:\\xca\\x7f\\xc0\\x00\\x00"}`, `bad_customer: customer_id: want a string that is not empty, or a number at $customerId, got NaN`},
		{"a long number that became a float", `{"customerId":"msgpack:\\xcb\\x44\\x31\\x92\\xcb\\x9e\\x8a\\x37\\x1c"}`, `bad_customer: customer_id: want a string, or a number that has kept its digits at $customerId, got 3.241723717193394e+20`},
		{"a customer that is no UTF-8", `{"customerId":"msgpack:\\xa2a\\xff"}`, `bad_utf8: customer_id: want UTF-8 at $customerId, got "a\xff"`},
		{"no meter", `{"customerId":"c","meterValue":1}`, "no_meter: meter_api_name: want a string that is not empty, or a number at $meterApiName, got nothing"},
		{"a meter that is a map", `{"customerId":"c","meterApiName":{},"meterValue":1}`, "bad_meter: meter_api_name: want a string that is not empty, or a number at $meterApiName, got {}"},
		{"a meter that is no UTF-8", `{"customerId":"c","meterApiName":"msgpack:\\xa1\\xfe","meterValue":1}`, `bad_utf8: meter_api_name: want UTF-8 at $meterApiName, got "\xfe"`},
		{"no value", `{"customerId":"c","meterApiName":"m"}`, "no_value: meter_value: want a finite number at $meterValue, got nothing"},
		{"a time that is no time", `{` + ok + `,"meterTimeInMillis":"soon"}`, `bad_time: meter_time: want a time of the years 2000 to 2099 in the format auto at $meterTimeInMillis, got "soon"`},
		{"a time of 1970", `{` + ok + `,"meterTimeInMillis":5}`, `bad_time: meter_time: want a time of the years 2000 to 2099 in the format auto at $meterTimeInMillis, got 5`},
		{"an id that is a list", `{` + ok + `,"uniqueId":[1]}`, `bad_unique_id: unique_id: want a string that is not empty, or a number at $uniqueId, got [1]`},
		{"an id that is no UTF-8", `{` + ok + `,"uniqueId":"msgpack:\\xa1\\xfe"}`, `bad_utf8: unique_id: want UTF-8 at $uniqueId, got "\xfe"`},
		{"dimensions that are no map", `{` + ok + `,"dimensions":["a"]}`, `bad_dimensions: dimensions: want a map at $dimensions, got ["a"]`},
		{"a dimension that is no UTF-8", `{` + ok + `,"dimensions":{"a":"msgpack:\\xa1\\xfe"}}`, `bad_utf8: dimensions: want UTF-8 at $dimensions, got "\xfe"`},
		{"a dimension whose name is no UTF-8", `{` + ok + `,"dimensions":"msgpack:\\x81\\xa1\\xfe\\x01"}`, `bad_utf8: dimensions: want UTF-8 at $dimensions, got {"\uFFFD":1}`},
		{"a long value is cut in the sentence", `{"customerId":["` + strings.Repeat("x", 500) + `"]}`, `bad_customer: customer_id: want a string that is not empty, or a number at $customerId, got ["` + strings.Repeat("x", 118) + "…"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := mapRecord(t, Options{}, tt.record); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	if got, want := mapChunk(t, Options{}, "", []byte("\x07")), "not_an_event: want an array of time and record"; got != want {
		t.Errorf("no event: got %s, want %s", got, want)
	}
}

func TestAccessorsReachEveryValue(t *testing.T) {
	record := `{"a":"A","k":{"sub":"S","it's":"Q","a.b":"D","":"E","my key, \"x\"":"B","dup":"no","dup":"yes","list":["x",["y",{"z":"Z"}]],"0":"zero"},
		"a.b":"dot","metadata":{"x":"own"},"metadata-x/y":"I","which":"sub","n":0,"s":"string","long":{"k1":1,"k2":[2,{"k3":"deep"}]}}`
	metadata := `{"otlp":{"attributes":{"bytes":512,"tenant.id":"acme"}}}`
	group := `{"resource":{"attributes":{"tenant.id":"globex"}},"scope":{"name":"lib"}}`
	for _, tt := range []struct{ name, accessor, want string }{
		{"a key", `$a`, "A"},
		{"a nested key", `$k['sub']`, "S"},
		{"a doubled quote is a quote", `$k['it''s']`, "Q"},
		{"a dot in quotes", `$k['a.b']`, "D"},
		{"spaces, commas and quotes in quotes", `$k['my key, "x"']`, "B"},
		{"spaces inside of brackets", `$k[ 'sub' ]`, "S"},
		{"the last duplicate", `$k['dup']`, "yes"},
		{"an index", `$k['list'][0]`, "x"},
		{"an index, an index and a key", `$k['list'][1][1]['z']`, "Z"},
		{"an index beyond the list", `$k['list'][2]`, ""},
		{"an index into a map is no key", `$k[0]`, ""},
		{"a key of digits", `$k['0']`, "zero"},
		{"a key into a list", `$k['list']['0']`, ""},
		{"a key into a string finds nothing", `$s['x']`, ""},
		{"an index into a string finds nothing", `$s[0]`, ""},
		{"a key that is not there", `$none['x'][0]`, ""},
		{"keys are case-sensitive", `$A`, ""},
		{"a top-level key in quotes", `$['a.b']`, "dot"},
		{"a path from a key in quotes", `$['k']['sub']`, "S"},
		{"an identifier with - and /", `$metadata-x/y`, "I"},
		{"a field called metadata", `$['metadata']['x']`, "own"},
		{"a member named by another field", `$k[$which]`, "S"},
		{"a member named by a field that is not there", `$k[$none]`, ""},
		{"a deep path", `$long['k2'][1]['k3']`, "deep"},
		{"the tag", `$TAG`, "app.web.eu"},
		{"the first part of the tag", `$TAG[0]`, "app"},
		{"the last part of the tag", `$TAG[2]`, "eu"},
		{"a part that the tag does not have", `$TAG[3]`, ""},
		{"the event's metadata", `$metadata['otlp']['attributes']['tenant.id']`, "acme"},
		{"a number in the event's metadata", `$metadata['otlp']['attributes']['bytes']`, "512"},
		{"the group's resource", `$group['resource']['attributes']['tenant.id']`, "globex"},
		{"the group's scope", `$group['scope']['name']`, "lib"},
		{"something that the group does not have", `$group['none']`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := inGroup(pack(t, group), eventOf(pack(t, metadata), pack(t, record)))
			got := mapChunk(t, with(func(o *Options) { o.Dimensions = "d=" + tt.accessor }), "app.web.eu", b)
			want := countedWith(`"d":"` + tt.want + `"`)
			if tt.want == "" {
				want = counted + `}`
			}
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
	o := with(func(o *Options) { o.Dimensions = "d=$group['resource'], e=$metadata['x'], t=$TAG[0]" })
	if got, want := mapChunk(t, o, "", []byte("\x92\x00\x80")), "bad_time: meter_time: want an event time of the years 2000 to 2099, got 0 seconds since 1970"; got != want {
		t.Errorf("outside of a group: got %s, want %s", got, want)
	}
}

func TestTheTagMayChangeFromEventToEvent(t *testing.T) {
	r := compile(t, with(func(o *Options) { o.CustomerID = "$TAG[1]" }))
	m := r.NewMapper()
	reader := chunk.NewReader(eventOf([]byte{0x80}, []byte{0x80}), r.Keys())
	reader.Next()
	for tag, want := range map[string]string{"app.a": `"a"`, "app.b": `"b"`, "app.": "", "app": "", "x.y.z": `"y"`} {
		got, _, rejection := m.Append(nil, tag, reader.Event())
		if want == "" && rejection == nil || want != "" && !strings.HasPrefix(string(got), `{"customerId":`+want) {
			t.Errorf("%s: got %s, %v; want %s", tag, got, rejection, want)
		}
	}
}

func TestDimensionsComeInEveryForm(t *testing.T) {
	for _, tt := range []struct{ name, dimensions, record, want string }{
		{"names", "region, plan", `{"plan":"gold","region":"eu"}`, `"region":"eu","plan":"gold"`},
		{"names, accessors and literals", "region, plan=$account['plan'], source=edge", `{"region":"eu","account":{"plan":"gold"}}`, `"region":"eu","plan":"gold","source":"edge"`},
		{"quotes around names and literals", `"a, b"=" x ""y""", 'it''s'=$a`, `{"a":1}`, `"a, b":" x \"y\"","it's":"1"`},
		{"a name in quotes is a field too", `"user agent"`, `{"user agent":"curl"}`, `"user agent":"curl"`},
		{"a name with a dot", `http.status`, `{"http.status":200}`, `"http.status":"200"`},
		{"the tag by its name", `TAG`, `{}`, `"TAG":"app.web.eu"`},
		{"fields called metadata and group", `metadata, group`, `{"metadata":"m","group":"g"}`, `"metadata":"m","group":"g"`},
		{"numbers and booleans become strings", "a, b, c, d, e", `{"a":18446744073709551615,"b":-1,"c":0.1,"d":true,"e":false}`, `"a":"18446744073709551615","b":"-1","c":"0.1","d":"true","e":"false"`},
		{"null, empty, nested and what is no number are left out", "a, b, c, d, e, f, g", `{"a":null,"b":"","c":{"x":1},"d":[1],"e":"msgpack:\\xcb\\x7f\\xf0\\x00\\x00\\x00\\x00\\x00\\x00","f":" ","g":0}`, `"g":"0"`},
		{"none has a value", "a, b", `{"b":null}`, ``},
		{"control characters are escaped", "a", `{"a":"\u0000\"\\"}`, `"a":"\u0000\"\\"`},
		{"a map", "$labels", `{"labels":{"b":"x","a":1}}`, `"b":"x","a":"1"`},
		{"a nested map", "$k['labels']", `{"k":{"labels":{"b":"x"}}}`, `"b":"x"`},
		{"a map that is not there", "$labels", `{}`, ``},
		{"an empty map", "$labels", `{"labels":{}}`, ``},
		{"of a map too null, empty and nested ones are left out", "$labels", `{"labels":{"a":null,"b":"","c":[],"d":{},"":"x","e":true}}`, `"e":"true"`},
		{"of a map's duplicates the last wins", "$labels", `{"labels":{"a":1,"b":2,"a":3}}`, `"b":"2","a":"3"`},
		{"keys of a map that are numbers become strings", "$labels", `{"labels":"msgpack:\\x83\\x01\\xa1a\\xa11\\xa1b\\x90\\xa1c"}`, `"1":"b"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := countedWith(tt.want)
			if tt.want == "" {
				want = counted + `}`
			}
			if got := mapRecord(t, with(func(o *Options) { o.Dimensions = tt.dimensions }), tt.record); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestALargeMapOfDimensionsKeepsTheLastDuplicates(t *testing.T) {
	var record, want []string
	for i := range 100 {
		key := `"k` + strings.Repeat("x", i) + `":`
		record = append(record, key+`"old"`)
		want = append(want, key+`"new"`)
	}
	got := mapRecord(t, with(func(o *Options) { o.Dimensions = "$d" }), `{"d":{`+strings.Join(record, ",")+","+strings.Join(want, ",")+`}}`)
	if got != countedWith(strings.Join(want, ",")) {
		t.Errorf("got %s", got)
	}
}

func TestSeveralMetersComeFromOneRecord(t *testing.T) {
	o := Options{CustomerID: "$c", Meters: `ApiCalls=1, BytesOut=$bytes, "Seconds spent"=$spent['s']`, UniqueID: "$id, generate", Dimensions: "d"}
	line := func(id, name, value, rest string) string {
		return `{"customerId":"acme","meterApiName":"` + name + `",` + rest + `"meterValue":` + value + `,"meterTimeInMillis":` + atMillis + `,"uniqueId":"` + id + `"}`
	}
	for _, tt := range []struct {
		name, record string
		want         []string
	}{
		{"each with an id of its own", `{"c":"acme","bytes":5,"spent":{"s":"0.50"}}`, []string{line("<id>", "ApiCalls", "1", ""), line("<id>", "BytesOut", "5", ""), line("<id>", "Seconds spent", "0.50", "")}},
		{"all with what they share", `{"c":"acme","bytes":5,"d":"x","id":7}`, []string{line("7", "ApiCalls", "1", `"dimensions":{"d":"x"},`), line("7", "BytesOut", "5", `"dimensions":{"d":"x"},`)}},
		{"without those that are not there", `{"c":"acme","bytes":null}`, []string{line("<id>", "ApiCalls", "1", "")}},
		{"one bad value rejects all", `{"c":"acme","bytes":5,"spent":{"s":"x"}}`, []string{`bad_value: meters: want a finite number at $spent['s'], got "x"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, want := mapRecord(t, o, tt.record), strings.Join(tt.want, "\n"); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
	o.Meters = "BytesIn=$in, BytesOut=$out"
	if got, want := mapRecord(t, o, `{"c":"acme","out":5}`), line("<id>", "BytesOut", "5", ""); got != want {
		t.Errorf("the first is not there: got %s, want %s", got, want)
	}
	if got, want := mapRecord(t, o, `{"c":"acme"}`), "no_value: meters: want at least one of $in, $out, got nothing"; got != want {
		t.Errorf("none is there: got %s, want %s", got, want)
	}
}

func TestAnIDMayComeFromTheRecord(t *testing.T) {
	id := func(spec, record string) string {
		t.Helper()
		return mapRecord(t, with(func(o *Options) { o.UniqueID = spec }), record)
	}
	line := strings.TrimSuffix(counted, `<id>"`)
	for _, tt := range []struct{ name, spec, record, want string }{
		{"it is there", "$message_id", `{"message_id":"m-1"}`, line + `m-1"}`},
		{"it is not there", "$message_id", `{}`, "bad_unique_id: unique_id: want a string that is not empty, or a number at $message_id, got nothing"},
		{"another one is there", "$message_id, $id", `{"id":2}`, line + `2"}`},
		{"none is there and one may be made", "$message_id, $id, generate", `{}`, line + `<id>"}`},
		{"one is always made", "generate", `{"uniqueId":"x"}`, line + `<id>"}`},
		{"a NUL in it is escaped", "$id", `{"id":"a\u0000"}`, line + `a\u0000"}`},
	} {
		if got := id(tt.spec, tt.record); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestUnmatchedRecordsMayBeIgnored(t *testing.T) {
	ignore := func(o Options) Options { o.Unmatched = "ignore"; return o }
	for _, tt := range []struct {
		name         string
		options      Options
		record, want string
	}{
		{"neither customer nor meter", ignore(Options{}), `{"log":"hello"}`, "ignored"},
		{"both null", ignore(Options{}), `{"customerId":null,"meterValue":null}`, "ignored"},
		{"a customer but no value", ignore(Options{}), `{"customerId":"c"}`, "ignored"},
		{"a customer and a value but no meter", ignore(Options{}), `{"customerId":"c","meterValue":1}`, "no_meter: meter_api_name: want a string that is not empty, or a number at $meterApiName, got nothing"},
		{"a value but no customer", ignore(Options{}), `{"meterValue":1}`, "no_customer: customer_id: want a string that is not empty, or a number at $customerId, got nothing"},
		{"a customer from the record, a literal meter", ignore(Options{CustomerID: "$c", MeterAPIName: "m", MeterValue: "1"}), `{}`, "ignored"},
		{"a literal customer, a value from the record", ignore(Options{CustomerID: "c", MeterAPIName: "m", MeterValue: "$v"}), `{}`, "ignored"},
		{"several meters, none there", ignore(Options{CustomerID: "c", Meters: "a=$a, b=$b"}), `{}`, "ignored"},
		{"an empty customer is none", ignore(Options{CustomerID: "$c", MeterAPIName: "m", MeterValue: "1"}), `{"c":""}`, "ignored"},
		{"literals match everything", ignore(Options{CustomerID: "c", MeterAPIName: "m", MeterValue: "1", MeterTime: "$t"}), `{}`, "bad_time: meter_time: want a time at $t, got nothing"},
		{"not by default", Options{}, `{}`, "no_customer: customer_id: want a string that is not empty, or a number at $customerId, got nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := mapRecord(t, tt.options, tt.record); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestPayloadRecordShipsTheRecordItself(t *testing.T) {
	o := Options{Payload: "record"}
	record := `{"message_id":"m","b":[1,2.5,{"c":null}],"a":18446744073709551615,"a":"\u0000"}`
	if got, want := mapRecord(t, o, record), strings.Replace(record, `"a":18446744073709551615,`, "", 1); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	deep := append([]byte("\x81\xa1k"), strings.Repeat("\x91", 600)+"\x01"...)
	if got, want := mapChunk(t, o, "", eventOf([]byte{0x80}, deep)), "bad_record: render 604 bytes of msgpack as JSON: it nests deeper than 512"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for raw, want := range map[string]string{
		"\x81\xa1k\xa1\xff":                             "bad_utf8: render 5 bytes of msgpack as JSON: a string in it is no UTF-8",
		"\x81\xa1\xff\x01":                              "bad_utf8: render 4 bytes of msgpack as JSON: a string in it is no UTF-8",
		"\x81\xa1k\x91\xca\x7f\xc0\x00\x00":             "bad_record: render 9 bytes of msgpack as JSON: a number in it is not finite",
		"\x81\xa1k\xcb\xff\xf0\x00\x00\x00\x00\x00\x00": "bad_record: render 12 bytes of msgpack as JSON: a number in it is not finite",
		"\x81\xa1k\xc4\x01\xff":                         `{"k":"ff"}`,
		"\x81\xa1k\xca\x3d\xcc\xcc\xcd":                 `{"k":0.1}`,
	} {
		if got := mapChunk(t, o, "", eventOf([]byte{0x80}, []byte(raw))); got != want {
			t.Errorf("%q: got %s, want %s", raw, got, want)
		}
	}
}

func TestANumberIsAStringAsLongAsItHasItsDigits(t *testing.T) {
	for packed, exact := range map[string]bool{
		"\xcb\x43\x3f\xff\xff\xff\xff\xff\xff": true,  // 2^53-1
		"\xcb\xc3\x40\x00\x00\x00\x00\x00\x00": false, // -2^53
		"\xca\x4b\x7f\xff\xff":                 true,  // 2^24-1
		"\xca\x4b\x80\x00\x00":                 false, // 2^24
		"\xcf\xff\xff\xff\xff\xff\xff\xff\xff": true,  // 2^64-1
		"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00": true,  // 1.5
	} {
		for field, option := range map[string]Options{"bad_customer": {CustomerID: "$k", MeterAPIName: "m"}, "bad_meter": {CustomerID: "c", MeterAPIName: "$k"}, "bad_unique_id": {CustomerID: "c", MeterAPIName: "m", UniqueID: "$k"}} {
			option.MeterValue = "1"
			got := mapChunk(t, option, "", eventOf([]byte{0x80}, []byte("\x81\xa1k"+packed)))
			if rejected := strings.HasPrefix(got, field+": "); rejected == exact || !exact && !strings.Contains(got, "has kept its digits") {
				t.Errorf("%x: got %s", packed, got)
			}
		}
	}
}

// An event that is rejected after its first record takes no number.
func TestGeneratedIDsHaveTheNumberOfTheirRecord(t *testing.T) {
	r := compile(t, Options{CustomerID: "$c", Meters: "A=$a, B=$b"})
	m := r.NewMapper()
	m.StartIDs("\"\xff-", 95)
	n := 95
	for i := range 250 {
		fields := `{"c":"x","a":1,"b":2}`
		switch i % 10 {
		case 3:
			fields = `{"c":"x","a":1,"b":2,"uniqueId":"own"}`
		case 7:
			fields = `{"c":"x","a":1,"b":"many"}`
		}
		reader := chunk.NewReader(eventOf([]byte{0x80}, pack(t, fields)), r.Keys())
		reader.Next()
		lines, records, rejection := m.Append(nil, "app", reader.Event())
		if (rejection != nil) != (i%10 == 7) || rejection == nil && records != 2 {
			t.Fatalf("event %d: %d records, %v", i, records, rejection)
		}
		for line := range bytes.Lines(lines) {
			var got struct{ UniqueID string }
			if err := json.Unmarshal(line, &got); err != nil {
				t.Fatal(err)
			}
			want := "own"
			if i%10 != 3 {
				want = fmt.Sprintf("\"-%d", n)
			}
			n++
			if got.UniqueID != want {
				t.Fatalf("event %d: got the id %q, want %q", i, got.UniqueID, want)
			}
		}
	}
}
