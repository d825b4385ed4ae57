package spool

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// testdata/version2 is what the version that wrote frames of version 2 left when it was killed: a sealed object, two logs that
// end within a frame whose other records moved on to the next log, a file of rejected records of a day, a retry of them that
// counts and one that was cut off. Chunks 1 to 5 were accepted shortly before.
func TestASpoolOfVersion2IsTakenOver(t *testing.T) {
	for _, crashes := range []int{0, 2} {
		for _, most := range []int{0, 2, 4} {
			t.Run(fmt.Sprintf("%d crashes, max_records %d", crashes, most), func(t *testing.T) {
				o := testOptions(filepath.Join(t.TempDir(), "spool"))
				o.MaxRecords = most
				if err := os.CopyFS(o.Dir, os.DirFS("testdata/version2")); err != nil {
					t.Fatal(err)
				}
				s := mustOpen(t, o)
				for range crashes {
					crashed(t, s)
					s = mustOpen(t, o)
				}
				for chunk := range uint64(5) {
					if again, err := redelivered(s, Source{1, chunk + 1}); !again || err != nil {
						t.Errorf("chunk %d comes again: got %v, %v, want it recognised", chunk+1, again, err)
					}
				}
				mustAppend(t, s, batchOf(6, "m"))
				if _, err := Retry(o, "", func(line []byte) ([]byte, bool) {
					if strings.Contains(string(line), `"x-`) {
						return nil, true
					}
					return append(line[:len(line):len(line)], '\n'), false
				}); err != nil {
					t.Fatal(err)
				}
				want := map[string]int{"retried": 1, "rejected": 1, "again": 1}
				for c := 'a'; c <= 'm'; c++ {
					want[string(c)] = 1
				}
				if got := namesIn(t, drained(t, s)); !maps.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
				if left := rejectedOf(t, o.Dir); strings.Count(left, "\n") != 1 || !strings.Contains(left, "x-stays") {
					t.Errorf("left %q, want the one that stays", left)
				}
			})
		}
	}
}
