package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"out_amberflo/plugin/bucket"
	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/spool"
	"out_amberflo/test/fault"
	"out_amberflo/test/logbook"
	"out_amberflo/test/s3server"
)

// scene is a spool, the real S3 server behind a proxy that counts, and a Reporter.
type scene struct {
	server *s3server.Server
	proxy  *fault.Proxy
	spool  *spool.Spool
	dir    string
	report *Reporter
	log    *logbook.Book

	retention time.Duration
}

func newScene(t *testing.T, mayList bool) *scene {
	t.Helper()
	server, err := s3server.Start(t.Context(), s3server.Options{ReadReports: mayList})
	if errors.Is(err, s3server.ErrNotBuilt) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	proxy, err := fault.Start(fault.Options{Target: server.Endpoint})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	for _, kv := range server.Env(server.Writer) {
		k, v, _ := strings.Cut(kv, "=")
		t.Setenv(k, v)
	}
	s := &scene{server: server, proxy: proxy, dir: t.TempDir(), log: &logbook.Book{}}
	b, err := bucket.Open(t.Context(), bucket.Options{Bucket: server.Bucket, Region: server.Region, Endpoint: proxy.URL, PathStyle: true})
	if err != nil {
		t.Fatal(err)
	}
	s.open(t, b, func(o object.Sealed) string { return "ingest/amberdata/11-21-2026/" + o.ID.String() + ".gz" })
	return s
}

func (s *scene) open(t *testing.T, b *bucket.Bucket, key func(object.Sealed) string) {
	t.Helper()
	log := s.log.Logger()
	var err error
	s.spool, err = spool.Open(spool.Options{Dir: s.dir, Object: object.Options{Key: key, Hash: true, GzipLevel: 6}, MaxBytes: 1, MaxAge: time.Hour, Limit: 1 << 30, Retention: s.retention, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.spool.Close() })
	s.spool.KeepSent(true)
	s.report = New(Options{Dir: s.dir, Spool: s.spool, Bucket: b, Prefix: "failed-requests/", Window: time.Hour, Log: log})
	s.report.first = time.Millisecond
}

// sent brings n objects of two records into sent/ and returns their keys.
func (s *scene) sent(t *testing.T, n int) (keys []string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var run sync.WaitGroup
	run.Go(func() { s.spool.Run(ctx) })
	for i := range n {
		tx, err := s.spool.Begin(journal.Source{Hash: uint64(i)}, 2)
		if err != nil {
			t.Fatal(err)
		}
		tx.Append(append(tx.Lines(), "{\"customerId\":\"a\"}\n{\"customerId\":\"b\"}\n"...), 2)
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		obj, err := s.spool.Take(ctx, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.spool.Sent(obj); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, obj.Key)
	}
	stop()
	run.Wait()
	return keys
}

func (s *scene) put(t *testing.T, key, text string) {
	t.Helper()
	_, err := s.server.Client(s.server.Owner).PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(s.server.Bucket), Key: aws.String(key), Body: strings.NewReader(text),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *scene) listings() (n int) {
	for _, r := range s.proxy.Requests() {
		if r.Method == "GET" && strings.Contains(r.Query, "list-type=2") {
			n++
		}
	}
	return n
}

