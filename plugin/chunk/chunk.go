// Package chunk reads what Fluent Bit hands to an output plugin: the msgpack of one chunk's log events, laid end to
// end. It is pure: it does no I/O, keeps nothing after a chunk and never writes to the bytes it is given.
//
// An event is [[time, metadata], record] since Fluent Bit 2.1 and [time, record] before. The time is an extension of
// type 0 (seconds and nanoseconds, two big-endian uint32), an integer or a float, all since 1970. The OpenTelemetry
// input puts its events in groups: a marker event with 0xFFFFFFFF seconds, whose record holds the resource and the
// scope, opens one, and one with 0xFFFFFFFE seconds closes it (flb_log_event.h, flb_log_event_decoder.c).
//
// A chunk ends in one of two ways, and the difference is what this package is for: at the last byte of an event, or in
// damage, which is a byte that cannot begin a msgpack value or a value that goes on beyond the chunk. Anything else,
// such as a number where an event should be, is well-formed: it is handed out as an event that says why it is none,
// and the walk goes on after it.
package chunk

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/tinylib/msgp/msgp"
)

// Event is one log event. Its slices alias the chunk, and it the reader: all of it is valid until the reader's next call
// of Next or Reset. It is read-only.
type Event struct {
	Seconds int64 // the event's own time since 1970
	Nanos   int64 // 0 to 999,999,999

	Raw      []byte // the whole event
	Metadata []byte // a msgpack map; nil in the old format
	Group    []byte // the record of the group's start marker, a msgpack map; nil outside of a group
	GroupRaw []byte // that whole start marker, so that an event can be set aside together with its group
	Record   []byte // a msgpack map

	// Malformed says why this is no log event ("" when it is one). Then only Raw and the group are set.
	Malformed string

	chunk  []byte
	fields []span
	found  uint64 // the bits of the first wanted keys that the record has
	reader *Reader
}

// Field returns the value of a wanted key of the record's top level, counted in the order of NewReader. It is empty if the
// record has no such key, or null there; of duplicates the last wins, as it does in Fluent Bit. It must not be called for
// what is malformed.
func (e *Event) Field(i int) []byte {
	if i < QuickFields && e.found>>i&1 == 0 {
		return nil
	}
	at := &e.fields[i]
	return e.chunk[at.from:at.to]
}

// Has tells if the record has one of the first QuickFields wanted keys, and not null there, by their bits: that of key i is 1<<i.
func (e *Event) Has(bits uint64) bool { return e.found&bits != 0 }

// AppendFields appends what Field returns of the wanted keys, and the null of msgpack for each that the record does not have. It
// may write beyond the length of what it returns.
func (e *Event) AppendFields(dst []byte, wanted []int) []byte {
	for {
		n := 0
		if dst, n = e.appendUsual(dst, wanted); n == len(wanted) {
			return dst
		}
		if v := e.Field(wanted[n]); len(v) > 0 {
			dst = append(dst, v...)
		} else {
			dst = append(dst, 0xc0)
		}
		wanted = wanted[n+1:]
	}
}

// appendUsual appends what Field returns of the first of wanted, up to one that the record does not have, that is beyond
// QuickFields, or whose value is long or near an end, and returns how many they are. It calls nothing, so that what it works with
// stays in registers.
func (e *Event) appendUsual(dst []byte, wanted []int) (out []byte, n int) {
	const most = 32
	size, room, last := len(dst), cap(dst)-most, len(e.chunk)-most
	to, from := unsafe.Pointer(unsafe.SliceData(dst)), unsafe.Pointer(unsafe.SliceData(e.chunk))
	fields := (*[QuickFields]span)(e.fields)
	for _, w := range wanted {
		i := uint(w)
		at := &fields[i%QuickFields]
		begin := at.from
		length := at.to - begin
		if i >= QuickFields || e.found>>i&1 == 0 || uint(length-1) >= most || begin > last || size > room {
			break
		}
		a, b := unsafe.Add(to, size), unsafe.Add(from, begin) // with what is behind it, which is cheaper than to look
		*(*[most / 2]byte)(a) = *(*[most / 2]byte)(b)
		*(*[most / 2]byte)(unsafe.Add(a, most/2)) = *(*[most / 2]byte)(unsafe.Add(b, most/2))
		size += length
		n++
	}
	return dst[:size], n
}

