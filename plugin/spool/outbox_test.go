package spool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/spool"
)

func TestAnObjectThatComesBackKeepsItsPlace(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Object.MaxRecords = 1
	s := mustOpen(t, o)
	for range 3 {
		b := &chunkOf{records: 1}
		b.lines = append(b.lines, "{}\n"...)
		if err := add(s, b); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) // file systems count time in ticks
		if _, err := s.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	take := func(newest bool) spool.Object {
		t.Helper()
		obj, err := s.Take(t.Context(), newest)
		if err != nil {
			t.Fatal(err)
		}
		return obj
	}
	oldest := take(false)
	s.Return(oldest, time.Time{})
	newest := take(true)
	s.Return(newest, time.Time{})
	if got := s.Stats().OldestWaiting; !got.Equal(oldest.Since) {
		t.Errorf("the oldest waits since %s, want %s", got, oldest.Since)
	}
	for i, want := range []string{oldest.Key, "", newest.Key} {
		if got := take(false); want != "" && got.Key != want {
			t.Errorf("object %d is %s, want %s", i, got.Key, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
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
			if got, err := os.ReadFile(aside); err != nil || !bytes.Equal(got, b) || aside != filepath.Join(o.Dir, disk.DamagedObjects, obj.File()) {
				t.Errorf("%s has other bytes, %v", aside, err)
			}
			agree(repair.File{Dir: disk.Damaged, Path: disk.DamagedObjects + "/" + obj.File()})
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

// A power cut leaves such on some file systems.
func TestAnEmptiedObjectIsDamagedLikeAnyOther(t *testing.T) {
	for _, when := range []string{"before the start", "while it waits"} {
		t.Run(when, func(t *testing.T) {
			o := testOptions(t.TempDir())
			file, _ := sealedOnce(t, o, 1)
			empty := func() {
				if err := os.Truncate(file, 0); err != nil {
					t.Fatal(err)
				}
			}
			if when == "before the start" {
				empty()
			}
			s := mustOpen(t, o)
			defer s.Close()
			obj := taken(t, s)
			empty()
			body, err := s.Read(obj)
			if err == nil {
				defer body.Close()
				_, err = body.Read(make([]byte, 1))
			}
			if !errors.Is(err, spool.ErrDamaged) {
				t.Fatalf("got %v, want it damaged", err)
			}
			if err := s.SetAside(obj); err != nil {
				t.Fatal(err)
			}
			if s.Waiting() != 0 || s.Stats().Damaged != 1 {
				t.Errorf("%d wait, %d damaged, want it set aside", s.Waiting(), s.Stats().Damaged)
			}
			f := repair.File{Dir: disk.Damaged, Path: strings.TrimPrefix(onlyFile(t, o.Dir, disk.DamagedObjects), o.Dir+"/")}
			n, problems, err := repair.Records(o.Dir, f, nil)
			if n != 0 || len(problems) == 0 || err != nil {
				t.Errorf("check says %d records, %v, %v, want what is wrong", n, problems, err)
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

func TestAStopWaitsForNothingThatIsNotDueInTime(t *testing.T) {
	s, _ := delivered(t, 0)
	mustAppend(t, s, batchOf(2, "x"))
	sealNow(t, s)
	obj, err := s.Take(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	s.Return(obj, time.Now().Add(time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Empty(ctx); err != nil || ctx.Err() != nil {
		t.Errorf("got %v, %v, want it not to wait", err, ctx.Err())
	}
}
