package spool_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/disk/disktest"
	"out_amberflo/plugin/journal"
)

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
	s := openUnsynced(t, testOptions(disktest.MemoryDir(t)))
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

func TestFlushesAtOnceGiveEachRecordAnIDOfItsOwn(t *testing.T) {
	o := testOptions(disktest.MemoryDir(t))
	o.Object.MaxRecords, o.MinBlock = 7, 100
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

func TestASegmentWhoseSyncFailedIsSealedUpToThereAndLeft(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	mustAppend(t, s, batchOf(1, "a"))
	disktest.Failing(s.Dir(), "sync", ".log", 1)
	if err := add(s, batchOf(2, "b")); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want the failure of the fsync", err)
	}
	mustAppend(t, s, batchOf(2, "b"))
	sealNow(t, s)
	once(t, outboxOf(t, s.Dir().Root), "a")
	once(t, drained(t, s), "a", "b")
}

func TestAShortWriteIsRolledBack(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a"))
	disktest.Failing(s.Dir(), "write", ".log", 1)
	if err := add(s, batchOf(2, "b")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want the failure of the write", err)
	}
	mustAppend(t, s, batchOf(3, "c"))
	crashed(t, s)
	once(t, drained(t, mustOpen(t, o)), "a", "c")
	if aside, _ := filepath.Glob(filepath.Join(o.Dir, disk.Damaged, "*")); len(aside) > 0 {
		t.Errorf("left of the write: %v", aside)
	}
}

func TestRotationsThatFailDoNotGiveAnIDTwice(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Object.MaxRecords = 10
	s := mustOpen(t, o)
	n := 0
	names := func(k int) (names []string) {
		for range k {
			names = append(names, fmt.Sprint(n))
			n++
		}
		return names
	}
	for i := range 4 {
		mustAppend(t, s, batchOf(uint64(2*i), names(9)...))
		disktest.Failing(s.Dir(), "sync", "open|", 1) // that of a new log's directory entry
		mustAppend(t, s, batchOf(uint64(2*i+1), names(4)...))
	}
	mustAppend(t, s, batchOf(9, names(2)...))
	ids := map[string]bool{}
	for key, text := range drained(t, s) {
		if k := strings.Count(text, "\n"); k > 10 {
			t.Errorf("%s holds %d records, want at most 10", key, k)
		}
		for line := range strings.Lines(text) {
			_, id, _ := strings.Cut(line, "uniqueId")
			if ids[id] {
				t.Errorf("unique id twice: %s", line)
			}
			ids[id] = true
		}
	}
	if len(ids) != n {
		t.Errorf("got %d records, want %d", len(ids), n)
	}
}

func TestASegmentThatEndsTwiceEndsAtTheEarlierPlace(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	tx, err := batchOf(1, "a").begin(s)
	if err == nil {
		err = tx.Write()
	}
	if err != nil {
		t.Fatal(err)
	}
	disktest.Failing(s.Dir(), "truncate", ".log", 9)
	disktest.Failing(s.Dir(), "write", ".log", 1) // ends the log behind a
	if err := add(s, batchOf(2, "b")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want the failure of the write", err)
	}
	disktest.Failing(s.Dir(), "sync", ".log", 1) // ends it before a
	mustAppend(t, s, batchOf(2, "b"))
	if err := tx.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want the failure of the fsync", err)
	}
	mustAppend(t, s, batchOf(1, "a"))
	crashed(t, s)
	once(t, drained(t, mustOpen(t, o)), "a", "b")
}

func TestNothingIsAcceptedWhileASegmentMayComeBackThatWasGivenUp(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Object.MaxRecords = 2
	s := mustOpen(t, o)
	disktest.Failing(s.Dir(), "sync", "open|", 2)   // that of the next log's entry, and that of its removal
	mustAppend(t, s, batchOf(1, "a", "b", "c"))     // fills this one
	disktest.Failing(s.Dir(), "sync", "open|", 1)   // another try to make sure that it is gone
	if err := add(s, batchOf(2, "d")); err == nil { // the lost log would not know of it
		t.Error("accepted, want the failure of the fsync")
	}
	mustAppend(t, s, batchOf(2, "d"))
	crashed(t, s)
	once(t, drained(t, mustOpen(t, o)), "a", "b", "c", "d")
}

func TestRejectsThatAreNotAcceptedAreGone(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	disktest.Failing(s.Dir(), "sync", ".log", 1)
	b := batchOf(1, "a")
	b.rejects = []byte("\"x\"\n")
	if err := add(s, b); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want the failure of the fsync", err)
	}
	mustAppend(t, s, b)
	once(t, drained(t, s), "a")
	if got := rejectedOf(t, o.Dir); got != "\"x\"\n" {
		t.Errorf("got %q, want it once", got)
	}
}

