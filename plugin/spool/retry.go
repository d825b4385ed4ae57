package spool

import (
	"bufio"
	"bytes"
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

// Retry offers every line of rejected/ to again, oldest first, days before since (2006-01-02) aside. The
// records that again returns, as Batch has them but without a NUL, become objects of o; a line stays if
// again says keep. It returns the number of objects. It needs no lock and works beside the process that
// has it: that one takes the objects up within seconds, or else the next start does.
//
// A line leaves rejected/ once its records are durable. After a crash between the two it is offered once
// more, so that the ids in its records must be the same each time.
func Retry(o Options, since string, again func(line []byte) (records []byte, keep bool)) (objects int, err error) {
	s := offline(o.Dir)
	s.opt = o
	if _, err := os.Stat(s.path(openDir)); err != nil {
		return 0, fmt.Errorf("want a store_dir of this plugin: %w", err)
	}
	room, err := os.Open(s.path(rejectedDir))
	if err != nil {
		return 0, err
	}
	defer room.Close()
	// Against another Retry; the files themselves are only locked for a moment, since flushes append.
	if err := unix.Flock(int(room.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return 0, fmt.Errorf("retry rejected records: want to be the only one who does, but rejected/ is locked: %w", err)
	}
	entries, err := os.ReadDir(room.Name())
	if err != nil {
		return 0, err
	}
	r := &retry{s: s, again: again}
	defer r.cleanUp()
	for _, e := range entries { // by name, and so by age
		day, ok := strings.CutSuffix(e.Name(), ".ndjson")
		if _, err := time.Parse(time.DateOnly, day); !ok || err != nil || day < since {
			continue
		}
		if err := r.read(s.path(rejectedDir, e.Name())); err != nil {
			return r.objects, fmt.Errorf("retry %s/%s: %w", rejectedDir, e.Name(), err)
		}
	}
	if err := r.finish(); err != nil {
		return r.objects, err
	}
	if r.objects > 0 {
		if err := s.syncDir(s.path(sealingDir)); err != nil {
			return r.objects, err
		}
	}
	crash("retried")
	for _, d := range r.days {
		if err := r.replace(d); err != nil {
			return r.objects, fmt.Errorf("take out of %s what is delivered: %w", d.path, err)
		}
	}
	return r.objects, nil
}

type retry struct {
	s       *Spool
	again   func([]byte) ([]byte, bool)
	obj     *objectWriter
	bytes   int64 // in obj, before compression
	objects int
	days    []*rejectedDay
}

// rejectedDay is one file of rejected/ and what is left of it.
type rejectedDay struct {
	path    string
	read    os.FileInfo
	size    int64 // read so far; flushes may have appended since
	changed bool
	left    *os.File
}

// read maps one file, what stays of it goes into a file beside it.
func (r *retry) read(path string) error {
	f, err := openDay(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	d := &rejectedDay{path: path}
	if d.read, err = f.Stat(); err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
		return err
	}
	d.left, err = os.OpenFile(filepath.Join(filepath.Dir(path), ".tmp-retry-"+filepath.Base(path)), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	r.days = append(r.days, d)
	d.size = d.read.Size()
	in := bufio.NewReaderSize(io.LimitReader(f, d.size), 1<<20)
	left := bufio.NewWriter(d.left)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			records, keep := r.again(bytes.TrimSuffix(line, newline))
			if err := r.add(records); err != nil {
				return err
			}
			if !keep {
				d.changed = true
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

// add puts records into objects.
func (r *retry) add(lines []byte) error {
	o := &r.s.opt
	for len(lines) > 0 {
		if r.obj == nil {
			id, err := uuid.NewV7()
			if err != nil {
				return err
			}
			if r.obj, err = r.s.newObject(id, time.Now()); err != nil {
				return err
			}
			r.bytes = 0
		}
		part := lines
		if o.MaxRecords > 0 {
			part = headLines(lines, o.MaxRecords-r.obj.records)
		}
		lines = lines[len(part):]
		r.bytes += int64(len(part))
		if err := r.obj.add(part, bytes.Count(part, newline)); err != nil {
			return err
		}
		if r.bytes >= o.MaxBytes || o.MaxRecords > 0 && r.obj.records >= o.MaxRecords {
			if err := r.finish(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *retry) finish() error {
	if r.obj == nil {
		return nil
	}
	if err := r.obj.finish(r.obj.id); err != nil {
		return err
	}
	r.obj = nil
	r.objects++
	return nil
}

// replace puts what is left of a file in its place, with what flushes have appended meanwhile.
func (r *retry) replace(d *rejectedDay) error {
	if !d.changed {
		return nil
	}
	f, err := openDay(d.path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	now, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(now, d.read) || now.Size() < d.size {
		return errors.New("want nobody else to replace it, got another file")
	}
	if _, err := f.Seek(d.size, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(d.left, f); err != nil {
		return err
	}
	left, err := d.left.Stat()
	if err != nil {
		return err
	}
	if left.Size() == 0 {
		err = os.Remove(d.path)
	} else if err = r.s.sync(d.left); err == nil {
		err = os.Rename(d.left.Name(), d.path)
	}
	if err != nil {
		return err
	}
	return r.s.syncDir(filepath.Dir(d.path))
}

func (r *retry) cleanUp() {
	if r.obj != nil {
		r.obj.abort()
	}
	for _, d := range r.days {
		_ = d.left.Close()
		_ = os.Remove(d.left.Name())
	}
}

// openDay opens a file of rejected/ and locks it: who holds the lock of the file that the path names may
// append to it, or replace it.
func openDay(path string, flag int) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, flag, 0o600)
		if err != nil {
			return nil, err
		}
		for err = unix.EINTR; errors.Is(err, unix.EINTR); {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		}
		if err != nil {
			_ = f.Close()
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
