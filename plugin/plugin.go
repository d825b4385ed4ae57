// Package plugin is one [OUTPUT] of Fluent Bit: its configuration, the way of a flush through the rooms
// below, and every goroutine.
//
//	chunk   msgpack -> events               meter   event -> meter record, or a reject
//	spool   every byte on disk              ship    sealed object -> bucket
//	bucket  the AWS SDK                     report  Amberflo's verdict on what was sent
//	watch   what would be a wrong bill
//
// Flush makes it durable, shipping makes it remote, Amberflo's silence makes it forgettable.
package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/zeebo/xxh3"

	"out_amberflo/plugin/alarm"
	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/meter"
	"out_amberflo/plugin/watch"
)

// Instance is one started [OUTPUT]. Flush may be called concurrently; Stop once, when no Flush runs.
type Instance struct {
	delivery *delivery
	rules    *meter.Rules
	log      *slog.Logger
	name     string // Host.Name
	number   int    // in the delivery
	// dropRejects: rejected_overflow is drop.
	dropRejects bool

	work    sync.Pool // of *flush
	rejects rejectLog
	trouble alarm.Alarm // of flushes

	counts       *counts
	watch        *watch.Watch
	file         *statusFile
	logsCounts   bool // the host has no metrics
	stopCounting context.CancelFunc
	counting     sync.WaitGroup
}

// Host is what an Instance needs of the program that it runs in. Its functions may be called from any
// goroutine until Stop has returned.
type Host struct {
	Name   string                  // of the output, e.g. amberflo.0
	Option func(key string) string // its value, "" if it is not set; called by Start only

	// KnowsOptions: it does not start with keys that are no options.
	KnowsOptions bool
	// RetriesForever: a chunk that is not accepted is offered again as often as it takes, whatever Retry_Limit says.
	RetriesForever bool

	Level slog.Level // of the least important lines that it wants

	// The host may lack what follows; then it is nil.

	// Log prints a line; false if it could not, and the line goes to standard error.
	Log func(level slog.Level, line string) bool
	// Publish sets the host's own metrics to values: in the order of Metrics, one for each value of a label.
	Publish func(values []float64)
}

// Start makes an Instance of one section. On an error nothing is left running.
func Start(ctx context.Context, host Host) (*Instance, error) {
	log := newLogger(host)
	c, b, err := Load(ctx, host)
	if err != nil {
		return nil, err
	}
	d, number, err := join(ctx, c, b, log)
	if err != nil {
		return nil, err
	}
	p := &Instance{delivery: d, rules: c.Rules, log: log, name: host.Name, number: number,
		dropRejects: c.DropRejects, rejects: rejectLog{log: log, caught: d.caught, count: make(map[string]int)}, counts: newCounts()}
	p.work.New = func() any {
		return &flush{reader: chunk.NewReader(nil, p.rules.Keys()), mapper: p.rules.NewAdder(), meters: make(map[string]int64)}
	}
	p.watch = watch.New(watch.Options{Log: log, Rules: c.Rules, Age: c.UploadTimeout, Counts: p.counts.watched})
	p.file = newStatusFile(c.StoreDir, host.Name, number)
	counting, stop := context.WithCancel(context.Background())
	p.stopCounting = stop
	p.logsCounts = host.Publish == nil
	if !p.logsCounts {
		p.counting.Go(func() {
			d.keepRunning(counting, "counting", func(ctx context.Context) { p.publish(ctx, host.Publish) })
		})
	}
	p.counting.Go(func() { d.keepRunning(counting, "counting", p.logChanges) })
	p.counting.Go(func() { d.keepRunning(counting, "watching", p.watch.Run) })
	p.counting.Go(func() { d.keepRunning(counting, "writing the status", p.keepStatus) })
	retries := ""
	if host.RetriesForever {
		retries = " Retry_Limit=no_limits"
	}
	log.Info("started " + Version + ": " + c.describe() + retries)
	if layout := host.Option("meter_time_format"); lacksZone(layout) {
		log.Warn("meter_time_format has no %z: times are read as UTC", "layout", layout)
	}
	if !host.RetriesForever {
		log.Warn("Retry_Limit cannot be set from here: without no_limits, Fluent Bit drops chunks that have to wait")
	}
	return p, nil
}

