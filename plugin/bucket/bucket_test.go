package bucket_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
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
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"out_amberflo/plugin/bucket"
	"out_amberflo/plugin/bucket/cause"
	"out_amberflo/plugin/ship/failure"
	"out_amberflo/test/fault"
)

const secret = "hush/hush+hush"

// environment gives a test credentials of its own, and nothing of the machine it runs on: no files, no metadata service.
func environment(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "credentials"))
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
}

// open takes no endpoint that is not on this machine, so that no test can reach AWS.
func open(t *testing.T, o bucket.Options) *bucket.Bucket {
	t.Helper()
	if !strings.Contains(o.Endpoint, "://127.0.0.1:") {
		t.Fatalf("endpoint %q is not on loopback", o.Endpoint)
	}
	o.Bucket, o.Region, o.PathStyle, o.ContentType = "b", "us-west-2", true, "application/gzip"
	b, err := bucket.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

type seen struct {
	*http.Request
	body string
}

// store answers every request with reply, or 200 if that is nil, and remembers it.
type store struct {
	*httptest.Server
	mu   sync.Mutex
	seen []seen
}

func newStore(t *testing.T, reply http.HandlerFunc, start func(*httptest.Server)) *store {
	t.Helper()
	s := &store{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.seen = append(s.seen, seen{r, string(body)})
		s.mu.Unlock()
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, md5.Sum(body))) // as S3 does
		if reply != nil {
			reply(w, r)
		}
	}))
	start(s.Server)
	t.Cleanup(s.Close)
	return s
}

func (s *store) requests() []seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

func xml(status int, code, message string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("X-Amz-Request-Id", "R1")
		w.WriteHeader(status)
		fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code, message)
	}
}

func put(b *bucket.Bucket, ctx context.Context, body string) error {
	return b.Put(ctx, "ingest/k.gz", strings.NewReader(body), int64(len(body)), 0)
}

func failed(t *testing.T, err error) *cause.Error {
	t.Helper()
	var e *cause.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *cause.Error", err)
	}
	text := e.Error()
	for _, never := range []string{secret, "AKIDEXAMPLE", "Signature=", "\n"} {
		if strings.Contains(text, never) {
			t.Errorf("%q contains %q", text, never)
		}
	}
	return e
}

