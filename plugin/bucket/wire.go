package bucket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"golang.org/x/sys/unix"
)

// requestTimeout is for a listing's page and a report, from the look-up of the name to the last byte. Tests shorten it.
var requestTimeout = time.Minute

// answerTimeout is for who hands out credentials. Tests shorten it.
var answerTimeout = 20 * time.Second

const (
	dialTimeout = 10 * time.Second
	// idleTimeout is shorter than S3's own, so that an upload does not begin on a connection about to be closed.
	idleTimeout = 15 * time.Second
	// expectFrom is the size from which a request waits (a second at most) for "100 Continue" before its body.
	expectFrom = 64 << 10
	// distrustFor is how long no connection is kept after one that was dead.
	distrustFor = time.Hour
)

// newClient is for the SDK's own look-ups; that of instance metadata shortens the time-outs further.
func newClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.ResponseHeaderTimeout, t.IdleConnTimeout = answerTimeout, idleTimeout
			t.MaxResponseHeaderBytes = answerMax
			t.Proxy = proxyFor
			t.OnProxyConnectResponse = connected
		})
}

// connected tells what a proxy answers that does not let requests through.
func connected(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return proxyError{proxy.Host, answer.StatusCode}
	}
	return nil
}

// newTransport is for S3 alone, with the certificates of AWS_CA_BUNDLE where that is set.
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

// proxyError is a proxy that does not connect to an https endpoint.
type proxyError struct {
	host   string
	status int
}

func (e proxyError) Error() string {
	return fmt.Sprintf("the proxy %s answered %d %s", e.host, e.status, http.StatusText(e.status))
}

// awsLocal are the addresses of AWS's metadata services under IPv6.
var awsLocal = netip.MustParsePrefix("fd00:ec2::/32")

// proxyFor is the environment's proxy, but not for metadata services: what they answer is secret, and nobody else can ask
// them.
func proxyFor(r *http.Request) (*url.URL, error) {
	if ip, err := netip.ParseAddr(r.URL.Hostname()); err == nil && (ip.IsLinkLocalUnicast() || awsLocal.Contains(ip)) {
		return nil, nil
	}
	return http.ProxyFromEnvironment(r)
}

// proxyVariables are those of the environment that name a proxy, by the scheme of what is asked for.
var proxyVariables = map[string][]string{"https": {"HTTPS_PROXY", "https_proxy"}, "http": {"HTTP_PROXY", "http_proxy"}}

// proxyOf names the variable that the proxy for an endpoint comes from, empty where requests go there directly: by its scheme,
// its host, or NO_PROXY. Of a variable that is not valid net/http takes none.
func proxyOf(endpoint string) (variable string, valid bool) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", false
	}
	for _, name := range proxyVariables[u.Scheme] {
		switch v := os.Getenv(name); {
		case v == "":
			continue
		case !isProxy(v):
			return name, false
		}
		if proxy, err := proxyFor(&http.Request{URL: u}); err == nil && proxy == nil {
			return "", false
		}
		return name, true
	}
	return "", false
}

// isProxy tells if a variable of the environment names a proxy.
func isProxy(v string) bool {
	u, err := url.Parse(v)
	if err == nil && slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		return u.Hostname() != ""
	}
	u, err = url.Parse("http://" + v) // net/http allows that
	return err == nil && u.Hostname() != "" && strings.Trim(u.Path, "/") == ""
}

// wire is a client without redirects: a signed billing object goes to the configured host or nowhere.
type wire struct {
	transport atomic.Pointer[http.Transport]
	fresh     atomic.Pointer[time.Time] // until then each request has a connection of its own; nil: it may share one
	continues atomic.Bool               // the server has said "100 Continue"
	open      sync.Map                  // *conn → nil
}

func (w *wire) Do(r *http.Request) (*http.Response, error) {
	// The SDK leaves the version 0.0, for which net/http sends Expect: 100-continue but does not wait.
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	if until := w.fresh.Load(); until != nil && time.Now().Before(*until) {
		r.Close = true
	}
	return w.transport.Load().RoundTrip(r)
}

// use takes another transport.
func (w *wire) use(t *http.Transport) {
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

// distrust drops the connections that are kept, after one of them was dead, and keeps none for some time: something on the way
// forgets them, and each would cost as much again.
func (w *wire) distrust() {
	until := time.Now().Add(distrustFor)
	w.fresh.Store(&until)
	old := w.transport.Load()
	if w.transport.CompareAndSwap(old, old.Clone()) { // one that is still in use would be kept by the old one, which nobody asks
		old.CloseIdleConnections()
	}
}

// roundTrip is the longest one of the connections that are open.
func (w *wire) roundTrip() (longest time.Duration) {
	w.open.Range(func(c, _ any) bool {
		longest = max(longest, c.(*conn).roundTrip())
		return true
	})
	return longest
}

// conn is a connection that hears the server out. One that refuses a body before it has read it answers, closes and
// thereby resets; net/http then gives up at the failed write, with the 403 that explains it unread. So such a write counts
// as done, and the reader finds the answer or, if there is none, the end of the connection.
//
// It also knows how far its bytes have come.
type conn struct {
	net.Conn
	wire          *wire
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
