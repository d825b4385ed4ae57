package bucket_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"out_amberflo/plugin/bucket"
	"out_amberflo/plugin/bucket/wire"
	"out_amberflo/plugin/ship/failure"
)

// pipe passes connections on to a server, no faster than so many bytes in a second, all of them together.
func pipe(t *testing.T, to string, bytesPerSecond int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var line sync.Mutex
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			_ = in.(*net.TCPConn).SetReadBuffer(32 << 10) // the kernel takes no more than that ahead of the link
			out, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(in, out); in.Close() }()
			go func() {
				defer out.Close()
				buf := make([]byte, 4<<10)
				for {
					n, err := in.Read(buf)
					if err != nil {
						return
					}
					line.Lock()
					time.Sleep(time.Duration(n) * time.Second / time.Duration(bytesPerSecond))
					line.Unlock()
					if _, err := out.Write(buf[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// The attempts take more than twice as long as an attempt may take that does not move.
func TestOnASlowLinkAnAttemptTakesTheTimeThatItTakes(t *testing.T) {
	environment(t)
	bucket.SetStallTimeout(t, 2*time.Second)
	s := newStore(t, nil, (*httptest.Server).Start)
	b := open(t, bucket.Options{Endpoint: pipe(t, s.Listener.Addr().String(), 200<<10)})
	var all sync.WaitGroup
	for i := range 3 { // 1.2 MB over a link of 200 KB/s
		all.Go(func() {
			body := strings.NewReader(strings.Repeat("x", 400<<10))
			if err := b.Put(t.Context(), fmt.Sprint(i), body, body.Size(), 0); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := len(s.requests()); n != 3 {
		t.Errorf("%d whole bodies came, want each once", n)
	}
}

func TestAnAttemptEndsWhenNothingMoves(t *testing.T) {
	environment(t)
	bucket.SetStallTimeout(t, 300*time.Millisecond)
	for name, reads := range map[string]int64{"while the body is being sent": 100 << 10, "while an answer is waited for": 10 << 20} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Read(make([]byte, 4<<10)) // its header
				if reads < 1<<20 {
					_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
				}
				_, _ = io.CopyN(io.Discard, c, reads)
			}()
			size := int64(30 << 20) // more than the kernel holds
			if reads > 1<<20 {
				size = 20 << 10
			}
			body := strings.NewReader(strings.Repeat("x", int(size)))
			e := failed(t, open(t, bucket.Options{Endpoint: "http://" + l.Addr().String()}).Put(t.Context(), "k", body, size, 0))
			if e.Kind != failure.Unreachable || !errors.Is(e, failure.ErrStalled) || !strings.Contains(e.Error(), "nothing moved any more for") {
				t.Errorf("got %s: %v", e.Kind, e)
			}
		})
	}
}

// unhurried is what a long answer begins after: net/http breaks one off that begins before it knows that the request is sent.
const unhurried = 50 * time.Millisecond

// serve answers each connection with what says writes once the request is there.
func serve(t *testing.T, says func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 64<<10))
				time.Sleep(unhurried)
				says(c)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// writeForEver writes until the other side has gone.
func writeForEver(c net.Conn, begin, more string, pause time.Duration) {
	_, err := io.WriteString(c, begin)
	for err == nil {
		time.Sleep(pause)
		_, err = io.WriteString(c, more)
	}
}

// etag is the ETag of an object that is "x".
const etag = "ETag: \"9dd4e461268c8034f5c8564e155c67a6\"\r\n"

func TestAnAnswerThatTricklesEndsTheAttempt(t *testing.T) {
	environment(t)
	bucket.SetStallTimeout(t, 300*time.Millisecond)
	for _, tt := range []struct {
		name, begin, more string
		kind              failure.Kind
		says              string
	}{
		{"before its first line", "", "H", failure.Unreachable, "no answer"},
		{"in its header", "HTTP/1.1 200 OK\r\nX: ", "y", failure.Unreachable, "no answer"},
		{"in the body of a yes", "HTTP/1.1 200 OK\r\n" + etag + "Content-Length: 100000\r\n\r\n", " ", failure.Unreachable, "no answer"},
		{"in the body of a no", "HTTP/1.1 403 Forbidden\r\nContent-Length: 100000\r\n\r\n<Error>", " ", failure.Denied, "Forbidden, and then"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := serve(t, func(c net.Conn) { writeForEver(c, tt.begin, tt.more, 10*time.Millisecond) })
			e := failed(t, put(open(t, bucket.Options{Endpoint: url}), t.Context(), "x"))
			if e.Kind != tt.kind || !errors.Is(e, failure.ErrStalled) || !strings.Contains(e.Error(), tt.says) {
				t.Errorf("got %s: %v", e.Kind, e)
			}
		})
	}
}

func TestOfAnAnswerThatDoesNotEndOnlySoMuchIsRead(t *testing.T) {
	const much = 64 << 20
	for _, tt := range []struct {
		name, begin, more string
		kind              failure.Kind
		says              string
	}{
		{"a yes", "HTTP/1.1 200 OK\r\n" + etag + "Content-Length: 40000000000\r\n\r\n", " ", failure.Unproven, "check endpoint"},
		{"a yes in pieces", "HTTP/1.1 200 OK\r\n" + etag + "Transfer-Encoding: chunked\r\n\r\n", "4\r\n    \r\n", failure.Unproven, "check endpoint"},
		{"a no", "HTTP/1.1 403 Forbidden\r\nContent-Length: 40000000000\r\n\r\n<Error><Code>AccessDenied</Code><Message>", "x", failure.Denied, "not S3's"},
		{"an outage", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 40000000000\r\n\r\n", "x", failure.Unavailable, "not S3's"},
		{"a header", "HTTP/1.1 200 OK\r\n", "X: y\r\n", failure.Unreachable, "header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			environment(t)
			var written atomic.Int64
			answer := func(c net.Conn) {
				n, err := io.WriteString(c, tt.begin)
				for more := strings.Repeat(tt.more, 1000); err == nil && written.Add(int64(n)) < much; {
					n, err = io.WriteString(c, more)
				}
			}
			b := open(t, bucket.Options{Endpoint: serve(t, answer)})
			e := failed(t, put(b, t.Context(), "x"))
			if e.Kind != tt.kind || !strings.Contains(e.Error(), tt.says) {
				t.Errorf("got %s: %v", e.Kind, e)
			}
			if err := b.List(t.Context(), "f/", func([]string) error { return nil }); err == nil {
				t.Error("counted as a listing")
			}
			if n := written.Load(); n >= much {
				t.Errorf("%d bytes were read", n)
			}
		})
	}
}

func TestWhoIsPatientHearsASlowAnswer(t *testing.T) {
	environment(t)
	bucket.SetStallTimeout(t, 300*time.Millisecond)
	s := newStore(t, func(http.ResponseWriter, *http.Request) { time.Sleep(time.Second) }, (*httptest.Server).Start)
	b := open(t, bucket.Options{Endpoint: s.URL})
	if e := failed(t, put(b, t.Context(), "x")); !errors.Is(e, failure.ErrStalled) || !errors.Is(e, failure.ErrNoAnswer) {
		t.Errorf("got %v", e)
	}
	if err := b.Put(t.Context(), "k", strings.NewReader("x"), 1, 3); err != nil {
		t.Errorf("with eight times the time: got %v", err)
	}
	if got := (wire.Limits{Stall: 300 * time.Millisecond}).Answer(wire.Patient(t.Context(), 99), 0); got != 3*time.Second {
		t.Errorf("the most is %s, want ten times", got)
	}
}

func TestAnAttemptThatIsCanceledHasNotStalled(t *testing.T) {
	environment(t)
	stop := make(chan struct{})
	s := newStore(t, func(http.ResponseWriter, *http.Request) { <-stop }, (*httptest.Server).Start)
	defer close(stop)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if e := failed(t, put(open(t, bucket.Options{Endpoint: s.URL}), ctx, "x")); e.Kind != failure.Canceled || errors.Is(e, failure.ErrStalled) {
		t.Errorf("got %s: %v", e.Kind, e)
	}
}

func TestAnExpectationThatFailsIsNotHadAgain(t *testing.T) {
	environment(t)
	unexpected := 0
	s := newStore(t, nil, func(s *httptest.Server) {
		store := s.Config.Handler
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Expect") != "" {
				unexpected++
				w.Header().Set("Connection", "close")
				w.WriteHeader(http.StatusExpectationFailed)
				return
			}
			store.ServeHTTP(w, r)
		})
		s.Start()
	})
	b := open(t, bucket.Options{Endpoint: s.URL})
	large := strings.NewReader(strings.Repeat("x", 200<<10))
	for range 2 {
		if err := b.Put(t.Context(), "k", large, large.Size(), 0); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.requests(); len(got) != 2 || len(got[0].body) != 200<<10 || unexpected != 1 {
		t.Errorf("%d objects came, %d expectations failed, want 2 and 1", len(got), unexpected)
	}
}

