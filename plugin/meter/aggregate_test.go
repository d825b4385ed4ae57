package meter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"math/rand/v2"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/tally"
)

// adds is what a log comes to that is added up in chunks and then in one segment.
type adds struct {
	plain, partials, events string // lines
	records                 []string
	doubts                  map[string]int
	passed                  map[string]int
}

// addUp maps chunks with a tag each. records tells, for each event, how many there were or why it was rejected.
func addUp(t testing.TB, rules *Rules, tags []string, chunks [][]byte) (a adds) {
	t.Helper()
	a.doubts, a.passed = map[string]int{}, map[string]int{}
	m := rules.NewAdder()
	reader := chunk.NewReader(nil, rules.Keys())
	events := &strings.Builder{}
	merger := tally.NewMerger([16]byte{1}, func(line []byte, _ int64) error { events.Write(line); return nil })
	_, bucket := rules.Aggregate()
	for i, b := range chunks {
		m.StartIDs(fmt.Sprintf("%d-", i), 0)
		m.StartClock(time.UnixMilli(1795291200000 + int64(i)*400))
		reader.Reset(b)
		var lines []byte
		for reader.Next() {
			before, given := len(lines), m.Lines()
			var n int
			var rejection *Rejection
			lines, n, rejection = m.Append(lines, tags[i], reader.Event())
			if rejection != nil {
				a.records = append(a.records, rejection.Reason+": "+rejection.Detail)
				if len(lines) != before || n != 0 || m.Lines() != given {
					t.Fatalf("lines of a rejected event: %s", lines[before:])
				}
			} else {
				a.records = append(a.records, fmt.Sprint(n))
			}
			if got := bytes.Count(lines[before:], []byte("\n")); got != m.Lines()-given || got > n {
				t.Fatalf("%d lines and %d numbers of %d records", got, m.Lines()-given, n)
			}
		}
		a.plain += string(lines)
		plain, given := len(lines), m.Lines()
		lines, n := m.AppendSums(lines)
		if got := bytes.Count(lines[plain:], []byte("\n")); got != n || m.Lines() != given+n {
			t.Fatalf("%d lines said to be %d", got, n)
		}
		a.partials += string(lines[plain:])
		if err := merger.Add(bucket, lines); err != nil {
			t.Fatal(err)
		}
		for _, d := range m.TakeDoubts() {
			a.doubts[d.Kind] += d.Records
		}
		for i, n := range m.Passed() {
			a.passed[PassReasons[i]] += n
		}
	}
	if err := merger.End(); err != nil {
		t.Fatal(err)
	}
	a.events = events.String()
	return a
}

// bill adds lines up by customer, meter, dimensions and bucket, with math/big.
func bill(t testing.TB, bucket time.Duration, lines string) (sums map[string]*big.Rat, records int64) {
	t.Helper()
	sums = map[string]*big.Rat{}
	for text := range strings.Lines(lines) {
		var l struct {
			CustomerID, MeterAPIName string
			Dimensions               map[string]string
			MeterValue               json.Number
			MeterTimeInMillis        int64
		}
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		dims, err := json.Marshal(l.Dimensions) // sorted
		if err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprintf("%q %q %s %d", l.CustomerID, l.MeterAPIName, dims, l.MeterTimeInMillis/max(bucket.Milliseconds(), 1))
		value, ok := new(big.Rat).SetString(l.MeterValue.String())
		if !ok {
			t.Fatal(text)
		}
		if sums[key] != nil {
			value.Add(value, sums[key])
		}
		sums[key] = value
		records += tally.Records([]byte(text))
	}
	return sums, records
}

