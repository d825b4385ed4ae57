package bucket

import (
	"context"
	"errors"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// requestTimeout is for a listing's page and a report, from the look-up of the name to the last byte. Tests shorten it.
var requestTimeout = time.Minute

// answerTimeout is for who hands out credentials. Tests shorten it.
var answerTimeout = time.Minute

const (
	dialTimeout = 10 * time.Second
	// idleTimeout is shorter than S3's own, so that an upload does not begin on a connection about to be closed.
	idleTimeout = 15 * time.Second
	// expectFrom is the size from which a request waits (a second at most) for "100 Continue" before its body.
	expectFrom = 64 << 10
)

// newClient is for the SDK's own look-ups; that of instance metadata shortens the time-outs further.
func newClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout }).
		WithTransportOptions(func(t *http.Transport) {
			t.ResponseHeaderTimeout, t.IdleConnTimeout = answerTimeout, idleTimeout
		})
}

// newTransport is for S3 alone, with the certificates of AWS_CA_BUNDLE where that is set.
func newTransport(cfg aws.Config) *http.Transport {
	t := cfg.HTTPClient.(*awshttp.BuildableClient).GetTransport()
	// Each request has a deadline of its own. This one would begin when the kernel has taken the body's last byte, on a slow
	// link minutes before the server has it.
	t.ResponseHeaderTimeout = 0
	t.WriteBufferSize = 64 << 10
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return answered{conn}, nil
	}
	return t
}

// wire is a client without redirects: a signed billing object goes to the configured host or nowhere.
type wire struct{ *http.Transport }

func (w wire) Do(r *http.Request) (*http.Response, error) {
	// The SDK leaves the version 0.0, for which net/http sends Expect: 100-continue but does not wait.
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	return w.RoundTrip(r)
}

// answered is a connection that hears the server out. One that refuses a body before it has read it answers,
// closes and thereby resets; net/http then gives up at the failed write, with the 403 that explains it unread.
// So such a write counts as done, and the reader finds the answer or, if there is none, the end of the connection.
type answered struct{ net.Conn }

func (c answered) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return len(p), nil
	}
	return n, err
}
