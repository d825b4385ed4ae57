package spool_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"compress/gzip"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/disk/disktest"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/spool"
)

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

// gunzipped reads an object with the standard library, which did not write it. It must be one member and nothing else.
func gunzipped(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	in := bytes.NewReader(raw)
	gz, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	gz.Multistream(false)
	b, err := io.ReadAll(gz)
	if err != nil {
		t.Fatal(err)
	}
	if in.Len() > 0 || !gz.ModTime.IsZero() || gz.Name != "" || gz.Comment != "" || len(gz.Extra) > 0 {
		t.Errorf("%d bytes behind the first member, header %+v", in.Len(), gz.Header)
	}
	return string(b)
}

// Segments, lines, and segments that are divided stand in one object.
func TestAnObjectIsOneGzipMemberWhateverItIsMadeOf(t *testing.T) {
	for _, most := range []int{0, 7, 100} {
		t.Run(fmt.Sprintf("max_records %d", most), func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.Object.MaxRecords = most
			s := mustOpen(t, o)
			want := map[string]int{}
			for i := range 40 {
				var names []string
				for k := range i % 13 {
					names = append(names, fmt.Sprintf("%d.%d.%s", i, k, strings.Repeat("x", i*k)))
					want[names[k]] = 1
				}
				mustAppend(t, s, batchOf(uint64(i), names...))
			}
			drained(t, s)
			objects := map[string]string{}
			paths, err := filepath.Glob(filepath.Join(o.Dir, disk.Outbox, "*", "*", "*.gz"))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range paths {
				objects[path] = gunzipped(t, path)
			}
			if got := namesIn(t, objects); !maps.Equal(got, want) {
				t.Errorf("got %d records, want %d", len(got), len(want))
			}
		})
	}
}

func TestASegmentOfAnotherConfigurationIsSealedAsThisOneWants(t *testing.T) {
	shapes := map[string]func(*spool.Options){
		"gzip":            func(*spool.Options) {},
		"another level":   func(o *spool.Options) { o.Object.GzipLevel = 1 },
		"not compressed":  func(o *spool.Options) { o.Object.GzipLevel = 0 },
		"array":           func(o *spool.Options) { o.Object.JSONArray = true },
		"array, as it is": func(o *spool.Options) { o.Object.JSONArray, o.Object.GzipLevel = true, 0 },
		"few records":     func(o *spool.Options) { o.Object.MaxRecords = 2 },
	}
	for _, from := range slices.Sorted(maps.Keys(shapes)) {
		for _, to := range slices.Sorted(maps.Keys(shapes)) {
			t.Run(from+" to "+to, func(t *testing.T) {
				o := testOptions(disktest.MemoryDir(t))
				shapes[from](&o)
				s := openUnsynced(t, o)
				mustAppend(t, s, batchOf(1, "a", "b", "c"))
				mustAppend(t, s, batchOf(2))
				mustAppend(t, s, batchOf(3, "d"))
				crashed(t, s)
				o = testOptions(o.Dir)
				shapes[to](&o)
				o.Object.Key = func(s object.Sealed) string { return s.ID.String() }
				if o.Object.GzipLevel > 0 {
					o.Object.Key = func(s object.Sealed) string { return s.ID.String() + ".gz" }
				}
				s = openUnsynced(t, o)
				mustAppend(t, s, batchOf(4, "e"))
				names, ids := map[string]int{}, map[string]int{}
				for key, content := range drained(t, s) {
					content, isArray := strings.CutPrefix(content, "[")
					if isArray != o.Object.JSONArray {
						t.Errorf("%s is a JSON array: %v, want %v", key, isArray, o.Object.JSONArray)
					}
					if isArray {
						content = strings.ReplaceAll(strings.TrimSuffix(content, "]"), "},", "}\n")
					}
					for line := range strings.Lines(content) {
						var r struct{ Name, UniqueID string }
						if err := json.Unmarshal([]byte(line), &r); err != nil {
							t.Errorf("%s: %q: %v", key, line, err)
						}
						names[r.Name]++
						ids[r.UniqueID]++
					}
				}
				if want := map[string]int{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}; !maps.Equal(names, want) || len(ids) != 5 {
					t.Errorf("got %v with %d ids, want %v with an id each", names, len(ids), want)
				}
			})
		}
	}
}

