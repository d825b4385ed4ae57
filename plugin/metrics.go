package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"out_amberflo/plugin/bucket"
	"out_amberflo/plugin/meter"
	"out_amberflo/plugin/report"
)

// Metric is a counter or a gauge. Its name in Fluent Bit's own metrics is fluentbit_amberflo_<Name>; it
// has the label name, which is the output's, and may have one more.
type Metric struct {
	Name, Help string
	Counter    bool // else a gauge
	Label      string
	Values     []string // of Label, all that ever occur: series are made at the start
}

// Metrics are all there are, in the order of values. Counters count from the start of the process or its last reload.
var Metrics = []Metric{
	{"accepted_records_total", "Meter records accepted: they are on disk.", true, "", nil},
	{"accepted_bytes_total", "Bytes of the chunks that were accepted.", true, "", nil},
	{"rejected_records_total", "Records that could not be metered: set aside in rejected/, or dropped as rejected_overflow says.", true, "reason", meter.Reasons},
	{"dropped_records_total", "Of them, those that rejected_overflow drop gave up: they are gone.", true, "", nil},
	{"ignored_records_total", "Records that only_if or unmatched passed over.", true, "", nil},
	{"doubtful_records_total", "Records that were metered although something about them is doubtful.", true, "kind", meter.Doubts},
	{"deferred_chunks_total", "Times that a chunk could not be accepted and was left with Fluent Bit.", true, "", nil},
	{"redelivered_chunks_total", "Chunks that came again after a crash, and were not counted again.", true, "", nil},
	{"damaged_chunks_total", "Chunks with bytes that could not be decoded, kept in damaged/.", true, "", nil},
	{"panics_total", "Mistakes in the plugin that were caught.", true, "", nil},
	{"lost_records_total", "Records, and rejected ones, in logs that somebody removed from open/.", true, "", nil},
	{"damaged_objects_total", "Objects that the disk has damaged: not sent, kept in damaged/outbox/.", true, "", nil},
	{"sealed_objects_total", "Objects put into the outbox.", true, "", nil},
	{"uploaded_objects_total", "Objects stored in the bucket.", true, "", nil},
	{"uploaded_bytes_total", "Bytes of them, as stored.", true, "", nil},
	{"upload_failures_total", "Attempts to upload that failed; each is repeated.", true, "kind", kinds()},
	{"refused_objects_total", "Objects that Amberflo refused, kept in failed/.", true, "", nil},
	{"waiting_objects", "Objects that wait for their upload.", false, "", nil},
	{"waiting_bytes", "Bytes of them, as stored.", false, "", nil},
	{"waiting_records", "Records that are accepted and not yet in an object.", false, "", nil},
	{"oldest_waiting_seconds", "Age of the oldest record or object that is not in the bucket.", false, "", nil},
	{"last_upload_timestamp_seconds", "When an upload last succeeded, Unix time; 0 before the first.", false, "", nil},
	{"spool_bytes", "Bytes in store_dir that count against its limit.", false, "", nil},
	{"spool_limit_bytes", "store_dir_limit_size, or what the disk has room for if that is less.", false, "", nil},
	{"failed_bytes", "Bytes of objects in failed/, as stored.", false, "", nil},
	{"rejected_bytes", "Bytes in rejected/, and what open/ has of it.", false, "", nil},
	{"rejected_limit_bytes", "rejected_limit_size.", false, "", nil},
}

func kinds() (names []string) {
	for k := bucket.Refused; k < bucket.Canceled; k++ {
		names = append(names, k.String())
	}
	return names
}

// counts are what one output counts itself.
type counts struct {
	records, bytes, dropped, ignored, deferred, redelivered, damaged atomic.Int64
	rejected, doubtful                                               map[string]*atomic.Int64 // read-only maps
}

func newCounts() *counts {
	c := &counts{rejected: make(map[string]*atomic.Int64), doubtful: make(map[string]*atomic.Int64)}
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

// nothingCame tells if no chunk was ever handed over.
func (c *counts) nothingCame() bool {
	return c.bytes.Load()+c.deferred.Load()+c.redelivered.Load() == 0
}

// values are those of Metrics, one for each value of a label. What belongs to a delivery that outputs
// share stands with the first of them, so that a sum over outputs is right.
func (p *Instance) values() []float64 {
	d := p.delivery
	v := []float64{float64(p.counts.records.Load()), float64(p.counts.bytes.Load())}
	for _, reason := range meter.Reasons {
		v = append(v, float64(p.counts.rejected[reason].Load()))
	}
	v = append(v, float64(p.counts.dropped.Load()), float64(p.counts.ignored.Load()))
	for _, kind := range meter.Doubts {
		v = append(v, float64(p.counts.doubtful[kind].Load()))
	}
	for _, n := range []*atomic.Int64{&p.counts.deferred, &p.counts.redelivered, &p.counts.damaged} {
		v = append(v, float64(n.Load()))
	}
	first := len(v)
	st, sh := d.spool.Stats(), d.ship.Stats()
	v = append(v, float64(d.panics.Load()), float64(st.LostRecords), float64(st.Damaged), float64(st.Sealed), float64(sh.Uploaded), float64(sh.UploadedBytes))
	for k := bucket.Refused; k < bucket.Canceled; k++ {
		v = append(v, float64(sh.Failed[k]))
	}
	age, last := 0.0, 0.0
	if !st.OldestWaiting.IsZero() {
		age = time.Since(st.OldestWaiting).Seconds()
	}
	if !sh.LastSuccess.IsZero() {
		last = float64(sh.LastSuccess.UnixMilli()) / 1000
	}
	v = append(v, float64(refused(d.report)), float64(st.WaitingObjects), float64(st.WaitingBytes), float64(st.WaitingRecords),
		age, last, float64(st.UsedBytes), float64(st.LimitBytes), float64(st.FailedBytes), float64(st.RejectedBytes), float64(st.RejectedLimit))
	if p.number > 0 {
		clear(v[first:])
	}
	return v
}

func refused(r *report.Reporter) int64 {
	if r == nil {
		return 0
	}
	return r.Refused()
}

const (
	publishEvery = time.Second
	// A host without metrics gets a log line this often, if anything has changed; any host does if something was not metered.
	logCounts = 10 * time.Minute
)

// publish keeps the host's metrics up to date until ctx ends. Not only flushes change them: uploads, refusals
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

// logChanges writes a line of the counters every ten minutes in which what it is about has changed, until ctx ends.
func (p *Instance) logChanges(ctx context.Context) {
	tick := time.NewTicker(logCounts)
	defer tick.Stop()
	last := p.changes()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if now := p.changes(); !slices.Equal(now, last) {
				p.logValues(p.values())
				last = now
			}
		}
	}
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
	i := 0
	for _, m := range Metrics {
		for k := range max(len(m.Values), 1) {
			if values[i] != 0 {
				label := ""
				if m.Label != "" {
					label = "{" + m.Values[k] + "}"
				}
				fmt.Fprintf(&b, " %s%s=%.0f", m.Name, label, values[i])
			}
			i++
		}
	}
	p.log.Info("counters" + b.String())
}