// oddEvents are n events of few keys, some of them wrong in each way there is.
func oddEvents(r *rand.Rand, n int) (b []byte) {
	pick := func(likely []any, odd ...any) any {
		if r.IntN(12) > 0 {
			return likely[r.IntN(len(likely))]
		}
		return odd[r.IntN(len(odd))]
	}
	type raw = msgp.Raw
	nothing, broken, str8 := any(nil), any("a\xff"), any(raw("\xd9\x04acme"))
	list := func(v ...any) any { return v }
	for range n {
		at := int64(1795291200000) + r.Int64N(5_000) - 2500
		fields := []struct {
			key   string
			value any
		}{
			{"tenant", pick([]any{"acme", "globex"}, str8, nothing, "", " - ", "-", "null", 7, "7", 1.5, list("x"), broken, []byte{1, 2, 255}, "a\u200bb", strings.Repeat("x", 300), true, math.Inf(1))},
			{"account", pick([]any{nothing}, "other", 8, broken)},
			{"api", pick([]any{"ApiCalls", "BytesOut"}, "Other", nothing, 3, "n/a", false)},
			{"bytes", pick([]any{0, 1, 200, 70_000, 5_000_000_000, 1.5, 0.0125, "12", "0.25"}, nothing, -1, "-5", "1e3", "1.50", "-0", "many", "", math.NaN(), uint64(math.MaxUint64), 1<<53, 1<<53+1, 0.1+0.2,
				"0.000000000000000000000000000001", "123456789012345678901234567890", "1e308", 1e-7, 1e300, float32(0.1), list(1), true)},
			{"more", pick([]any{nothing, 5}, 2.25, "x", 1<<60, "9007199254740992")},
			{"took", pick([]any{"1.5ms", "20us"}, "1m2s", 3, nothing, "5 apples", 1e19)},
			{"times", pick([]any{"0.1, 0.2", list(1, 2.5)}, "-", "x", list(), list("1", nil), "0.1, -1")},
			{"status", pick([]any{200, 404}, "200", nothing, 500.5, broken)},
			{"method", pick([]any{"GET", "POST"}, nothing, "get", list(1), []byte{0x4b, 0xff}, []byte("GET"), strings.Repeat("ü", 201), "null")},
			{"time", pick([]any{at, nothing}, at/1000, "soon", 5, time.UnixMilli(at).UTC().Format(time.RFC3339Nano), at-90*86400_000)},
			{"id", pick([]any{nothing, nothing, nothing, nothing}, "own-1", 5, broken, list(1))},
		}
		r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
		record := msgp.AppendMapHeader(nil, uint32(len(fields)+1))
		for _, f := range fields {
			record = msgp.AppendString(record, f.key)
			if packed, is := f.value.(raw); is {
				record = append(record, packed...)
			} else if packed, err := msgp.AppendIntf(record, f.value); err == nil {
				record = packed
			} else {
				panic(err)
			}
		}
		record = msgp.AppendString(record, "dims")
		entries := []string{"\xa1a\x01", "\xa1b\xa1x", "\xa1c\xc0", "\xa6aflo.x\xa1y", "\xa1a\x02", "\x07\xa17", "\xa0\xa1z", "\xa1d\xa2\xff\xfe"}
		if few := []int{2, 2, 2, 2, 2, 3, 4, 5, 7, 8, 0, 1}[r.IntN(12)]; few > 1 {
			entries = entries[:few]
		} else {
			entries = entries[5+few : 7] // a number for a name, and no name
		}
		r.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		record = append(msgp.AppendMapHeader(record, uint32(len(entries))), strings.Join(entries, "")...)
		head := []byte{0xdf, 0, 0, 0, 1, 0xa1, 'm', byte(r.IntN(2))}
		e := eventOf(head, record)
		if r.IntN(12) == 0 { // a time of its own that is an integer, which may wrap around in milliseconds, a float or far away
			seconds := uint64(1795291200)
			times := [][]byte{msgp.AppendUint64(nil, seconds), msgp.AppendUint64(nil, seconds+1<<61), msgp.AppendUint64(nil, seconds+3<<61),
				msgp.AppendFloat64(nil, 1795291200.25), {5}, []byte("\xd7\x00\x00\x00\x00\x05\x00\x00\x00\x00")}
			e = slices.Concat(e[:2], times[r.IntN(len(times))], e[12:])
		}
		if r.IntN(8) == 0 {
			e = inGroup(msgp.AppendMapStrStr(nil, map[string]string{"tenant": []string{"acme", "g"}[r.IntN(2)]}), e)
			e = append(e, chunk.GroupEnd...)
		}
		b = append(b, e...)
		if r.IntN(100) == 0 {
			b = append(b, 0x01) // no event
		}
	}
	return b
}

var aggregating = Options{CustomerID: "$tenant", MeterAPIName: "$api", MeterValue: "$bytes", MeterTime: "$time, event", UniqueID: "$id, generate", Dimensions: "method, status"}

