package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"out_amberflo/test/accesslog"
)

// usageKey is what records are added up by.
type usageKey struct {
	customer, meter, dimensions string // the last as JSON, sorted
	bucket                      int64
}

// usage is what records of one key come to.
type usage struct {
	value   big.Rat
	records int64
}

type usages map[usageKey]*usage

func (u usages) add(customer, meter string, dimensions map[string]string, millis int64, bucket time.Duration, value string, records int64) error {
	sorted, err := json.Marshal(dimensions)
	if err != nil {
		return err
	}
	v, ok := new(big.Rat).SetString(value)
	if !ok {
		return fmt.Errorf("no number: %q", value)
	}
	key := usageKey{customer, meter, string(sorted), millis / bucket.Milliseconds()}
	if u[key] == nil {
		u[key] = &usage{}
	}
	u[key].value.Add(&u[key].value, v)
	u[key].records += records
	return nil
}

// must panics on a number of the tests themselves that is none.
func (usages) must(err error) {
	if err != nil {
		panic(err)
	}
}

// plus adds other usages.
func (u usages) plus(others usages) {
	for key, o := range others {
		if u[key] == nil {
			u[key] = &usage{}
		}
		u[key].value.Add(&u[key].value, &o.value)
		u[key].records += o.records
	}
}

// without returns what is left of u, or ok false where u has less than others. What comes to nothing is left out.
func (u usages) without(others usages) (rest usages, ok bool) {
	rest = maps.Clone(u)
	for key, o := range others {
		if rest[key] == nil || rest[key].records < o.records {
			return nil, false
		}
		left := &usage{records: rest[key].records - o.records}
		left.value.Sub(&rest[key].value, &o.value)
		if rest[key] = left; left.records == 0 && left.value.Sign() == 0 {
			delete(rest, key)
		}
	}
	return rest, true
}

// of are those of one customer, and not those of all others.
func (u usages) of(customer string) usages {
	of := maps.Clone(u)
	maps.DeleteFunc(of, func(key usageKey, _ *usage) bool { return key.customer != customer })
	return of
}

func (u usages) not(customer string) usages {
	not := maps.Clone(u)
	maps.DeleteFunc(not, func(key usageKey, _ *usage) bool { return key.customer == customer })
	return not
}

func (u usages) records() (n int64) {
	for _, x := range u {
		n += x.records
	}
	return n
}

// eventLine is an event as it stands in an object, whole: other members fail the test.
type eventLine struct {
	CustomerID, MeterAPIName, UniqueID string
	Dimensions                         map[string]string
	MeterValue                         json.Number
	MeterTimeInMillis                  int64
	Records, FirstMillis, LastMillis   *int64
}

// events reads what is in the bucket, but failure reports: each event as it stands there.
func (b *bench) events() (raw []string) {
	b.Helper()
	for key, content := range b.objects() {
		if strings.HasPrefix(key, "failed-requests/") {
			continue
		}
		d := json.NewDecoder(strings.NewReader(b.plain(key, content)))
		for d.More() {
			var of []json.RawMessage
			var err error
			if strings.HasSuffix(key, ".json") {
				err = d.Decode(&of)
			} else {
				of = make([]json.RawMessage, 1)
				err = d.Decode(&of[0])
			}
			if err != nil {
				b.Fatalf("%s: %v", key, err)
			}
			for _, event := range of {
				raw = append(raw, string(event))
			}
		}
	}
	return raw
}

// delivered adds up what is in the bucket, without deduplication.
func (b *bench) delivered(bucket time.Duration) (got usages, events []eventLine) {
	b.Helper()
	return b.addUp(bucket, b.events())
}

// addUp adds events up, and wants each to be one that any reader takes as it is meant.
func (b *bench) addUp(bucket time.Duration, raw []string) (got usages, events []eventLine) {
	b.Helper()
	got = usages{}
	ids := map[string]bool{}
	for _, text := range raw {
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		var e eventLine
		if err := d.Decode(&e); err != nil {
			b.Fatalf("%s: %v", text, err)
		}
		events = append(events, e)
		if ids[e.UniqueID] {
			b.Errorf("DOUBLED: the id %s", e.UniqueID)
		}
		ids[e.UniqueID] = true
		records := int64(1)
		if e.Records != nil {
			records = *e.Records
			e.wantSum(b, bucket)
		}
		if err := got.add(e.CustomerID, e.MeterAPIName, e.Dimensions, e.MeterTimeInMillis, bucket, e.MeterValue.String(), records); err != nil {
			b.Fatalf("%+v: %v", e, err)
		}
	}
	return got, events
}

