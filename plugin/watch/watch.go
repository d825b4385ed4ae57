// Package watch finds what would be a wrong bill in silence: options that are nearly spelt right, a mapping that may not say
// what is meant, records that are doubtful, a bill of nothing, and adding up that does little. It only says so, in the log; a
// flush costs it an atomic load or two where there is nothing to say.
package watch

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/meter"
)

// Options say what a Watch looks at.
type Options struct {
	Log    *slog.Logger
	Rules  *meter.Rules
	Age    time.Duration // how long records go to one segment
	Counts func() Counts // of the output
}

// Counts are records since the start.
type Counts struct {
	Metered, Ignored, Rejected int64
	Came                       bool // a chunk was handed over
}

// Watch watches one output. Its methods are safe for concurrent use.
type Watch struct {
	opt Options

	surveying  atomic.Bool
	wantsNames atomic.Bool // of the fields of the first record that is not metered

	mu     sync.Mutex // guards what follows
	survey *meter.Survey
	until  time.Time // the survey ends, zero before its first record
	names  string
	doubts map[string]int64 // records to tell of the next time, by kind

	reduction reduction

	// What tick saw the last time, and since when nothing was metered although something came (zero: that is not so).
	metered, unmetered int64
	since              time.Time
	told               time.Duration
}

const (
	watchEvery = 5 * time.Second
	// The first line about a bill of nothing. Further ones come at doublings.
	firstAfter = time.Minute
	// So many records tell what fields there are. A log of few does so in surveyFor.
	surveyRecords = 1000
	surveyFor     = 10 * time.Minute
	// Names of fields in a line, and how long they may be.
	mostNames, longestName = 12, 40
)

// New makes a Watch; Run sets it going.
func New(o Options) *Watch {
	w := &Watch{opt: o, survey: o.Rules.NewSurvey(), doubts: make(map[string]int64)}
	_, w.reduction.bucket = o.Rules.Aggregate()
	w.reduction.segment = o.Age
	w.surveying.Store(true)
	w.wantsNames.Store(true)
	return w
}

// Surveying tells if Look is still worth its price: the first records show what the mapping finds in them.
func (w *Watch) Surveying() bool { return w.surveying.Load() }

// Look shows an event, and the meter records that it gave, to the survey. It keeps neither.
func (w *Watch) Look(tag string, ev *chunk.Event, lines []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.survey == nil {
		return
	}
	if w.until.IsZero() {
		w.until = time.Now().Add(surveyFor)
	}
	w.survey.Look(tag, ev, lines)
	ended := w.survey.Metered() >= surveyRecords
	if w.survey.Metered() == 1 || ended {
		w.report(ended)
	}
}

// report tells what the survey has found. w.mu is locked.
func (w *Watch) report(ended bool) {
	for _, f := range w.survey.Findings(ended) {
		w.opt.Log.Warn("the mapping may not say what is meant", "option", f.Option, "finding", f.Text)
	}
	if ended {
		w.survey = nil
		w.surveying.Store(false)
	}
}

// Unmetered notes the names of the fields of the first event that is not metered.
func (w *Watch) Unmetered(ev *chunk.Event) {
	if !w.wantsNames.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.names != "" {
		return
	}
	names, more := meter.Keys(ev, mostNames)
	for i, name := range names {
		name = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return unicode.ReplacementChar
			}
			return r
		}, strings.ToValidUTF8(name, "\ufffd"))
		if r := []rune(name); len(r) > longestName {
			name = string(r[:longestName]) + "…"
		}
		names[i] = name
	}
	w.names = strings.Join(names, ", ")
	if more > 0 {
		w.names += fmt.Sprintf(" and %d more", more)
	}
	if len(names) == 0 {
		w.names = "none"
	}
	w.wantsNames.Store(false)
}

// advice says what to do about each kind of doubt.
var advice = map[string]string{
	meter.OutsideWindow:   "the time is outside of what Amberflo takes: look at the clock and the format; meter_time_outside reject rejects such records, meter_time_window moves the bounds",
	meter.BeyondDouble:    "the value has more digits than a double keeps, and most readers see another number: meter it in a larger unit",
	meter.WordForNothing:  "the string often means that there is no value: add it to absent, or leave it if there is a customer of that name",
	meter.HiddenCharacter: "it holds a character that nobody sees, and so is another name than the one without: take it out where the log is written",
	meter.NoName:          "a dimension without a name was left out",
	meter.CutDimension:    "a value of more than 200 characters was cut, as long_dimensions says",
}

// Advice says what to do about a kind of doubt.
func Advice(kind string) string { return advice[kind] }

// Doubtful tells of a doubt, which so many records have had since the start: of the first, and at doublings.
func (w *Watch) Doubtful(d meter.Doubt, records int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if records < w.doubts[d.Kind] {
		return
	}
	w.doubts[d.Kind] = 2 * records
	field := cmp.Or(d.Source, "the event's own time")
	w.opt.Log.Warn("metered, but doubtful", "kind", d.Kind, "records", records, "option", d.Option, "field", field, "advice", advice[d.Kind])
}

// Run looks at the counters until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	started := time.Now()
	nextEmpty := firstAfter
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if waited := now.Sub(started).Round(time.Second); waited >= nextEmpty && !w.opt.Counts().Came {
				w.opt.Log.Warn("nothing has arrived: does Match fit the tag of an input, and does that input read anything?", "for", waited)
				nextEmpty = 2 * waited
			}
			w.tick(now)
		}
	}
}

// tick tells where everything that came was skipped or rejected, and ends a survey whose time is over.
func (w *Watch) tick(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.survey != nil && !w.until.IsZero() && now.After(w.until) {
		w.report(true)
	}
	w.tellReduction(now)
	counts := w.opt.Counts()
	metered, ignored, rejected := counts.Metered, counts.Ignored, counts.Rejected
	switch {
	case metered != w.metered:
		if w.told > 0 {
			w.opt.Log.Info("records are metered again", "after", now.Sub(w.since).Round(time.Second))
		}
		w.metered, w.unmetered = metered, ignored+rejected
		w.since, w.told, w.names = time.Time{}, 0, ""
		w.wantsNames.Store(true)
	case ignored+rejected == w.unmetered:
	case w.since.IsZero():
		w.since = now.Add(-watchEvery) // at the latest
	}
	if w.since.IsZero() {
		return
	}
	if waited := now.Sub(w.since).Round(time.Second); waited >= max(firstAfter, 2*w.told) {
		w.told = waited
		hint := "compare these fields with the mapping; meterctl map shows what it makes of a record"
		if w.names == "log" || w.names == "message" || w.names == "MESSAGE" {
			hint = "the line was not parsed: does the input have a Parser, and does it fit?"
		}
		w.opt.Log.Error("nothing is metered: all that came was skipped or rejected", "for", waited, "ignored", ignored, "rejected", rejected,
			"fields", w.names, "hint", hint)
	}
}
