package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
	if err := reject(s, line); err != nil {
		t.Errorf("rejected/ is empty, and still: %v", err)
	}
	if err := reject(s, line); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want it full", err)
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
		if err := add(s, batchOf(uint64(n), strings.Repeat("x", 1000))); errors.Is(err, ErrFull) {
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
	if again, err := redelivered(s, Source{1, 1}); !again || err != nil {
		t.Errorf("got %v, %v for what was accepted right before the crash", again, err)
	}
}

func TestRejectsAndDamageBecomeFilesWithTheirLogAndNotBefore(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxAge = time.Minute
	s := mustOpen(t, o)
	mustAppend(t, s, &content{source: Source{1, 1}, rejects: []byte("\"a\"\n\"b\"\n"), rejected: 2})
	mustAppend(t, s, &content{source: Source{1, 2}, damage: []byte("\xc1x")})
	if got := rejectedOf(t, o.Dir); got != "" {
		t.Errorf("got %q before the seal", got)
	}
	if st := s.Stats(); st.RejectedBytes != 8 || st.WaitingRecords != 0 || !st.OldestWaiting.IsZero() {
		t.Errorf("got %+v, want 8 bytes of rejects, and nothing that waits for the bucket", st)
	}
	files, err := Files(o.Dir)
	i := slices.IndexFunc(files, func(f File) bool { return f.Room == rejectedDir })
	if err != nil || i < 0 {
		t.Fatalf("got %v, %v, want what the log has of rejects", files, err)
	}
	var shown []byte
	n, problems, err := Records(o.Dir, files[i], func(line []byte) error { shown = append(append(shown, line...), '\n'); return nil })
	if want := "\"a\"\n\"b\"\n"; n != 2 || len(problems) > 0 || err != nil || string(shown) != want || files[i].Bytes != int64(len(want)) {
		t.Errorf("%s: got %d, %v, %v, %q", files[i].Path, n, problems, err, shown)
	}
	s.current.opened = s.current.opened.Add(-time.Minute)
	sealNow(t, s)
	day := time.Now().UTC().Format(time.DateOnly)
	if files, _ := filepath.Glob(s.path(rejectedDir, day, "*.ndjson")); len(files) != 1 || rejectedOf(t, o.Dir) != "\"a\"\n\"b\"\n" {
		t.Errorf("got %v with %q, want one file of today", files, rejectedOf(t, o.Dir))
	}
	if b, err := os.ReadFile(s.path(damagedDir, damageFile(Source{1, 2}))); err != nil || string(b) != "\xc1x" {
		t.Errorf("got %q, %v, want the bytes as they came", b, err)
	}
	if st := s.Stats(); st.RejectedBytes != 8 || s.Waiting() > 0 {
		t.Errorf("got %+v, want the 8 bytes counted once, and no object", st)
	}
	once(t, drained(t, s))
}

func TestRejectsThatAreNotAcceptedAreGone(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	failing(s, "sync", ".log", 1)
	b := batchOf(1, "a")
	b.rejects, b.rejected = []byte("\"x\"\n"), 1
	if err := add(s, b); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want the failure of the fsync", err)
	}
	mustAppend(t, s, b)
	once(t, drained(t, s), "a")
	if got := rejectedOf(t, o.Dir); got != "\"x\"\n" {
		t.Errorf("got %q, want it once", got)
	}
}

func TestRejectsThatHaveNoRoomCanBeGivenUp(t *testing.T) {
	o := testOptions(t.TempDir())
	o.RejectLimit = 10
	s := mustOpen(t, o)
	mustAppend(t, s, &content{source: Source{1, 1}, rejects: []byte("\"first\"\n"), rejected: 1})
	b := batchOf(2, "a")
	b.rejects, b.rejected = []byte("\"second\"\n"), 1
	tx, err := b.begin(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); !errors.Is(err, ErrRejectsFull) || !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want it to say that the rejects have no room", err)
	}
	tx.DropRejects()
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	once(t, drained(t, s), "a")
	if got := rejectedOf(t, o.Dir); got != "\"first\"\n" {
		t.Errorf("got %q, want the first", got)
	}
}

func TestEachRejectHasAnIDOfItsOwn(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	ids := map[string]bool{}
	n := 0
	for i := range 20 {
		tx, err := s.Begin(Source{1, 1}, 10)
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
