package meter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/meter/internal/timeformat"
)

// randomText is mostly plain, and now and then what a JSON writer gets wrong.
func randomString(r *rand.Rand) string {
	odd := []string{`"`, `\`, "\x00", "\n", "\x7f", "ü", "日", "\U0001f600", "\u2028", "</", "\ufffd", "&"}
	var b strings.Builder
	for range r.IntN(12) {
		if r.IntN(4) == 0 {
			b.WriteString(odd[r.IntN(len(odd))])
		} else {
			b.WriteByte(byte('a' + r.IntN(26)))
		}
	}
	return b.String()
}

// whole is a string that no decoder has damaged: the damaged ones are rejected as names.
func whole(text string) string { return strings.ReplaceAll(text, "\ufffd", "?") }

// randomNumber returns a number and the JSON that another encoder makes of it.
func randomNumber(r *rand.Rand) any {
	switch r.IntN(5) {
	case 0:
		return r.Int64N(1000)
	case 1:
		return r.Uint64()
	case 2:
		return -r.Int64()
	case 3:
		return math.Float64frombits(r.Uint64()&^(1<<62)) * 1e3 // finite
	}
	return r.Float64() * 100
}

func TestAnyMeterRecordReadsBackAsItWent(t *testing.T) {
	rules := compile(t, Options{NegativeValues: "accept"})
	m := rules.NewMapper()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 20_000 {
		dims := map[string]string{}
		for range r.IntN(5) {
			if k, v := randomString(r), randomString(r); k != "" && strings.TrimSpace(v) != "" {
				dims[k] = v
			}
		}
		want := map[string]any{
			"customerId": "c" + whole(randomString(r)), "meterApiName": whole(randomString(r)) + "m", "meterValue": randomNumber(r),
			"meterTimeInMillis": timeformat.Earliest + r.Int64N(timeformat.Latest-timeformat.Earliest), "uniqueId": fmt.Sprint(i, whole(randomString(r))),
		}
		if len(dims) > 0 {
			want["dimensions"] = dims
		}
		record := msgp.AppendMapHeader(nil, uint32(len(want)))
		var err error
		for _, key := range slices.Collect(maps.Keys(want)) { // in any order
			record = msgp.AppendString(record, key)
			if key == "dimensions" {
				record = msgp.AppendMapStrStr(record, dims)
			} else if record, err = msgp.AppendIntf(record, want[key]); err != nil {
				t.Fatal(err)
			}
		}
		reader := chunk.NewReader(eventOf([]byte{0x80}, record), rules.Keys())
		if !reader.Next() {
			t.Fatal(reader.Err())
		}
		line, n, rejection := m.Append(nil, "tag", reader.Event())
		if rejection != nil || n != 1 {
			t.Fatalf("%v: %v", want, rejection)
		}
		wantJSON, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := normal(t, line), normal(t, wantJSON); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}

// normal decodes JSON, keeping numbers as strings, and encodes it again with sorted keys.
func normal(t testing.TB, b []byte) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	if m, ok := v.(map[string]any); ok {
		if n, ok := m["meterValue"].(json.Number); ok && strings.ContainsAny(n.String(), "eE") {
			f, err := n.Float64()
			if err != nil {
				t.Fatal(err)
			}
			m["meterValue"] = f
		}
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestChunksOfTheRealFluentBitAreMapped(t *testing.T) {
	otel := Options{CustomerID: "$group['resource']['attributes']['tenant.id']", Meters: "Logs=1, Bytes=$metadata['otlp']['attributes']['bytes']",
		Dimensions: "scope=$group['scope']['name'], severity=$metadata['otlp']['severity_text'], path"}
	for _, tt := range []struct {
		name, file string
		options    Options
		want       string
	}{
		{"OpenTelemetry logs of two resources", "otel", otel, `
{"customerId":"acme","meterApiName":"Logs","dimensions":{"scope":"lib","severity":"INFO"},"meterValue":1,"meterTimeInMillis":1795291200123,"uniqueId":"<id>"}
{"customerId":"acme","meterApiName":"Bytes","dimensions":{"scope":"lib","severity":"INFO"},"meterValue":512,"meterTimeInMillis":1795291200123,"uniqueId":"<id>"}
{"customerId":"acme","meterApiName":"Logs","dimensions":{"scope":"lib","path":"/a"},"meterValue":1,"meterTimeInMillis":1795291201000,"uniqueId":"<id>"}
{"customerId":"globex","meterApiName":"Logs","dimensions":{"scope":"lib2"},"meterValue":1,"meterTimeInMillis":1795291202000,"uniqueId":"<id>"}`},
		{"a documented meter record", "dummy", Options{}, strings.Repeat(`
{"customerId":"123","meterApiName":"ApiCalls","dimensions":{"region":"US West","customerType":"Tech"},"meterValue":5,"meterTimeInMillis":1619445706909,"uniqueId":"<id>"}`, 2)},
		{"odd numbers", "dummy", Options{NegativeValues: "accept", CustomerID: "c", Meters: "big=$big, min=$min, pi=$pi", MeterTime: "$meterTimeInMillis", Dimensions: "trace=$metadata['trace'], list=$list[1][0]"}, strings.Repeat(`
{"customerId":"c","meterApiName":"big","dimensions":{"trace":"4bf92f","list":"2"},"meterValue":18446744073709551615,"meterTimeInMillis":1619445706909,"uniqueId":"<id>"}
{"customerId":"c","meterApiName":"min","dimensions":{"trace":"4bf92f","list":"2"},"meterValue":-9223372036854775808,"meterTimeInMillis":1619445706909,"uniqueId":"<id>"}
{"customerId":"c","meterApiName":"pi","dimensions":{"trace":"4bf92f","list":"2"},"meterValue":3.141592653589793,"meterTimeInMillis":1619445706909,"uniqueId":"<id>"}`, 2)},
		{"a time nested by names in other fields", "http", Options{CustomerID: "$vin", MeterAPIName: "m", MeterValue: "$data['diagnostics']['odometer']['data']['value']",
			MeterTime: "$data[$capability]['odometer']['timestamp'], $data['diagnostics']['odometer']['timestamp']", Unmatched: "ignore"}, `
ignored
{"customerId":"V1","meterApiName":"m","meterValue":12.5,"meterTimeInMillis":1795291198500,"uniqueId":"<id>"}`},
		{"records as they are", "http", Options{Payload: "record"}, `
{"a":1,"u":"Zürich \u0000"}
{"a":2.5,"vin":"V1","data":{"diagnostics":{"odometer":{"data":{"unit":"kilometers","value":12.5},"timestamp":"2026-11-21T19:59:58.5Z"}}}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("..", "chunk", "testdata", tt.file+".msgpack"))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := mapChunk(t, tt.options, "otel", b), strings.TrimPrefix(tt.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func FuzzMapper(f *testing.F) {
	paths, _ := filepath.Glob("../chunk/testdata/*.msgpack")
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, record := range []string{
		`{"customerId":"c","meterApiName":"m","meterValue":"-1.50e+3","dimensions":{"a":"b","a":"c"},"uniqueId":7}`,
		`{"customerId":-1.5,"meterApiName":"\u0000","meterValue":1.7976931348623157e308,"meterTimeInMillis":"2026-11-21T20:00:00.5+01:00","dimensions":{"x":true,"y":null}}`,
	} {
		f.Add(eventOf([]byte{0x80}, pack(f, record)))
	}
	rules := compile(f, Options{})
	m := rules.NewMapper()
	f.Fuzz(func(t *testing.T, b []byte) {
		reader := chunk.NewReader(b, rules.Keys())
		for reader.Next() {
			e := reader.Event()
			out, n, rejection := m.Append([]byte("before"), "tag", e)
			line, ok := bytes.CutPrefix(out, []byte("before"))
			if !ok || (rejection == nil) != (n == 1) || rejection != nil && (len(line) != 0 || rejection.Reason == "" || !utf8.ValidString(rejection.Detail)) {
				t.Fatalf("%q, %d records, %v", out, n, rejection)
			}
			if rejection != nil {
				continue
			}
			if bytes.Count(line, []byte("\n")) != 1 || !bytes.HasSuffix(line, []byte("}\n")) || bytes.Count(line, []byte{0}) > 1 {
				t.Fatalf("no single line: %q", line)
			}
			var got struct {
				CustomerID, MeterAPIName, UniqueID string
				MeterValue                         json.Number
				MeterTimeInMillis                  int64
				Dimensions                         map[string]string
			}
			d := json.NewDecoder(bytes.NewReader(bytes.Replace(line, []byte{0}, []byte("ID"), 1)))
			d.DisallowUnknownFields()
			if err := d.Decode(&got); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if want, is := plain(e.Field(0)); is && got.CustomerID != want {
				t.Fatalf("customer %q, want %q", got.CustomerID, want)
			}
			if want, is := plain(e.Field(1)); is && got.MeterAPIName != want {
				t.Fatalf("meter %q, want %q", got.MeterAPIName, want)
			}
			if want, is := plain(e.Field(2)); is {
				w, werr := strconv.ParseFloat(strings.TrimSpace(want), 64)
				g, gerr := got.MeterValue.Float64()
				if werr != nil || gerr != nil || math.Float64bits(w) != math.Float64bits(g) {
					t.Fatalf("value %s, want %s (%v, %v)", got.MeterValue, want, werr, gerr)
				}
			}
			if got.MeterTimeInMillis < timeformat.Earliest || got.MeterTimeInMillis >= timeformat.Latest || got.UniqueID == "" {
				t.Fatalf("%+v", got)
			}
			for k, v := range got.Dimensions {
				if k == "" || v == "" {
					t.Fatalf("an empty dimension in %q", line)
				}
			}
		}
	})
}

// plain is a string as it is, or an integer in decimal, by msgp's own way of reading them.
func plain(v []byte) (text string, is bool) {
	x, _, err := msgp.ReadIntfBytes(v)
	if err != nil {
		return "", false
	}
	switch x := x.(type) {
	case string:
		return x, true
	case int64, uint64:
		return fmt.Sprint(x), true
	}
	return "", false
}

func FuzzAccessor(f *testing.F) {
	for _, s := range []string{"$a", "$a['b''c'][0][$d]", "$TAG[1]", "$metadata['x']", "$['k']['x']", "a, b=$c['d'], \"e f\"='g'", "x=1, y=$z", "$a, event", "$a, generate", "%d.%m.%Y %S.%L", "'lit'", "acct-$id", "$a[99999999999]"} {
		f.Add(s)
	}
	record := pack(f, `{"a":{"b'c":[{"x":1}],"x":[1,2]},"c":{"d":"e"},"d":"x","z":5,"k":{"x":"y"},"t":"21.11.2026 56.5"}`)
	b := eventOf(pack(f, `{"x":{"y":1}}`), record)
	f.Fuzz(func(t *testing.T, s string) {
		for _, o := range []Options{
			{CustomerID: s, MeterAPIName: s, MeterValue: "1"}, {CustomerID: "c", MeterAPIName: "m", MeterValue: s}, {CustomerID: "c", Meters: s},
			{CustomerID: "c", MeterAPIName: "m", MeterValue: "1", Dimensions: s}, {CustomerID: "c", MeterAPIName: "m", MeterValue: "1", MeterTime: s, UniqueID: s},
			{CustomerID: "c", MeterAPIName: "m", MeterValue: "1", MeterTime: "$t", MeterTimeFormat: s},
		} {
			rules, errs := Compile(o)
			if (rules == nil) != (len(errs) > 0) {
				t.Fatalf("%+v: %v, %v", o, rules, errs)
			}
			for _, err := range errs {
				if err.Key == "" || err.Want == "" || err.Got == "" || err.Example == "" {
					t.Fatalf("%+v: %+v", o, err)
				}
			}
			if rules == nil {
				continue
			}
			reader := chunk.NewReader(b, rules.Keys())
			reader.Next()
			out, n, _ := rules.NewMapper().Append(nil, "app.web", reader.Event())
			if bytes.Count(out, []byte("\n")) != n {
				t.Fatalf("%+v: %d records in %q", o, n, out)
			}
			for line := range bytes.Lines(out) {
				if !json.Valid(line) {
					t.Fatalf("%+v: %q", o, line)
				}
			}
		}
	})
}
