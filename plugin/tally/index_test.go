package tally

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// What hashes alike in one index does not in another: keys cannot be made that slow all of them down.
func TestEachIndexHashesByASeedOfItsOwn(t *testing.T) {
	var a, b index
	same := 0
	for i := range 100 {
		key := fmt.Append(nil, "key ", i)
		_, x := a.find(key)
		if _, y := b.find(key); x == y {
			same++
		}
	}
	if same > 1 {
		t.Errorf("%d of 100 keys have the same hash in two indexes", same)
	}
}

func TestTheOrderOfWhatComesOutDoesNotDependOnTheSeed(t *testing.T) {
	var in []byte
	for i := range 2000 {
		in = append(in, partialLine(fmt.Sprint("c", i*7919%500), "", "1", at, at+5, 2, fmt.Sprint("u-", i))...)
	}
	var outs [2]bytes.Buffer
	for i := range outs {
		m := NewMerger(segment, func(line []byte, _ int64) error { outs[i].Write(line); return nil })
		m.MaxKeys = 300
		for part := range slices.Chunk(in, 1000+i) {
			if err := m.Add(width, part); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.End(); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(outs[0].Bytes(), outs[1].Bytes()) {
		t.Error("two mergers make other bytes of the same lines")
	}
}
