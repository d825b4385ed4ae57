package plugin

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"out_amberflo/plugin/meter"
	"out_amberflo/plugin/report"
	"out_amberflo/plugin/ship"
	"out_amberflo/plugin/ship/failure"
	"out_amberflo/plugin/spool"
	"out_amberflo/plugin/watch"
)

// Metric is a counter or a gauge. Its name in Fluent Bit's own metrics is fluentbit_amberflo_<Name>; it
// has the label name, which is the output's, and may have one more.
type Metric struct {
	Name, Help string
	Counter    bool // else a gauge
	Label      string
	Values     []string // of Label, all that ever occur: series are made at the start

	// shared ones belong to a delivery. They stand with the first of the outputs that share it, so that a sum over outputs is
	// right.
	shared bool
	read   func(r *reading, i int) float64 // i is the index in Values
}

// reading is what the values of an output are read from, at one moment.
type reading struct {
	*counts
	panics, failed int64
	busiest, limit int64 // events of a meter in the last hour, and how many there may be
	spool          spool.Stats
	ship           ship.Stats
}

const (
	counter, gauge = true, false
	own, shared    = false, true
)

// Metrics are all there are, in the order of values. Counters count from the start of the process or its last reload.
var Metrics = []Metric{
	{"accepted_records_total", "Meter records accepted: they are on disk.", counter, "", nil, own,
		func(r *reading, _ int) float64 { return float64(r.records.Load()) }},
	{"accepted_bytes_total", "Bytes of the chunks that were accepted.", counter, "", nil, own,
		func(r *reading, _ int) float64 { return float64(r.bytes.Load()) }},
	{"rejected_records_total", "Records that were rejected: kept in rejected/, or dropped as rejected_overflow says.", counter, "reason", meter.Reasons, own,
		func(r *reading, i int) float64 { return float64(r.rejected[meter.Reasons[i]].Load()) }},
	{"dropped_records_total", "Of them, those that rejected_overflow drop gave up: they are gone.", counter, "", nil, own,
		func(r *reading, _ int) float64 { return float64(r.dropped.Load()) }},
	{"ignored_records_total", "Records that only_if or unmatched skipped.", counter, "", nil, own,
		func(r *reading, _ int) float64 { return float64(r.ignored.Load()) }},
	{"doubtful_records_total", "Records that were metered although something about them is doubtful.", counter, "kind", meter.Doubts, own,
		func(r *reading, i int) float64 { return float64(r.doubtful[meter.Doubts[i]].Load()) }},
	{"accepted_lines_total", "Lines that flushes made of the accepted records: fewer than these where aggregate adds them up.", counter, "", nil, own,
		func(r *reading, _ int) float64 { return float64(r.lines.Load()) }},
	{"passed_records_total", "Records of the meters that aggregate names that were not added up.", counter, "reason", meter.PassReasons, own,
		func(r *reading, i int) float64 { return float64(r.passed[i].Load()) }},
	{"summed_records_total", "Records that aggregate added up.", counter, "", nil, own,
		func(r *reading, _ int) float64 { return float64(r.summed.Load()) }},
	{"deferred_chunks_total", "Times that a chunk could not be accepted and was left with Fluent Bit.", counter, "", nil, own,
		func(r *reading, _ int) float64 { return float64(r.deferred.Load()) }},
	{"redelivered_chunks_total", "Chunks that came again after a crash, and were not counted again.", counter, "", nil, own,
		func(r *reading, _ int) float64 { return float64(r.redelivered.Load()) }},
	{"damaged_chunks_total", "Chunks with bytes that could not be decoded, kept in damaged/.", counter, "", nil, own,
		func(r *reading, _ int) float64 { return float64(r.damaged.Load()) }},
	{"panics_total", "Internal errors (bugs) that were caught.", counter, "", nil, shared,
		func(r *reading, _ int) float64 { return float64(r.panics) }},
	{"lost_records_total", "Records, and rejected ones, in segments that somebody removed from open/.", counter, "", nil, shared,
		func(r *reading, _ int) float64 { return float64(r.spool.LostRecords) }},
	{"damaged_objects_total", "Objects that the disk has damaged: not sent, kept in damaged/outbox/, at the start too.", counter, "", nil, shared,
		func(r *reading, _ int) float64 { return float64(r.spool.Damaged) }},
	{"sealed_events_total", "Events put into objects: as many as records, or fewer where aggregate adds them up.", counter, "", nil, shared,
		func(r *reading, _ int) float64 { return float64(r.spool.SealedEvents) }},
	{"busiest_meter_events", "Events of the last hour, of the meter that has most.", gauge, "", nil, shared,
		func(r *reading, _ int) float64 { return float64(r.busiest) }},
	{"events_per_hour_limit", "events_per_hour_limit.", gauge, "", nil, shared,
		func(r *reading, _ int) float64 { return float64(r.limit) }},
	{"sealed_objects_total", "Objects put into the outbox.", counter, "", nil, shared,
		func(r *reading, _ int) float64 { return float64(r.spool.Sealed) }},
	{"uploaded_objects_total", "Objects stored in the bucket.", counter, "", nil, shared,
		func(r *reading, _ int) float64 { return float64(r.ship.Uploaded) }},
	{"uploaded_bytes_total", "Bytes of them, as stored.", counter, "", nil, shared,
		func(r *reading, _ int) float64 { return float64(r.ship.UploadedBytes) }},
	{"upload_failures_total", "Attempts to upload that failed; each is repeated.", counter, "kind", failure.Names(), shared,
		func(r *reading, i int) float64 { return float64(r.ship.Failed[failure.Kind(i)]) }},
	{"failed_objects_total", "Objects that Amberflo did not take: they are kept in failed/.", counter, "", nil, shared,
		func(r *reading, _ int) float64 { return float64(r.failed) }},
	{"waiting_objects", "Objects that wait for their upload.", gauge, "", nil, shared,
		func(r *reading, _ int) float64 { return float64(r.spool.WaitingObjects) }},
	{"waiting_bytes", "Bytes of them, as stored.", gauge, "", nil, shared,
		func(r *reading, _ int) float64 { return float64(r.spool.WaitingBytes) }},
	{"waiting_records", "Records that are accepted and not yet in an object.", gauge, "", nil, shared,
		func(r *reading, _ int) float64 { return float64(r.spool.WaitingRecords) }},
	{"oldest_waiting_seconds", "Age of the oldest record or object that is not in the bucket.", gauge, "", nil, shared,
		func(r *reading, _ int) float64 { return age(r.spool.OldestWaiting) }},
	{"last_upload_timestamp_seconds", "When an upload last succeeded, Unix time; 0 before the first.", gauge, "", nil, shared,
		func(r *reading, _ int) float64 { return epoch(r.ship.LastSuccess) }},
	{"spool_bytes", "Bytes in store_dir that count against its limit.", gauge, "", nil, shared,
		func(r *reading, _ int) float64 { return float64(r.spool.UsedBytes) }},
	{"spool_limit_bytes", "store_dir_limit_size, or what the disk has space for if that is less.", gauge, "", nil, shared,
		func(r *reading, _ int) float64 { return float64(r.spool.LimitBytes) }},
	{"sent_bytes", "Bytes of objects in sent/, which give way to all else.", gauge, "", nil, shared,
		func(r *reading, _ int) float64 { return float64(r.spool.SentBytes) }},
	{"failed_bytes", "Bytes of objects in failed/, as stored.", gauge, "", nil, shared,
		func(r *reading, _ int) float64 { return float64(r.spool.FailedBytes) }},
	{"rejected_bytes", "Bytes in rejected/, and what open/ has of it.", gauge, "", nil, shared,
		func(r *reading, _ int) float64 { return float64(r.spool.RejectedBytes) }},
	{"rejected_limit_bytes", "rejected_limit_size.", gauge, "", nil, shared,
		func(r *reading, _ int) float64 { return float64(r.spool.RejectedLimit) }},
}

