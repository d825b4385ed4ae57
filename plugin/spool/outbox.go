package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/sealing"
)

// Object is a sealed object that waits in the outbox.
type Object struct {
	Key   string
	Size  int64     // bytes as they are stored
	Since time.Time // when it was sealed; in sent/ and failed/ uploaded
	Sum   []byte    // MD5 of its bytes as they were sealed; nil if it came without

	notBefore time.Time
	letsBy    int64 // until so many objects have been sent, others go first
	failure   int64 // its latest, counted over all objects
}

// File is the object's path below its directory.
func (obj Object) File() string { return object.FileOf(obj.Key, obj.Sum) }

// RescuedSuffix ends the name of a damaged object of which was delivered what could be read.
const RescuedSuffix = ".rescued"

// ErrDamaged says that the bytes of an object are not those that it was sealed with.
var ErrDamaged = object.ErrDamaged

// outbox is the queue of what lies in outbox/, oldest first. It never holds content.
type outbox struct {
	mu      sync.Mutex // guards what follows, and renames into outbox/ against removal of empty directories
	waiting []Object
	taken   map[string]Object // handed out, by key
	bytes   int64             // of both
	sealed  int64             // objects that came in since the start
	sent    int64             // objects since the start
	failed  int64             // attempts since the start
	failing bool              // the latest attempt failed
	damaged int64             // objects that were set aside since the start, or lay there then
	arrived chan struct{}     // closed when waiting grows; nil if nobody waits
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

// Take hands out an object that nobody else holds, the oldest or the newest, and waits for one if there is none. It must be
// given back with Sent, Failed or Return. The error is that of ctx.
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

// next gives the index of the first object, from either end, whose time has come, or -1 and when the first of them will be due.
// Those that let others by come last, the one that failed longest ago first of them. After a failure the search begins
// anywhere: what fails may well lie together, such as a day's directory that is not allowed.
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
	defer o.mu.Unlock()
	o.failed++
	o.failing = true
	obj.failure, obj.letsBy = o.failed, o.sent+int64(others)
	o.giveBack(obj, notBefore)
}

// Return gives an object back that was not tried; it is not handed out before that time.
func (s *Spool) Return(obj Object, notBefore time.Time) {
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	s.outbox.giveBack(obj, notBefore)
}

func (o *outbox) giveBack(obj Object, notBefore time.Time) {
	obj.notBefore = notBefore
	delete(o.taken, obj.Key)
	o.add(obj)
}

// Sent takes an object that is in the bucket out of the outbox: to sent/, if KeepSent or Options.Retention says so. Should that be lost in a power
// cut, the object is sent once more, under the same key and with the same bytes. On an error it is handed out again later, for
// the same.
func (s *Spool) Sent(obj Object) error {
	disk.Crash("uploaded")
	o := &s.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent++
	o.failing = false
	if !s.sent.await && s.opt.Retention == 0 || s.keepSent(obj) != nil { // a full disk must get empty
		if err := s.dir.Remove(s.dir.Path(disk.Outbox, obj.File())); err != nil && !errors.Is(err, fs.ErrNotExist) { // else somebody removed it
			o.giveBack(obj, time.Now().Add(time.Minute))
			return fmt.Errorf("take the delivered object %s out of the outbox: %w", obj.Key, err)
		}
	}
	s.left(obj)
	disk.Crash("removed")
	return nil
}

// Gone takes an object out of the queue whose file somebody removed; false if it is still there, or outbox/ itself is not
// (unmounted, moved). It removes no file.
func (s *Spool) Gone(obj Object) bool {
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	if _, err := os.Lstat(s.dir.Path(disk.Outbox, obj.File())); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if dir, err := os.Stat(s.dir.Path(disk.Outbox)); err != nil || !dir.IsDir() || s.dir.Attached() != nil {
		return false
	}
	s.left(obj)
	return true
}

