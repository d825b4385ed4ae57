package ship

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"out_amberflo/plugin/ship/failure"
	"out_amberflo/test/logbook"
)

// waiting gives a shipper of a spool in which so many objects wait, with the keys ingest/000.json, ingest/001.json, and so on.
// A put of one takes as long, and fails for what, attempt says.
func waiting(t *testing.T, objects int, log *slog.Logger, attempt func(n, patience int) (time.Duration, error)) *Shipper {
	t.Helper()
	dir := t.TempDir()
	outbox := filepath.Join(dir, "outbox", "ingest")
	if err := os.MkdirAll(outbox, 0o700); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for i := range objects {
		content := fmt.Appendf(nil, "[{\"n\":%d}]\n", i)
		name := filepath.Join(outbox, fmt.Sprintf("%x=%03d.json", md5.Sum(content), i))
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		since := began.Add(time.Duration(i-objects) * time.Second)
		if err := os.Chtimes(name, since, since); err != nil {
			t.Fatal(err)
		}
	}
	to := destination(func(key string, patience int) error {
		n, err := strconv.Atoi(key[len("ingest/") : len("ingest/")+3])
		if err != nil {
			t.Error(err)
		}
		took, err := attempt(n, patience)
		time.Sleep(took)
		return err
	})
	return New(Options{Spool: openSpool(t, dir, log), To: to, Log: log})
}

type destination func(key string, patience int) error

func (d destination) Put(_ context.Context, key string, _ io.ReadSeeker, _ int64, patience int) error {
	return d(key, patience)
}

// run lets two runners work for so long.
func run(t *testing.T, s *Shipper, long time.Duration) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), long)
	defer stop()
	var both sync.WaitGroup
	for turn := range 2 {
		both.Go(func() { s.Run(ctx, turn) })
	}
	both.Wait()
}

func ends(n int) bool   { return n == 0 || n == 29 }
func thirds(n int) bool { return n < 10 || n >= 20 }

// They are the oldest and the newest, and nothing new comes.
func TestObjectsThatAlwaysFailDoNotHoldUpTheOthers(t *testing.T) {
	const quick = 20 * time.Millisecond
	stall := fmt.Errorf("%w for 30s, %w", failure.ErrStalled, failure.ErrNoAnswer)
	for _, tt := range []struct {
		name   string
		bad    func(n int) bool
		kind   failure.Kind
		err    error
		took   time.Duration
		within time.Duration
	}{
		{"the first and the last are denied", ends, failure.Denied, errors.New("403"), quick, 2 * time.Second},
		{"the first and the last break the server", ends, failure.Unavailable, errors.New("500"), quick, 3 * time.Second},
		{"the first and the last are not proved", ends, failure.Unproven, errors.New("200"), quick, 2 * time.Second},
		{"the first and the last are not taken", ends, failure.Object, errors.New("400"), quick, 2 * time.Second},
		{"the first and the last hang", ends, failure.Unreachable, stall, 30 * time.Second, time.Minute},
		{"the prefixes of the oldest and of today are denied", thirds, failure.Denied, errors.New("403"), quick, 2 * time.Minute},
		{"two thirds break the server", thirds, failure.Unavailable, errors.New("500"), quick, 2 * time.Minute},
		{"two thirds are not taken", thirds, failure.Object, errors.New("400"), quick, 2 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bad := 0
				for n := range 30 {
					if tt.bad(n) {
						bad++
					}
				}
				s := waiting(t, 30, slog.New(slog.DiscardHandler), func(n, _ int) (time.Duration, error) {
					if tt.bad(n) {
						return tt.took, &failure.Error{Kind: tt.kind, Err: tt.err}
					}
					return quick, nil
				})
				run(t, s, tt.within)
				if got := s.Stats().Uploaded; got != int64(30-bad) || s.opt.Spool.Waiting() != bad {
					t.Errorf("%d of %d good ones are stored after %s", got, 30-bad, tt.within)
				}
			})
		})
	}
}