// wantSum wants the form of an event of several records.
func (e *eventLine) wantSum(b *bench, bucket time.Duration) {
	b.Helper()
	width := bucket.Milliseconds()
	if *e.Records < 2 || e.FirstMillis == nil || e.LastMillis == nil || *e.FirstMillis > e.MeterTimeInMillis || e.MeterTimeInMillis > *e.LastMillis ||
		*e.FirstMillis/width != *e.LastMillis/width {
		b.Errorf("%+v is not one event of one bucket", e)
	}
	f, err := strconv.ParseFloat(e.MeterValue.String(), 64)
	exact, _ := new(big.Rat).SetString(e.MeterValue.String())
	double, _ := new(big.Rat).SetString(strconv.FormatFloat(f, 'f', -1, 64))
	if err != nil || exact.Cmp(double) != 0 {
		b.Errorf("a double makes %v of %s", f, e.MeterValue)
	}
}

// wantUsages wants the exact sums, and each record accounted for.
func (b *bench) wantUsages(got, want usages) {
	b.Helper()
	keys := maps.Clone(got)
	maps.Copy(keys, want)
	for key := range keys {
		g, w := got[key], want[key]
		switch {
		case g == nil:
			b.Errorf("LOST: %+v, %d records", key, w.records)
		case w == nil:
			b.Errorf("%+v: %d records that nobody sent", key, g.records)
		case g.records != w.records || g.value.Cmp(&w.value) != 0:
			b.Errorf("%+v: got %s of %d records, want %s of %d", key, g.value.RatString(), g.records, w.value.RatString(), w.records)
		}
	}
}

// addedUp are the options with which usagesOf adds up, as another way than the plugin's.
func addedUp(bucket time.Duration) []string {
	return append(accessMapping[:len(accessMapping):len(accessMapping)], "meter_time $time", "aggregate *", "aggregate_bucket "+bucket.String())
}

// usagesOf adds up the access log in, metered by addedUp, and by truth what of it cannot be metered.
func usagesOf(t *testing.T, in input, truth accesslog.Truth, bucket time.Duration) usages {
	t.Helper()
	want := usages{}
	for line := range bytes.Lines(in.lines) {
		var r struct {
			Time        time.Time
			Tenant      any
			API, Method string
			Status      json.Number
			Bytes       any
		}
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		if d.Decode(&r) != nil || !utf8.Valid(line) {
			continue
		}
		tenant, _ := r.Tenant.(string)
		value := ""
		switch v := r.Bytes.(type) {
		case string:
			value = v
		case json.Number:
			value = v.String()
		}
		if _, err := strconv.ParseUint(value, 10, 64); err != nil || tenant == "" {
			continue
		}
		if err := want.add(tenant, r.API, map[string]string{"method": r.Method, "status": r.Status.String()}, r.Time.UnixMilli(), bucket, value, 1); err != nil {
			t.Fatal(err)
		}
	}
	if want.records() != int64(truth.Metered) {
		t.Fatalf("%d records of the log are metered here, %d by its truth", want.records(), truth.Metered)
	}
	return want
}

