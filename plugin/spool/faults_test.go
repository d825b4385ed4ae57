package spool

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
)

// failing makes the first n operations fail that a seam of s does on a path that contains part; a stroke
// stands for its end.
func failing(s *Spool, seam, part string, n int) {
	fails := func(name, path string) bool {
		if name == seam && n > 0 && strings.Contains(path+"|", part) {
			n--
			return true
		}
		return false
	}
	write, fsync, rename, remove, truncate := s.write, s.sync, s.rename, s.remove, s.truncate
	s.write = func(f *os.File, b []byte) (int, error) {
		if fails("write", f.Name()) {
			k, _ := write(f, b[:len(b)/2])
			return k, syscall.ENOSPC
		}
		return write(f, b)
	}
	s.sync = func(f *os.File) error {
		if fails("sync", f.Name()) {
			return syscall.EIO
		}
		return fsync(f)
	}
	s.rename = func(from, to string) error {
		if fails("rename", to) {
			return syscall.ENOSPC
		}
		return rename(from, to)
	}
	s.truncate = func(f *os.File, size int64) error {
		if fails("truncate", f.Name()) {
			return syscall.EIO
		}
		return truncate(f, size)
	}
	s.remove = func(path string) error {
		if fails("remove", path) {
			return syscall.EIO
		}
		return remove(path)
	}
}

func sealNow(t *testing.T, s *Spool) {
	t.Helper()
	if _, err := s.sealDue(t.Context()); err != nil {
		t.Fatal(err)
	}
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

func TestALogWhoseSyncFailedIsSealedUpToThereAndLeft(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	mustAppend(t, s, batchOf(1, "a"))
	failing(s, "sync", ".log", 1)
	if err := add(s, batchOf(2, "b")); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want the failure of the fsync", err)
	}
	mustAppend(t, s, batchOf(2, "b"))
	sealNow(t, s)
	once(t, outboxOf(t, s.opt.Dir), "a")
	once(t, drained(t, s), "a", "b")
}

func TestAShortWriteIsRolledBack(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a"))
	failing(s, "write", ".log", 1)
	if err := add(s, batchOf(2, "b")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want the failure of the write", err)
	}
	mustAppend(t, s, batchOf(3, "c"))
	crashed(t, s)
	once(t, drained(t, mustOpen(t, o)), "a", "c")
	if aside, _ := filepath.Glob(filepath.Join(o.Dir, damagedDir, "*")); len(aside) > 0 {
		t.Errorf("left of the write: %v", aside)
	}
}

func TestRotationsThatFailDoNotGiveAnIDTwice(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxRecords = 10
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
		failing(s, "sync", "open|", 1) // that of a new log's directory entry
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
		err = tx.write()
	}
	if err != nil {
		t.Fatal(err)
	}
	failing(s, "truncate", ".log", 9)
	failing(s, "write", ".log", 1) // ends the log behind a
	if err := add(s, batchOf(2, "b")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want the failure of the write", err)
	}
	failing(s, "sync", ".log", 1) // ends it before a
	mustAppend(t, s, batchOf(2, "b"))
	if err := tx.sync(); !errors.Is(err, syscall.EIO) {
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
	failing(s, "sync", ".log", 1) // ends the log
	if err := add(s, batchOf(2, "b")); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want the failure of the fsync", err)
	}
	failing(s, "write", ".log", 1) // and there is no other
	if _, err := s.sealDue(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want the failure of the write", err)
	}
	crashed(t, s)
	s = mustOpen(t, o)
	if again, err := redelivered(s, Source{1, 1}); !again || err != nil {
		t.Errorf("got %v, %v, want the chunk recognised", again, err)
	}
	once(t, drained(t, s), "a")
}

func TestNothingIsAcceptedWhileALogMayComeBackThatWasGivenUp(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxRecords = 2
	s := mustOpen(t, o)
	failing(s, "sync", "open|", 2)                  // that of the next log's entry, and that of its removal
	mustAppend(t, s, batchOf(1, "a", "b", "c"))     // fills this one
	failing(s, "sync", "open|", 1)                  // another try to make sure that it is gone
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
	if err := add(s, batchOf(2, "b")); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want %v", err, ErrFull)
	}
	if again, err := redelivered(s, Source{1, 1}); !again || err != nil {
		t.Errorf("got %v, %v, want the chunk recognised", again, err)
	}
	once(t, drained(t, s), "a")
}

