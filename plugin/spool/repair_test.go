package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/disk/disktest"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/sealing"
	"out_amberflo/plugin/spool"
)

// retried gives the records of all objects that a running spool finds in sealing/, an element each.
func retried(t *testing.T, s *spool.Spool) (objects []string) {
	t.Helper()
	if err := s.Publish(); err != nil {
		t.Fatal(err)
	}
	for s.Waiting() > 0 {
		obj, err := s.Take(context.Background(), false)
		if err != nil {
			t.Fatal(err)
		}
		var text []byte
		f := fileIn(disk.Outbox, obj)
		_, problems, err := repair.Records(s.Dir().Root, f, func(line []byte) error {
			text = append(append(text, line...), '\n')
			return nil
		})
		if err != nil || len(problems) > 0 {
			t.Fatal(err, problems)
		}
		objects = append(objects, string(text))
		if err := s.Sent(obj); err != nil {
			t.Fatal(err)
		}
	}
	return objects
}

// upper delivers lines without an x, in upper case, and keeps those with one.
func upper(line []byte) (records []byte, keep bool) {
	if bytes.Contains(line, []byte("x")) {
		return nil, true
	}
	return append(bytes.ToUpper(line), '\n'), false
}

func put(t *testing.T, dir, day, lines string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, disk.Rejected, day+".ndjson"), []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRetryDeliversWhatMapsAndLeavesTheRestAsItWas(t *testing.T) {
	for name, test := range map[string]struct {
		options func(*spool.Options)
		since   string
		days    map[string]string
		objects []string
		left    string
	}{
		"each day becomes an object": {
			days:    map[string]string{"2026-01-01": "\"a\"\n\"x\"\n", "2026-01-02": "\"b\"\n\"c\"\n"},
			objects: []string{"\"A\"\n", "\"B\"\n\"C\"\n"}, left: "\"x\"\n",
		},
		"days before the first wanted are not looked at": {
			since:   "2026-01-02",
			days:    map[string]string{"2026-01-01": "\"a\"\n", "2026-01-02": "\"b\"\n"},
			objects: []string{"\"B\"\n"}, left: "\"a\"\n",
		},
		"objects are of the configured form": {
			options: func(o *spool.Options) { o.Object.GzipLevel, o.Object.JSONArray, o.Object.MaxRecords = 0, true, 2 },
			days:    map[string]string{"2026-01-01": "\"a\"\n\"b\"\n\"c\"\n"},
			objects: []string{"\"A\"\n\"B\"\n", "\"C\"\n"},
		},
		"objects end at their size": {
			options: func(o *spool.Options) { o.MaxBytes = 5 },
			days:    map[string]string{"2026-01-01": "\"a\"\n\"b\"\n\"c\"\n"},
			objects: []string{"\"A\"\n\"B\"\n", "\"C\"\n"},
		},
		"nothing maps": {days: map[string]string{"2026-01-01": "\"x\"\n"}, left: "\"x\"\n"},
		"a line that a crash tore is offered and kept, whole": {
			days:    map[string]string{"2026-01-01": "\"a\"\n\"x"},
			objects: []string{"\"A\"\n"}, left: "\"x\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			if test.options != nil {
				test.options(&o)
			}
			s := mustOpen(t, o)
			defer s.Close()
			for day, lines := range test.days {
				put(t, o.Dir, day, lines)
			}
			n, err := repair.Retry(o, test.since, upper)
			if err != nil || n != len(test.objects) {
				t.Fatalf("got %d objects, %v, want %d", n, err, len(test.objects))
			}
			if got := rejectedOf(t, o.Dir); got != test.left {
				t.Errorf("left %q, want %q", got, test.left)
			}
			got := retried(t, s)
			slices.Sort(got)
			if !slices.Equal(got, test.objects) {
				t.Errorf("got objects %q, want %q", got, test.objects)
			}
		})
	}
}

// sealedRejects flushes rejects and seals them.
func sealedRejects(t *testing.T, s *spool.Spool, lines string) {
	t.Helper()
	if err := reject(s, []byte(lines)); err != nil {
		t.Fatal(err)
	}
	sealAged(t, s)
}

