package tally

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
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

	events events
	size   int // of what is held, about

	key        []byte        // of a line, as it stands: the bucket, and then customer, meter and dimensions
	canonical  []byte        // the same with its dimensions sorted, if they are not
	bucket     time.Duration // whose number key begins with, in so many bytes, and what times are in it
	inKey      int
	from, last int64
	dimensions []dimension
	id         []byte // of an event
	out        []byte
}

// dimension is one as it stands, in quotes.
type dimension struct{ name, value []byte }

// The bounds of a new Merger. 20,000 keys of an access log take 3 MB.
const (
	MaxKeys  = 20_000
	MaxBytes = 8 << 20
)

// NewMerger returns one for a segment with an id. emit is called for each line that comes out, with its line feed, and how
// many records it stands for; it must not keep the line. An error of it ends the call that made it, and the Merger with it.
func NewMerger(id [16]byte, emit func(line []byte, records int64) error) *Merger {
	return &Merger{MaxKeys: MaxKeys, MaxBytes: MaxBytes, emit: emit, seed: xxh3.Hash(id[:]), events: newEvents()}
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
	amount, short, ok := readAmount(l.value)
	if !ok { // an event by itself
		if l.records == 1 {
			m.out = append(append(m.out[:0], l.plain...), "}\n"...)
			return m.emit(m.out, 1)
		}
		return m.emit(b, l.records)
	}
	e, slot, hash := m.find(&l)
	if e != nil {
		if sum, ok := e.amount.Add(amount); ok {
			e.amount = sum
			e.add(&l)
			return nil
		}
	}
	written := l.value
	if short || l.records > 1 {
		written = nil
	}
	prefix, number, id := m.events.cutID(l.id)
	size := eventSize + len(m.key) + len(written) + len(id)
	if m.events.n > 0 && (m.events.n >= m.MaxKeys || m.size+size > m.MaxBytes) {
		if err := m.release(); err != nil {
			return err
		}
		prefix, number, id = m.events.cutID(l.id)
		_, slot, hash = m.find(&l)
	}
	m.size += size
	e = m.events.add(slot, hash)
	e.text = m.events.texts.keep(m.key, written, id)
	e.key, e.end = uint32(len(m.key)), uint32(len(m.key)+len(written)+len(id))
	e.prefix, e.number = prefix, number
	if id != nil {
		e.number = uint32(len(m.key) + len(written))
	}
	e.amount, e.records = amount, l.records
	e.first, e.at, e.span = l.first, uint32(l.millis-l.first), uint32(l.last-l.first)
	return nil
}

// readAmount reads the value of a line, and tells if it is surely written as the amount would be.
func readAmount(value []byte) (a Amount, short, ok bool) {
	if n, digits := readDigits(value); digits == len(value) && digits > 0 && digits < 16 && (value[0] != '0' || digits == 1) {
		a, ok = Int(n)
		return a, ok, ok
	}
	a, ok = Parse(value)
	return a, false, ok
}

// makeKey makes the key of a line, or returns false if it has none: its records are of several buckets, or two of its
// dimensions have one name.
func (m *Merger) makeKey(bucket time.Duration, l *line) bool {
	if l.first < m.from || l.last > m.last || bucket != m.bucket || bucket == 0 {
		width := bucket.Milliseconds()
		if width <= 0 || width > maxWidth || l.first/width != l.last/width {
			return false
		}
		m.key = binary.AppendUvarint(m.key[:0], uint64(width))
		m.key = binary.AppendUvarint(m.key, uint64(l.first/width))
		m.bucket, m.inKey = bucket, len(m.key)
		m.from = l.first / width * width
		m.last = m.from + width - 1
	}
	m.key = append(append(append(m.key[:m.inKey], l.customer...), l.meter...), l.dimensions...)
	if !l.sorted && len(l.dimensions) > 0 {
		m.canonical = m.sorted(m.canonical[:0], m.key)
		for i := 1; i < len(m.dimensions); i++ {
			if bytes.Equal(m.dimensions[i-1].name, m.dimensions[i].name) { // which of them counts, readers do not agree on
				return false
			}
		}
	}
	return true
}

