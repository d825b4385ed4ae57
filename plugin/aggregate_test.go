package plugin

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

	"out_amberflo/plugin/meter"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/tally"
	"out_amberflo/test/encode"
)

// lines are the meter records in dir, one after the other.
func lines(t *testing.T, dir string) (all []byte) {
	t.Helper()
	files, err := repair.Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Dir != "outbox" && f.Dir != "sealing" && f.Dir != "open" {
			continue
		}
		if _, problems, err := repair.Records(dir, f, func(line []byte) error {
			all = append(append(all, line...), '\n')
			return nil
		}); err != nil || len(problems) > 0 {
			t.Fatal(err, problems)
		}
	}
	return all
}

// bill adds lines up by customer, meter, dimensions and bucket.
func bill(t *testing.T, bucket time.Duration, all []byte) (sums map[string]*big.Rat, records int64) {
	t.Helper()
	sums = map[string]*big.Rat{}
	ids := map[string]bool{}
	for line := range bytes.Lines(all) {
		var l struct {
			CustomerID, MeterAPIName, UniqueID string
			Dimensions                         map[string]string
			MeterValue                         json.Number
			MeterTimeInMillis                  int64
		}
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(err)
		}
		if ids[l.UniqueID] {
			t.Fatalf("%s stands twice", l.UniqueID)
		}
		ids[l.UniqueID] = true
		add(t, sums, l.CustomerID, l.MeterAPIName, l.Dimensions, l.MeterTimeInMillis, bucket, l.MeterValue.String())
		records += tally.Records(line)
	}
	return sums, records
}

func add(t *testing.T, sums map[string]*big.Rat, customer, meter string, dimensions map[string]string, millis int64, bucket time.Duration, value string) {
	t.Helper()
	key := fmt.Sprintf("%q %q %v %d", customer, meter, dimensions, millis/bucket.Milliseconds())
	v, ok := new(big.Rat).SetString(value)
	if !ok {
		t.Fatal(value)
	}
	if sums[key] != nil {
		v.Add(v, sums[key])
	}
	sums[key] = v
}

func equal(a, b map[string]*big.Rat) bool {
	return maps.EqualFunc(a, b, func(a, b *big.Rat) bool { return a.Cmp(b) == 0 })
}

// TestAFlushAddsUpWhateverTheChunks flushes random records in random chunks, several at once, and adds up by another way.
func TestAFlushAddsUpWhateverTheChunks(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for round := range 6 {
		c, dir := &capture{}, t.TempDir()
		p := started(t, c, "store_dir", dir, "customer_id", "$tenant", "meters", "Calls=1, Bytes=$bytes, Seconds=$took", "meter_time", "$at", "dimensions", "$dims",
			"aggregate", []string{"*", "Calls, Seconds"}[round%2], "aggregate_bucket", "1m",
			"shutdown_timeout", "2s") // to seal all of it, also with the race detector
		want, records := map[string]*big.Rat{}, int64(0)
		var chunks [][]byte
		for range 20 {
			var chunk []any
			for range 1 + r.IntN(300) {
				tenant, at := fmt.Sprint("t", r.IntN(4)), 1795291200000+r.Int64N(300_000)
				dims, inRecord := map[string]string{}, encode.Record{}
				for _, i := range r.Perm(3) { // in any order
					if d := "abc"[i : i+1]; r.IntN(3) > 0 {
						dims[d] = fmt.Sprint(r.IntN(2))
						inRecord = append(inRecord, d, dims[d])
					}
				}
				took := []string{"0.1", "0.25", "1e-7", "0.000000000000000000000000000001", "12345678901.5", "9007199254740992", "123456789012345678901234567890"}[min(r.IntN(40), 6)*r.IntN(2)]
				bytes := r.IntN(100_000)
				chunk = append(chunk, map[string]any{"tenant": tenant, "at": at, "dims": inRecord, "bytes": bytes, "took": took})
				add(t, want, tenant, "Calls", dims, at, time.Minute, "1")
				add(t, want, tenant, "Bytes", dims, at, time.Minute, fmt.Sprint(bytes))
				add(t, want, tenant, "Seconds", dims, at, time.Minute, took)
				records += 3
			}
			chunks = append(chunks, events(t, append(chunk, "no event", map[string]any{"tenant": "t0", "at": 1795291200000, "took": "soon"})...))
		}
		work := make(chan []byte)
		done := make(chan error)
		for range 3 {
			go func() {
				var err error
				for chunk := range work {
					if e := p.Flush("app", chunk); e != nil {
						err = e
					}
				}
				done <- err
			}()
		}
		for _, chunk := range chunks {
			work <- chunk
		}
		close(work)
		for range 3 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		accepted, passed := p.counts.records.Load(), p.counts.passed[slices.Index(meter.PassReasons, meter.PassedValue)].Load()
		flushed := lines(t, dir)
		if n := int64(bytes.Count(flushed, []byte("\n"))); p.counts.lines.Load() != n || passed == 0 || n > records {
			t.Errorf("%d lines counted of %d, %d records passed", p.counts.lines.Load(), n, passed)
		}
		p.Stop()
		sealed := lines(t, dir)
		for _, all := range [][]byte{flushed, sealed} {
			got, n := bill(t, time.Minute, all)
			if n != records || accepted != records || !equal(got, want) {
				t.Fatalf("%d records, %d accepted, want %d; sums\n%v\nwant\n%v", n, accepted, records, got, want)
			}
		}
		if bytes.Count(sealed, []byte("\n")) > bytes.Count(flushed, []byte("\n"))*3/4 {
			t.Error("the seal did not add up further")
		}
		if n := p.counts.allRejected(); n != 40 {
			t.Errorf("%d rejects, want 40", n)
		}
	}
}