// aggregations are changes of aggregating that have all that rules can ask for.
var aggregations = map[string]func(o *Options){
	"names from fields": func(o *Options) { o.Aggregate = "ApiCalls" },
	"all names":         func(o *Options) { o.Aggregate = "*" },
	"narrow buckets":    func(o *Options) { o.Aggregate, o.AggregateBucket = "*", "1s" },
	"alternatives":      func(o *Options) { o.CustomerID, o.Aggregate = "$account, $tenant", "*" },
	"a literal at the end": func(o *Options) {
		o.CustomerID, o.MeterAPIName, o.Aggregate = "$tenant, 'nobody'", "$api, ApiCalls", "ApiCalls, Other"
	},
	"a sum": func(o *Options) { o.MeterValue, o.Aggregate = "$bytes+$more", "*" },
	"units": func(o *Options) { o.MeterValue, o.Aggregate = "ms($took)", "*" },
	"units of bare numbers and lists": func(o *Options) {
		o.MeterValue, o.Aggregate = "s($took ms) + sum($times)", "*"
	},
	"negative values": func(o *Options) { o.NegativeValues, o.Aggregate = "accept", "*" },
	"a hash":          func(o *Options) { o.UniqueID, o.Aggregate = "hash($id, $tenant), generate", "*" },
	"a condition":     func(o *Options) { o.OnlyIf, o.Aggregate = "$status < 400 and $method is present", "*" },
	"a map of dimensions": func(o *Options) {
		o.Dimensions, o.Aggregate = "$dims", "*"
	},
	"the tag, metadata and a group": func(o *Options) {
		o.CustomerID, o.Dimensions, o.Aggregate = "$group['tenant'], $tenant", "part=$TAG[1], m=$metadata['m'], x=$dims[$method], y=$dims['a'], z=edge", "*"
	},
	"long dimensions are cut": func(o *Options) { o.LongDimensions, o.Aggregate = "cut", "*" },
	"a dimension of Amberflo's": func(o *Options) {
		o.Dimensions, o.Aggregate = "aflo.x=$account, method", "*"
	},
	"times outside of the window": func(o *Options) { o.MeterTimeWindow, o.Aggregate = "1s, 1s", "*" },
	"and they are rejected":       func(o *Options) { o.MeterTimeWindow, o.MeterTimeOutside, o.Aggregate = "1s, 1s", "reject", "*" },
	"ignored without a value":     func(o *Options) { o.Unmatched, o.Aggregate = "ignore", "*" },
	"ignored without any":         func(o *Options) { o.Unmatched, o.Aggregate = "ignore_any", "*" },
	"several meters": func(o *Options) {
		o.MeterAPIName, o.MeterValue, o.Meters, o.Aggregate = "", "", "ApiCalls=1, BytesOut=$bytes, More=$more, Ms=ms($took)", "*"
	},
	"an id in a map":  func(o *Options) { o.UniqueID, o.Aggregate = "$dims['aflo.x'], generate", "*" },
	"a time in a map": func(o *Options) { o.MeterTime, o.Aggregate = "$dims['d'], event", "*" },
	"several, as most are": func(o *Options) {
		o.MeterAPIName, o.MeterValue, o.Meters, o.Aggregate = "", "", "BytesOut=$bytes, ApiCalls=1, Share=0.5, More=$more", "*"
	},
	"more fields than have bits": func(o *Options) {
		for i := range 70 {
			o.Dimensions = fmt.Sprintf("x%d, %s", i, o.Dimensions)
		}
		o.MeterAPIName, o.MeterValue, o.Meters, o.Aggregate = "", "", "BytesOut=$bytes, ApiCalls=1, More=$more", "*"
	},
	"several, some of them added up": func(o *Options) {
		o.MeterAPIName, o.MeterValue, o.Meters, o.Aggregate = "", "", "BytesOut=$bytes, ApiCalls=1, More=$more", "ApiCalls, More"
	},
	"several, the last not added up": func(o *Options) {
		o.MeterAPIName, o.MeterValue, o.Meters, o.Aggregate, o.Unmatched = "", "", "More=$more, Share=0.1, BytesOut=$bytes", "More, Share", "ignore_all"
	},
	"several without a literal": func(o *Options) {
		o.MeterAPIName, o.MeterValue, o.Meters, o.Aggregate, o.Unmatched = "", "", "More=$more, Ms=ms($took), BytesOut=$bytes", "Ms", "ignore"
	},
	"a literal beyond a double": func(o *Options) {
		o.MeterAPIName, o.MeterValue, o.Meters, o.Aggregate = "", "", "Big=12345678901234567890, More=$more", "*"
	},
}

