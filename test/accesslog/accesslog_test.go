package accesslog

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"io"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ugorji/go/codec"
)

func lines(t *testing.T, opt Options) ([]byte, Truth) {
	t.Helper()
	var b bytes.Buffer
	truth, err := WriteLines(&b, opt)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), truth
}

func TestTheSameOptionsGiveTheSameBytes(t *testing.T) {
	opt := Options{Lines: 3000, Seed: 7, Bad: 0.05, Odd: 0.05}
	a, truthA := lines(t, opt)
	b, truthB := lines(t, opt)
	if !bytes.Equal(a, b) || !reflect.DeepEqual(truthA, truthB) {
		t.Error("two runs differ")
	}
	opt.Value, opt.Meter, opt.MeterTime = "1", "ApiCalls", true
	if c, _ := lines(t, opt); !bytes.Equal(a, c) {
		t.Error("another mapping changes the log")
	}
	opt.Seed++
	if c, _ := lines(t, opt); bytes.Equal(a, c) {
		t.Error("another seed gives the same log")
	}
}

func TestALineHasTwelveFieldsAndSome350Bytes(t *testing.T) {
	log, truth := lines(t, Options{Lines: 2000})
	if mean := len(log) / 2000; mean < 335 || mean > 365 {
		t.Errorf("got %d bytes a line, want about 350", mean)
	}
	if truth.Lines != 2000 || truth.Rejected() != 0 {
		t.Errorf("got truth of %d lines, %d rejected", truth.Lines, truth.Rejected())
	}
	customers := map[any]int{}
	previous := time.Time{}
	for line := range bytes.Lines(log) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if len(fields) != 12 {
			t.Fatalf("got %d fields in %s", len(fields), line)
		}
		at, err := time.Parse(time.RFC3339Nano, fields["time"].(string))
		if err != nil || !at.After(previous) {
			t.Fatalf("got time %v after %v, error %v", at, previous, err)
		}
		previous = at
		customers[fields["tenant"]]++
	}
	if len(customers) != 12 || customers["amberline"] < 5*customers["łódź-logistics"] {
		t.Errorf("got %v, want a dozen customers of very different size", customers)
	}
}

// billOf meters the written lines as a user would expect, with nothing of the generator's.
func billOf(t *testing.T, log []byte, opt Options) (bill []Line, rejected int) {
	t.Helper()
	type key struct{ customer, meter string }
	sums, events := map[key]*big.Rat{}, map[key]int{}
	for line := range bytes.Lines(log) {
		var fields map[string]any
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.UseNumber()
		if !utf8.Valid(line) || dec.Decode(&fields) != nil {
			rejected++
			continue
		}
		customer, _ := fields["tenant"].(string)
		value, ok := new(big.Rat).SetInt64(1), true
		if opt.Value != "1" {
			switch v := fields[strings.TrimPrefix(opt.Value, "$")].(type) {
			case json.Number:
				_, ok = value.SetString(v.String())
			case string:
				_, ok = value.SetString(v)
			default:
				ok = false
			}
		}
		if opt.MeterTime {
			if _, err := time.Parse(time.RFC3339Nano, fields["time"].(string)); err != nil {
				ok = false
			}
		}
		if customer == "" || !ok {
			rejected++
			continue
		}
		meter := opt.Meter
		if meter == "$api" {
			meter = fields["api"].(string)
		}
		k := key{customer, meter}
		if sums[k] == nil {
			sums[k] = new(big.Rat)
		}
		sums[k].Add(sums[k], value)
		events[k]++
	}
	for k, sum := range sums {
		usage := sum.FloatString(6)
		usage = strings.TrimSuffix(strings.TrimRight(usage, "0"), ".")
		bill = append(bill, Line{k.customer, k.meter, events[k], usage})
	}
	slices.SortFunc(bill, func(a, b Line) int {
		return cmp.Or(strings.Compare(a.Customer, b.Customer), strings.Compare(a.Meter, b.Meter))
	})
	return bill, rejected
}

func TestTheTruthIsTheSumOfTheWrittenLines(t *testing.T) {
	for _, tc := range []struct {
		name string
		opt  Options
	}{
		{"bytes per API", Options{Meter: "$api", Value: "$bytes"}},
		{"bytes on one meter", Options{Meter: "BytesOut", Value: "$bytes"}},
		{"calls on one meter", Options{Meter: "ApiCalls", Value: "1"}},
		{"durations, which are fractions", Options{Meter: "$api", Value: "$duration"}},
		{"bytes with the record's own time", Options{Meter: "$api", Value: "$bytes", MeterTime: true}},
		{"more customers than names", Options{Meter: "$api", Value: "$bytes", Customers: 30}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.opt.Lines, tc.opt.Bad, tc.opt.Odd, tc.opt.Seed = 2000, 0.1, 0.1, 3
			log, truth := lines(t, tc.opt)
			want, rejected := billOf(t, log, tc.opt)
			if !slices.Equal(truth.Bill, want) {
				t.Errorf("got bill of %d lines %.300v, want %d lines %.300v", len(truth.Bill), truth.Bill, len(want), want)
			}
			if truth.Rejected() != rejected || rejected == 0 {
				t.Errorf("got %d rejected, want %d", truth.Rejected(), rejected)
			}
			sum := 0
			for _, n := range truth.Unmeterable {
				sum += n
			}
			if sum != rejected {
				t.Errorf("got %v, want %d in all", truth.Unmeterable, rejected)
			}
		})
	}
}

