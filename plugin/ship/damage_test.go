package ship

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"out_amberflo/plugin/bucket"
	"out_amberflo/plugin/ship/failure"
	"out_amberflo/plugin/spool"
	"out_amberflo/test/logbook"
)

// local is a bucket on this machine that takes all, and counts.
func local(t *testing.T, handle http.HandlerFunc) (*bucket.Bucket, *atomic.Int64) {
	t.Helper()
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "s", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"} {
		t.Setenv(name, value)
	}
	stored := new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if handle != nil {
			handle(w, r)
		}
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, md5.Sum(body)))
		stored.Add(1)
	}))
	t.Cleanup(server.Close)
	b, err := bucket.Open(t.Context(), bucket.Options{Bucket: "b", Region: "us-west-2", Endpoint: server.URL, PathStyle: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b, stored
}

func TestWhatTheDiskHasDamagedIsNotSent(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"a byte":    func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"its end":   func(b []byte) []byte { return b[:len(b)-1] },
		"all of it": func(b []byte) []byte { clear(b); return b },
	} {
		t.Run(name, func(t *testing.T) {
			l := &logbook.Book{}
			log := l.Logger()
			dir := filepath.Join(t.TempDir(), "spool")
			sp, obj := sealed(t, dir, log)
			file := fileOf(t, dir, obj.Key)
			was, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, damage(was), 0o600); err != nil {
				t.Fatal(err)
			}
			b, stored := local(t, nil)
			s := New(Options{Spool: sp, To: b, Log: log})
			s.ship(t.Context(), obj)
			if stored.Load() != 0 || sp.Waiting() != 0 || sp.Stats().Damaged != 1 || s.Stats().Uploaded != 0 {
				t.Errorf("%d requests, %d objects wait, got %+v", stored.Load(), sp.Waiting(), sp.Stats())
			}
			if l.Count("the disk has damaged an object: it is not sent, and kept in damaged/outbox/") != 1 {
				t.Errorf("want it said, got\n%s", l)
			}
			if found, _ := filepath.Glob(filepath.Join(dir, "damaged/outbox/ingest/*.gz")); len(found) != 1 {
				t.Errorf("kept: %q", found)
			}
		})
	}
}

func TestAfterAttemptsThatStalledFewerGoAtOnceUntilOneSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		s := New(Options{Spool: openSpool(t, t.TempDir(), log), Log: log})
		stall := &failure.Error{Kind: failure.Unreachable, Err: fmt.Errorf("put: %w", failure.ErrStalled)}
		var most, now atomic.Int64
		var phase atomic.Pointer[error]
		ctx, stop := context.WithCancel(t.Context())
		var run sync.WaitGroup
		for range 8 {
			run.Go(func() {
				for s.enter(ctx) {
					most.Store(max(most.Load(), now.Add(1)))
					time.Sleep(time.Second)
					if now.Add(-1); phase.Load() != nil {
						s.failed("k", time.Now(), *phase.Load())
					} else {
						s.succeeded(spool.Object{Key: "k"}, time.Now())
					}
					s.leave()
				}
			})
		}
		atOnce := func(within time.Duration) int64 {
			time.Sleep(time.Minute)
			synctest.Wait()
			most.Store(0)
			time.Sleep(within)
			synctest.Wait()
			return most.Load()
		}
		if got := atOnce(10 * time.Second); got != 8 {
			t.Errorf("%d go at once, want 8", got)
		}
		err := error(stall)
		phase.Store(&err)
		if got := atOnce(10 * time.Minute); got != 1 {
			t.Errorf("after attempts that stalled %d go at once, want 1", got)
		}
		phase.Store(nil)
		if got := atOnce(2 * time.Minute); got != 8 {
			t.Errorf("after successes %d go at once, want 8", got)
		}
		other := error(&failure.Error{Kind: failure.Unreachable, Err: errors.New("refused")})
		phase.Store(&other)
		if atOnce(10 * time.Minute); s.atOnce != unbounded {
			t.Errorf("after another failure only %d may go at once", s.atOnce)
		}
		stop()
		run.Wait()
	})
}