// Stop ends the instance within shutdown_timeout. What is not uploaded by then goes out at the next start.
func (p *Instance) Stop() {
	p.stopCounting()
	p.counting.Wait() // the host's metrics go with it
	p.rejects.stop()
	p.delivery.leave(p.endStatus)
	if p.logsCounts {
		p.logValues(p.values())
	}
}

// NotStored tells that a chunk with a tag lies in the host's memory alone while it waits to be flushed.
func (p *Instance) NotStored(tag string) {
	p.log.Warn("chunks wait in memory: what Fluent Bit has not handed over is lost when it is killed. Set storage.path in [SERVICE] and "+
		"storage.type filesystem in [INPUT], and Emitter_Storage.type filesystem in rewrite_tag and multiline; take processors away from this output", "tag", tag)
}

// flush is the scratch of one flush.
type flush struct {
	reader  *chunk.Reader
	mapper  *meter.Mapper
	rejects []*meter.Rejection
	meters  map[string]int64 // lines, for the guardrail

	plain *meter.Mapper // for the survey, which looks at lines that are not added up; nil until it does
	lines []byte        // of it
}

// Flush accepts one chunk: when it returns nil, every meter record of it is on disk for good, what is
// no meter record is rejected with its reason, and bytes that cannot be decoded are kept. On an error
// nothing of it counts and it is to be offered again. data is not kept and not changed.
func (p *Instance) Flush(tag string, data []byte) error {
	err := errPanic
	func() {
		defer p.delivery.caught("flush")
		w := p.work.Get().(*flush)
		err = p.flush(w, tag, data)
		w.reader.Reset(nil) // the pool is not to hold the host's bytes
		clear(w.rejects)    // nor these
		p.work.Put(w)       // not after a panic: nobody knows its state
	}()
	if err != nil {
		p.counts.deferred.Add(1)
		p.failed(err)
	} else if n, lasted, tell := p.trouble.Succeeded(); tell {
		p.log.Info(fmt.Sprintf("chunks are accepted again after %d failures and %s", n, lasted.Round(time.Second)))
	}
	return err
}

// failed says that a chunk was not accepted, if there is anything new to it.
func (p *Instance) failed(err error) {
	cause, level := "", slog.LevelError
	if errors.Is(err, journal.ErrFull) {
		cause = "full"
	} else if errors.Is(err, journal.ErrClosed) {
		level = slog.LevelInfo
	}
	if n, tell := p.trouble.Failed(cause); tell {
		p.log.Log(context.Background(), level, "a chunk cannot be accepted now, Fluent Bit offers it again as often as Retry_Limit allows", "times", n, "err", err)
	}
}

var errPanic = errors.New("a panic, see the lines before")

