// Package ship brings sealed objects to the bucket. It tries for ever and discards nothing: an object
// leaves the outbox only after an answer that proves it is stored. Whether an answer was lost does not
// matter, because every attempt has the same key and the same bytes. An object that the disk has changed is not sent: it is
// moved to damaged/, and told of.
//
// While a backlog drains, every second upload takes the newest object and the others the oldest, so that today's records do
// not wait for last week's, and last week's come nearer to their end with each upload (Amberflo takes records up to 60 days
// back). So a new object waits for the uploads under way and as many more at most, as long as what comes in takes less than
// half of the link; beyond that, the newest of the new go first, and nothing that is old waits without bound either. An object
// whose attempt failed lets some others go first, and the next attempt takes any other: what fails for a reason of its own does
// not hold up the rest, and a success anywhere shows that not all is wrong.
package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"out_amberflo/plugin/alarm"
	"out_amberflo/plugin/ship/failure"
	"out_amberflo/plugin/spool"
)

// Destination is where objects go.
type Destination interface {
	// Put makes one attempt to store size bytes of body, read from its start, under key. A Shipper calls it again with the same
	// key and bytes until it returns nil, which says that the destination is proved to hold them: a second Put of what is there
	// has to change nothing. It must not use body once it has returned. It waits for an answer twice as long as usual, patience
	// times over. Its error holds a [failure.Error], which says what is acted on; one that does not counts as
	// [failure.Unreadable]. It ends with ctx, and may be called concurrently.
	Put(ctx context.Context, key string, body io.ReadSeeker, size int64, patience int) error
}

// Options say what a Shipper works on.
type Options struct {
	Spool *spool.Spool
	To    Destination
	Log   *slog.Logger
}

// Backoff: after patience failures in a row the wait doubles from firstWait to longestWait, half of it at
// random, so that a fleet that failed together does not come back together. With an S3 that fails every
// second request, doubling at once would make long waits of ordinary bad luck: a backlog would drain ten
// times more slowly.
const (
	firstWait   = 50 * time.Millisecond
	patience    = 4
	longestWait = time.Minute
	// An object that fails for a reason of its own is tried rarely; it does not hold up others.
	longestOwnWait = 10 * time.Minute
)

// After a failure the next attempt takes another object: a success anywhere shows that it is not all, and what fails for a
// reason of its own is overtaken.
const (
	overtaking        = 8  // others go before an object that failed
	overtakingStalled = 64 // one that takes a long time to fail
	// So many objects fail for a reason of their own, one after the other. What is wrong with more is wrong with all.
	coincidence = 2
	// A server that takes longer than that to store an object is slow.
	slow = 20 * time.Second
)

// Shipper uploads from one spool into one bucket.
type Shipper struct {
	opt     Options
	trouble alarm.Alarm // of attempts that concern all objects

	mu        sync.Mutex // guards what follows
	failures  int        // of those attempts, since the last success
	last      time.Time  // of the latest of them
	until     time.Time  // no attempt before
	opened    chan struct{}
	own       map[string]int       // failures for a reason of the object's own, by key
	lately    map[string]bool      // objects that failed so since the last success
	overtaken map[string]overtaken // objects whose attempts failed
	late      int                  // attempts in a row that got no answer
	going     int                  // attempts
	atOnce    int                  // as many attempts may go at once; see stalled
	left      chan struct{}        // closed when one has ended
	singles   alarm.Alarm          // of those failures, of all keys
	stats     Stats
}

// overtaken is an object that others overtake.
type overtaken struct {
	uploaded int64 // others, at its latest failure
	times    int   // that some were between two failures
	late     int   // attempts that got no answer
}

// New makes a Shipper; Run sets it going.
func New(o Options) *Shipper {
	return &Shipper{
		opt: o, atOnce: unbounded, opened: make(chan struct{}), left: make(chan struct{}),
		own: make(map[string]int), lately: make(map[string]bool), overtaken: make(map[string]overtaken),
		stats: Stats{Failed: make(map[failure.Kind]int64)},
	}
}

// Hurry ends a wait after failures, so that a stop makes at least one attempt.
func (s *Shipper) Hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = time.Time{}
	close(s.opened)
	s.opened = make(chan struct{})
}

// Run uploads one object at a time until ctx ends. It may run several times at once, each with a turn of its own: every second
// turn takes the newest object.
func (s *Shipper) Run(ctx context.Context, turn int) {
	for ; s.wait(ctx); turn++ {
		obj, err := s.opt.Spool.Take(ctx, turn%2 == 1)
		if err != nil {
			return
		}
		if !s.enter(ctx) {
			s.opt.Spool.Return(obj, time.Time{})
			return
		}
		func() {
			defer s.leave()
			s.ship(ctx, obj)
		}()
	}
}

