package spool_test

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

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/disk/disktest"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/spool"
)

// Somebody reads "in use by process N", and removes LOCK.
func TestASpoolHasOneOwnerThoughItsLockWasRemoved(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a"))
	if err := os.Remove(s.Dir().Path("LOCK")); err != nil {
		t.Fatal(err)
	}
	if other, err := spool.Open(o); err == nil || !strings.Contains(err.Error(), "in use by another process") {
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
	if err := os.Symlink(t.TempDir(), filepath.Join(o.Dir, disk.Outbox)); err != nil {
		t.Fatal(err)
	}
	if _, err := spool.Open(o); err == nil || !strings.Contains(err.Error(), "got a link") {
		t.Errorf("got %v", err)
	}
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
	if err := reject(s, line); !errors.Is(err, journal.ErrFull) {
		t.Errorf("got %v, want it full", err)
	}
}

func TestAStopDoesNotWaitForAFrameThatIsSplit(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Object.MaxRecords = 1
	s := openUnsynced(t, o)
	defer s.Close()
	ctx, stop := context.WithCancel(t.Context())
	s.Dir().Sync = func(f *os.File) error {
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
	if _, err := s.Seal(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want it to end with its context", err)
	}
}

func TestARefusalDuringALookAsideIsSeen(t *testing.T) {
	s, sent := delivered(t, 1)
	for i := range 3000 { // slows the look
		if err := os.WriteFile(s.Dir().Path(disk.Rejected, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		s.LookAside()
	}()
	time.Sleep(2 * time.Millisecond)
	if err := s.KeepFailed(sent[0], []byte("no such meter")); err != nil {
		t.Fatal(err)
	}
	<-looked
	if got := s.Stats().FailedBytes; got != sent[0].Size || !s.Resendable() {
		t.Errorf("%d bytes in failed/, another look %v: want the object seen", got, s.Resendable())
	}
}

func TestWhatCannotBePublishedCountsAgainstTheLimit(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Limit, o.MaxBytes, o.Object.GzipLevel = 20_000, 1000, 0
	s := openUnsynced(t, o)
	defer s.Close()
	disktest.Failing(s.Dir(), "rename", disk.Outbox, 1<<30)
	for n := range 100 {
		if err := add(s, batchOf(uint64(n), strings.Repeat("x", 1000))); errors.Is(err, journal.ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		_, _ = s.Seal(t.Context())
	}
	var size int64
	if err := disk.Walk(s.Dir().Path(disk.Sealing), func(_ string, st fs.FileInfo) { size += st.Size() }); err != nil {
		t.Fatal(err)
	}
	if size > o.Limit+2000 || s.Stats().UsedBytes < size {
		t.Errorf("%d bytes in sealing/ and %d counted, the limit is %d", size, s.Stats().UsedBytes, o.Limit)
	}
}

func TestSentGivesWayByWhatIsThere(t *testing.T) {
	s, sent := delivered(t, 3)
	for _, obj := range sent[:2] { // by hand
		if err := os.Remove(s.Dir().Path(disk.Sent, obj.File())); err != nil {
			t.Fatal(err)
		}
	}
	s.SetLimit(sent[2].Size + s.Stats().UsedBytes + 10)
	s.TrimSent()
	if left, _ := s.InBucket(); len(left) != 1 || s.SentBytes() != sent[2].Size {
		t.Errorf("%v left, %d bytes counted: want the object that has room", left, s.SentBytes())
	}
}

func TestOnAFullDiskSentGivesWayToSealing(t *testing.T) {
	s, _ := delivered(t, 3)
	mustAppend(t, s, batchOf(2, "x", "y"))
	create := s.Dir().Write
	s.Dir().Write = func(f *os.File, b []byte) (int, error) {
		if strings.HasSuffix(f.Name(), ".tmp") && s.SentBytes() > 0 {
			return 0, syscall.ENOSPC
		}
		return create(f, b)
	}
	for range 3 {
		_, _ = s.Seal(t.Context())
	}
	if s.Waiting() == 0 || s.SentBytes() > 0 {
		t.Errorf("%d objects wait and %d bytes are in sent/: want room made", s.Waiting(), s.SentBytes())
	}
}

func TestRejectsAndDamageBecomeFilesWithTheirLogAndNotBefore(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxAge = time.Minute
	s := mustOpen(t, o)
	mustAppend(t, s, &chunkOf{source: journal.Source{Length: 1, Hash: 1}, rejects: []byte("\"a\"\n\"b\"\n")})
	mustAppend(t, s, &chunkOf{source: journal.Source{Length: 1, Hash: 2}, damage: []byte("\xc1x")})
	if got := rejectedOf(t, o.Dir); got != "" {
		t.Errorf("got %q before the seal", got)
	}
	if st := s.Stats(); st.RejectedBytes != 8 || st.WaitingRecords != 0 || !st.OldestWaiting.IsZero() {
		t.Errorf("got %+v, want 8 bytes of rejects, and nothing that waits for the bucket", st)
	}
	files, err := repair.Files(o.Dir)
	i := slices.IndexFunc(files, func(f repair.File) bool { return f.Dir == disk.Rejected })
	if err != nil || i < 0 {
		t.Fatalf("got %v, %v, want what the log has of rejects", files, err)
	}
	var shown []byte
	n, problems, err := repair.Records(o.Dir, files[i], func(line []byte) error { shown = append(append(shown, line...), '\n'); return nil })
	if want := "\"a\"\n\"b\"\n"; n != 2 || len(problems) > 0 || err != nil || string(shown) != want || files[i].Bytes != int64(len(want)) {
		t.Errorf("%s: got %d, %v, %v, %q", files[i].Path, n, problems, err, shown)
	}
	sealAged(t, s)
	day := time.Now().UTC().Format(time.DateOnly)
	if files, _ := filepath.Glob(s.Dir().Path(disk.Rejected, day, "*.ndjson")); len(files) != 1 || rejectedOf(t, o.Dir) != "\"a\"\n\"b\"\n" {
		t.Errorf("got %v with %q, want one file of today", files, rejectedOf(t, o.Dir))
	}
	if b, err := os.ReadFile(s.Dir().Path(disk.Damaged, journal.Source{Length: 1, Hash: 2}.DamageFile())); err != nil || string(b) != "\xc1x" {
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

func TestRejectsThatHaveNoRoomCanBeGivenUp(t *testing.T) {
	o := testOptions(t.TempDir())
	o.RejectLimit = 10
	s := mustOpen(t, o)
	mustAppend(t, s, &chunkOf{source: journal.Source{Length: 1, Hash: 1}, rejects: []byte("\"first\"\n")})
	b := batchOf(2, "a")
	b.rejects = []byte("\"second\"\n")
	tx, err := b.begin(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); !errors.Is(err, journal.ErrRejectsFull) || !errors.Is(err, journal.ErrFull) {
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
