package watch

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/meter"
	"out_amberflo/plugin/tally"
	"out_amberflo/test/encode"
	"out_amberflo/test/logbook"
)

// moving are counters that a test moves.
type moving struct {
	metered, ignored, rejected atomic.Int64
	came                       atomic.Bool
}

func (m *moving) counts() Counts {
	return Counts{Metered: m.metered.Load(), Ignored: m.ignored.Load(), Rejected: m.rejected.Load(), Came: m.came.Load()}
}

func watched(t *testing.T, o meter.Options) (*Watch, *moving, *logbook.Book) {
	t.Helper()
	rules, errs := meter.Compile(o)
	if errs != nil {
		t.Fatal(errs)
	}
	counts, log := &moving{}, &logbook.Book{}
	return New(Options{Log: log.Logger(), Rules: rules, Age: time.Minute, Counts: counts.counts}), counts, log
}

func event(record any) *chunk.Event {
	r := chunk.NewReader(encode.Event(nil, time.Unix(1700000000, 0), nil, record), nil)
	r.Next()
	return r.Event()
}

// CASES B7.
func TestAnOutputThatNothingReachesSaysSoAfterAMinuteAndAtDoublings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, counts, log := watched(t, meter.Options{})
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go w.Run(ctx)
		for _, step := range []struct {
			wait  time.Duration
			lines int
		}{{59 * time.Second, 0}, {6 * time.Second, 1}, {50 * time.Second, 1}, {10 * time.Second, 2}, {time.Hour, 6}} {
			time.Sleep(step.wait)
			synctest.Wait()
			if got := log.Count("level=WARN msg=\"nothing has arrived: does Match fit the tag of an input"); got != step.lines {
				t.Fatalf("%d lines, want %d:\n%s", got, step.lines, log)
			}
		}
		counts.came.Store(true)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if got := log.Count("nothing has arrived"); got != 6 {
			t.Errorf("%d lines after something arrived, want 6", got)
		}
	})
}

// CASES A6, A7, B6.
func TestABillOfNothingIsSaidWithTheFieldsOfTheFirstRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, counts, log := watched(t, meter.Options{})
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go w.Run(ctx)
		wait := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		const line = "nothing is metered: all that came was skipped or rejected"
		counts.came.Store(true)
		w.Unmetered(event(map[string]any{"log": "secret line"}))
		w.Unmetered(event(map[string]any{"other": 1}))
		counts.ignored.Add(7)
		if wait(55 * time.Second); log.Count(line) != 0 {
			t.Fatalf("too early:\n%s", log)
		}
		counts.rejected.Add(3)
		wait(10 * time.Second)
		if log.Count(line) != 1 || log.Count(`ignored=7 rejected=3 fields=log hint="the line was not parsed: does the input have a Parser`) != 1 {
			t.Fatalf("want the line with its hint:\n%s", log)
		}
		if wait(time.Hour); log.Count(line) != 6 {
			t.Fatalf("%d lines after an hour, want them at doublings:\n%s", log.Count(line), log)
		}
		counts.metered.Add(1)
		if wait(10 * time.Second); log.Count("level=INFO msg=\"records are metered again\"") != 1 {
			t.Fatalf("want its end said:\n%s", log)
		}
		// Days later, an application renames its fields.
		if wait(100 * time.Hour); log.Count(line) != 6 {
			t.Fatalf("an idle night is no news:\n%s", log)
		}
		many := map[string]any{"\x1b[31m\n" + strings.Repeat("x", 50): 1}
		w.Unmetered(event(many))
		counts.ignored.Add(1)
		if wait(70 * time.Second); log.Count(line) != 7 {
			t.Fatalf("want it said again within a minute or so:\n%s", log)
		}
		if said := log.String(); strings.Contains(said, "secret") || strings.ContainsAny(said, "\x1b") || !strings.Contains(said, "xxxx…") {
			t.Errorf("a value, a control character or a long name is in the log:\n%q", said)
		}
	})
}

func TestTheNamesOfFieldsAreBounded(t *testing.T) {
	w, _, _ := watched(t, meter.Options{})
	record := map[string]any{}
	for i := range 50 {
		record[fmt.Sprint("field", i)] = i
	}
	w.Unmetered(event(record))
	if strings.Count(w.names, "field") != mostNames || !strings.HasSuffix(w.names, " and 38 more") {
		t.Errorf("got %s", w.names)
	}
}

func TestAnHourInWhichAddingUpDoesLittleIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, book := watched(t, meter.Options{Aggregate: "*"})
		partial := func(customer, path string, records int64) []byte {
			return tally.AppendMembers(fmt.Appendf(nil, `{"customerId":"%s","meterApiName":"m","dimensions":{"path":"%s","status":"200"},"meterValue":1,"meterTimeInMillis":1795291200000,"uniqueId":"u"`, customer, path),
				records, 1795291200000, 1795291200000)
		}
		flush := func(distinct, each int) {
			var b []byte
			for i := range distinct {
				b = append(b, partial(fmt.Sprint("c", i%3), fmt.Sprint("/", i), int64(each))...)
			}
			if !HardlyReduced(distinct*each, distinct) {
				b = nil
			}
			w.Summed(distinct*each, distinct, b)
		}
		for _, step := range []struct {
			name           string
			flushes        int
			pause          time.Duration
			distinct, each int
			want           string
		}{
			{"each record has a path of its own", 1, 0, 2000, 1, "records=2000 events=\"about 2000\" dimension=path values=1"},
			{"few records of a key in a chunk, and few keys in a minute", 600, 5 * time.Second, 10, 1, ""},
			{"chunks of their own segments", 50, time.Minute, 100, 1, "records=5000 events=\"about 5000\" dimension=path values=100 "},
			{"many records of each key", 10, time.Second, 100, 100, ""},
			{"too few to tell", 1, 0, 900, 1, ""},
		} {
			before := len(book.String())
			for range step.flushes {
				flush(step.distinct, step.each)
				time.Sleep(step.pause)
			}
			time.Sleep(time.Hour)
			w.tick(time.Now())
			log := book.String()[before:]
			if got := logbook.Count(log, "adding up does little"); (got == 1) != (step.want != "") || step.want != "" && logbook.Count(log, step.want) != 1 {
				t.Errorf("%s: want %q, got\n%s", step.name, step.want, log)
			}
		}
	})
}
