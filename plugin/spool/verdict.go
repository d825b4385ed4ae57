package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/sealing"
)

// ReasonSuffix ends the name of the file beside a failed object that holds the reason.
const ReasonSuffix = ".reason.txt"

const (
	// AuditLog is where is written down what is done to failed objects by hand.
	AuditLog = disk.Failed + "/audit.ndjson"
	// formerAuditLog is what earlier versions called it.
	formerAuditLog = disk.Failed + "/journal.ndjson"
)

// TakeOverAuditLog gives the audit log of an earlier version its name of today.
func TakeOverAuditLog(d *disk.Dir) error {
	_, missing := os.Lstat(d.Path(AuditLog))
	if _, err := os.Lstat(d.Path(formerAuditLog)); err != nil || missing == nil {
		return nil
	}
	return d.Rename(d.Path(formerAuditLog), d.Path(AuditLog))
}

// IsNote tells what lies among objects and rejects and is none: file is the path below store_dir.
func IsNote(file string) bool {
	return file == AuditLog || file == formerAuditLog || strings.HasSuffix(file, ReasonSuffix) || strings.HasPrefix(path.Base(file), sealing.FormerLeft)
}

// KeepFailed moves an object from sent/ to failed/, beside the reason. An error means that it has not.
func (s *Spool) KeepFailed(obj Object, reason []byte) error {
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	to, why := s.dir.Path(disk.Failed, obj.File()), s.dir.Path(disk.Failed, obj.Key)+ReasonSuffix
	if err := s.dir.MkdirAll(filepath.Dir(to)); err != nil {
		return fmt.Errorf("keep the failed %s: %w", obj.Key, err)
	}
	// The reason first: an object in failed/ has one.
	if err := s.dir.WriteFile(why, reason); err != nil {
		return fmt.Errorf("keep the reason for %s: %w", obj.Key, err)
	}
	disk.Crash("reason-written")
	if err := s.dir.Rename(s.dir.Path(disk.Sent, obj.File()), to); err != nil {
		return fmt.Errorf("keep the failed %s: %w", obj.Key, errors.Join(err, s.dir.Remove(why)))
	}
	disk.Crash("refused")
	s.leftSent(obj)
	s.quota.failed.Add(obj.Size)
	s.quota.resendable.Store(true)
	s.poke()
	// Should that fail, and a power cut undo the rename, the report is found again.
	_ = s.dir.SyncDir(filepath.Dir(to))
	return nil
}

// FailedRecords calls each with the records of an object in failed/, as object.Records does.
func (s *Spool) FailedRecords(obj Object, each func(line []byte) error) (records int, err error) {
	f, err := os.Open(s.dir.Path(disk.Failed, obj.File()))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	records, _, err = object.Records(f, each)
	return records, err
}

// List gives the objects of a directory, the oldest first; of rejected/ the files.
func List(d *disk.Dir, dir string) ([]Object, error) {
	var objects []Object
	err := disk.Walk(d.Path(dir), func(file string, st fs.FileInfo) {
		if !IsNote(dir+"/"+file) && st.Mode().IsRegular() {
			key, sum := object.ParseFile(file)
			objects = append(objects, Object{Key: key, Size: st.Size(), Since: st.ModTime(), Sum: sum})
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list %s/: %w", dir, err)
	}
	slices.SortFunc(objects, func(a, b Object) int {
		return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.Key, b.Key))
	})
	return objects, nil
}

// Find gives the object of that key in a directory, or says that it wants one. The name of its file will do too.
func Find(d *disk.Dir, dir, key string) (Object, error) {
	err := errors.New("a file that is no object")
	if filepath.IsLocal(key) && !IsNote(dir+"/"+key) {
		key, _ = object.ParseFile(key)
		at, name := path.Split(key)
		var entries []fs.DirEntry
		entries, err = os.ReadDir(d.Path(dir, at))
		for _, e := range entries {
			of, sum := object.ParseFile(e.Name())
			if of != name || !e.Type().IsRegular() {
				continue
			}
			if st, err := e.Info(); err == nil {
				return Object{Key: key, Size: st.Size(), Since: st.ModTime(), Sum: sum}, nil
			}
		}
		err = cmp.Or(err, fs.ErrNotExist)
	}
	return Object{}, fmt.Errorf("want the key of an object in %s/, got %q: %w", dir, key, err)
}
