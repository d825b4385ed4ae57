package spool_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/spool"
)

// testdata/version2 is what the version that wrote frames of version 2 left when it was killed: a sealed object, two logs that
// end within a frame whose other records moved on to the next log, a file of rejected records of a day, a retry of them that
// counts and one that was cut off. Chunks 1 to 5 were accepted shortly before.
func TestASpoolOfVersion2IsTakenOver(t *testing.T) {
	for _, crashes := range []int{0, 2} {
		for _, most := range []int{0, 2, 4} {
			t.Run(fmt.Sprintf("%d crashes, max_records %d", crashes, most), func(t *testing.T) {
				o := testOptions(filepath.Join(t.TempDir(), "spool"))
				o.Object.MaxRecords = most
				if err := os.CopyFS(o.Dir, os.DirFS("testdata/version2")); err != nil {
					t.Fatal(err)
				}
				s := mustOpen(t, o)
				for range crashes {
					crashed(t, s)
					s = mustOpen(t, o)
				}
				for chunk := range uint64(5) {
					if again, err := redelivered(s, journal.Source{Length: 1, Hash: chunk + 1}); !again || err != nil {
						t.Errorf("chunk %d comes again: got %v, %v, want it recognised", chunk+1, again, err)
					}
				}
				mustAppend(t, s, batchOf(6, "m"))
				if _, err := repair.Retry(o, "", func(line []byte) ([]byte, bool) {
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

// testdata/version3 is what the version that wrote frames of version 3 left when it was killed: a log that ends before a frame
// whose fsync failed, logs with records, rejects and damage, one of them with all that it was sealed to beside it, a log's
// objects and rejects that count and are not in their place yet, an object in each state, a retry of rejected records that
// counts, one that was cut off, a split that was, and a rescue that counts. All chunks were accepted within the last minute.
func TestASpoolOfVersion3IsTakenOver(t *testing.T) {
	for _, crashes := range []int{0, 2} {
		for _, most := range []int{0, 2, 4} {
			t.Run(fmt.Sprintf("%d crashes, max_records %d", crashes, most), func(t *testing.T) {
				o := testOptions(filepath.Join(t.TempDir(), "spool"))
				o.Object.MaxRecords = most
				if err := os.CopyFS(o.Dir, os.DirFS("testdata/version3")); err != nil {
					t.Fatal(err)
				}
				s := mustOpen(t, o)
				for range crashes {
					crashed(t, s)
					s = mustOpen(t, o)
				}
				for _, chunk := range []uint64{1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 20, 21, 22, 23} {
					if again, err := redelivered(s, journal.Source{Length: 1, Hash: chunk}); !again || err != nil {
						t.Errorf("chunk %d comes again: got %v, %v, want it recognised", chunk, again, err)
					}
				}
				if again, err := redelivered(s, journal.Source{Length: 1, Hash: 24}); again || err != nil {
					t.Errorf("a chunk that is new: got %v, %v", again, err)
				}
				mustAppend(t, s, batchOf(24, "u"))
				if sent, err := s.InBucket(); err != nil || len(sent) != 1 {
					t.Errorf("got %v, %v, want the object that waits for its verdict", sent, err)
				}
				if failed, err := repair.Failed(o.Dir); err != nil || len(failed) != 1 {
					t.Errorf("got %v, %v, want the failed object", failed, err)
				}
				want := map[string]int{"resent": 1, "waiting": 1, "rejected-10": 1, "whole-12-1": 1, "whole-12-2": 1, "whole-12-3": 1}
				for c := 'd'; c <= 'u'; c++ {
					want[string(c)] = 1
				}
				if got := namesIn(t, drained(t, s)); !maps.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
				want = map[string]int{"cut-off": 1, "x-stays": 1}
				for _, chunk := range []int{13, 14, 20, 22, 23} {
					want[fmt.Sprintf("rejected-%d", chunk)] = 1
				}
				if got := namesIn(t, map[string]string{"": rejectedOf(t, o.Dir)}); !maps.Equal(got, want) {
					t.Errorf("rejected/ has %v, want %v", got, want)
				}
				if b, err := os.ReadFile(filepath.Join(o.Dir, spool.AuditLog)); err != nil || strings.Count(string(b), "\n") != 3 {
					t.Errorf("got the audit log %q, %v, want what was failed/journal.ndjson", b, err)
				}
				if _, err := os.Stat(filepath.Join(o.Dir, "failed/journal.ndjson")); err == nil {
					t.Error("failed/journal.ndjson is still there")
				}
				for _, chunk := range []uint64{10, 13, 14, 20, 22, 23} {
					if b, err := os.ReadFile(filepath.Join(o.Dir, disk.Damaged, journal.Source{Length: 1, Hash: chunk}.DamageFile())); string(b) != fmt.Sprint("damage ", chunk) {
						t.Errorf("damage of chunk %d: got %q, %v", chunk, b, err)
					}
				}
				files, err := repair.Files(o.Dir)
				if err != nil {
					t.Fatal(err)
				}
				in := map[string]int{}
				for _, f := range files {
					if f.HasRecords() {
						in[f.Dir]++
					}
				}
				delete(in, disk.Outbox)
				delete(in, disk.Open)
				if want := map[string]int{disk.Sent: 1, disk.Failed: 1, disk.Rejected: 5, disk.Damaged: 6 + 2}; !maps.Equal(in, want) {
					t.Errorf("got files in %v, want %v", in, want)
				}
			})
		}
	}
}

// In testdata/version3 a retry and a split were cut off.
func TestAStartLeavesAloneWhatMeterctlIsAt(t *testing.T) {
	o := testOptions(filepath.Join(t.TempDir(), "spool"))
	if err := os.CopyFS(o.Dir, os.DirFS("testdata/version3")); err != nil {
		t.Fatal(err)
	}
	cutOff := func() (files int) {
		for _, pattern := range []string{"sealing/remap-019f5eaf*", "sealing/split-*", "damaged/.split-*"} {
			found, err := filepath.Glob(filepath.Join(o.Dir, pattern))
			if err != nil {
				t.Fatal(err)
			}
			files += len(found)
		}
		return files
	}
	was := cutOff()
	for _, dir := range []string{disk.Rejected, disk.Damaged} {
		if err := os.MkdirAll(filepath.Join(o.Dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		lock, err := disk.New(o.Dir).LockFor(dir, "tests")
		if err != nil {
			t.Fatal(err)
		}
		defer lock.Close()
	}
	s := mustOpen(t, o)
	if _, err := s.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := cutOff(); got != was || was != 5 {
		t.Errorf("%d of %d files are left of what is under way, want all 5", got, was)
	}
	crashed(t, s)
}
