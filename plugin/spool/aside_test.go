package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Somebody reads "in use by process N", and removes LOCK.
func TestASpoolHasOneOwnerThoughItsLockWasRemoved(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a"))
	if err := os.Remove(s.path("LOCK")); err != nil {
		t.Fatal(err)
	}
	if other, err := Open(o); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a second start: got %v", err)
		_ = other.Close()
	}
	mustAppend(t, s, batchOf(2, "b"))
	once(t, drained(t, s), "a", "b")
	s = mustOpen(t, o)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestARoomThatIsALinkIsRefused(t *testing.T) {
	o := testOptions(t.TempDir())
	if err := os.Symlink(t.TempDir(), filepath.Join(o.Dir, outboxDir)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "got a link") {
		t.Errorf("got %v", err)
	}
}

// Left alone, such a log would be delivered later, and so would its chunks that come again now.
func TestALogThatTheDiskDoesNotGiveEndsTheStart(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a"))
	id, file := s.current.id, s.logPath(s.current.id)
	crashed(t, s)
	away := o.Dir + "-log"
	if err := errors.Join(os.Rename(file, away), os.Symlink(file, file)); err != nil { // ELOOP
		t.Fatal(err)
	}
	// A link is no file of the plugin; what it would read through one is what counts here.
	if err := newSpool(o).recoverLog(&log{id: id}, map[accepted]int64{}); !errors.As(err, new(unix.Errno)) {
		t.Fatalf("got %v, want the disk's own error", err)
	}
	if err := errors.Join(os.Remove(file), os.Rename(away, file), os.Chmod(file, 0)); err != nil {
		t.Fatal(err)
	}
	s, err := Open(o)
	if os.Geteuid() != 0 {
		if err == nil || !strings.Contains(err.Error(), "before chunks come again") {
			t.Errorf("got %v", err)
		}
		return
	}
	if err != nil { // root may read it
		t.Fatal(err)
	}
	once(t, drained(t, s), "a")
}

func TestRejectsLargerThanTheirLimitAreTakenAlone(t *testing.T) {
	o := testOptions(t.TempDir())
	o.RejectLimit = 1000
	s := mustOpen(t, o)
	defer s.Close()
	line := []byte("\"" + strings.Repeat("x", 2000) + "\"\n")
	if err := s.Reject(line); err != nil {
		t.Errorf("rejected/ is empty, and still: %v", err)
	}
	if err := s.Reject(line); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want it full", err)
	}
}

