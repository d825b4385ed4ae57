package plugin

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"out_amberflo/plugin/meter"
)

func (c *capture) count(line string) int { return strings.Count(c.log(), line) }

// CASES A12, A14.
func TestDoubtsAreCountedAndToldAtDoublings(t *testing.T) {
	c := &capture{}
	p := started(t, c, "store_dir", t.TempDir())
	old := map[string]any{"customerId": "a", "meterApiName": "m", "meterValue": uint64(1<<53 + 1), "meterTimeInMillis": 1619445706909}
	for range 9 {
		if err := p.Flush("app", events(t, old)); err != nil {
			t.Fatal(err)
		}
	}
	p.Stop()
	for _, kind := range []string{meter.OutsideWindow, meter.BeyondDouble} {
		if n := p.counts.doubtful[kind].Load(); n != 9 {
			t.Errorf("%s: %d counted, want 9", kind, n)
		}
		if n := c.count("metered, but doubtful kind=" + kind); n != 4 { // 1, 2, 4, 8
			t.Errorf("%s: %d lines, want 4:\n%s", kind, n, c.log())
		}
	}
	if c.count("option=meter_time field=$meterTimeInMillis") == 0 {
		t.Errorf("want the option and its field:\n%s", c.log())
	}
}

// CASES B1.
func TestALiteralThatIsAFieldIsToldOnce(t *testing.T) {
	c := &capture{}
	p := started(t, c, "store_dir", t.TempDir(), "customer_id", "tenant", "meter_api_name", "Calls", "meter_value", "1", "dimensions", "region, plan=$plna")
	line := map[string]any{"tenant": "acme", "region": "eu", "plan": "pro"}
	for range 3 {
		if err := p.Flush("app", events(t, line)); err != nil {
			t.Fatal(err)
		}
	}
	if c.count(`WARN [output:amberflo:amberflo.0] the mapping may not say what is meant option=customer_id finding="\"tenant\" is one string for all records`) != 1 || c.count("plna: is it") != 0 {
		t.Errorf("want the literal told once, after the first record:\n%s", c.log())
	}
	many := make([]any, 1000)
	for i := range many {
		many[i] = line
	}
	if err := p.Flush("app", events(t, many...)); err != nil {
		t.Fatal(err)
	}
	if c.count("none of 1000 records had $plna") != 1 || c.count("did you mean $tenant") != 1 || p.watch.Surveying() {
		t.Errorf("want the misspelt field told after 1000 records:\n%s", c.log())
	}
	p.Stop()
}

// CASES B3.
func TestAKeyThatIsNearlyAnOptionDoesNotStart(t *testing.T) {
	for key, meant := range map[string]string{"dimension": "dimensions", "dimenions": "dimensions", "dimesnions": "dimensions", "dimensionss": "dimensions",
		"customer-id": "customer_id", "meter_apiname": "meter_api_name", "meter": "meters", "bucket_name": "bucket", "unmatchd": "unmatched", "absemt": "absent"} {
		_, _, err := Load(t.Context(), Host{Option: section("bucket", "b", "region", "r", "endpoint", "http://127.0.0.1:1", key, "x")})
		if want := key + ": want an option of amberflo (did you mean " + meant + "?), got a key that is none"; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if _, b, err := Load(t.Context(), Host{Option: section("bucket", "b", "region", "r", "endpoint", "http://127.0.0.1:1", "match", "*", "alias", "a", "name", "amberflo", "workers", "1",
		"retry_limit", "no_limits", "host", "h", "port", "1", "log_level", "info", "tls", "on")}); err != nil {
		t.Error(err)
	} else {
		b.Close()
	}
}

func TestWhatWasNotMeteredIsInALineEveryTenMinutesInAnyHost(t *testing.T) {
	c := &capture{}
	p := started(t, c, "store_dir", t.TempDir())
	defer p.Stop()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go p.logChanges(ctx)
		for _, step := range []struct {
			change func()
			lines  int
		}{
			{func() { p.counts.records.Add(5) }, 0},
			{func() { p.counts.ignored.Add(1) }, 1},
			{func() {}, 1},
			{func() { p.counts.rejected[meter.BadTime].Add(1) }, 2},
			{func() { p.counts.deferred.Add(1) }, 3},
		} {
			synctest.Wait()
			step.change()
			time.Sleep(logCounts)
			synctest.Wait()
			if got := c.count("counters"); got != step.lines {
				t.Fatalf("%d lines, want %d; log:\n%s", got, step.lines, c.log())
			}
		}
	})
	if c.count(" ignored_records_total=1 ") == 0 {
		t.Errorf("want the counter in the line:\n%s", c.log())
	}
}

func TestAHealthyRunSaysSoWhereNothingElseWasSaid(t *testing.T) {
	c := &capture{}
	p := started(t, c, "store_dir", t.TempDir())
	defer p.Stop()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go p.logChanges(ctx)
		for _, step := range []struct {
			name   string
			change func()
			lines  int
		}{
			{"nothing came", func() {}, 0},
			{"records came", func() { p.counts.records.Add(5); p.counts.bytes.Add(500) }, 1},
			{"nothing came again", func() {}, 1},
			{"records came, and something was said", func() { p.counts.bytes.Add(500); p.log.Info("something else") }, 1},
			{"records came, and one was rejected", func() { p.counts.bytes.Add(500); p.counts.rejected[meter.BadTime].Add(1) }, 1},
			{"records came, and a chunk was deferred", func() { p.counts.bytes.Add(500); p.counts.deferred.Add(1) }, 1},
			{"records came", func() { p.counts.records.Add(2); p.counts.bytes.Add(200) }, 2},
		} {
			synctest.Wait()
			step.change()
			time.Sleep(logCounts)
			synctest.Wait()
			if got := c.count("INFO [output:amberflo:amberflo.0] all is well: nothing failed in the last ten minutes records="); got != step.lines {
				t.Fatalf("%s: %d lines, want %d; log:\n%s", step.name, got, step.lines, c.log())
			}
		}
	})
	if c.count("records=5 objects=0 rejected=0 waiting=0") != 1 || c.count("records=7 objects=0 rejected=1 waiting=0") != 1 {
		t.Errorf("want the numbers in the lines:\n%s", c.log())
	}
	for name, now := range map[string]pulse{"a failure that is not said each time": {failed: 1, done: 1}, "what waits too long": {done: 1, late: true}} {
		if now.isWell(pulse{}) {
			t.Errorf("want no such line with %s", name)
		}
	}
}