func TestWhatAPutSends(t *testing.T) {
	environment(t)
	const body = "the bytes of an object"
	h := sha256.Sum256([]byte(body))
	common := map[string]string{
		"Content-Type": "application/gzip", "X-Amz-Content-Sha256": hex.EncodeToString(h[:]),
		"Content-Encoding": "", "Transfer-Encoding": "", "X-Amz-Trailer": "", "X-Amz-Sdk-Checksum-Algorithm": "",
		"X-Amz-Checksum-Crc32": "", "If-None-Match": "",
	}
	for _, tt := range []struct {
		name string
		o    bucket.Options
		want map[string]string
	}{
		{"nothing that was not asked for", bucket.Options{}, map[string]string{
			"X-Amz-Acl": "", "X-Amz-Storage-Class": "", "X-Amz-Server-Side-Encryption": "", "X-Amz-Tagging": "",
			"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": ""}},
		{"the ACL", bucket.Options{ACL: "bucket-owner-full-control"}, map[string]string{"X-Amz-Acl": "bucket-owner-full-control"}},
		{"class, encryption and tags", bucket.Options{StorageClass: "STANDARD_IA", SSE: "aws:kms", KMSKeyID: "key-1", Tagging: "team=a&env=b"},
			map[string]string{"X-Amz-Storage-Class": "STANDARD_IA", "X-Amz-Server-Side-Encryption": "aws:kms",
				"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "key-1", "X-Amz-Tagging": "team=a&env=b"}},
	} {
		for scheme, start := range map[string]func(*httptest.Server){"http": (*httptest.Server).Start, "https": (*httptest.Server).StartTLS} {
			t.Run(tt.name+" over "+scheme, func(t *testing.T) {
				s := newStore(t, nil, start)
				if scheme == "https" {
					bundle := filepath.Join(t.TempDir(), "ca.pem")
					ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
					if err := os.WriteFile(bundle, ca, 0o600); err != nil {
						t.Fatal(err)
					}
					t.Setenv("AWS_CA_BUNDLE", bundle)
				}
				tt.o.Endpoint = s.URL
				if err := put(open(t, tt.o), t.Context(), body); err != nil {
					t.Fatal(err)
				}
				got := s.requests()
				if len(got) != 1 || got[0].Method != "PUT" || got[0].URL.Path != "/b/ingest/k.gz" || got[0].body != body ||
					got[0].ContentLength != int64(len(body)) || len(got[0].TransferEncoding) != 0 {
					t.Fatalf("got %+v", got)
				}
				for _, want := range []map[string]string{common, tt.want} {
					for name, value := range want {
						if have := got[0].Header.Get(name); have != value {
							t.Errorf("%s: got %q, want %q", name, have, value)
						}
					}
				}
			})
		}
	}
}

func TestAnAnswerBecomesAKind(t *testing.T) {
	environment(t)
	now := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	plain := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); io.WriteString(w, text) }
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed a redirect") }))
	defer elsewhere.Close()
	for _, tt := range []struct {
		name  string
		reply http.HandlerFunc
		kind  failure.Kind
		hint  string
	}{
		{"500", xml(500, "InternalError", "oops"), failure.Unavailable, ""},
		{"503", xml(503, "ServiceUnavailable", "later"), failure.Unavailable, ""},
		{"502 of a proxy with a page of HTML", plain(502, "<html><body><h1>Bad\nGateway</h1><br></body>"), failure.Unavailable, ""},
		{"503 with no body", plain(503, ""), failure.Unavailable, ""},
		{"SlowDown", xml(503, "SlowDown", "slower"), failure.Throttled, ""},
		{"429", xml(429, "TooManyRequests", "slower"), failure.Throttled, ""},
		{"429 with no body", plain(429, ""), failure.Throttled, ""},
		{"no permission", xml(403, "AccessDenied", "Access Denied"), failure.Denied, "grant s3:PutObject, s3:PutObjectAcl on arn:aws:s3:::b/ingest/*"},
		{"403 with no body", plain(403, ""), failure.Denied, "grant s3:PutObject"},
		{"a bucket without ACLs", xml(400, "AccessControlListNotSupported", "no"), failure.Denied, "canned_acl none"},
		{"an expired token", xml(400, "ExpiredToken", "expired"), failure.Credentials, "renew"},
		{"an unknown key", xml(403, "InvalidAccessKeyId", "unknown"), failure.Credentials, "renew"},
		{"a wrong secret", xml(403, "SignatureDoesNotMatch", "no"), failure.Credentials, "secret key"},
		{"a clock that is slow", xml(403, "RequestTimeTooSkewed", "no", "Date", now(20*time.Minute)), failure.ClockSkew, "is 20 min slow"},
		{"a clock that is fast", xml(403, "RequestTimeTooSkewed", "no", "Date", now(-90*time.Minute)), failure.ClockSkew, "is 90 min fast"},
		{"no bucket", xml(404, "NoSuchBucket", "no"), failure.NoBucket, "no bucket b"},
		{"404 of something that is no S3", plain(404, "not found"), failure.NoBucket, "endpoint"},
		{"301 with the region", xml(301, "PermanentRedirect", "no", "X-Amz-Bucket-Region", "eu-west-1", "Location", elsewhere.URL), failure.WrongRegion, "set region eu-west-1"},
		{"301 with nothing", plain(301, ""), failure.WrongRegion, "set region"},
		{"307 to another host", xml(307, "TemporaryRedirect", "no", "Location", elsewhere.URL), failure.WrongRegion, "set region"},
		{"a signature for another region", xml(400, "AuthorizationHeaderMalformed",
			"The authorization header is malformed; the region 'us-west-2' is wrong; expecting 'eu-north-1'"), failure.WrongRegion, "set region eu-north-1"},
		{"a conflict", xml(409, "OperationAborted", "busy"), failure.Unavailable, ""},
		{"a body that came too slowly", xml(400, "RequestTimeout", "slow"), failure.Unreachable, "can be reached"},
		{"an object that is too large", xml(400, "EntityTooLarge", "large"), failure.Object, ""},
		{"418", plain(418, "teapot"), failure.Object, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t, tt.reply, (*httptest.Server).Start)
			e := failed(t, put(open(t, bucket.Options{Endpoint: s.URL, ACL: "bucket-owner-full-control"}), t.Context(), "x"))
			if e.Kind != tt.kind || !strings.Contains(e.Hint, tt.hint) {
				t.Errorf("got %s %q, want %s %q", e.Kind, e.Hint, tt.kind, tt.hint)
			}
			if text := e.Error(); !strings.HasPrefix(text, "put s3://b/ingest/k.gz: ") || !strings.Contains(text, e.Hint) || len(text) > 600 {
				t.Errorf("text: %s", text)
			}
			if n := len(s.requests()); n != 1 {
				t.Errorf("got %d attempts, want 1", n)
			}
		})
	}
}

