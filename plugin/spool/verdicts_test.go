package spool_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/repair"
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

func TestAFailedObjectDuringALookAsideIsSeen(t *testing.T) {
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

// The rename has happened: the caller has to know, since no later round finds the object in sent/.
func TestAFailedObjectCountsThoughTheLastSyncFails(t *testing.T) {
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
