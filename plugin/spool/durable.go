package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// writeFile makes a whole file appear at once, durable with its directory entry.
func (s *Spool) writeFile(path string, b []byte) error {
	tmp, err := os.CreateTemp(s.path(sealingDir), "*.tmp")
	if err != nil {
		return err
	}
	_, err = s.write(tmp, b)
	if err == nil {
		err = s.sync(tmp)
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = s.rename(tmp.Name(), path)
	}
	if err != nil {
		_ = s.remove(tmp.Name())
		return err
	}
	return s.syncDir(filepath.Dir(path))
}

// syncDir makes the entries of a directory durable.
func (s *Spool) syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := s.sync(d); err != nil {
		return fmt.Errorf("fsync %s: %w", dir, err)
	}
	return nil
}

// mkdirAll makes a directory and those above it up to Dir, each durable.
func (s *Spool) mkdirAll(dir string) error {
	err := os.Mkdir(dir, 0o700)
	switch {
	case err == nil:
		if err := s.syncDir(filepath.Dir(dir)); err != nil {
			return errors.Join(err, os.Remove(dir)) // one that is there is taken for durable
		}
		return nil
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist) && dir != s.opt.Dir:
		if err := s.mkdirAll(filepath.Dir(dir)); err != nil {
			return err
		}
		return s.mkdirAll(dir)
	}
	return err
}

// syncDirs makes durable what stands in the directories, however the last process ended.
func (s *Spool) syncDirs() error {
	dirs := append([]string{"."}, Rooms...)
	days, err := os.ReadDir(s.path(rejectedDir)) // from where meterctl removes what it has mapped again
	if err != nil {
		return err
	}
	for _, day := range days {
		if day.IsDir() {
			dirs = append(dirs, rejectedDir+"/"+day.Name())
		}
	}
	for _, dir := range dirs {
		if err := s.syncDir(s.path(dir)); err != nil {
			return err
		}
	}
	dir, err := filepath.Abs(s.opt.Dir)
	for err == nil && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		_ = s.syncDir(dir) // most are not this package's, and may not be readable
	}
	return err
}

// removeEmptyDirs removes the folders that hold nothing: whether they are durable is not known, and
// mkdirAll takes those for durable that are there.
func (s *Spool) removeEmptyDirs(room string) error {
	var dirs []string
	err := filepath.WalkDir(s.path(room), func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && p != s.path(room) {
			dirs = append(dirs, p)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // meterctl
		}
		return err
	})
	for _, dir := range slices.Backward(dirs) {
		_ = os.Remove(dir) // fails for the others
	}
	return err
}

// removeEmpty removes the folders of a key that is gone, as far as they are empty.
func (s *Spool) removeEmpty(room, key string) {
	for dir := path.Dir(key); dir != "."; dir = path.Dir(dir) {
		if os.Remove(s.path(room, dir)) != nil {
			return
		}
	}
}

// lockRoom is for one at a time who does something in a room, until the file is closed.
func (s *Spool) lockRoom(room, does string) (*os.File, error) {
	f, err := os.Open(s.path(room))
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("want to be the only one who %s, but %s/ is locked: %w", does, room, err)
	}
	return f, nil
}

// walk calls do with each file below root, by its path there. What is gone by the time it is looked at is left out.
func walk(root string, do func(path string, st fs.FileInfo)) error {
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && p != root {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			do(strings.TrimPrefix(p, root+"/"), st)
		}
		return err
	})
}