// What is wrong with all may come in a 4xx that no table knows, long after the first success.
func TestWhatFailsOneAfterTheOtherIsToldAsWhatConcernsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &logbook.Book{}
		var attempts atomic.Int64
		var fails atomic.Bool
		s := waiting(t, 30, l.Logger(), func(int, int) (time.Duration, error) {
			if attempts.Add(1); fails.Load() {
				return time.Millisecond, &failure.Error{Kind: failure.Object, Err: errors.New("400")}
			}
			return time.Second, nil
		})
		run(t, s, 5*time.Second)
		if s.Stats().Uploaded == 0 {
			t.Fatal("nothing was taken, want something")
		}
		attempts.Store(0)
		fails.Store(true)
		run(t, s, 10*time.Minute)
		if told := l.Count("others go on"); told > coincidence {
			t.Errorf("that others go on is said %d times, though none does:\n%s", told, l)
		}
		if l.Count("upload failed, nothing is lost, will be tried again\" kind=object") == 0 || attempts.Load() > 60 {
			t.Errorf("%d attempts in ten minutes; want it told:\n%s", attempts.Load(), l)
		}
		fails.Store(false)
		run(t, s, 2*time.Minute)
		if left := s.opt.Spool.Waiting(); left > 0 || l.Count("upload succeeded after") != 1 {
			t.Errorf("%d wait once it is fixed; want the end told:\n%s", left, l)
		}
	})
}

func TestAFewThatFailByThemselvesAreNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &logbook.Book{}
		s := waiting(t, 30, l.Logger(), func(n, _ int) (time.Duration, error) {
			if n%3 == 0 {
				return time.Millisecond, &failure.Error{Kind: failure.Object, Err: errors.New("400")}
			}
			return time.Millisecond, nil
		})
		run(t, s, time.Second)
		if l.Count("others go on") == 0 || s.Stats().Uploaded != 20 {
			t.Errorf("%d of 20 are stored; want the others told:\n%s", s.Stats().Uploaded, l)
		}
	})
}

// heard is how long an answer is waited for, as package bucket says.
func heard(patience int) time.Duration { return min(30*time.Second<<patience, 5*time.Minute) }

// It stores each object, and says so after 35 or 100 seconds.
func TestAServerThatIsSlowToAnswerIsHeard(t *testing.T) {
	for _, needs := range []time.Duration{35 * time.Second, 100 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var attempts atomic.Int64
			s := waiting(t, 10, slog.New(slog.DiscardHandler), func(_, patience int) (time.Duration, error) {
				attempts.Add(1)
				if limit := heard(patience); limit < needs {
					return limit, &failure.Error{Kind: failure.Unreachable, Err: fmt.Errorf("%w for %s, %w", failure.ErrStalled, limit, failure.ErrNoAnswer)}
				}
				return needs, nil
			})
			run(t, s, 20*time.Minute)
			if left := s.opt.Spool.Waiting(); left > 0 || attempts.Load() > 20 {
				t.Errorf("%s: %d of 10 wait after %d attempts", needs, left, attempts.Load())
			}
		})
	}
}

func TestOneObjectThatTheServerIsSlowToStoreIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := waiting(t, 10, slog.New(slog.DiscardHandler), func(n, patience int) (time.Duration, error) {
			if limit := heard(patience); n == 4 && limit < 3*time.Minute {
				return limit, &failure.Error{Kind: failure.Unreachable, Err: fmt.Errorf("%w for %s, %w", failure.ErrStalled, limit, failure.ErrNoAnswer)}
			}
			return 100 * time.Millisecond, nil
		})
		run(t, s, time.Minute)
		if left := s.opt.Spool.Waiting(); left != 1 {
			t.Errorf("%d wait after a minute, want the slow one", left)
		}
		run(t, s, 30*time.Minute)
		if left := s.opt.Spool.Waiting(); left > 0 {
			t.Error("it is never heard")
		}
	})
}

func TestWithoutFileDescriptorsItSaysWhatToRaise(t *testing.T) {
	l := &logbook.Book{}
	log := l.Logger()
	sp, obj := sealed(t, filepath.Join(t.TempDir(), "spool"), log)
	s := New(Options{Spool: sp, Log: log})
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 1, Max: was.Max}
	err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none)
	s.ship(t.Context(), obj)
	if err := errors.Join(err, unix.Setrlimit(unix.RLIMIT_NOFILE, &was)); err != nil {
		t.Fatal(err)
	}
	if l.Count("upload failed, nothing is lost") != 1 || l.Count("too many open files; raise how many files Fluent Bit may open: ulimit -n, or LimitNOFILE") != 1 {
		t.Errorf("got\n%s", l)
	}
}
