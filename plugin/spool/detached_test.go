package spool_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/journal"
)

func TestALogThatSomebodyRemovesIsSaidAndNoChunkGoesIntoIt(t *testing.T) {
	for _, goesOn := range []bool{true, false} {
		o := testOptions(t.TempDir())
		text := logged(&o)
		s := mustOpen(t, o)
		mustAppend(t, s, begun(t, s, 1, "a", "b"))
		logs, err := filepath.Glob(s.Dir().Path(disk.Open, "*.log"))
		if err != nil || len(logs) != 1 {
			t.Fatal(logs, err)
		}
		if err := os.Remove(logs[0]); err != nil {
			t.Fatal(err)
		}
		if goesOn {
			mustAppend(t, s, begun(t, s, 2, "c"))
			sealNow(t, s)
		}
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(text.String(), "a segment is gone from open/"); n != 1 || !strings.Contains(text.String(), "records=2") {
			t.Errorf("goes on %v: want the loss of two records said once:\n%s", goesOn, text)
		}
		if n := s.Stats().LostRecords; n != 2 {
			t.Errorf("goes on %v: %d lost records counted, want 2", goesOn, n)
		}
		want := 0
		if goesOn {
			want = 1
		}
		if s.Waiting() != want {
			t.Errorf("goes on %v: %d objects wait, want %d", goesOn, s.Waiting(), want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoChunkIsAcceptedIntoADirectoryThatIsGone(t *testing.T) {
	for name, replace := range map[string]func(t *testing.T, dir string){
		"removed": func(*testing.T, string) {},
		"another in its place": func(t *testing.T, dir string) {
			other := mustOpen(t, testOptions(dir))
			mustAppend(t, other, begun(t, other, 9, "theirs"))
			if err := other.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := other.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, disk.Outbox), filepath.Join(dir, disk.Sent, "x")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "spool")
			o := testOptions(dir)
			text := logged(&o)
			s := mustOpen(t, o)
			mustAppend(t, s, begun(t, s, 1, "a"))
			away := dir + "-away"
			if err := os.Rename(dir, away); err != nil {
				t.Fatal(err)
			}
			replace(t, dir)
			listing := func() (all []string) {
				_ = filepath.Walk(dir, func(path string, _ os.FileInfo, _ error) error {
					all = append(all, path)
					return nil
				})
				return all
			}
			before := listing()
			const want = "is not the directory that was opened"
			if _, err := s.Begin(journal.Source{}, 1); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want the chunk refused", err)
			}
			s.SetMaxAge(0)
			if _, err := s.Seal(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("sealing: got %v", err)
			}
			if _, err := s.InBucket(); err == nil {
				t.Error("want nothing listed that is another's")
			}
			if _, err := s.Salt(); err == nil {
				t.Error("want no id of another")
			}
			if now := listing(); strings.Join(now, " ") != strings.Join(before, " ") {
				t.Errorf("it touched what is another's: %v, before %v", now, before)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(away, dir); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, s, begun(t, s, 2, "b"))
			if err := s.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s.Waiting() != 1 || strings.Contains(text.String(), "gone") {
				t.Errorf("%d objects wait, want one with both records; log:\n%s", s.Waiting(), text)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAnObjectThatTheDiskLostIsNotUploaded(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	mustAppend(t, s, begun(t, s, 1, "a"))
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := s.Dir().Root
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := disk.Walk(filepath.Join(dir, disk.Outbox), func(path string, _ os.FileInfo) {
		if err := os.Truncate(filepath.Join(dir, disk.Outbox, path), 0); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, testOptions(dir))
	defer s.Close()
	obj, err := s.Take(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(obj); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("got %v", err)
	}
	s.Return(obj, time.Time{})
}

func TestTheLimitIsWhatTheDiskHasRoomForIfThatIsLess(t *testing.T) {
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

// A folder may get another number though it is the same: then ID tells.
func TestTheDirectoryIsKnownByItsID(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	salt, err := s.Salt()
	if err != nil || salt == 0 {
		t.Fatal(salt, err)
	}
	if again, err := s.Salt(); again != salt || err != nil {
		t.Errorf("got %x, then %x, %v", salt, again, err)
	}
	mustAppend(t, s, begun(t, s, 1, "a"))
	other := s.Dir().Path("x")
	if err := os.CopyFS(other, os.DirFS(s.Dir().Path(disk.Open))); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(s.Dir().Path(disk.Open)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, s.Dir().Path(disk.Open)); err != nil {
		t.Fatal(err)
	}
	if err := s.Dir().Attached(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(s.Dir().Path("ID"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Dir().Attached(); err == nil {
		t.Error("want another spool told")
	}
	if again, err := s.Salt(); again != salt || err != nil {
		t.Errorf("got %x, then %x, %v", salt, again, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Between the removal of a log and the publication of its objects, their room is not to be given away.
func TestASealGivesNoRoomAway(t *testing.T) {
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

func TestAStopWithoutItsDirectorySaysSo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := mustOpen(t, testOptions(dir))
	mustAppend(t, s, begun(t, s, 1, "a"))
	if err := os.Rename(dir, dir+"-away"); err != nil {
		t.Fatal(err)
	}
	if err := s.Drain(t.Context()); err == nil || !strings.Contains(err.Error(), "is not the directory that was opened") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("it made the directory again: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, testOptions(dir+"-away")) // nothing is lost when it is back
	defer s.Close()
	if st := s.Stats(); st.WaitingRecords != 1 {
		t.Errorf("%d records wait, want 1", st.WaitingRecords)
	}
}
