package plugin

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAHostWithoutMetricsGetsALineEveryTenMinutesInWhichSomethingChanged(t *testing.T) {
	c := &capture{}
	host := c.host("store_dir", t.TempDir())
	host.Publish = nil
	p, err := Start(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	lines := func() int { return strings.Count(c.log(), "INFO [output:amberflo:amberflo.0] counters") }
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		go p.logChanges(ctx)
		defer stop()
		for _, step := range []struct {
			after   time.Duration
			records int64
			lines   int
		}{
			{time.Minute, 5, 0},
			{10 * time.Minute, 0, 1},
			{10 * time.Minute, 0, 1},
			{10 * time.Minute, 7, 1},
			{10 * time.Minute, 0, 2},
		} {
			time.Sleep(step.after)
			synctest.Wait()
			if got := lines(); got != step.lines {
				t.Fatalf("%d lines, want %d; log:\n%s", got, step.lines, c.log())
			}
			p.counts.records.Add(step.records)
		}
	})
	if !strings.Contains(c.log(), " accepted_records_total=12 ") {
		t.Errorf("want the sum of both in the log:\n%s", c.log())
	}
}

func TestAPanicOfAGoroutineIsCountedAndItGoesOnAfterAPause(t *testing.T) {
	c := &capture{}
	p := started(t, c, "store_dir", t.TempDir())
	defer p.Stop()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		runs := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			p.delivery.keepRunning(ctx, "counting", func(ctx context.Context) {
				if runs++; runs <= 2 {
					panic("twice")
				}
				<-ctx.Done()
			})
		}()
		time.Sleep(2*afterPanic + time.Second)
		synctest.Wait()
		if got := p.delivery.panics.Load(); runs != 3 || got != 2 {
			t.Errorf("%d runs and %d panics counted, want 3 and 2", runs, got)
		}
		stop()
		<-done
	})
	if n := strings.Count(c.log(), "ERROR [output:amberflo:amberflo.0] internal error (bug), please report it: panic in counting: twice"); n != 2 || !strings.Contains(c.log(), "keepRunning") {
		t.Errorf("%d lines, want 2 and their stacks; log:\n%s", n, c.log())
	}
}
