// Package wire is HTTP below the AWS SDK, as uploads over bad networks need it. What holds:
//
//   - an attempt ends for want of progress, and not for the time that it takes in all;
//   - a connection that was kept and is dead costs seconds, and once;
//   - each upload has a connection of its own, over HTTP/1.1: one that dies takes no other with it;
//   - a request goes where it was sent to: there are no redirects, and no proxy sees what metadata services answer;
//   - of an answer, so much is read and no more, and one that is not of who was asked is known by that.
package wire

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"golang.org/x/sys/unix"
)

const (
	dialTimeout = 10 * time.Second
	// idleTimeout is shorter than S3's own, so that an upload does not begin on a connection about to be closed.
	idleTimeout = 15 * time.Second
	// ExpectFrom is the size from which a request waits (a second at most) for "100 Continue" before its body.
	ExpectFrom = 64 << 10
	// distrustFor is how long no connection is kept after one that was dead.
	distrustFor = time.Hour
)

// NewClient is for the SDK's own look-ups, each of which has an answer within that time; that of instance metadata shortens the
// time-outs further.
func NewClient(answer time.Duration) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.ResponseHeaderTimeout, t.IdleConnTimeout = answer, idleTimeout
			t.MaxResponseHeaderBytes = answerMax
			t.Proxy = proxyFor
			t.OnProxyConnectResponse = connected
		})
}

func newTransport(cfg aws.Config) *http.Transport {
	t := cfg.HTTPClient.(*awshttp.BuildableClient).GetTransport()
	// Each attempt ends for want of progress. This one would begin when the kernel has taken the body's last byte, on a slow
	// link minutes before the server has it.
	t.ResponseHeaderTimeout = 0
	t.WriteBufferSize = 64 << 10
	// Over HTTP/2 all uploads would share one connection, and hang together when it dies. S3 itself speaks HTTP/1.1 only.
	t.ForceAttemptHTTP2, t.TLSNextProto, t.Protocols = false, nil, new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	if t.TLSClientConfig != nil {
		t.TLSClientConfig.NextProtos = nil // a copy of a transport has them already
	}
	// No Accept-Encoding: proxies like to change it.
	t.DisableCompression = true
	t.OnProxyConnectResponse = connected
	return t
}

// Wire is a client without redirects: a signed billing object goes to the configured host or nowhere. It is safe for concurrent
// use.
type Wire struct {
	limits    Limits
	transport atomic.Pointer[http.Transport]
	fresh     atomic.Pointer[time.Time] // until then each request has a connection of its own; nil: it may share one
	continues atomic.Bool               // the server has said "100 Continue"
	open      sync.Map                  // *conn → nil
}

// New gives a Wire for S3, over what [Wire.Renew] makes of cfg.
func New(cfg aws.Config, l Limits) *Wire {
	w := &Wire{limits: l}
	w.Renew(cfg)
	return w
}

// Do implements the SDK's HTTPClient.
func (w *Wire) Do(r *http.Request) (*http.Response, error) {
	// The SDK leaves the version 0.0, for which net/http sends Expect: 100-continue but does not wait.
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	if until := w.fresh.Load(); until != nil && time.Now().Before(*until) {
		r.Close = true
	}
	return w.transport.Load().RoundTrip(r)
}

// Renew takes the settings of cfg, with the certificates of AWS_CA_BUNDLE where that is set, for requests from now on. The HTTP
// client in cfg is one of NewClient.
func (w *Wire) Renew(cfg aws.Config) {
	t := newTransport(cfg)
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		ours := &conn{Conn: c, wire: w}
		w.open.Store(ours, nil)
		return ours, nil
	}
	if old := w.transport.Swap(t); old != nil {
		old.CloseIdleConnections()
	}
}

// Distrust drops the connections that are kept, after one of them was dead, and keeps none for some time: something on the way
// forgets them, and each would cost as much again.
func (w *Wire) Distrust() {
	until := time.Now().Add(distrustFor)
	w.fresh.Store(&until)
	old := w.transport.Load()
	if w.transport.CompareAndSwap(old, old.Clone()) { // one that is still in use would be kept by the old one, which nobody asks
		old.CloseIdleConnections()
	}
}

// CloseIdle closes the connections that are kept.
func (w *Wire) CloseIdle() { w.transport.Load().CloseIdleConnections() }

// roundTrip is the longest one of the connections that are open.
func (w *Wire) roundTrip() (longest time.Duration) {
	w.open.Range(func(c, _ any) bool {
		longest = max(longest, c.(*conn).roundTrip())
		return true
	})
	return longest
}

// conn is a connection that hears the server out. One that denies a body before it has read it answers, closes and
// thereby resets; net/http then gives up at the failed write, with the 403 that explains it unread. So such a write counts
// as done, and the reader finds the answer or, if there is none, the end of the connection.
//
// It also knows how far its bytes have come.
type conn struct {
	net.Conn
	wire          *Wire
	written, read atomic.Int64
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return len(p), nil
	}
	return n, err
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func (c *conn) Close() error {
	c.wire.open.Delete(c)
	return c.Conn.Close()
}

// control calls ask with the file descriptor, unless the connection is closed.
func (c *conn) control(ask func(fd int)) {
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { ask(int(fd)) })
	}
}

// unsent is how many bytes of what was written the other side has not acknowledged: on a slow link the kernel holds megabytes
// of a body that is long "written".
func (c *conn) unsent() (n int64) {
	c.control(func(fd int) {
		if queued, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ); err == nil {
			n = int64(queued)
		}
	})
	return n
}

// acknowledged is how many bytes the other side has.
func (c *conn) acknowledged() int64 { return c.written.Load() - c.unsent() }

// roundTrip is how long an acknowledgement took of late, in the kernel's reckoning.
func (c *conn) roundTrip() (d time.Duration) {
	c.control(func(fd int) {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			d = time.Duration(info.Rtt) * time.Microsecond
		}
	})
	return d
}
