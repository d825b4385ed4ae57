package bucket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// An attempt at a put ends for want of progress, not for the time that it takes in all: on a slow link, attempts that are
// bounded in total time are begun again and again, and none ends.
//
// Progress is a byte that the other side has acknowledged. Bytes that come from it are none: an answer is short, and one that
// trickles would never end. Once all bytes are there, who took them may have to carry them on as slowly: the answer as a whole
// has time for each of them. A server that needs longer gets it from who is patient, see Patient. Tests shorten stallTimeout.
var stallTimeout = 30 * time.Second

// slowestServer is what a server is waited for, in bytes a second, once it has all of them.
const slowestServer = 32 << 10

// ErrStalled is in the error of an attempt that was given up because nothing moved any more.
var ErrStalled = errors.New("nothing moved any more")

// ErrNoAnswer is in the error of such an attempt that had all gone out.
var ErrNoAnswer = errors.New("after all of it had gone out: no answer")

// longestAnswer bounds what an answer is waited for by those who are patient.
const longestAnswer = 10 // times as long as others

type patience struct{}

// Patient gives a context with which Put waits for an answer twice as long, so many times over, five minutes at most: a
// server may need longer than it is given, and would never be heard.
func Patient(ctx context.Context, doublings int) context.Context {
	return context.WithValue(ctx, patience{}, doublings)
}

// AnswerTime is how long an answer may take in all, of a request of that size.
func AnswerTime(ctx context.Context, size int64) time.Duration {
	doublings, _ := ctx.Value(patience{}).(int)
	times := min(1<<min(doublings, 10), longestAnswer)
	return time.Duration(times)*stallTimeout + time.Duration(size/slowestServer)*time.Second
}

// attempt watches one request.
type attempt struct {
	size int64

	steps atomic.Int64 // that the request has taken; 0: it has not begun, credentials are being asked for
	conn  atomic.Pointer[conn]
	sent  atomic.Bool // the kernel has taken the whole request
}

// watch gives a context that ends, with ErrStalled as its cause, when a request made with it stalls. The caller has to call
// done.
func (a *attempt) watch(ctx context.Context) (watched context.Context, done func()) {
	watched, cancel := context.WithCancelCause(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { a.steps.Add(1) },
		GotConn: func(info httptrace.GotConnInfo) {
			a.conn.Store(ours(info.Conn))
			a.sent.Store(false)
			a.steps.Add(1)
		},
		WroteRequest: func(httptrace.WroteRequestInfo) { a.sent.Store(true); a.steps.Add(1) },
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

func (a *attempt) run(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(max(stallTimeout/30, time.Millisecond))
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
			continue
		}
		limit, where := stallTimeout, errors.New("while it was being sent")
		if gone {
			limit, where = AnswerTime(ctx, a.size), ErrNoAnswer
		}
		if time.Since(since) >= limit {
			cancel(fmt.Errorf("%w for %s, %w (%d bytes)", ErrStalled, limit, where, a.size))
			return
		}
	}
}

// moved is a number that grows with each step and each byte sent, 0 before the request has begun; gone tells if the other side has
// all of it.
func (a *attempt) moved() (n int64, gone bool) {
	n = a.steps.Load()
	if c := a.conn.Load(); c != nil {
		unsent := c.unsent()
		n += c.written.Load() - unsent
		gone = a.sent.Load() && unsent == 0
	}
	return n, gone
}
