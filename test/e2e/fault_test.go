package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/fault"
	"out_amberflo/test/logbook"
	"out_amberflo/test/s3server"
)

func TestAFailureThatPassesIsOneObjectQuietlyLogged(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		mode  fault.Mode
		words []string
	}{
		{"an internal error", fault.InternalError, []string{"kind=unavailable", "InternalError (500)"}},
		{"a service that is unavailable", fault.Unavailable, []string{"kind=unavailable", "ServiceUnavailable (503)"}},
		{"SlowDown", fault.SlowDown, []string{"kind=throttled", "SlowDown (503)"}},
		{"too many requests", fault.TooManyRequests, []string{"kind=throttled", "(429)"}},
		{"a reset at the begin", fault.ResetBefore, []string{"kind=unreachable"}},
		{"a reset in the middle", fault.ResetMiddle, []string{"kind=unreachable"}},
		{"an answer that is lost behind the write", fault.LostAnswer, []string{"kind=unreachable"}},
		{"a gateway that stores a part", fault.Truncate, []string{"kind=unproven", "is not the MD5 of what was sent", "check endpoint, http://127.0.0.1:"}},
		{"an application that says that all is well", fault.Lie, []string{"kind=unproven", "a weak one", "check endpoint, http://127.0.0.1:"}},
		{"403 for a while", fault.AccessDenied, []string{"kind=denied", "AccessDenied (403)", "grant s3:PutObject, s3:PutObjectAcl on arn:aws:s3:::183-amberflo/ingest/*"}},
		{"an expired token", fault.ExpiredToken, []string{"kind=credentials", "ExpiredToken (400)", "renew the credentials"}},
		{"a clock that is off", fault.TimeTooSkewed, []string{"kind=clock_skew", "RequestTimeTooSkewed (403)", "this machine's clock is 20 min slow"}},
		{"a redirect to another region", fault.WrongRegion, []string{"kind=wrong_region", "PermanentRedirect (301)", "set region eu-west-1"}},
		{"a bucket that is not there yet", fault.NoSuchBucket, []string{"kind=no_bucket", "NoSuchBucket (404)"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, bundledHost)
			// A connection that is kept would let a request be made once more, uncounted, where this machine does not
			// answer for three seconds.
			proxy := b.behind(fault.Options{Close: true})
			proxy.Script(test.mode, test.mode, test.mode, test.mode)
			p := b.start(counted(100, 10), b.section("startup_check off", "failure_reports off", "max_records 100"))
			// The SDK makes up for a clock that is off: once too often here, where it is not.
			failures := 4
			if test.mode == fault.TimeTooSkewed {
				failures = 5
			}
			p.await(fmt.Sprintf("upload succeeded after %d failures and ", failures))
			log := p.stop()

			b.wantCounted(100)
			b.wantDelivered()
			key, content := b.one(b.objects())
			requests := proxy.Requests()
			if len(requests) != failures+1 {
				t.Errorf("%d requests, want %d", len(requests), failures+1)
			}
			for _, r := range requests {
				if r.Path != "/"+b.server.Bucket+"/"+key {
					t.Errorf("an attempt under another key: %s, want %s", r.Path, key)
				}
				if r.Size == int64(len(content)) && r.SHA256 != requests[len(requests)-1].SHA256 {
					t.Errorf("an attempt with other bytes: %+v", r)
				}
			}
			for _, n := range []int{1, 2, 4} {
				b.wantLog(log, append(test.words, "[error]", "upload failed, nothing is lost, will be tried again", fmt.Sprintf("failures=%d ", n))...)
			}
			if n := logbook.Count(log, "upload failed"); n != 3 {
				t.Errorf("%d lines for %d failures, want 3: the first, and one for each doubling; log:\n%s", n, failures, log)
			}
		})
	}
}

func TestWhileHalfOfAllRequestsFailNothingIsLostOrDoubled(t *testing.T) {
	in, truth := accessLog(t, accesslog.Options{Lines: 5000, Seed: 6, Bad: 0.01, Odd: 0.05}, accesslog.Chunks{Records: 50})
	both(t, func(t *testing.T, b *bench) {
		b.behind(fault.Options{Rate: 0.5, Seed: *seed, RetryAfter: time.Second})
		b.args = []string{"--threads", "4"}
		p := b.start(in, b.section(append(accessMapping, "total_file_size 40K", "upload_timeout 300ms", "upload_concurrency 4", "shutdown_timeout 45s")...))
		b.untilBilled(truth.Metered)
		p.stop()
		b.wantBill(truth.Bill)
		b.wantRejected(truth)
		b.wantDelivered()
	})
}

func TestAnAnswerThatNeverComesIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	b := newBench(t, bundledHost)
	proxy := b.behind(fault.Options{})
	proxy.Script(fault.Hang)
	p := b.start(counted(100, 10), b.section("startup_check off", "failure_reports off", "max_records 100"))
	p.await("upload failed, nothing is lost", "kind=unreachable", "failures=1 ")
	p.await("upload succeeded after 1 failures")
	b.wantCounted(100)
	log := p.stop()
	var summary struct {
		CPU  float64 `json:"cpu_s"`
		Wall float64 `json:"wall_s"`
	}
	if err := json.Unmarshal([]byte(log[strings.LastIndex(log, "{"):]), &summary); err != nil {
		t.Fatal(err)
	}
	if summary.CPU > summary.Wall/10 {
		t.Errorf("%.1f s of CPU in %.1f s, want next to nothing while it waits", summary.CPU, summary.Wall)
	}
}

func TestAServerThatIsGoneForAWhileGetsWhatItMissed(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		if err := b.server.Stop(); err != nil {
			t.Fatal(err)
		}
		p := b.start(counted(100, 10), b.section("upload_timeout 100ms"))
		p.await("upload failed, nothing is lost", "kind=unreachable", "connection refused")
		b.server = s3server.ForTest(t, s3server.Options{Dir: b.server.Dir, Listen: b.server.Addr})
		p.await("upload succeeded after")
		b.untilBilled(100)
		p.stop()
		b.wantCounted(100)
		b.wantDelivered()
	})
}

func TestABucketThatAppearsLaterGetsWhatItMissed(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		b.server.Bucket = "185-amberflo"
		p := b.start(counted(100, 10), b.section("upload_timeout 100ms"))
		p.await("upload failed, nothing is lost", "kind=no_bucket", "there is no bucket 185-amberflo there")
		err := b.server.CreateBucket(t.Context(), b.server.Bucket)
		if err == nil {
			err = b.server.SetPolicy(t.Context(), b.server.PutPolicy())
		}
		if err != nil {
			t.Fatal(err)
		}
		p.await("upload succeeded after")
		b.untilBilled(100)
		p.stop()
		b.wantCounted(100)
		b.wantDelivered()
	})
}
