package spool_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/disk/disktest"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/spool"
)

func TestALogWhoseSyncFailedIsSealedUpToThereAndLeft(t *testing.T) {
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

func TestALogThatEndsTwiceEndsAtTheEarlierPlace(t *testing.T) {
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

func TestNoLogIsRemovedBeforeAnotherKnowsWhatItKnew(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a"))
	disktest.Failing(s.Dir(), "sync", ".log", 1) // ends the log
	if err := add(s, batchOf(2, "b")); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want the failure of the fsync", err)
	}
	disktest.Failing(s.Dir(), "write", ".log", 1) // and there is no other
	if _, err := s.Seal(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want the failure of the write", err)
	}
	crashed(t, s)
	s = mustOpen(t, o)
	if again, err := redelivered(s, journal.Source{Length: 1, Hash: 1}); !again || err != nil {
		t.Errorf("got %v, %v, want the chunk recognised", again, err)
	}
	once(t, drained(t, s), "a")
}

func TestNothingIsAcceptedWhileALogMayComeBackThatWasGivenUp(t *testing.T) {
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

func TestAFullSpoolStillKnowsAChunkThatComesAgain(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a"))
	crashed(t, s)
	o.Limit = 1
	s = mustOpen(t, o)
	if err := add(s, batchOf(2, "b")); !errors.Is(err, journal.ErrFull) {
		t.Errorf("got %v, want %v", err, journal.ErrFull)
	}
	if again, err := redelivered(s, journal.Source{Length: 1, Hash: 1}); !again || err != nil {
		t.Errorf("got %v, %v, want the chunk recognised", again, err)
	}
	once(t, drained(t, s), "a")
}

// Where objects are not compressed, the ids that a flush puts in are most of what a short record becomes.
func TestTheLimitCountsWhatRecordsBecome(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Object.GzipLevel, o.Limit, o.MaxBytes = 0, 10_500, 1000
	s := mustOpen(t, o)
	accepted := 0
	for ; accepted < 1000; accepted++ {
		if err := add(s, batchOf(uint64(accepted), slices.Repeat([]string{"a"}, 20)...)); errors.Is(err, journal.ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		sealNow(t, s)
	}
	if used := s.Stats().UsedBytes; used > o.Limit || used < o.Limit/2 {
		t.Errorf("%d bytes after %d batches, want at most %d and more than half of that", used, accepted, o.Limit)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestAChunkIsKnownAfterEachOfSeveralCrashes(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a"))
	mustAppend(t, s, batchOf(2, "b"))
	for range 5 {
		crashed(t, s)
		s = mustOpen(t, o)
		sealNow(t, s)
		if again, err := redelivered(s, journal.Source{Length: 1, Hash: 1}); !again || err != nil {
			t.Errorf("got %v, %v, want the chunk recognised", again, err)
		}
	}
	once(t, drained(t, s), "a", "b")
	s = mustOpen(t, o) // the other one has still not come
	if again, err := redelivered(s, journal.Source{Length: 1, Hash: 2}); !again || err != nil {
		t.Errorf("after a clean stop got %v, %v, want the chunk recognised", again, err)
	}
	if again, err := redelivered(s, journal.Source{Length: 1, Hash: 1}); again || err != nil {
		t.Errorf("after a clean stop got %v, %v, want a new chunk", again, err)
	}
	once(t, drained(t, s), "a", "b")
	if left, _ := os.ReadDir(s.Dir().Path(disk.Open)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAStopThatCannotSealOneLogKeepsWhatIsKnownOfIt(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Object.MaxRecords = 2
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a", "b", "c"))
	disktest.Failing(s.Dir(), "rename", "=", 1)
	if err := s.Drain(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want the failure of the rename", err)
	}
	crashed(t, s)
	once(t, drained(t, mustOpen(t, o)), "a", "b", "c")
}

func TestWhatIsSealedIsPublishedThoughNothingCanBeAccepted(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a"))
	disktest.Failing(s.Dir(), "rename", disk.Outbox, 9)
	if err := s.Drain(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want the failure of the rename", err)
	}
	crashed(t, s)
	o = onDisk(o)
	disktest.Failing(o.Disk, "write", ".log", 9)
	s = mustOpen(t, o)
	if _, err := s.Seal(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want a full disk", err)
	}
	once(t, outboxOf(t, o.Dir), "a")
	crashed(t, s)
}

func TestAnObjectStaysUntilTheRemovalOfItsLogIsDurable(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxBytes = 1
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a"))
	disktest.Failing(s.Dir(), "sync", "open|", 2)
	for range 2 {
		if _, err := s.Seal(t.Context()); !errors.Is(err, syscall.EIO) {
			t.Errorf("got %v, want the failure of the fsync", err)
		}
		once(t, outboxOf(t, s.Dir().Root))
	}
	sealNow(t, s)
	once(t, outboxOf(t, s.Dir().Root), "a")
	crashed(t, s)
}

func TestAFolderWhoseSyncFailedIsMadeAnew(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	synced := map[string]int{}
	fsync := s.Dir().Sync
	s.Dir().Sync = func(f *os.File) error {
		if synced[f.Name()]++; f.Name() == s.Dir().Path(disk.Outbox) && synced[f.Name()] == 1 {
			return syscall.EIO
		}
		return fsync(f)
	}
	mustAppend(t, s, batchOf(1, "a"))
	if err := s.Drain(t.Context()); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want the failure of the fsync", err)
	}
	if err := s.Drain(t.Context()); err != nil || synced[s.Dir().Path(disk.Outbox)] != 2 {
		t.Errorf("outbox/ was synced %d times, want 2 (%v)", synced[s.Dir().Path(disk.Outbox)], err)
	}
	once(t, outboxOf(t, s.Dir().Root), "a")
	crashed(t, s)
}

func TestAStrayFileInSealingIsLeftAlone(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	for _, name := range []string{"notes.txt", "no-uuid=key", "0190a6e0-0000-7000-8000-000000000001=..%2F..%2Fkey"} {
		if err := os.WriteFile(s.Dir().Path(disk.Sealing, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, s, batchOf(1, "a"))
	crashed(t, s)
	s = mustOpen(t, o)
	once(t, drained(t, s), "a")
	if left, _ := os.ReadDir(s.Dir().Path(disk.Sealing)); len(left) != 3 {
		t.Errorf("left: %v, want the 3 files", left)
	}
}

func TestLogsThatWaitHoldNoFiles(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxBytes = 1
	s := openUnsynced(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 100 {
		mustAppend(t, s, batchOf(uint64(i), "a"))
		_, _ = s.Seal(ctx)
	}
	if open := disktest.OpenFiles(t, o.Dir); len(open) > 3 {
		t.Errorf("%d segments are waiting and %d files open", len(segmentsOf(t, o.Dir)), len(open))
	}
	crashed(t, s)
	if open := disktest.OpenFiles(t, o.Dir); len(open) > 0 {
		t.Errorf("closed, with %v open", open)
	}
	s = openUnsynced(t, o)
	if open := disktest.OpenFiles(t, o.Dir); len(open) > 3 {
		t.Errorf("%d segments are waiting after a start and %d files open", len(segmentsOf(t, o.Dir)), len(open))
	}
	crashed(t, s)
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

func TestCloseLeavesNoGoroutineAndNoFile(t *testing.T) {
	before := runtime.NumGoroutine()
	o := testOptions(t.TempDir())
	o.MaxBytes, o.MaxAge = 200, time.Millisecond
	s := mustOpen(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	for i := range 20 {
		mustAppend(t, s, batchOf(uint64(i), "a", "b"))
	}
	if err := reject(s, []byte("{}\n")); err != nil {
		t.Error(err)
	}
	cancel()
	<-done
	if got := namesIn(t, drained(t, s)); got["a"] != 20 || got["b"] != 20 {
		t.Errorf("got %v, want a and b 20 times", got)
	}
	if open := disktest.OpenFiles(t, o.Dir); len(open) > 0 {
		t.Errorf("left open: %v", open)
	}
	for i := 0; runtime.NumGoroutine() > before; i++ {
		if i > 1000 {
			stacks := make([]byte, 1<<16)
			t.Fatalf("left running:\n%s", stacks[:runtime.Stack(stacks, true)])
		}
		runtime.Gosched()
	}
}

func TestARefusedStartLeavesNoFileOpen(t *testing.T) {
	o := testOptions(t.TempDir())
	first := mustOpen(t, o)
	if s, err := spool.Open(o); err == nil || !strings.Contains(err.Error(), "in use") || s != nil {
		t.Errorf("got %v, want the directory to be in use", err)
	}
	crashed(t, first)
	o = onDisk(o)
	disktest.Failing(o.Disk, "sync", "sent|", 1)
	if _, err := spool.Open(o); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want the failure of the fsync", err)
	}
	if open := disktest.OpenFiles(t, o.Dir); len(open) > 0 {
		t.Errorf("left open: %v", open)
	}
	o.Disk = nil
	crashed(t, mustOpen(t, o))
}

func TestSealingThatFailsIsSaidAtEachDoublingAndWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in which only sleeping takes time
		o := testOptions(disktest.MemoryDir(t))
		text := logged(&o) // written by Run alone
		s := openUnsynced(t, o)
		mustAppend(t, s, batchOf(1, "a"))
		var full atomic.Bool
		full.Store(true)
		write := s.Dir().Write
		s.Dir().Write = func(f *os.File, b []byte) (int, error) {
			if full.Load() && strings.HasSuffix(f.Name(), ".tmp") {
				return 0, syscall.ENOSPC
			}
			return write(f, b)
		}
		ctx, stop := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { s.Run(ctx) })
		said := func() int {
			synctest.Wait()
			return strings.Count(text.String(), "sealing failed")
		}
		time.Sleep(o.MaxAge + 2*time.Hour)
		if n := said(); n < 6 || n > 8 {
			t.Errorf("some 120 failures are said %d times, want at each doubling", n)
		}
		full.Store(false)
		time.Sleep(2 * time.Minute)
		if said(); !strings.Contains(text.String(), "sealing succeeded again") || s.Waiting() != 1 {
			t.Errorf("%d objects wait; log:\n%s", s.Waiting(), text)
		}
		stop()
		run.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
