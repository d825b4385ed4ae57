package plugin

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"out_amberflo/plugin/tally"
)

// guardrail counts the events of the last hour by meter, since Amberflo bounds these: those of outputs that add up when they
// are sealed, the others when they are accepted. Of a large chunk it looks at some lines only.
type guardrail struct {
	log   *slog.Logger
	limit int64 // 0: none

	told time.Time // of run

	mu     sync.Mutex // guards what follows
	now    int64      // the minute of the last event, Unix
	meters map[string]*lastHour
}

// lastHour has the events of each of the last 60 minutes: that of Unix minute m at m modulo 60.
type lastHour [60]int64

func (h *lastHour) sum() (sum int64) {
	for _, n := range h {
		sum += n
	}
	return sum
}

const (
	// Others are not counted by name.
	mostMeters = 256
	// So many lines of a chunk tell how many events each meter has of it.
	looksAtLines = 64
	nearLimit    = 0.8
	guardEvery   = time.Minute
)

func newGuardrail(log *slog.Logger, limit int64) *guardrail {
	return &guardrail{log: log, limit: limit, meters: make(map[string]*lastHour)}
}

// countMeters counts the lines of a chunk, of which there are n, by meter into events.
func countMeters(events map[string]int64, lines []byte, n int) {
	if n <= looksAtLines {
		for line := range bytes.Lines(lines) {
			events[string(tally.Meter(line))]++
		}
		return
	}
	// The line behind a random place in each of so many parts, so that no pattern of the log hides a meter.
	part := len(lines) / looksAtLines
	for i := range looksAtLines {
		at := i*part + rand.N(part)
		next := bytes.IndexByte(lines[at:], '\n') + 1
		if next == 0 || at+next == len(lines) { // the last line: then it is the first
			at, next = 0, 0
		}
		share := n / looksAtLines
		if i < n%looksAtLines {
			share++
		}
		events[string(tally.Meter(lines[at+next:]))] += int64(share)
	}
}

// add counts events by meter, whose names are in quotes.
func (g *guardrail) add(events map[string]int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turn()
	for meter, n := range events {
		h := g.meters[meter]
		if h == nil {
			if meter == "" || len(g.meters) == mostMeters { // no meter record, or one too many
				continue
			}
			h = new(lastHour)
			g.meters[meter] = h
		}
		h[g.now%60] += n
	}
}

// turn forgets what is an hour old. g.mu is locked.
func (g *guardrail) turn() {
	now := time.Now().Unix() / 60
	if now <= g.now { // or the clock was set back
		return
	}
	for meter, h := range g.meters {
		for m := range min(now-g.now, 60) {
			h[(g.now+1+m)%60] = 0
		}
		if h.sum() == 0 {
			delete(g.meters, meter)
		}
	}
	g.now = now
}

// busiest returns the meter that has most events in the last hour, and how many.
func (g *guardrail) busiest() (meter string, events int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turn()
	for name, h := range g.meters {
		if sum := h.sum(); sum > events || sum == events && name < meter {
			meter, events = name, sum
		}
	}
	return meter, events
}

// run tells, once an hour, if a meter comes near the limit, until ctx ends.
func (g *guardrail) run(ctx context.Context) {
	tick := time.NewTicker(guardEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			meter, events := g.busiest()
			if g.limit > 0 && float64(events) >= nearLimit*float64(g.limit) && (g.told.IsZero() || now.Sub(g.told) >= time.Hour) {
				g.told = now
				g.log.Warn("a meter comes near the events that Amberflo takes in an hour", "meter", meter, "events", events, "events_per_hour_limit", g.limit,
					"advice", "aggregate adds records up before they are sent, with fewer dimensions or a wider aggregate_bucket to fewer events; or ask Amberflo for more and set events_per_hour_limit")
			}
		}
	}
}
