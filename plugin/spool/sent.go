package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/object"
)

// sent is what is known of sent/, where an object first waits for its verdict and then, if Options.Retention says so, is kept
// for an audit: its mode is 0400 from then on, so that the next process does not ask for its verdict again. What is kept may be
// much, and nothing of it is held in memory. outbox.mu guards it.
type sent struct {
	await   bool              // see KeepSent
	awaited map[string]Object // what waits, by file; nil before it was read from the disk
	look    time.Time         // when to look for what has been kept for long enough; zero if nothing is kept
}

// keptMode is that of an object whose verdict is not waited for any more.
const keptMode = 0o400

// KeepSent says whether Sent keeps objects in sent/ for their verdict from now on. For an audit it keeps them in any case.
func (s *Spool) KeepSent(keep bool) {
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	s.sent.await = keep
}

// keepSent moves a delivered object from outbox/ to sent/. The caller holds outbox.mu.
func (s *Spool) keepSent(obj Object) error {
	from, to := s.dir.Path(disk.Outbox, obj.File()), s.dir.Path(disk.Sent, obj.File())
	obj.Since = time.Now() // the verdict's window begins
	if err := os.Chtimes(from, obj.Since, obj.Since); err != nil {
		return err
	}
	// Not synced: should a power cut undo it, the object is sent again, as it was.
	if err := s.dir.Move(from, to); err != nil {
		return err
	}
	s.quota.sent.Add(obj.Size)
	s.poke() // perhaps there is too much of it now
	if !s.sent.await {
		s.keep(obj)
		return nil
	}
	if s.sent.awaited != nil {
		s.sent.awaited[obj.File()] = obj
	}
	select {
	case s.uploaded <- struct{}{}:
	default:
	}
	return nil
}

// keep ends the wait for the verdict on an object that stays in sent/. The caller holds outbox.mu.
func (s *Spool) keep(obj Object) {
	delete(s.sent.awaited, obj.File())
	// It may have been given up, for want of space, since it was listed. Where a file system has no modes, the next process
	// asks once more.
	_ = os.Chmod(s.dir.Path(disk.Sent, obj.File()), keptMode)
	if s.sent.look.IsZero() {
		s.sent.look = time.Now().Add(s.expiryPeriod())
		s.poke()
	}
}

// Uploaded receives after objects came into sent/ that wait for their verdict.
func (s *Spool) Uploaded() <-chan struct{} { return s.uploaded }

// InBucket lists what waits for its verdict in sent/, the longest there first. It takes no longer the more is kept there for
// an audit, but for the first time.
func (s *Spool) InBucket() ([]Object, error) {
	if err := s.dir.Attached(); err != nil {
		return nil, err
	}
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	var objects []Object
	if s.sent.awaited == nil {
		awaited := make(map[string]Object)
		if err := s.walkSent(func(obj Object, kept bool) {
			if !kept {
				awaited[obj.File()] = obj
			}
		}); err != nil {
			return nil, err
		}
		s.sent.awaited = awaited
	}
	for file, obj := range s.sent.awaited {
		st, err := os.Lstat(s.dir.Path(disk.Sent, file))
		if errors.Is(err, fs.ErrNotExist) { // somebody removed it; trimSent counts again
			delete(s.sent.awaited, file)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s/: %w", disk.Sent, err)
		}
		obj.Size, obj.Since = st.Size(), st.ModTime()
		objects = append(objects, obj)
	}
	slices.SortFunc(objects, oldestFirst)
	return objects, nil
}

// walkSent calls each with what lies in sent/, in no order, and whether it is kept for an audit. It holds few of them at a time.
func (s *Spool) walkSent(each func(obj Object, kept bool)) error {
	err := disk.Each(s.dir.Path(disk.Sent), func(file string, st fs.FileInfo) {
		if !IsNote(disk.Sent+"/"+file) && st.Mode().IsRegular() {
			key, sum := object.ParseFile(file)
			each(Object{Key: key, Size: st.Size(), Since: st.ModTime(), Sum: sum}, st.Mode().Perm()&0o200 == 0)
		}
	})
	if err != nil {
		return fmt.Errorf("list %s/: %w", disk.Sent, err)
	}
	return nil
}

// Forget ends the wait for the verdict on an object: it is removed from sent/, or kept there for an audit.
func (s *Spool) Forget(obj Object) error {
	if time.Since(obj.Since) < s.opt.Retention {
		s.outbox.mu.Lock()
		defer s.outbox.mu.Unlock()
		s.keep(obj)
		return nil
	}
	_, err := s.removeSent(obj)
	return err
}

// removeSent removes an object from sent/, or returns false if it is not there.
func (s *Spool) removeSent(obj Object) (removed bool, err error) {
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	delete(s.sent.awaited, obj.File())
	err = s.dir.Remove(s.dir.Path(disk.Sent, obj.File()))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // given up, for want of space, since it was listed
	}
	if err != nil {
		if s.sent.awaited != nil {
			s.sent.awaited[obj.File()] = obj
		}
		return false, fmt.Errorf("forget %s: %w", obj.Key, err)
	}
	s.leftSent(obj)
	return true, nil
}

// leftSent notes that an object is not in sent/ any more. The caller holds outbox.mu.
func (s *Spool) leftSent(obj Object) {
	delete(s.sent.awaited, obj.File())
	s.dir.RemoveEmptyAbove(disk.Sent, obj.Key)
	s.quota.sent.Add(-obj.Size)
}