// TestAddedUpOrNotTheBillIsTheSame maps the same events with and without aggregate: the same rejects with the same words, the
// same doubts, the same number of records, and equal sums by customer, meter, dimensions and bucket, in the flush and at the
// seal.
func TestAddedUpOrNotTheBillIsTheSame(t *testing.T) {
	for name, change := range aggregations {
		t.Run(name, func(t *testing.T) {
			o := aggregating
			change(&o)
			with := compile(t, o)
			_, bucket := with.Aggregate()
			o.Aggregate, o.AggregateBucket = "", ""
			without := compile(t, o)
			r := rand.New(rand.NewPCG(9, uint64(len(name))))
			var chunks [][]byte
			var tags []string
			for range 6 {
				chunks = append(chunks, oddEvents(r, 300))
				tags = append(tags, []string{"app.web", "app", "x.y.z"}[r.IntN(3)])
			}
			want, got := addUp(t, without, tags, chunks), addUp(t, with, tags, chunks)
			if want.partials != "" || want.events != want.plain {
				t.Fatal("something was added up without aggregate")
			}
			for i := range want.records {
				if got.records[i] != want.records[i] {
					t.Fatalf("event %d: got %s, want %s", i, got.records[i], want.records[i])
				}
			}
			if !maps.Equal(got.doubts, want.doubts) {
				t.Errorf("doubts: got %v, want %v", got.doubts, want.doubts)
			}
			wantSums, wantRecords := bill(t, bucket, want.plain)
			for what, lines := range map[string]string{"the flush": got.plain + got.partials, "the seal": got.events} {
				sums, records := bill(t, bucket, lines)
				if records != wantRecords || !maps.EqualFunc(sums, wantSums, func(a, b *big.Rat) bool { return a.Cmp(b) == 0 }) {
					t.Errorf("%s: %d records, want %d, and\n%v\nwant\n%v", what, records, wantRecords, sums, wantSums)
				}
			}
			own := regexp.MustCompile(`"uniqueId":"(\d-\d+|([^"]+))"`)
			for _, id := range own.FindAllStringSubmatch(want.plain, -1) {
				if id[2] != "" && strings.Count(got.plain, id[0]) != strings.Count(want.plain, id[0]) {
					t.Fatalf("%d lines have the id of their own %s, want %d", strings.Count(got.plain, id[0]), id[2], strings.Count(want.plain, id[0]))
				}
			}
			ones := map[string]bool{}
			for line := range strings.Lines(want.plain) {
				before, _, _ := strings.Cut(line, tally.IDKey)
				ones[before] = true
			}
			for line := range strings.Lines(got.events) {
				before, after, _ := strings.Cut(line, tally.IDKey)
				if !strings.Contains(after, `,"records":`) && !ones[before] {
					t.Errorf("an event of one record is none of the lines without aggregate: %s", line)
				}
			}
			if few := strings.Count(got.partials, "\n"); few == 0 || int64(few)*2 > wantRecords {
				t.Errorf("%d partials of %d records", few, wantRecords)
			}
			if strings.Contains(got.partials, `"aflo.`) {
				t.Error("a dimension of Amberflo's was added up")
			}
			plain := strings.Count(got.plain, "\n")
			passed := 0
			for _, n := range got.passed {
				passed += n
			}
			if passed > plain || !strings.Contains(name, "some") && !strings.Contains(name, "several") && !strings.Contains(name, "names from") && !strings.Contains(name, "literal at") && passed != plain {
				t.Errorf("%d records passed, and %d have lines: %v", passed, plain, got.passed)
			}
			if twice := addUp(t, with, tags, chunks); twice.plain != got.plain || twice.events != got.events {
				t.Error("other bytes the second time")
			}
		})
	}
}

