package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/amberflo"
	"out_amberflo/test/fault"
)

// acks is where the host notes, by chunk, what the plugin has acknowledged. Such a chunk is never offered
// again; every other one is, whether the plugin has it or not: as Fluent Bit with its storage on disk.
const acks = "acks"

func (b *bench) acked() int {
	content, err := os.ReadFile(b.path(acks))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.Fatal(err)
	}
	return bytes.Count(content, []byte{'\n'})
}

// paced reads framed chunks, the first ones at once, with a pause before each of the others.
type paced struct {
	chunks []byte
	ahead  int
	pause  time.Duration
	left   int // of the chunk being read
}

func (p *paced) Read(to []byte) (int, error) {
	if p.left == 0 {
		if len(p.chunks) == 0 {
			return 0, io.EOF
		}
		if p.ahead--; p.ahead < 0 {
			time.Sleep(p.pause)
		}
		tagLen := binary.BigEndian.Uint32(p.chunks)
		p.left = 8 + int(tagLen) + int(binary.BigEndian.Uint32(p.chunks[4+tagLen:]))
	}
	n := copy(to, p.chunks[:p.left])
	p.chunks, p.left = p.chunks[n:], p.left-n
	return n, nil
}

// wantExactlyOnce wants what the log says, counted on raw objects, and a clean spool.
func (b *bench) wantExactlyOnce(truth accesslog.Truth) {
	b.Helper()
	b.wantBill(truth.Bill)
	b.wantSpent(truth)
}

// wantSpent wants what is left of a spool behind its work.
func (b *bench) wantSpent(truth accesslog.Truth) {
	b.Helper()
	b.wantRejected(truth)
	b.wantDelivered()
	b.meterctl("check")
	for name := range b.spool("damaged") {
		if filepath.Ext(name) != ".torn" { // of a write that was never acknowledged
			b.Errorf("left in damaged/: %s", name)
		}
	}
}

// wantExactlyOnceAddedUp is wantExactlyOnce where aggregate is * and the bucket as given.
func (b *bench) wantExactlyOnceAddedUp(in input, truth accesslog.Truth, bucket time.Duration) (events int) {
	b.Helper()
	got, all := b.delivered(bucket)
	b.wantUsages(got, usagesOf(b.T, in, truth, bucket))
	b.wantSpent(truth)
	return len(all)
}

func TestKilledAtRandomInstantsNothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	for _, chunks := range []struct {
		name    string
		records int // a chunk
		lines   int // a kill
		pace    time.Duration
		options []string
		bucket  time.Duration // of aggregate
	}{
		{"small chunks, compressed together", 5, 1000, time.Millisecond, []string{"total_file_size 30K"}, 0},
		{"large chunks, compressed each by itself", 400, 2000, 100 * time.Millisecond, []string{"total_file_size 300K", "max_records 1500"}, 0},
		{"small chunks, added up", 20, 1000, 2 * time.Millisecond, []string{"total_file_size 30K"}, time.Second},
		{"large chunks, added up", 400, 3000, 50 * time.Millisecond, []string{"total_file_size 100K", "max_records 300"}, 5 * time.Second},
	} {
		t.Run(chunks.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, bundledHost)
			in, truth := accessLog(t, accesslog.Options{Lines: chunks.lines * *kills, Seed: *seed, Bad: 0.01, MeterTime: chunks.bucket > 0}, accesslog.Chunks{Records: chunks.records})
			b.behind(fault.Options{Rate: 0.5, Seed: *seed})
			b.args = []string{"--threads", "4", "--retry-delay", "20ms", "--ack-file", b.path(acks), "--skip-acked", b.path(acks)}
			b.pace = chunks.pace
			mapping := accessMapping
			if chunks.bucket > 0 {
				mapping = addedUp(chunks.bucket)
			}
			section := b.section(slices.Concat(mapping, chunks.options, []string{"upload_timeout 200ms", "upload_concurrency 4", "shutdown_timeout 45s"})...)
			random := rand.New(rand.NewPCG(*seed, 1))
			for n := range *kills {
				p := b.start(in, section)
				time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond) // the instant is the point
				if !p.Kill() {
					t.Fatalf("ended before kill %d; log:\n%s", n+1, p.Log.String())
				}
			}
			b.pace = 0
			b.run(in, section)
			for range 5 { // what a stop leaves goes out at the next start
				if len(b.spool("outbox")) > 0 {
					b.run(input{}, section)
				}
			}
			if chunks.bucket > 0 {
				t.Logf("%d records in %d events", truth.Metered, b.wantExactlyOnceAddedUp(in, truth, chunks.bucket))
			} else {
				b.wantExactlyOnce(truth)
			}
			t.Logf("%d kills, %d records metered and %d rejected, %d objects", *kills, truth.Metered, truth.Rejected(), len(b.objects()))
		})
	}
}

