package e2e

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/encode"
	"out_amberflo/test/logbook"
)

func TestTheBillIsWhatTheLogSays(t *testing.T) {
	in, truth := accessLog(t, accesslog.Options{Lines: 4000, Seed: 3, Bad: 0.1, Odd: 0.1}, accesslog.Chunks{Records: 100})
	both(t, func(t *testing.T, b *bench) {
		b.args = []string{"--threads", "3", "--scribble"}
		b.run(in, b.section(accessMapping...))
		b.wantBill(truth.Bill)
		b.wantRejected(truth)
		b.wantDelivered()
	})
}

func TestARecordThatCannotBeMeteredIsSetAsideWithItsReason(t *testing.T) {
	good := func(with ...any) record {
		r := record{"tenant", "acme", "bytes", 1, "when", "2026-03-04T05:06:07Z"}
		if with != nil {
			r[slices.Index(r, with[0])+1] = with[1]
		}
		return r
	}
	tests := []struct {
		name, reason string
		record       record
		shown        string // the record as rejected/ shows it; default: as JSON
		notJSON      bool   // it cannot come through a file of JSON lines
	}{
		{"no customer", "no_customer", record{"bytes", 1}, "", false},
		{"a customer that is null", "no_customer", good("tenant", nil), "", false},
		{"a blank customer", "no_customer", good("tenant", "  "), "", false},
		{"a list of customers", "bad_customer", good("tenant", []any{"acme"}), "", false},
		{"no value", "no_value", record{"tenant", "acme"}, "", false},
		{"a value with a unit", "bad_value", good("bytes", "12abc"), "", false},
		{"a list of values", "bad_value", good("bytes", []any{1, 2}), "", false},
		{"a value that is the text NaN", "bad_value", good("bytes", "NaN"), "", false},
		{"a value that is not a number", "bad_value", good("bytes", math.NaN()), `{"tenant":"acme","bytes":null,"when":"2026-03-04T05:06:07Z"}`, true},
		{"an infinite value", "bad_value", good("bytes", math.Inf(1)), `{"tenant":"acme","bytes":null,"when":"2026-03-04T05:06:07Z"}`, true},
		{"a time that is none", "bad_time", good("when", "yesterday noon"), "", false},
		{"bytes that are no UTF-8", "bad_utf8", good("tenant", "ac\xffme"), `{"tenant":"ac\uFFFDme","bytes":1,"when":"2026-03-04T05:06:07Z"}`, true},
	}
	both(t, func(t *testing.T, b *bench) {
		var events []event
		want := map[string]int{}
		for i, test := range tests {
			if test.notJSON && b.program == realFluentBit {
				continue
			}
			want[test.name] = i
			at := eventTime.Add(time.Duration(i) * time.Second)
			events = append(events, event{at, test.record}, event{at, good()})
		}
		log := b.run(logged(events), b.section("customer_id $tenant", "meter_api_name ApiCalls", "meter_value $bytes", "meter_time $when"))

		if bill := b.amberflo().Bill(); bill.Billed != len(want) || bill.Records != len(want) {
			t.Errorf("bill %+v, want the %d good records", bill, len(want))
		}
		b.wantDelivered()
		found := b.rejected()
		if len(found) != len(want) {
			t.Errorf("%d lines in rejected/, want %d: %+v", len(found), len(want), found)
		}
		for name, i := range want {
			test, seen := tests[i], false
			shown := test.shown
			if shown == "" {
				shown = string(appendJSON(nil, test.record))
			}
			at := eventTime.Add(time.Duration(i) * time.Second)
			for _, r := range found {
				if r.Time != at.Format(time.RFC3339Nano) {
					continue
				}
				seen = true
				if r.Reason != test.reason || r.Tag != tag || r.ID == "" || r.Detail == "" || string(r.Record) != shown {
					t.Errorf("%s: got reason %s, tag %s, id %s, detail %q, record %s; want reason %s, tag %s, record %s",
						name, r.Reason, r.Tag, r.ID, r.Detail, r.Record, test.reason, tag, shown)
				}
				if kept := chunkOf(event{at, test.record}); b.program == bundledHost && !bytes.Equal(r.Chunk, kept) {
					t.Errorf("%s: kept %x, want the event as it came, %x", name, r.Chunk, kept)
				}
			}
			if !seen {
				t.Errorf("%s: no line in rejected/ with its time", name)
			}
			if n := logbook.Count(log, "[ warn]", "a record was rejected: it is kept in rejected/", "reason="+test.reason); n != 1 {
				t.Errorf("%d warnings of %s, want 1, further ones are counted", n, test.reason)
			}
		}
	})
}

