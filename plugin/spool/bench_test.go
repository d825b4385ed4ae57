package spool_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/disk/disktest"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/spool"
	"out_amberflo/plugin/tally"
)

// benchLines are meter records of some 300 bytes each, as a chunk of 2 MB of access log makes 1.2 MB of.
func benchLines(size int) (lines []byte, records int) {
	for len(lines) < size {
		lines = fmt.Appendf(lines, `{"customerId":"tenant-%d","meterApiName":"ApiCalls","meterValue":1,"meterTimeInMillis":%d,"uniqueId":"01a20280-9208-7d60-a63a-71b2f4aa20ec-%d","dimensions":{"region":"eu-central-1","plan":"gold","method":"GET","path":"/v1/things/%x","status":"200","host":"web-%d"}}`+"\n",
			records*7919%500, 1784000000000+records, records, records*2654435761, records%9)
		records++
	}
	return lines, records
}

func benchOpen(b *testing.B, o spool.Options) *spool.Spool {
	b.Helper()
	s, err := spool.Open(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// BenchmarkAppend is one flush after the other, compressed, beside the bare write and fsync of the same bytes as they are.
func BenchmarkAppend(b *testing.B) {
	lines, records := benchLines(1_200_000)
	run := func(b *testing.B, once func(i int) error) {
		b.SetBytes(int64(len(lines)))
		b.ReportAllocs()
		var took []time.Duration
		for i := 0; b.Loop(); i++ {
			began := time.Now()
			if err := once(i); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	}
	b.Run("spool", func(b *testing.B) {
		o := testOptions(b.TempDir())
		o.MaxBytes, o.Limit, o.Object.GzipLevel = 50<<20, 0, 1
		s := benchOpen(b, o)
		run(b, func(i int) error {
			tx, err := s.Begin(journal.Source{Length: 1, Hash: uint64(i)}, records)
			if err != nil {
				return err
			}
			tx.Append(append(tx.Lines(), lines...), records)
			return tx.Commit()
		})
	})
	b.Run("bare", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "bare"))
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		run(b, func(int) error {
			if _, err := f.Write(lines); err != nil {
				return err
			}
			return f.Sync()
		})
	})
}

// BenchmarkSeal turns a log of 50 MB of lines into one object.
func BenchmarkSeal(b *testing.B) {
	lines, records := benchLines(1_200_000)
	o := testOptions(b.TempDir())
	o.MaxBytes, o.Limit = 1<<40, 0
	s := benchOpen(b, o)
	b.ReportAllocs()
	b.SetBytes(int64(len(lines)) * 40)
	for b.Loop() {
		b.StopTimer()
		for i := range 40 {
			tx, err := s.Begin(journal.Source{Length: 1, Hash: uint64(i)}, records)
			if err != nil {
				b.Fatal(err)
			}
			tx.Append(append(tx.Lines(), lines...), records)
			if err := tx.Commit(); err != nil {
				b.Fatal(err)
			}
		}
		time.Sleep(25 * time.Millisecond) // nothing to give way to
		b.StartTimer()
		if err := s.SealNow(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(records*40), "records/op")
}

// sumLines are lines of records that were added up, with ids from first on.
func sumLines(keys, first int, prefix string) (lines []byte) {
	for i := range keys {
		lines = fmt.Appendf(lines, `{"customerId":"tenant-%d","meterApiName":"ApiCalls","dimensions":{"method":"GET","status":"200"},"meterValue":%d,"meterTimeInMillis":%d,"uniqueId":"%s%d"`,
			i, i*7919, sumsFrom+int64(i%1000), prefix, first+i)
		lines = tally.AppendMembers(lines, 3, sumsFrom+int64(i%1000), sumsFrom+int64(i%1000)+100)
	}
	return lines
}

// appendSums flushes chunks of so many keys.
func appendSums(tb testing.TB, s *spool.Spool, chunks, keys int) {
	for i := range chunks {
		tx, err := s.Begin(journal.Source{Length: 1, Hash: uint64(i)}, keys)
		if err != nil {
			tb.Fatal(err)
		}
		prefix, first := tx.IDs()
		tx.Append(append(tx.Lines(), sumLines(keys, first, prefix)...), keys)
		tx.Summed(15*time.Minute, 3*keys)
		if err := tx.Commit(); err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkSealSums turns a log of sums into one object.
func BenchmarkSealSums(b *testing.B) {
	for _, of := range []struct{ chunks, keys int }{{160, 430}, {40, 5000}, {4, 50_000}} {
		b.Run(fmt.Sprintf("%d chunks of %d keys", of.chunks, of.keys), func(b *testing.B) {
			o := testOptions(b.TempDir())
			o.MaxBytes, o.Limit, o.Object.GzipLevel = 1<<40, 0, 1
			s := benchOpen(b, o)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				appendSums(b, s, of.chunks, of.keys)
				time.Sleep(25 * time.Millisecond) // nothing to give way to
				b.StartTimer()
				if err := s.SealNow(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(of.chunks*of.keys), "ns/line")
		})
	}
}

// TestTheMemoryOfASealDoesNotGrowWithItsLines holds where records were added up: a seal takes that of some keys, of a frame, and
// of what compresses.
func TestTheMemoryOfASealDoesNotGrowWithItsLines(t *testing.T) {
	for _, of := range []struct{ chunks, keys, most int }{{1, 100, 2 << 20}, {400, 100, 2 << 20}, {60, 5000, 6 << 20}, {2, 60_000, 9 << 20}} {
		o := testOptions(disktest.MemoryDir(t))
		o.MaxBytes, o.Limit, o.Object.GzipLevel = 1<<40, 0, 1
		s := openUnsynced(t, o)
		appendSums(t, s, of.chunks, of.keys)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := s.SealNow(t.Context()); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > uint64(of.most) {
			t.Errorf("%d chunks of %d keys: %d bytes, want at most %d", of.chunks, of.keys, n, of.most)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// BenchmarkOpenWithBacklog starts over 10,000 objects that wait.
func BenchmarkOpenWithBacklog(b *testing.B) {
	o := testOptions(b.TempDir())
	for day := range 10 {
		dir := filepath.Join(o.Dir, disk.Outbox, "ingest", "amberdata", fmt.Sprintf("09-%02d-2026", day+1))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			b.Fatal(err)
		}
		for i := range 1000 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.gz", i)), []byte("x"), 0o600); err != nil {
				b.Fatal(err)
			}
		}
	}
	for b.Loop() {
		s, err := spool.Open(o)
		if err != nil {
			b.Fatal(err)
		}
		if n := s.Waiting(); n != 10_000 {
			b.Fatalf("%d objects are waiting", n)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// TestNothingIsAllocatedPerRecord holds for the way of a record through the spool.
func TestNothingIsAllocatedPerRecord(t *testing.T) {
	for _, array := range []bool{false, true} {
		o := testOptions(disktest.MemoryDir(t))
		o.MaxBytes, o.Object.JSONArray = 1<<40, array
		s := openUnsynced(t, o)
		allocs := func(records int) float64 {
			lines := bytes.Repeat([]byte("{\"uniqueId\":\"u\"}\n"), records)
			return testing.AllocsPerRun(3, func() {
				tx, err := s.Begin(journal.Source{}, records)
				if err != nil {
					t.Fatal(err)
				}
				tx.Append(append(tx.Lines(), lines...), records)
				if err := tx.Commit(); err != nil {
					t.Fatal(err)
				}
				if err := s.SealNow(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
		}
		few, many := allocs(10), allocs(10_000)
		if many > few+500 {
			t.Errorf("array %v: %v allocations for 10 records and %v for 10,000", array, few, many)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