func (s *scene) round(t *testing.T) time.Duration {
	t.Helper()
	time.Sleep(2 * s.report.first) // the age at which an object asks for its first look
	next, err := s.report.round(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func TestAReportIsMatchedHoweverItsPathIsSpelled(t *testing.T) {
	s := newScene(t, true)
	keys := s.sent(t, 6)
	base := func(i int) string { return strings.TrimSuffix(filepath.Base(keys[i]), ".gz") }
	for i, report := range []string{
		"failed-requests/11-21-2026/" + keys[0] + ".reason.txt",
		"failed-requests/2026-11-21/" + keys[1] + ".reason.txt",
		"failed-requests/2026-11-21/" + base(2) + ".reason.txt",
		"failed-requests/11-21-2026/" + base(3) + ".gz.reason.txt",
		"failed-requests/11-21-2026/s3://" + s.server.Bucket + "/" + keys[4] + ".reason.txt",
	} {
		s.put(t, report, fmt.Sprintf("unknown meter %d\nmore\n", i))
	}
	s.put(t, "failed-requests/11-21-2026/"+keys[5], "no report: another ending")
	s.round(t)

	failed, err := repair.Failed(s.dir)
	if err != nil || len(failed) != 5 {
		t.Fatalf("got %d failed objects, %v, want 5", len(failed), err)
	}
	for i, key := range keys[:5] {
		reason, err := os.ReadFile(filepath.Join(s.dir, "failed", key+spool.ReasonSuffix))
		if err != nil || string(reason) != fmt.Sprintf("unknown meter %d\nmore\n", i) {
			t.Errorf("reason of object %d: got %q, %v", i, reason, err)
		}
		for _, want := range []string{key, "records=2", "customers=2", fmt.Sprintf("unknown meter %d", i), "resend " + key} {
			if !strings.Contains(s.log.String(), want) {
				t.Errorf("the log lacks %q:\n%s", want, s.log)
			}
		}
	}
	if left, err := s.spool.InBucket(); err != nil || len(left) != 1 || left[0].Key != keys[5] {
		t.Errorf("got %v, %v still waiting, want %s", left, err, keys[5])
	}
}

// file is where the object of a key lies.
func (s *scene) file(t *testing.T, dir, key string) string {
	t.Helper()
	files, err := repair.Files(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Dir == dir && f.Key() == key {
			return filepath.Join(s.dir, f.Path)
		}
	}
	t.Fatalf("no object %s in %s/", key, dir)
	return ""
}

func TestTenThousandObjectsCostOneListingARound(t *testing.T) {
	s := newScene(t, true)
	for i := range 10_000 {
		key := fmt.Sprintf("ingest/amberdata/11-21-2026/%08x-0000-7000-8000-000000000000.gz", i)
		path := filepath.Join(s.dir, "sent", key)
		if i == 0 {
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.round(t)
	if n := len(s.proxy.Requests()); n != 1 || s.listings() != 1 {
		t.Errorf("got %d requests, of them %d listings, want one listing", n, s.listings())
	}
}

func TestNothingIsAskedWhileNothingWaits(t *testing.T) {
	s := newScene(t, true)
	if next := s.round(t); next != 0 || len(s.proxy.Requests()) != 0 {
		t.Errorf("got the next round in %s and %d requests, want none", next, len(s.proxy.Requests()))
	}
}

func TestAVerdictIsWaitedForAsLongAsTheWindowAndOverARestart(t *testing.T) {
	s := newScene(t, true)
	keys := s.sent(t, 2)
	s.round(t)
	if left, _ := s.spool.InBucket(); len(left) != 2 {
		t.Fatalf("got %d waiting, want 2", len(left))
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(s.file(t, "sent", keys[0]), old, old); err != nil {
		t.Fatal(err)
	}
	s.report = New(s.report.opt) // as after a restart
	s.report.first = time.Millisecond
	s.put(t, "failed-requests/x/"+keys[1]+".reason.txt", "late")
	s.round(t)
	if left, _ := s.spool.InBucket(); len(left) != 0 {
		t.Errorf("got %v still waiting, want none", left)
	}
	if failed, _ := repair.Failed(s.dir); len(failed) != 1 || failed[0].Key != keys[1] {
		t.Errorf("got %v failed, want the late one", failed)
	}
}

func TestWithoutThePermissionToListOneLineSaysSoAndAtLastNothingIsKept(t *testing.T) {
	s := newScene(t, false)
	keys := s.sent(t, 3)
	s.report.first, s.report.rarest = 10*time.Millisecond, 100*time.Millisecond
	if _, err := s.report.round(t.Context()); err == nil {
		t.Error("want the denial told")
	}
	if left, _ := s.spool.InBucket(); len(left) != 3 {
		t.Errorf("%d objects are kept after the first denial, want 3: the permission may come", len(left))
	}
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { s.report.Run(ctx) })
	eventually := func(what string, holds func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("want %s; log:\n%s", what, s.log)
			}
		}
	}
	eventually("sent/ emptied", func() bool {
		left, _ := s.spool.InBucket()
		return len(left) == 0
	})
	if n := s.listings(); n > 6 { // the one above, now, after 40 and 80 ms, then each 100
		t.Errorf("%d listings until then, want few", n)
	}
	if got := s.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "s3:ListBucket") || strings.Count(got, "Principal") != 2 || !strings.Contains(got, "failed-requests/*") {
		t.Errorf("want one line with the missing statement, got\n%s", got)
	}
	s.sent(t, 1)
	if left, _ := s.spool.InBucket(); len(left) != 0 {
		t.Errorf("got %v kept, want nothing", left)
	}
	asked := s.listings()
	eventually("it asked twice more, with nothing in sent/", func() bool { return s.listings() >= asked+2 })
	if got := s.log.String(); strings.Count(got, "\n") != 1 {
		t.Errorf("want no line more while it is denied, got\n%s", got)
	}

	if err := s.server.SetPolicy(t.Context(), s.server.PutAndReportsPolicy()); err != nil {
		t.Fatal(err)
	}
	eventually("the permission noticed", func() bool { return strings.Contains(s.log.String(), "failure reports can be read now") })
	key := s.sent(t, 1)[0]
	s.put(t, "failed-requests/x/"+key+".reason.txt", "unknown meter")
	eventually("the verdict noticed", func() bool {
		failed, _ := repair.Failed(s.dir)
		return len(failed) == 1 && failed[0].Key == key && key != keys[0]
	})
	stop()
	run.Wait()
}

func TestAFailedObjectGoesOutAgainUnderAFreshKeyWithTheSameBytes(t *testing.T) {
	s := newScene(t, true)
	key := s.sent(t, 1)[0]
	was, err := os.ReadFile(s.file(t, "sent", key))
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, "failed-requests/x/"+key+".reason.txt", "unknown meter")
	s.round(t)
	fresh, err := repair.Resend(s.dir, key)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { s.spool.Run(ctx) }) // looks into sealing/ as it begins, and every 15 seconds
	obj, err := s.spool.Take(ctx, false)
	stop()
	run.Wait()
	if err != nil || obj.Key != fresh || fresh == key {
		t.Fatalf("got %q, %v, want %q, which is not %q", obj.Key, err, fresh, key)
	}
	is, err := os.ReadFile(s.file(t, "outbox", fresh))
	if err != nil || !bytes.Equal(is, was) {
		t.Errorf("the bytes changed (%v)", err)
	}
	if failed, _ := repair.Failed(s.dir); len(failed) != 0 {
		t.Errorf("got %v still failed, want none", failed)
	}
	journal, err := os.ReadFile(filepath.Join(s.dir, "failed", "audit.ndjson"))
	if err != nil || !strings.Contains(string(journal), fresh) || !strings.Contains(string(journal), "unknown meter") {
		t.Errorf("the journal says %q, %v", journal, err)
	}
}