func (s *Shipper) ship(ctx context.Context, obj spool.Object) {
	began := time.Now()
	settled := false
	defer func() {
		if !settled { // a panic is under way, or what is damaged could not be moved
			s.opt.Spool.Failed(obj, time.Now().Add(longestOwnWait), overtaking)
		}
	}()
	f, err := s.opt.Spool.Read(obj)
	gone := errors.Is(err, fs.ErrNotExist) // asked of this error alone: in that of a put, it is a file with credentials
	if failure.OutOfFiles(err) {
		err = fmt.Errorf("%w; %s", err, failure.RaiseFiles)
	}
	if err == nil {
		err = s.opt.To.Put(ctx, obj.Key, f, obj.Size, s.patienceFor(obj.Key))
		_ = f.Close()
	}
	if errors.Is(err, spool.ErrDamaged) {
		settled = s.moveAway(obj, err)
		return
	}
	switch {
	case err == nil:
		s.succeeded(obj, began)
		if err := s.opt.Spool.Sent(obj); err != nil {
			s.opt.Log.Error("an object is in the bucket and could not be removed here: it will be sent again, which changes nothing", "key", obj.Key, "err", err)
		}
	case ctx.Err() != nil:
		s.opt.Spool.Return(obj, time.Time{})
	case gone && s.opt.Spool.Gone(obj): // and neither back nor away with the whole spool
		s.mu.Lock()
		s.forget(obj.Key)
		s.mu.Unlock()
		s.opt.Log.Error("an object is gone from the outbox, somebody removed it", "key", obj.Key, "err", err)
	default:
		again := s.failed(obj.Key, began, err)
		s.opt.Spool.Failed(obj, again.notBefore, again.others)
	}
	settled = true
}

// moveAway takes a damaged object out of the way; false if that failed.
func (s *Shipper) moveAway(obj spool.Object, why error) bool {
	if err := s.opt.Spool.SetAside(obj); err != nil {
		s.opt.Log.Error("a damaged object could not be moved to damaged/outbox/: it is not sent, and will be tried again", "key", obj.Key, "err", err)
		return false
	}
	s.mu.Lock()
	s.forget(obj.Key)
	s.mu.Unlock()
	s.opt.Log.Error("the disk has damaged an object: it is not sent, and kept in damaged/outbox/; meterctl check tells what can be read of it, "+
		"meterctl rescue sends that", "key", obj.Key, "bytes", obj.Size, "err", why)
	return true
}

// unbounded: as many attempts at once as there are runners.
const unbounded = 1 << 20

// enter waits until one more attempt may go; false when ctx ended.
func (s *Shipper) enter(ctx context.Context) bool {
	for s.wait(ctx) { // others may have failed meanwhile
		s.mu.Lock()
		left := s.left
		if s.going < s.atOnce {
			s.going++
			s.mu.Unlock()
			return true
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return false
		case <-left:
		}
	}
	return false
}

func (s *Shipper) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.going--
	close(s.left)
	s.left = make(chan struct{})
}

// stalled halves how many attempts go at once: on a link that is too slow for all of them, none comes to its end. Each success
// doubles it again. The caller holds s.mu.
func (s *Shipper) stalled() {
	s.atOnce = max(1, min(s.going, s.atOnce)/2)
}

// wait holds an attempt back after failures; false when ctx ended.
func (s *Shipper) wait(ctx context.Context) bool {
	for {
		s.mu.Lock()
		left, opened := time.Until(s.until), s.opened
		s.mu.Unlock()
		if left <= 0 {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-opened:
		case <-time.After(left):
		}
	}
}

// retry says when a failed object may be tried again, and how many others go first.
type retry struct {
	notBefore time.Time
	others    int
}

