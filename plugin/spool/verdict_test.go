package spool_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/spool"
)

// A round of the reporter lists sent/ long before it has read all reports; meanwhile room may have been made.
func TestWhatWasGivenUpMeanwhileIsNotCountedTwice(t *testing.T) {
	s, sent := delivered(t, 3)
	if err := errors.Join(s.Forget(sent[0]), s.Forget(sent[1])); err != nil {
		t.Fatal(err)
	}
	if err := s.Forget(sent[0]); err != nil {
		t.Errorf("got %v for what is gone already", err)
	}
	if err := s.KeepFailed(sent[1], []byte("no such meter")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that the object is gone", err)
	}
	if s.SentBytes() != sent[2].Size {
		t.Errorf("%d bytes counted in sent/, want the %d of the one that is left", s.SentBytes(), sent[2].Size)
	}
	if got := objectsIn(t, filepath.Join(s.Dir().Root, disk.Failed)); len(got) > 0 {
		t.Errorf("got %v in failed/, want no reason without its object", got)
	}
}

func TestOnlyAnObjectIsSentAgainOrDropped(t *testing.T) {
	s, sent := delivered(t, 2)
	for _, obj := range sent {
		if err := s.KeepFailed(obj, []byte("no such meter")); err != nil {
			t.Fatal(err)
		}
	}
	dir := s.Dir().Root
	if _, err := repair.Resend(dir, sent[0].Key); err != nil { // makes a journal
		t.Fatal(err)
	}
	left := strings.TrimPrefix(spool.AuditLog, disk.Failed+"/")
	for _, key := range []string{filepath.Dir(sent[1].Key), left, sent[1].Key + spool.ReasonSuffix, "../failed/" + sent[1].Key, "", "none.gz", sent[0].Key} {
		if _, err := repair.Resend(dir, key); err == nil || !strings.Contains(err.Error(), "want the key of an object in failed/") {
			t.Errorf("resend %q: got %v", key, err)
		}
		if err := repair.Drop(dir, key, "a test"); err == nil || !strings.Contains(err.Error(), "want the key of an object in failed/") {
			t.Errorf("drop %q: got %v", key, err)
		}
	}
	if refused, err := repair.Failed(dir); err != nil || len(refused) != 1 || refused[0].Key != sent[1].Key {
		t.Errorf("got %v, %v in failed/, want the second object", refused, err)
	}
	if err := repair.Drop(dir, sent[1].Key, "a test"); err != nil {
		t.Error(err)
	}
}

// The rename has happened: the caller has to know, since no later round finds the object in sent/.
func TestARefusalCountsThoughTheLastSyncFails(t *testing.T) {
	s, sent := delivered(t, 1)
	s.Dir().Sync = func(f *os.File) error {
		if _, err := os.Stat(s.Dir().Path(disk.Failed, sent[0].Key)); err == nil {
			return errors.New("a test")
		}
		return f.Sync()
	}
	if err := s.KeepFailed(sent[0], []byte("no such meter")); err != nil {
		t.Errorf("got %v", err)
	}
	if refused, _ := repair.Failed(s.Dir().Root); len(refused) != 1 {
		t.Errorf("got %v in failed/, want the object", refused)
	}
}

func TestAStopWaitsForNothingThatIsNotDueInTime(t *testing.T) {
	s, _ := delivered(t, 0)
	mustAppend(t, s, batchOf(2, "x"))
	sealNow(t, s)
	obj, err := s.Take(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	s.Return(obj, time.Now().Add(time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Empty(ctx); err != nil || ctx.Err() != nil {
		t.Errorf("got %v, %v, want it not to wait", err, ctx.Err())
	}
}

func TestWhatIsBeingRetriedIsCountedOnce(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	t.Cleanup(func() { _ = s.Close() })
	if err := reject(s, []byte("{\"id\":\"1\"}\n")); err != nil {
		t.Fatal(err)
	}
	sealAged(t, s)
	was := s.Stats().RejectedBytes
	if err := os.WriteFile(s.Dir().Path(disk.Rejected, ".retry-x"), make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	s.LookAside()
	if got := s.Stats().RejectedBytes; got != was || was == 0 {
		t.Errorf("%d bytes counted while a copy of them lies beside, want %d", got, was)
	}
	// A look that fails changes nothing.
	if err := os.Rename(s.Dir().Path(disk.Rejected), s.Dir().Path("elsewhere")); err != nil {
		t.Fatal(err)
	}
	s.LookAside()
	s.SetResendable(false) // as at a start
	s.LookAside()
	if got := s.Stats().RejectedBytes; got != was || !s.Resendable() {
		t.Errorf("%d bytes counted when rejected/ cannot be read, want %d still, and another look", got, was)
	}
	if err := os.Rename(s.Dir().Path("elsewhere"), s.Dir().Path(disk.Rejected)); err != nil {
		t.Fatal(err)
	}
}

func TestAnObjectThatIsBeingWrittenIsNoProblem(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	t.Cleanup(func() { _ = s.Close() })
	if err := os.WriteFile(s.Dir().Path(disk.Sealing, "123.tmp"), []byte("{\"half\":"), 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := repair.Files(s.Dir().Root)
	i := slices.IndexFunc(files, func(f repair.File) bool { return f.Dir == disk.Sealing })
	if err != nil || i < 0 {
		t.Fatalf("got %v, %v", files, err)
	}
	for _, each := range []func([]byte) error{nil, func([]byte) error { return nil }} {
		if n, problems, err := repair.Records(s.Dir().Root, files[i], each); n != 0 || len(problems) > 0 || err != nil {
			t.Errorf("got %d records, %v, %v, want nothing", n, problems, err)
		}
	}
}

// Whoever is stopped by a panic in here is caught further up and goes on; it must not hold the lock then.
func TestAPanicInTheSealerLeavesTheSpoolUsable(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	mustAppend(t, s, batchOf(1, "a"))
	write := s.Dir().Write
	s.Dir().Write = func(*os.File, []byte) (int, error) { panic("a test") }
	func() {
		defer func() { _ = recover() }()
		s.SetMaxAge(0)
		_, _ = s.Seal(context.Background())
		t.Error("no panic")
	}()
	s.Dir().Write = write
	done := make(chan struct{})
	go func() {
		defer close(done)
		mustAppend(t, s, batchOf(2, "b"))
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the spool is locked")
	}
	once(t, drained(t, s), "a", "b")
}