// maxWidth is that of a bucket in which an event can say by 32 bits when a record of it was. A segment can hold no other.
const maxWidth = 1<<32 - 1

// sorted appends a key with its dimensions, which stay in m.dimensions, in the order of their names.
func (m *Merger) sorted(dst, key []byte) []byte {
	_, _, dimensions := cutKey(key)
	dst = append(dst, key[:len(key)-len(dimensions)]...)
	m.dimensions = m.dimensions[:0]
	for name, value := range Dimensions(dimensions) {
		m.dimensions = append(m.dimensions, dimension{name, value})
	}
	slices.SortFunc(m.dimensions, func(a, b dimension) int { return bytes.Compare(a.name, b.name) })
	for i, d := range m.dimensions {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, d.name...), ':'), d.value...)
	}
	return dst
}

// cutKey takes a key apart.
func cutKey(key []byte) (customer, meter, dimensions []byte) {
	for range 2 {
		_, n := binary.Uvarint(key)
		key = key[n:]
	}
	n := stringSize(key)
	customer, key = key[:n], key[n:]
	n = stringSize(key)
	return customer, key[:n], key[n:]
}

// find returns the event that a line with m.key adds to, nil if there is none, and for events.add where and how it is found.
func (m *Merger) find(l *line) (e *event, slot int, hash uint32) {
	canonical := m.key
	if !l.sorted && len(l.dimensions) > 0 {
		canonical = m.canonical
	}
	x := &m.events
	hash = uint32(maphash.Bytes(x.seed, canonical))
	for slot = x.home(hash); ; slot = x.after(slot) {
		if e = x.in(slot); e == nil {
			return nil, slot, hash
		}
		if e.hash != hash || int(e.key) != len(m.key) {
			continue
		}
		key := x.texts.get(e.text, e.key)
		if bytes.Equal(key, m.key) {
			return e, slot, hash
		}
		m.out = m.sorted(m.out[:0], key) // the order of dimensions does not matter
		if bytes.Equal(m.out, canonical) {
			return e, slot, hash
		}
	}
}

// release emits all events and forgets them.
func (m *Merger) release() error {
	for i := range m.events.n {
		e := m.events.at(i)
		if err := m.emit(m.render(e), e.records); err != nil {
			return err
		}
	}
	m.events.reset()
	m.size = 0
	return nil
}

// render makes the line of an event. What stands for one record alone is as it would be if nothing was added up. The time
// of others is one from the first to the last record's, by the id of the segment: what Amberflo knows of its records' times
// is where they are, and many events of one time stamp could replace each other.
func (m *Merger) render(e *event) []byte {
	text := m.events.texts.get(e.text, e.end)
	customer, meter, dimensions := cutKey(text[:e.key])
	m.out = append(append(m.out[:0], CustomerKey...), customer...)
	m.out = append(append(m.out, MeterKey...), meter...)
	if len(dimensions) > 0 {
		m.out = append(append(append(m.out, DimensionsKey...), dimensions...), '}')
	}
	m.out = append(m.out, ValueKey...)
	written := text[e.key:]
	if e.prefix == wholeID {
		written = text[e.key:e.number]
	}
	if len(written) > 0 && e.records == 1 {
		m.out = append(m.out, written...)
	} else {
		m.out = e.amount.Append(m.out)
	}
	m.id = m.events.appendID(m.id[:0], e, text)
	at := e.first + int64(e.at)
	if e.records > 1 {
		at = e.first + int64(xxh3.HashSeed(m.id, m.seed)%(uint64(e.span)+1))
	}
	m.out = strconv.AppendInt(append(m.out, TimeKey...), at, 10)
	m.out = append(append(m.out, IDKey...), m.id...)
	if e.records == 1 {
		m.out = append(m.out, "}\n"...)
		return m.out
	}
	m.out = AppendMembers(m.out, e.records, e.first, e.first+int64(e.span))
	return m.out
}