func TestWhatProxiesChangeIsNotSigned(t *testing.T) {
	environment(t)
	s := newStore(t, nil, (*httptest.Server).Start)
	b := open(t, bucket.Options{Endpoint: s.URL})
	if err := put(b, t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	_ = b.List(t.Context(), "f/", func([]string) error { return nil })
	_, _ = b.Get(t.Context(), "f/1", 1)
	for _, r := range s.requests() {
		for _, name := range []string{"Accept-Encoding", "Amz-Sdk-Invocation-Id", "Amz-Sdk-Request"} {
			if r.Header.Get(name) != "" || strings.Contains(r.Header.Get("Authorization"), strings.ToLower(name)) {
				t.Errorf("%s %s has %s: %s", r.Method, r.URL, name, r.Header.Get("Authorization"))
			}
		}
	}
}

// trusting makes the certificate of a server the only one that counts.
func trusting(t *testing.T, s *httptest.Server, bundle string) {
	t.Helper()
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CA_BUNDLE", bundle)
}

// Over HTTP/2 all uploads share one connection.
func TestEachUploadHasAConnectionOfItsOwn(t *testing.T) {
	environment(t)
	var old atomic.Int32
	s := newStore(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			old.Add(1)
		}
	}, func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() })
	trusting(t, s.Server, filepath.Join(t.TempDir(), "ca.pem"))
	if err := put(open(t, bucket.Options{Endpoint: s.URL}), t.Context(), "x"); err != nil || old.Load() > 0 {
		t.Errorf("%d requests over HTTP/2, %v", old.Load(), err)
	}
}