// ForgetAll forgets every object that waits in sent/. It logs what it could not remove.
func (s *Spool) ForgetAll() {
	objects, err := s.InBucket()
	for _, obj := range objects {
		err = errors.Join(err, s.Forget(obj))
	}
	if err != nil {
		s.opt.Log.Error("sent objects could not be removed", "err", err)
	}
}

// expiryPeriod is how long after it was kept for long enough an object may still lie there.
func (s *Spool) expiryPeriod() time.Duration {
	return min(max(s.opt.Retention/16, time.Second), time.Hour)
}

// expireSent removes what was kept for an audit for long enough, and returns when to look again, if anything is kept. Only Run
// calls it.
func (s *Spool) expireSent() (next time.Duration, kept bool) {
	o := &s.outbox
	o.mu.Lock()
	look := s.sent.look
	if due := !look.IsZero() && time.Until(look) <= 0; due {
		s.sent.look = time.Time{} // what is kept from here on sets it
	}
	o.mu.Unlock()
	if look.IsZero() {
		return 0, false
	}
	if wait := time.Until(look); wait > 0 {
		return wait, true
	}
	var old []Object
	err := s.walkSent(func(obj Object, isKept bool) {
		switch {
		case !isKept:
		case time.Since(obj.Since) < s.opt.Retention:
			kept = true
		case len(old) < mostAtOnce:
			old = append(old, obj)
		default: // the next time
			kept = true
		}
	})
	for _, obj := range old {
		if _, rerr := s.removeSent(obj); rerr != nil {
			err, kept = errors.Join(err, rerr), true
		}
	}
	if err != nil {
		kept = true
		s.opt.Log.Error("sent objects could not be removed", "err", err)
	}
	next = s.expiryPeriod()
	if len(old) == mostAtOnce {
		next = time.Millisecond
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if kept || !s.sent.look.IsZero() {
		s.sent.look = time.Now().Add(next)
	}
	return next, !s.sent.look.IsZero()
}

// mostAtOnce bounds what of sent/ is in memory while some of it is removed.
const mostAtOnce = 1000

// oldestSent returns the oldest of sent/, the oldest of them first, and how many bytes lie there. The caller holds outbox.mu.
func (s *Spool) oldestSent() (oldest []Object, size int64, err error) {
	cut := func() {
		slices.SortFunc(oldest, oldestFirst)
		oldest = oldest[:min(len(oldest), mostAtOnce)]
	}
	err = s.walkSent(func(obj Object, _ bool) {
		size += obj.Size
		if oldest = append(oldest, obj); len(oldest) == 2*mostAtOnce {
			cut()
		}
	})
	cut()
	return oldest, size, err
}

func oldestFirst(a, b Object) int {
	return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.Key, b.Key))
}

// trimSent gives up the oldest objects in sent/ until all of store_dir is within its limit, and on a full disk
// until they have made the space that it lacks.
// Only Run calls it.
func (s *Spool) trimSent() {
	q := &s.quota
	over := q.used(s.journal.Held()) + q.sent.Load() - s.opt.Limit
	if s.opt.Limit <= 0 {
		over = 0
	}
	over = max(over, q.crowded.Swap(0))
	if over <= 0 || q.sent.Load() == 0 {
		return
	}
	var err error
	var n [2]int // objects given up: that were kept, that waited
	for all := false; over > 0 && err == nil; {
		if len(s.oldest) == 0 {
			if all {
				break
			}
			s.outbox.mu.Lock() // nothing comes in meanwhile
			var size int64
			if s.oldest, size, err = s.oldestSent(); err == nil { // somebody may have removed some
				over -= q.sent.Swap(size) - size
			}
			s.outbox.mu.Unlock()
			all = len(s.oldest) < mostAtOnce
			continue
		}
		obj := s.oldest[0]
		s.oldest = s.oldest[1:]
		s.outbox.mu.Lock()
		_, waits := s.sent.awaited[obj.File()]
		waits = waits || s.sent.awaited == nil && s.sent.await
		s.outbox.mu.Unlock()
		var removed bool
		switch removed, err = s.removeSent(obj); {
		case removed && waits:
			n[1]++
		case removed:
			n[0]++
		}
		if removed {
			over -= obj.Size
		} else if err == nil {
			s.oldest, all = nil, false // somebody else removes some: count again
		}
	}
	s.tellTrimmed(n, err)
}

// tellTrimmed says what was given up for want of space. What was kept for an audit may give way all the time.
func (s *Spool) tellTrimmed(n [2]int, err error) {
	for i, tell := range []struct {
		every time.Duration
		text  string
	}{
		{time.Hour, "no space to keep all that is in the bucket for an audit: the oldest is given up; a bill of that time lacks it. " +
			"A larger store_dir_limit_size or a shorter sent_retention helps"},
		{time.Minute, "no space to keep all that is in the bucket until its verdict: the oldest is given up; should Amberflo not take it, that will not be seen. " +
			"A larger store_dir_limit_size or a shorter failure_reports_window helps"},
	} {
		if (n[i] > 0 || i == 1 && err != nil) && time.Since(s.trimmed[i]) > tell.every {
			s.trimmed[i] = time.Now()
			s.opt.Log.Warn(tell.text, "objects", n[i], "err", err)
		}
	}
}
