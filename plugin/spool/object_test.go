package spool_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"out_amberflo/plugin/object"
)

func TestEqualObjectsOfOneLogHaveKeysOfTheirOwnWithoutAUUID(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Object.MaxRecords = 2
	o.Object.Hash = true
	o.Object.Key = func(s object.Sealed) string {
		return fmt.Sprintf("%s-%x.gz", s.Opened.Format("15-04-05.000000000"), s.Sum[:4])
	}
	s := mustOpen(t, o)
	b := &chunkOf{records: 6}
	b.lines = append(b.lines, bytes.Repeat([]byte("{}\n"), 6)...)
	if err := errors.Join(add(s, b), s.Drain(t.Context())); err != nil {
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
