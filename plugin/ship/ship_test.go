package ship

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"out_amberflo/plugin/bucket"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/ship/failure"
	"out_amberflo/plugin/spool"
	"out_amberflo/test/fault"
	"out_amberflo/test/logbook"
	"out_amberflo/test/s3server"
)

func openSpool(t *testing.T, dir string, log *slog.Logger) *spool.Spool {
	t.Helper()
	s, err := spool.Open(spool.Options{
		Dir: dir, Object: object.Options{Key: func(o object.Sealed) string { return "ingest/" + o.ID.String() + ".gz" }, GzipLevel: 1},
		MaxBytes: 1, MaxAge: time.Hour, Limit: 1 << 30, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestAnOutageIsQuietThenLoudAndSaysWhenItIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &logbook.Book{}
		log := l.Logger()
		s := New(Options{Spool: openSpool(t, t.TempDir(), log), Log: log})
		began := time.Now()
		for range 100 {
			if !s.wait(t.Context()) {
				t.Fatal("the wait did not end")
			}
			s.failed("k", time.Now(), &failure.Error{Kind: failure.Unavailable, Err: errors.New("503")})
			s.failed("other", time.Now().Add(-time.Second), &failure.Error{Kind: failure.Unavailable, Err: errors.New("503")}) // under way at the same time
		}
		if n := l.Count("upload failed"); n != 7 { // 1, 2, 4, … 64
			t.Errorf("got %d lines for 100 failures, want 7", n)
		}
		if took := time.Since(began); took < 40*time.Minute || took > 100*time.Minute {
			t.Errorf("100 failures took %s, want half a minute to a minute each", took)
		}
		for range 3 {
			s.wait(t.Context())
			s.failed("k", time.Now(), &failure.Error{Kind: failure.Denied, Err: errors.New("403")})
		}
		if n := l.Count("kind=denied"); n != 1 {
			t.Errorf("got %d lines for another kind of failure in the same outage, want it said at once, and once", n)
		}
		s.succeeded(spool.Object{Key: "k"}, time.Now())
		if l.Count("upload succeeded after 103 failures") != 1 {
			t.Errorf("want the end of the outage said, got\n%s", l)
		}
		if s.Stats().Failed[failure.Unavailable] != 200 || s.Stats().Uploaded != 1 {
			t.Errorf("got %+v", s.Stats())
		}
	})
}

func TestAnObjectThatFailsByItselfDoesNotHoldUpOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &logbook.Book{}
		log := l.Logger()
		s := New(Options{Spool: openSpool(t, t.TempDir(), log), Log: log})
		at := s.failed("k", time.Now(), &failure.Error{Kind: failure.Object, Err: errors.New("400")})
		if !at.notBefore.After(time.Now()) {
			t.Error("want the object itself to wait")
		}
		began := time.Now()
		if !s.wait(t.Context()) || time.Since(began) > 0 {
			t.Error("want no wait for others")
		}
	})
}

// Where one after the other fails and none is taken, what is wrong with one is wrong with all: the bucket, not the objects.
func TestObjectsThatAllFailByThemselvesHoldUpEachOther(t *testing.T) {
	for name, taken := range map[string]int64{"and none was ever taken": 0, "after some were taken": 3} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &logbook.Book{}
				log := l.Logger()
				s := New(Options{Spool: openSpool(t, t.TempDir(), log), Log: log})
				for range taken {
					s.succeeded(spool.Object{Key: "taken"}, time.Now())
				}
				tries := 0
				for began := time.Now(); time.Since(began) < time.Hour; tries++ {
					if !s.wait(t.Context()) {
						t.Fatal("the wait did not end")
					}
					s.failed(fmt.Sprint(tries), time.Now(), &failure.Error{Kind: failure.Object, Code: "InvalidRequest", Err: errors.New("400")})
				}
				if tries > 200 {
					t.Errorf("%d objects were tried in an hour, want a wait for all", tries)
				}
				if l.Count("upload failed, nothing is lost") == 0 || l.Count("kind=object") == 0 || l.Count() > 20 {
					t.Errorf("got\n%s", l)
				}
			})
		})
	}
}

func TestTooManyOpenFilesConcernAllObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &logbook.Book{}
		log := l.Logger()
		s := New(Options{Spool: openSpool(t, t.TempDir(), log), Log: log})
		s.failed("k", time.Now(), &os.PathError{Op: "open", Path: "outbox/k", Err: syscall.EMFILE})
		if l.Count("upload failed, nothing is lost") != 1 || l.Count("others go on") != 0 || l.Count("too many open files") != 1 {
			t.Errorf("got\n%s", l)
		}
	})
}

func TestManyLinesOfOneCauseBecomeFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &logbook.Book{}
		log := l.Logger()
		s := New(Options{Spool: openSpool(t, t.TempDir(), log), Log: log})
		for range 300 { // every second request fails
			s.failed("k", time.Now(), &failure.Error{Kind: failure.Unavailable, Err: errors.New("503")})
			time.Sleep(50 * time.Millisecond)
			s.succeeded(spool.Object{Key: "k"}, time.Now())
		}
		if n := l.Count(); n > 11 {
			t.Errorf("%d lines of an S3 that flaps:\n%s", n, l)
		}
		if l.Count("the first object is in the bucket") != 1 || l.Count("upload succeeded after") == 0 {
			t.Errorf("want the end of failures said:\n%s", l)
		}
		before := l.Count("an object fails to upload")
		for i := range 1200 { // each of 300 objects fails four times, while others are taken
			s.succeeded(spool.Object{Key: "other"}, time.Now())
			s.failed(fmt.Sprint(i%300), time.Now(), &failure.Error{Kind: failure.Object, Code: "InvalidArgument", Err: errors.New("400")})
		}
		if n := l.Count("an object fails to upload") - before; n != 11 {
			t.Errorf("%d lines of 1,200 failures, want one for each doubling", n)
		}
		s.failed("7", time.Now(), &failure.Error{Kind: failure.Object, Code: "KeyTooLongError", Err: errors.New("400")})
		if l.Count("key=7 failures=5 of_all=1201 objects=300") != 1 {
			t.Errorf("want another cause said at once:\n%s", l)
		}
		for i := range 300 {
			if l.Count("no object fails to upload by itself any more") != 0 {
				t.Fatalf("said with %d that still fail", 300-i)
			}
			s.succeeded(spool.Object{Key: fmt.Sprint(i)}, time.Now())
		}
		if l.Count("no object fails to upload by itself any more") != 1 {
			t.Error("want the end said")
		}
		time.Sleep(2 * time.Minute)
		s.failed("later", time.Now(), &failure.Error{Kind: failure.Object, Code: "InvalidArgument", Err: errors.New("400")})
		if l.Count("key=later") != 1 {
			t.Error("want a single object said that fails later")
		}
	})
}

func TestAPanicInAnUploadGivesTheObjectBack(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	sp, obj := sealed(t, filepath.Join(t.TempDir(), "spool"), log)
	s := New(Options{Spool: sp, Log: log}) // without a bucket
	func() {
		defer func() {
			if recover() == nil {
				t.Error("want the panic to come out")
			}
		}()
		s.ship(t.Context(), obj)
	}()
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	if err := sp.Empty(ctx); err != nil || sp.Waiting() != 1 {
		t.Errorf("got %v, %d objects wait: want the object back, to be tried later, and no stop held up", err, sp.Waiting())
	}
}

func TestThatUploadsWorkIsSaidOnce(t *testing.T) {
	l := &logbook.Book{}
	log := l.Logger()
	s := New(Options{Spool: openSpool(t, t.TempDir(), log), Log: log})
	for range 3 {
		s.succeeded(spool.Object{Key: "k"}, time.Now())
	}
	if l.Count("the first object is in the bucket") != 1 || l.Count() != 1 {
		t.Errorf("got\n%s", l)
	}
}

func TestAWaitEndsWithItsContextAndWhenHurried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		s := New(Options{Spool: openSpool(t, t.TempDir(), log), Log: log})
		for range 20 {
			s.wait(t.Context())
			s.failed("k", time.Now(), &failure.Error{Kind: failure.Denied, Err: errors.New("403")})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if s.wait(ctx) {
			t.Error("want false when the context ends")
		}
		go func() {
			time.Sleep(time.Second)
			s.Hurry()
		}()
		began := time.Now()
		if !s.wait(t.Context()) || time.Since(began) != time.Second {
			t.Errorf("got on after %s, want when hurried", time.Since(began))
		}
	})
}

