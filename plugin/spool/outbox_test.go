package spool_test

import (
	"testing"
	"time"

	"out_amberflo/plugin/spool"
)

func TestAnObjectThatComesBackKeepsItsPlace(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Object.MaxRecords = 1
	s := mustOpen(t, o)
	for range 3 {
		b := &chunkOf{records: 1}
		b.lines = append(b.lines, "{}\n"...)
		if err := add(s, b); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) // file systems count time in ticks
		if _, err := s.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	take := func(newest bool) spool.Object {
		t.Helper()
		obj, err := s.Take(t.Context(), newest)
		if err != nil {
			t.Fatal(err)
		}
		return obj
	}
	oldest := take(false)
	s.Return(oldest, time.Time{})
	newest := take(true)
	s.Return(newest, time.Time{})
	if got := s.Stats().OldestWaiting; !got.Equal(oldest.Since) {
		t.Errorf("the oldest waits since %s, want %s", got, oldest.Since)
	}
	for i, want := range []string{oldest.Key, "", newest.Key} {
		if got := take(false); want != "" && got.Key != want {
			t.Errorf("object %d is %s, want %s", i, got.Key, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
