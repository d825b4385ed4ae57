package plugin

import (
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

// watch says in the log what makes a bill of nothing, or another one than was meant, while counters alone would have to be
// looked at. A flush costs it two loads of an atomic where there is nothing to say.
type watch struct {
	log    *slog.Logger
	counts *counts

	surveying  atomic.Bool
	wantsNames atomic.Bool // of the fields of the first record that is not metered

	mu     sync.Mutex // guards what follows
	survey *meter.Survey
	until  time.Time // the survey ends, zero before its first record
	names  string
	doubts map[string]int64 // records to tell of the next time, by kind

	reduction reduction

	// What Run saw the last time, and since when nothing was metered although something came (zero: that is not so).
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

func newWatch(log *slog.Logger, c *counts, rules *meter.Rules) *watch {
	w := &watch{log: log, counts: c, survey: rules.NewSurvey(), doubts: make(map[string]int64)}
	_, w.reduction.bucket = rules.Aggregate()
	w.surveying.Store(true)
	w.wantsNames.Store(true)
	return w
}

// look shows an event, and the meter records that it gave, to the survey.
func (w *watch) look(tag string, ev *chunk.Event, lines []byte) {
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
func (w *watch) report(ended bool) {
	for _, f := range w.survey.Findings(ended) {
		w.log.Warn("the mapping may not say what is meant", "option", f.Option, "finding", f.Text)
	}
	if ended {
		w.survey = nil
		w.surveying.Store(false)
	}
}

// unmeteredEvent notes the names of the fields of the first event that is not metered.
func (w *watch) unmeteredEvent(ev *chunk.Event) {
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

// doubtAdvice says what to do about each kind of doubt.
var doubtAdvice = map[string]string{
	meter.OutsideWindow:   "the time is outside of what Amberflo takes: look at the clock and the format; meter_time_outside reject rejects such records, meter_time_window moves the bounds",
	meter.BeyondDouble:    "the value has more digits than a double keeps, and most readers see another number: meter it in a larger unit",
	meter.WordForNothing:  "the string often means that there is no value: add it to absent, or leave it if there is a customer of that name",
	meter.HiddenCharacter: "it holds a character that nobody sees, and so is another name than the one without: take it out where the log is written",
	meter.NoName:          "a dimension without a name was left out",
	meter.CutDimension:    "a value of more than 200 characters was cut, as long_dimensions says",
}

// Advice says what to do about a kind of doubt.
func Advice(kind string) string { return doubtAdvice[kind] }

// doubtful counts what there was to doubt in a chunk, and tells of the first and at doublings.
func (w *watch) doubtful(list []meter.Doubt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range list {
		n := w.counts.doubtful[d.Kind].Add(int64(d.Records))
		if n < w.doubts[d.Kind] {
			continue
		}
		w.doubts[d.Kind] = 2 * n
		field := d.Source
		if field == "" {
			field = "the event's own time"
		}
		w.log.Warn("metered, but doubtful", "kind", d.Kind, "records", n, "option", d.Option, "field", field, "advice", doubtAdvice[d.Kind])
	}
}

// run looks at the counters until ctx ends.
func (w *watch) run(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	started := time.Now()
	nextEmpty := firstAfter
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if waited := now.Sub(started).Round(time.Second); waited >= nextEmpty && w.counts.nothingCame() {
				w.log.Warn("nothing has arrived: does Match fit the tag of an input, and does that input read anything?", "for", waited)
				nextEmpty = 2 * waited
			}
			w.tick(now)
		}
	}
}

// tick tells where everything that came was skipped or rejected, and ends a survey whose time is over.
func (w *watch) tick(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.survey != nil && !w.until.IsZero() && now.After(w.until) {
		w.report(true)
	}
	w.tellReduction(now)
	metered, ignored, rejected := w.counts.records.Load(), w.counts.ignored.Load(), w.counts.allRejected()
	switch {
	case metered != w.metered:
		if w.told > 0 {
			w.log.Info("records are metered again", "after", now.Sub(w.since).Round(time.Second))
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
		w.log.Error("nothing is metered: all that came was skipped or rejected", "for", waited, "ignored", ignored, "rejected", rejected,
			"fields", w.names, "hint", hint)
	}
}
