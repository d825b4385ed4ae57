package amberflo

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
)

// bucket answers ListObjectsV2 (two keys a page), GetObject and PutObject for one bucket named b.
type bucket struct {
	mu      sync.Mutex
	objects map[string][]byte
	fail    func(r *http.Request) int // a status to answer instead; 0 means none
	lists   int
}

func newBucket(t *testing.T) (*bucket, Options) {
	t.Helper()
	b := &bucket{objects: map[string][]byte{}}
	srv := httptest.NewServer(b)
	t.Cleanup(srv.Close)
	return b, Options{Endpoint: srv.URL, Bucket: "b", Credentials: credentials.NewStaticCredentialsProvider("id", "secret", "")}
}

func (b *bucket) put(key, body string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects[key] = []byte(body)
}

func (b *bucket) get(key string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.objects[key])
}

func (b *bucket) under(prefix string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	keys := slices.Sorted(maps.Keys(b.objects))
	return slices.DeleteFunc(keys, func(k string) bool { return !strings.HasPrefix(k, prefix) })
}

func (b *bucket) answer(status func(r *http.Request) int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = status
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		if status := b.fail(r); status != 0 {
			http.Error(w, "<Error><Code>AccessDenied</Code></Error>", status)
			return
		}
	}
	key := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/b"), "/")
	switch {
	case r.Method == http.MethodPut:
		b.objects[key], _ = io.ReadAll(r.Body)
	case key == "":
		b.lists++
		b.list(w, r)
	case b.objects[key] == nil:
		http.Error(w, "<Error><Code>NoSuchKey</Code></Error>", http.StatusNotFound)
	default:
		w.Header().Set("ETag", etag(b.objects[key]))
		w.Write(b.objects[key])
	}
}

func (b *bucket) list(w http.ResponseWriter, r *http.Request) {
	type contents struct {
		Key, ETag string
		Size      int
	}
	var page struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []contents
	}
	for _, key := range slices.Sorted(maps.Keys(b.objects)) {
		if key <= r.FormValue("continuation-token") || !strings.HasPrefix(key, r.FormValue("prefix")) {
			continue
		}
		if len(page.Contents) == 2 {
			page.IsTruncated, page.NextContinuationToken = true, page.Contents[1].Key
			break
		}
		page.Contents = append(page.Contents, contents{key, etag(b.objects[key]), len(b.objects[key])})
	}
	xml.NewEncoder(w).Encode(page)
}

func etag(body []byte) string {
	sum := md5.Sum(body)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func gzipped(t *testing.T, members ...string) string {
	t.Helper()
	var b bytes.Buffer
	for _, m := range members {
		zw := gzip.NewWriter(&b)
		if _, err := io.WriteString(zw, m); err != nil {
			t.Fatal(err)
		}
		if err := zw.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}
