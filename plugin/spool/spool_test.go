package spool

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/zeebo/xxh3"
)

// testOptions are those of a spool of NDJSON under a directory of the test. Batches of three and more of batchOf become
// segments.
func testOptions(dir string) Options {
	return Options{
		Dir:      dir,
		Key:      func(o Sealed) string { return "ingest/" + o.Opened.Format("01-02-2006") + "/" + o.ID.String() + ".gz" },
		MaxBytes: 1 << 20, MaxAge: time.Hour, Limit: 1 << 30, GzipLevel: 6, segmentFrom: 100,
		Log: slog.New(slog.DiscardHandler),
	}
}

func mustOpen(t *testing.T, o Options) *Spool {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// openUnsynced is for the many starts of a test in which no power fails.
func openUnsynced(t *testing.T, o Options) *Spool {
	t.Helper()
	s := newSpool(o)
	s.sync = func(*os.File) error { return nil }
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	return s
}

// batchOf makes a batch of a line for each record name.
func batchOf(source uint64, names ...string) *content {
	b := &content{source: Source{Length: 1, Hash: source}, records: len(names)}
	b.lines = linesOf(fmt.Sprintf("%d-", source), 0, names)
	return b
}

// begun makes one with ids as they are generated.
func begun(t *testing.T, s *Spool, source uint64, names ...string) *Tx {
	t.Helper()
	tx, err := s.Begin(Source{Length: 1, Hash: source}, 2*len(names)+1)
	if err != nil {
		t.Fatal(err)
	}
	prefix, first := tx.IDs()
	tx.Append(append(tx.Lines(), linesOf(prefix, first, names)...), len(names))
	return tx
}

func linesOf(prefix string, first int, names []string) (lines []byte) {
	for i, n := range names {
		lines = fmt.Appendf(lines, "{\"name\":%q,\"uniqueId\":\"%s%d\"}\n", n, prefix, first+i)
	}
	return lines
}

// flushedChunk is what becomes of a chunk, or the transaction of it.
type flushedChunk interface{ flush(s *Spool) error }

func (tx *Tx) flush(*Spool) error { return tx.Commit() }

func (c *content) flush(s *Spool) error {
	tx, err := c.begin(s)
	if err != nil {
		return err
	}
	return tx.Commit()
}

func (c *content) begin(s *Spool) (*Tx, error) {
	tx, err := s.Begin(c.source, max(c.records, c.rejected))
	if err != nil {
		return nil, err
	}
	tx.Append(append(tx.Lines(), c.lines...), c.records)
	for line := range bytes.Lines(c.rejects) {
		tx.Reject(line)
	}
	tx.Damage(c.damage)
	return tx, nil
}

func add(s *Spool, b flushedChunk) error { return b.flush(s) }

// redelivered offers a chunk that may be known.
func redelivered(s *Spool, src Source) (bool, error) {
	_, err := s.Begin(src, 0)
	if errors.Is(err, ErrAccepted) {
		return true, nil
	}
	return false, err
}

// reject flushes a chunk with nothing but lines that could not be metered.
func reject(s *Spool, lines []byte) error {
	return add(s, &content{source: Source{2, xxh3.Hash(lines)}, rejects: lines, rejected: bytes.Count(lines, newline)})
}

func mustAppend(t *testing.T, s *Spool, b flushedChunk) {
	t.Helper()
	if err := add(s, b); err != nil {
		t.Fatal(err)
	}
}

// drained seals all, reads every object of the outbox by key, and closes the spool.
func drained(t *testing.T, s *Spool) map[string]string {
	t.Helper()
	if err := s.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	objects := outboxOf(t, s.opt.Dir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return objects
}

func outboxOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	return objectsIn(t, filepath.Join(dir, outboxDir))
}

func objectsIn(t *testing.T, root string) map[string]string {
	t.Helper()
	objects := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		file, _ := filepath.Rel(root, p)
		key, sum := parseFile(file)
		if got := md5.Sum(raw); sum != nil && !bytes.Equal(sum, got[:]) {
			return fmt.Errorf("%s has the MD5 %x", file, got)
		}
		if strings.HasSuffix(key, ".gz") {
			gz, err := gzip.NewReader(bytes.NewReader(raw))
			if err != nil {
				return err
			}
			if raw, err = io.ReadAll(gz); err != nil {
				return err
			}
		}
		objects[key] = string(raw)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// namesIn counts how often each record name stands in the objects.
func namesIn(t *testing.T, objects map[string]string) map[string]int {
	t.Helper()
	n := map[string]int{}
	for _, text := range objects {
		for line := range strings.Lines(text) {
			name, _, ok := strings.Cut(strings.TrimPrefix(line, `{"name":"`), `"`)
			if !ok {
				t.Fatalf("not a line of this test: %q", line)
			}
			n[name]++
		}
	}
	return n
}

// crashed leaves the directory as a killed process does: nothing is sealed, the lock is free.
func crashed(t *testing.T, s *Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAnObjectHoldsItsRecordsUnderTheIDOfItsKey(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	mustAppend(t, s, begun(t, s, 1, "a", "b"))
	mustAppend(t, s, begun(t, s, 2, "c"))
	objects := drained(t, s)
	if len(objects) != 1 {
		t.Fatalf("got %d objects, want 1", len(objects))
	}
	for key, text := range objects {
		id := strings.TrimSuffix(filepath.Base(key), ".gz")
		want := fmt.Sprintf("{\"name\":\"a\",\"uniqueId\":\"%[1]s-0\"}\n{\"name\":\"b\",\"uniqueId\":\"%[1]s-1\"}\n{\"name\":\"c\",\"uniqueId\":\"%[1]s-2\"}\n", id)
		if text != want {
			t.Errorf("got %s, want %s", text, want)
		}
	}
}

// Some come to nothing, some end in another order than they began.
func TestNoUniqueIDIsGivenTwice(t *testing.T) {
	s := openUnsynced(t, testOptions(memoryDir(t)))
	_ = begun(t, s, 1, "lost")
	first, second, third := begun(t, s, 2, "a", "b"), begun(t, s, 3, "c"), begun(t, s, 4, "d")
	mustAppend(t, s, third)
	mustAppend(t, s, begun(t, s, 5, "e"))
	mustAppend(t, s, first)
	mustAppend(t, s, begun(t, s, 6, "f"))
	mustAppend(t, s, second)
	mustAppend(t, s, begun(t, s, 7))
	mustAppend(t, s, begun(t, s, 8, "g", "h", "i", "j", "k"))
	ids := map[string]bool{}
	for _, text := range drained(t, s) {
		for line := range strings.Lines(text) {
			_, id, _ := strings.Cut(line, `,"uniqueId":`)
			ids[id] = true
		}
	}
	if len(ids) != 11 {
		t.Errorf("11 records have the ids %v", slices.Collect(maps.Keys(ids)))
	}
}

func TestWhatWasAcceptedSurvivesACrash(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a", "b"))
	crashed(t, s)
	s = mustOpen(t, o)
	mustAppend(t, s, batchOf(2, "c"))
	if got := namesIn(t, drained(t, s)); len(got) != 3 || got["a"] != 1 || got["b"] != 1 || got["c"] != 1 {
		t.Errorf("got %v, want a, b and c once", got)
	}
}

func TestAChunkThatComesAgainAfterACrashCountsOnce(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	offer := func(source uint64, name string) {
		t.Helper()
		again, err := redelivered(s, Source{1, source})
		if err != nil {
			t.Fatal(err)
		}
		if !again {
			mustAppend(t, s, batchOf(source, name))
		}
	}
	offer(1, "equal") // two equal chunks, both acknowledged: both count
	offer(1, "equal")
	offer(2, "other")
	crashed(t, s)
	s = mustOpen(t, o)
	offer(1, "equal") // delivered again
	crashed(t, s)
	s = mustOpen(t, o)
	offer(1, "equal") // and again, for both of them
	offer(1, "equal")
	offer(1, "equal") // this one is new
	if got := namesIn(t, drained(t, s)); got["equal"] != 3 || got["other"] != 1 {
		t.Errorf("got %v, want equal 3 times and other once", got)
	}
	s = mustOpen(t, o)
	offer(1, "equal") // a clean stop leaves nothing that could come again
	if got := namesIn(t, drained(t, s)); got["equal"] != 4 {
		t.Errorf("got %v, want equal 4 times", got)
	}
}

func TestAChunkIsRecognisedWhenItsLogIsSealedAndGone(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxBytes = 1 // each append seals
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a"))
	if _, err := s.sealDue(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := namesIn(t, outboxOf(t, o.Dir)); got["a"] != 1 {
		t.Fatalf("got %v, want a sealed", got)
	}
	crashed(t, s)
	s = mustOpen(t, o)
	if again, err := redelivered(s, Source{1, 1}); !again || err != nil {
		t.Errorf("got %v, %v, want the chunk recognised", again, err)
	}
	drained(t, s)
}

func TestNoObjectHoldsMoreThanMaxRecords(t *testing.T) {
	names := func(from, n int) (s []string) {
		for i := range n {
			s = append(s, fmt.Sprint(from+i))
		}
		return s
	}
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash %v", crash), func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.MaxRecords = 1000
			s := mustOpen(t, o)
			mustAppend(t, s, batchOf(1, names(0, 900)...))
			mustAppend(t, s, batchOf(2, names(900, 900)...))
			mustAppend(t, s, batchOf(3, names(1800, 700)...))
			mustAppend(t, s, batchOf(4, names(2500, 2500)...))
			if crash {
				crashed(t, s)
				s = mustOpen(t, o)
			}
			objects := drained(t, s)
			if len(objects) != 6 { // three of one chunk, and those of the large one
				t.Errorf("got %d objects, want 6", len(objects))
			}
			for _, text := range objects {
				if n := strings.Count(text, "\n"); n > 1000 {
					t.Errorf("got an object of %d records, want at most 1000", n)
				}
			}
			got := namesIn(t, objects)
			for i := range 5000 {
				if got[fmt.Sprint(i)] != 1 {
					t.Fatalf("record %d stands %d times, want once", i, got[fmt.Sprint(i)])
				}
			}
			ids := map[string]bool{}
			for _, text := range objects {
				for line := range strings.Lines(text) {
					ids[line[strings.Index(line, "uniqueId"):]] = true
				}
			}
			if len(ids) != 5000 {
				t.Errorf("got %d unique ids, want 5000", len(ids))
			}
		})
	}
}

func TestMaxBytesIsOfLinesAndNotOfWhatTheyTakeOnDisk(t *testing.T) {
	o := testOptions(memoryDir(t))
	o.MaxBytes = 100_000
	s := openUnsynced(t, o)
	for i := range 3 {
		b := &content{records: 1, source: Source{1, uint64(i)}}
		b.lines = append(bytes.Repeat([]byte("x"), 60_000), '\n')
		mustAppend(t, s, b)
	}
	if n := len(s.sealing); n != 1 || s.current.records != 1 {
		t.Errorf("%d logs are full and %d records in the last one, want 1 and 1", n, s.current.records)
	}
	crashed(t, s)
}

func TestALargeBatchIsNoReasonToKeepAsMuchMemory(t *testing.T) {
	o := testOptions(memoryDir(t))
	o.JSONArray = true
	s := openUnsynced(t, o)
	b := &content{records: 40}
	b.lines = bytes.Repeat(append(bytes.Repeat([]byte("x"), 1<<20-1), '\n'), 40)
	mustAppend(t, s, b)
	mustAppend(t, s, batchOf(1, "a"))
	if tx, kept := s.txs.Get().(*Tx); kept && tx.encoder.frame.Cap() > 1<<20 { // a pool may lose it
		t.Errorf("%d bytes are kept", tx.encoder.frame.Cap())
	}
	crashed(t, s)
}

func TestFlushesAtOnceGiveEachRecordAnIDOfItsOwn(t *testing.T) {
	o := testOptions(memoryDir(t))
	o.MaxRecords, o.segmentFrom = 7, 100
	s := openUnsynced(t, o)
	const workers, batches = 8, 40
	var flushes sync.WaitGroup
	for w := range workers {
		flushes.Go(func() {
			for i := range batches {
				var names []string
				for k := range i % 11 {
					names = append(names, fmt.Sprintf("%d.%d.%d", w, i, k))
				}
				if err := add(s, begun(t, s, uint64(w*batches+i), names...)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	flushes.Wait()
	records := 0
	for i := range batches {
		records += workers * (i % 11)
	}
	names, ids := map[string]int{}, map[string]int{}
	for key, text := range drained(t, s) {
		if n := strings.Count(text, "\n"); n > 7 {
			t.Errorf("%s has %d records", key, n)
		}
		for line := range strings.Lines(text) {
			name, id, _ := strings.Cut(line, `,"uniqueId":`)
			names[name]++
			ids[id]++
		}
	}
	if len(names) != records || len(ids) != records {
		t.Errorf("got %d records with %d ids, want %d", len(names), len(ids), records)
	}
}
