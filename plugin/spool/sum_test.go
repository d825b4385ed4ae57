package spool_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/spool"
	"out_amberflo/plugin/tally"
)

const sumsFrom = int64(1795291200000) // a full hour

// addSums flushes a chunk of sums: a line for each key, each of them of three records.
func addSums(t *testing.T, s *spool.Spool, source uint64, bucket time.Duration, value string, customers ...string) {
	t.Helper()
	tx, err := s.Begin(journal.Source{Length: 3, Hash: source}, len(customers))
	if err != nil {
		t.Fatal(err)
	}
	prefix, first := tx.IDs()
	lines := tx.Lines()
	for i, c := range customers {
		lines = fmt.Appendf(lines, `{"customerId":%q,"meterApiName":"m","meterValue":%s,"meterTimeInMillis":%d,"uniqueId":"%s%d"`, c, value, sumsFrom+int64(source), prefix, first+i)
		lines = tally.AppendMembers(lines, 3, sumsFrom+int64(source), sumsFrom+int64(source)+100)
	}
	tx.Append(lines, len(customers))
	tx.Summed(bucket, 3*len(customers))
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

type sumLine struct {
	CustomerID string
	MeterValue json.Number
	UniqueID   string
	Records    *int64
}

// linesOfObject reads both formats.
func linesOfObject(t *testing.T, text string) (all []sumLine) {
	t.Helper()
	if strings.HasPrefix(text, "[") {
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	for line := range strings.Lines(text) {
		var l sumLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, l)
	}
	return all
}

func TestSumsOfOneKeyAreAddedUpAtTheSealWhateverAnObjectIs(t *testing.T) {
	for name, set := range map[string]func(*spool.Options){
		"gzip":           func(*spool.Options) {},
		"sums as blocks": func(o *spool.Options) { o.MinBlock = 1 },
		"a JSON array":   func(o *spool.Options) { o.Object.JSONArray = true },
		"as it is": func(o *spool.Options) {
			o.Object.GzipLevel = 0
			o.Object.Key = func(x object.Sealed) string { return x.ID.String() + ".json" }
		},
		"at most 2 records": func(o *spool.Options) { o.Object.MaxRecords = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			set(&o)
			s := mustOpen(t, o)
			want, events := map[string]*big.Rat{}, 5 // a, b, c by quarters of an hour, a by hours, and plain
			for i := range 20 {
				addSums(t, s, uint64(i), 15*time.Minute, "0.1", "a", "b", "c")
			}
			for i := range 20 {
				addSums(t, s, uint64(100+i), time.Hour, "2", "a") // another output
			}
			mustAppend(t, s, &chunkOf{source: journal.Source{Length: 1, Hash: 1000}, records: 1, lines: []byte(`{"customerId":"a","meterApiName":"m","meterValue":7,"meterTimeInMillis":1795291200000,"uniqueId":"own"}` + "\n")})
			want["a"], want["b"], want["c"] = big.NewRat(49, 1), big.NewRat(2, 1), big.NewRat(2, 1)
			got, records, lines := map[string]*big.Rat{}, int64(0), 0
			ids := map[string]bool{}
			for key, text := range drained(t, s) {
				in := linesOfObject(t, text)
				if o.Object.MaxRecords > 0 && len(in) > o.Object.MaxRecords {
					t.Errorf("%d lines in %s", len(in), key)
				}
				for _, l := range in {
					v, _ := new(big.Rat).SetString(l.MeterValue.String())
					got[l.CustomerID] = v.Add(v, cmpRat(got[l.CustomerID]))
					if l.Records != nil {
						records += *l.Records
					} else {
						records++
					}
					if ids[l.UniqueID] {
						t.Errorf("id %s twice", l.UniqueID)
					}
					ids[l.UniqueID] = true
					lines++
				}
			}
			if o.Object.MaxRecords > 0 { // segments of two lines: nothing to add up, and a chunk of three is split
				events = lines
			}
			if records != 241 || lines != events || !maps.EqualFunc(got, want, func(a, b *big.Rat) bool { return a.Cmp(b) == 0 }) {
				t.Errorf("got %d records in %d lines, %v; want 241 in %d, %v", records, lines, got, events, want)
			}
		})
	}
}