func TestAnErrorIsOneLineThatSaysWhatToDo(t *testing.T) {
	environment(t)
	s := newStore(t, xml(403, "AccessDenied", "Access\nDenied"), (*httptest.Server).Start)
	err := put(open(t, bucket.Options{Endpoint: s.URL, ACL: "bucket-owner-full-control", Tagging: "a=b", SSE: "aws:kms", KMSKeyID: "k"}), t.Context(), "x")
	want := "put s3://b/ingest/k.gz: AccessDenied (403): Access Denied [request R1, endpoint " + s.URL + "]; " +
		"grant s3:PutObject, s3:PutObjectAcl, s3:PutObjectTagging on arn:aws:s3:::b/ingest/*, and kms:GenerateDataKey on the key k"
	if got := failed(t, err).Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestRetryAfter(t *testing.T) {
	environment(t)
	for _, tt := range []struct {
		name, value string
		low, high   time.Duration
	}{
		{"seconds", "7", 7 * time.Second, 7 * time.Second},
		{"a date", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat), 50 * time.Second, time.Minute},
		{"a date that is past", "Sun, 06 Nov 1994 08:49:37 GMT", 0, 0},
		{"nonsense", "-1", 0, 0},
		{"nothing", "", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t, xml(503, "SlowDown", "slower", "Retry-After", tt.value), (*httptest.Server).Start)
			e := failed(t, put(open(t, bucket.Options{Endpoint: s.URL}), t.Context(), "x"))
			if e.RetryAfter < tt.low || e.RetryAfter > tt.high {
				t.Errorf("got %v, want %v to %v", e.RetryAfter, tt.low, tt.high)
			}
		})
	}
}

func proxied(t *testing.T, modes ...fault.Mode) (*store, *fault.Proxy, *bucket.Bucket) {
	t.Helper()
	environment(t)
	s := newStore(t, nil, (*httptest.Server).Start)
	p, err := fault.Start(fault.Options{Target: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	p.Script(modes...)
	return s, p, open(t, bucket.Options{Endpoint: p.URL, ACL: "bucket-owner-full-control"})
}

func TestAResetIsUnreachableAndTheSameBodyCanBePutAgain(t *testing.T) {
	for mode, stored := range map[fault.Mode]int{fault.ResetBefore: 1, fault.ResetMiddle: 1, fault.LostAnswer: 2} {
		t.Run(string(mode), func(t *testing.T) {
			s, _, b := proxied(t, mode, fault.Pass)
			body := strings.NewReader(strings.Repeat("x", 1<<20))
			e := failed(t, b.Put(t.Context(), "k", body, body.Size(), 0))
			if e.Kind != failure.Unreachable || e.Status != 0 {
				t.Errorf("got %v", e)
			}
			if err := b.Put(t.Context(), "k", body, body.Size(), 0); err != nil {
				t.Fatal(err)
			}
			got := s.requests()
			if len(got) != stored || len(got[stored-1].body) != 1<<20 {
				t.Errorf("got %d whole requests, want %d", len(got), stored)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	environment(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	e := failed(t, put(open(t, bucket.Options{Endpoint: "http://" + listener.Addr().String()}), t.Context(), "x"))
	if e.Kind != failure.Unreachable || !strings.Contains(e.Error(), "connection refused") {
		t.Errorf("got %v", e)
	}
}

func TestACertificateThatIsNotTrustedIsUnreachable(t *testing.T) {
	environment(t)
	s := newStore(t, nil, func(s *httptest.Server) {
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
	})
	e := failed(t, put(open(t, bucket.Options{Endpoint: s.URL}), t.Context(), "x"))
	if e.Kind != failure.Unreachable || !strings.Contains(e.Error(), "certificate") {
		t.Errorf("got %v", e)
	}
}

func TestAHangEndsWithTheContext(t *testing.T) {
	for name, tt := range map[string]struct {
		limit func(context.Context) (context.Context, context.CancelFunc)
		kind  failure.Kind
	}{
		"a time-out is unreachable": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 100*time.Millisecond)
		}, failure.Unreachable},
		"a cancel is canceled": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(100*time.Millisecond, cancel)
			return ctx, cancel
		}, failure.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, b := proxied(t, fault.Hang)
			ctx, cancel := tt.limit(t.Context())
			defer cancel()
			if e := failed(t, put(b, ctx, strings.Repeat("x", 1<<20))); e.Kind != tt.kind {
				t.Errorf("got %v, want %s", e, tt.kind)
			}
		})
	}
}

// S3 can deny a large body without reading it and close the connection, which is then reset under the upload.
func TestA403OnALargePutIsRead(t *testing.T) {
	environment(t)
	const denied = "HTTP/1.1 403 Forbidden\r\nContent-Length: 62\r\nConnection: close\r\n\r\n" +
		"<Error><Code>AccessDenied</Code><Message>No</Message></Error>\n"
	for _, tt := range []struct{ name, first string }{
		{"before the body is sent", ""},
		{"while the body is being sent", "HTTP/1.1 100 Continue\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			served := make(chan string)
			go func() {
				conn, err := listener.Accept()
				if err != nil {
					served <- err.Error()
					return
				}
				head := make([]byte, 64<<10)
				n, _ := conn.Read(head)
				io.WriteString(conn, tt.first)
				if tt.first != "" {
					io.CopyN(io.Discard, conn, 100<<10)
				}
				io.WriteString(conn, denied)
				conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
				served <- string(head[:n])
			}()
			e := failed(t, put(open(t, bucket.Options{Endpoint: "http://" + listener.Addr().String()}), t.Context(), strings.Repeat("x", 16<<20)))
			if e.Kind != failure.Denied || e.Code != "AccessDenied" {
				t.Errorf("got %v", e)
			}
			if head := <-served; !strings.Contains(head, "Expect: 100-continue\r\n") || !strings.HasSuffix(head, "\r\n\r\n") {
				t.Errorf("got %d bytes, want a header that expects 100-continue, and no body", len(head))
			}
		})
	}
}

