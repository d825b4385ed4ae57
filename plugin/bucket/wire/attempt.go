package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"out_amberflo/plugin/ship/failure"
)

// Limits are for one attempt at a request.
//
// An attempt at a put ends for want of progress, not for the time that it takes in all: on a slow link, attempts that are
// bounded in total time are begun again and again, and none ends. Progress is a byte that the other side has acknowledged.
// Bytes that come from it are none: an answer is short, and one that trickles would never end. Once all bytes are there, who
// took them may have to carry them on as slowly: the answer as a whole has time for each of them. A server that needs longer
// gets it from who is patient, see [Patient].
type Limits struct {
	Stall time.Duration // without progress; and for an answer, besides what its size takes
	// Alive is what a connection that was used before has for its first sign of life, a byte that comes from the other side: a
	// NAT or a gateway may have forgotten it, and then the request is made at once on a fresh one. To be wrong costs a handshake.
	Alive time.Duration
}

// slowestServer is what a server is waited for, in bytes a second, once it has all of them.
const slowestServer = 32 << 10

// ErrDead is the cause that ends a request on a connection that was kept and is dead.
var ErrDead = errors.New("no sign of life on a connection that was used before")

// longestAnswer bounds what an answer is waited for by those who are patient.
const longestAnswer = 10 // times as long as others

type patience struct{}

// Patient gives a context with which an attempt waits for an answer twice as long, so many times over, five minutes at most: a
// server may need longer than it is given, and would never be heard.
func Patient(ctx context.Context, doublings int) context.Context {
	return context.WithValue(ctx, patience{}, doublings)
}

// Answer is how long an answer may take in all, of a request of that size.
func (l Limits) Answer(ctx context.Context, size int64) time.Duration {
	doublings, _ := ctx.Value(patience{}).(int)
	times := min(1<<min(doublings, 10), longestAnswer)
	return time.Duration(times)*l.Stall + transit(size)
}

// transit is what a server may need to carry on so many bytes.
func transit(size int64) time.Duration { return time.Duration(size/slowestServer) * time.Second }

// Attempt watches one request.
type Attempt struct {
	Wire   *Wire // that it goes over
	Size   int64 // of its body
	Stalls bool  // it ends when nothing moves any more, and not only where a connection is dead

	steps  atomic.Int64 // that the request has taken; 0: it has not begun, credentials are being asked for
	conn   atomic.Pointer[conn]
	before atomic.Pointer[use]       // of conn by earlier requests; nil: it is fresh
	asked  atomic.Pointer[time.Time] // for "100 Continue"
	sent   atomic.Bool               // the kernel has taken the whole request
}

// use is how many bytes have gone over a connection.
type use struct{ acknowledged, read int64 }

// Watch gives a context that ends, with failure.ErrStalled or ErrDead as its cause, when a request made with it stalls. The caller has
// to call done.
func (a *Attempt) Watch(ctx context.Context) (watched context.Context, done func()) {
	watched, cancel := context.WithCancelCause(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { a.steps.Add(1) },
		GotConn: func(info httptrace.GotConnInfo) {
			c := ours(info.Conn)
			a.before.Store(nil)
			if info.Reused && c != nil {
				a.before.Store(&use{c.acknowledged(), c.read.Load()})
			}
			a.asked.Store(nil)
			a.conn.Store(c)
			a.sent.Store(false)
			a.steps.Add(1)
		},
		Wait100Continue: func() { now := time.Now(); a.asked.Store(&now) },
		Got100Continue:  func() { a.Wire.continues.Store(true) },
		WroteRequest:    func(httptrace.WroteRequestInfo) { a.sent.Store(true); a.steps.Add(1) },
	}))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.run(watched, cancel)
	}()
	return watched, func() {
		cancel(nil)
		<-ended
	}
}

// ours finds the connection below TLS.
func ours(c net.Conn) *conn {
	for {
		switch t := c.(type) {
		case *conn:
			return t
		case interface{ NetConn() net.Conn }:
			c = t.NetConn()
		default:
			return nil
		}
	}
}

func (a *Attempt) run(ctx context.Context, cancel context.CancelCauseFunc) {
	limits := a.Wire.limits
	tick := time.NewTicker(max(min(limits.Stall, limits.Alive)/30, time.Millisecond))
	defer tick.Stop()
	last, since := int64(0), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		moved, gone := a.moved()
		if moved != last || moved == 0 {
			last, since = moved, time.Now()
		}
		if a.dead(time.Since(since), gone) {
			cancel(ErrDead)
			return
		}
		limit, where := limits.Stall, errors.New("while it was being sent")
		if gone {
			limit, where = limits.Answer(ctx, a.Size), failure.ErrNoAnswer
		}
		if a.Stalls && time.Since(since) >= limit {
			cancel(fmt.Errorf("%w for %s, %w (%d bytes)", failure.ErrStalled, limit, where, a.Size))
			return
		}
	}
}

// Reused tells if the request has gone to a connection that was used before.
func (a *Attempt) Reused() bool { return a.before.Load() != nil }

// moved is a number that grows with each step and each byte sent, 0 before the request has begun; gone tells if the other side has
// all of it.
func (a *Attempt) moved() (n int64, gone bool) {
	n = a.steps.Load()
	if c := a.conn.Load(); c != nil {
		unsent := c.unsent()
		n += c.written.Load() - unsent
		gone = a.sent.Load() && unsent == 0
	}
	return n, gone
}

// dead tells if the request is on a connection that was used before, and from whose other side nothing has come in time: not
// one acknowledgement; no "100 Continue" from a server that says it; or no answer, though all has been there for so long.
// Where the link is slow, and has other uploads in its queue, all of that takes some of their round trips more.
func (a *Attempt) dead(idle time.Duration, gone bool) bool {
	c, before := a.conn.Load(), a.before.Load()
	if c == nil || before == nil || c.read.Load() > before.read {
		return false
	}
	alive := a.Wire.limits.Alive
	limit := alive + 3*a.Wire.roundTrip()
	switch asked := a.asked.Load(); {
	case asked != nil && a.Wire.continues.Load():
		return time.Since(*asked) >= limit
	case gone:
		return idle >= limit+min(transit(a.Size), 3*alive)
	}
	return c.acknowledged() == before.acknowledged && idle >= limit
}