func TestALookIsDueLessAndLessOften(t *testing.T) {
	first, window := 15*time.Second, time.Hour
	for _, c := range []struct{ age, want time.Duration }{
		{0, 15 * time.Second}, {15 * time.Second, 15 * time.Second}, {29 * time.Second, time.Second},
		{time.Minute, time.Minute}, {40 * time.Minute, 20 * time.Minute},
	} {
		if got := nextLook(c.age, first, window); got != c.want {
			t.Errorf("at the age of %s: got %s, want %s", c.age, got, c.want)
		}
	}
}

// What the options accept as keys may have a name, or a uuid, in common.
func TestAReportIsOfTheObjectWhoseKeyItEndsWith(t *testing.T) {
	for name, key := range map[string]func(object.Sealed) string{
		"one name in directories of their own": func(o object.Sealed) string {
			return fmt.Sprintf("ingest/%09d-%x/data.ndjson.gz", o.Opened.Nanosecond(), o.Sum[:4])
		},
		"a uuid of the application after it": func(o object.Sealed) string {
			return "ingest/" + o.ID.String() + "/app-11111111-1111-4111-8111-111111111111.gz"
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, true)
			s.dir = t.TempDir()
			s.open(t, s.report.opt.Bucket.(*bucket.Bucket), key)
			keys := s.sent(t, 3)
			s.put(t, "failed-requests/2026-11-21/"+keys[1]+".reason.txt", "unknown meter")
			s.round(t)
			if failed, _ := repair.Failed(s.dir); len(failed) != 1 || failed[0].Key != keys[1] {
				t.Errorf("got %v failed, want %s", failed, keys[1])
			}
			if left, _ := s.spool.InBucket(); len(left) != 2 {
				t.Errorf("got %v waiting, want the other two", left)
			}
		})
	}
}