// SetAside keeps a taken object that is damaged out of the outbox, in damaged/outbox/. It is not tried again.
func (s *Spool) SetAside(obj Object) error {
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	to := s.dir.Path(disk.DamagedObjects, obj.File())
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("keep the damaged %s: another one of that name is in %s already", obj.Key, disk.DamagedObjects)
	}
	// Should a power cut undo it, the object is found damaged once more.
	if err := s.dir.Move(s.dir.Path(disk.Outbox, obj.File()), to); err != nil {
		return fmt.Errorf("keep the damaged %s: %w", obj.Key, err)
	}
	s.outbox.damaged++
	s.left(obj)
	s.quota.resendable.Store(true)
	s.poke()
	return nil
}

// left notes that a taken object is not in outbox/ any more. The caller holds outbox.mu.
func (s *Spool) left(obj Object) {
	delete(s.outbox.taken, obj.Key)
	s.outbox.bytes -= obj.Size
	s.quota.objects.Add(-obj.Size)
	s.dir.RemoveEmptyAbove(disk.Outbox, obj.Key)
}

// damagedObjects lists those that meterctl could rescue.
func (s *Spool) damagedObjects() []Object {
	objects, _ := List(s.dir, disk.DamagedObjects) // mostly there is no such directory
	return slices.DeleteFunc(objects, func(obj Object) bool { return strings.HasSuffix(obj.Key, RescuedSuffix) })
}

// Read opens the bytes of an object. Whoever reads them is taken to work on what is read, and gives way to flushes. They are
// compared with the digest as they are read from their start: where they differ, the end is [ErrDamaged] instead of [io.EOF].
func (s *Spool) Read(obj Object) (*object.Body, error) {
	if obj.Size == 0 {
		return nil, fmt.Errorf("read object %s: %w: it is empty", obj.Key, ErrDamaged)
	}
	b, err := object.OpenBody(s.dir.Path(disk.Outbox, obj.File()), obj.Sum, object.Pace{Busy: s.journal.Busy})
	if err != nil {
		if away := s.dir.Attached(); away != nil {
			err = away
		}
		return nil, fmt.Errorf("read object %s: %w", obj.Key, err)
	}
	return b, nil
}

// Waiting gives the number of objects in the outbox, those being sent included.
func (s *Spool) Waiting() int { return s.Stats().WaitingObjects }

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

// publish moves one object from sealing/ to outbox/<file> and lets it be taken. Should a power cut undo that, the next start
// does it again.
func (s *Spool) publish(x sealing.Pending) error {
	from, to := s.dir.Path(disk.Sealing, x.Name()), s.dir.Path(disk.Outbox, x.File)
	key, sum := object.ParseFile(x.File)
	o := &s.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	_, taken := o.taken[key]
	waits := taken || slices.ContainsFunc(o.waiting, func(obj Object) bool { return obj.Key == key })
	if _, err := os.Lstat(to); err == nil || waits {
		return fmt.Errorf("publish %s: an object of that key waits already: left in %s/%s", key, disk.Sealing, x.Name())
	}
	st, err := os.Stat(from)
	if err == nil {
		err = s.dir.Move(from, to)
	}
	if err != nil {
		return fmt.Errorf("publish %s: %w", key, err)
	}
	disk.Crash("published")
	o.add(Object{Key: key, Size: st.Size(), Since: st.ModTime(), Sum: sum})
	o.sealed++
	o.bytes += st.Size()
	s.quota.objects.Add(st.Size())
	return nil
}

func (s *Spool) publishAside(x sealing.Pending) error {
	s.outbox.mu.Lock() // as for objects: no empty directory is removed meanwhile, and nobody measures
	defer s.outbox.mu.Unlock()
	size, err := sealing.PublishAside(s.dir, x)
	if size > 0 && x.Dir == disk.Rejected {
		s.quota.rejected.Add(size)
		s.quota.resendable.Store(true)
		s.poke()
	}
	return err
}