func TestCertificatesThatAreReplacedAreReadAgain(t *testing.T) {
	environment(t)
	quiet := func(s *httptest.Server) { s.Config.ErrorLog = discard; s.StartTLS() }
	s := newStore(t, nil, quiet)
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	write(t, bundle, otherCertificate)
	t.Setenv("AWS_CA_BUNDLE", bundle)
	b := open(t, bucket.Options{Endpoint: s.URL})
	if e := failed(t, put(b, t.Context(), "x")); e.Kind != failure.Unreachable || !strings.Contains(e.Hint, "AWS_CA_BUNDLE") {
		t.Fatalf("got %v", e)
	}
	trusting(t, s.Server, bundle)
	_ = put(b, t.Context(), "x") // this one meets the old certificates, and has them read again
	if err := put(b, t.Context(), "x"); err != nil {
		t.Errorf("got %v", err)
	}
}

var discard = log.New(io.Discard, "", 0)

// otherCertificate is of nobody here.
const otherCertificate = `-----BEGIN CERTIFICATE-----
MIIBeDCCAR+gAwIBAgIUFez/aYvbukqINcqTiqVaU20ZYT8wCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGbm9ib2R5MCAXDTI2MTEyODE3NDgyMFoYDzIxMjYxMTA0MTc0
ODIwWjARMQ8wDQYDVQQDDAZub2JvZHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAThyKxT5xHqxA/fqf9gHJ0mP+rYN8eG63T2YOf6NDdlT0vy1UwRxWxpBSAfEp5v
uF2ALsh/+DpbkPQwealnlBrzo1MwUTAdBgNVHQ4EFgQUQCtkutSO61P0pxSZWmPY
YHTss+owHwYDVR0jBBgwFoAUQCtkutSO61P0pxSZWmPYYHTss+owDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNHADBEAiBXlKoXZeMLH85eJmqfo0kgYJDNTSCR
/j0y1JpnnaZgiAIgMW9ZtC0nbCzuwWi31cLfZ8TMrHJa02oi9jSSz7/vbgc=
-----END CERTIFICATE-----
`
