package chunk

import (
	"encoding/binary"
	"fmt"

	"github.com/tinylib/msgp/msgp"
)

// Keys is the set of top-level keys whose values a Reader hands out. It is immutable and safe for concurrent use.
type Keys struct {
	names []string
	// lengths has bit n set when a key of n bytes is wanted (63 stands for all longer ones), so that most of a
	// record's keys cost one shift and one test.
	lengths uint64
	byLen   [64][]wantedKey
}

type wantedKey struct {
	first uint64 // the first eight bytes, as word reads them
	field int
}

// NewKeys returns the set of names, each of which is to occur once. Event.Fields has their order.
func NewKeys(names ...string) *Keys {
	k := &Keys{names: names}
	for i, name := range names {
		n := min(len(name), 63)
		k.lengths |= 1 << n
		k.byLen[n] = append(k.byLen[n], wantedKey{first: word([]byte(name), 0, len(name)), field: i})
	}
	return k
}

// word returns the first eight of the n bytes at p, filled up with zeros, as one number: two keys of up to eight bytes
// are compared by one instruction that way.
func word(b []byte, p, n int) uint64 {
	if n >= 8 {
		return binary.LittleEndian.Uint64(b[p:])
	}
	if p+8 <= len(b) {
		return binary.LittleEndian.Uint64(b[p:]) & (1<<(8*n) - 1)
	}
	var first [8]byte
	copy(first[:], b[p:p+n])
	return binary.LittleEndian.Uint64(first[:])
}

// Len returns the number of keys.
func (k *Keys) Len() int { return len(k.names) }

// readRecord walks over the map at p once: it finds the map's end and the values of the wanted keys. It returns the
// offset behind the map, or as skip does where it is damaged.
func (r *Reader) readRecord(p int) int {
	b, wanted, fields := r.chunk, r.wanted, r.fields
	clear(fields)
	n, rest, err := msgp.ReadMapHeaderBytes(b[p:])
	if err != nil {
		return ^p
	}
	p = len(b) - len(rest)
	for ; n > 0; n-- {
		if p >= len(b) {
			return ^p
		}
		var keyLen int
		switch lead := b[p]; {
		case lead&0xe0 == 0xa0:
			keyLen, p = int(lead&0x1f), p+1
		case (lead == 0xd9 || lead == 0xc4) && p+1 < len(b):
			keyLen, p = int(b[p+1]), p+2
		case (lead == 0xda || lead == 0xc5) && p+2 < len(b):
			keyLen, p = int(binary.BigEndian.Uint16(b[p+1:])), p+3
		case (lead == 0xdb || lead == 0xc6) && p+4 < len(b):
			keyLen, p = int(binary.BigEndian.Uint32(b[p+1:])), p+5
		default:
			// A key that is no text matches nothing.
			if p = skip(b, p, 2); p < 0 {
				return p
			}
			continue
		}
		value := p + keyLen
		if value >= len(b) {
			return ^len(b)
		}
		key := p
		// What skip does too, without its call and loop for the values of most records: short texts, small numbers, texts
		// of up to 255 bytes.
		switch lead := b[value]; {
		case lead&0xe0 == 0xa0:
			p = value + 1 + int(lead&0x1f)
		case lead < 0x80:
			p = value + 1
		case lead == 0xd9 && value+1 < len(b):
			p = value + 2 + int(b[value+1])
		default:
			if p = skip(b, value, 1); p < 0 {
				return p
			}
		}
		if p > len(b) {
			return ^len(b)
		}
		if slot := min(keyLen, 63); wanted.lengths>>slot&1 != 0 {
			first := word(b, key, keyLen)
			for _, k := range wanted.byLen[slot] {
				if k.first == first && (keyLen <= 8 || wanted.names[k.field] == string(b[key:value])) {
					fields[k.field] = b[value:p]
					break
				}
			}
		}
	}
	return p
}

// head says what a lead byte begins: a value of size bytes, lead byte included, which is followed by items values that
// belong to it. Where extra is not 0, that many bytes behind the lead byte hold a length: more bytes, or for
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

// skip returns the offset behind the n values that begin at p, or where they are damaged the complement (^) of the
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

// Skip returns the offset behind the one value that b begins with, negative when it is damaged. Depth costs nothing.
func Skip(b []byte) int { return skip(b, 0, 1) }

func isMap(b []byte, p int) bool {
	return p < len(b) && (b[p]&0xf0 == 0x80 || b[p] == 0xde || b[p] == 0xdf)
}

// arrayHeader reads the array header at p. Where there is none, or not all of it, it returns p and -1.
func arrayHeader(b []byte, p int) (behind, n int) {
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
