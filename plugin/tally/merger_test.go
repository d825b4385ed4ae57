package tally

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	at    = int64(1795291200000) // a full hour
	width = 15 * time.Minute
)

var segment = [16]byte{7}

// merged is what comes out of a Merger, fed in pieces of some size.
func merged(t testing.TB, bucket time.Duration, size int, text string) string {
	t.Helper()
	var out strings.Builder
	m := NewMerger(segment, func(line []byte, n int64) error {
		if got := Records(line); got != n {
			t.Errorf("%d records said of a line of %d: %s", n, got, line)
		}
		out.Write(line)
		return nil
	})
	for part := range slices.Chunk([]byte(text), size) {
		if err := m.Add(bucket, part); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.End(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// plainLine is a meter record, without the brace and the line feed after it.
func plainLine(names, dimensions, value string, millis int64, id string) string {
	if dimensions != "" {
		dimensions = `,"dimensions":{` + dimensions + `}`
	}
	return fmt.Sprintf(`{"customerId":"%s","meterApiName":"m"%s,"meterValue":%s,"meterTimeInMillis":%d,"uniqueId":"%s"`, names, dimensions, value, millis, id)
}

func partialLine(names, dimensions, value string, first, last, records int64, id string) string {
	return string(AppendMembers([]byte(plainLine(names, dimensions, value, first, id)), records, first, last))
}

func TestPartialsOfOneKeyBecomeOneEvent(t *testing.T) {
	one := func(value string, millis int64, id string) string {
		return partialLine("c", `"a":"1"`, value, millis, millis, 1, id)
	}
	sum := func(value string, first, last, n int64, id string) string {
		l, ok := readLine([]byte(merged(t, width, 1<<20, partialLine("c", `"a":"1"`, "1", first, last, 2, id))))
		if !ok {
			t.Fatal("no line")
		}
		return string(AppendMembers([]byte(plainLine("c", `"a":"1"`, value, l.millis, id)), n, first, last))
	}
	for _, tt := range []struct{ name, in, want string }{
		{"two", one("1", at, "u-0") + one("2", at+5, "u-1"), sum("3", at, at+5, 2, "u-0")},
		{"a later one that is earlier", one("1", at+5, "u-0") + one("2", at, "u-1"), sum("3", at, at+5, 2, "u-0")},
		{"many records", partialLine("c", `"a":"1"`, "10", at, at+7, 4, "u-0") + partialLine("c", `"a":"1"`, "2.5", at+3, at+9, 3, "u-1"), sum("12.5", at, at+9, 7, "u-0")},
		{"one record is as it would be without adding up", one("1.50", at, "u-0"), plainLine("c", `"a":"1"`, "1.50", at, "u-0") + "}\n"},
		{"so is its odd value", one("-0", at, "u-0") + partialLine("d", "", "1e-07", at, at, 1, "u-1"), plainLine("c", `"a":"1"`, "-0", at, "u-0") + "}\n" + plainLine("d", "", "1e-07", at, "u-1") + "}\n"},
		{"two buckets", one("1", at+899_999, "u-0") + one("2", at+900_000, "u-1"), plainLine("c", `"a":"1"`, "1", at+899_999, "u-0") + "}\n" + plainLine("c", `"a":"1"`, "2", at+900_000, "u-1") + "}\n"},
		{"the order of dimensions does not matter", partialLine("c", `"b":"\"2,","a":"1"`, "1", at, at, 1, "u-0") + partialLine("c", `"a":"1","b":"\"2,"`, "1", at, at, 1, "u-1"),
			partialLine("c", `"b":"\"2,","a":"1"`, "2", at, at, 2, "u-0")},
		{"a sum that leaves a double begins another event", partialLine("c", "", "9007199254740990", at, at, 2, "u-0") + partialLine("c", "", "2", at, at, 2, "u-1") +
			partialLine("c", "", "1", at, at, 2, "u-2") + partialLine("c", "", "1", at, at, 2, "u-3"),
			partialLine("c", "", "9007199254740992", at, at, 4, "u-0") + partialLine("c", "", "2", at, at, 4, "u-2")},
		{"a value beyond a double is an event by itself", partialLine("c", "", "1", at, at, 2, "u-0") + partialLine("c", "", "1.2345678901234567", at, at, 1, "u-1") +
			partialLine("c", "", "9007199254740993", at, at, 2, "u-2") + partialLine("c", "", "1", at, at, 2, "u-3"),
			plainLine("c", "", "1.2345678901234567", at, "u-1") + "}\n" + partialLine("c", "", "9007199254740993", at, at, 2, "u-2") + partialLine("c", "", "2", at, at, 4, "u-0")},
		{"negative values", one("-1.5", at, "u-0") + one("1.5", at, "u-1"), partialLine("c", `"a":"1"`, "0", at, at, 2, "u-0")},
		{"customers, meters and dimensions that only look alike", partialLine("c", `"a":"1"`, "1", at, at, 1, "u-0") + partialLine("c", "", "1", at, at, 1, "u-1") +
			partialLine(`c\",\"meterApiName\":\"m`, "", "1", at, at, 1, "u-2") + partialLine("c", `"a":"2"`, "1", at, at, 1, "u-3"),
			plainLine("c", `"a":"1"`, "1", at, "u-0") + "}\n" + plainLine("c", "", "1", at, "u-1") + "}\n" + plainLine(`c\",\"meterApiName\":\"m`, "", "1", at, "u-2") + "}\n" + plainLine("c", `"a":"2"`, "1", at, "u-3") + "}\n"},
		{"a dimension that is named as a member", partialLine("c", `",\"meterValue\":1":",\"uniqueId\":\"x"`, "1", at, at, 2, "u-0"), partialLine("c", `",\"meterValue\":1":",\"uniqueId\":\"x"`, "1", at, at, 2, "u-0")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1, 7, 1 << 20} {
				if got := merged(t, width, size, tt.in); got != tt.want {
					t.Fatalf("in pieces of %d: got\n%s\nwant\n%s", size, got, tt.want)
				}
			}
		})
	}
}

func TestLinesThatAreNoPartialsPassAsTheyAre(t *testing.T) {
	whole := partialLine("c", `"a":"1"`, "1", at, at+1, 2, "u-0")
	lines := []string{
		"", "{}", "null", `{"records":2}`, plainLine("c", `"a":"1"`, "1", at, "own") + "}",
		strings.Replace(whole, `"customerId"`, `"customer"`, 1), strings.Replace(whole, `{"a"`, `{"a":"1","a"`, 1), strings.Replace(whole, `"a":"1"`, `"a":1`, 1),
		strings.Replace(whole, `"a":"1"`, `"a":"1",`, 1), strings.Replace(whole, `"a":"1"`, `"a"`, 1), strings.Replace(whole, `"u-0"`, `7`, 1), strings.Replace(whole, `"u-0"`, `"u`, 1),
		strings.Replace(whole, `"records":2`, `"records":0`, 1), strings.Replace(whole, `"records":2`, `"records":-2`, 1), strings.Replace(whole, `"records":2`, `"records":2e0`, 1),
		strings.Replace(whole, `"records":2`, `"records":2000000000000000000000`, 1), strings.Replace(whole, `"meterValue":1`, `"meterValue":"1"`, 1),
		strings.Replace(whole, `"firstMillis":1`, `"firstMillis":9`, 1), strings.Replace(whole, `"lastMillis":1`, `"lastMillis":9`, 1), strings.Replace(whole, `,"lastMillis"`, `, "lastMillis"`, 1),
		strings.Replace(whole, "}\n", "}}", 1), whole[:len(whole)/2], "\x00\xff",
	}
	for _, line := range lines {
		line = strings.TrimSuffix(line, "\n") + "\n"
		if got := merged(t, width, 5, line+line); got != line+line {
			t.Errorf("got\n%s\nwant\n%s", got, line+line)
		}
	}
	if got := merged(t, 0, 5, whole+whole); got != whole+whole {
		t.Errorf("a frame of which nothing is to be added up: got\n%s", got)
	}
	if got := merged(t, width, 5, whole+whole[:20]); got != whole[:20] && !strings.HasSuffix(got, whole[:20]) {
		t.Errorf("a line that does not end: got\n%s", got)
	}
}

func TestEventsOfOneBucketHaveTimesOfTheirOwn(t *testing.T) {
	var in strings.Builder
	for i := range 1000 {
		in.WriteString(partialLine("c", fmt.Sprintf(`"a":"%d"`, i), "1", at, at+899_999, 2, fmt.Sprintf("u-%d", i)))
	}
	times := map[int64]int{}
	for line := range strings.Lines(merged(t, width, 1<<20, in.String())) {
		l, ok := readLine([]byte(line))
		if !ok || l.first != at || l.last != at+899_999 {
			t.Fatal(line)
		}
		times[l.millis]++
	}
	if len(times) < 950 {
		t.Errorf("1,000 events have %d times", len(times))
	}
}

func TestWidthsOfBucketsDoNotMix(t *testing.T) {
	var out bytes.Buffer
	m := NewMerger(segment, func(line []byte, _ int64) error { out.Write(line); return nil })
	for i, bucket := range []time.Duration{width, time.Hour, width} {
		if err := m.Add(bucket, []byte(partialLine("c", "", "1", at, at, 2, fmt.Sprint("u-", i)))); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.End(); err != nil {
		t.Fatal(err)
	}
	want := partialLine("c", "", "2", at, at, 4, "u-0") + partialLine("c", "", "1", at, at, 2, "u-1")
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

// TestAnyPartitionAddsUp feeds random streams, in random pieces and under random bounds, to the Merger: what comes out has the
// sums that math/big has of what went in, and the same bytes each time.
func TestAnyPartitionAddsUp(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for round := range 300 {
		in := randomLines(r, 1+r.IntN(400))
		maxKeys, maxBytes := 1+r.IntN(50), 200+r.IntN(20_000)
		if round%3 == 0 {
			maxKeys, maxBytes = MaxKeys, MaxBytes
		}
		run := func(pieces *rand.Rand) string {
			var out bytes.Buffer
			m := NewMerger(segment, func(line []byte, _ int64) error { out.Write(line); return nil })
			m.MaxKeys, m.MaxBytes = maxKeys, maxBytes
			for rest := in; len(rest) > 0; {
				n := min(1+pieces.IntN(2000), len(rest))
				if err := m.Add(width, []byte(rest[:n])); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := m.End(); err != nil {
				t.Fatal(err)
			}
			return out.String()
		}
		out := run(r)
		if again := run(r); again != out {
			t.Fatal("other bytes of the same lines")
		}
		got, gotRecords := bill(t, out)
		want, wantRecords := bill(t, in)
		if gotRecords != wantRecords || !maps.EqualFunc(got, want, func(a, b *big.Rat) bool { return a.Cmp(b) == 0 }) {
			t.Fatalf("round %d: got %d records and\n%v\nwant %d and\n%v", round, gotRecords, got, wantRecords, want)
		}
		if strings.Count(out, "\n") > strings.Count(in, "\n") || round%3 == 0 && strings.Count(out, "\n") > len(want)+strings.Count(in, "\n")*2/3 {
			t.Fatalf("%d lines of %d", strings.Count(out, "\n"), strings.Count(in, "\n"))
		}
	}
}

func randomLines(r *rand.Rand, n int) string {
	var b strings.Builder
	for i := range n {
		dims := []string{`"a":"1"`, `"b":"x,\"y"`, `"c":"ü"`}
		r.Shuffle(len(dims), func(i, j int) { dims[i], dims[j] = dims[j], dims[i] })
		dims = dims[:r.IntN(4)]
		first := at + r.Int64N(2_000_000)
		last := min(first+r.Int64N(1000), first/900_000*900_000+899_999)
		id := fmt.Sprintf("u-%d", i)
		switch r.IntN(6) {
		case 0:
			b.WriteString(plainLine(fmt.Sprint("c", r.IntN(3)), strings.Join(dims, ","), randomNumber(r), first, id) + "}\n")
		case 1:
			b.WriteString(partialLine(fmt.Sprint("c", r.IntN(3)), strings.Join(dims, ","), randomNumber(r), first, first, 1, id))
		default:
			b.WriteString(partialLine(fmt.Sprint("c", r.IntN(3)), strings.Join(dims, ","), randomNumber(r), first, last, 1+r.Int64N(1000), id))
		}
	}
	return b.String()
}

// bill adds lines up by customer, meter, dimensions and bucket.
func bill(t testing.TB, lines string) (sums map[string]*big.Rat, records int64) {
	t.Helper()
	sums = map[string]*big.Rat{}
	for text := range strings.Lines(lines) {
		var l struct {
			CustomerID, MeterAPIName, UniqueID string
			Dimensions                         map[string]string
			MeterValue                         json.Number
			MeterTimeInMillis                  int64
			Records, FirstMillis, LastMillis   *int64
		}
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&l); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if (l.Records == nil) != (l.FirstMillis == nil) || (l.Records == nil) != (l.LastMillis == nil) || l.UniqueID == "" {
			t.Fatalf("odd members: %s", text)
		}
		n := int64(1)
		if l.Records != nil {
			if n = *l.Records; *l.FirstMillis > l.MeterTimeInMillis || l.MeterTimeInMillis > *l.LastMillis || *l.FirstMillis/900_000 != *l.LastMillis/900_000 {
				t.Fatalf("odd times: %s", text)
			}
		}
		records += n
		dims, err := json.Marshal(l.Dimensions) // sorted
		if err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprint(l.CustomerID, "|", l.MeterAPIName, "|", string(dims), "|", l.MeterTimeInMillis/900_000)
		if sums[key] == nil {
			sums[key] = new(big.Rat)
		}
		sums[key].Add(sums[key], rat(t, l.MeterValue.String()))
	}
	return sums, records
}

func FuzzMerger(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 5 {
		f.Add([]byte(randomLines(r, 8)), uint8(3))
	}
	f.Fuzz(func(t *testing.T, text []byte, size uint8) {
		if len(text) == 0 {
			return
		}
		var whole, pieces bytes.Buffer
		for _, out := range []*bytes.Buffer{&whole, &pieces} {
			lines := int64(0)
			m := NewMerger(segment, func(line []byte, n int64) error { lines += n; out.Write(line); return nil })
			n := len(text)
			if out == &pieces {
				n = int(size) + 1
			}
			for part := range slices.Chunk(text, n) {
				if err := m.Add(width, part); err != nil {
					t.Fatal(err)
				}
			}
			if err := m.End(); err != nil {
				t.Fatal(err)
			}
			want := int64(0)
			for line := range bytes.Lines(text) {
				want += Records(line)
			}
			if lines != want && want < 1<<50 {
				t.Fatalf("%d records came out of %d", lines, want)
			}
		}
		if !bytes.Equal(whole.Bytes(), pieces.Bytes()) {
			t.Fatalf("in pieces\n%s\nand as a whole\n%s", &pieces, &whole)
		}
	})
}

func BenchmarkMerger(b *testing.B) {
	for _, keys := range []int{200, 50_000} {
		b.Run(fmt.Sprint(keys, " keys"), func(b *testing.B) {
			var in bytes.Buffer
			const lines = 100_000
			for i := range lines {
				in.WriteString(partialLine(fmt.Sprint("tenant-", i%keys), `"method":"GET","status":"200"`, fmt.Sprint(1000+i), at+int64(i), at+int64(i)+7, 9, fmt.Sprint("0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9-", i)))
			}
			b.ReportAllocs()
			b.SetBytes(int64(in.Len()))
			for b.Loop() {
				m := NewMerger(segment, func([]byte, int64) error { return nil })
				if err := m.Add(width, in.Bytes()); err != nil {
					b.Fatal(err)
				}
				if err := m.End(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/lines, "ns/line")
		})
	}
}
