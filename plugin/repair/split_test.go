package repair

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/disk/disktest"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/spool"
)

// waiting makes a spool with one object of those lines, and gives its key.
func waiting(t *testing.T, dir string, lines []string) string {
	t.Helper()
	s := opened(t, dir)
	tx, err := s.Begin(journal.Source{}, len(lines))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		tx.Append(append(append(tx.Lines(), line...), '\n'), 1)
	}
	if err := errors.Join(tx.Commit(), s.Drain(t.Context())); err != nil {
		t.Fatal(err)
	}
	obj, err := s.Take(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	s.Return(obj, time.Time{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return obj.Key
}

func opened(t *testing.T, dir string) *spool.Spool {
	t.Helper()
	s, err := spool.Open(spool.Options{
		Dir: dir, Object: object.Options{Key: func(o object.Sealed) string { return "ingest/" + o.ID.String() + ".gz" }, GzipLevel: 6},
		MaxBytes: 1 << 20, MaxAge: time.Hour, MinBlock: 100, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// From some operation on nothing succeeds any more, as for a process that died there: what comes after it, a start, has each
// record once, in the old object or in the new ones.
func TestARepairThatDiesAnywhereLosesAndDoublesNothing(t *testing.T) {
	var want []string
	for i := range 40 {
		want = append(want, fmt.Sprintf(`{"name":"record %02d"}`, i))
	}
	for fuse, whole := 0, false; !whole; fuse++ {
		dir := filepath.Join(disktest.MemoryDir(t), "a[b]*") // no pattern
		key := waiting(t, dir, want)
		d := disk.New(dir)
		d.Sync = func(*os.File) error { return nil }
		disktest.Dying(d, fuse)
		objects, err := split(d, key, 200)
		if whole = err == nil; whole && (objects < 3 || fuse < 10) {
			t.Fatalf("%d objects after %d operations, want more", objects, fuse)
		}
		s := opened(t, dir)
		if _, err := s.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		files, err := Files(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range files {
			if _, problems, err := Records(dir, f, func(line []byte) error { got = append(got, string(line)); return nil }); err != nil || len(problems) > 0 {
				t.Fatal(err, problems)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("died at operation %d: got %d records, want %d, each once", fuse, len(got), len(want))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
