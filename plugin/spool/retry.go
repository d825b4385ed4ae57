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
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// Retry calls again for each line of rejected/, oldest day first, leaving out the days before since (2006-01-02). The lines
// that again returns, as Batch has them, go into new objects of o; with keep, the rejected line stays. It returns the number of objects. It needs no lock and works beside the process that
// has it: that one takes the objects up within seconds, or else the next start does.
//
// What stays of a day lies beside it, in rejected/.retry-<uuid>, until all objects of that day are whole in
// sealing/, where they do not count as long as it is there. It then takes the place of the day's file: one
// rename takes the lines out of rejected/ and makes the objects count.
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
	entries, err := os.ReadDir(room.Name())
	if err != nil {
		return 0, err
	}
	for _, e := range entries { // by name, and so by age
		day, ok := strings.CutSuffix(e.Name(), ".ndjson")
		if _, err := time.Parse(time.DateOnly, day); !ok || err != nil || day < since {
			continue
		}
		n, err := s.retryDay(s.path(rejectedDir, e.Name()), again)
		objects += n
		if err != nil {
			return objects, fmt.Errorf("retry %s/%s: %w", rejectedDir, e.Name(), err)
		}
	}
	return objects, nil
}

// lockRetries keeps others out who retry. The files in rejected/ are only locked for a moment, since flushes
// append to them.
func (s *Spool) lockRetries() (*os.File, error) {
	room, err := os.Open(s.path(rejectedDir))
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(room.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = room.Close()
		return nil, fmt.Errorf("want to be the only one who does, but rejected/ is locked: %w", err)
	}
	return room, nil
}

// leftPrefix begins the names of what stays of days while they are retried.
const leftPrefix = ".retry-"

// undoRetries removes what retries that were cut off have left: the lines are still in their days' files.
// The caller holds the lock.
func (s *Spool) undoRetries() error {
	left, err := s.named(rejectedDir, leftPrefix)
	if err != nil {
		return err
	}
	for _, name := range left {
		if err := s.undoRetry(s.path(rejectedDir, name)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Spool) undoRetry(left string) error {
	// The objects first, and for good: they count when that file is gone.
	err := s.unseal(origin(retryOf + strings.TrimPrefix(filepath.Base(left), leftPrefix)))
	if err == nil {
		err = s.syncDir(s.path(sealingDir))
	}
	if err != nil {
		return err
	}
	return s.remove(left)
}

// retryDay does it for one file.
func (s *Spool) retryDay(path string, again func([]byte) ([]byte, bool)) (objects int, err error) {
	id, err := uuid.NewV7()
	if err != nil {
		return 0, err
	}
	from := origin(retryOf + id.String())
	r := &retry{s: s, again: again, path: path, objects: series{s: s, from: from, id: id, opened: time.Now(), most: s.opt.MaxBytes}}
	defer r.objects.abort()
	if r.left, err = os.OpenFile(from.path(s), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return 0, err
	}
	defer r.left.Close()
	if err = s.syncDir(s.path(rejectedDir)); err == nil {
		err = r.read()
	}
	if err == nil {
		err = r.objects.finish()
	}
	if err == nil && r.changed {
		if err = s.syncDir(s.path(sealingDir)); err == nil {
			crash("retried")
			err = r.replace()
		}
	}
	if r.replaced {
		return r.objects.made, err
	}
	return 0, errors.Join(err, s.undoRetry(r.left.Name()))
}

// retry is that of one day.
type retry struct {
	s       *Spool
	again   func([]byte) ([]byte, bool)
	objects series

	path     string // of the day's file
	day      os.FileInfo
	size     int64 // read so far; flushes may have appended since
	changed  bool
	left     *os.File // what stays
	replaced bool     // left is the day's file
}

// read maps the lines, and what stays of them goes into left.
func (r *retry) read() error {
	f, err := openDay(r.path, os.O_RDONLY, retryPatience)
	if err != nil {
		return err
	}
	defer f.Close()
	if r.day, err = f.Stat(); err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
		return err
	}
	r.size = r.day.Size()
	in := bufio.NewReaderSize(io.LimitReader(f, r.size), 1<<20)
	left := bufio.NewWriter(r.left)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			records, keep := r.again(bytes.TrimSuffix(line, newline))
			if err := r.objects.add(context.Background(), records); err != nil {
				return err
			}
			if !keep {
				r.changed = true
			} else if _, err := left.Write(append(bytes.TrimSuffix(line, newline), '\n')); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return left.Flush()
		}
		if err != nil {
			return err
		}
	}
}

// replace puts what stays in the place of the day's file, with what flushes have appended meanwhile.
func (r *retry) replace() error {
	if err := r.s.sync(r.left); err != nil { // most of it before flushes have to wait
		return err
	}
	f, err := openDay(r.path, os.O_RDONLY, retryPatience)
	if err != nil {
		return err
	}
	defer f.Close()
	now, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(now, r.day) || now.Size() < r.size {
		return errors.New("want nobody else to replace it, got another file")
	}
	if _, err := f.Seek(r.size, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(r.left, f); err != nil {
		return err
	}
	if err := r.s.sync(r.left); err != nil {
		return err
	}
	// A flush that finds it in its place waits until it is known whether it stays there.
	if err := unix.Flock(int(r.left.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	if err := r.s.rename(r.left.Name(), r.path); err != nil {
		return err
	}
	r.replaced = true
	crash("retry-counts")
	if left, err := r.left.Stat(); err != nil {
		return err
	} else if left.Size() == 0 {
		if err := r.s.remove(r.path); err != nil {
			return err
		}
	}
	return r.s.syncDir(filepath.Dir(r.path))
}

// A flush waits this long for meterctl to let go of a day, and meterctl for a flush.
const (
	flushPatience = time.Second
	retryPatience = time.Minute
)

// openDay opens a file of rejected/ and locks it: who holds the lock of the file that the path names may
// append to it, or replace it.
func openDay(path string, flag int, patience time.Duration) (*os.File, error) {
	for deadline := time.Now().Add(patience); ; {
		f, err := os.OpenFile(path, flag, 0o600)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != nil {
			_ = f.Close()
			if (errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR)) && time.Now().Before(deadline) {
				time.Sleep(time.Millisecond)
				continue
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		mine, err := f.Stat()
		if err == nil {
			var named os.FileInfo
			if named, err = os.Stat(path); err == nil && os.SameFile(mine, named) {
				return f, nil
			}
		}
		_ = f.Close() // replaced or removed while this waited for the lock
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
}
