package spool

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"
)

func TestEqualObjectsOfOneLogHaveKeysOfTheirOwnWithoutAUUID(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxRecords = 2
	o.Hash = true
	o.Key = func(s Sealed) string {
		return fmt.Sprintf("%s-%x.gz", s.Opened.Format("15-04-05.000000000"), s.Sum[:4])
	}
	s := mustOpen(t, o)
	b := &Batch{Records: 6}
	b.SetBuffer(append(b.Buffer(), bytes.Repeat([]byte("{}\n"), 6)...))
	if err := errors.Join(s.Append(b), s.Drain(t.Context())); err != nil {
		t.Fatal(err)
	}
	last := ""
	for i := range 3 {
		if s.Waiting() == 0 {
			t.Fatalf("%d objects, want 3", i)
		}
		obj, err := s.Take(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		if obj.Key <= last {
			t.Errorf("object %d is called %s, want a later time than in %s", i, obj.Key, last)
		}
		last = obj.Key
		if err := s.Sent(obj); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestEachGeneratedIDHasTheNumberOfItsRecord(t *testing.T) {
	id := uuid.UUID{1}
	for _, first := range []int{0, 7, 95, 999_990} {
		var lines, want []byte
		for i := range 130 {
			if i%17 == 3 { // one with an id of its own
				lines = append(lines, "own\n"...)
				want = append(want, "own\n"...)
				continue
			}
			lines = append(lines, "id \x00.\n"...)
			want = fmt.Appendf(want, "id %s-%d.\n", id, first+i)
		}
		got, n := appendStamped([]byte("before "), lines, id, first)
		if string(got) != "before "+string(want) || n != first+130 {
			t.Errorf("from %d: got %q up to %d, want %q", first, got, n, want)
		}
	}
}
