package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sealedOnce gives a closed spool with one object in its outbox, of so many segments.
func sealedOnce(t *testing.T, o Options, segments int) (file string, names []string) {
	t.Helper()
	s := mustOpen(t, o)
	for i := range segments {
		var these []string
		for k := range 20 {
			these = append(these, fmt.Sprintf("record %d of segment %d", k, i))
		}
		mustAppend(t, s, begun(t, s, uint64(i), these...))
		names = append(names, these...)
	}
	if err := errors.Join(s.Drain(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	return onlyFile(t, o.Dir, outboxDir), names
}

func onlyFile(t *testing.T, dir, room string) string {
	t.Helper()
	var found []string
	err := walk(filepath.Join(dir, room), func(path string, _ fs.FileInfo) { found = append(found, filepath.Join(dir, room, path)) })
	if err != nil || len(found) != 1 {
		t.Fatalf("got %q in %s/, %v, want one file", found, room, err)
	}
	return found[0]
}

func taken(t *testing.T, s *Spool) Object {
	t.Helper()
	obj, err := s.Take(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	return obj
}

func forms(dir string) map[string]Options {
	gzip, plain, array := testOptions(dir), testOptions(dir), testOptions(dir)
	plain.GzipLevel = 0
	plain.Key = func(o Sealed) string { return "ingest/" + o.ID.String() + ".json" }
	array.JSONArray = true
	plainArray := plain
	plainArray.JSONArray = true
	return map[string]Options{"gzip": gzip, "not compressed": plain, "an array": array, "an array, not compressed": plainArray}
}

func TestAFileNamesItsKeyAndItsDigest(t *testing.T) {
	sum := bytes.Repeat([]byte{0xab}, 16)
	for _, key := range []string{"a", "ingest/x.gz", "dt=2026-11-28/x=y.gz", strings.Repeat("a", 32) + "=", "a/" + strings.Repeat("g", 32) + "=b"} {
		if got, s := parseFile(fileOf(key, sum)); got != key || !bytes.Equal(s, sum) {
			t.Errorf("%s: got %s, %x", key, got, s)
		}
		if got, s := parseFile(key); got != key || s != nil {
			t.Errorf("%s of an earlier version: got %s, %x", key, got, s)
		}
	}
}

// Each byte of an object is changed once, and each end cut off.
func TestNoChangedByteOfAnObjectIsSent(t *testing.T) {
	for name, o := range forms("") {
		t.Run(name, func(t *testing.T) {
			o.Dir = t.TempDir()
			file, _ := sealedOnce(t, o, 2)
			was, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := mustOpen(t, o)
			defer s.Close()
			obj := taken(t, s)
			try := func(b []byte) error {
				if err := os.WriteFile(file, b, 0o600); err != nil {
					t.Fatal(err)
				}
				body, err := s.Read(obj)
				if err != nil {
					t.Fatal(err)
				}
				defer body.Close()
				_, err = io.ReadAll(body)
				return err
			}
			step := 1 + len(was)/300
			for at := 0; at < len(was); at += step {
				bad := bytes.Clone(was)
				bad[at] ^= 1
				if err := try(bad); !errors.Is(err, ErrDamaged) {
					t.Fatalf("byte %d changed: got %v", at, err)
				}
				if err := try(was[:at]); at > 0 && !errors.Is(err, ErrDamaged) {
					t.Fatalf("cut at %d: got %v", at, err)
				}
			}
			if err := try(was); err != nil {
				t.Errorf("as it was: got %v", err)
			}
			s.Return(obj, time.Time{})
		})
	}
}

func TestADamagedObjectIsSetAsideWithItsPlaceAndAllAgreeOnIt(t *testing.T) {
	for name, o := range forms("") {
		t.Run(name, func(t *testing.T) {
			o.Dir = t.TempDir()
			file, _ := sealedOnce(t, o, 4)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/2] ^= 0x55
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			agree := func(f File) {
				t.Helper()
				seen := 0
				n, problems, err := Records(o.Dir, f, func([]byte) error { seen++; return nil })
				m, again, merr := Records(o.Dir, f, nil)
				if err != nil || merr != nil || n != seen || n != m || len(problems) == 0 || fmt.Sprint(problems) != fmt.Sprint(again) {
					t.Errorf("%s: %d records read, %d returned, %d counted, %v %v, %v %v", f.Path, seen, n, m, problems, again, err, merr)
				}
			}
			s := mustOpen(t, o)
			defer func() { _ = s.Close() }()
			obj := taken(t, s)
			agree(obj.in(outboxDir))
			used := s.Stats().UsedBytes
			if err := s.SetAside(obj); err != nil {
				t.Fatal(err)
			}
			st := s.Stats()
			if st.WaitingObjects != 0 || st.WaitingBytes != 0 || st.Damaged != 1 || st.UsedBytes != used-obj.Size {
				t.Errorf("got %+v", st)
			}
			aside := onlyFile(t, o.Dir, damagedDir)
			if got, err := os.ReadFile(aside); err != nil || !bytes.Equal(got, b) || aside != filepath.Join(o.Dir, asideDir, obj.file()) {
				t.Errorf("%s has other bytes, %v", aside, err)
			}
			agree(File{Room: damagedDir, Path: asideDir + "/" + obj.file()})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if s = mustOpen(t, o); s.Stats().Damaged != 1 || s.Waiting() != 0 {
				t.Errorf("after a start: got %+v", s.Stats())
			}
		})
	}
}

func TestAnObjectOfAnEarlierVersionIsReadToItsEnd(t *testing.T) {
	for name, o := range forms("") {
		t.Run(name, func(t *testing.T) {
			o.Dir = t.TempDir()
			file, _ := sealedOnce(t, o, 2)
			key, _ := parseFile(filepath.Base(file))
			old := filepath.Join(filepath.Dir(file), key)
			if err := os.Rename(file, old); err != nil {
				t.Fatal(err)
			}
			s := mustOpen(t, o)
			defer s.Close()
			obj := taken(t, s)
			body, err := s.Read(obj)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(body)
			if err != nil || fmt.Sprintf("%x", body.MD5()) != filepath.Base(file)[:32] {
				t.Errorf("got the MD5 %x of %d bytes, %v", body.MD5(), len(b), err)
			}
			_ = body.Close()
			if err := os.WriteFile(old, b[:len(b)-3], 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Read(obj); !errors.Is(err, ErrDamaged) {
				t.Errorf("cut short: got %v", err)
			}
			s.Return(obj, time.Time{})
		})
	}
}

func TestWhatIsNoObjectIsLeftAloneAndTold(t *testing.T) {
	o := testOptions(t.TempDir())
	log := &bytes.Buffer{}
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	file, _ := sealedOnce(t, o, 1)
	outbox := filepath.Join(o.Dir, outboxDir)
	strangers := map[string]func(string) error{
		"notes.txt": func(p string) error { return os.WriteFile(p, []byte("remember the milk\n"), 0o600) },
		"link.gz":   func(p string) error { return os.Symlink(file, p) },
		"fifo.gz":   func(p string) error { return unix.Mkfifo(p, 0o600) },
		"null.gz":   func(p string) error { return os.Symlink("/dev/zero", p) },
	}
	for name, put := range strangers {
		if err := put(filepath.Join(outbox, name)); err != nil {
			t.Fatal(err)
		}
	}
	s := mustOpen(t, o)
	defer s.Close()
	if s.Waiting() != 1 {
		t.Errorf("%d objects wait, want the one that is", s.Waiting())
	}
	if got := log.String(); strings.Count(got, "not a file of this plugin: left alone") != 1 || !strings.Contains(got, "files=4") {
		t.Errorf("want it told once, got\n%s", got)
	}
	for name := range strangers {
		if _, err := os.Lstat(filepath.Join(outbox, name)); err != nil {
			t.Error(err)
		}
	}
}

// recordsIn are the names of the records in the outbox and in sealing/, sorted.
func recordsIn(t *testing.T, s *Spool) (names []string) {
	t.Helper()
	if _, err := s.sealDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, text := range outboxOf(t, s.opt.Dir) {
		for _, part := range strings.Split(text, `"name":"`)[1:] {
			names = append(names, part[:strings.IndexByte(part, '"')])
		}
	}
	slices.Sort(names)
	return names
}

func TestWholeSegmentsOfADamagedObjectAreRescued(t *testing.T) {
	for name, o := range forms("") {
		if o.JSONArray && o.GzipLevel > 0 {
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
			n, err := Rescue(o.Dir, obj.Key, false)
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
			aside := onlyFile(t, o.Dir, damagedDir)
			if is, err := os.ReadFile(aside); err != nil || !bytes.Equal(is, b) || !strings.HasSuffix(aside, RescuedSuffix) {
				t.Errorf("want the damaged object kept as it was, got %s, %v", aside, err)
			}
			if _, err := Rescue(o.Dir, obj.Key, false); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("once more: got %v", err)
			}
			if note, err := os.ReadFile(filepath.Join(o.Dir, journal)); err != nil || !strings.Contains(string(note), `"action":"rescue"`) || !strings.Contains(string(note), "are lost") {
				t.Errorf("the journal says %q, %v", note, err)
			}
		})
	}
}

func TestWhereOnlyTheFrameIsDamagedAllIsRescued(t *testing.T) {
	for _, array := range []bool{false, true} {
		o := testOptions(t.TempDir())
		o.JSONArray = array
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
		if n, err := Rescue(o.Dir, obj.Key, false); n != 40 || err != nil || len(recordsIn(t, s)) != 40 {
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
	if _, err := Rescue(o.Dir, obj.Key, false); err == nil || !strings.Contains(err.Error(), "nobody can say which") {
		t.Errorf("got %v", err)
	}
	if n, err := Rescue(o.Dir, obj.Key, true); n != 20 || err != nil || len(recordsIn(t, s)) != 20 {
		t.Errorf("on the operator's word: got %d, %v", n, err)
	}
}

func TestAnObjectThatIsTooLargeIsSplit(t *testing.T) {
	for name, o := range forms("") {
		t.Run(name, func(t *testing.T) {
			o.Dir = t.TempDir()
			file, names := sealedOnce(t, o, 4)
			key, _ := parseFile(strings.TrimPrefix(file, filepath.Join(o.Dir, outboxDir)+"/"))
			s := mustOpen(t, o)
			if _, err := Split(o.Dir, key, 0); err == nil || !strings.Contains(err.Error(), "want Fluent Bit to be stopped") {
				t.Errorf("beside a running plugin: got %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if n, err := Split(o.Dir, key, 2000); err != nil || n < 3 {
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

// From some operation on nothing succeeds any more, as for a process that died there: what comes after it, a start, has each
// record once, in the old object or in the new ones.
func TestARepairThatDiesAnywhereLosesAndDoublesNothing(t *testing.T) {
	for fuse, whole := 0, false; !whole; fuse++ {
		o := testOptions(filepath.Join(memoryDir(t), "a[b]*")) // no pattern
		file, names := sealedOnce(t, o, 2)
		key, _ := parseFile(strings.TrimPrefix(file, filepath.Join(o.Dir, outboxDir)+"/"))
		left := fuse
		burn := func() error {
			if left--; left < 0 {
				return errDied
			}
			return nil
		}
		whole = dyingSplit(o.Dir, key, burn) == nil
		s := mustOpen(t, o)
		got := recordsIn(t, s)
		slices.Sort(names)
		if !slices.Equal(got, names) {
			t.Fatalf("died at operation %d: got %d records, want %d, each once", fuse, len(got), len(names))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func dyingSplit(dir, key string, burn func() error) error {
	s := offline(dir)
	s.write = func(f *os.File, b []byte) (int, error) {
		if err := burn(); err != nil {
			return 0, err
		}
		return f.Write(b)
	}
	s.sync = func(f *os.File) error { return burn() }
	s.rename = func(from, to string) error {
		if err := burn(); err != nil {
			return err
		}
		return os.Rename(from, to)
	}
	s.remove = func(path string) error {
		if err := burn(); err != nil {
			return err
		}
		return os.Remove(path)
	}
	_, err := s.split(key, 500)
	return err
}
