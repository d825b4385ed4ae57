package spool

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
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

// Salt is a number that no other spool has: what makes names of the bytes of chunks puts it in, since other machines may well
// have equal ones. It is made when it is first asked for, and then stays the same, so that a chunk which comes again after a
// crash gets the same names.
func (s *Spool) Salt() (uint64, error) {
	if salt := s.salt.Load(); salt != 0 {
		return salt, nil
	}
	s.mu.Lock() // one makes it, the next reads it
	defer s.mu.Unlock()
	if err := s.attached(); err != nil {
		return 0, err
	}
	path := s.path("ID")
	id, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if len(id) > 0 { // a power cut may still undo it
		if err := s.syncDir(s.opt.Dir); err != nil {
			return 0, err
		}
	} else {
		id = []byte(uuid.NewString() + "\n")
		if err := s.writeFile(path, id); err != nil {
			return 0, err
		}
	}
	s.salt.Store(saltOf(id))
	return s.salt.Load(), nil
}

func saltOf(id []byte) uint64 {
	hash := fnv.New64a()
	_, _ = hash.Write(id) // it cannot fail
	return hash.Sum64()
}