func TestEveryKindOfBadLineComes(t *testing.T) {
	_, truth := lines(t, Options{Lines: 1000, Bad: 0.05, MeterTime: true})
	for _, k := range kinds {
		if truth.Unmeterable[k] == 0 {
			t.Errorf("got no %s", k)
		}
	}
}

func TestChunksHoldTheSameEventsAsTheLines(t *testing.T) {
	opt := Options{Lines: 2500, Bad: 0.1, Odd: 0.1, Seed: 5}
	log, wantTruth := lines(t, opt)
	want := bytes.Split(bytes.TrimSuffix(log, []byte("\n")), []byte("\n"))
	for _, tc := range []struct {
		name   string
		chunks Chunks
		count  int
	}{
		{"cut by records", Chunks{Tag: "app.x", Records: 1000}, 3},
		{"cut by bytes", Chunks{Tag: "app.x", Bytes: 100_000}, 0},
		{"in one", Chunks{Tag: "app.x"}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stream bytes.Buffer
			truth, err := WriteChunks(&stream, opt, tc.chunks)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(truth, wantTruth) {
				t.Errorf("got truth %v, want that of the lines", truth)
			}
			n, count := 0, 0
			for ; stream.Len() > 0; count++ {
				if tag := frame(t, &stream); string(tag) != "app.x" {
					t.Fatalf("got tag %q", tag)
				}
				chunk := frame(t, &stream)
				if tc.chunks.Bytes > 0 && len(chunk) > tc.chunks.Bytes+1000 {
					t.Errorf("got a chunk of %d bytes", len(chunk))
				}
				for _, e := range decode(t, chunk) {
					compareEvent(t, e, want[n])
					n++
				}
			}
			if n != len(want) || tc.count > 0 && count != tc.count {
				t.Errorf("got %d events in %d chunks, want %d in %d", n, count, len(want), tc.count)
			}
		})
	}
}

func frame(t *testing.T, r *bytes.Buffer) []byte {
	t.Helper()
	n := binary.BigEndian.Uint32(r.Next(4))
	b := r.Next(int(n))
	if len(b) != int(n) {
		t.Fatalf("frame breaks off: want %d bytes, got %d", n, len(b))
	}
	return b
}

func decode(t *testing.T, chunk []byte) (events []any) {
	t.Helper()
	h := &codec.MsgpackHandle{}
	h.MapType = reflect.TypeFor[map[string]any]()
	h.RawToString = true
	dec := codec.NewDecoderBytes(chunk, h)
	for dec.NumBytesRead() < len(chunk) {
		var e any
		if err := dec.Decode(&e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

func compareEvent(t *testing.T, e any, line []byte) {
	t.Helper()
	head := e.([]any)[0].([]any)
	record := e.([]any)[1].(map[string]any)
	stamp := head[0].(codec.RawExt)
	if stamp.Tag != 0 || len(stamp.Data) != 8 || len(head[1].(map[string]any)) != 0 {
		t.Fatalf("got time %v and metadata %v", stamp, head[1])
	}
	at := time.Unix(int64(binary.BigEndian.Uint32(stamp.Data)), int64(binary.BigEndian.Uint32(stamp.Data[4:]))).UTC()

	var fields map[string]any
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	if dec.Decode(&fields) != nil {
		fields = map[string]any{"log": string(line)}
	} else if parsed, err := time.Parse(time.RFC3339Nano, fields["time"].(string)); err == nil && !parsed.Equal(at) {
		t.Errorf("got event time %v, want %v", at, parsed)
	}
	if len(record) != len(fields) {
		t.Fatalf("got record %v, want %s", record, line)
	}
	for name, want := range fields {
		got := record[name]
		if s, ok := got.(string); ok {
			got = strings.ToValidUTF8(s, "\ufffd") // as encoding/json did on the other side
		}
		wantText, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		gotText, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(gotText, wantText) {
			t.Errorf("%s: got %s, want %s", name, gotText, wantText)
		}
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for name, opt := range map[string]Options{
		"negative lines":    {Lines: -1},
		"negative share":    {Bad: -0.1},
		"shares beyond 1":   {Bad: 0.6, Odd: 0.6},
		"an unknown meter":  {Meter: "$method"},
		"an unknown value":  {Value: "$status"},
		"fewer than nobody": {Customers: -1},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := WriteLines(io.Discard, opt); err == nil {
				t.Errorf("got no error for %+v", opt)
			}
		})
	}
}
