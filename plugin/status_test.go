package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"out_amberflo/plugin/meter"
)

// statusOf reads the file of an output; locked: its process runs.
func statusOf(t *testing.T, path string) (s Status, locked bool) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Mode() != 0o600 {
		t.Errorf("got the mode %v (%v), want it for its owner alone", st.Mode(), err)
	}
	d := json.NewDecoder(f)
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s, errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

func TestTheStatusIsWrittenWhenSomethingHasChangedAndNotMoreOftenThanEveryFiveSeconds(t *testing.T) {
	c, dir := &capture{}, t.TempDir()
	p := started(t, c, "store_dir", dir)
	defer p.Stop()
	synctest.Test(t, func(t *testing.T) {
		// One of its own, since that of p goes by the time outside.
		q := &Instance{delivery: p.delivery, log: p.log, name: "watched", counts: newCounts(), file: newStatusFile(dir, "watched", 7)}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			q.keepStatus(ctx)
		}()
		path := filepath.Join(dir, StatusDir, "watched.json")
		written := func() os.FileInfo {
			st, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			return st
		}
		synctest.Wait()
		began := time.Now()
		first := written()
		time.Sleep(time.Hour)
		synctest.Wait()
		if !os.SameFile(first, written()) {
			t.Error("it was written while nothing happened")
		}
		if s, locked := statusOf(t, path); !locked || s.Output != "watched" || s.Version != Version || s.PID != os.Getpid() || !s.Started.Equal(began) || !s.Written.Equal(began) || s.Stopped || s.LastFailure != nil {
			t.Errorf("got %+v, locked %v", s, locked)
		}

		times := 0
		for last := first; time.Since(began) < time.Hour+time.Minute; time.Sleep(100 * time.Millisecond) {
			q.counts.records.Add(3)
			q.counts.ignored.Add(2)
			synctest.Wait()
			if now := written(); !os.SameFile(last, now) {
				times, last = times+1, now
			}
		}
		if times != 11 && times != 12 {
			t.Errorf("written %d times in a minute of flushes, want every %s", times, StatusEvery)
		}
		q.counts.rejected[meter.NoCustomer].Add(4)
		time.Sleep(StatusEvery)
		synctest.Wait()
		s, locked := statusOf(t, path)
		if got := s.Counters; !locked || got["accepted_records_total"] != 1800 || got["ignored_records_total"] != 1200 || got["rejected_records_total{no_customer}"] != 4 || len(got) > len(Metrics) {
			t.Errorf("got %v, locked %v", got, locked)
		}
		stop()
		<-done
		q.endStatus()
		if s, locked := statusOf(t, path); locked || !s.Stopped || !s.Started.Equal(began) {
			t.Errorf("got %+v after the stop, locked %v", s, locked)
		}
	})
	if left, _ := filepath.Glob(filepath.Join(dir, StatusDir, ".*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestTheStatusTellsTheLastFailureAsTheLogDoes(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-told")
	c, dir := &capture{}, t.TempDir()
	p := started(t, c, "store_dir", dir, "shutdown_timeout", "2s") // nobody listens at the endpoint
	path := filepath.Join(dir, StatusDir, "amberflo.0.json")
	if err := p.Flush("app", events(t, map[string]any{"customerId": "acme", "meterApiName": "Api", "meterValue": 3})); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	s, locked := statusOf(t, path)
	f := s.LastFailure
	if locked || !s.Stopped || f == nil || f.Kind != "unreachable" || f.Failures < 1 || f.Ended != nil || f.Next.Before(f.Time) || s.LastUpload != nil {
		t.Fatalf("got %+v, %+v; log:\n%s", s, f, c.log())
	}
	if s.Counters["accepted_records_total"] != 1 || s.Counters["sealed_objects_total"] != 1 || s.Counters["upload_failures_total{unreachable}"] < 1 {
		t.Errorf("got %v", s.Counters)
	}
	if b, err := os.ReadFile(path); err != nil || strings.Contains(string(b), "not-to-be-told") {
		t.Errorf("got %v,\n%s", err, b)
	}
	if !strings.Contains(c.log(), "waiting=1 next=") || !strings.Contains(c.log(), ": "+f.Error) {
		t.Errorf("want %q in the log:\n%s", f.Error, c.log())
	}
}

func TestAStatusThatCannotBeWrittenIsToldOnceAndHasNoEffect(t *testing.T) {
	c, dir := &capture{}, t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, StatusDir), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := started(t, c, "store_dir", dir)
	if err := p.Flush("app", events(t, map[string]any{"customerId": "acme", "meterApiName": "Api", "meterValue": 3})); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	if n := c.count("INFO [output:amberflo:amberflo.0] the file in status/ cannot be written"); n != 1 || len(delivered(t, dir)) != 1 {
		t.Errorf("told %d times, want once:\n%s", n, c.log())
	}
	if b, err := os.ReadFile(filepath.Join(dir, StatusDir)); string(b) != "mine" {
		t.Errorf("got %q, %v, want what was there", b, err)
	}
}

func TestNoNameOfAnOutputLeadsOutOfTheDirectory(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"../../up", "a/b", ".", "..", "", "ä\x00\n", strings.Repeat("long", 100)} {
		f := newStatusFile(dir, name, 0)
		_ = f.write(&Status{Output: name}) // one that is too long fails
		f.close()
	}
	if files, _ := filepath.Glob(filepath.Join(dir, StatusDir, "*.json")); len(files) != 6 {
		t.Errorf("got %q", files)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) != 1 {
		t.Errorf("got %q", files)
	}
	outside := t.TempDir()
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, StatusDir)), os.Symlink(outside, filepath.Join(dir, StatusDir))); err != nil {
		t.Fatal(err)
	}
	if err := newStatusFile(dir, "a", 0).write(&Status{}); err == nil {
		t.Error("it followed a link")
	}
}