func age(since time.Time) float64 {
	if since.IsZero() {
		return 0
	}
	return time.Since(since).Seconds()
}

func epoch(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return float64(at.UnixMilli()) / 1000
}

// counts are what one output counts itself.
type counts struct {
	records, summed, lines, bytes, dropped, ignored, deferred, redelivered, damaged atomic.Int64

	rejected, doubtful map[string]*atomic.Int64 // read-only maps
	passed             []atomic.Int64           // in the order of meter.PassReasons
}

func newCounts() *counts {
	c := &counts{rejected: make(map[string]*atomic.Int64), doubtful: make(map[string]*atomic.Int64), passed: make([]atomic.Int64, len(meter.PassReasons))}
	for _, reason := range meter.Reasons {
		c.rejected[reason] = new(atomic.Int64)
	}
	for _, kind := range meter.Doubts {
		c.doubtful[kind] = new(atomic.Int64)
	}
	return c
}

// allRejected is the sum over reasons.
func (c *counts) allRejected() (n int64) {
	for _, count := range c.rejected {
		n += count.Load()
	}
	return n
}

// watched is what a Watch sees of them.
func (c *counts) watched() watch.Counts {
	return watch.Counts{Metered: c.records.Load(), Ignored: c.ignored.Load(), Rejected: c.allRejected(),
		Came: c.bytes.Load()+c.deferred.Load()+c.redelivered.Load() > 0}
}