func (p *Instance) flush(w *flush, tag string, data []byte) error {
	s := p.delivery.spool
	salt, err := s.Salt()
	if err != nil {
		return err
	}
	var former []journal.Source
	if s.Expects() {
		former = append(former, p.formerSource(salt, tag, data))
	}
	tx, err := s.Begin(p.source(salt, tag, data), len(data)*p.rules.MostRecords(), former...) // an event has a byte at least
	if errors.Is(err, journal.ErrAccepted) {
		p.counts.redelivered.Add(1)
		return nil
	}
	if err != nil {
		return err
	}
	w.mapper.StartIDs(tx.IDs())
	w.mapper.StartClock(time.Now())
	_ = w.mapper.TakeDoubts() // of a chunk that was not accepted
	surveying := p.watch.Surveying()
	if !surveying {
		w.plain, w.lines = nil, nil
	}
	w.rejects = w.rejects[:0]
	clear(w.meters)
	w.reader.Reset(data)

	records, ignored := 0, 0
	for w.reader.Next() {
		ev := w.reader.Event()
		before, given := len(tx.Lines()), w.mapper.Lines()
		lines, n, reject := w.mapper.Append(tx.Lines(), tag, ev)
		tx.Append(lines, w.mapper.Lines()-given)
		records += n
		if reject != nil {
			tx.Reject(lineOf(Reject{ID: tx.RejectID(), Reason: reject.Reason, Detail: reject.Detail, Output: p.name, Tag: tag}, ev))
			w.rejects = append(w.rejects, reject)
		} else {
			if n == 0 {
				ignored++
			}
			if surveying {
				if lines = lines[before:]; n > w.mapper.Lines()-given {
					lines = w.linesOf(p.rules, tag, ev)
				}
				p.watch.Look(tag, ev, lines)
			}
		}
		if n == 0 {
			p.watch.Unmetered(ev)
		}
	}
	summed := records - w.mapper.Lines()
	before := len(tx.Lines())
	lines, partials := w.mapper.AppendSums(tx.Lines())
	tx.Append(lines, partials)
	if _, bucket := p.rules.Aggregate(); bucket > 0 {
		tx.Summed(bucket, records) // the seal counts what it leaves
	} else {
		countMeters(w.meters, lines, w.mapper.Lines())
	}
	damage, damaged := w.reader.Err(), ""
	if damage != nil {
		tx.Damage(w.reader.Rest())
		damaged = tx.DamageFile()
	}
	err = tx.Commit()
	full, dropped := err, errors.Is(err, journal.ErrRejectsFull) && p.dropRejects
	if dropped {
		tx.DropRejects()
		err = tx.Commit()
	}
	if errors.Is(err, journal.ErrRejectsFull) {
		err = fmt.Errorf("%w (here %d records, the first with reason %s)", err, len(w.rejects), w.rejects[0].Reason)
	}
	if err != nil {
		return err
	}
	// Counted and told once, and not each time that the chunk is offered.
	if dropped {
		p.rejects.drop(len(w.rejects), full)
		p.counts.dropped.Add(int64(len(w.rejects)))
	}
	for _, reject := range w.rejects {
		if !dropped {
			p.rejects.add(reject, tag)
		}
		p.counts.rejected[reject.Reason].Add(1)
	}
	if damage != nil {
		p.counts.damaged.Add(1)
		p.log.Error("a chunk is damaged: the events before are delivered, the rest is kept", "tag", tag,
			"bytes", len(w.reader.Rest()), "kept", damaged, "err", damage)
	}
	for _, d := range w.mapper.TakeDoubts() {
		p.watch.Doubtful(d, p.counts.doubtful[d.Kind].Add(int64(d.Records)))
	}
	for i, n := range w.mapper.Passed() {
		p.counts.passed[i].Add(int64(n))
	}
	if summed > 0 {
		var hardly []byte
		if watch.HardlyReduced(summed, partials) {
			hardly = lines[before:]
		}
		p.watch.Summed(summed, partials, hardly)
	}
	p.delivery.events.add(w.meters)
	p.counts.records.Add(int64(records))
	p.counts.summed.Add(int64(summed))
	p.counts.lines.Add(int64(w.mapper.Lines()))
	p.counts.ignored.Add(int64(ignored))
	p.counts.bytes.Add(int64(len(data)))
	tx.Release()
	return nil
}

// linesOf returns the lines that an event, which was accepted, gives if it is not added up.
func (w *flush) linesOf(rules *meter.Rules, tag string, ev *chunk.Event) []byte {
	if w.plain == nil {
		w.plain = rules.NewMapper()
	}
	w.lines, _, _ = w.plain.Append(w.lines[:0], tag, ev)
	return w.lines
}

// source identifies a chunk: the spool, the name of the output that it is for, its tag, its bytes. Outputs may come, go and
// change places between a crash and the start after it.
func (p *Instance) source(salt uint64, tag string, data []byte) journal.Source {
	return sourceOf(xxh3.HashStringSeed(p.name, salt), tag, data)
}

// formerSource is the identity that earlier versions gave a chunk, by the number of the output.
func (p *Instance) formerSource(salt uint64, tag string, data []byte) journal.Source {
	return sourceOf(salt+uint64(p.number), tag, data)
}

