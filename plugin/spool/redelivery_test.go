package spool_test

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/disk/disktest"
	"out_amberflo/plugin/journal"
)

func TestAChunkThatComesAgainAfterACrashCountsOnce(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	offer := func(source uint64, name string) {
		t.Helper()
		again, err := redelivered(s, journal.Source{Length: 1, Hash: source})
		if err != nil {
			t.Fatal(err)
		}
		if !again {
			mustAppend(t, s, batchOf(source, name))
		}
	}
	offer(1, "equal") // two equal chunks, both acknowledged: both count
	offer(1, "equal")
	offer(2, "other")
	crashed(t, s)
	s = mustOpen(t, o)
	offer(1, "equal") // delivered again
	crashed(t, s)
	s = mustOpen(t, o)
	offer(1, "equal") // and again, for both of them
	offer(1, "equal")
	offer(1, "equal") // this one is new
	if got := namesIn(t, drained(t, s)); got["equal"] != 3 || got["other"] != 1 {
		t.Errorf("got %v, want equal 3 times and other once", got)
	}
	s = mustOpen(t, o)
	offer(1, "equal") // a clean stop leaves nothing that could come again
	if got := namesIn(t, drained(t, s)); got["equal"] != 4 {
		t.Errorf("got %v, want equal 4 times", got)
	}
}

func TestAChunkIsRecognisedWhenItsSegmentIsSealedAndGone(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxBytes = 1 // each append seals
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a"))
	if _, err := s.Seal(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := namesIn(t, outboxOf(t, o.Dir)); got["a"] != 1 {
		t.Fatalf("got %v, want a sealed", got)
	}
	crashed(t, s)
	s = mustOpen(t, o)
	if again, err := redelivered(s, journal.Source{Length: 1, Hash: 1}); !again || err != nil {
		t.Errorf("got %v, %v, want the chunk recognised", again, err)
	}
	drained(t, s)
}

func TestNoSegmentIsRemovedBeforeAnotherKnowsWhatItKnew(t *testing.T) {
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
