package spool

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
)

// Reject appends lines (NDJSON) to the day's file in rejected/ and returns when they are durable. A
// failed write leaves no part of a line behind. Beyond Options.RejectLimit the answer is ErrFull, unless
// nothing else is there: a chunk with more than that would never be accepted.
func (s *Spool) Reject(lines []byte) error {
	s.asideMu.Lock()
	defer s.asideMu.Unlock()
	s.mu.Lock()
	have := s.rejected
	s.mu.Unlock()
	if s.opt.RejectLimit > 0 && have > 0 && have+int64(len(lines)) > s.opt.RejectLimit {
		return fmt.Errorf("%w of rejected records: want at most %d bytes (rejected_limit_size), have %d; mend the mapping and run meterctl retry-rejected",
			ErrFull, s.opt.RejectLimit, have)
	}
	path := s.path(rejectedDir, time.Now().UTC().Format(time.DateOnly)+".ndjson")
	f, err := openDay(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, flushPatience)
	if err != nil {
		return fmt.Errorf("set aside rejected records: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("set aside rejected records: %w", err)
	}
	isNew := st.Size() == 0
	if !isNew {
		last := []byte{'\n'}
		if _, err := f.ReadAt(last, st.Size()-1); err == nil && last[0] != '\n' {
			lines = append([]byte{'\n'}, lines...) // behind a line that a crash tore
		}
	}
	if _, err = s.write(f, lines); err == nil {
		err = s.sync(f)
	}
	if err != nil {
		return fmt.Errorf("set aside %d bytes of rejected records: %w", len(lines), errors.Join(err, s.truncate(f, st.Size())))
	}
	s.mu.Lock()
	s.rejected += int64(len(lines))
	s.resendable = true
	s.mu.Unlock()
	if isNew {
		s.poke()
	}
	// Not only of a new one: meterctl may have put it there, and died before it synced the folder.
	if err := s.syncDir(s.path(rejectedDir)); err != nil {
		if isNew {
			err = errors.Join(err, s.remove(path))
		}
		return err
	}
	return nil
}

// Damaged keeps bytes that could not be decoded in damaged/ under a name, durably. The same name again
// replaces the file, so that a chunk which comes again is kept once.
func (s *Spool) Damaged(name string, b []byte) error {
	if err := s.writeFile(s.path(damagedDir, name), b); err != nil {
		return fmt.Errorf("keep %d damaged bytes: %w", len(b), err)
	}
	return nil
}

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
