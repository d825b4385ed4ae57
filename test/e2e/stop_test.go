package e2e

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/fault"
	"out_amberflo/test/logbook"
)

func TestStoppedUnderLoadNothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	const stops = 3
	t.Run(bundledHost, func(t *testing.T) {
		t.Parallel()
		b := newBench(t, bundledHost)
		in, truth := accessLog(t, accesslog.Options{Lines: 8000, Seed: 8, Bad: 0.01}, accesslog.Chunks{Records: 10})
		b.behind(fault.Options{Rate: 0.3, Seed: *seed})
		b.args = []string{"--threads", "4", "--ack-file", b.path(acks), "--skip-acked", b.path(acks)}
		b.pace = time.Millisecond
		section := b.section(append(accessMapping, "total_file_size 30K", "upload_timeout 200ms", "upload_concurrency 4", "shutdown_timeout 1s")...)
		for range stops {
			taken := b.acked()
			p := b.start(in, section)
			b.until("flushes", func() bool { return b.acked() > taken+50 })
			p.stop()
		}
		b.pace = 0
		p := b.start(in, section)
		b.untilBilled(truth.Metered)
		p.stop()
		b.wantExactlyOnce(truth)
	})
	t.Run(realFluentBit, func(t *testing.T) {
		t.Parallel()
		b := newBench(t, realFluentBit)
		poster, stop := b.posting(10, nil)
		defer stop()
		b.behind(fault.Options{Rate: 0.3, Seed: *seed})
		section := b.section("Workers 2", "total_file_size 30K", "upload_timeout 200ms", "upload_concurrency 4", "shutdown_timeout 1s")
		for range stops {
			p := b.start(input{}, section)
			poster.await(b, 30)
			p.stop()
		}
		p := b.start(input{}, section)
		poster.await(b, 1)
		stop()
		b.handedOver()
		p.stop()
		p = b.start(input{}, section)
		b.emptied()
		p.stop()
		b.wantAllOnce(poster)
		b.wantDelivered()
	})
}

func TestAStopWhileS3HangsEndsInTime(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		const shutdown, margin = 2 * time.Second, 3 * time.Second
		proxy := b.behind(fault.Options{Rate: 1, Modes: []fault.Mode{fault.Hang}})
		b.service = []string{"Grace 1"}
		p := b.start(counted(500, 10), b.section("shutdown_timeout "+shutdown.String(), "max_records 100", "startup_check off"))
		b.until("objects to wait", func() bool { return len(b.spool("outbox")) >= 5 }) // more where the tail reads in two goes
		began := time.Now()
		log := p.stop()
		took := time.Since(began)
		t.Logf("a stop while S3 hangs took %s, with a shutdown_timeout of %s", took.Round(time.Millisecond), shutdown)
		if took > shutdown+margin {
			t.Errorf("the stop took %s, want shutdown_timeout (%s) and at most a second", took, shutdown)
		}
		b.wantLog(log, "[ warn]", "stopped with objects waiting: the next start on this store_dir sends them", "shutdown_timeout=2s")

		proxy.SetRate(0)
		p = b.start(input{}, b.section())
		b.untilBilled(500)
		p.stop()
		b.wantCounted(500)
		b.wantDelivered()
	})
}

func TestReloadedUnderLoadNothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	t.Run(bundledHost, func(t *testing.T) {
		t.Parallel()
		b := newBench(t, bundledHost)
		in, truth := accessLog(t, accesslog.Options{Lines: 8000, Seed: 9, Bad: 0.01}, accesslog.Chunks{Records: 10})
		b.behind(fault.Options{Rate: 0.3, Seed: *seed})
		b.args = []string{"--threads", "4", "--reload-every", "75"}
		p := b.start(in, b.section(append(accessMapping, "total_file_size 30K", "upload_timeout 200ms", "upload_concurrency 4", "shutdown_timeout 500ms")...))
		b.untilBilled(truth.Metered)
		log := p.stop()
		if n := logbook.Count(log, "started", "bucket="); n < 11 {
			t.Errorf("started %d times, want 10 reloads; log:\n%s", n, log)
		}
		b.wantExactlyOnce(truth)
	})
	t.Run(realFluentBit, func(t *testing.T) {
		t.Parallel()
		b := newBench(t, realFluentBit)
		poster, stop := b.posting(10, nil)
		defer stop()
		b.service = append(b.service, "Hot_Reload On")
		b.behind(fault.Options{Rate: 0.3, Seed: *seed})
		p := b.start(input{}, b.section("Workers 4", "total_file_size 30K", "upload_timeout 200ms", "upload_concurrency 4", "shutdown_timeout 500ms"))
		const reloads, workers = 20, 4
		var first int
		for n := range reloads {
			poster.await(b, 15)
			p.signal(syscall.SIGHUP)
			b.until(fmt.Sprintf("reload %d", n+1), func() bool { return p.Log.Count("successful reload done") == n+1 })
			b.until("its workers", func() bool { return p.workers() == workers })
			if n == 0 {
				first = p.workerFiles()
			}
			b.until("the descriptors to be those after the first reload", func() bool { return p.workerFiles() == first })
		}
		poster.await(b, 30)
		stop()
		b.handedOver()
		p.stop()
		p = b.start(input{}, b.section())
		b.emptied()
		p.stop()
		b.wantAllOnce(poster)
		b.wantDelivered()
	})
}

// posting posts events to Fluent Bit, which is not started yet, until stop is called: so many at once, or what of makes of them.
func (b *bench) posting(events int, of func(n int) []any) (p *poster, stop func()) {
	p = &poster{url: b.overHTTP(), events: events, of: of, pause: time.Millisecond}
	done := make(chan struct{})
	var posting sync.WaitGroup
	for range 2 {
		posting.Go(func() { p.post(done) })
	}
	return p, sync.OnceFunc(func() {
		close(done)
		posting.Wait()
	})
}

// await waits until n posts more are accepted.
func (p *poster) await(b *bench, n int) {
	b.Helper()
	taken := p.count()
	b.until(fmt.Sprintf("%d posts to be accepted", n), func() bool { return p.count() >= taken+n })
}

// handedOver waits until the plugin has all that Fluent Bit has.
func (b *bench) handedOver() {
	b.Helper()
	b.until("Fluent Bit to hand over all of its storage", func() bool {
		for _, chunk := range b.files(b.path("fluent-bit")) {
			if strings.Trim(chunk, "\x00") != "" { // zeros alone: killed between making the file and its header, which Fluent Bit passes over
				return false
			}
		}
		return true
	})
}

// emptied waits until all that was sealed is in the bucket.
func (b *bench) emptied() {
	b.Helper()
	b.until("an empty outbox", func() bool { return len(b.spool("outbox"))+len(b.spool("sealing")) == 0 })
}
