package bucket_test

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"out_amberflo/plugin/bucket"
	"out_amberflo/plugin/ship/failure"
)

func TestAPutCountsWhenItsAnswerProvesIt(t *testing.T) {
	environment(t)
	const body = "the bytes of an object"
	sum := fmt.Sprintf("%x", md5.Sum([]byte(body)))
	sha := sha256.Sum256([]byte(body))
	nothing := fmt.Sprintf("%x", md5.Sum(nil))
	for _, tt := range []struct {
		name   string
		o      bucket.Options
		header map[string]string
		stored bool
	}{
		{"the MD5 as ETag", bucket.Options{}, map[string]string{"ETag": `"` + sum + `"`}, true},
		{"the MD5 without quotes", bucket.Options{}, map[string]string{"ETag": sum}, true},
		{"the MD5 in capital letters", bucket.Options{}, map[string]string{"ETag": strings.ToUpper(sum)}, true},
		{"the MD5 of nothing", bucket.Options{}, map[string]string{"ETag": `"` + nothing + `"`}, false},
		{"a weak ETag", bucket.Options{}, map[string]string{"ETag": `W/"2-x"`}, false},
		{"the MD5 as a weak ETag", bucket.Options{}, map[string]string{"ETag": `W/"` + sum + `"`}, false},
		{"another ETag", bucket.Options{}, map[string]string{"ETag": `"5f-abc"`}, false},
		{"no ETag", bucket.Options{}, map[string]string{"ETag": ""}, false},
		{"another ETag, encrypted with KMS", bucket.Options{}, map[string]string{"ETag": `"5fabc"`, "X-Amz-Server-Side-Encryption": "aws:kms"}, true},
		{"another ETag, encrypted twice with KMS", bucket.Options{}, map[string]string{"ETag": `"5fabc"`, "X-Amz-Server-Side-Encryption": "aws:kms:dsse"}, true},
		{"another ETag, encrypted with a customer's key", bucket.Options{}, map[string]string{"ETag": `"5fabc"`, "X-Amz-Server-Side-Encryption-Customer-Algorithm": "AES256"}, true},
		{"another ETag, encrypted by S3", bucket.Options{}, map[string]string{"ETag": `"5fabc"`, "X-Amz-Server-Side-Encryption": "AES256"}, false},
		{"another ETag where KMS was asked for", bucket.Options{SSE: "aws:kms"}, map[string]string{"ETag": `"5fabc"`}, true},
		{"a weak ETag where KMS was asked for", bucket.Options{SSE: "aws:kms"}, map[string]string{"ETag": `W/"5fabc"`}, false},
		{"no ETag, and the checksum", bucket.Options{}, map[string]string{"ETag": "", "X-Amz-Checksum-Sha256": base64.StdEncoding.EncodeToString(sha[:])}, true},
		{"the MD5, and another checksum", bucket.Options{}, map[string]string{"ETag": `"` + sum + `"`, "X-Amz-Checksum-Sha256": base64.StdEncoding.EncodeToString(sha[1:])}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Del("ETag")
				for name, value := range tt.header {
					if value != "" {
						w.Header().Set(name, value)
					}
				}
			}, (*httptest.Server).Start)
			tt.o.Endpoint = s.URL
			err := put(open(t, tt.o), t.Context(), body)
			if tt.stored && err != nil {
				t.Errorf("want it counted as stored, got %v", err)
			}
			if !tt.stored {
				if e := failed(t, err); e.Kind != failure.Unproven || !strings.Contains(e.Error(), "check endpoint, "+s.URL) {
					t.Errorf("got %s: %v", e.Kind, e)
				}
			}
		})
	}
}

// Of a server whose ETag is no MD5 the first answer proves nothing; a checksum, sent and given back, does.
func TestAServerWithOtherETagsIsAskedForAChecksum(t *testing.T) {
	environment(t)
	s := newStore(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"5fabc-1"`)
		if sum := r.Header.Get("X-Amz-Checksum-Sha256"); sum != "" {
			w.Header().Set("X-Amz-Checksum-Sha256", sum)
		}
	}, (*httptest.Server).Start)
	b := open(t, bucket.Options{Endpoint: s.URL})
	if e := failed(t, put(b, t.Context(), "x")); e.Kind != failure.Unproven {
		t.Errorf("got %s: %v", e.Kind, e)
	}
	if err := put(b, t.Context(), "x"); err != nil {
		t.Errorf("with a checksum: %v", err)
	}
}

// One that answers before it has read the body, with all that an answer of S3 has.
func TestAGatewayThatReadsAPartIsNotBelieved(t *testing.T) {
	environment(t)
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
			_, _ = c.Read(make([]byte, 4<<10)) // its header
			_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			_, _ = io.CopyN(io.Discard, c, 5014)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nETag: \"%x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", md5.Sum(nil))
			_ = c.Close()
		}
	}()
	body := strings.NewReader(strings.Repeat("x", 791_903))
	e := failed(t, open(t, bucket.Options{Endpoint: "http://" + l.Addr().String()}).Put(t.Context(), "k", body, body.Size(), 0))
	if e.Kind != failure.Unproven && e.Kind != failure.Unreachable {
		t.Errorf("got %s: %v", e.Kind, e)
	}
}

// ObjectLock answers as a bucket with Object Lock does.
func objectLock(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Content-Md5") == "" && r.Header.Get("X-Amz-Checksum-Sha256") == "" {
		xml(400, "InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters")(w, r)
	}
}

func TestABucketWithObjectLockTakesObjects(t *testing.T) {
	environment(t)
	s := newStore(t, objectLock, (*httptest.Server).Start)
	b := open(t, bucket.Options{Endpoint: s.URL})
	if err := put(b, t.Context(), "x"); err != nil {
		t.Error(err)
	}
	if err := b.Probe(t.Context(), "ingest/p.gz"); err != nil {
		t.Error(err)
	}
	sum := md5.Sum([]byte("x"))
	if got, want := s.requests()[0].Header.Get("Content-Md5"), base64.StdEncoding.EncodeToString(sum[:]); got != want {
		t.Errorf("Content-MD5: got %q, want %q", got, want)
	}
}

// summed is a body that knows the MD5 that it should have.
type summed struct {
	*strings.Reader
	md5 []byte
}

func (s summed) MD5() []byte { return s.md5 }

func TestTheMD5OfABodyThatKnowsItIsSent(t *testing.T) {
	environment(t)
	s := newStore(t, nil, (*httptest.Server).Start)
	sealed := md5.Sum([]byte("as it was sealed"))
	body := summed{strings.NewReader("as the disk has it"), sealed[:]}
	e := failed(t, open(t, bucket.Options{Endpoint: s.URL}).Put(t.Context(), "k", body, body.Size(), 0))
	if e.Kind != failure.Unproven { // this server does not look at Content-MD5; its ETag tells
		t.Errorf("got %v", e)
	}
	if got := s.requests()[0].Header.Get("Content-Md5"); got != base64.StdEncoding.EncodeToString(sealed[:]) {
		t.Errorf("sent %q", got)
	}
	if errors.Is(e, failure.ErrStalled) {
		t.Error("it did not stall")
	}
}
