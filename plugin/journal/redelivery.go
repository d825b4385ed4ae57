package journal

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"out_amberflo/plugin/disk"
)

// Source identifies a chunk. Hash covers the output's name, the tag and the bytes: one chunk may rightly reach two outputs.
type Source struct {
	Length uint32
	Hash   uint64
}

// accepted is a chunk and when it was accepted; at is unique within a journal.
type accepted struct {
	Source Source
	At     int64 // Unix nanoseconds
}

// recent is a chunk accepted since the start, and up to where its segment must be durable for that to hold.
type recent struct {
	accepted
	segment *Segment
	upTo    int64
}

const (
	// How long before a crash a chunk can have been accepted and still not be recorded as delivered by Fluent Bit, and how
	// many. It records within milliseconds; the margin is for a stalled engine.
	recentAge = time.Minute
	recentMax = 4096
	// The latest are remembered whatever the clock says, which may have jumped.
	recentLeast = 64
	// How long after a start a chunk is still taken for a redelivery. Measured with filesystem storage, they are among the
	// first five chunks.
	expectFor = 10 * time.Minute
	// How long after one was not acknowledged: Fluent Bit waits up to 2000 s (scheduler.cap) before it offers it again.
	expectDeferredFor = time.Hour
)

// redelivery is which chunks may come again: after the next crash those in recent, after the last one those in expected. Both
// are in the order in which they were accepted. It is guarded by Journal.mu.
type redelivery struct {
	recent   []recent
	expected []accepted
	expires  time.Time // when expected ends
}

func (r *redelivery) add(c recent) {
	if len(r.recent) >= 2*recentMax {
		r.recent = append(r.recent[:0], r.recent[len(r.recent)-recentMax:]...)
	}
	r.recent = append(r.recent, c)
}

// stillExpected gives the chunks accepted before the start that are still to come again.
func (r *redelivery) stillExpected() []accepted {
	if len(r.expected) > 0 && time.Now().After(r.expires) {
		r.expected = nil
	}
	return r.expected
}

// findings are the chunks that may come again, as a start finds them, and until when.
type findings map[accepted]int64

// see takes note of the next frame, of the oldest segment first.
func (f findings) see(h frameHeader, payload []byte) {
	switch h.Kind {
	case kindRedelivered:
		if len(payload) == 8 {
			delete(f, accepted{h.Source, int64(binary.LittleEndian.Uint64(payload))})
		}
		fallthrough // it may come a third time, and is then known by this frame
	case kindRecords, kindBlock:
		f[accepted{h.Source, h.Accepted}] = h.Accepted + int64(recentAge)
	case kindCheckpoint:
		c := parseCheckpoint(payload)
		clear(f)
		for _, a := range c.recent {
			f[a] = a.At + int64(recentAge)
		}
		for _, a := range c.expected {
			f[a] = h.Accepted + int64(expectDeferredFor)
		}
	}
}

// expect keeps those of the chunks found that may still come again, seen from when the process ended.
func (r *redelivery) expect(found findings, ended int64) {
	all := slices.SortedFunc(maps.Keys(found), func(a, b accepted) int { return cmp.Compare(a.At, b.At) })
	for i, a := range all {
		if found[a] >= ended || len(all)-i <= recentLeast {
			r.expected = append(r.expected, a)
		}
	}
	r.expected = r.expected[max(0, len(r.expected)-recentMax):]
}

// Expects tells if chunks that were accepted before the process last died may still come again.
func (j *Journal) Expects() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.chunks.stillExpected()) > 0
}

// redelivered answers ErrAccepted for a chunk that was accepted before the process last died. The caller holds mu, and holds it
// until all is durable: a segment that is begun meanwhile has to know.
func (j *Journal) redelivered(src Source) error {
	i := slices.IndexFunc(j.chunks.stillExpected(), func(a accepted) bool { return a.Source == src })
	if i < 0 {
		return nil
	}
	known := j.chunks.expected[i]
	// Space is not asked for: it is small, and lets go of a chunk.
	s, upTo, err := j.put(frameHeader{Kind: kindRedelivered, Source: src}, binary.LittleEndian.AppendUint64(make([]byte, frameHeaderSize), uint64(known.At)))
	if err == nil {
		if err = j.commit(s, upTo); err != nil {
			j.retire(s, s.synced)
		}
	}
	if err != nil {
		j.chunks.expires = time.Now().Add(expectDeferredFor)
		return err
	}
	disk.Crash("again-synced")
	j.chunks.expected = slices.DeleteFunc(j.chunks.expected, func(a accepted) bool { return a == known })
	return ErrAccepted
}

// stillRecent gives the chunks accepted since the start that the next segment must know. Only what is durable may be among
// them: a chunk recognised by mistake would be lost. The caller holds mu.
func (j *Journal) stillRecent() []accepted {
	r := &j.chunks
	oldest := time.Now().Add(-recentAge).UnixNano()
	keep := r.recent[:0]
	var seen []accepted
	for i, c := range r.recent {
		left := len(r.recent) - i
		if left <= recentMax && (c.At >= oldest || left <= recentLeast) && j.commit(c.segment, c.upTo) == nil {
			keep = append(keep, c)
			seen = append(seen, c.accepted)
		}
	}
	clear(r.recent[len(keep):]) // lets go of their segments
	r.recent = keep
	return seen
}