func TestBackoffDoublesToItsBoundHalfOfItAtRandom(t *testing.T) {
	for n := 1; n < 100; n++ {
		full := min(firstWait<<min(max(n-patience, 0), 20), longestWait)
		for range 20 {
			if d := backoff(n, firstWait, longestWait); d < full/2 || d > full {
				t.Fatalf("failure %d: got %s, want %s to %s", n, d, full/2, full)
			}
		}
	}
}

// Both look like a file that is not there: an object that somebody removed, and a token that the SDK does not find.
func TestAMissingTokenIsNoMissingObject(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	config := filepath.Join(dir, "config")
	if err := os.WriteFile(config, []byte("[profile billing]\nsso_account_id = 123456789012\nsso_role_name = r\n"+
		"sso_region = us-west-2\nsso_start_url = https://127.0.0.1:1/start\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", config)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	b, err := bucket.Open(t.Context(), bucket.Options{Bucket: "b", Region: "us-west-2", Endpoint: "http://127.0.0.1:1", PathStyle: true, Profile: "billing"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	l := &logbook.Book{}
	log := l.Logger()
	sp, obj := sealed(t, filepath.Join(dir, "spool"), log)
	s := New(Options{Spool: sp, To: b, Log: log})
	s.ship(t.Context(), obj)
	if sp.Waiting() != 1 || l.Count("kind=credentials") != 1 {
		t.Fatalf("%d objects wait, want the one that is not uploaded; log:\n%s", sp.Waiting(), l)
	}
	if obj, err = sp.Take(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(fileOf(t, filepath.Join(dir, "spool"), obj.Key)); err != nil {
		t.Fatal(err)
	}
	s.ship(t.Context(), obj)
	if sp.Waiting() != 0 || l.Count("an object is gone from the outbox") != 1 {
		t.Errorf("%d objects wait, want none when the file is gone; log:\n%s", sp.Waiting(), l)
	}
}

// sealed gives a spool below dir with one object, which is taken.
func sealed(t *testing.T, dir string, log *slog.Logger) (*spool.Spool, spool.Object) {
	t.Helper()
	sp := openSpool(t, dir, log)
	tx, err := sp.Begin(journal.Source{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	tx.Append(append(tx.Lines(), "{\"uniqueId\":\"u\"}\n"...), 1)
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := sp.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	obj, err := sp.Take(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	return sp, obj
}

// fileOf is where the object of a key waits.
func fileOf(t *testing.T, dir, key string) string {
	t.Helper()
	files, err := repair.Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Dir == "outbox" && f.Key() == key {
			return filepath.Join(dir, f.Path)
		}
	}
	t.Fatalf("no object %s waits", key)
	return ""
}

// A volume that is remounted, a restore, an operator's mv.
func TestWhatIsAwayForAMomentIsStillUploaded(t *testing.T) {
	for _, what := range []string{"the spool", "the object"} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			l := &logbook.Book{}
			log := l.Logger()
			sp, obj := sealed(t, dir, log)
			from, away := dir, dir+"-away"
			if what == "the object" {
				from = fileOf(t, dir, obj.Key)
			}
			if err := os.Rename(from, away); err != nil {
				t.Fatal(err)
			}
			_, err := sp.Read(obj)
			if what == "the object" { // back between the two looks
				if err := os.Rename(away, from); err != nil {
					t.Fatal(err)
				}
			}
			if err == nil || sp.Gone(obj) {
				t.Errorf("%v: counts as removed for good", err)
			}
			New(Options{Spool: sp, Log: log}).failed(obj.Key, time.Now(), err)
			sp.Return(obj, time.Time{})
			if what == "the spool" {
				if err := os.Rename(away, from); err != nil {
					t.Fatal(err)
				}
			}
			if f, err := sp.Read(obj); err != nil || sp.Waiting() != 1 {
				t.Errorf("%v, %d objects wait, want it to be there", err, sp.Waiting())
			} else {
				_ = f.Close()
			}
		})
	}
}

func TestAnObjectThatIsDeniedForItselfDoesNotAlternateWithOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &logbook.Book{}
		log := l.Logger()
		s := New(Options{Spool: openSpool(t, t.TempDir(), log), Log: log})
		denied := &failure.Error{Kind: failure.Denied, Err: errors.New("403")}
		tries := 0
		var next time.Time
		for range 2000 { // an upload that works every second
			if !time.Now().Before(next) && s.wait(t.Context()) {
				next = s.failed("old/k", time.Now(), denied).notBefore
				tries++
			}
			s.succeeded(spool.Object{Key: "new/k"}, time.Now())
			time.Sleep(time.Second)
		}
		if n := l.Count(); tries > 30 || n > 10 {
			t.Errorf("%d tries and %d lines in half an hour", tries, n)
		}
	})
}