// GroupTorn tells if the group markers of the event's chunk do not belong together: a start without an end, or an end without
// a start, as filters leave them that move single events of a group, such as rewrite_tag. An event may then stand in
// the group of another. A start and a single event after it are whole: a start moves with the first event after it.
func (e *Event) GroupTorn() bool { return e.reader.groupsTorn() }

// GroupEnd is the marker that ends a group.
const GroupEnd = "\x92\x92\xd7\x00\xff\xff\xff\xfe\x00\x00\x00\x00\x80\x80"

const (
	groupStart = 0xFFFFFFFF
	groupEnd   = 0xFFFFFFFE
)

// Reader walks over the events of one chunk, in the shape of a bufio.Scanner:
//
//	for r.Next() {
//		use(r.Event())
//	}
//	if err := r.Err(); err != nil {
//		setAside(r.Rest())
//	}
//
// It does not allocate, and nesting of any depth costs it neither stack nor memory. It is not safe for concurrent use.
type Reader struct {
	chunk  []byte
	next   int // offset of the next event
	wanted []string
	fields []span      // where their values lie
	seen   [64]seenKey // the last at each position, counted round in longer records
	event  Event
	damage error

	groups, torn bool // torn is known; what is known
}

// NewReader returns a reader at the start of chunk, which it neither copies nor alters. wanted are the top-level keys whose
// values Event.Field gives, each once; the reader keeps it and does not change it.
func NewReader(chunk []byte, wanted []string) *Reader {
	r := &Reader{wanted: wanted, fields: make([]span, max(len(wanted), QuickFields))}
	for i := range r.seen {
		r.seen[i] = unseen
	}
	r.Reset(chunk)
	return r
}

// Reset puts the reader at the start of another chunk, keeping the wanted keys and all memory.
func (r *Reader) Reset(chunk []byte) {
	clear(r.fields)
	r.chunk, r.next, r.damage = chunk, 0, nil
	r.groups = false
	r.event = Event{chunk: chunk, fields: r.fields, reader: r}
}

// Event returns the event that Next found. It is valid until the next call of Next or Reset.
func (r *Reader) Event() *Event { return &r.event }

// Err returns nil after a clean end, and else where and why the chunk cannot be read any further. It has a meaning once Next
// has returned false.
func (r *Reader) Err() error { return r.damage }

// Rest returns the bytes that have not been read: after damage, everything from the event that contains it on.
func (r *Reader) Rest() []byte { return r.chunk[r.next:] }

// Next advances to the next event that is no group marker. It returns false at the end and at damage; Err tells which.
func (r *Reader) Next() bool {
	for r.damage == nil && r.next < len(r.chunk) {
		start := r.next
		end, marker := r.read(start)
		if end < 0 {
			r.damage = fmt.Errorf("read the event at byte %d: %s", start, cause(r.chunk, start, ^end))
			return false
		}
		r.next = end
		e := &r.event
		e.Raw = r.chunk[start:end]
		switch {
		case e.Malformed != "":
			return true
		case marker == groupStart:
			e.Group, e.GroupRaw = e.Record, e.Raw
		case marker == groupEnd:
			e.Group, e.GroupRaw = nil, nil
		default:
			return true
		}
	}
	return false
}

// read fills r.event from the event at start, except for Raw and the group. It returns the offset after the event, or
// where it is damaged the complement of the damage's offset, and the seconds of a group marker, 0 for all other events.
func (r *Reader) read(start int) (end int, marker uint32) {
	b, e := r.chunk, &r.event
	e.Malformed, e.Metadata, e.Record = "", nil, nil

	p, metadata, why := start+12, true, ""
	// Fluent Bit's own encoder begins every event with the same four bytes: an array of two, an array of two, fixext 8
	// of type 0.
	if len(b)-start >= 12 && binary.BigEndian.Uint32(b[start:]) == 0x9292d700 {
		marker, why = r.setTime(b[start+4:])
	} else {
		p, metadata, marker, why = r.readHead(start)
	}
	if why != "" {
		return r.malformed(start, why), 0
	}
	if metadata {
		if !isMap(b, p) {
			return r.malformed(start, "want metadata that is a map"), marker
		}
		from := p
		if b[p] == 0x80 { // empty, as most are, and below as Fluent Bit writes it
			p++
		} else if len(b)-p > 5 && b[p] == 0xdf && binary.BigEndian.Uint32(b[p+1:]) == 0 {
			p += 5
		} else if p = skip(b, p, 1); p < 0 {
			return p, marker
		}
		e.Metadata = b[from:p]
	}
	if !isMap(b, p) {
		return r.malformed(start, "want a record that is a map"), marker
	}
	if end = r.readRecord(p); end < 0 {
		return end, marker
	}
	e.Record = b[p:end]
	return end, marker
}

