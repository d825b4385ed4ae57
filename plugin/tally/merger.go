package tally

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
	"time"

	"github.com/zeebo/xxh3"
)

// Merger adds up the lines of one segment: those that stand for records of one customer, meter, bucket and set of dimensions
// become one event. It is not safe for concurrent use.
//
// Events come out in the order in which their keys first stood in the segment, at End and where MaxKeys or MaxBytes is
// reached: then what there is goes out, and it goes on. An event also ends where its sum would leave what an Amount holds.
// All other lines go straight on, as they are. The same lines and the same id give the same bytes.
type Merger struct {
	// Bounds of what it holds, which may be changed before the first line.
	MaxKeys, MaxBytes int

	emit func(line []byte, records int64) error
	seed uint64
	rest []byte // of a line that has not ended

	keys   index
	open   []int32 // by key: the index of the event that it adds to
	events []event
	held   texts
	size   int // of what is held, about

	key        []byte
	dimensions []dimension
	out        []byte
}

// dimension is one as it stands, in quotes.
type dimension struct{ name, value []byte }

// event is what goes out as one line.
type event struct {
	text            []byte // the first of its lines, without the three members
	headEnd, idFrom int32  // where in text the head ends, and where the id in quotes begins
	amount          Amount
	records         int64
	first, last     int64
}

// The bounds of a new Merger.
const (
	MaxKeys  = 20_000
	MaxBytes = 32 << 20
)

// NewMerger returns one for a segment with an id. emit is called for each line that comes out, with its line feed, and how
// many records it stands for; it must not keep the line. An error of it ends the call that made it, and the Merger with it.
func NewMerger(id [16]byte, emit func(line []byte, records int64) error) *Merger {
	return &Merger{MaxKeys: MaxKeys, MaxBytes: MaxBytes, emit: emit, seed: xxh3.Hash(id[:])}
}

// Add takes the lines of a frame, in pieces of any size, with the width of its buckets: 0 where nothing of it is to be added
// up. A frame ends with a line. It does not keep lines.
func (m *Merger) Add(bucket time.Duration, lines []byte) error {
	for len(lines) > 0 {
		end := bytes.IndexByte(lines, '\n') + 1
		if end == 0 {
			m.rest = append(m.rest, lines...)
			return nil
		}
		line := lines[:end]
		if lines = lines[end:]; len(m.rest) > 0 {
			m.rest = append(m.rest, line...)
			line = m.rest
		}
		err := m.line(bucket, line)
		m.rest = m.rest[:0]
		if err != nil {
			return err
		}
	}
	return nil
}

// End lets out what there is.
func (m *Merger) End() error {
	if err := m.release(); err != nil || len(m.rest) == 0 {
		return err
	}
	err := m.emit(m.rest, Records(m.rest)) // a line that never ended: not ours to judge
	m.rest = m.rest[:0]
	return err
}

// line takes one line with its line feed.
func (m *Merger) line(bucket time.Duration, b []byte) error {
	l, ok := readLine(b)
	if !ok || !m.makeKey(bucket, &l) {
		return m.emit(b, Records(b))
	}
	amount, ok := Parse(l.value)
	if !ok { // an event by itself
		if l.records == 1 {
			return m.emit(append(append(m.out[:0], l.plain...), "}\n"...), 1)
		}
		return m.emit(b, l.records)
	}
	k, hash := m.keys.find(m.key)
	if k >= 0 {
		e := &m.events[m.open[k]]
		if sum, ok := e.amount.Add(amount); ok {
			e.amount = sum
			e.records += l.records
			e.first, e.last = min(e.first, l.first), max(e.last, l.last)
			return nil
		}
	}
	size := len(l.plain) + eventSize
	if k < 0 {
		size += len(m.key) + keySize
	}
	if len(m.events) > 0 && (len(m.events) >= m.MaxKeys || m.size+size > m.MaxBytes) {
		if err := m.release(); err != nil {
			return err
		}
		k = -1
	}
	m.size += size
	if k < 0 {
		k = m.keys.add(m.key, hash)
		m.open = push(m.open, 0)
	}
	m.open[k] = int32(len(m.events))
	m.events = push(m.events, event{text: m.held.keep(l.plain), headEnd: int32(len(l.head)), idFrom: int32(len(l.plain) - len(l.id)),
		amount: amount, records: l.records, first: l.first, last: l.last})
	return nil
}

// What an event and a key take beside their strings, in bytes: an event, and a key's hash, place, open event and slots.
const (
	eventSize = 80
	keySize   = 8 + 24 + 4 + 4*4
)

// makeKey makes the key of a line, or returns false if it has none: its records are of several buckets, or its dimensions are
// not written as they should be.
func (m *Merger) makeKey(bucket time.Duration, l *line) bool {
	width := bucket.Milliseconds()
	if width <= 0 || l.first/width != l.last/width {
		return false
	}
	m.key = binary.LittleEndian.AppendUint64(m.key[:0], uint64(width))
	m.key = binary.LittleEndian.AppendUint64(m.key, uint64(l.first/width))
	m.key = append(m.key, l.names...)
	m.dimensions = m.dimensions[:0]
	sorted := true
	for name, value := range Dimensions(l.dimensions) {
		if value == nil {
			return false
		}
		if n := len(m.dimensions); n > 0 && bytes.Compare(m.dimensions[n-1].name, name) >= 0 {
			sorted = false
		}
		m.dimensions = append(m.dimensions, dimension{name, value})
	}
	if !sorted {
		slices.SortFunc(m.dimensions, func(a, b dimension) int { return bytes.Compare(a.name, b.name) })
		for i := 1; i < len(m.dimensions); i++ {
			if bytes.Equal(m.dimensions[i-1].name, m.dimensions[i].name) { // which of them counts, readers do not agree on
				return false
			}
		}
	}
	for _, d := range m.dimensions {
		m.key = append(append(append(m.key, d.name...), ':'), d.value...)
	}
	return true
}

// release emits all events and forgets them.
func (m *Merger) release() error {
	for i := range m.events {
		e := &m.events[i]
		if err := m.emit(m.render(e), e.records); err != nil {
			return err
		}
	}
	m.keys.reset()
	m.held.reset()
	clear(m.events) // long texts are not in pages
	m.open, m.events, m.size = m.open[:0], m.events[:0], 0
	return nil
}

// render makes the line of an event. What stands for one record alone is as it would be if nothing was added up. The time
// of others is one from the first to the last record's, by the id of the segment: what Amberflo knows of its records' times
// is where they are, and many events of one time stamp could replace each other.
func (m *Merger) render(e *event) []byte {
	if e.records == 1 {
		m.out = append(append(m.out[:0], e.text...), "}\n"...)
		return m.out
	}
	id := e.text[e.idFrom:]
	at := e.first + int64(xxh3.HashSeed(id, m.seed)%uint64(e.last-e.first+1))
	m.out = append(append(m.out[:0], e.text[:e.headEnd]...), ValueKey...)
	m.out = e.amount.Append(m.out)
	m.out = strconv.AppendInt(append(m.out, TimeKey...), at, 10)
	m.out = append(append(m.out, IDKey...), id...)
	m.out = AppendMembers(m.out, e.records, e.first, e.last)
	return m.out
}