func TestAnObjectThatAlwaysFailsDoesNotTakeEverySecondTurn(t *testing.T) {
	for _, kind := range []failure.Kind{failure.Unreachable, failure.Unavailable, failure.Unproven} {
		synctest.Test(t, func(t *testing.T) {
			log := slog.New(slog.DiscardHandler)
			s := New(Options{Spool: openSpool(t, t.TempDir(), log), Log: log})
			tries := 0
			var next time.Time
			for range 2000 { // an upload that works every second
				if !time.Now().Before(next) && s.wait(t.Context()) {
					next = s.failed("large", time.Now(), &failure.Error{Kind: kind, Err: errors.New("reset")}).notBefore
					tries++
				}
				s.succeeded(spool.Object{Key: "new"}, time.Now())
				time.Sleep(time.Second)
			}
			if tries > 40 {
				t.Errorf("%s: %d tries in half an hour", kind, tries)
			}
		})
	}
}

// TestEveryFaultEndsInOneObjectUnderItsKey goes through the real SDK to the real server, with a proxy
// between them that breaks things.
func TestEveryFaultEndsInOneObjectUnderItsKey(t *testing.T) {
	server, err := s3server.Start(t.Context(), s3server.Options{})
	if errors.Is(err, s3server.ErrNotBuilt) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	proxy, err := fault.Start(fault.Options{Target: server.Endpoint})
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	for _, kv := range server.Env(server.Writer) {
		k, v, _ := strings.Cut(kv, "=")
		t.Setenv(k, v)
	}
	b, err := bucket.Open(t.Context(), bucket.Options{Bucket: server.Bucket, Region: server.Region, Endpoint: proxy.URL, PathStyle: true, ACL: "bucket-owner-full-control"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	l := &logbook.Book{}
	log := l.Logger()
	sp := openSpool(t, t.TempDir(), log)
	s := New(Options{Spool: sp, To: b, Log: log})
	proxy.Script("500", "slowdown", "lost", "reset", "reset-body", "429", "denied", "expired", "lost")

	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { sp.Run(ctx) })
	run.Go(func() { s.Run(ctx, 0) })
	run.Go(func() { s.Run(ctx, 1) })
	const objects = 8
	for i := range objects {
		tx, err := sp.Begin(journal.Source{Hash: uint64(i)}, 1)
		if err != nil {
			t.Fatal(err)
		}
		tx.Append(fmt.Appendf(tx.Lines(), "{\"n\":%d,\"uniqueId\":\"u-%[1]d\"}\n", i), 1)
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	for sp.Stats().Sealed < objects { // the last is sealed when its log is full, which it is
		time.Sleep(time.Millisecond)
	}
	bounded, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := sp.Empty(bounded); err != nil {
		t.Fatalf("%v\n%s", err, l)
	}
	stop()
	run.Wait()
	stored, err := server.Objects(t.Context())
	if err != nil || len(stored) != objects {
		t.Errorf("got %d objects in the bucket, %v, want %d", len(stored), err, objects)
	}
	if st := s.Stats(); st.Uploaded != objects || st.Failed[failure.Unreachable] == 0 || st.Failed[failure.Throttled] == 0 {
		t.Errorf("got %+v, want %d uploads and the faults counted", st, objects)
	}
	if l.Count("succeeded after") == 0 {
		t.Errorf("want the end of the failures said, got\n%s", l)
	}
}