func TestOnlyOneProcessRetriesAtOnceAndFlushesGoOn(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	defer s.Close()
	sealedRejects(t, s, "\"a\"\n")
	_, err := repair.Retry(o, "", func(line []byte) ([]byte, bool) {
		sealedRejects(t, s, "\"late\"\n")
		if _, err := repair.Retry(o, "", upper); err == nil || !strings.Contains(err.Error(), "want to be the only one") {
			t.Errorf("a second Retry at once: got %v", err)
		}
		return upper(line)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := rejectedOf(t, o.Dir); got != "\"late\"\n" {
		t.Errorf("left %q, want the late one", got)
	}
}

func TestEachRejectedLineIsDeliveredOnceBesideFlushes(t *testing.T) {
	const writers, each = 4, 50
	o := testOptions(t.TempDir())
	o.MaxAge = time.Millisecond
	s := openUnsynced(t, o)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var running, flushes sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	for w := range writers {
		flushes.Go(func() {
			for i := range each {
				if err := reject(s, fmt.Appendf(nil, "\"%d-%d\"\n", w, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		flushes.Wait()
		close(done)
	}()
	for last := false; !last; {
		select {
		case <-done:
			last = true
			stop()
			running.Wait()
			if err := s.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
		default:
		}
		if _, err := repair.Retry(o, "", upper); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]int{}
	for _, object := range retried(t, s) {
		for line := range strings.Lines(object) {
			seen[line]++
		}
	}
	for line, n := range seen {
		if n != 1 {
			t.Errorf("%q is delivered %d times", line, n)
		}
	}
	if len(seen) != writers*each || rejectedOf(t, o.Dir) != "" {
		t.Errorf("%d lines are delivered, want %d; left: %q", len(seen), writers*each, rejectedOf(t, o.Dir))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A plugin of an earlier version that still runs appends to its file of a day.
func TestADayThatIsBeingWrittenToIsNotTakenOver(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	defer s.Close()
	put(t, o.Dir, "2026-01-01", "\"a\"\n")
	f, err := os.Open(s.Dir().Path(disk.Rejected, "2026-01-01.ndjson"))
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repair.Retry(o, "", upper); err == nil || !strings.Contains(err.Error(), "want it not to be written to") {
		t.Errorf("got %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := repair.Retry(o, "", upper); n != 1 || err != nil {
		t.Errorf("got %d objects, %v, want 1", n, err)
	}
}

func TestARetryThatFailsLeavesEveryLine(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	put(t, o.Dir, "2026-01-01", "\"a\"\n")
	sealing := filepath.Join(o.Dir, disk.Sealing)
	if err := errors.Join(s.Close(), os.RemoveAll(sealing)); err != nil {
		t.Fatal(err)
	}
	if _, err := repair.Retry(o, "", upper); err == nil {
		t.Error("want an error without a directory for objects")
	}
	if err := os.Mkdir(sealing, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := mustOpen(t, o).Close(); err != nil { // a start clears up
		t.Fatal(err)
	}
	if got := rejectedOf(t, o.Dir); got != "\"a\"\n" {
		t.Errorf("left %q, want the line", got)
	}
	if _, err := repair.Retry(testOptions(t.TempDir()), "", upper); err == nil || !strings.Contains(err.Error(), "want a store_dir") {
		t.Errorf("another directory: got %v", err)
	}
}

// From some operation on nothing succeeds any more, as for a process that died there. Whoever comes after it, a start or a
// plugin that runs all the time, delivers each line once, or it is in rejected/ for the next retry.
func TestARetryThatDiesAnywhereDeliversEachLineOnce(t *testing.T) {
	for _, restarts := range []bool{true, false} {
		for fuse, whole := 0, false; !whole; fuse++ {
			o := testOptions(disktest.MemoryDir(t))
			o.Object.MaxRecords = 2
			s := openUnsynced(t, o)
			put(t, o.Dir, "2026-01-01", "\"a\"\n\"x\"\n\"b\"\n\"c\"\n")
			put(t, o.Dir, "2026-01-02", "\"d\"\n\"e\"\n")
			r := onDisk(o)
			r.Disk.Sync = func(*os.File) error { return nil }
			left := disktest.Dying(r.Disk, fuse)
			_, err := repair.Retry(r, "", upper)
			whole = err == nil && *left >= 0
			if whole && fuse < 10 {
				t.Fatalf("it took %d operations, want more", fuse)
			}
			if restarts {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = openUnsynced(t, o)
			}
			objects := retried(t, s)
			if _, err := repair.Retry(o, "", upper); err != nil {
				t.Fatal(err)
			}
			objects = append(objects, retried(t, s)...)
			seen := map[string]int{}
			for _, object := range objects {
				for line := range strings.Lines(object) {
					seen[strings.TrimSpace(line)]++
				}
			}
			if want := map[string]int{`"A"`: 1, `"B"`: 1, `"C"`: 1, `"D"`: 1, `"E"`: 1}; !maps.Equal(seen, want) || rejectedOf(t, o.Dir) != "\"x\"\n" {
				t.Errorf("restarts %v, died at operation %d: delivered %v, left %q", restarts, fuse, seen, rejectedOf(t, o.Dir))
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if fuse > 200 {
				t.Fatal("it never ends")
			}
		}
	}
}

func TestWholeBlocksOfADamagedObjectAreRescued(t *testing.T) {
	for name, o := range forms("") {
		if o.Object.JSONArray && o.Object.GzipLevel > 0 {
			continue // one segment, up to a megabyte
		}
		t.Run(name, func(t *testing.T) {
			o.Dir = t.TempDir()
			file, names := sealedOnce(t, o, 4)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			at := len(b) * 5 / 8 // in the third
			for i := range 4 {
				b[at+i] = 0xff
			}
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			s := mustOpen(t, o)
			defer s.Close()
			obj := taken(t, s)
			if err := s.SetAside(obj); err != nil {
				t.Fatal(err)
			}
			n, err := repair.Rescue(o.Dir, obj.Key, false)
			if err != nil {
				t.Fatal(err)
			}
			got := recordsIn(t, s)
			for _, name := range got {
				if !slices.Contains(names, name) {
					t.Errorf("%q went out, which nobody had written", name)
				}
			}
			if len(got) != n || len(slices.Compact(got)) != n || n < 40 || n >= 80 {
				t.Errorf("%d of 80 records go out, %d were rescued", len(got), n)
			}
			aside := onlyFile(t, o.Dir, disk.Damaged)
			if is, err := os.ReadFile(aside); err != nil || !bytes.Equal(is, b) || !strings.HasSuffix(aside, spool.RescuedSuffix) {
				t.Errorf("want the damaged object kept as it was, got %s, %v", aside, err)
			}
			if _, err := repair.Rescue(o.Dir, obj.Key, false); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("once more: got %v", err)
			}
			if note, err := os.ReadFile(filepath.Join(o.Dir, spool.AuditLog)); err != nil || !strings.Contains(string(note), `"action":"rescue"`) || !strings.Contains(string(note), "are lost") {
				t.Errorf("the journal says %q, %v", note, err)
			}
		})
	}
}

func TestWhereOnlyTheFrameIsDamagedAllIsRescued(t *testing.T) {
	for _, array := range []bool{false, true} {
		o := testOptions(t.TempDir())
		o.Object.JSONArray = array
		file, _ := sealedOnce(t, o, 2)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b[4] ^= 1 // the time in gzip's header
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, o)
		obj := taken(t, s)
		if err := s.SetAside(obj); err != nil {
			t.Fatal(err)
		}
		if n, err := repair.Rescue(o.Dir, obj.Key, false); n != 40 || err != nil || len(recordsIn(t, s)) != 40 {
			t.Errorf("array %v: got %d, %v", array, n, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestADigitThatIsAnotherDigitIsRescuedOnTheOperatorsWordOnly(t *testing.T) {
	o := forms(t.TempDir())["not compressed"]
	file, _ := sealedOnce(t, o, 1)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(b, []byte("record 7"), []byte("record 8"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, o)
	defer s.Close()
	obj := taken(t, s)
	if err := s.SetAside(obj); err != nil {
		t.Fatal(err)
	}
	if _, err := repair.Rescue(o.Dir, obj.Key, false); err == nil || !strings.Contains(err.Error(), "nobody can say which") {
		t.Errorf("got %v", err)
	}
	if n, err := repair.Rescue(o.Dir, obj.Key, true); n != 20 || err != nil || len(recordsIn(t, s)) != 20 {
		t.Errorf("on the operator's word: got %d, %v", n, err)
	}
}

func TestAnObjectThatIsTooLargeIsSplit(t *testing.T) {
	for name, o := range forms("") {
		t.Run(name, func(t *testing.T) {
			o.Dir = t.TempDir()
			file, names := sealedOnce(t, o, 4)
			key, _ := object.ParseFile(strings.TrimPrefix(file, filepath.Join(o.Dir, disk.Outbox)+"/"))
			s := mustOpen(t, o)
			if _, err := repair.Split(o.Dir, key, 0); err == nil || !strings.Contains(err.Error(), "want Fluent Bit to be stopped") {
				t.Errorf("beside a running plugin: got %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if n, err := repair.Split(o.Dir, key, 2000); err != nil || n < 3 {
				t.Fatalf("got %d objects, %v", n, err)
			}
			s = mustOpen(t, o)
			defer s.Close()
			got := recordsIn(t, s)
			slices.Sort(names)
			if !slices.Equal(got, names) {
				t.Errorf("got %d records, want %d", len(got), len(names))
			}
			if s.Waiting() < 3 || slices.Contains(slices.Collect(maps.Keys(outboxOf(t, o.Dir))), key) {
				t.Errorf("%d objects wait, want at least 3, and the old one gone", s.Waiting())
			}
		})
	}
}

func TestOnlyAnObjectIsSentAgainOrDropped(t *testing.T) {
	s, sent := delivered(t, 2)
	for _, obj := range sent {
		if err := s.KeepFailed(obj, []byte("no such meter")); err != nil {
			t.Fatal(err)
		}
	}
	dir := s.Dir().Root
	if _, err := repair.Resend(dir, sent[0].Key); err != nil { // makes a journal
		t.Fatal(err)
	}
	left := strings.TrimPrefix(spool.AuditLog, disk.Failed+"/")
	for _, key := range []string{filepath.Dir(sent[1].Key), left, sent[1].Key + spool.ReasonSuffix, "../failed/" + sent[1].Key, "", "none.gz", sent[0].Key} {
		if _, err := repair.Resend(dir, key); err == nil || !strings.Contains(err.Error(), "want the key of an object in failed/") {
			t.Errorf("resend %q: got %v", key, err)
		}
		if err := repair.Drop(dir, key, "a test"); err == nil || !strings.Contains(err.Error(), "want the key of an object in failed/") {
			t.Errorf("drop %q: got %v", key, err)
		}
	}
	if refused, err := repair.Failed(dir); err != nil || len(refused) != 1 || refused[0].Key != sent[1].Key {
		t.Errorf("got %v, %v in failed/, want the second object", refused, err)
	}
	if err := repair.Drop(dir, sent[1].Key, "a test"); err != nil {
		t.Error(err)
	}
}

func TestAnObjectThatIsBeingWrittenIsNoProblem(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	t.Cleanup(func() { _ = s.Close() })
	if err := os.WriteFile(s.Dir().Path(disk.Sealing, "123.tmp"), []byte("{\"half\":"), 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := repair.Files(s.Dir().Root)
	i := slices.IndexFunc(files, func(f repair.File) bool { return f.Dir == disk.Sealing })
	if err != nil || i < 0 {
		t.Fatalf("got %v, %v", files, err)
	}
	for _, each := range []func([]byte) error{nil, func([]byte) error { return nil }} {
		if n, problems, err := repair.Records(s.Dir().Root, files[i], each); n != 0 || len(problems) > 0 || err != nil {
			t.Errorf("got %d records, %v, %v, want nothing", n, problems, err)
		}
	}
}

// What was made of an origin counts once that is gone, and not where nobody can say.
func TestNothingIsUndoneWhereItIsNotKnownWhetherItCounts(t *testing.T) {
	const id = "019f5eaf-b000-7ce6-b4d0-ac79026bfebe"
	for name, c := range map[string]struct {
		origin sealing.Origin
		unread string // stands where a directory should be
		undo   func(*disk.Dir) error
	}{
		"a rescue":                  {sealing.RescueOf + id, disk.Damaged, sealing.UndoRepairs},
		"a split":                   {sealing.SplitOf + id, disk.Damaged, sealing.UndoRepairs},
		"records that mapped again": {sealing.RemapOf + id, disk.Rejected + "/" + filepath.Dir(sealing.RejectsFile(uuid.MustParse(id))), sealing.UndoRetries},
	} {
		t.Run(name, func(t *testing.T) {
			d := disk.New(t.TempDir())
			made := d.Path(disk.Sealing, sealing.Pending{From: c.origin, Dir: disk.Outbox, File: "a.gz"}.Name())
			for _, path := range []string{made, d.Path(c.unread)} {
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("{}\n"), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			err := c.undo(d)
			if _, gone := os.Stat(made); err == nil || gone != nil {
				t.Errorf("got %v, and of what was made %v; want an error and all of it left", err, gone)
			}
		})
	}
}