func TestTheNextRequestAllowsForTheClock(t *testing.T) {
	s, _, b := proxied(t, fault.TimeTooSkewed, fault.Pass)
	if e := failed(t, put(b, t.Context(), "x")); e.Kind != failure.ClockSkew {
		t.Fatalf("got %v", e)
	}
	if err := put(b, t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	signed, err := time.Parse("20060102T150405Z", s.requests()[0].Header.Get("X-Amz-Date"))
	if ahead := time.Until(signed); err != nil || ahead < 19*time.Minute {
		t.Errorf("signed %v ahead, want 20m (%v)", ahead, err)
	}
}

func TestABodyThatCannotBeReadIsNotTheNetworksFault(t *testing.T) {
	_, _, b := proxied(t)
	file := filepath.Join(t.TempDir(), "object")
	if err := os.WriteFile(file, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	short, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer short.Close()
	if e := failed(t, b.Put(t.Context(), "k", short, 4, 0)); e.Kind != failure.Unreadable || !strings.Contains(e.Error(), "has 3 bytes, not the expected 4") {
		t.Errorf("a short body: got %v", e)
	}
	for _, after := range []int64{0, 5} {
		if e := failed(t, b.Put(t.Context(), "k", &breaking{Reader: bytes.NewReader(make([]byte, 10)), left: after}, 10, 0)); e.Kind != failure.Unreadable || !errors.Is(e, errBroken) {
			t.Errorf("a body that breaks while it is read for the %d. byte: got %v", after, e)
		}
	}
}

var errBroken = errors.New("input/output error")

// breaking breaks when more than left bytes have been read since the first time it was read to the end.
type breaking struct {
	*bytes.Reader
	left  int64
	again bool
}

func (b *breaking) Read(p []byte) (int, error) {
	if b.left == 0 || b.again {
		return 0, errBroken
	}
	n, err := b.Reader.Read(p)
	b.again = err == io.EOF
	return n, err
}

func TestProbe(t *testing.T) {
	environment(t)
	for _, tt := range []struct {
		name  string
		reply http.HandlerFunc
		kind  failure.Kind
		ok    bool
	}{
		{"a wrong checksum means that all else is right", xml(400, "BadDigest", "no"), 0, true},
		{"a server that ignores checksums has stored it", nil, 0, true},
		{"no permission", xml(403, "AccessDenied", "no"), failure.Denied, false},
		{"no bucket", xml(404, "NoSuchBucket", "no"), failure.NoBucket, false},
		{"no server", xml(500, "InternalError", "no"), failure.Unavailable, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t, tt.reply, (*httptest.Server).Start)
			err := open(t, bucket.Options{Endpoint: s.URL, ACL: "bucket-owner-full-control"}).Probe(t.Context(), "ingest/p.gz")
			if tt.ok && err != nil {
				t.Error(err)
			}
			if !tt.ok {
				if e := failed(t, err); e.Kind != tt.kind || e.Op != "probe" {
					t.Errorf("got %v", e)
				}
			}
			got := s.requests()[0]
			if got.Header.Get("Content-Md5") != "1B2M2Y8AsgTpgAmY7PhCfg==" || got.body != "[]\n" || got.Header.Get("X-Amz-Acl") == "" {
				t.Errorf("sent %q with %v", got.body, got.Header)
			}
		})
	}
}