func TestADenialAfterGoodListingsIsTriedAgain(t *testing.T) {
	s := newScene(t, true)
	keys := s.sent(t, 1)
	s.round(t)
	if err := s.server.SetPolicy(t.Context(), s.server.PutPolicy()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.report.Run(ctx)
	}()
	says := func(line string) {
		t.Helper()
		for !strings.Contains(s.log.String(), line) {
			select {
			case <-done:
				t.Fatalf("it gave up:\n%s", s.log)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	says("looking for failure reports failed, will be tried again")
	if err := s.server.SetPolicy(t.Context(), s.server.PutAndReportsPolicy()); err != nil {
		t.Fatal(err)
	}
	says("looking for failure reports succeeded again")
	stop()
	<-done
	if err := s.server.SetPolicy(t.Context(), s.server.PutPolicy()); err != nil {
		t.Fatal(err)
	}
	if left, _ := s.spool.InBucket(); len(left) != 1 || left[0].Key != keys[0] {
		t.Errorf("got %v kept, want the object", left)
	}
	s.report.opt.Window = time.Nanosecond
	if _, err := s.report.round(t.Context()); err == nil {
		t.Error("want the denial told")
	}
	if left, _ := s.spool.InBucket(); len(left) != 0 {
		t.Errorf("got %v kept for longer than the window", left)
	}
}

func TestAClockThatWasSetBackDelaysNoLook(t *testing.T) {
	s := newScene(t, true)
	key := s.sent(t, 1)[0]
	ahead := time.Now().Add(24 * time.Hour)
	if err := os.Chtimes(s.file(t, "sent", key), ahead, ahead); err != nil {
		t.Fatal(err)
	}
	if next := s.round(t); next > time.Second {
		t.Errorf("the next look is in %s", next)
	}
}

func TestWhatIsKeptForAnAuditIsNotAskedForAgain(t *testing.T) {
	s := newScene(t, true)
	s.dir, s.retention = t.TempDir(), 24*time.Hour
	b, _ := s.report.opt.Bucket.(*bucket.Bucket)
	key := func(o object.Sealed) string { return o.ID.String() + ".gz" }
	s.open(t, b, key)
	s.sent(t, 2)
	s.report.opt.Window = 0
	if next := s.round(t); next != 0 || s.listings() != 1 {
		t.Fatalf("got %d listings and the next round in %s, want one, at the end of the window", s.listings(), next)
	}
	// What is sent later is.
	s.put(t, "failed-requests/x/"+s.sent(t, 1)[0]+".reason.txt", "unknown meter")
	s.round(t)
	if failed, _ := repair.Failed(s.dir); len(failed) != 1 || s.listings() != 2 {
		t.Errorf("got %v failed after %d listings, want the object that was sent since, after one more", failed, s.listings())
	}
	asked := len(s.proxy.Requests())
	for _, start := range []bool{false, true} {
		if start {
			if err := s.spool.Close(); err != nil {
				t.Fatal(err)
			}
			s.open(t, b, key)
		}
		if next := s.round(t); next != 0 || len(s.proxy.Requests()) != asked {
			t.Errorf("after a start %v: the next round in %s and %d requests, want none more", start, next, len(s.proxy.Requests())-asked)
		}
		if kept, err := spool.List(disk.New(s.dir), disk.Sent); err != nil || len(kept) != 2 {
			t.Errorf("after a start %v: got %v, %v in sent/, want two objects", start, kept, err)
		}
	}
}
