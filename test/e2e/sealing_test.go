package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"out_amberflo/test/amberflo"
)

// counted makes so many records that need no mapping, in chunks of some size.
func counted(records, perChunk int) input {
	var chunks [][]event
	for n := range records {
		if n%perChunk == 0 {
			chunks = append(chunks, nil)
		}
		last := &chunks[len(chunks)-1]
		*last = append(*last, event{eventTime.Add(time.Duration(n) * time.Millisecond),
			record{"customerId", "acme", "meterApiName", "ApiCalls", "meterValue", n, "dimensions", record{"n", fmt.Sprint(n)}}})
	}
	return logged(chunks...)
}

// wantCounted wants each of the records of counted, once.
func (b *bench) wantCounted(records int) {
	b.Helper()
	seen := map[string]int{}
	s := b.reader(func(_ string, r amberflo.Record) { seen[r.Dimensions["n"]]++ })
	if _, err := s.Read(b.Context()); err != nil {
		b.Fatal(err)
	}
	for n := range records {
		if seen[fmt.Sprint(n)] != 1 {
			b.Errorf("record %d is there %d times", n, seen[fmt.Sprint(n)])
		}
	}
	if bill := s.Bill(); len(seen) != records || bill.Records != records || bill.Billed != records || bill.Conflicts > 0 {
		b.Errorf("%d different records, bill %+v; want %d", len(seen), bill, records)
	}
}

// inObjects gives the number of records in each object, by key.
func (b *bench) inObjects() []int {
	b.Helper()
	var counts []int
	for _, o := range b.amberflo().Objects() {
		counts = append(counts, o.Records)
	}
	return counts
}

func TestAnObjectIsSealedByCount(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		b.run(counted(30, 10), b.section("max_records 7"))
		b.wantCounted(30)
		counts := b.inObjects()
		if slices.Max(counts) != 7 { // and fewer where a chunk ends
			t.Errorf("objects of %v records, want at most 7", counts)
		}
		b.wantDelivered()
	})
}

func TestAnObjectIsSealedBySize(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		b.run(counted(2000, 50), b.section("total_file_size 20K", "upload_timeout 1h", "shutdown_timeout 20s"))
		b.wantCounted(2000)
		small := 0
		for key, content := range b.objects() {
			if n := len(b.plain(key, content)); n < 20_000 {
				small++
			} else if n > 20_000+50*200 && b.program == bundledHost { // Fluent Bit makes chunks as it likes
				t.Errorf("%s holds %d bytes, want 20,000 and the rest of a chunk", key, n)
			}
		}
		if small > 1 {
			t.Errorf("%d objects below 20,000 bytes, want at most the last", small)
		}
		b.wantDelivered()
	})
}

func TestAnObjectIsSealedByAge(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		p := b.start(counted(20, 10), b.section("upload_timeout 500ms"))
		b.untilBilled(20)
		b.emptied() // an object is in the bucket before that is known here
		b.wantDelivered()
		p.stop()
		b.wantCounted(20)
	})
}

func TestAnObjectIsSealedAtTheStop(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		p := b.start(counted(20, 10), b.section("upload_timeout 1h"))
		b.until("20 records on disk", func() bool { return b.opened() == 20 })
		if there := b.objects(); len(there) > 0 {
			t.Errorf("in the bucket before: %q", names(there))
		}
		p.stop()
		b.wantCounted(20)
		b.one(b.objects())
		b.wantDelivered()
	})
}

func TestTheFormOfObjectsAndKeys(t *testing.T) {
	now := time.Now().UTC()
	for _, test := range []struct {
		name    string
		section []string
		key     string // a regular expression
		array   bool
	}{
		{"a JSON array, compressed", []string{"format json_array"}, keyForm.String(), true},
		{"lines, not compressed", []string{"compression none", "s3_key_format ingest/amberdata/%m-%d-%Y/$UUID"},
			strings.TrimSuffix(keyForm.String(), `\.gz$`) + "$", false},
		{"a JSON array, not compressed", []string{"format json_array", "compression none", "s3_key_format ingest/records/%Y-%m-%d/$UUID.json"},
			`^ingest/records/` + now.Format("2006-01-") + `\d\d/[0-9a-f-]{36}\.json$`, true},
		{"High Mobility's key", []string{"format json_array", "compression none", "s3_key_format app-id/level13/%Y/%m/%d/%H-%M-%S-%N-$HASH.json"},
			`^app-id/level13/20\d\d/\d\d/\d\d/\d\d-\d\d-\d\d-\d{9}-[0-9a-f]{8}\.json$`, true},
		{"a leading slash, as the s3 output's keys have it", []string{"s3_key_format /logs/%Y/$UUID.gz", "compression_level 9"},
			`^logs/20\d\d/[0-9a-f-]{36}\.gz$`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			both(t, func(t *testing.T, b *bench) {
				b.run(counted(25, 10), b.section(test.section...))
				key, content := b.one(b.objects())
				if !regexp.MustCompile(test.key).MatchString(key) {
					t.Errorf("key %s, want %s", key, test.key)
				}
				if sum := fmt.Sprintf("%x", sha256.Sum256([]byte(content)))[:8]; strings.Contains(test.section[len(test.section)-1], "$HASH") && !strings.Contains(key, sum) {
					t.Errorf("key %s, want the hash %s of the content in it", key, sum)
				}
				text := b.plain(key, content)
				if json.Valid([]byte(text)) != test.array || strings.HasPrefix(text, "[") != test.array {
					t.Errorf("got %.60q…, want a JSON array: %v", text, test.array)
				}
				b.wantCounted(25)
				b.wantDelivered()
			})
		})
	}
}

func TestOutputsWithOneStoreDirShareTheirObjectsAndBothCount(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		calls := b.section("customer_id $tenant", "meter_api_name Calls", "meter_value 1")
		volume := b.section("customer_id $tenant", "meter_api_name Volume", "meter_value $bytes")
		b.run(logged([]event{{eventTime, record{"tenant", "acme", "bytes", 700}}, {eventTime, record{"tenant", "acme", "bytes", 700}}}), calls, volume)
		b.wantUsage(map[string]string{"Calls": "2 2", "Volume": "2 1400"})
		b.one(b.objects())
		b.wantDelivered()
	})
}

func TestOutputsWithTheirOwnStoreDirsDeliverApart(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		calls := b.section("customer_id $tenant", "meter_api_name Calls", "meter_value 1", "store_dir "+b.path("spool", "a"))
		volume := b.section("customer_id $tenant", "meter_api_name Volume", "meter_value $bytes", "store_dir "+b.path("spool", "b"), "s3_key_format other/$UUID.gz")
		b.run(logged([]event{{eventTime, record{"tenant", "acme", "bytes", 700}}}), calls, volume)
		b.wantUsage(map[string]string{"Calls": "1 1", "Volume": "1 700"})
		keys := slices.Sorted(maps.Keys(b.objects()))
		if len(keys) != 2 || !keyForm.MatchString(keys[0]) || !strings.HasPrefix(keys[1], "other/") {
			t.Errorf("objects %q, want one of each output", keys)
		}
	})
}

// wantUsage wants events and usage, by meter.
func (b *bench) wantUsage(want map[string]string) {
	b.Helper()
	got := map[string]string{}
	for _, l := range b.amberflo().Bill().Lines {
		got[l.Meter] = fmt.Sprintf("%d %s", l.Events, l.Usage)
	}
	if !maps.Equal(got, want) {
		b.Errorf("events and usage %v, want %v", got, want)
	}
}