func TestListReadsAllPages(t *testing.T) {
	environment(t)
	s := newStore(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("continuation-token") == "" {
			io.WriteString(w, `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>
				<Contents><Key>f/1</Key><Size>10</Size><LastModified>2022-06-07T08:09:10.000Z</LastModified></Contents></ListBucketResult>`)
			return
		}
		io.WriteString(w, `<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>f/2</Key><Size>20</Size></Contents></ListBucketResult>`)
	}, (*httptest.Server).Start)
	b := open(t, bucket.Options{Endpoint: s.URL})
	var got []string
	if err := b.List(t.Context(), "f/", func(keys []string) error { got = append(got, keys...); return nil }); err != nil {
		t.Fatal(err)
	}
	want := []string{"f/1", "f/2"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if q := s.requests()[0].URL.Query(); q.Get("prefix") != "f/" || q.Get("list-type") != "2" {
		t.Errorf("asked %v", q)
	}
	enough := errors.New("enough")
	if err := b.List(t.Context(), "f/", func([]string) error { return enough }); err != enough || len(s.requests()) != 3 {
		t.Errorf("got %v after %d requests, want to stop at the first page", err, len(s.requests()))
	}
}

func TestAListingThatDoesNotEndIsGivenUp(t *testing.T) {
	environment(t)
	for name, token := range map[string]func(n int) string{
		"a page that leads to itself": func(int) string { return "t" },
		"pages without keys":          strconv.Itoa,
	} {
		n := 0
		s := newStore(t, func(w http.ResponseWriter, _ *http.Request) {
			n++
			fmt.Fprintf(w, `<ListBucketResult><Name>b</Name><IsTruncated>true</IsTruncated><NextContinuationToken>%s</NextContinuationToken></ListBucketResult>`, token(n))
		}, (*httptest.Server).Start)
		e := failed(t, open(t, bucket.Options{Endpoint: s.URL}).List(t.Context(), "f/", func([]string) error { return nil }))
		if asked := len(s.requests()); e.Kind != failure.Unproven || asked > 110 {
			t.Errorf("%s: got %s after %d requests: %v", name, e.Kind, asked, e)
		}
	}
}

func TestReadingNeedsItsOwnPermissions(t *testing.T) {
	environment(t)
	s := newStore(t, xml(403, "AccessDenied", "no"), (*httptest.Server).Start)
	b := open(t, bucket.Options{Endpoint: s.URL})
	if e := failed(t, b.List(t.Context(), "f/", nil)); e.Kind != failure.Denied || e.Hint != "grant s3:ListBucket on arn:aws:s3:::b" {
		t.Errorf("list: got %v", e)
	}
	_, err := b.Get(t.Context(), "f/1", 10)
	if e := failed(t, err); e.Kind != failure.Denied || e.Hint != "grant s3:GetObject on arn:aws:s3:::b/f/*" {
		t.Errorf("get: got %v", e)
	}
}

func TestGetReadsNoMoreThanItsLimit(t *testing.T) {
	environment(t)
	cut := false
	s := newStore(t, func(w http.ResponseWriter, _ *http.Request) {
		if cut {
			w.Header().Set("Content-Length", "100")
		}
		io.WriteString(w, "0123456789")
	}, (*httptest.Server).Start)
	b := open(t, bucket.Options{Endpoint: s.URL})
	for limit, want := range map[int64]string{0: "", 4: "0123", 10: "0123456789", 1 << 20: "0123456789"} {
		if got, err := b.Get(t.Context(), "k", limit); err != nil || string(got) != want {
			t.Errorf("%d bytes: got %q, %v", limit, got, err)
		}
	}
	cut = true
	_, err := b.Get(t.Context(), "k", 1<<20)
	if e := failed(t, err); e.Kind != failure.Unreachable {
		t.Errorf("an answer that breaks off: got %v", e)
	}
}

