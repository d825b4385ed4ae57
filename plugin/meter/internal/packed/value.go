package packed

import (
	"encoding/binary"
	"iter"

	"github.com/tinylib/msgp/msgp"

	"out_amberflo/plugin/chunk"
)

// Lead bytes of values that are nothing else.
const (
	Nil   = 0xc0
	False = 0xc2
	True  = 0xc3
)

// ReadString returns the string (or bytes) that b begins with and its size in msgpack, 0 when b begins with something else.
func ReadString(b []byte) (s []byte, size int) {
	if len(b) == 0 {
		return nil, 0
	}
	if n := int(b[0]^0xa0) + 1; n <= 0x20 && n <= len(b) { // fixstr, as most are
		return b[1:n], n
	}
	var rest []byte
	var err error
	switch msgp.NextType(b) {
	case msgp.StrType:
		s, rest, err = msgp.ReadStringZC(b)
	case msgp.BinType:
		s, rest, err = msgp.ReadBytesZC(b)
	default:
		return nil, 0
	}
	if err != nil {
		return nil, 0
	}
	return s, len(b) - len(rest)
}

// Small returns the number that v, one whole value, is, if that is an unsigned integer of at most 32 bits.
func Small(v []byte) (n uint32, ok bool) {
	switch {
	case len(v) == 1:
		return uint32(v[0]), v[0] < 0x80
	case len(v) == 2 && v[0] == 0xcc:
		return uint32(v[1]), true
	case len(v) == 3 && v[0] == 0xcd:
		return uint32(v[1])<<8 | uint32(v[2]), true
	case len(v) == 5 && v[0] == 0xce:
		return binary.BigEndian.Uint32(v[1:]), true
	}
	return 0, false
}

// Scalar returns the string that v is, or a number or boolean as it is written, which it appends to buf. It returns ok false for
// all else, also for what is no finite number.
func Scalar(buf, v []byte) (s []byte, ok bool) {
	if s, size := ReadString(v); size > 0 {
		return s, true
	}
	switch {
	case len(v) == 0:
		return nil, false
	case v[0] == True:
		return append(buf, "true"...), true
	case v[0] == False:
		return append(buf, "false"...), true
	}
	return AppendNumber(buf, v)
}

// Members yields the keys and values of the map v, each in msgpack. What is no map has none, and a damaged one those before the
// damage.
func Members(v []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		if len(v) == 0 || msgp.NextType(v) != msgp.MapType {
			return
		}
		n, b, err := msgp.ReadMapHeaderBytes(v)
		for ; err == nil && n > 0; n-- {
			key := chunk.Skip(b)
			if key < 0 {
				return
			}
			end := key + chunk.Skip(b[key:])
			if end < key || !yield(b[:key], b[key:end]) {
				return
			}
			b = b[end:]
		}
	}
}

// Items yields the items of the list v in msgpack, as Members does those of a map.
func Items(v []byte) iter.Seq[[]byte] {
	return func(yield func(item []byte) bool) {
		if !IsList(v) {
			return
		}
		n, b, err := msgp.ReadArrayHeaderBytes(v)
		for ; err == nil && n > 0; n-- {
			end := chunk.Skip(b)
			if end < 0 || !yield(b[:end]) {
				return
			}
			b = b[end:]
		}
	}
}

// IsList tells if v is a list.
func IsList(v []byte) bool { return len(v) > 0 && msgp.NextType(v) == msgp.ArrayType }

// Member returns the last value of key in the map v, nil when there is none or v is no map.
func Member(v []byte, key string) (found []byte) {
	for k, value := range Members(v) {
		if name, size := ReadString(k); size > 0 && string(name) == key {
			found = value
		}
	}
	return found
}

// Item returns the i-th item of the list v, nil when there is none or v is no list.
func Item(v []byte, i int) []byte {
	for item := range Items(v) {
		if i == 0 {
			return item
		}
		i--
	}
	return nil
}
