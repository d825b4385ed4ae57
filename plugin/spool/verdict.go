package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ReasonSuffix ends the name of the file beside a refused object that holds the reason.
const ReasonSuffix = ".reason.txt"

// meterctl puts objects into sealing/ to be sent again; while there is anything that it could send,
// Run looks there this often.
const lookForResent = 15 * time.Second

// KeepSent says whether Sent keeps objects in sent/ from now on, for their verdict, or removes them.
func (s *Spool) KeepSent(keep bool) {
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	s.outbox.keepSent = keep
}

// ForgetAll removes every object from sent/. It logs what it could not remove.
func (s *Spool) ForgetAll() {
	objects, err := s.InBucket()
	for _, obj := range objects {
		err = errors.Join(err, s.Forget(obj))
	}
	if err != nil {
		s.opt.Log.Error("sent objects could not be removed", "err", err)
	}
}

// Uploaded receives after objects came into sent/.
func (s *Spool) Uploaded() <-chan struct{} { return s.uploaded }

// InBucket lists sent/, the longest there first.
func (s *Spool) InBucket() ([]Object, error) {
	if err := s.attached(); err != nil {
		return nil, err
	}
	return s.listObjects(sentDir)
}

// Forget removes an object from sent/: its verdict is not waited for any more.
func (s *Spool) Forget(obj Object) error {
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	err := s.remove(s.path(sentDir, obj.file()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // given up, for want of room, since it was listed
	}
	if err != nil {
		return fmt.Errorf("forget %s: %w", obj.Key, err)
	}
	s.removeEmpty(sentDir, obj.Key)
	s.count(&s.sent, -obj.Size)
	return nil
}

// Refuse moves an object from sent/ to failed/, beside the reason. An error means that it has not.
func (s *Spool) Refuse(obj Object, reason []byte) error {
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	to, why := s.path(failedDir, obj.file()), s.path(failedDir, obj.Key)+ReasonSuffix
	if err := s.mkdirAll(filepath.Dir(to)); err != nil {
		return fmt.Errorf("keep the refused %s: %w", obj.Key, err)
	}
	// The reason first: an object in failed/ has one.
	if err := s.writeFile(why, reason); err != nil {
		return fmt.Errorf("keep the reason for %s: %w", obj.Key, err)
	}
	crash("reason-written")
	if err := s.rename(s.path(sentDir, obj.file()), to); err != nil {
		return fmt.Errorf("keep the refused %s: %w", obj.Key, errors.Join(err, s.remove(why)))
	}
	crash("refused")
	s.removeEmpty(sentDir, obj.Key)
	s.count(&s.sent, -obj.Size)
	s.mu.Lock()
	s.failed += obj.Size
	s.resendable = true
	s.mu.Unlock()
	s.poke()
	// Should that fail, and a power cut undo the rename, the report is found again.
	_ = s.syncDir(filepath.Dir(to))
	return nil
}

// keep moves a delivered object from outbox/ to sent/. The caller holds outbox.mu.
func (s *Spool) keep(obj Object) error {
	from, to := s.path(outboxDir, obj.file()), s.path(sentDir, obj.file())
	if err := s.mkdirAll(filepath.Dir(to)); err != nil {
		return err
	}
	now := time.Now() // the verdict's window begins
	if err := os.Chtimes(from, now, now); err != nil {
		return err
	}
	// Not synced: should a power cut undo it, the object is sent again, as it was.
	if err := s.rename(from, to); err != nil {
		return err
	}
	s.count(&s.objects, -obj.Size)
	s.count(&s.sent, obj.Size)
	s.poke() // perhaps there is too much of it now
	select {
	case s.uploaded <- struct{}{}:
	default:
	}
	return nil
}

// listObjects gives the objects of a room, the oldest first.
func (s *Spool) listObjects(room string) ([]Object, error) {
	var objects []Object
	err := walk(s.path(room), func(file string, st fs.FileInfo) {
		if !strings.HasSuffix(file, ReasonSuffix) && !strings.HasPrefix(st.Name(), formerLeft) && st.Mode().IsRegular() {
			key, sum := parseFile(file)
			objects = append(objects, Object{Key: key, Size: st.Size(), Since: st.ModTime(), sum: sum})
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list %s/: %w", room, err)
	}
	slices.SortFunc(objects, func(a, b Object) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.Key, b.Key)
	})
	return objects, nil
}