func TestManyAtOnce(t *testing.T) {
	s, _, b := proxied(t, fault.ResetMiddle, fault.ExpiredToken, fault.LostAnswer, fault.InternalError)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			body := strings.NewReader(strings.Repeat(string(rune('a'+i)), 200<<10))
			for b.Put(t.Context(), fmt.Sprint(i), body, body.Size(), 0) != nil {
			}
		})
	}
	wg.Wait()
	for _, r := range s.requests() {
		key := strings.TrimPrefix(r.URL.Path, "/b/")
		if want := strings.Repeat(string(rune('a'+key[0]-'0')), 200<<10); r.body != want {
			t.Errorf("%s: got %d bytes of another object", key, len(r.body))
		}
	}
}

// A server that answers and closes with a body unread may reset the connection before its words have arrived.
func TestAnAnswerThatIsCutOffIsAskedForAgainAndIsNoMissingPermission(t *testing.T) {
	environment(t)
	for _, reset := range []bool{true, false} {
		for whole, want := range map[int]string{3: "the secret key is not the access key's", 9: "the connection broke"} {
			requests := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if requests++; requests >= whole {
					xml(403, "SignatureDoesNotMatch", "no")(w, r)
					return
				}
				conn, _, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				fmt.Fprint(conn, "HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nContent-Length: 300\r\n\r\n<?xml")
				if reset {
					conn.(*net.TCPConn).SetLinger(0)
				}
				conn.Close()
			}))
			err := open(t, bucket.Options{Endpoint: server.URL}).Probe(t.Context(), "ingest/p.gz")
			if e := failed(t, err); e.Status != 403 || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "grant") || requests != 3 {
				t.Errorf("reset %v: got %v after %d requests, want %q", reset, err, requests, want)
			}
			server.Close()
		}
	}
}

func TestOnlyS3sOwnAnswerCounts(t *testing.T) {
	environment(t)
	portal := newStore(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Del("ETag")
		io.WriteString(w, "<html><body>Please sign in</body></html>")
	}, (*httptest.Server).Start)
	b := open(t, bucket.Options{Endpoint: portal.URL})
	for name, err := range map[string]error{
		"put":   put(b, t.Context(), "x"),
		"probe": b.Probe(t.Context(), "x"),
		"list":  b.List(t.Context(), "f/", func([]string) error { return nil }),
	} {
		if e := failed(t, err); e.Kind != failure.Unproven || !strings.Contains(e.Error(), "is not S3") {
			t.Errorf("%s: got %v", name, err)
		}
	}

	// One that answers before it has read the body.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			_ = c.Close()
		}
	}()
	body := strings.NewReader(strings.Repeat("x", 5<<20))
	if err := open(t, bucket.Options{Endpoint: "http://" + l.Addr().String()}).Put(t.Context(), "k", body, body.Size(), 0); err == nil {
		t.Error("5 MB, of which 4 KB were read, are counted as stored")
	}
}

func TestAListingOrAReportThatStallsIsGivenUp(t *testing.T) {
	environment(t)
	bucket.SetRequestTimeout(t, 200*time.Millisecond)
	stop := make(chan struct{})
	s := newStore(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, `<?xml version="1.0"?>`)
		w.(http.Flusher).Flush()
		<-stop
	}, (*httptest.Server).Start)
	defer close(stop)
	b := open(t, bucket.Options{Endpoint: s.URL})
	_, got := b.Get(t.Context(), "f/1", 100)
	for name, err := range map[string]error{"list": b.List(t.Context(), "f/", func([]string) error { return nil }), "get": got} {
		if e := failed(t, err); e.Kind != failure.Unreachable {
			t.Errorf("%s: got %s: %v", name, e.Kind, e)
		}
	}
}

// The kernel takes the body of a put at once, and the server may have it much later.
func TestAPutHasTheTimeThatItsContextGivesIt(t *testing.T) {
	environment(t)
	bucket.SetAnswerTimeout(t, 50*time.Millisecond)
	s := newStore(t, func(http.ResponseWriter, *http.Request) { time.Sleep(300 * time.Millisecond) }, (*httptest.Server).Start)
	b := open(t, bucket.Options{Endpoint: s.URL})
	if err := put(b, t.Context(), "x"); err != nil {
		t.Errorf("an answer that comes late: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if e := failed(t, put(b, ctx, "x")); e.Kind != failure.Unreachable {
		t.Errorf("an answer that comes too late: %s: %v", e.Kind, e)
	}
}