func TestEachRejectHasAnIDOfItsOwn(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	ids := map[string]bool{}
	n := 0
	for i := range 20 {
		tx, err := s.Begin(journal.Source{Length: 1, Hash: 1}, 10)
		if err != nil {
			t.Fatal(err)
		}
		tx.Append(append(tx.Lines(), "{}\n"...), i%2)
		for range i % 4 {
			ids[tx.RejectID()] = true
			n++
			tx.Reject([]byte("{}\n"))
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if len(ids) != n {
		t.Errorf("%d ids for %d rejects", len(ids), n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestNoChunkIsAcceptedIntoADirectoryThatIsGone(t *testing.T) {
	for name, replace := range map[string]func(t *testing.T, dir string){
		"removed": func(*testing.T, string) {},
		"another in its place": func(t *testing.T, dir string) {
			other := mustOpen(t, testOptions(dir))
			mustAppend(t, other, begun(t, other, 9, "theirs"))
			if err := other.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := other.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, disk.Outbox), filepath.Join(dir, disk.Sent, "x")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "spool")
			o := testOptions(dir)
			text := logged(&o)
			s := mustOpen(t, o)
			mustAppend(t, s, begun(t, s, 1, "a"))
			away := dir + "-away"
			if err := os.Rename(dir, away); err != nil {
				t.Fatal(err)
			}
			replace(t, dir)
			listing := func() (all []string) {
				_ = filepath.Walk(dir, func(path string, _ os.FileInfo, _ error) error {
					all = append(all, path)
					return nil
				})
				return all
			}
			before := listing()
			const want = "is not the directory that was opened"
			if _, err := s.Begin(journal.Source{}, 1); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want the chunk refused", err)
			}
			s.SetMaxAge(0)
			if _, err := s.Seal(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("sealing: got %v", err)
			}
			if _, err := s.InBucket(); err == nil {
				t.Error("want nothing listed that is another's")
			}
			if _, err := s.Salt(); err == nil {
				t.Error("want no id of another")
			}
			if now := listing(); strings.Join(now, " ") != strings.Join(before, " ") {
				t.Errorf("it touched what is another's: %v, before %v", now, before)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(away, dir); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, s, begun(t, s, 2, "b"))
			if err := s.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s.Waiting() != 1 || strings.Contains(text.String(), "gone") {
				t.Errorf("%d objects wait, want one with both records; log:\n%s", s.Waiting(), text)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestASegmentThatSomebodyRemovesIsSaidAndNoChunkGoesIntoIt(t *testing.T) {
	for _, goesOn := range []bool{true, false} {
		o := testOptions(t.TempDir())
		text := logged(&o)
		s := mustOpen(t, o)
		mustAppend(t, s, begun(t, s, 1, "a", "b"))
		logs, err := filepath.Glob(s.Dir().Path(disk.Open, "*.log"))
		if err != nil || len(logs) != 1 {
			t.Fatal(logs, err)
		}
		if err := os.Remove(logs[0]); err != nil {
			t.Fatal(err)
		}
		if goesOn {
			mustAppend(t, s, begun(t, s, 2, "c"))
			sealNow(t, s)
		}
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(text.String(), "a segment is gone from open/"); n != 1 || !strings.Contains(text.String(), "records=2") {
			t.Errorf("goes on %v: want the loss of two records said once:\n%s", goesOn, text)
		}
		if n := s.Stats().LostRecords; n != 2 {
			t.Errorf("goes on %v: %d lost records counted, want 2", goesOn, n)
		}
		want := 0
		if goesOn {
			want = 1
		}
		if s.Waiting() != want {
			t.Errorf("goes on %v: %d objects wait, want %d", goesOn, s.Waiting(), want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAppendsFailuresAndSealsAtOnce(t *testing.T) {
	o := testOptions(disktest.MemoryDir(t))
	o.MaxBytes, o.Object.MaxRecords, o.MaxAge = 2000, 20, time.Millisecond
	s := openUnsynced(t, o)
	write, fsync := s.Dir().Write, s.Dir().Sync
	s.Dir().Write = func(f *os.File, b []byte) (int, error) {
		if rand.IntN(20) == 0 {
			n, _ := write(f, b[:rand.IntN(len(b))])
			return n, syscall.ENOSPC
		}
		return write(f, b)
	}
	s.Dir().Sync = func(f *os.File) error {
		if rand.IntN(20) == 0 {
			return syscall.EIO
		}
		return fsync(f)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running, appending sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	var names []string
	for worker := range 4 {
		for i := range 200 {
			names = append(names, fmt.Sprintf("%d.%d", worker, i))
		}
		appending.Go(func() {
			for i := range 200 {
				for add(s, batchOf(uint64(i), fmt.Sprintf("%d.%d", worker, i))) != nil {
				}
			}
		})
	}
	appending.Wait()
	cancel()
	running.Wait()
	s.Dir().Write, s.Dir().Sync = write, fsync
	once(t, drained(t, s), names...)
}