// crashPoints are the points in the plugin's sources at which a build with the tag crashpoints can die.
func crashPoints(t *testing.T) []string {
	t.Helper()
	var points []string
	err := filepath.WalkDir(filepath.Join(root, "plugin"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`\bdisk\.Crash\("([a-z-]+)"\)`).FindAllSubmatch(source, -1) {
			points = append(points, string(m[1]))
		}
		return err
	})
	if err != nil || len(points) == 0 {
		t.Fatalf("no crash points found below plugin/: %v", err)
	}
	slices.Sort(points)
	return slices.Compact(points)
}

// buildCrashing builds the plugin so that it dies at the point that AMBERFLO_CRASH names. It is kept apart
// from the one that is shipped, and is built with the same flags, so that most of it is compiled already.
var buildCrashing = sync.OnceValues(func() (string, error) {
	file := filepath.Join(root, "build", "e2e", "out_amberflo.so")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-tags", "crashpoints", "-buildmode=c-shared", "-o", file, "./out_amberflo")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", build, err, out)
	}
	return file, nil
})

func newCrashingBench(t *testing.T) *bench {
	t.Helper()
	file, err := buildCrashing()
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, bundledHost)
	b.plugin = file
	return b
}

// dieAt runs the plugin until it has passed a point for the n-th time: "sealed:2".
func (b *bench) dieAt(point string, in input, section string) {
	b.Helper()
	b.env = []string{"AMBERFLO_CRASH=" + point}
	defer func() { b.env = nil }()
	p := b.launch(in, len(in.chunks) == 0, []string{section}) // there may be nothing to read but something to do
	if p.wait(); !p.Kill() {
		b.Fatalf("%s: want it to die by SIGKILL, got %v; log:\n%s", point, p.Cmd.ProcessState, p.Log.String())
	}
}

func TestKilledAtEachNamedPointNothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	sequence := map[string][]string{
		"again-synced":   {"frame-synced:3", "again-synced:1", "again-synced:1"},
		"drained":        {"drained:1"}, // at a stop behind which nothing can come again
		"reason-written": nil,           // TestKilledWhileARefusalIsTakenIn
		"refused":        nil,
		"retried":        nil, // only meterctl passes these
		"retry-counts":   nil,
	}
	for _, point := range crashPoints(t) {
		points, special := sequence[point]
		if !special {
			points = []string{point + ":1", point + ":2", point + ":5"}
		}
		if points == nil {
			continue
		}
		run := func(t *testing.T, bucket time.Duration, options []string) {
			t.Parallel()
			b := newCrashingBench(t)
			in, truth := accessLog(t, accesslog.Options{Lines: 3000, Seed: *seed, Bad: 0.01, MeterTime: bucket > 0}, accesslog.Chunks{Records: 20})
			b.args = []string{"--threads", "3", "--retry-delay", "20ms", "--ack-file", b.path(acks), "--skip-acked", b.path(acks)}
			b.pace = time.Millisecond
			section := b.section(append(options[:len(options):len(options)], "upload_timeout 200ms")...)
			for _, point := range points {
				b.dieAt(point, in, section)
			}
			b.pace = 0
			b.run(in, section)
			if bucket > 0 {
				b.wantExactlyOnceAddedUp(in, truth, bucket)
			} else {
				b.wantExactlyOnce(truth)
			}
		}
		t.Run(point, func(t *testing.T) { run(t, 0, append(accessMapping, "total_file_size 20K")) })
		t.Run(point+", added up", func(t *testing.T) { run(t, time.Second, append(addedUp(time.Second), "total_file_size 5K")) })
	}
}

func TestKilledWhileARefusalIsTakenInEachObjectIsBilledOnceInTheEnd(t *testing.T) {
	t.Parallel()
	b := newCrashingBench(t)
	b.allowReports()
	in, truth := accessLog(t, accesslog.Options{Lines: 1000, Seed: *seed}, accesslog.Chunks{Records: 20})
	section := b.section(append(accessMapping, "total_file_size 20K")...)
	b.run(in, section)

	s := b.server.Standin(amberflo.Options{RefuseWhole: true, Meters: []string{}})
	sum, err := s.Round(t.Context())
	if err != nil || len(sum.Reports) < 4 || len(sum.Reports) != sum.Objects {
		t.Fatalf("%v; %+v, want every object refused", err, sum)
	}
	for _, point := range []string{"reason-written:1", "refused:1", "refused:2"} {
		b.dieAt(point, input{}, section)
	}
	p := b.start(input{}, section)
	b.until("every refused object to be in failed/", func() bool {
		return len(b.spool("failed")) == 2*sum.Objects && len(b.spool("sent")) == 0 // object and reason
	})
	p.stop()

	for _, l := range truth.Bill {
		s.Define(l.Meter)
	}
	b.meterctl("resend", "--all")
	b.run(input{}, section)
	if _, err := s.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wantLines(s.Bill(), truth.Bill)
	if bill := s.Bill(); bill.Duplicates+bill.Conflicts > 0 {
		t.Errorf("want no duplicates and no conflicts, got %+v", bill)
	}
}