// TestWhatIsRememberedIsWhatWouldBeRendered maps the same events with and without the memory of keys.
func TestWhatIsRememberedIsWhatWouldBeRendered(t *testing.T) {
	for name, change := range aggregations {
		t.Run(name, func(t *testing.T) {
			o := aggregating
			change(&o)
			o.Aggregate, o.AggregateBucket = "", ""
			rules := compile(t, o)
			remembering, rendering := rules.NewMapper(), rules.NewMapper()
			reader, r := chunk.NewReader(nil, rules.Keys()), rand.New(rand.NewPCG(5, uint64(len(name))))
			for i := range 12 {
				for _, m := range []*Mapper{remembering, rendering} {
					m.StartClock(time.UnixMilli(1795291200000))
					m.StartIDs(fmt.Sprintf("%d-", i), 0)
				}
				reader.Reset(oddEvents(r, 300))
				for reader.Next() {
					rendering.keys.paused = 1
					tag := []string{"app.web", "app", "x.y.z"}[r.IntN(3)]
					got, n, rejection := remembering.Append(nil, tag, reader.Event())
					want, wantN, wantRejection := rendering.Append(nil, tag, reader.Event())
					if string(got) != string(want) || n != wantN || fmt.Sprint(rejection) != fmt.Sprint(wantRejection) {
						t.Fatalf("got %s %v, want %s %v", got, rejection, want, wantRejection)
					}
				}
				if got, want := remembering.TakeDoubts(), rendering.TakeDoubts(); !slices.Equal(got, want) {
					t.Fatalf("doubts: got %v, want %v", got, want)
				}
			}
			if known, none := remembering.keys.table.Keys(), rendering.keys.table.Keys(); known == 0 || none > 0 {
				t.Errorf("%d keys are known, and %d where nothing was to be remembered", known, none)
			}
		})
	}
}

// Where most keys are new, looking them up is given up for a while.
func TestNothingIsLookedUpWhereLittleIsKnown(t *testing.T) {
	rules := compile(t, Options{CustomerID: "$tenant", MeterAPIName: "Calls", MeterValue: "1", Dimensions: "method"})
	m, reader := rules.NewMapper(), chunk.NewReader(nil, rules.Keys())
	mapChunk := func(from, tenants int) {
		var b []byte
		for i := range 1000 {
			b = append(b, eventOf([]byte{0x80}, pack(t, fmt.Sprintf(`{"tenant":"t-%d","method":"GET"}`, from+i%tenants)))...)
		}
		m.StartIDs("id-", 0)
		for reader.Reset(b); reader.Next(); {
			if _, n, rejection := m.Append(nil, "", reader.Event()); n != 1 || rejection != nil {
				t.Fatal(n, rejection)
			}
		}
	}
	for i := range 20 {
		if mapChunk(0, 10); m.keys.paused > 0 || m.keys.table.Keys() != 10 {
			t.Fatalf("chunk %d of ten customers: paused for %d records, %d keys", i, m.keys.paused, m.keys.table.Keys())
		}
	}
	for i := range 6 {
		if mapChunk(i*1000, 1000); m.keys.table.Keys() > mostKept {
			t.Fatalf("%d keys are kept", m.keys.table.Keys())
		}
	}
	paused := m.keys.paused
	if mapChunk(9000, 1000); paused < 100_000 || m.keys.paused != paused-1000 || m.keys.asked > 0 {
		t.Fatalf("after chunks of new customers alone: paused for %d records, then %d", paused, m.keys.paused)
	}
	m.keys.paused = 500
	if mapChunk(0, 10); m.keys.asked != 500 {
		t.Errorf("after the pause, %d of 500 were asked for", m.keys.asked)
	}
}

