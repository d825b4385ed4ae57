package chunk

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"unsafe"

	"github.com/tinylib/msgp/msgp"
)

// span is where a value lies in the chunk; an absent value has length 0.
type span struct{ from, to int }

// QuickFields is how many of the wanted keys have a bit that says if the record has them, for Event.Has; of the others, the span
// is empty where it has not.
const QuickFields = 64

// seenKey is a key that an earlier record had: records from one source have the same keys in the same order, and a key
// that is the same as last time is known by its first eight bytes, which hold its length, and a wanted one by all of its bytes.
// The size of a seenKey is a power of two.
type seenKey struct {
	head, mask uint64 // of its first eight bytes, those that mask has are head
	tail       uint64 // its last eight bytes, of a wanted one of 9 to 16
	hasTail    int    // 1 or 0
	size       int    // of the key in msgpack
	need       int    // how many bytes there have to be from the key on: eight, or it and one of its value, or more than there are
	field      int    // of the wanted keys, or -1: no wanted key has this length and these first bytes
	_          int
}

// unseen is equal to no key.
var unseen = seenKey{head: 1, need: 8}

// unusual is what those keys need that readKey alone knows: wanted ones of more than sixteen bytes in msgpack, or beyond
// QuickFields.
const unusual = math.MaxInt

// load returns the eight bytes at p, which have to be there, as a number that is the same for the same bytes.
func load(b unsafe.Pointer, p int) uint64 { return *(*uint64)(unsafe.Add(b, p)) }

// readRecord walks over the map at p once: it finds the map's end and the values of the wanted keys. It returns the
// offset after the map, or as skip does where it is damaged.
func (r *Reader) readRecord(p int) int {
	b := r.chunk
	r.event.found = 0
	clear(r.fields[QuickFields:])
	n := 0
	if b[p]&0xf0 == 0x80 { // as Fluent Bit writes a small one
		n = int(b[p] & 0x0f)
		p++
	} else if len(b)-p > 4 && b[p] == 0xdf { // and one whose size it does not know yet
		n = int(binary.BigEndian.Uint32(b[p+1:]))
		p += 5
	} else {
		count, rest, err := msgp.ReadMapHeaderBytes(b[p:])
		if err != nil {
			return ^p
		}
		n, p = int(count), len(b)-len(rest)
	}
	for i := 0; ; i++ {
		value := 0
		if i, p, value = r.readUsual(i, n, p); i == n {
			return p
		}
		k := &r.seen[i%len(r.seen)]
		field := k.field
		if value == 0 {
			if value, field = r.readKey(p, k); value < 0 {
				return value
			}
		}
		if p = skip(b, value, 1); p < 0 {
			return p
		}
		if p > len(b) {
			return ^len(b)
		}
		if field < 0 {
			continue
		}
		if b[value] == 0xc0 { // null is as good as absent
			value = p
		}
		r.fields[field] = span{value, p}
		if field >= QuickFields {
			continue
		}
		if r.event.found |= 1 << field; value == p {
			r.event.found &^= 1 << field
		}
	}
}

// readUsual reads the i-th of n pairs, which is at p, and those after it, up to the first whose key is not the one that was seen
// there, or whose value is of no kind that most are of. It returns that one's number and place, and the place of its value, 0
// where the key is another one. It calls nothing and slices nothing: what it works with stays in registers. It reads no byte
// beyond the chunk, by seenKey.need and what it asks of each value.
func (r *Reader) readUsual(i, n, p int) (number, at, value int) {
	b, size := unsafe.Pointer(unsafe.SliceData(r.chunk)), len(r.chunk)
	fields, found := (*[QuickFields]span)(r.fields), r.event.found
	for ; i < n; i++ {
		k := &r.seen[uint(i)%uint(len(r.seen))]
		if p > size-k.need || load(b, p)&k.mask != k.head {
			break
		}
		from := p + k.size
		if k.hasTail != 0 && load(b, from-8) != k.tail {
			break
		}
		lead := *(*byte)(unsafe.Add(b, from))
		to := from + int(sizes[lead])
		if to == from {
			if lead != 0xd9 || from+1 >= size { // a string of up to 255 bytes: most of the others
				value = from
				break
			}
			to = from + 2 + int(*(*byte)(unsafe.Add(b, from+1)))
		}
		if to > size {
			value = from
			break
		}
		p = to
		if field := uint(k.field); field < QuickFields {
			fields[field%QuickFields] = span{from, to}
			if found |= 1 << (field % QuickFields); lead == 0xc0 { // null is as good as absent
				found &^= 1 << (field % QuickFields)
			}
		}
	}
	r.event.found = found
	return i, p, value
}

