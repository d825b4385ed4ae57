package spool_test

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/disk/disktest"
	"out_amberflo/plugin/journal"
)

func TestRejectsLargerThanTheirLimitAreTakenAlone(t *testing.T) {
	o := testOptions(t.TempDir())
	o.RejectLimit = 1000
	s := mustOpen(t, o)
	defer s.Close()
	line := []byte("\"" + strings.Repeat("x", 2000) + "\"\n")
	if err := reject(s, line); err != nil {
		t.Errorf("rejected/ is empty, and still: %v", err)
	}
	if err := reject(s, line); !errors.Is(err, journal.ErrFull) {
		t.Errorf("got %v, want it full", err)
	}
}

func TestWhatCannotBePublishedCountsAgainstTheLimit(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Limit, o.MaxBytes, o.Object.GzipLevel = 20_000, 1000, 0
	s := openUnsynced(t, o)
	defer s.Close()
	disktest.Failing(s.Dir(), "rename", disk.Outbox, 1<<30)
	for n := range 100 {
		if err := add(s, batchOf(uint64(n), strings.Repeat("x", 1000))); errors.Is(err, journal.ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		_, _ = s.Seal(t.Context())
	}
	var size int64
	if err := disk.Walk(s.Dir().Path(disk.Sealing), func(_ string, st fs.FileInfo) { size += st.Size() }); err != nil {
		t.Fatal(err)
	}
	if size > o.Limit+2000 || s.Stats().UsedBytes < size {
		t.Errorf("%d bytes in sealing/ and %d counted, the limit is %d", size, s.Stats().UsedBytes, o.Limit)
	}
}

func TestSentGivesWayByWhatIsThere(t *testing.T) {
	s, sent := delivered(t, 3)
	for _, obj := range sent[:2] { // by hand
		if err := os.Remove(s.Dir().Path(disk.Sent, obj.File())); err != nil {
			t.Fatal(err)
		}
	}
	s.SetLimit(sent[2].Size + s.Stats().UsedBytes + 10)
	s.TrimSent()
	if left, _ := s.InBucket(); len(left) != 1 || s.SentBytes() != sent[2].Size {
		t.Errorf("%v left, %d bytes counted: want the object that has room", left, s.SentBytes())
	}
}

func TestOnAFullDiskSentGivesWayToSealing(t *testing.T) {
	s, _ := delivered(t, 3)
	mustAppend(t, s, batchOf(2, "x", "y"))
	create := s.Dir().Write
	s.Dir().Write = func(f *os.File, b []byte) (int, error) {
		if strings.HasSuffix(f.Name(), ".tmp") && s.SentBytes() > 0 {
			return 0, syscall.ENOSPC
		}
		return create(f, b)
	}
	for range 3 {
		_, _ = s.Seal(t.Context())
	}
	if s.Waiting() == 0 || s.SentBytes() > 0 {
		t.Errorf("%d objects wait and %d bytes are in sent/: want room made", s.Waiting(), s.SentBytes())
	}
}

// Where objects are not compressed, the ids that a flush puts in are most of what a short record becomes.
func TestTheLimitCountsWhatRecordsBecome(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Object.GzipLevel, o.Limit, o.MaxBytes = 0, 10_500, 1000
	s := mustOpen(t, o)
	accepted := 0
	for ; accepted < 1000; accepted++ {
		if err := add(s, batchOf(uint64(accepted), slices.Repeat([]string{"a"}, 20)...)); errors.Is(err, journal.ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		sealNow(t, s)
	}
	if used := s.Stats().UsedBytes; used > o.Limit || used < o.Limit/2 {
		t.Errorf("%d bytes after %d batches, want at most %d and more than half of that", used, accepted, o.Limit)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestTheLimitIsWhatTheDiskHasSpaceForIfThatIsLess(t *testing.T) {
	for limit, isDisk := range map[int64]bool{1 << 60: true, 1 << 10: false} {
		o := testOptions(t.TempDir())
		o.Limit = limit
		s := mustOpen(t, o)
		if st := s.Stats(); st.LimitBytes < limit != isDisk || st.LimitBytes < min(limit, st.UsedBytes) || st.LimitBytes > limit {
			t.Errorf("of %d: got %d, used %d", limit, st.LimitBytes, st.UsedBytes)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Between the removal of a log and the publication of its objects, their room is not to be given away.
func TestASealGivesNoSpaceAway(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	for i := range uint64(10) {
		mustAppend(t, s, begun(t, s, i, strings.Repeat("x", 50)))
	}
	limit := s.Stats().UsedBytes
	s.SetLimit(limit)
	rename, published := s.Dir().Rename, 0
	s.Dir().Rename = func(from, to string) error {
		if strings.Contains(to, "/"+disk.Outbox+"/") {
			published++
			if s.Space(1) == nil {
				t.Errorf("space for more while %s is published", to)
			}
		}
		return rename(from, to)
	}
	sealAged(t, s)
	if published != 1 {
		t.Errorf("%d objects were published, want 1", published)
	}
	if st := s.Stats(); s.StuckBytes() != 0 || st.UsedBytes > limit {
		t.Errorf("%d bytes still count as unpublished, %d of %d used", s.StuckBytes(), st.UsedBytes, limit)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestASealTakesNoSpaceWhileItsSegmentIsThere(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	mustAppend(t, s, batchOf(1, "a", "b"))
	used, write, sealed := int64(0), s.Dir().Write, false
	s.Dir().Write = func(f *os.File, b []byte) (int, error) {
		if strings.HasSuffix(f.Name(), ".log") { // of the segment that is begun
			used += int64(len(b))
		} else if got := s.Stats().UsedBytes; got != used {
			t.Errorf("%d bytes count while an object is written, want the %d of the segments", got, used)
		} else {
			sealed = true
		}
		return write(f, b)
	}
	used = s.Stats().UsedBytes
	if sealAged(t, s); !sealed {
		t.Error("no object was written")
	}
	crashed(t, s)
}

func TestRejectsThatHaveNoSpaceCanBeGivenUp(t *testing.T) {
	o := testOptions(t.TempDir())
	o.RejectLimit = 10
	s := mustOpen(t, o)
	mustAppend(t, s, &chunkOf{source: journal.Source{Length: 1, Hash: 1}, rejects: []byte("\"first\"\n")})
	b := batchOf(2, "a")
	b.rejects = []byte("\"second\"\n")
	tx, err := b.begin(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); !errors.Is(err, journal.ErrRejectsFull) || !errors.Is(err, journal.ErrFull) {
		t.Errorf("got %v, want it to say that the rejects have no room", err)
	}
	tx.DropRejects()
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	once(t, drained(t, s), "a")
	if got := rejectedOf(t, o.Dir); got != "\"first\"\n" {
		t.Errorf("got %q, want the first", got)
	}
}