// A segment that is sealed again, by whichever process, makes the same object: what a crash left half done may be in the bucket.
func TestKilledInTheSealTheSameSegmentMakesTheSameBytes(t *testing.T) {
	t.Parallel()
	b := newCrashingBench(t)
	in, truth := accessLog(t, accesslog.Options{Lines: 20_000, Seed: *seed, Bad: 0.01, Odd: 0.01, MeterTime: true}, accesslog.Chunks{Records: 250})
	b.args = []string{"--threads", "3", "--retry-delay", "20ms", "--ack-file", b.path(acks), "--skip-acked", b.path(acks)}
	section := b.section(append(addedUp(time.Minute), "upload_timeout 300ms")...)
	sealed := map[string]string{}
	seals := 0
	for range 4 {
		b.dieAt("sealed:1", in, section)
		for name, content := range b.files(b.path("spool", "sealing")) {
			segment, _, ok := strings.Cut(name, "=")
			if !ok || strings.Contains(segment, "@") {
				continue
			}
			seals++
			if was, again := sealed[name]; again && was != content {
				t.Errorf("%s has other bytes than before", name)
			}
			sealed[name] = content
		}
	}
	if len(sealed) == 0 || seals < len(sealed)+3 {
		t.Errorf("%d seals of %d objects, want one that is sealed again and again", seals, len(sealed))
	}
	b.run(in, section)
	delivered := b.objects()
	for name, content := range sealed {
		if !slices.Contains(slices.Collect(maps.Values(delivered)), content) {
			t.Errorf("%s is not what was delivered", name)
		}
	}
	got, events := b.delivered(time.Minute)
	b.wantUsages(got, usagesOf(t, in, truth, time.Minute))
	b.wantRejected(truth)
	b.wantDelivered()
	b.meterctl("check")
	t.Logf("%d seals of %d objects, %d records in %d events", seals, len(sealed), truth.Metered, len(events))
}

// Outputs of one spool add up by themselves: only what each of them asks for.
func TestOutputsOfOneSpoolAddUpWhatEachAsksFor(t *testing.T) {
	for name, form := range map[string][]string{
		"lines":          nil,
		"a JSON array":   {"format json_array", "compression none", "s3_key_format ingest/$UUID.json"},
		"not compressed": {"compression none", "s3_key_format ingest/$UUID"},
		"few a file":     {"max_records 40"},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, b *bench) {
				in, truth := accessLog(t, accesslog.Options{Lines: 2000, Seed: *seed, Odd: 0.05}, accesslog.Chunks{Records: 100})
				output := func(alias string, more ...string) string {
					return b.section(slices.Concat([]string{"Alias " + alias, "customer_id $tenant", "dimensions method", "upload_timeout 1h"}, form, more)...)
				}
				b.run(in,
					output("all", "meters AllCalls=1, AllBytes=$bytes", "aggregate *", "aggregate_bucket 1h"),
					output("none", "meters NoneCalls=1, NoneBytes=$bytes"),
					output("some", "meters SomeCalls=1, SomeBytes=$bytes", "aggregate SomeBytes", "aggregate_bucket 1s"),
					output("same", "meters AllCalls=1", "aggregate AllCalls", "aggregate_bucket 1h"))
				calls := usagesOf(t, in, truth, time.Second)
				want := map[string]int64{"AllCalls": 2 * calls.records(), "AllBytes": calls.records(), "NoneCalls": calls.records(), "NoneBytes": calls.records(),
					"SomeCalls": calls.records(), "SomeBytes": calls.records()}
				total := new(big.Rat)
				for _, u := range calls {
					total.Add(total, &u.value)
				}
				got, events := b.delivered(time.Hour)
				records, values := map[string]int64{}, map[string]*big.Rat{}
				for key, u := range got {
					records[key.meter] += u.records
					if values[key.meter] == nil {
						values[key.meter] = new(big.Rat)
					}
					values[key.meter].Add(values[key.meter], &u.value)
				}
				if !maps.Equal(records, want) {
					t.Errorf("got %v records, want %v", records, want)
				}
				for meter, value := range values {
					should := total
					if strings.HasSuffix(meter, "Calls") {
						should = new(big.Rat).SetInt64(want[meter])
					}
					if value.Cmp(should) != 0 {
						t.Errorf("%s: got %s, want %s", meter, value.RatString(), should.RatString())
					}
				}
				for _, e := range events {
					alone := e.MeterAPIName == "SomeCalls" || strings.HasPrefix(e.MeterAPIName, "None")
					if alone && e.Records != nil || e.MeterAPIName == "SomeBytes" && e.Records != nil && *e.FirstMillis/1000 != *e.LastMillis/1000 {
						t.Fatalf("%+v is added up", e)
					}
				}
				for _, n := range b.inObjects() {
					if name == "few a file" && n > 40 {
						t.Errorf("an object of %d events, want at most 40", n)
					}
				}
				b.wantDelivered()
				b.meterctl("check")
			})
		})
	}
}
