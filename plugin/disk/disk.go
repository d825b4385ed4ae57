// Package disk is one store_dir on a file system, and the operations that let files in it survive a power cut.
//
//   - A file is written, synced, renamed, and its directory synced. One whose fsync failed is not synced again: the kernel may
//     have dropped the pages, and a second fsync would lie.
//   - All that changes a store_dir goes through the five functions of a [Dir]; tests make those fail, and cut the power.
//   - No work is done in a directory that others can write, or that is not the one that was opened (owner.go).
//
// Lock: Dir.mu, inside of all others. Between processes: LOCK and open/ are held by the one that accepts, rejected/ by one that
// maps rejected records again, damaged/ by one that repairs.
package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// The directories of a store_dir; package spool says what is in each.
const (
	Open     = "open"
	Sealing  = "sealing"
	Outbox   = "outbox"
	Sent     = "sent"
	Failed   = "failed"
	Rejected = "rejected"
	Damaged  = "damaged"
)

// DamagedObjects is where damaged objects are kept: with their place.
const DamagedObjects = Damaged + "/" + Outbox

// Dirs are all of them in the order in which a record passes through them.
var Dirs = []string{Open, Sealing, Outbox, Sent, Failed, Rejected, Damaged}

// Dir is a store_dir. It is safe for concurrent use.
type Dir struct {
	Root string
	// One seam each, for tests that make them fail.
	Write    func(*os.File, []byte) (int, error)
	Sync     func(*os.File) error
	Truncate func(*os.File, int64) error
	Rename   func(from, to string) error
	Remove   func(string) error

	lock, open *os.File // LOCK and open/, locked; see Lock

	mu   sync.Mutex    // one at a time makes the ID
	salt atomic.Uint64 // see Salt; 0: not known yet
}

// New does nothing to the directory yet.
func New(root string) *Dir {
	return &Dir{
		Root: root, Write: (*os.File).Write, Sync: (*os.File).Sync, Truncate: (*os.File).Truncate, Rename: os.Rename, Remove: os.Remove,
	}
}

// Path is that of a file or directory below the root.
func (d *Dir) Path(elem ...string) string {
	return filepath.Join(append([]string{d.Root}, elem...)...)
}

// File is a file that is being written, in sealing/: a start removes what a crash leaves of it.
type File struct {
	dir  *Dir
	file *os.File
}

// Create begins a file.
func (d *Dir) Create() (*File, error) {
	f, err := os.CreateTemp(d.Path(Sealing), "*.tmp")
	return &File{d, f}, err
}

// Write implements [io.Writer].
func (f *File) Write(b []byte) (int, error) { return f.dir.Write(f.file, b) }

// Close makes the bytes durable, but not the name.
func (f *File) Close() error {
	err := f.dir.Sync(f.file)
	if cerr := f.file.Close(); err == nil {
		err = cerr
	}
	return err
}

// Rename gives a closed file its name, which lasts once the directory is synced.
func (f *File) Rename(to string) error { return f.dir.Rename(f.file.Name(), to) }

// Abort removes the file, if it has not got its name.
func (f *File) Abort() {
	_ = f.file.Close()
	_ = f.dir.Remove(f.file.Name())
}

// WriteFile makes a whole file appear at once, durable with its name.
func (d *Dir) WriteFile(path string, b []byte) error {
	f, err := d.Create()
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = f.Rename(path)
	}
	if err != nil {
		f.Abort()
		return err
	}
	return d.SyncDir(filepath.Dir(path))
}

// SyncDir makes the entries of directories durable, one after the other.
func (d *Dir) SyncDir(dirs ...string) error {
	for _, dir := range dirs {
		f, err := os.Open(dir)
		if err == nil {
			if err = errors.Join(d.Sync(f), f.Close()); err != nil {
				err = fmt.Errorf("fsync %s: %w", dir, err)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// MkdirAll makes a directory and those above it up to the root, each durable.
func (d *Dir) MkdirAll(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) && dir != d.Root {
		if err = d.MkdirAll(filepath.Dir(dir)); err == nil {
			err = os.Mkdir(dir, 0o700)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		if err = d.SyncDir(filepath.Dir(dir)); err != nil {
			err = errors.Join(err, os.Remove(dir)) // one that is there is taken for durable
		}
	}
	return err
}

// Move renames a file into a directory that is made if it is missing. Neither directory is synced for it.
func (d *Dir) Move(from, to string) error {
	if err := d.MkdirAll(filepath.Dir(to)); err != nil {
		return err
	}
	return d.Rename(from, to)
}

// SyncAll makes durable what stands in the directories, however the last process ended.
func (d *Dir) SyncAll() error {
	dirs := []string{d.Root}
	for _, dir := range Dirs {
		dirs = append(dirs, d.Path(dir))
	}
	days, err := os.ReadDir(d.Path(Rejected)) // from where meterctl removes what it has mapped again
	for _, day := range days {
		if day.IsDir() {
			dirs = append(dirs, d.Path(Rejected, day.Name()))
		}
	}
	if err == nil {
		err = d.SyncDir(dirs...)
	}
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(d.Root)
	for err == nil && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		_ = d.SyncDir(dir) // most are not the plugin's, and may not be readable
	}
	return err
}

// RemoveEmpty removes the directories below one that hold nothing: whether they are durable is not known, and MkdirAll takes
// those for durable that are there.
func (d *Dir) RemoveEmpty(below string) {
	entries, _ := os.ReadDir(d.Path(below)) // what cannot be read is not removed
	for _, e := range entries {
		if e.IsDir() {
			d.RemoveEmpty(filepath.Join(below, e.Name()))
			_ = os.Remove(d.Path(below, e.Name())) // fails for the others
		}
	}
}

// RemoveEmptyAbove removes the directories of a file that is gone, as far as they are empty. below is one of Dirs.
func (d *Dir) RemoveEmptyAbove(below, file string) {
	for dir := filepath.Dir(file); dir != "." && os.Remove(d.Path(below, dir)) == nil; {
		dir = filepath.Dir(dir)
	}
}

// Walk calls do with each file below root, by its path there. What is gone by the time it is looked at is left out.
func Walk(root string, do func(path string, st fs.FileInfo)) error {
	return filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			var st fs.FileInfo
			if st, err = e.Info(); err == nil {
				do(strings.TrimPrefix(p, root+"/"), st)
			}
		}
		if errors.Is(err, fs.ErrNotExist) && p != root {
			return nil
		}
		return err
	})
}

// Each is Walk in no order: of a large directory it holds few names at a time. do may remove the file.
func Each(root string, do func(path string, st fs.FileInfo)) error { return each(root, "", do) }

func each(root, below string, do func(path string, st fs.FileInfo)) error {
	f, err := os.Open(filepath.Join(root, below))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && below != "" {
			return nil
		}
		return err
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(256)
		for _, e := range entries {
			name := filepath.Join(below, e.Name())
			if e.IsDir() {
				if err := each(root, name, do); err != nil {
					return err
				}
			} else if st, err := e.Info(); err == nil {
				do(name, st)
			} else if !errors.Is(err, fs.ErrNotExist) {
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