func sourceOf(seed uint64, tag string, data []byte) journal.Source {
	return journal.Source{Length: uint32(len(data)), Hash: xxh3.HashSeed(data, xxh3.HashStringSeed(tag, seed))}
}

// Reject is one line of a file in rejected/.
type Reject struct {
	ID     string `json:"id"`     // of this reject alone
	Reason string `json:"reason"` // a stable word
	Detail string `json:"detail"` // a sentence
	Output string `json:"output"` // the one that rejected it, since several may share a spool
	Tag    string `json:"tag"`
	// TagBytes is the tag in base64 where it is no UTF-8, which JSON cannot hold.
	TagBytes []byte `json:"tag_bytes,omitempty"`
	Time     string `json:"time"` // of the event, RFC 3339
	// Record is for reading: null where JSON cannot hold it, or where it is long.
	Record json.RawMessage `json:"record"`
	// Chunk is the event as it came, msgpack (in the line base64), after the start of its group if it has one:
	// what JSON cannot hold is in here.
	Chunk []byte `json:"chunk"`
}

// longestShown is how long a record may be to stand in a reject twice, in Chunk and as JSON: so one takes at most 4/3 of what
// came, and this.
const longestShown = 16 << 10

// lineOf is the line of an event that cannot be metered.
func lineOf(r Reject, ev *chunk.Event) []byte {
	r.Time = time.Unix(ev.Seconds, ev.Nanos).UTC().Format(time.RFC3339Nano)
	value := ev.Record
	if ev.Malformed != "" {
		r.Time, value = "", ev.Raw
	}
	var err error
	if len(value) > longestShown {
		r.Record = json.RawMessage("null")
	} else if r.Record, err = meter.AppendJSON(nil, value); err != nil || len(r.Record) > longestShown || !json.Valid(r.Record) {
		r.Record = json.RawMessage("null")
	}
	if !utf8.ValidString(r.Tag) {
		r.TagBytes = []byte(r.Tag)
	}
	r.Chunk = slices.Concat(ev.GroupRaw, ev.Raw)
	if r.Reason == meter.TornGroup { // its group is not known, and cannot become known by mapping it again
		r.Chunk = slices.Concat(ev.Raw, []byte(chunk.GroupEnd))
	}
	line, _ := json.Marshal(r) // strings, and JSON that is valid: it cannot fail
	return append(line, '\n')
}

// rejectLog logs what was rejected, a line a minute and reason.
type rejectLog struct {
	log    *slog.Logger
	caught func(doing string) // deferred, ends a panic

	mu    sync.Mutex // guards what follows
	count map[string]int
	timer *time.Timer
}

const rejectPeriod = time.Minute

func (r *rejectLog) add(why *meter.Rejection, tag string) {
	if r.first(why.Reason, 1) {
		// What was got is customer data, and stands in rejected/.
		wanted, _, _ := strings.Cut(why.Detail, ", got ")
		r.log.Warn("a record was rejected: it is kept in rejected/, further ones are counted for a minute",
			"reason", why.Reason, "tag", tag, "detail", wanted)
	}
}

// drop notes records that rejected_overflow drop gave up.
func (r *rejectLog) drop(n int, err error) {
	if r.first("dropped, as rejected_overflow says", n) {
		r.log.Error("rejected records are dropped, as rejected_overflow says", "records", n, "err", err)
	}
}

// first counts n records, and returns true if they are the first in a minute with that reason.
func (r *rejectLog) first(reason string, n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, known := r.count[reason]
	r.count[reason] += n
	if r.timer == nil {
		r.timer = time.AfterFunc(rejectPeriod, r.report)
	}
	return !known
}

func (r *rejectLog) report() {
	defer r.caught("counting rejects")
	r.mu.Lock()
	defer r.mu.Unlock()
	for reason, n := range r.count {
		if n > 1 {
			r.log.Warn("records were rejected in the last minute", "reason", reason, "records", n)
		}
	}
	clear(r.count)
	r.timer = nil
}

func (r *rejectLog) stop() {
	r.mu.Lock()
	timer := r.timer
	r.mu.Unlock()
	if timer != nil && timer.Stop() {
		r.report()
	}
}
