package plugin

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"out_amberflo/plugin/repair"
	"out_amberflo/test/accesslog"
)

// chunks are those of an access log, as Fluent Bit hands them over: 12 fields, about 2 MB each.
func chunks(b testing.TB, lines int) (all [][]byte) {
	b.Helper()
	var buf bytes.Buffer
	if _, err := accesslog.WriteChunks(&buf, accesslog.Options{Lines: lines}, accesslog.Chunks{}); err != nil {
		b.Fatal(err)
	}
	for stream := buf.Bytes(); len(stream) > 0; {
		for part := range 2 { // tag, chunk: each after its length
			n := binary.BigEndian.Uint32(stream)
			if part == 1 {
				all = append(all, stream[4:4+n])
			}
			stream = stream[4+n:]
		}
	}
	return all
}

// BenchmarkFlush is the way of a chunk until it is durable, compressed, sealing in the background included, uploads not
// (nobody listens). Beside it, a bare write and fsync of as many bytes.
func BenchmarkFlush(b *testing.B) {
	b.Run("lines", func(b *testing.B) { benchmarkFlush(b) })
	b.Run("sums", func(b *testing.B) { benchmarkFlush(b, "aggregate", "*") })
}

func benchmarkFlush(b *testing.B, options ...string) {
	all := chunks(b, 50_000)
	c := &capture{}
	dir := b.TempDir()
	p, err := Start(b.Context(), c.host(append(options, "store_dir", dir, "customer_id", "$tenant", "meter_api_name", "$api",
		"meter_value", "$bytes", "dimensions", "method, status")...))
	if err != nil {
		b.Fatal(err)
	}
	bare, err := os.Create(filepath.Join(dir, "bare"))
	if err != nil {
		b.Fatal(err)
	}
	defer bare.Close()
	var took, plain []time.Duration
	records := 0
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		before := p.counts.records.Load()
		began := time.Now()
		if err := p.Flush("app.access", all[i%len(all)]); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
		records += int(p.counts.records.Load() - before)
	}
	b.StopTimer()
	line := make([]byte, 16*6000) // what the records of a chunk take, compressed
	for range min(len(took), 50) {
		began := time.Now()
		if _, err := bare.Write(line); err != nil {
			b.Fatal(err)
		}
		if err := bare.Sync(); err != nil {
			b.Fatal(err)
		}
		plain = append(plain, time.Since(began))
	}
	p.Stop()
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(quantile(took, 0.5), "p50-ms")
	b.ReportMetric(quantile(took, 0.99), "p99-ms")
	b.ReportMetric(quantile(plain, 0.5), "bare-p50-ms")
	b.ReportMetric(quantile(plain, 0.99), "bare-p99-ms")
}

func quantile(d []time.Duration, q float64) float64 {
	slices.Sort(d)
	return float64(d[int(q*float64(len(d)-1))].Microseconds()) / 1000
}

// BenchmarkLevels is the curve by which compression_level has its default: what stands in an object,
// compressed at each level.
func BenchmarkLevels(b *testing.B) {
	const lines = 50_000
	c, dir := &capture{}, b.TempDir()
	p, err := Start(b.Context(), c.host("store_dir", dir, "customer_id", "$tenant", "meter_api_name", "$api",
		"meter_value", "$bytes", "dimensions", "method, status"))
	if err != nil {
		b.Fatal(err)
	}
	for _, chunk := range chunks(b, lines) {
		if err := p.Flush("app.access", chunk); err != nil {
			b.Fatal(err)
		}
	}
	p.Stop()
	files, err := repair.Files(dir)
	if err != nil {
		b.Fatal(err)
	}
	var plain []byte
	for _, f := range files {
		if f.Dir == "outbox" {
			if _, _, err := repair.Records(dir, f, func(line []byte) error {
				plain = append(append(plain, line...), '\n')
				return nil
			}); err != nil {
				b.Fatal(err)
			}
		}
	}
	for level := 1; level <= 9; level++ {
		b.Run(strconv.Itoa(level), func(b *testing.B) {
			var out bytes.Buffer
			z, err := gzip.NewWriterLevel(&out, level)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(plain)))
			for b.Loop() {
				out.Reset()
				z.Reset(&out)
				if _, err := z.Write(plain); err != nil {
					b.Fatal(err)
				}
				if err := z.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(out.Len())/lines, "B/record")
		})
	}
}

// TestAFlushDoesNotAllocatePerRecord guards the cost of a record where a machine's noise does not reach.
func TestAFlushDoesNotAllocatePerRecord(t *testing.T) {
	t.Run("lines", func(t *testing.T) { flushDoesNotAllocate(t) })
	t.Run("sums", func(t *testing.T) { flushDoesNotAllocate(t, "aggregate", "*") })
}

func flushDoesNotAllocate(t *testing.T, options ...string) {
	perFlush := func(lines int) float64 {
		c := &capture{}
		p := started(t, c, append(options, "store_dir", t.TempDir(), "customer_id", "$tenant", "meter_api_name", "$api",
			"meter_value", "$bytes", "dimensions", "method, status")...)
		defer p.Stop()
		chunk := chunks(t, lines)[0]
		return testing.AllocsPerRun(20, func() {
			if err := p.Flush("app.access", chunk); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := perFlush(100), perFlush(5000)
	if many > few+50 {
		t.Errorf("got %.0f allocations for a flush of 100 records and %.0f for one of 5,000, want about the same", few, many)
	}
}
