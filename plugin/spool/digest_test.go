package spool_test

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

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/spool"
)

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
				if err := try(bad); !errors.Is(err, spool.ErrDamaged) {
					t.Fatalf("byte %d changed: got %v", at, err)
				}
				if err := try(was[:at]); at > 0 && !errors.Is(err, spool.ErrDamaged) {
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
			agree := func(f repair.File) {
				t.Helper()
				seen := 0
				n, problems, err := repair.Records(o.Dir, f, func([]byte) error { seen++; return nil })
				m, again, merr := repair.Records(o.Dir, f, nil)
				if err != nil || merr != nil || n != seen || n != m || len(problems) == 0 || fmt.Sprint(problems) != fmt.Sprint(again) {
					t.Errorf("%s: %d records read, %d returned, %d counted, %v %v, %v %v", f.Path, seen, n, m, problems, again, err, merr)
				}
			}
			s := mustOpen(t, o)
			defer func() { _ = s.Close() }()
			obj := taken(t, s)
			agree(fileIn(disk.Outbox, obj))
			used := s.Stats().UsedBytes
			if err := s.SetAside(obj); err != nil {
				t.Fatal(err)
			}
			st := s.Stats()
			if st.WaitingObjects != 0 || st.WaitingBytes != 0 || st.Damaged != 1 || st.UsedBytes != used-obj.Size {
				t.Errorf("got %+v", st)
			}
			aside := onlyFile(t, o.Dir, disk.Damaged)
			if got, err := os.ReadFile(aside); err != nil || !bytes.Equal(got, b) || aside != filepath.Join(o.Dir, spool.DamagedObjects, obj.File()) {
				t.Errorf("%s has other bytes, %v", aside, err)
			}
			agree(repair.File{Dir: disk.Damaged, Path: spool.DamagedObjects + "/" + obj.File()})
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
			key, _ := object.ParseFile(filepath.Base(file))
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
			if _, err := s.Read(obj); !errors.Is(err, spool.ErrDamaged) {
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
	outbox := filepath.Join(o.Dir, disk.Outbox)
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
