package ship

import (
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"out_amberflo/plugin/bucket"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/spool"
)

// BenchmarkDrain uploads what an outage has left, 10,000 objects of 16 KB, with the default of two at once, to a server that
// answers at once, and to one that takes as long as S3.
func BenchmarkDrain(b *testing.B) {
	for name, latency := range map[string]time.Duration{"at once": 0, "after 20 ms": 20 * time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				drain(b, 10_000, latency)
			}
		})
	}
}

func drain(b *testing.B, objects int, latency time.Duration) {
	b.StopTimer()
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "s", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"} {
		b.Setenv(name, value)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sum := md5.New()
		_, _ = io.Copy(sum, r.Body)
		time.Sleep(latency)
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sum.Sum(nil)))
	}))
	defer server.Close()
	dir := b.TempDir()
	outbox := filepath.Join(dir, "outbox", "ingest")
	if err := os.MkdirAll(outbox, 0o700); err != nil {
		b.Fatal(err)
	}
	content := make([]byte, 16<<10)
	random := rand.NewChaCha8([32]byte{})
	for i := range objects {
		_, _ = random.Read(content)
		name := filepath.Join(outbox, fmt.Sprintf("%x=%08x-0000-7000-8000-000000000000.gz", md5.Sum(content), i))
		if err := os.WriteFile(name, content, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	sp, err := spool.Open(spool.Options{Dir: dir, Object: object.Options{Key: func(object.Sealed) string { return "" }}, MaxBytes: 1, MaxAge: time.Hour, Log: log})
	if err != nil {
		b.Fatal(err)
	}
	to, err := bucket.Open(b.Context(), bucket.Options{Bucket: "b", Region: "us-west-2", Endpoint: server.URL, PathStyle: true})
	if err != nil {
		b.Fatal(err)
	}
	s := New(Options{Spool: sp, To: to, Log: log})
	ctx, stop := context.WithCancel(b.Context())
	var run sync.WaitGroup
	began := cpu(b)
	b.StartTimer()
	for i := range 2 {
		run.Go(func() { s.Run(ctx, i) })
	}
	var most uint64
	for sp.Waiting() > 0 {
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapAlloc)
		time.Sleep(50 * time.Millisecond)
	}
	b.StopTimer()
	b.ReportMetric((cpu(b) - began).Seconds(), "cpu-s/op")
	b.ReportMetric(float64(most-min(most, before.HeapAlloc))/1e6, "peak-heap-MB")
	stop()
	run.Wait()
	to.Close()
	if err := sp.Close(); err != nil {
		b.Fatal(err)
	}
}

// cpu is the time that this process, and so the server too, has worked.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