// Where objects are not compressed, the ids that a flush puts in are most of what a short record becomes.
func TestTheLimitCountsWhatRecordsBecome(t *testing.T) {
	o := testOptions(t.TempDir())
	o.GzipLevel, o.Limit, o.MaxBytes = 0, 10_500, 1000
	s := mustOpen(t, o)
	accepted := 0
	for ; accepted < 1000; accepted++ {
		if err := add(s, batchOf(uint64(accepted), slices.Repeat([]string{"a"}, 20)...)); errors.Is(err, ErrFull) {
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
		if again, err := redelivered(s, Source{1, 1}); !again || err != nil {
			t.Errorf("got %v, %v, want the chunk recognised", again, err)
		}
	}
	once(t, drained(t, s), "a", "b")
	s = mustOpen(t, o) // the other one has still not come
	if again, err := redelivered(s, Source{1, 2}); !again || err != nil {
		t.Errorf("after a clean stop got %v, %v, want the chunk recognised", again, err)
	}
	if again, err := redelivered(s, Source{1, 1}); again || err != nil {
		t.Errorf("after a clean stop got %v, %v, want a new chunk", again, err)
	}
	once(t, drained(t, s), "a", "b")
	if left, _ := os.ReadDir(s.path(openDir)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAStopThatCannotSealOneLogKeepsWhatIsKnownOfIt(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxRecords = 2
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a", "b", "c"))
	failing(s, "rename", "=", 1)
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
	failing(s, "rename", outboxDir, 9)
	if err := s.Drain(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want the failure of the rename", err)
	}
	crashed(t, s)
	s = newSpool(o)
	failing(s, "write", ".log", 9)
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.sealDue(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want a full disk", err)
	}
	once(t, outboxOf(t, o.Dir), "a")
	crashed(t, s)
}

func TestAnObjectStaysUntilTheRemovalOfItsLogIsDurable(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	s.opt.MaxBytes = 1
	mustAppend(t, s, batchOf(1, "a"))
	failing(s, "sync", "open|", 2)
	for range 2 {
		if _, err := s.sealDue(t.Context()); !errors.Is(err, syscall.EIO) {
			t.Errorf("got %v, want the failure of the fsync", err)
		}
		once(t, outboxOf(t, s.opt.Dir))
	}
	sealNow(t, s)
	once(t, outboxOf(t, s.opt.Dir), "a")
	crashed(t, s)
}

func TestAFolderWhoseSyncFailedIsMadeAnew(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	synced := map[string]int{}
	fsync := s.sync
	s.sync = func(f *os.File) error {
		if synced[f.Name()]++; f.Name() == s.path(outboxDir) && synced[f.Name()] == 1 {
			return syscall.EIO
		}
		return fsync(f)
	}
	mustAppend(t, s, batchOf(1, "a"))
	if err := s.Drain(t.Context()); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want the failure of the fsync", err)
	}
	if err := s.Drain(t.Context()); err != nil || synced[s.path(outboxDir)] != 2 {
		t.Errorf("outbox/ was synced %d times, want 2 (%v)", synced[s.path(outboxDir)], err)
	}
	once(t, outboxOf(t, s.opt.Dir), "a")
	crashed(t, s)
}

func TestAStrayFileInSealingIsLeftAlone(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	for _, name := range []string{"notes.txt", "no-uuid=key", "0190a6e0-0000-7000-8000-000000000001=..%2F..%2Fkey"} {
		if err := os.WriteFile(s.path(sealingDir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, s, batchOf(1, "a"))
	crashed(t, s)
	s = mustOpen(t, o)
	once(t, drained(t, s), "a")
	if left, _ := os.ReadDir(s.path(sealingDir)); len(left) != 3 {
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
		_, _ = s.sealDue(ctx)
	}
	if open := openFiles(t, o.Dir); len(open) > 3 {
		t.Errorf("%d logs are waiting and %d files open", len(s.sealing), len(open))
	}
	crashed(t, s)
	if open := openFiles(t, o.Dir); len(open) > 0 {
		t.Errorf("closed, with %v open", open)
	}
	s = openUnsynced(t, o)
	if open := openFiles(t, o.Dir); len(open) > 3 {
		t.Errorf("%d logs are waiting after a start and %d files open", len(s.sealing), len(open))
	}
	crashed(t, s)
}

func TestAppendsFailuresAndSealsAtOnce(t *testing.T) {
	o := testOptions(memoryDir(t))
	o.MaxBytes, o.MaxRecords, o.MaxAge = 2000, 20, time.Millisecond
	s := openUnsynced(t, o)
	write, fsync := s.write, s.sync
	s.write = func(f *os.File, b []byte) (int, error) {
		if rand.IntN(20) == 0 {
			n, _ := write(f, b[:rand.IntN(len(b))])
			return n, syscall.ENOSPC
		}
		return write(f, b)
	}
	s.sync = func(f *os.File) error {
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
	s.write, s.sync = write, fsync
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
	if open := openFiles(t, o.Dir); len(open) > 0 {
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
	if s, err := Open(o); err == nil || !strings.Contains(err.Error(), "in use") || s != nil {
		t.Errorf("got %v, want the directory to be in use", err)
	}
	crashed(t, first)
	s := newSpool(o)
	failing(s, "sync", "sent|", 1)
	if err := s.open(); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want the failure of the fsync", err)
	}
	if open := openFiles(t, o.Dir); len(open) > 0 {
		t.Errorf("left open: %v", open)
	}
	crashed(t, mustOpen(t, o))
}

func TestSealingThatFailsIsSaidAtEachDoublingAndWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in which only sleeping takes time
		o := testOptions(memoryDir(t))
		text := logged(&o) // written by Run alone
		s := openUnsynced(t, o)
		mustAppend(t, s, batchOf(1, "a"))
		var full atomic.Bool
		full.Store(true)
		write := s.write
		s.write = func(f *os.File, b []byte) (int, error) {
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