// values are those of Metrics, one for each value of a label.
func (p *Instance) values() (values []float64) {
	d := p.delivery
	r := &reading{counts: p.counts, panics: d.panics.Load(), failed: failed(d.report), spool: d.spool.Stats(), ship: d.ship.Stats(), limit: d.config.EventsLimit}
	_, r.busiest = d.events.busiest()
	for _, m := range Metrics {
		for i := range max(len(m.Values), 1) {
			v := 0.0
			if !m.shared || p.number == 0 {
				v = m.read(r, i)
			}
			values = append(values, v)
		}
	}
	return values
}

func failed(r *report.Reporter) int64 {
	if r == nil {
		return 0
	}
	return r.Failed()
}

const (
	publishEvery = time.Second
	// Each output writes at most one line of its counters this often, see logChanges.
	logCounts = 10 * time.Minute
)

// publish keeps the host's metrics up to date until ctx ends. Not only flushes change them: uploads, verdicts
// of Amberflo and the time do.
func (p *Instance) publish(ctx context.Context, to func([]float64)) {
	tick := time.NewTicker(publishEvery)
	defer tick.Stop()
	for {
		to(p.values())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// logChanges writes at most one line every ten minutes, until ctx ends: the counters, if what they are about has changed; else
// that all is well, if nothing else was said, nothing failed and something was done.
func (p *Instance) logChanges(ctx context.Context) {
	tick := time.NewTicker(logCounts)
	defer tick.Stop()
	last, before := p.changes(), p.pulse()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if now := p.changes(); !slices.Equal(now, last) {
				p.logValues(p.values())
				last = now
			} else if p.pulse().isWell(before) {
				d := p.delivery
				p.log.Info("all is well: nothing failed in the last ten minutes", "records", p.counts.records.Load(), "objects", d.ship.Stats().Uploaded,
					"rejected", p.counts.allRejected(), "waiting", d.spool.Waiting())
			}
			before = p.pulse()
		}
	}
}

// pulse is by which a healthy run is known from one in which nothing goes on, and from one that says nothing only because its
// failures last.
type pulse struct {
	lines  int64 // of the log
	failed int64 // attempts to upload
	done   int64 // bytes accepted, objects uploaded
	late   bool  // something waits for longer than it does where sealing and uploads work
}

func (p *Instance) pulse() (now pulse) {
	d := p.delivery
	uploads, waits := d.ship.Stats(), age(d.spool.Stats().OldestWaiting)
	for _, n := range uploads.Failed {
		now.failed += n
	}
	now.lines, now.done = linesOf(p.log), p.counts.bytes.Load()+uploads.Uploaded
	now.late = waits > (d.config.UploadTimeout + logCounts).Seconds()
	return now
}

func (now pulse) isWell(before pulse) bool {
	return now.lines == before.lines && now.failed == before.failed && now.done != before.done && !now.late
}

// changes are the counters that are worth a line when they change: those of what was not metered, or all, in a host that
// has no metrics.
func (p *Instance) changes() []float64 {
	if p.logsCounts {
		return p.values()
	}
	c := p.counts
	return []float64{float64(c.ignored.Load()), float64(c.allRejected()), float64(c.deferred.Load())}
}

// logValues says in one line what would stand in the metrics.
func (p *Instance) logValues(values []float64) {
	var b strings.Builder
	for m, v := range labelled(values) {
		if v != 0 {
			fmt.Fprintf(&b, " %s=%.0f", m.name, v)
		}
	}
	p.log.Info("counters" + b.String())
}

// series is one of a Metric.
type series struct {
	*Metric
	name string // with the value of the label, if it has one: name{value}
}

// labelled goes through values in the order of Metrics.
func labelled(values []float64) iter.Seq2[series, float64] {
	return func(yield func(series, float64) bool) {
		i := 0
		for k := range Metrics {
			m := &Metrics[k]
			for n := range max(len(m.Values), 1) {
				name := m.Name
				if m.Label != "" {
					name += "{" + m.Values[n] + "}"
				}
				if !yield(series{m, name}, values[i]) {
					return
				}
				i++
			}
		}
	}
}