func TestADamagedChunkLosesNothingBeforeTheDamage(t *testing.T) {
	t.Parallel()
	whole := make([]event, 3)
	for i := range whole {
		whole[i] = event{eventTime.Add(time.Duration(i) * time.Second), record{"customerId", "acme", "meterApiName", "ApiCalls", "meterValue", i + 1}}
	}
	one, three := chunkOf(whole[:1]...), chunkOf(whole...)
	for _, test := range []struct {
		name      string
		chunk     []byte
		delivered int
		kept      []byte
	}{
		{"cut off in the last event", three[:len(three)-5], 2, three[2*len(one) : len(three)-5]},
		{"cut off in the first event", one[:len(one)/2], 0, one[:len(one)/2]},
		{"the one byte that msgpack never uses", append(bytes.Clone(three), 0xc1, 'x'), 3, []byte{0xc1, 'x'}},
		{"a length beyond the chunk", append(bytes.Clone(one), 0x92, 0xdd, 0xff, 0xff, 0xff, 0xff), 1, []byte{0x92, 0xdd, 0xff, 0xff, 0xff, 0xff}},
		{"nested without end", append(bytes.Clone(one), bytes.Repeat([]byte{0x91}, 1<<20)...), 1, bytes.Repeat([]byte{0x91}, 1<<20)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, bundledHost)
			in := input{chunks: encode.Frame(nil, tag, test.chunk)}
			in.chunks = append(in.chunks, logged(whole).chunks...) // what comes behind is not concerned
			log := b.run(in, b.section())
			if bill := b.amberflo().Bill(); bill.Billed != test.delivered+3 {
				t.Errorf("%d records delivered, want %d; bill %+v", bill.Billed, test.delivered+3, bill)
			}
			_, kept := b.one(b.spool("damaged"))
			if kept != string(test.kept) {
				t.Errorf("kept %d bytes in damaged/, want %d from the damage on", len(kept), len(test.kept))
			}
			if n := logbook.Count(log, "[error]", "a chunk is damaged: the events before are delivered, the rest is kept", fmt.Sprintf("bytes=%d", len(test.kept)), "kept=damaged/"); n != 1 {
				t.Errorf("%d lines about it, want 1; log:\n%s", n, log)
			}
			b.wantDelivered()
		})
	}
	t.Run("bytes that are msgpack but no events are rejected", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, bundledHost)
		chunk := append(append([]byte{0x2a, 0xa1, 'x', 0xc0, 0x90, 0x93, 1, 2, 3}, one...), 0x92, 0xc0, 0xc0)
		b.run(input{chunks: encode.Frame(nil, tag, chunk)}, b.section())
		if bill := b.amberflo().Bill(); bill.Billed != 1 {
			t.Errorf("%d records delivered, want the one event; bill %+v", bill.Billed, bill)
		}
		found := b.rejected()
		for _, r := range found {
			if r.Reason != "not_an_event" || r.Detail == "" {
				t.Errorf("got %+v, want reason not_an_event", r)
			}
		}
		if len(found) != 6 {
			t.Errorf("%d lines in rejected/, want 6", len(found))
		}
	})
	t.Run("garbage of any kind neither crashes nor stalls", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, bundledHost)
		var in input
		for i := range 256 {
			garbage := append(bytes.Clone(one), byte(i))
			garbage = append(garbage, strings.Repeat(string(rune(i)), i%7)...)
			in.chunks = encode.Frame(in.chunks, tag, garbage)
		}
		in.chunks = encode.Frame(in.chunks, tag, nil)
		b.args = []string{"--threads", "2"}
		b.run(in, b.section())
		if bill := b.amberflo().Bill(); bill.Billed != 256 {
			t.Errorf("%d records delivered, want 256; bill %+v", bill.Billed, bill)
		}
		b.wantDelivered()
	})
}