// A large frame of sums is read in pieces. One that turns out to be bad in its midst adds nothing, and is kept aside.
func TestALargeFrameOfSumsCountsAsAWholeOrNotAtAll(t *testing.T) {
	const keys = 12_000 // over 2 MB
	o := testOptions(t.TempDir())
	o.MaxBytes = 1 << 30
	s := mustOpen(t, o)
	addSums(t, s, 1, 15*time.Minute, "1", "a")
	path, start := lastSegment(t, s)
	many := make([]string, keys)
	for i := range many {
		many[i] = fmt.Sprint("customer-", i)
	}
	addSums(t, s, 2, 15*time.Minute, "1", many...)
	_, end := lastSegment(t, s)
	addSums(t, s, 3, 15*time.Minute, "1", append(many[:100:100], "a")...)
	crashed(t, s)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	payload := end - start - frameHeaderSize
	for name, spoil := range map[string]func(frame []byte){
		"whole":                nil,
		"of another checksum":  anotherSum,
		"spoiled in its midst": func(frame []byte) { frame[frameHeaderSize+payload/2] ^= 1 },
		"spoiled at its end":   func(frame []byte) { frame[frameHeaderSize+payload*99/100] ^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			bad, want, wantRecords, wantAside := slices.Clone(content), keys+1, int64(3*(keys+102)), 0
			if spoil != nil {
				frame := bad[start:end]
				spoil(frame)
				binary.LittleEndian.PutUint32(frame[44:], crc32.Checksum(frame[frameHeaderSize:], castagnoli))
				binary.LittleEndian.PutUint32(frame[48:], crc32.Checksum(frame[:48], castagnoli))
				want, wantRecords, wantAside = 101, 3*102, 1
			}
			_, objects, aside := recovered(t, o, filepath.Base(path), bad)
			records, events := int64(0), 0
			for _, text := range objects {
				for line := range strings.Lines(text) {
					records += tally.Records([]byte(line))
					events++
				}
			}
			if events != want || records != wantRecords || len(aside) != wantAside {
				t.Errorf("got %d events of %d records, and aside %v; want %d of %d", events, records, aside, want, wantRecords)
			}
		})
	}
}

func cmpRat(r *big.Rat) *big.Rat {
	if r == nil {
		return new(big.Rat)
	}
	return r
}

func TestTheSameSumsMakeTheSameBytes(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	for i := range 50 {
		customers := make([]string, 30)
		for j := range customers {
			customers[j] = fmt.Sprint("c", (i+j)%200)
		}
		addSums(t, s, uint64(i), 15*time.Minute, "1", customers...)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var objects []map[string]string
	for range 2 {
		again := o
		again.Dir = t.TempDir()
		if err := os.CopyFS(again.Dir, os.DirFS(o.Dir)); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, drained(t, mustOpen(t, again)))
	}
	if !maps.Equal(objects[0], objects[1]) || len(objects[0]) != 1 {
		t.Errorf("got %v\nand %v", slices.Sorted(maps.Keys(objects[0])), slices.Sorted(maps.Keys(objects[1])))
	}
	for _, text := range objects[0] {
		if n := strings.Count(text, "\n"); n != 79 {
			t.Errorf("%d events, want 79", n)
		}
	}
}

func TestEventsAreCountedOnceThoughASealIsRepeated(t *testing.T) {
	o := onDisk(testOptions(t.TempDir()))
	s := mustOpen(t, o)
	fails := true
	o.Disk.Remove = func(path string) error {
		if fails && strings.HasSuffix(path, ".log") {
			return os.ErrPermission
		}
		return os.Remove(path)
	}
	addSums(t, s, 1, time.Minute, "1", "a", "b")
	addSums(t, s, 2, time.Minute, "1", "a", "b")
	for range 3 {
		if err := s.SealNow(context.Background()); err == nil {
			t.Fatal("a segment that cannot be removed is no error")
		}
	}
	if n := s.Stats().SealedEvents; n != 0 {
		t.Errorf("%d events of a seal that is not through", n)
	}
	fails = false
	if err := s.SealNow(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := s.Stats().SealedEvents; n != 2 {
		t.Errorf("got %d events, want 2", n)
	}
	drained(t, s)
}