func TestAnOwnIDADimensionOfAmberflosAndALongValuePass(t *testing.T) {
	rules := compile(t, Options{CustomerID: "c", Meters: "A=1, B=$b, C=$c", Aggregate: "A, B", Dimensions: "$dims", UniqueID: "$id, generate"})
	var b []byte
	for _, record := range []string{`{"b":5}`, `{"b":6,"id":"x"}`, `{"b":7,"c":1,"dims":{"k":"v","aflo.cancel":"true"}}`, `{"b":"1.2345678901234567"}`, `{"c":2}`, `{"b":8,"dims":{"k":"aflo."}}`} {
		b = append(b, eventOf([]byte{0x80}, pack(t, record))...)
	}
	got := addUp(t, rules, []string{""}, [][]byte{b})
	if want := []string{"2", "2", "3", "2", "2", "2"}; !slices.Equal(got.records, want) {
		t.Errorf("records: got %v, want %v", got.records, want)
	}
	if want := map[string]int{PassedOwnID: 2, PassedDimension: 2, PassedValue: 1}; !maps.Equal(got.passed, want) {
		t.Errorf("passed: got %v, want %v", got.passed, want)
	}
	const want = `{"customerId":"c","meterApiName":"A","meterValue":3,"meterTimeInMillis":1795291200000,"uniqueId":"0-7","records":3,"firstMillis":1795291200000,"lastMillis":1795291200000}
`
	if line, rest, _ := strings.Cut(strings.ReplaceAll(got.partials, "1795291200123", "1795291200000"), "\n"); line+"\n" != want || strings.Count(rest, "\n") != 3 {
		t.Errorf("got\n%s\nwant first\n%s", got.partials, want)
	}
}

func TestAddingUpDoesNotAllocate(t *testing.T) {
	for _, o := range []Options{
		{CustomerID: "$tenant", MeterAPIName: "Bytes", MeterValue: "$bytes", Dimensions: "method, status", Aggregate: "*"},
		{CustomerID: "$tenant", Meters: "Calls=1, Seconds=$duration, Bytes=$bytes", Dimensions: "method, part=$TAG[1]", Aggregate: "Calls, Seconds"},
	} {
		b, rules := ofTwelve(t), compile(t, o)
		m, reader, out := rules.NewAdder(), chunk.NewReader(nil, rules.Keys()), make([]byte, 0, 4<<20)
		n := testing.AllocsPerRun(5, func() {
			m.StartIDs("id-", 0)
			reader.Reset(b)
			out = out[:0]
			for reader.Next() {
				var rejection *Rejection
				if out, _, rejection = m.Append(out, "app.web", reader.Event()); rejection != nil {
					t.Fatal(rejection)
				}
			}
			out, _ = m.AppendSums(out)
		})
		if n != 0 {
			t.Errorf("%v allocations for 6,000 records", n)
		}
	}
}

func TestKeysAreKeptFromChunkToChunkAndNotForever(t *testing.T) {
	rules := compile(t, Options{CustomerID: "$tenant", MeterAPIName: "Calls", MeterValue: "1", Dimensions: "method", Aggregate: "*"})
	m, reader := rules.NewAdder(), chunk.NewReader(nil, rules.Keys())
	add := func(from, to int) string {
		var b, lines []byte
		for i := from; i < to; i++ {
			b = append(b, eventOf([]byte{0x80}, pack(t, fmt.Sprintf(`{"tenant":"t-%d","method":"GET"}`, i)))...)
		}
		m.StartIDs("id-", 0)
		reader.Reset(b)
		for reader.Next() {
			if _, n, rejection := m.Append(nil, "", reader.Event()); n != 1 || rejection != nil {
				t.Fatal(n, rejection)
			}
		}
		lines, _ = m.AppendSums(lines)
		return string(lines)
	}
	if first, again := add(0, 100), add(0, 100); first != again || strings.Count(first, "\n") != 100 {
		t.Errorf("got other lines of the same chunk:\n%s\nand\n%s", first, again)
	}
	if n := m.keys.table.Keys(); n != 100 {
		t.Errorf("%d keys are kept of two chunks with the same 100", n)
	}
	for i := range 10 {
		if lines := add(i*1000, i*1000+1000); strings.Count(lines, "\n") != 1000 || !strings.Contains(lines, fmt.Sprintf(`"t-%d"`, i*1000+999)) {
			t.Errorf("chunk %d: got %d lines, want its 1000", i, strings.Count(lines, "\n"))
		}
		if n := m.keys.table.Keys(); n > mostKept {
			t.Errorf("%d keys are kept", n)
		}
	}
	long := strings.Repeat("x", 100_000)
	for i := range 20 { // few keys, of many bytes
		record := pack(t, fmt.Sprintf(`{"tenant":"%s-%d"}`, long, i))
		m.StartIDs("id-", 0)
		reader.Reset(eventOf([]byte{0x80}, record))
		reader.Next()
		m.Append(nil, "", reader.Event())
		m.AppendSums(nil)
	}
	if n := len(m.keys.held); n > mostKeptBytes {
		t.Errorf("%d bytes are kept", n)
	}
}

