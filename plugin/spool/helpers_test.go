package spool_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/zeebo/xxh3"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/spool"
	"out_amberflo/test/logbook"
)

// testOptions are those of a spool of NDJSON under a directory of the test. Batches of three and more of batchOf become blocks.
func testOptions(dir string) spool.Options {
	return spool.Options{
		Dir: dir,
		Object: object.Options{
			Key: func(o object.Sealed) string {
				return "ingest/" + o.Opened.Format("01-02-2006") + "/" + o.ID.String() + ".gz"
			},
			GzipLevel: 6,
		},
		MaxBytes: 1 << 20, MaxAge: time.Hour, Limit: 1 << 30, MinBlock: 100,
		Log: slog.New(slog.DiscardHandler),
	}
}

// onDisk gives the options a disk with seams.
func onDisk(o spool.Options) spool.Options {
	o.Disk = disk.New(o.Dir)
	return o
}

func mustOpen(t *testing.T, o spool.Options) *spool.Spool {
	t.Helper()
	s, err := spool.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// openUnsynced is for the many starts of a test in which no power fails.
func openUnsynced(t *testing.T, o spool.Options) *spool.Spool {
	t.Helper()
	o = onDisk(o)
	o.Disk.Sync = func(*os.File) error { return nil }
	return mustOpen(t, o)
}

// chunkOf is what becomes of a chunk.
type chunkOf struct {
	source  journal.Source
	lines   []byte
	records int
	summed  int // records that the lines are sums of
	rejects []byte
	damage  []byte
}

// batchOf makes a batch of a line for each record name.
func batchOf(source uint64, names ...string) *chunkOf {
	return &chunkOf{source: journal.Source{Length: 1, Hash: source}, records: len(names), lines: linesOf(fmt.Sprintf("%d-", source), 0, names)}
}

// begun makes one with ids as they are generated.
func begun(t *testing.T, s *spool.Spool, source uint64, names ...string) *journal.Tx {
	t.Helper()
	tx, err := s.Begin(journal.Source{Length: 1, Hash: source}, 2*len(names)+1)
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

func (c *chunkOf) begin(s *spool.Spool) (*journal.Tx, error) {
	rejected := bytes.Count(c.rejects, []byte{'\n'})
	tx, err := s.Begin(c.source, max(c.records, rejected))
	if err != nil {
		return nil, err
	}
	tx.Append(append(tx.Lines(), c.lines...), c.records)
	if c.summed > 0 {
		tx.Summed(15*time.Minute, c.summed)
	}
	for line := range bytes.Lines(c.rejects) {
		tx.Reject(line)
	}
	tx.Damage(c.damage)
	return tx, nil
}

// add flushes what becomes of a chunk, or commits the transaction of it.
func add(s *spool.Spool, b any) error {
	tx, begun := b.(*journal.Tx)
	if !begun {
		var err error
		if tx, err = b.(*chunkOf).begin(s); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// redelivered offers a chunk that may be known.
func redelivered(s *spool.Spool, src journal.Source) (bool, error) {
	_, err := s.Begin(src, 0)
	if errors.Is(err, journal.ErrAccepted) {
		return true, nil
	}
	return false, err
}

// reject flushes a chunk with nothing but lines that could not be metered.
func reject(s *spool.Spool, lines []byte) error {
	return add(s, &chunkOf{source: journal.Source{Length: 2, Hash: xxh3.Hash(lines)}, rejects: lines})
}

func mustAppend(t *testing.T, s *spool.Spool, b any) {
	t.Helper()
	if err := add(s, b); err != nil {
		t.Fatal(err)
	}
}

// drained seals all, reads every object of the outbox by key, and closes the spool.
func drained(t *testing.T, s *spool.Spool) map[string]string {
	t.Helper()
	if err := s.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	objects := outboxOf(t, s.Dir().Root)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return objects
}

func outboxOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	return objectsIn(t, filepath.Join(dir, disk.Outbox))
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
		key, sum := object.ParseFile(file)
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

// once checks that each name was delivered once, and nothing else.
func once(t *testing.T, objects map[string]string, names ...string) {
	t.Helper()
	got := namesIn(t, objects)
	for _, name := range names {
		if got[name] != 1 {
			t.Errorf("record %s: delivered %d times", name, got[name])
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("not asked for: %v", got)
	}
}

// crashed leaves the directory as a killed process does: nothing is sealed, the lock is free.
func crashed(t *testing.T, s *spool.Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func sealNow(t *testing.T, s *spool.Spool) {
	t.Helper()
	if _, err := s.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// sealAged seals all that was accepted as if it were old enough.
func sealAged(t *testing.T, s *spool.Spool) {
	t.Helper()
	s.SetMaxAge(0)
	sealNow(t, s)
	s.SetMaxAge(time.Hour)
}

// segmentsOf are the paths of the files in open/, the oldest first.
func segmentsOf(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, disk.Open, "*.log"))
	if err != nil || len(found) == 0 {
		t.Fatal(found, err)
	}
	return found
}

// lastSegment gives the path and the size of the one that grows.
func lastSegment(t *testing.T, s *spool.Spool) (path string, size int64) {
	t.Helper()
	all := segmentsOf(t, s.Dir().Root)
	path = all[len(all)-1]
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, st.Size()
}

func logged(o *spool.Options) *logbook.Book {
	book := &logbook.Book{}
	o.Log = book.Logger()
	return book
}

// fileIn is an object's file in a directory.
func fileIn(dir string, obj spool.Object) repair.File {
	return repair.File{Dir: dir, Path: dir + "/" + obj.File(), Bytes: obj.Size, Modified: obj.Since}
}

// rejectedOf is what is in rejected/, all files one after the other.
func rejectedOf(t *testing.T, dir string) string {
	t.Helper()
	var all []byte
	err := disk.Walk(filepath.Join(dir, disk.Rejected), func(file string, st os.FileInfo) {
		if strings.HasPrefix(st.Name(), ".") {
			t.Errorf("left: %s", file)
		}
		b, err := os.ReadFile(filepath.Join(dir, disk.Rejected, file))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// sealedOnce gives a closed spool with one object in its outbox, of so many blocks.
func sealedOnce(t *testing.T, o spool.Options, blocks int) (file string, names []string) {
	t.Helper()
	s := mustOpen(t, o)
	for i := range blocks {
		var these []string
		for k := range 20 {
			these = append(these, fmt.Sprintf("record %d of block %d", k, i))
		}
		mustAppend(t, s, begun(t, s, uint64(i), these...))
		names = append(names, these...)
	}
	if err := errors.Join(s.Drain(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	return onlyFile(t, o.Dir, disk.Outbox), names
}

func onlyFile(t *testing.T, dir, in string) string {
	t.Helper()
	var found []string
	err := disk.Walk(filepath.Join(dir, in), func(path string, _ os.FileInfo) { found = append(found, filepath.Join(dir, in, path)) })
	if err != nil || len(found) != 1 {
		t.Fatalf("got %q in %s/, %v, want one file", found, in, err)
	}
	return found[0]
}

func taken(t *testing.T, s *spool.Spool) spool.Object {
	t.Helper()
	obj, err := s.Take(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

// delivered gives a spool with n objects in sent/.
func delivered(t *testing.T, n int) (*spool.Spool, []spool.Object) {
	t.Helper()
	o := testOptions(t.TempDir())
	o.Object.MaxRecords = 1
	s := mustOpen(t, o)
	t.Cleanup(func() { _ = s.Close() })
	s.KeepSent(true)
	var names []string
	for i := range n {
		names = append(names, string(rune('a'+i)))
	}
	mustAppend(t, s, batchOf(1, names...))
	sealNow(t, s)
	for range n {
		if err := s.Sent(taken(t, s)); err != nil {
			t.Fatal(err)
		}
	}
	sent, err := s.InBucket()
	if err != nil || len(sent) != n {
		t.Fatalf("got %v, %v in sent/, want %d objects", sent, err, n)
	}
	return s, sent
}

func forms(dir string) map[string]spool.Options {
	gzip, plain, array := testOptions(dir), testOptions(dir), testOptions(dir)
	plain.Object.GzipLevel = 0
	plain.Object.Key = func(o object.Sealed) string { return "ingest/" + o.ID.String() + ".json" }
	array.Object.JSONArray = true
	plainArray := plain
	plainArray.Object.JSONArray = true
	return map[string]spool.Options{"gzip": gzip, "not compressed": plain, "an array": array, "an array, not compressed": plainArray}
}

// recordsIn are the names of the records in the outbox and in sealing/, sorted.
func recordsIn(t *testing.T, s *spool.Spool) (names []string) {
	t.Helper()
	sealNow(t, s)
	for _, text := range outboxOf(t, s.Dir().Root) {
		for _, part := range strings.Split(text, `"name":"`)[1:] {
			names = append(names, part[:strings.IndexByte(part, '"')])
		}
	}
	slices.Sort(names)
	return names
}