// A record alone in a segment would take many times as much as among others.
func TestRecordsThatComeOneByOneAreCompressedTogether(t *testing.T) {
	size := func(batches, records int) (bytes int64) {
		o := testOptions(disktest.MemoryDir(t))
		o.MinBlock = 0 // the package's own
		s := openUnsynced(t, o)
		for i := range batches {
			var names []string
			for k := range records {
				names = append(names, fmt.Sprintf("customer-%d", i*records+k))
			}
			mustAppend(t, s, begun(t, s, uint64(i), names...))
		}
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		obj, err := s.Take(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return obj.Size
	}
	one, some, all := size(8000, 1), size(80, 100), size(2, 4000)
	if one > all*11/10 || some > all*11/10 {
		t.Errorf("8,000 records take %d bytes one by one, %d in hundreds and %d in two batches, want no tenth more", one, some, all)
	}
}

func TestEqualObjectsOfOneSegmentHaveKeysOfTheirOwnWithoutAUUID(t *testing.T) {
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

func TestAStopDoesNotWaitForAFrameThatIsSplit(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Object.MaxRecords = 1
	s := openUnsynced(t, o)
	defer s.Close()
	ctx, stop := context.WithCancel(t.Context())
	s.Dir().Sync = func(f *os.File) error {
		if strings.HasSuffix(f.Name(), ".tmp") { // the first object
			stop()
		}
		return nil
	}
	var names []string
	for i := range 500 {
		names = append(names, fmt.Sprint(i))
	}
	mustAppend(t, s, batchOf(1, names...))
	if _, err := s.Seal(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want it to end with its context", err)
	}
}

func TestRejectsAndDamageBecomeFilesWithTheirSegmentAndNotBefore(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxAge = time.Minute
	s := mustOpen(t, o)
	mustAppend(t, s, &chunkOf{source: journal.Source{Length: 1, Hash: 1}, rejects: []byte("\"a\"\n\"b\"\n")})
	mustAppend(t, s, &chunkOf{source: journal.Source{Length: 1, Hash: 2}, damage: []byte("\xc1x")})
	if got := rejectedOf(t, o.Dir); got != "" {
		t.Errorf("got %q before the seal", got)
	}
	if st := s.Stats(); st.RejectedBytes != 8 || st.WaitingRecords != 0 || !st.OldestWaiting.IsZero() {
		t.Errorf("got %+v, want 8 bytes of rejects, and nothing that waits for the bucket", st)
	}
	files, err := repair.Files(o.Dir)
	i := slices.IndexFunc(files, func(f repair.File) bool { return f.Dir == disk.Rejected })
	if err != nil || i < 0 {
		t.Fatalf("got %v, %v, want what the log has of rejects", files, err)
	}
	var shown []byte
	n, problems, err := repair.Records(o.Dir, files[i], func(line []byte) error { shown = append(append(shown, line...), '\n'); return nil })
	if want := "\"a\"\n\"b\"\n"; n != 2 || len(problems) > 0 || err != nil || string(shown) != want || files[i].Bytes != int64(len(want)) {
		t.Errorf("%s: got %d, %v, %v, %q", files[i].Path, n, problems, err, shown)
	}
	sealAged(t, s)
	day := time.Now().UTC().Format(time.DateOnly)
	if files, _ := filepath.Glob(s.Dir().Path(disk.Rejected, day, "*.ndjson")); len(files) != 1 || rejectedOf(t, o.Dir) != "\"a\"\n\"b\"\n" {
		t.Errorf("got %v with %q, want one file of today", files, rejectedOf(t, o.Dir))
	}
	if b, err := os.ReadFile(s.Dir().Path(disk.Damaged, journal.Source{Length: 1, Hash: 2}.DamageFile())); err != nil || string(b) != "\xc1x" {
		t.Errorf("got %q, %v, want the bytes as they came", b, err)
	}
	if st := s.Stats(); st.RejectedBytes != 8 || s.Waiting() > 0 {
		t.Errorf("got %+v, want the 8 bytes counted once, and no object", st)
	}
	once(t, drained(t, s))
}

func TestWhatIsSealedIsPublishedThoughNothingCanBeAccepted(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a"))
	disktest.Failing(s.Dir(), "rename", disk.Outbox, 9)
	if err := s.Drain(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want the failure of the rename", err)
	}
	crashed(t, s)
	o = onDisk(o)
	disktest.Failing(o.Disk, "write", ".log", 9)
	s = mustOpen(t, o)
	if _, err := s.Seal(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want a full disk", err)
	}
	once(t, outboxOf(t, o.Dir), "a")
	crashed(t, s)
}

func TestAnObjectStaysUntilTheRemovalOfItsSegmentIsDurable(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxBytes = 1
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a"))
	disktest.Failing(s.Dir(), "sync", "open|", 2)
	for range 2 {
		if _, err := s.Seal(t.Context()); !errors.Is(err, syscall.EIO) {
			t.Errorf("got %v, want the failure of the fsync", err)
		}
		once(t, outboxOf(t, s.Dir().Root))
	}
	sealNow(t, s)
	once(t, outboxOf(t, s.Dir().Root), "a")
	crashed(t, s)
}

func TestAnObjectStaysUntilTheRemovalOfItsSegmentIsDurableThoughNothingCanBeAccepted(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxBytes = 1
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a"))
	disktest.Failing(s.Dir(), "sync", "open|", 4) // one of them at the removal
	if _, err := s.Seal(t.Context()); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want the failure of the fsync", err)
	}
	disktest.Failing(s.Dir(), "sync", ".log", 1)
	if err := add(s, batchOf(2, "b")); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want the failure of the fsync, which ends the current segment", err)
	}
	if _, err := s.Seal(t.Context()); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want no segment to go on with", err)
	}
	once(t, outboxOf(t, s.Dir().Root))
	for range 2 {
		_, _ = s.Seal(t.Context())
	}
	once(t, outboxOf(t, s.Dir().Root), "a")
	crashed(t, s)
}