// failed notes a failure and tells when the object may be tried again.
func (s *Shipper) failed(key string, began time.Time, err error) retry {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &failure.Error{Kind: failure.Unreadable} // what is no answer: the object cannot be read here
	errors.As(err, &e)
	s.stats.Failed[e.Kind]++
	again := retry{others: overtaking}
	if errors.Is(err, failure.ErrStalled) {
		s.stalled()
		again.others = overtakingStalled
	}
	if s.blame(key, e.Kind, err) {
		s.own[key]++
		// A stalled attempt takes a runner from the others while it lasts.
		wait := min(max(backoff(s.own[key], 40*firstWait, longestOwnWait), stalledShare*took(began, err)), longestOwnWait)
		again.notBefore = time.Now().Add(wait)
		s.stats.LastFailure = Failure{Kind: e.Kind, Err: err, Key: key, At: time.Now(), InARow: s.own[key], Next: again.notBefore}
		if all, tell := s.singles.Failed(e.Kind.String() + e.Code); tell { // hundreds may fail for one reason
			s.opt.Log.Error("an object fails to upload: it is kept and tried again, others go on", "key", key, "failures", s.own[key], "of_all", all,
				"objects", len(s.own), "next", wait.Round(time.Second), "err", err)
		}
		return again
	}
	if began.Before(s.last) {
		return again // under way when another failed: one outage, counted once
	}
	s.last = time.Now()
	s.failures++
	if errors.Is(err, failure.ErrNoAnswer) {
		s.late++
	}
	wait := max(backoff(s.failures, firstWait, longestWait), min(e.RetryAfter, longestWait))
	s.until = time.Now().Add(wait)
	s.stats.LastFailure = Failure{Kind: e.Kind, Err: err, At: s.last, InARow: s.failures, Next: s.until}
	if n, tell := s.trouble.Failed(e.Kind.String()); tell {
		s.opt.Log.Error("upload failed, nothing is lost, will be tried again", "kind", e.Kind, "failures", n,
			"waiting", s.opt.Spool.Waiting(), "next", wait.Round(time.Millisecond), "err", err)
	}
	return again
}

// blame notes an object's failure, and returns true if its reason is the object's own. The caller holds s.mu.
func (s *Shipper) blame(key string, kind failure.Kind, err error) bool {
	b, again := s.overtaken[key]
	if again && s.stats.Uploaded > b.uploaded {
		b.times++
	}
	b.uploaded = s.stats.Uploaded
	if errors.Is(err, failure.ErrNoAnswer) {
		b.late++
	}
	s.overtaken[key] = b
	switch {
	case failure.OutOfFiles(err):
		return false
	case kind.ConcernsAll():
		// Again and again, though others are taken: it does not concern all, such as a prefix that is not allowed.
		return b.times >= patience || b.times > 0 && (kind.NeedsYou() || errors.Is(err, failure.ErrStalled))
	}
	// Different ones fail one after the other, and none is taken between them: it concerns all.
	s.lately[key] = true
	return len(s.lately) <= coincidence
}

// stalledShare is how many times as long as its attempt took an object waits that stalled for a reason of its own.
const stalledShare = 4

// took is how long an attempt held up a runner, 0 if it did not stall.
func took(began time.Time, err error) time.Duration {
	if !errors.Is(err, failure.ErrStalled) {
		return 0
	}
	return time.Since(began)
}

// patienceFor is how many times the wait for an answer is doubled: as often as this object, or all of late, had none.
func (s *Shipper) patienceFor(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.late, s.overtaken[key].late)
}

func (s *Shipper) succeeded(obj spool.Object, began time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(began) < slow {
		s.late = 0
	}
	clear(s.lately)
	s.stats.Uploaded++
	s.stats.UploadedBytes += obj.Size
	s.stats.LastSuccess = time.Now()
	s.forget(obj.Key)
	s.stats.LastFailure.end("")
	if n, lasted, tell := s.trouble.Succeeded(); tell {
		s.opt.Log.Info(fmt.Sprintf("upload succeeded after %d failures and %s", n, lasted.Round(time.Second)), "waiting", s.opt.Spool.Waiting()-1)
	}
	if s.stats.Uploaded == 1 {
		s.opt.Log.Info("the first object is in the bucket", "key", obj.Key, "bytes", obj.Size)
	}
	s.failures, s.until = 0, time.Time{}
	s.atOnce = min(2*s.atOnce, unbounded)
}

// forget drops what is known of an object that has left the outbox. The caller holds s.mu.
func (s *Shipper) forget(key string) {
	delete(s.overtaken, key)
	s.stats.LastFailure.end(key)
	if _, was := s.own[key]; !was {
		return
	}
	if delete(s.own, key); len(s.own) == 0 {
		if n, _, tell := s.singles.Succeeded(); tell {
			s.opt.Log.Info("no object fails to upload by itself any more", "failures", n)
		}
	}
}

func backoff(n int, first, longest time.Duration) time.Duration {
	d := min(first<<min(max(n-patience, 0), 20), longest)
	return d/2 + rand.N(d/2)
}