func TestTheStartSaysWhatIsAddedUpAndForWhichMetersThatIsRight(t *testing.T) {
	c := &capture{}
	p := started(t, c, "store_dir", t.TempDir(), "meters", "Calls=1, Bytes=$bytes", "aggregate", "Bytes")
	p.Stop()
	if want := `aggregate="Bytes" (adds up the records of "Bytes" in buckets of 15m0s, which is right for meters of Amberflo's type sum only)`; c.book.Count(want) != 1 {
		t.Errorf("want %s:\n%s", want, c.log())
	}
	_, err := Start(t.Context(), c.host("store_dir", t.TempDir(), "meters", "Calls=1", "aggregate", "Cals", "unique_id", "$id", "aggregate_bucket", "7m"))
	for _, want := range []string{`aggregate: want the name of a meter, which is one of "Calls", got "Cals", for example: aggregate ApiCalls, BytesOut`,
		`unique_id: want generate at its end, because aggregate adds up no records that have an id of their own, got "$id", for example: unique_id $id, generate`,
		`aggregate_bucket: want a duration from 1s to 1h that divides an hour, got "7m", for example: aggregate_bucket 15m`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

func TestRecordsThatAreAddedUpAreSurveyedToo(t *testing.T) {
	c := &capture{}
	p := started(t, c, "store_dir", t.TempDir(), "customer_id", "tenant", "meters", "Calls=1, Bytes=$bytes", "dimensions", "region, plan=$plna", "aggregate", "Calls")
	many := make([]any, 1000)
	for i := range many {
		many[i] = map[string]any{"tenant": "acme", "region": "eu", "plan": "pro", "bytes": 1}
	}
	if err := p.Flush("app", events(t, many...)); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	if c.book.Count("none of 1000 records had $plna") != 1 || c.book.Count("did you mean $tenant") != 1 || c.book.Count("are equal to another one") != 0 {
		t.Errorf("want the misspelt field and the literal, and no equal records:\n%s", c.log())
	}
}

// A chunk that is not accepted is offered again: what was added up of it the first time must not count.
func TestSumsOfAChunkThatIsNotAcceptedDoNotCount(t *testing.T) {
	c, dir := &capture{}, t.TempDir()
	p := started(t, c, "store_dir", dir, "meter_api_name", "m", "aggregate", "m", "rejected_limit_size", "1")
	good := map[string]any{"customerId": "a", "meterValue": 2}
	if err := p.Flush("app", events(t, map[string]any{"no": "customer"})); err != nil { // more than the limit, but alone
		t.Fatal(err)
	}
	for range 3 {
		if err := p.Flush("app", events(t, good, good, map[string]any{"no": "customer"})); err == nil {
			t.Fatal("want no space for rejects")
		}
	}
	if err := p.Flush("app", events(t, good, good)); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	if got := delivered(t, dir); len(got) != 1 || got[0]["meterValue"] != 4.0 || got[0]["records"] != 2.0 {
		t.Errorf("got %v", got)
	}
}
