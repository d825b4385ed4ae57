package tally

import (
	"fmt"
	"testing"
)

func TestATableKeepsTheOrderInWhichSumsBegin(t *testing.T) {
	table := NewTable(2)
	for range 2 { // the second time in the memory of the first
		for i := range 1000 {
			key := fmt.Append(nil, "key ", i%300)
			k, hash := table.Find(key)
			if k < 0 {
				k = table.Insert(key, hash)
			}
			if want := i % 300; k != want {
				t.Fatalf("key %d has the number %d", want, k)
			}
			big := Amount{units: maxInteger - 1}
			if begun := table.Add(k, 0, big, int64(1000-i)); begun == nil {
				t.Fatal("two sums of almost 2^53 became one")
			}
			if begun := table.Add(k, 1, Amount{units: 5, decimals: 1}, int64(i)); (begun != nil) != (i < 300) {
				t.Fatalf("record %d of the second meter: begun is %v", i, begun)
			}
		}
		sums := table.Sums()
		if len(sums) != 1300 {
			t.Fatalf("%d sums", len(sums))
		}
		if s := sums[1]; s.Key != 0 || s.Meter != 1 || s.Records != 4 || s.First != 0 || s.Last != 900 || string(s.Amount.Append(nil)) != "2" {
			t.Fatalf("%+v", s)
		}
		if s := sums[1299]; s.Key != 99 || s.Meter != 0 || s.Records != 1 {
			t.Fatalf("%+v", s)
		}
		table.Reset()
	}
}

func TestAKeyThatIsKnownDoesNotAllocate(t *testing.T) {
	table, key := NewTable(1), []byte("a key")
	_, hash := table.Find(key)
	table.Add(table.Insert(key, hash), 0, Amount{}, 0)
	if n := testing.AllocsPerRun(100, func() {
		k, _ := table.Find(key)
		table.Add(k, 0, Amount{units: 1, decimals: 2}, 1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
