package meter

import (
	"fmt"
	"testing"

	"out_amberflo/plugin/chunk"
)

// accessLog returns n events of 12 fields and some 350 bytes each.
func accessLog(t testing.TB, n int) []byte {
	var b []byte
	for i := range n {
		b = append(b, eventOf([]byte{0xdf, 0, 0, 0, 0}, pack(t, fmt.Sprintf(`{"host":"203.0.113.45","tenant":"tenant-%04d","method":"GET","path":"/api/v1/collections/products/items/12345",
			"protocol":"HTTP/1.1","referer":"https://www.example.com/shop/products?page=3","agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
			"region":"eu-central-1","request_id":"0a1b2c3d4e5f60718293a4b5c6d7e8f9","status":%d,"bytes":%d,"duration":0.0125}`, i%1000, 200+i%5, 1000+i)))...)
	}
	return b
}

func meterRecords(t testing.TB, n int) []byte {
	var b []byte
	for i := range n {
		b = append(b, eventOf([]byte{0x80}, pack(t, fmt.Sprintf(`{"customerId":"c-%d","meterApiName":"ApiCalls","meterValue":%d,"meterTimeInMillis":1795291200%03d,"dimensions":{"region":"US West","customerType":"Tech"}}`, i%100, i, i%1000)))...)
	}
	return b
}

var workloads = []struct {
	name    string
	options Options
	events  func(testing.TB, int) []byte
}{
	{"access_log", Options{CustomerID: "$tenant", MeterAPIName: "ApiCalls", MeterValue: "1", Dimensions: "method, status"}, accessLog},
	{"readme", Options{CustomerID: "$tenant", MeterAPIName: "ApiCalls", Dimensions: "region, plan=$account['plan'], source=edge", MeterValue: "$bytes"}, accessLog},
	{"meters", Options{CustomerID: "$tenant", Meters: "ApiCalls=1, BytesOut=$bytes", Dimensions: "region, part=$TAG[1]"}, accessLog},
	{"meter_records", Options{}, meterRecords},
}

func TestMappingDoesNotAllocate(t *testing.T) {
	for _, w := range workloads {
		b := w.events(t, 100)
		rules := compile(t, w.options)
		m, reader, out := rules.NewMapper(), chunk.NewReader(nil, rules.Keys()), make([]byte, 0, 1<<20)
		n := testing.AllocsPerRun(10, func() {
			reader.Reset(b)
			out = out[:0]
			for reader.Next() {
				var rejection *Rejection
				if out, _, rejection = m.Append(out, "app.web", reader.Event()); rejection != nil {
					t.Fatal(rejection)
				}
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", w.name, n)
		}
	}
}

func BenchmarkMapper(b *testing.B) {
	for _, w := range workloads {
		b.Run(w.name, func(b *testing.B) {
			const events = 5000
			data := w.events(b, events)
			rules := compile(b, w.options)
			m, reader, out := rules.NewMapper(), chunk.NewReader(nil, rules.Keys()), make([]byte, 0, 4<<20)
			b.SetBytes(int64(len(data) / events))
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				reader.Reset(data)
				out = out[:0]
				for n < b.N && reader.Next() {
					out, _, _ = m.Append(out, "app.web", reader.Event())
					n++
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// ofTwelve is an access log of 12 customers, as many events as a chunk of 2 MB has.
func ofTwelve(t testing.TB) []byte {
	var b []byte
	for i := range 6000 {
		b = append(b, eventOf([]byte{0xdf, 0, 0, 0, 0}, pack(t, fmt.Sprintf(`{"host":"203.0.113.45","tenant":"tenant-%04d","method":"%s","path":"/api/v1/collections/products/items/12345",
			"protocol":"HTTP/1.1","referer":"https://www.example.com/shop/products?page=3","agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
			"region":"eu-central-1","request_id":"0a1b2c3d4e5f60718293a4b5c6d7e8f9","status":%d,"bytes":%d,"duration":0.0125}`, i%12, []string{"GET", "POST"}[i%7/6], 200+i%5, 1000+i*37)))...)
	}
	return b
}

// BenchmarkAggregate holds the walk alone, lines, and sums of the same chunk against each other.
func BenchmarkAggregate(b *testing.B) {
	data := ofTwelve(b)
	options := Options{CustomerID: "$tenant", MeterAPIName: "BytesOut", MeterValue: "$bytes", Dimensions: "method, status"}
	two := Options{CustomerID: "$tenant", Meters: "ApiCalls=1, BytesOut=$bytes, Seconds=$duration", Dimensions: "method, status"}
	for _, way := range []struct {
		name      string
		options   Options
		walk, add bool
	}{{"walk", options, true, false}, {"lines", options, false, false}, {"sums", options, false, true}, {"lines of three meters", two, false, false}, {"sums of three meters", two, false, true}} {
		b.Run(way.name, func(b *testing.B) {
			if way.add {
				way.options.Aggregate = "*"
			}
			rules := compile(b, way.options)
			m, reader, out := rules.NewAdder(), chunk.NewReader(nil, rules.Keys()), make([]byte, 0, 4<<20)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				m.StartIDs("0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9-", 0)
				reader.Reset(data)
				out = out[:0]
				for n < b.N && reader.Next() {
					if !way.walk {
						out, _, _ = m.Append(out, "app.web", reader.Event())
					}
					n++
				}
				out, _ = m.AppendSums(out)
			}
		})
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	record := pack(b, `{"tenant":"t","method":"GET","path":"/api/v1/items","status":200,"bytes":1000,"duration":0.0125,"account":{"plan":"gold"}}`)
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out, _ = AppendJSON(out[:0], record)
	}
}
