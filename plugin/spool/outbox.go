package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Object is a sealed object that waits in the outbox.
type Object struct {
	Key   string
	Size  int64     // bytes as they are stored
	Since time.Time // when it was sealed; in sent/ and failed/ uploaded

	sum       []byte // MD5 of its bytes as they were sealed; nil if it came without
	notBefore time.Time
	letsBy    int64 // until so many objects have been sent, others go first
	failure   int64 // its latest, counted over all objects
}

// outbox is the queue of what lies in outbox/, oldest first. It never holds content.
type outbox struct {
	mu      sync.Mutex // guards what follows, and renames into outbox/ against removal of empty folders
	waiting []Object
	taken   map[string]Object // handed out, by key
	bytes   int64             // of both
	sealed  int64             // objects that came in since the start
	sent    int64             // objects since the start
	failed  int64             // attempts since the start
	failing bool              // the latest attempt failed
	damaged int64             // objects that were set aside since the start, or lay there then
	arrived chan struct{}     // closed when waiting grows; nil if nobody waits

	keepSent bool
}

// add keeps the order, whichever end an object that comes back was taken from.
func (o *outbox) add(obj Object) {
	at := len(o.waiting)
	for at > 0 && o.waiting[at-1].Since.After(obj.Since) {
		at--
	}
	o.waiting = slices.Insert(o.waiting, at, obj)
	if o.arrived != nil {
		close(o.arrived)
		o.arrived = nil
	}
}

// Take hands out an object that nobody else holds, the oldest or the newest, and waits for one if there
// is none. It must be given back with Sent, Failed or Return. The error is that of ctx.
func (s *Spool) Take(ctx context.Context, newest bool) (Object, error) {
	o := &s.outbox
	for {
		o.mu.Lock()
		i, due := o.next(newest)
		if i >= 0 {
			obj := o.waiting[i]
			o.waiting = slices.Delete(o.waiting, i, i+1)
			o.taken[obj.Key] = obj
			o.mu.Unlock()
			return obj, nil
		}
		if o.arrived == nil {
			o.arrived = make(chan struct{})
		}
		arrived := o.arrived
		o.mu.Unlock()

		var timer <-chan time.Time
		if !due.IsZero() {
			timer = time.After(time.Until(due))
		}
		select {
		case <-ctx.Done():
			return Object{}, ctx.Err()
		case <-arrived:
		case <-timer:
		}
	}
}

// next gives the index of the first object, from either end, whose time has come, or -1 and when the
// first of them will be due. Those that let others by come last, the one that failed longest ago first of them. After a failure
// the search begins anywhere: what fails may well lie together, such as a day's folder that is not allowed.
func (o *outbox) next(newest bool) (int, time.Time) {
	var due time.Time
	now, last, first := time.Now(), -1, 0
	if o.failing && len(o.waiting) > 0 {
		first = rand.N(len(o.waiting))
	}
	for k := range o.waiting {
		i := (first + k) % len(o.waiting)
		if newest {
			i = len(o.waiting) - 1 - i
		}
		switch obj := &o.waiting[i]; {
		case obj.notBefore.After(now):
			if due.IsZero() || obj.notBefore.Before(due) {
				due = obj.notBefore
			}
		case obj.letsBy <= o.sent:
			return i, time.Time{}
		case last < 0 || obj.failure < o.waiting[last].failure:
			last = i
		}
	}
	return last, due
}

// Failed gives an object back whose attempt failed. It is not handed out before that time; until so many others have been sent,
// they go first, as long as there are any.
func (s *Spool) Failed(obj Object, notBefore time.Time, others int) {
	o := &s.outbox
	o.mu.Lock()
	o.failed++
	o.failing = true
	obj.failure, obj.letsBy = o.failed, o.sent+int64(others)
	o.mu.Unlock()
	s.Return(obj, notBefore)
}

