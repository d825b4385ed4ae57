package spool_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/spool"
)

// sentIn are the keys of all that lies in sent/, the longest there first.
func sentIn(t *testing.T, s *spool.Spool) (keys []string) {
	t.Helper()
	objects, err := spool.List(s.Dir(), disk.Sent)
	if err != nil {
		t.Fatal(err)
	}
	for _, obj := range objects {
		keys = append(keys, obj.Key)
	}
	return keys
}

func waiting(t *testing.T, s *spool.Spool) int {
	t.Helper()
	objects, err := s.InBucket()
	if err != nil {
		t.Fatal(err)
	}
	return len(objects)
}

func TestForAnAuditObjectsAreKeptBeyondTheirVerdictAndOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(t.TempDir())
		o.Retention = 10 * 24 * time.Hour
		o.Object.MaxRecords = 1
		s := openUnsynced(t, o)
		s.KeepSent(true)
		mustAppend(t, s, batchOf(1, "a", "b", "c"))
		sealNow(t, s)
		for range 3 {
			if err := s.Sent(taken(t, s)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		sent, err := s.InBucket()
		if err != nil || len(sent) != 3 {
			t.Fatalf("got %v, %v, want three that wait", sent, err)
		}
		if err := errors.Join(s.Forget(sent[0]), s.Forget(sent[1])); err != nil {
			t.Fatal(err)
		}
		if kept, n := sentIn(t, s), waiting(t, s); len(kept) != 3 || n != 1 {
			t.Errorf("%d lie there and %d wait, want 3 and 1", len(kept), n)
		}
		size := s.SentBytes()
		crashed(t, s)
		s = openUnsynced(t, o)
		defer func() { _ = s.Close() }()
		if kept, n := sentIn(t, s), waiting(t, s); len(kept) != 3 || n != 1 || s.SentBytes() != size || s.Stats().SentBytes != size {
			t.Errorf("after a restart %d of %d bytes lie there and %d wait, want 3 of %d and 1", len(kept), s.SentBytes(), n, size)
		}
		sealNow(t, s)
		time.Sleep(10*24*time.Hour - 2*time.Hour)
		next, err := s.Seal(t.Context())
		if err != nil || len(sentIn(t, s)) != 3 || next > time.Hour {
			t.Errorf("got %v, %v, the next look in %s, before the end of the retention", sentIn(t, s), err, next)
		}
		time.Sleep(2*time.Hour + time.Minute)
		sealNow(t, s)
		if left := sentIn(t, s); len(left) != 1 || left[0] != sent[2].Key {
			t.Errorf("%v are left, want %s, whose verdict is waited for still", left, sent[2].Key)
		}
		if err := s.Forget(sent[2]); err != nil {
			t.Fatal(err)
		}
		if left := sentIn(t, s); len(left) != 0 || s.SentBytes() != 0 {
			t.Errorf("%v are left of %d bytes, want nothing", left, s.SentBytes())
		}
		time.Sleep(2 * time.Hour)
		sealNow(t, s)
		if next, _ := s.Seal(t.Context()); next != 0 {
			t.Errorf("nothing is kept, and the next look is in %s", next)
		}
	})
}

// Without a verdict there is nothing to wait for.
func TestForAnAuditObjectsAreKeptThoughNobodyWaitsForAVerdict(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Retention = time.Hour
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a"))
	sealAged(t, s)
	if err := s.Sent(taken(t, s)); err != nil {
		t.Fatal(err)
	}
	s.ForgetAll()
	if kept, n := sentIn(t, s), waiting(t, s); len(kept) != 1 || n != 0 {
		t.Errorf("%v lie there and %d wait, want one and none", kept, n)
	}
	select {
	case <-s.Uploaded():
		t.Error("somebody is told to look for its verdict")
	default:
	}
	crashed(t, s)
	o.Retention = 0 // the option is gone, and with it what it kept
	s = mustOpen(t, o)
	defer s.Close()
	sealNow(t, s)
	if left := sentIn(t, s); len(left) > 0 || s.SentBytes() != 0 {
		t.Errorf("got %v left, %d bytes", left, s.SentBytes())
	}
}

func TestWhatIsKeptForAnAuditGivesWayTheOldestFirst(t *testing.T) {
	s := manyKept(t, 2500)
	text := s.log
	per := s.SentBytes() / 2500
	for _, step := range []struct{ left, lines int }{{2490, 1}, {1300, 1}, {100, 1}, {0, 1}} {
		s.SetLimit(s.Stats().UsedBytes + int64(step.left)*per)
		s.TrimSent()
		keys := sentIn(t, s.Spool)
		if len(keys) != step.left || s.SentBytes() != int64(step.left)*per {
			t.Fatalf("%d are left, %d bytes counted, want %d of %d", len(keys), s.SentBytes(), step.left, int64(step.left)*per)
		}
		if step.left > 0 && keys[0] != fmt.Sprintf("ingest/%05d.gz", 2500-step.left) {
			t.Errorf("%s is the oldest that is left of %d", keys[0], step.left)
		}
		if got := strings.Count(text.String(), "in the bucket for an audit: the oldest is given up"); got != step.lines {
			t.Errorf("%d lines, want %d:\n%s", got, step.lines, text)
		}
	}
	if strings.Contains(text.String(), "until its verdict") {
		t.Errorf("no verdict was waited for:\n%s", text)
	}
}

func TestOnAFullDiskNoMoreThanTheOldestHalfGivesWayAtOnce(t *testing.T) {
	s := manyKept(t, 100)
	mustAppend(t, s.Spool, batchOf(1, "a"))
	full := true
	create := s.Dir().Write
	s.Dir().Write = func(f *os.File, b []byte) (int, error) {
		if full && strings.HasSuffix(f.Name(), ".tmp") {
			return 0, syscall.ENOSPC
		}
		return create(f, b)
	}
	s.SetMaxAge(0)
	_, _ = s.Seal(t.Context())
	full = false
	sealNow(t, s.Spool)
	if keys := sentIn(t, s.Spool); len(keys) != 50 || keys[0] != "ingest/00050.gz" || s.Waiting() != 1 {
		t.Errorf("%d are left, and %d sealed, want the younger 50 and one", len(keys), s.Waiting())
	}
}

func TestAnObjectThatIsKeptTakesNoMemory(t *testing.T) {
	s := manyKept(t, 20_000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if n := waiting(t, s.Spool); n != 0 {
		t.Fatalf("%d wait for a verdict", n)
	}
	sealNow(t, s.Spool)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 500_000 {
		t.Errorf("%d bytes in memory for 20,000 objects that are kept", grown)
	}
}

type kept struct {
	*spool.Spool
	log fmt.Stringer
}

// manyKept gives a spool with n objects that are kept for an audit, each a second younger than the one before.
func manyKept(t *testing.T, n int) kept {
	t.Helper()
	o := testOptions(t.TempDir())
	o.Retention = 30 * 24 * time.Hour
	text := logged(&o)
	if err := os.MkdirAll(o.Dir+"/sent/ingest", 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		file := fmt.Sprintf("%s/sent/ingest/%05d.gz", o.Dir, i)
		at := time.Now().Add(-24*time.Hour + time.Duration(i)*time.Second)
		if err := errors.Join(os.WriteFile(file, []byte("an object"), 0o400), os.Chtimes(file, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	s := mustOpen(t, o)
	t.Cleanup(func() { _ = s.Close() })
	return kept{s, text}
}