// readHead reads what stands before the maps of the event at start, and returns where they begin, whether the first of them
// is metadata, and as read does the marker; or why this is no event.
func (r *Reader) readHead(start int) (p int, metadata bool, marker uint32, why string) {
	p, n := arrayHeader(r.chunk, start)
	if n != 2 {
		return p, false, 0, "want an array of time and record"
	}
	timeStart, headerLen := arrayHeader(r.chunk, p)
	if headerLen >= 0 && headerLen != 2 {
		return p, false, 0, "want a header of time and metadata"
	}
	p, why = r.readTime(timeStart, &marker)
	return p, headerLen == 2, marker, why
}

// malformed marks the event at start as none and returns the offset after it, or as skip does where it is damaged.
func (r *Reader) malformed(start int, why string) int {
	r.event.Malformed, r.event.Metadata = why, nil
	r.event.Seconds, r.event.Nanos = 0, 0
	return skip(r.chunk, start, 1)
}

// readTime reads the time at p into r.event and returns the offset after it, or why that is no time.
func (r *Reader) readTime(p int, marker *uint32) (end int, why string) {
	b, e := r.chunk[p:], &r.event
	switch msgp.NextType(b) {
	case msgp.ExtensionType:
		return r.readEventTime(p, marker)
	case msgp.IntType, msgp.UintType:
		n, rest, err := msgp.ReadInt64Bytes(b)
		if err != nil || n < 0 {
			return 0, "want a time of at least 0 seconds"
		}
		e.Seconds, e.Nanos = n, 0
		return len(r.chunk) - len(rest), ""
	case msgp.Float32Type, msgp.Float64Type:
		f, rest, err := msgp.ReadFloat64Bytes(b)
		if err != nil || !(f >= 0 && f < 1<<53) {
			return 0, "want a time of at least 0 seconds"
		}
		// A float64 near today's time is exact to a quarter of a microsecond: rounding gives back what was written.
		whole, fraction := math.Modf(f)
		e.Seconds, e.Nanos = int64(whole), int64(math.Round(fraction*1e6))*1000
		if e.Nanos == 1e9 {
			e.Seconds, e.Nanos = e.Seconds+1, 0
		}
		return len(r.chunk) - len(rest), ""
	}
	return 0, "want a time that is a number or Fluent Bit's extension type"
}

func (r *Reader) readEventTime(p int, marker *uint32) (end int, why string) {
	b := r.chunk
	switch {
	case len(b)-p >= 10 && b[p] == 0xd7 && b[p+1] == 0: // fixext 8, type 0
		p += 2
	case len(b)-p >= 11 && b[p] == 0xc7 && b[p+1] == 8 && b[p+2] == 0: // ext 8 of 8 bytes, type 0
		p += 3
	default:
		return 0, "want a time of Fluent Bit's extension type 0 with 8 bytes"
	}
	*marker, why = r.setTime(b[p:])
	return p + 8, why
}

// setTime takes the eight bytes of Fluent Bit's own time, which b begins with.
func (r *Reader) setTime(b []byte) (marker uint32, why string) {
	seconds, nanos := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if nanos >= 1e9 {
		return 0, "want a time with less than 1,000,000,000 nanoseconds"
	}
	if seconds >= groupEnd && nanos == 0 {
		marker = seconds
	}
	r.event.Seconds, r.event.Nanos = int64(seconds), int64(nanos)
	return marker, ""
}

// groupsTorn walks over the chunk, once, up to its end or damage.
func (r *Reader) groupsTorn() bool {
	if r.groups {
		return r.torn
	}
	r.groups, r.torn = true, false
	inside, events, starts := false, 0, 0
	for p := 0; p < len(r.chunk) && !r.torn; {
		end := skip(r.chunk, p, 1)
		if end < 0 {
			break
		}
		marker := uint32(0)
		if b := r.chunk[p:end]; len(b) >= 12 && binary.BigEndian.Uint32(b) == 0x9292d700 && binary.BigEndian.Uint32(b[8:]) == 0 {
			marker = binary.BigEndian.Uint32(b[4:])
		}
		switch marker {
		case groupStart:
			r.torn = inside
			inside = true
			starts++
		case groupEnd:
			r.torn = !inside
			inside = false
		default:
			events++
		}
		p = end
	}
	r.torn = r.torn || inside && (starts > 1 || events > 1)
	return r.torn
}
