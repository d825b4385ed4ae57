package spool

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// remapOf begins the origin of what becomes of rejected records that are mapped again.
const remapOf = "remap-"

// Retry calls again for each line of rejected/, the oldest first, leaving out the days before since (2006-01-02). The lines
// that again returns, as Tx has them, go into new objects of o; with keep, the rejected line stays. It returns the number of
// objects. It needs no lock and works beside the process that has it: that one takes the objects up within seconds, or else the
// next start does.
//
// It is a seal like that of a log: a file of rejected/ is the origin, what maps goes into objects, what stays into a new file
// of the same day, and removing the origin is the commit.
func Retry(o Options, since string, again func(line []byte) (records []byte, keep bool)) (objects int, err error) {
	s := offline(o.Dir)
	s.opt = o
	return s.retry(since, again)
}

func (s *Spool) retry(since string, again func([]byte) ([]byte, bool)) (objects int, err error) {
	if err := asOwner(s.opt.Dir); err != nil {
		return 0, err
	}
	room, err := s.lockRetries()
	if err != nil {
		return 0, fmt.Errorf("retry rejected records: %w", err)
	}
	defer room.Close()
	if err := s.undoRetries(); err != nil {
		return 0, fmt.Errorf("undo a retry that was cut off: %w", err)
	}
	if err := s.publishRejects(); err != nil {
		return 0, err
	}
	if err := s.takeOverDays(); err != nil {
		return 0, err
	}
	files, err := s.rejectsSince(since)
	if err != nil {
		return 0, err
	}
	for _, id := range files {
		r := &retry{s: s, again: again, file: rejectsFile(id)}
		n, err := r.run(id)
		objects += n
		if err != nil {
			return objects, fmt.Errorf("retry %s/%s: %w", rejectedDir, r.file, err)
		}
	}
	return objects, nil
}

// rejectsSince lists the files of rejected/ from that day on, the oldest first.
func (s *Spool) rejectsSince(day string) (files []uuid.UUID, err error) {
	err = walk(s.path(rejectedDir), func(file string, st fs.FileInfo) {
		id, err := uuid.Parse(strings.TrimSuffix(st.Name(), ".ndjson"))
		if err == nil && file == rejectsFile(id) && file >= day && st.Mode().IsRegular() {
			files = append(files, id)
		}
	})
	slices.SortFunc(files, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	return files, err
}

// takeOverDays gives rejected/<day>.ndjson, to which earlier versions appended what they rejected in a day, a name as the files
// of today have.
func (s *Spool) takeOverDays() error {
	entries, err := os.ReadDir(s.path(rejectedDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		day, err := time.Parse(time.DateOnly+".ndjson", e.Name())
		if err != nil || !e.Type().IsRegular() {
			continue
		}
		if err := s.takeOverDay(s.path(rejectedDir, e.Name()), day); err != nil {
			return fmt.Errorf("take over %s/%s: %w", rejectedDir, e.Name(), err)
		}
	}
	return nil
}

func (s *Spool) takeOverDay(path string, day time.Time) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	// A plugin of an earlier version that still runs appends to the file that has that name, and locks it meanwhile.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("want it not to be written to: %w", err)
	}
	id, err := uuidAt(day.UnixNano())
	if err != nil {
		return err
	}
	to := s.path(rejectedDir, rejectsFile(id))
	if err := s.mkdirAll(filepath.Dir(to)); err != nil {
		return err
	}
	if err := s.rename(path, to); err != nil {
		return err
	}
	return errors.Join(s.syncDir(filepath.Dir(to)), s.syncDir(s.path(rejectedDir)))
}

// lockRetries keeps others out who retry.
func (s *Spool) lockRetries() (*os.File, error) { return s.lockRoom(rejectedDir, "does") }

// undoRetries removes what retries that were cut off have left: the lines are still in rejected/. The caller holds the lock.
func (s *Spool) undoRetries() error {
	if err := s.undoFormerRetries(); err != nil {
		return err
	}
	var cutOff []origin
	err := s.eachSealed(func(x sealed) error {
		if kind, _ := x.from.id(); kind != remapOf {
			return nil
		}
		_, err := os.Stat(x.from.path(s))
		if err == nil {
			cutOff = append(cutOff, x.from)
		} else if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	})
	for _, from := range cutOff {
		err = errors.Join(err, s.unseal(from))
	}
	return err
}

// publishRejects moves what retries have left in sealing/ back to rejected/. The caller holds the lock.
func (s *Spool) publishRejects() error {
	found, err := s.whole(func(x sealed) bool { return x.room == rejectedDir && x.from.byHand() })
	for _, x := range found {
		err = errors.Join(err, s.publishAside(x))
	}
	return err
}

// retry is that of one file.
type retry struct {
	s     *Spool
	again func([]byte) ([]byte, bool)
	file  string // below rejected/

	objects series
	left    aside // what stays
	changed bool
}

func (r *retry) run(of uuid.UUID) (objects int, err error) {
	s, from := r.s, origin(remapOf+of.String())
	id, err := uuid.NewV7()
	if err != nil {
		return 0, err
	}
	f, err := os.Open(s.path(rejectedDir, r.file))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r.objects = series{s: s, from: from, id: id, opened: time.Now(), most: s.opt.MaxBytes}
	r.left = aside{s: s, from: from, id: withTime(id, timeOf(of))} // of the same day
	defer r.objects.abort()
	defer r.left.abort()
	if err = r.read(f); err == nil {
		err = errors.Join(r.objects.finish(), r.left.finish())
	}
	if err == nil && r.changed {
		// With it, for good, the name that the file itself once had there.
		if err = s.syncDir(s.path(sealingDir)); err == nil {
			crash("retried")
			if err = s.remove(f.Name()); err == nil {
				return r.objects.made, r.settle(f.Name())
			}
		}
	}
	r.objects.abort()
	r.left.abort()
	return 0, errors.Join(err, s.unseal(from))
}

// settle makes it durable that the file is gone, and lets what stays take its place.
func (r *retry) settle(was string) error {
	crash("retry-counts")
	if err := r.s.syncDir(filepath.Dir(was)); err != nil {
		return err
	}
	if err := r.s.publishRejects(); err != nil {
		return err
	}
	r.s.removeEmpty(rejectedDir, r.file)
	return nil
}

// read maps the lines.
func (r *retry) read(f *os.File) error {
	in := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			records, keep := r.again(bytes.TrimSuffix(line, newline))
			if err := r.objects.add(context.Background(), records); err != nil {
				return err
			}
			if !keep {
				r.changed = true
			} else if err := r.left.reject(append(bytes.TrimSuffix(line, newline), '\n')); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Earlier versions wrote what stays of a day to rejected/.retry-<uuid>, which was the origin until it took the place of the
// day's file.
const (
	formerRetryOf = "retry-"
	formerLeft    = ".retry-"
)

func (s *Spool) undoFormerRetries() error {
	left, err := s.named(rejectedDir, formerLeft)
	if err != nil {
		return err
	}
	for _, name := range left {
		// The objects first, and for good: they count when that file is gone.
		err := s.unseal(origin(formerRetryOf + strings.TrimPrefix(name, formerLeft)))
		if err == nil {
			err = s.syncDir(s.path(sealingDir))
		}
		if err == nil {
			err = s.remove(s.path(rejectedDir, name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