// Return gives an object back that was not tried; it is not handed out before that time.
func (s *Spool) Return(obj Object, notBefore time.Time) {
	obj.notBefore = notBefore
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	delete(s.outbox.taken, obj.Key)
	s.outbox.add(obj)
}

// Sent takes an object that is in the bucket out of the outbox: to sent/, if KeepSent says so. Should
// that be lost in a power cut, the object is sent once more, under the same key and with the same bytes.
// On an error it is handed out again later, for the same.
func (s *Spool) Sent(obj Object) error {
	crash("uploaded")
	o := &s.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.taken, obj.Key)
	o.sent++
	o.failing = false
	var err error
	if !o.keepSent || s.keep(obj) != nil { // a full disk must get empty
		if err = s.remove(s.path(outboxDir, obj.file())); err == nil {
			s.count(&s.objects, -obj.Size)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		s.count(&s.objects, -obj.Size) // somebody removed it
	} else if err != nil {
		obj.notBefore = time.Now().Add(time.Minute)
		o.add(obj)
		return fmt.Errorf("take the delivered object %s out of the outbox: %w", obj.Key, err)
	}
	o.bytes -= obj.Size
	s.removeEmpty(outboxDir, obj.Key)
	crash("removed")
	return nil
}

// Gone takes an object out of the queue whose file somebody removed; false if it is still there, or outbox/ itself is not
// (unmounted, moved). It removes no file.
func (s *Spool) Gone(obj Object) bool {
	o := &s.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := os.Lstat(s.path(outboxDir, obj.file())); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if folder, err := os.Stat(s.path(outboxDir)); err != nil || !folder.IsDir() || s.attached() != nil {
		return false
	}
	delete(o.taken, obj.Key)
	s.count(&s.objects, -obj.Size)
	o.bytes -= obj.Size
	s.removeEmpty(outboxDir, obj.Key)
	return true
}

// Waiting gives the number of objects in the outbox, those being sent included.
func (s *Spool) Waiting() int {
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	return len(s.outbox.waiting) + len(s.outbox.taken)
}

// Empty waits until no object is left that may be tried before the deadline of ctx; the error is that of ctx.
func (s *Spool) Empty(ctx context.Context) error {
	deadline, bounded := ctx.Deadline()
	left := func() bool {
		s.outbox.mu.Lock()
		defer s.outbox.mu.Unlock()
		return len(s.outbox.taken) > 0 ||
			slices.ContainsFunc(s.outbox.waiting, func(o Object) bool { return !bounded || o.notBefore.Before(deadline) })
	}
	for left() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond): // only a stop waits here
		}
	}
	return nil
}

// publish moves one object from sealing/ to outbox/<file> and lets it be taken. Should a power cut undo
// that, the next start does it again.
func (s *Spool) publish(x sealed) error {
	from, to := s.path(sealingDir, x.name()), s.path(outboxDir, x.file)
	key, sum := parseFile(x.file)
	st, err := os.Stat(from)
	if err != nil {
		return fmt.Errorf("publish %s: %w", key, err)
	}
	o := &s.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := os.Lstat(to); err == nil || o.has(key) {
		return fmt.Errorf("publish %s: an object of that key waits already: left in %s/%s", key, sealingDir, x.name())
	}
	if err := s.mkdirAll(filepath.Dir(to)); err != nil {
		return fmt.Errorf("publish %s: %w", key, err)
	}
	if err := s.rename(from, to); err != nil {
		return fmt.Errorf("publish %s: %w", key, err)
	}
	crash("published")
	o.add(Object{Key: key, Size: st.Size(), Since: st.ModTime(), sum: sum})
	o.sealed++
	o.bytes += st.Size()
	s.count(&s.objects, st.Size())
	return nil
}

// has tells if an object of that key is in the queue. The caller holds mu.
func (o *outbox) has(key string) bool {
	_, taken := o.taken[key]
	return taken || slices.ContainsFunc(o.waiting, func(obj Object) bool { return obj.Key == key })
}