// readKey reads the key at p and remembers it in seen. It returns the offset of its value, or as skip does where it is
// damaged, and which of the wanted keys it is, or -1.
func (r *Reader) readKey(p int, seen *seenKey) (value, field int) {
	b := r.chunk
	if seen.need == unusual && len(b)-p > max(8, seen.size) && load(unsafe.Pointer(&b[p]), 0)&seen.mask == seen.head {
		if name := r.wanted[seen.field]; seen.size <= 8 || string(b[p+8:p+seen.size]) == name[len(name)-(seen.size-8):] {
			return p + seen.size, seen.field
		}
	}
	*seen = unseen
	value = skip(b, p, 1)
	if value < 0 {
		return value, -1
	}
	if value > len(b) {
		return ^len(b), -1
	}
	name, _, err := msgp.ReadMapKeyZC(b[p:value])
	if err != nil { // neither a string nor bytes: it matches nothing
		return value, -1
	}
	field = slices.Index(r.wanted, unsafe.String(unsafe.SliceData(name), len(name)))
	if len(b)-p < 8 {
		return value, field
	}
	size := value - p
	k := seenKey{size: size, need: max(8, size+1), field: field}
	var mask [8]byte
	for i := range min(8, size) {
		mask[i] = 0xff
	}
	switch {
	case field >= QuickFields || field >= 0 && size > 16:
		k.need = unusual
	case size <= 8:
	case field >= 0:
		k.hasTail, k.tail = 1, load(unsafe.Pointer(&b[value-8]), 0)
	default:
		begin := string(name[:8-(size-len(name))])
		for _, other := range r.wanted {
			if len(other) == len(name) && strings.HasPrefix(other, begin) {
				return value, field // eight bytes do not tell
			}
		}
	}
	k.mask = load(unsafe.Pointer(&mask), 0)
	k.head = load(unsafe.Pointer(&b[p]), 0) & k.mask
	*seen = k
	return value, field
}

// head says what a lead byte begins: a value of size bytes, lead byte included, which is followed by items values that
// belong to it. Where extra is not 0, that many bytes after the lead byte hold a length: more bytes, or for
// containers more items. A size of 0 marks 0xc1, which begins nothing.
type head struct{ size, items, extra, perCount uint8 }

// heads is the table of https://github.com/msgpack/msgpack/blob/master/spec.md#formats.
var heads = func() (t [256]head) {
	for lead := range t {
		switch {
		case lead <= 0x7f || lead >= 0xe0: // fixint
			t[lead] = head{size: 1}
		case lead <= 0x8f: // fixmap
			t[lead] = head{size: 1, items: 2 * uint8(lead&0x0f)}
		case lead <= 0x9f: // fixarray
			t[lead] = head{size: 1, items: uint8(lead & 0x0f)}
		case lead <= 0xbf: // fixstr
			t[lead] = head{size: 1 + uint8(lead&0x1f)}
		}
	}
	t[0xc0], t[0xc2], t[0xc3] = head{size: 1}, head{size: 1}, head{size: 1} // nil, false, true
	for i, n := range []uint8{1, 2, 4} {
		t[0xc4+i] = head{size: 1 + n, extra: n} // bin
		t[0xc7+i] = head{size: 2 + n, extra: n} // ext
		t[0xd9+i] = head{size: 1 + n, extra: n} // str
	}
	t[0xca], t[0xcb] = head{size: 5}, head{size: 9} // float
	for i, n := range []uint8{1, 2, 4, 8} {
		t[0xcc+i], t[0xd0+i] = head{size: 1 + n}, head{size: 1 + n} // uint, int
	}
	for i, n := range []uint8{1, 2, 4, 8, 16} {
		t[0xd4+i] = head{size: 2 + n} // fixext
	}
	for i, n := range []uint8{2, 4} {
		t[0xdc+i] = head{size: 1 + n, extra: n, perCount: 1} // array
		t[0xde+i] = head{size: 1 + n, extra: n, perCount: 2} // map
	}
	return t
}()

// sizes holds the sizes of the values that are no longer than their head; 0 stands for all others.
var sizes = func() (t [256]uint8) {
	for lead, h := range heads {
		if h.items == 0 && h.extra == 0 {
			t[lead] = h.size
		}
	}
	return t
}()

// skip returns the offset after the n values that begin at p, or where they are damaged the complement (^) of the
// damage's offset, which is negative. It counts what is still to come instead of recursing, so depth costs nothing.
func skip(b []byte, p, n int) int {
	for n > 0 {
		if p >= len(b) {
			return ^len(b)
		}
		h := heads[b[p]]
		at := p
		p += int(h.size)
		n += int(h.items) - 1
		if h.extra != 0 {
			if p > len(b) {
				return ^len(b)
			}
			count := 0
			for _, c := range b[at+1 : at+1+int(h.extra)] {
				count = count<<8 | int(c)
			}
			if h.perCount == 0 {
				p += count
			} else {
				n += int(h.perCount) * count
			}
		} else if h.size == 0 {
			return ^at
		}
		// Each value takes a byte at least: this ends the walk over a header that promises billions.
		if n > len(b)-p {
			return ^len(b)
		}
	}
	return p
}

// cause describes the damage at offset at of the event at start.
func cause(b []byte, start, at int) string {
	if at < len(b) && b[at] == 0xc1 {
		return fmt.Sprintf("byte 0xc1 at %d begins no msgpack value", at)
	}
	return fmt.Sprintf("it breaks off after %d bytes", len(b)-start)
}

// Skip returns the offset after the one value that b begins with, negative when it is damaged. Depth costs nothing.
func Skip(b []byte) int {
	if len(b) > 0 {
		if size := int(sizes[b[0]]); size != 0 && size <= len(b) { // as most are
			return size
		}
	}
	return skip(b, 0, 1)
}

func isMap(b []byte, p int) bool {
	return p < len(b) && (b[p]&0xf0 == 0x80 || b[p] == 0xde || b[p] == 0xdf)
}

// arrayHeader reads the array header at p. Where there is none, or not all of it, it returns p and -1.
func arrayHeader(b []byte, p int) (end, n int) {
	if p < len(b) && b[p]&0xf0 == 0x90 {
		return p + 1, int(b[p] & 0x0f)
	}
	if p < len(b) && (b[p] == 0xdc || b[p] == 0xdd) {
		if n, rest, err := msgp.ReadArrayHeaderBytes(b[p:]); err == nil {
			return len(b) - len(rest), int(n)
		}
	}
	return p, -1
}
