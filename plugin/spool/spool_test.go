package spool_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"out_amberflo/plugin/disk/disktest"
	"out_amberflo/plugin/journal"
)

func TestAnObjectHoldsItsRecordsUnderTheIDOfItsKey(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	mustAppend(t, s, begun(t, s, 1, "a", "b"))
	mustAppend(t, s, begun(t, s, 2, "c"))
	objects := drained(t, s)
	if len(objects) != 1 {
		t.Fatalf("got %d objects, want 1", len(objects))
	}
	for key, text := range objects {
		id := strings.TrimSuffix(filepath.Base(key), ".gz")
		want := fmt.Sprintf("{\"name\":\"a\",\"uniqueId\":\"%[1]s-0\"}\n{\"name\":\"b\",\"uniqueId\":\"%[1]s-1\"}\n{\"name\":\"c\",\"uniqueId\":\"%[1]s-2\"}\n", id)
		if text != want {
			t.Errorf("got %s, want %s", text, want)
		}
	}
}

// Some come to nothing, some end in another order than they began.
func TestNoUniqueIDIsGivenTwice(t *testing.T) {
	s := openUnsynced(t, testOptions(disktest.MemoryDir(t)))
	_ = begun(t, s, 1, "lost")
	first, second, third := begun(t, s, 2, "a", "b"), begun(t, s, 3, "c"), begun(t, s, 4, "d")
	mustAppend(t, s, third)
	mustAppend(t, s, begun(t, s, 5, "e"))
	mustAppend(t, s, first)
	mustAppend(t, s, begun(t, s, 6, "f"))
	mustAppend(t, s, second)
	mustAppend(t, s, begun(t, s, 7))
	mustAppend(t, s, begun(t, s, 8, "g", "h", "i", "j", "k"))
	ids := map[string]bool{}
	for _, text := range drained(t, s) {
		for line := range strings.Lines(text) {
			_, id, _ := strings.Cut(line, `,"uniqueId":`)
			ids[id] = true
		}
	}
	if len(ids) != 11 {
		t.Errorf("11 records have the ids %v", slices.Collect(maps.Keys(ids)))
	}
}

func TestWhatWasAcceptedSurvivesACrash(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a", "b"))
	crashed(t, s)
	s = mustOpen(t, o)
	mustAppend(t, s, batchOf(2, "c"))
	if got := namesIn(t, drained(t, s)); len(got) != 3 || got["a"] != 1 || got["b"] != 1 || got["c"] != 1 {
		t.Errorf("got %v, want a, b and c once", got)
	}
}

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

func TestAChunkIsRecognisedWhenItsLogIsSealedAndGone(t *testing.T) {
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

func TestNoObjectHoldsMoreThanMaxRecords(t *testing.T) {
	names := func(from, n int) (s []string) {
		for i := range n {
			s = append(s, fmt.Sprint(from+i))
		}
		return s
	}
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash %v", crash), func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.Object.MaxRecords = 1000
			s := mustOpen(t, o)
			mustAppend(t, s, batchOf(1, names(0, 900)...))
			mustAppend(t, s, batchOf(2, names(900, 900)...))
			mustAppend(t, s, batchOf(3, names(1800, 700)...))
			mustAppend(t, s, batchOf(4, names(2500, 2500)...))
			if crash {
				crashed(t, s)
				s = mustOpen(t, o)
			}
			objects := drained(t, s)
			if len(objects) != 6 { // three of one chunk, and those of the large one
				t.Errorf("got %d objects, want 6", len(objects))
			}
			for _, text := range objects {
				if n := strings.Count(text, "\n"); n > 1000 {
					t.Errorf("got an object of %d records, want at most 1000", n)
				}
			}
			got := namesIn(t, objects)
			for i := range 5000 {
				if got[fmt.Sprint(i)] != 1 {
					t.Fatalf("record %d stands %d times, want once", i, got[fmt.Sprint(i)])
				}
			}
			ids := map[string]bool{}
			for _, text := range objects {
				for line := range strings.Lines(text) {
					ids[line[strings.Index(line, "uniqueId"):]] = true
				}
			}
			if len(ids) != 5000 {
				t.Errorf("got %d unique ids, want 5000", len(ids))
			}
		})
	}
}

func TestFlushesAtOnceGiveEachRecordAnIDOfItsOwn(t *testing.T) {
	o := testOptions(disktest.MemoryDir(t))
	o.Object.MaxRecords, o.MinBlock = 7, 100
	s := openUnsynced(t, o)
	const workers, batches = 8, 40
	var flushes sync.WaitGroup
	for w := range workers {
		flushes.Go(func() {
			for i := range batches {
				var names []string
				for k := range i % 11 {
					names = append(names, fmt.Sprintf("%d.%d.%d", w, i, k))
				}
				if err := add(s, begun(t, s, uint64(w*batches+i), names...)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	flushes.Wait()
	records := 0
	for i := range batches {
		records += workers * (i % 11)
	}
	names, ids := map[string]int{}, map[string]int{}
	for key, text := range drained(t, s) {
		if n := strings.Count(text, "\n"); n > 7 {
			t.Errorf("%s has %d records", key, n)
		}
		for line := range strings.Lines(text) {
			name, id, _ := strings.Cut(line, `,"uniqueId":`)
			names[name]++
			ids[id]++
		}
	}
	if len(names) != records || len(ids) != records {
		t.Errorf("got %d records with %d ids, want %d", len(names), len(ids), records)
	}
}