func TestADirectoryWhoseSyncFailedIsMadeAnew(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	synced := map[string]int{}
	fsync := s.Dir().Sync
	s.Dir().Sync = func(f *os.File) error {
		if synced[f.Name()]++; f.Name() == s.Dir().Path(disk.Outbox) && synced[f.Name()] == 1 {
			return syscall.EIO
		}
		return fsync(f)
	}
	mustAppend(t, s, batchOf(1, "a"))
	if err := s.Drain(t.Context()); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want the failure of the fsync", err)
	}
	if err := s.Drain(t.Context()); err != nil || synced[s.Dir().Path(disk.Outbox)] != 2 {
		t.Errorf("outbox/ was synced %d times, want 2 (%v)", synced[s.Dir().Path(disk.Outbox)], err)
	}
	once(t, outboxOf(t, s.Dir().Root), "a")
	crashed(t, s)
}

func TestSegmentsThatWaitHoldNoFiles(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxBytes = 1
	s := openUnsynced(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 100 {
		mustAppend(t, s, batchOf(uint64(i), "a"))
		_, _ = s.Seal(ctx)
	}
	if open := disktest.OpenFiles(t, o.Dir); len(open) > 3 {
		t.Errorf("%d segments are waiting and %d files open", len(segmentsOf(t, o.Dir)), len(open))
	}
	crashed(t, s)
	if open := disktest.OpenFiles(t, o.Dir); len(open) > 0 {
		t.Errorf("closed, with %v open", open)
	}
	s = openUnsynced(t, o)
	if open := disktest.OpenFiles(t, o.Dir); len(open) > 3 {
		t.Errorf("%d segments are waiting after a start and %d files open", len(segmentsOf(t, o.Dir)), len(open))
	}
	crashed(t, s)
}

func TestSealingThatFailsIsSaidAtEachDoublingAndWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in which only sleeping takes time
		o := testOptions(disktest.MemoryDir(t))
		text := logged(&o) // written by Run alone
		s := openUnsynced(t, o)
		mustAppend(t, s, batchOf(1, "a"))
		var full atomic.Bool
		full.Store(true)
		write := s.Dir().Write
		s.Dir().Write = func(f *os.File, b []byte) (int, error) {
			if full.Load() && strings.HasSuffix(f.Name(), ".tmp") {
				return 0, syscall.ENOSPC
			}
			return write(f, b)
		}
		ctx, stop := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { s.Run(ctx) })
		said := func() int {
			synctest.Wait()
			return strings.Count(text.String(), "sealing failed")
		}
		time.Sleep(o.MaxAge + 2*time.Hour)
		if n := said(); n < 6 || n > 8 {
			t.Errorf("some 120 failures are said %d times, want at each doubling", n)
		}
		full.Store(false)
		time.Sleep(2 * time.Minute)
		if said(); !strings.Contains(text.String(), "sealing succeeded again") || s.Waiting() != 1 {
			t.Errorf("%d objects wait; log:\n%s", s.Waiting(), text)
		}
		stop()
		run.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// Whoever is stopped by a panic in here is caught further up and goes on; it must not hold the lock then.
func TestAPanicInTheSealerLeavesTheSpoolUsable(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	mustAppend(t, s, batchOf(1, "a"))
	write := s.Dir().Write
	s.Dir().Write = func(*os.File, []byte) (int, error) { panic("a test") }
	func() {
		defer func() { _ = recover() }()
		s.SetMaxAge(0)
		_, _ = s.Seal(context.Background())
		t.Error("no panic")
	}()
	s.Dir().Write = write
	done := make(chan struct{})
	go func() {
		defer close(done)
		mustAppend(t, s, batchOf(2, "b"))
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the spool is locked")
	}
	once(t, drained(t, s), "a", "b")
}

func TestAStopThatCannotSealOneSegmentKeepsWhatIsKnownOfIt(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Object.MaxRecords = 2
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a", "b", "c"))
	disktest.Failing(s.Dir(), "rename", "=", 1)
	if err := s.Drain(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want the failure of the rename", err)
	}
	crashed(t, s)
	once(t, drained(t, mustOpen(t, o)), "a", "b", "c")
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