func TestWhoHoldsADayOfRejectsHoldsUpNothingElse(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxAge = time.Millisecond
	s := mustOpen(t, o)
	defer s.Close()
	if err := s.Reject([]byte("\"a\"\n")); err != nil {
		t.Fatal(err)
	}
	day, err := os.Open(s.path(rejectedDir, time.Now().UTC().Format(time.DateOnly)+".ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	defer day.Close()
	if err := unix.Flock(int(day.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	rejected := make(chan error)
	go func() { rejected <- s.Reject([]byte("\"b\"\n")) }()
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		s.Run(ctx)
	}()
	mustAppend(t, s, batchOf(1, "x"))
	for began := time.Now(); s.Waiting() == 0; time.Sleep(time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatal("sealing waits for the lock of rejected/")
		}
	}
	stop()
	<-ran
	if err := <-rejected; !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("got %v, want that another process holds the file", err)
	}
}

func TestAStopDoesNotWaitForAFrameThatIsSplit(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxRecords = 1
	s := openUnsynced(t, o)
	defer s.Close()
	ctx, stop := context.WithCancel(t.Context())
	s.sync = func(f *os.File) error {
		if strings.HasSuffix(f.Name(), ".tmp") { // the first object
			stop()
		}
		return nil
	}
	var names []string
	for i := range 500 {
		names = append(names, fmt.Sprint(i))
	}
	mustAppend(t, s, batchOf(1, names...))
	if _, err := s.sealDue(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want it to end with its context", err)
	}
}

func TestARefusalDuringALookAsideIsSeen(t *testing.T) {
	s, sent := delivered(t, 1)
	for i := range 3000 { // slows the look
		if err := os.WriteFile(s.path(rejectedDir, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		s.lookAside()
	}()
	time.Sleep(2 * time.Millisecond)
	if err := s.Refuse(sent[0], []byte("no such meter")); err != nil {
		t.Fatal(err)
	}
	<-looked
	if got := s.Stats().FailedBytes; got != sent[0].Size || !s.resendable {
		t.Errorf("%d bytes in failed/, another look %v: want the object seen", got, s.resendable)
	}
}

func TestWhatCannotBePublishedCountsAgainstTheLimit(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Limit, o.MaxBytes, o.GzipLevel = 20_000, 1000, 0
	s := openUnsynced(t, o)
	defer s.Close()
	failing(s, "rename", outboxDir, 1<<30)
	for n := range 100 {
		if err := s.Append(batchOf(uint64(n), strings.Repeat("x", 1000))); errors.Is(err, ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		_, _ = s.sealDue(t.Context())
	}
	var size int64
	if err := walk(s.path(sealingDir), func(_ string, st fs.FileInfo) { size += st.Size() }); err != nil {
		t.Fatal(err)
	}
	if size > o.Limit+2000 || s.Stats().UsedBytes < size {
		t.Errorf("%d bytes in sealing/ and %d counted, the limit is %d", size, s.Stats().UsedBytes, o.Limit)
	}
}

func TestSentGivesWayByWhatIsThere(t *testing.T) {
	s, sent := delivered(t, 3)
	for _, obj := range sent[:2] { // by hand
		if err := os.Remove(s.path(sentDir, obj.file())); err != nil {
			t.Fatal(err)
		}
	}
	s.opt.Limit = sent[2].Size + s.Stats().UsedBytes + 10
	s.trimSent()
	if left, _ := s.InBucket(); len(left) != 1 || s.sent != sent[2].Size {
		t.Errorf("%v left, %d bytes counted: want the object that has room", left, s.sent)
	}
}

func TestOnAFullDiskSentGivesWayToSealing(t *testing.T) {
	s, _ := delivered(t, 3)
	mustAppend(t, s, batchOf(2, "x", "y"))
	create := s.write
	s.write = func(f *os.File, b []byte) (int, error) {
		if strings.HasSuffix(f.Name(), ".tmp") && s.sent > 0 {
			return 0, syscall.ENOSPC
		}
		return create(f, b)
	}
	for range 3 {
		_, _ = s.sealDue(t.Context())
	}
	if s.Waiting() == 0 || s.sent > 0 {
		t.Errorf("%d objects wait and %d bytes are in sent/: want room made", s.Waiting(), s.sent)
	}
}

func TestAChunkIsKnownThoughTheClockJumped(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a"))
	s.recent[0].at -= int64(2 * time.Minute) // as put notes it with a clock that was behind until now
	s.current.opened = time.Now().Add(-24 * time.Hour)
	sealNow(t, s)
	crashed(t, s)
	s = mustOpen(t, o)
	defer s.Close()
	if again, err := s.Redelivered(Source{1, 1}); !again || err != nil {
		t.Errorf("got %v, %v for what was accepted right before the crash", again, err)
	}
}

func TestARejectBehindARetryThatDiedIsDurable(t *testing.T) {
	for seed := range uint64(20) {
		d := newDisk(t, rand.New(rand.NewPCG(seed, 1)))
		s := d.spool(testOptions(""))
		if err := s.open(); err != nil {
			t.Fatal(err)
		}
		if err := s.Reject([]byte("\"x\"\n\"a\"\n")); err != nil {
			t.Fatal(err)
		}
		r := d.spool(testOptions(""))
		sync, rename, renamed := r.sync, r.rename, false
		r.rename = func(from, to string) error {
			renamed = renamed || strings.HasSuffix(to, ".ndjson")
			return rename(from, to)
		}
		r.sync = func(f *os.File) error {
			if renamed { // or it was killed there
				return syscall.EIO
			}
			return sync(f)
		}
		if n, err := r.retry("", upper); !errors.Is(err, syscall.EIO) || n != 1 {
			t.Fatalf("got %d objects, %v, want the one that is on its way", n, err)
		}
		if err := s.Reject([]byte("\"late\"\n")); err != nil {
			t.Fatal(err)
		}
		d.power = true
		d.die()
		_ = s.Close()
		s = d.next.spool(testOptions(""))
		if err := s.open(); err != nil {
			t.Fatal(err)
		}
		if left := rejectedOf(t, d.next.dir); !strings.Contains(left, "late") {
			t.Errorf("seed %d: an accepted reject is gone after a power cut, left %q", seed, left)
		}
		_ = s.Close()
		d.close()
		d.next.close()
	}
}