// A text that is cut, and a map that is left out, are long in the key and short in what is rendered.
func TestKeysAreBoundedByTheirOwnBytesToo(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	heap := func() int64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return int64(s.HeapAlloc)
	}
	for name, c := range map[string]struct {
		o    Options
		head string // of a record that ends with the text
	}{
		"cut":    {Options{CustomerID: "$c", Meters: "A=1", Dimensions: "body", LongDimensions: "cut"}, "\x82\xa1c\xa1c\xa4body"},
		"nested": {Options{CustomerID: "$c", Meters: "A=1"}, "\x82\xa1c\xa1c\xaadimensions\x82\xa1a\xa1b\xa1n\x81\xa1x"},
	} {
		for _, aggregate := range []string{"", "*"} {
			c.o.Aggregate = aggregate
			rules := compile(t, c.o)
			m, reader, before := rules.NewAdder(), chunk.NewReader(nil, rules.Keys()), heap()
			for i := range 25 {
				var b []byte
				for j := range 15 {
					b = append(b, eventOf([]byte{0x80}, msgp.AppendString([]byte(c.head), fmt.Sprint(long, i*15+j)))...)
				}
				m.StartIDs("id-", 0)
				var lines []byte
				for reader.Reset(b); reader.Next(); {
					lines, _, _ = m.Append(lines, "", reader.Event())
				}
				if lines, _ = m.AppendSums(lines); bytes.Count(lines, []byte("\n")) == 0 {
					t.Fatal("no lines")
				}
			}
			reader.Reset(nil)
			m.StartIDs("id-", 0)
			if kept := heap() - before; kept > 16<<20 {
				t.Errorf("%s, aggregate %q: %d MB are kept", name, aggregate, kept>>20)
			}
			runtime.KeepAlive(m)
		}
	}
}

func TestADoubtNamesWhereItWasFound(t *testing.T) {
	for _, aggregate := range []string{"", "*"} {
		rules := compile(t, Options{CustomerID: "$a, $b", Meters: "A=1", Aggregate: aggregate})
		m, reader := rules.NewAdder(), chunk.NewReader(nil, rules.Keys())
		for _, field := range []string{"a", "b", "a"} {
			m.StartIDs("id-", 0)
			reader.Reset(eventOf([]byte{0x80}, pack(t, fmt.Sprintf(`{"%s":"N/A"}`, field))))
			reader.Next()
			if _, _, rejection := m.Append(nil, "", reader.Event()); rejection != nil {
				t.Fatal(rejection)
			}
			if got := m.TakeDoubts(); len(got) != 1 || got[0].Source != "$"+field || got[0].Records != 1 {
				t.Errorf("aggregate %q: got %v, want one doubt of $%s", aggregate, got, field)
			}
		}
	}
}

func FuzzAddedUpOrNot(f *testing.F) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 4 {
		f.Add(oddEvents(r, 5))
	}
	f.Add(meterRecords(f, 5))
	o := Options{CustomerID: "$tenant, $customerId", MeterAPIName: "$api, $meterApiName", MeterValue: "$bytes + $meterValue", MeterTime: "$time, $meterTimeInMillis, event", Dimensions: "$dims", LongDimensions: "cut"}
	without := compile(f, o)
	o.Aggregate = "*"
	with := compile(f, o)
	f.Fuzz(func(t *testing.T, b []byte) {
		want, got := addUp(t, without, []string{"t"}, [][]byte{b}), addUp(t, with, []string{"t"}, [][]byte{b})
		wantSums, wantRecords := bill(t, 15*time.Minute, want.plain)
		sums, records := bill(t, 15*time.Minute, got.events)
		if !slices.Equal(got.records, want.records) || !maps.Equal(got.doubts, want.doubts) || records != wantRecords ||
			!maps.EqualFunc(sums, wantSums, func(a, b *big.Rat) bool { return a.Cmp(b) == 0 }) {
			t.Errorf("got\n%v\n%s\nwant\n%v\n%s", got.records, got.events, want.records, want.plain)
		}
	})
}
