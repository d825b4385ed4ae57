package watch

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/zeebo/xxh3"

	"out_amberflo/plugin/tally"
)

// reduction estimates how many events the records of an hour come to that are added up. What flushes leave of them is one event
// a key and segment: keys are told apart by a bit each, and no more is remembered of them. The watch's mutex guards it.
type reduction struct {
	segment, bucket time.Duration // how long records go to one segment, and how wide the buckets of their times are

	since           time.Time // when the hour began, zero before the first record
	records, events int64

	keys      sketch // of the segment
	keysSince time.Time
	values    []valuesOf // by dimension, and of the customers
}

// valuesOf are the different values of one dimension in this hour.
type valuesOf struct {
	dimension string
	seen      sketch
}

// sketch tells hashes apart by a bit each. It counts too few where there are about as many as it has bits.
type sketch struct {
	bits []uint64
	n    int64
}

const (
	reductionEvery = time.Hour
	leastRecords   = 1000 // in an hour: below it is not worth a word
	keyBits        = 1 << 20
	valueBits      = 1 << 16
	mostDimensions = 16
)

// add returns true for a hash that was not there.
func (s *sketch) add(hash uint64, size int) bool {
	if s.bits == nil {
		s.bits = make([]uint64, size/64)
	}
	word, bit := &s.bits[hash/64%uint64(len(s.bits))], uint64(1)<<(hash%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	s.n++
	return true
}

func (s *sketch) reset() {
	clear(s.bits)
	s.n = 0
}

// HardlyReduced tells if a chunk has so many partials that it matters how many events they become.
func HardlyReduced(records, partials int) bool { return partials*4 > records }

// Summed counts the records of a chunk that were added up to a number of partials. lines are these, if HardlyReduced says so.
func (w *Watch) Summed(records, partials int, lines []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, now := &w.reduction, time.Now()
	if r.since.IsZero() {
		r.since = now
	}
	r.records += int64(records)
	if len(lines) == 0 {
		r.events += int64(partials)
		return
	}
	if now.Sub(r.keysSince) >= r.segment {
		r.keysSince = now
		r.keys.reset()
	}
	for line := range bytes.Lines(lines) {
		customer, meter, dimensions, first, ok := tally.Key(line)
		if !ok || r.keys.add(xxh3.HashSeed(dimensions, xxh3.HashSeed(meter, xxh3.HashSeed(customer, uint64(first/r.bucket.Milliseconds())))), keyBits) {
			r.events++
		}
		r.look([]byte("customerId"), customer)
		for name, value := range tally.Dimensions(dimensions) {
			r.look(name[1:len(name)-1], value)
		}
	}
}

func (r *reduction) look(dimension, value []byte) {
	i := slices.IndexFunc(r.values, func(v valuesOf) bool { return v.dimension == string(dimension) })
	if i < 0 {
		if len(r.values) == mostDimensions {
			return
		}
		i = len(r.values)
		r.values = append(r.values, valuesOf{dimension: string(dimension)})
	}
	r.values[i].seen.add(xxh3.Hash(value), valueBits)
}

// tellReduction tells at the end of an hour if adding up did little in it. w.mu is locked.
func (w *Watch) tellReduction(now time.Time) {
	r := &w.reduction
	if r.since.IsZero() || now.Sub(r.since) < reductionEvery {
		return
	}
	if r.records >= leastRecords && r.events*2 > r.records {
		most := valuesOf{dimension: "none"}
		for _, v := range r.values {
			if v.seen.n > most.seen.n {
				most = v
			}
		}
		w.opt.Log.Warn("adding up does little: an hour has more than half as many events as records", "records", r.records, "events", fmt.Sprintf("about %d", r.events),
			"dimension", most.dimension, "values", most.seen.n, "advice", "leave a dimension out whose values keep records apart, or make aggregate_bucket wider; without aggregate it costs less")
	}
	r.since, r.records, r.events, r.values = time.Time{}, 0, 0, nil
}
