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

// trimSent gives up waiting for the verdict on the oldest objects in sent/ until all of store_dir is
// within its limit, and on every one if the disk is full. Only Run calls it.
func (s *Spool) trimSent() {
	s.mu.Lock()
	over := s.held().all + s.sent - s.opt.Limit
	if s.opt.Limit <= 0 {
		over = 0
	}
	if s.crowded {
		over = s.sent
	}
	s.crowded = false
	none := s.sent == 0
	s.mu.Unlock()
	if over <= 0 || none {
		return
	}
	s.outbox.mu.Lock() // nothing comes in meanwhile
	objects, err := s.InBucket()
	if err == nil { // somebody may have removed some
		sum := sizeOf(objects)
		s.mu.Lock()
		over -= s.sent - sum
		s.sent = sum
		s.mu.Unlock()
	}
	s.outbox.mu.Unlock()
	n := 0
	for ; n < len(objects) && over > 0 && err == nil; n++ {
		err = s.Forget(objects[n])
		over -= objects[n].Size
	}
	if (n > 0 || err != nil) && time.Since(s.sealer.trimmed) > time.Minute {
		s.sealer.trimmed = time.Now()
		s.opt.Log.Warn("no room to keep all that is in the bucket until its verdict: the oldest is given up; should Amberflo refuse it, that will not be seen. "+
			"A larger store_dir_limit_size or a shorter failure_reports_window helps", "objects", n, "err", err)
	}
}

// lookAside measures failed/ and rejected/ again, from where meterctl takes files, and notes whether
// there is anything left that it could send.
func (s *Spool) lookAside() {
	s.outbox.mu.Lock() // no Refuse meanwhile, and nothing comes into rejected/
	defer s.outbox.mu.Unlock()
	refused, err1 := Refused(s.opt.Dir)
	days, err2 := s.listObjects(rejectedDir)
	aside := s.hasAside()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err1 == nil {
		s.failed = sizeOf(refused)
	}
	if err2 == nil {
		s.rejected = sizeOf(days)
	}
	s.resendable = aside || s.failed+s.rejected > 0 || err1 != nil || err2 != nil // what was known holds until the next look
}

func sizeOf(objects []Object) (n int64) {
	for _, obj := range objects {
		n += obj.Size
	}
	return n
}

// count adds to one of the counts of bytes: objects, sent.
func (s *Spool) count(of *int64, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*of += bytes
}

// removeEmpty removes the folders of a key that is gone, as far as they are empty.
func (s *Spool) removeEmpty(room, key string) {
	for dir := path.Dir(key); dir != "."; dir = path.Dir(dir) {
		if os.Remove(s.path(room, dir)) != nil {
			return
		}
	}
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
