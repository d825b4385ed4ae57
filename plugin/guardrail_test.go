package plugin

import (
	"context"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"out_amberflo/test/logbook"
)

func TestAMeterThatComesNearTheLimitOfAnHourIsToldOnceAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &capture{}
		g := newGuardrail(newLogger(c.host()), 1000)
		ctx, stop := context.WithCancel(t.Context())
		go g.run(ctx)
		defer stop()
		for _, step := range []struct {
			name   string
			events map[string]int64
			after  time.Duration
			lines  int
			most   int64
		}{
			{"below", map[string]int64{`"a"`: 799, `"b"`: 799}, 30 * time.Minute, 0, 799},
			{"near", map[string]int64{`"a"`: 1}, 25 * time.Minute, 1, 800},
			{"still near", map[string]int64{`"a"`: 10}, 4 * time.Minute, 1, 810},
			{"the first are an hour old", map[string]int64{`"b"`: 3}, 2 * time.Minute, 1, 11},
			{"near again, an hour later", map[string]int64{`"b"`: 900}, 40 * time.Minute, 2, 903},
			{"nothing", nil, 2 * time.Hour, 2, 0},
		} {
			g.add(step.events)
			time.Sleep(step.after)
			synctest.Wait()
			if _, n := g.busiest(); n != step.most || logbook.Count(c.log(), "a meter comes near the events") != step.lines {
				t.Fatalf("%s: got %d events, want %d, and %d lines in\n%s", step.name, n, step.most, step.lines, c.log())
			}
		}
		if len(g.meters) > 0 {
			t.Errorf("%d meters are remembered of hours ago", len(g.meters))
		}
		if logbook.Count(c.log(), `meter="\"a\"" events=800 events_per_hour_limit=1000`) != 1 {
			t.Errorf("got\n%s", c.log())
		}
	})
}

func TestWithoutALimitNothingIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &capture{}
		g := newGuardrail(newLogger(c.host()), 0)
		ctx, stop := context.WithCancel(t.Context())
		go g.run(ctx)
		defer stop()
		g.add(map[string]int64{`"a"`: math.MaxInt32})
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if c.log() != "" {
			t.Errorf("got\n%s", c.log())
		}
	})
}

func TestMetersOfAChunkAreCountedByItsLines(t *testing.T) {
	for _, lines := range []int{0, 1, 64, 65, 6000} {
		var b []byte
		for i := range lines {
			b = fmt.Appendf(b, "{\"customerId\":\"a\\\"b%d\",\"meterApiName\":\"%s\",\"meterValue\":1}\n", i, []string{"A", "B", "B", "B"}[i%4])
		}
		got, chunks := map[string]int64{}, int64(200)
		for range chunks {
			countMeters(got, b, lines)
		}
		if sum := got[`"A"`] + got[`"B"`]; sum != chunks*int64(lines) || len(got) > 2 {
			t.Errorf("%d lines: got %v, want %d in all", lines, got, lines)
		}
		if want := float64(chunks) * float64(lines) / 4; lines >= 64 && math.Abs(float64(got[`"A"`])-want) > want/10 {
			t.Errorf("%d lines: got %d of A, want about %.0f", lines, got[`"A"`], want)
		}
	}
	got := map[string]int64{}
	countMeters(got, []byte("{\"log\":\"a record\"}\n"), 1)
	if len(got) != 1 || got[""] != 1 {
		t.Errorf("got %v for what is no meter record", got)
	}
}

func TestNamesBeyondABoundAreNotRemembered(t *testing.T) {
	g := newGuardrail(nil, 1000)
	for i := range 2 * mostMeters {
		g.add(map[string]int64{fmt.Sprint(i): 1, "": 5})
	}
	if _, n := g.busiest(); len(g.meters) != mostMeters || n != 1 {
		t.Errorf("%d names, %d events", len(g.meters), n)
	}
}

// What is added up counts once it is in objects, what is not when it is accepted.
func TestEventsAreCountedAsTheyGoOut(t *testing.T) {
	for name, options := range map[string][]string{"added up": {"aggregate", "*"}, "as they come": nil} {
		c := &capture{}
		p := started(t, c, append(options, "store_dir", t.TempDir(), "meters", "Calls=1, Bytes=$bytes", "upload_timeout", "1s")...)
		record := map[string]any{"customerId": "a", "bytes": 7}
		for range 3 {
			if err := p.Flush("app", events(t, record, record)); err != nil {
				t.Fatal(err)
			}
		}
		want := map[string]int64{"added up": 1, "as they come": 6}[name]
		for end := time.Now().Add(20 * time.Second); p.delivery.spool.Stats().SealedEvents < 2*want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: got %d events sealed, want %d", name, p.delivery.spool.Stats().SealedEvents, 2*want)
			}
		}
		if meter, n := p.delivery.events.busiest(); n != want || meter != `"Bytes"` {
			t.Errorf("%s: got %s with %d, want %d", name, meter, n, want)
		}
		if n := p.counts.summed.Load(); n != map[string]int64{"added up": 12, "as they come": 0}[name] {
			t.Errorf("%s: %d records were added up", name, n)
		}
		p.Stop()
	}
}
