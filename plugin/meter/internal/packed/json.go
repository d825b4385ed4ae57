// Package packed reads single values of msgpack: as strings, as numbers, and as JSON.
//
// What holds throughout: it is pure and safe for concurrent use; nothing allocates but AppendJSON and AppendExactJSON; slices
// that it returns alias what it was given; and no number goes through a float that was none before. It trusts no length: values
// may be damaged or nested to any depth.
package packed

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
	"unsafe"

	"github.com/tinylib/msgp/msgp"
	"github.com/ugorji/go/codec"

	"out_amberflo/plugin/chunk"
)

// plainASCII marks the bytes that stand in a JSON string as they are and are UTF-8 by themselves.
var plainASCII = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string in quotes. It returns ok false, and dst unchanged, if s is no UTF-8.
func AppendString(dst, s []byte) (out []byte, ok bool) {
	i := 0
	for i < len(s) && plainASCII[s[i]] {
		i++
	}
	if i == len(s) {
		// One growth and one copy: most of a line's strings come this way.
		start := len(dst)
		dst = slices.Grow(dst, len(s)+2)[:start+len(s)+2]
		dst[start] = '"'
		copy(dst[start+1:], s)
		dst[len(dst)-1] = '"'
		return dst, true
	}
	return appendEscaped(dst, s, i)
}

// appendEscaped is AppendString for a string whose first i bytes stand as they are.
func appendEscaped(dst, s []byte, i int) (out []byte, ok bool) {
	if !utf8.Valid(s[i:]) {
		return dst, false
	}
	dst = append(dst, '"')
	dst = append(dst, s[:i]...)
	for ; i < len(s); i++ {
		c := s[i]
		switch {
		case plainASCII[c]:
			dst = append(dst, c)
		case c >= utf8.RuneSelf:
			if size, escape := lineBreak(s[i:]); size > 0 {
				dst = append(dst, escape...)
				i += size - 1
			} else {
				dst = append(dst, c)
			}
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(dst, '"'), true
}

// lineBreaks are what some readers take for the end of a line, though JSON allows them in a string: NDJSON has one record a
// line.
var lineBreaks = []struct{ char, escape string }{{"\u0085", `\u0085`}, {"\u2028", `\u2028`}, {"\u2029", `\u2029`}}

// lineBreak returns the size of the line break that s begins with, and its escape; 0 if it begins with none.
func lineBreak(s []byte) (size int, escape string) {
	if s[0] == 0xc2 || s[0] == 0xe2 {
		for _, b := range lineBreaks {
			if bytes.HasPrefix(s, []byte(b.char)) {
				return len(b.char), b.escape
			}
		}
	}
	return 0, ""
}

// IsReadable tells if s is UTF-8 without control characters.
func IsReadable(s []byte) bool {
	return utf8.Valid(s) && bytes.IndexFunc(s, unicode.IsControl) < 0
}

// maxDepth bounds the nesting that AppendJSON renders. Fluent Bit's own parsers stop far below.
const maxDepth = 512

// orderedMap is a map as its keys and values in turn, which keeps their order and duplicates.
type orderedMap []any

// MapBySlice tells ugorji's codec to write it as a map.
func (orderedMap) MapBySlice() {}

// withoutDuplicates returns the map with the last of each key, in m's own memory. All keys are strings.
func (m orderedMap) withoutDuplicates() orderedMap {
	const few = 64
	var last map[any]int // beyond few, where looking at each pair would take too long
	if len(m) > few {
		last = make(map[any]int, len(m)/2)
		for i := 0; i < len(m); i += 2 {
			last[m[i]] = i
		}
	}
	kept := m[:0]
	for i := 0; i < len(m); i += 2 {
		again := last != nil && last[m[i]] != i
		for j := i + 2; last == nil && j < len(m) && !again; j += 2 {
			again = m[j] == m[i]
		}
		if !again {
			kept = append(kept, m[i], m[i+1])
		}
	}
	return kept
}

// encoder writes Go values as JSON.
type encoder struct {
	enc *codec.Encoder
	out []byte
}

var (
	jsonHandle = &codec.JsonHandle{HTMLCharsAsIs: true}
	encoders   = sync.Pool{New: func() any { return &encoder{enc: codec.NewEncoderBytes(nil, jsonHandle)} }}
)

// AppendJSON appends the one msgpack value that b holds as JSON, on one line, for people. Maps keep their order and
// duplicate keys, numbers their value to the last digit; keys become strings, those that are maps, lists or extensions the
// base64 of their msgpack.
// NaN and infinities, which JSON cannot say, become null; a byte that is no UTF-8 becomes U+FFFD; bytes (bin) become a
// string if people can read them as UTF-8, and lower-case hex if not; times become RFC 3339 and other extensions {"type":n,"data":base64}.
// It returns an error, and dst unchanged, for what is not one whole value or nests deeper than 512. It is safe for
// concurrent use and does not keep b.
func AppendJSON(dst, b []byte) ([]byte, error) { return appendJSON(dst, b, false) }

// AppendExactJSON is AppendJSON, but it also returns an error, ErrUTF8 or that a number is not finite, for what it would have to
// replace; and of duplicate keys the last wins, in its place.
func AppendExactJSON(dst, b []byte) ([]byte, error) { return appendJSON(dst, b, true) }

func appendJSON(dst, b []byte, exact bool) ([]byte, error) {
	if size := chunk.Skip(b); size != len(b) {
		return dst, fmt.Errorf("render %d bytes of msgpack as JSON: they are not one whole value", len(b))
	}
	v, _, err := decode(b, 0, exact)
	if err != nil {
		return dst, fmt.Errorf("render %d bytes of msgpack as JSON: %w", len(b), err)
	}
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	e.enc.ResetBytes(&e.out)
	if err := e.enc.Encode(v); err != nil {
		return dst, fmt.Errorf("render %d bytes of msgpack as JSON: %w", len(b), err)
	}
	out := e.out
	for _, b := range lineBreaks { // in JSON, such a character can only be in a string
		if bytes.Contains(out, []byte(b.char)) {
			out = bytes.ReplaceAll(out, []byte(b.char), []byte(b.escape))
		}
	}
	return append(dst, out...), nil
}

var (
	errDepth  = errors.New("it nests deeper than 512")
	ErrUTF8   = errors.New("a string in it is no UTF-8")
	errFinite = errors.New("a number in it is not finite")
)

// decode returns the value that b begins with, which is well-formed, in Go types that the encoder writes as AppendJSON
// promises. The strings in it alias b.
func decode(b []byte, depth int, exact bool) (v any, rest []byte, err error) {
	if depth > maxDepth {
		return nil, nil, errDepth
	}
	switch msgp.NextType(b) {
	case msgp.NilType:
		return nil, b[1:], nil
	case msgp.BoolType:
		return msgp.ReadBoolBytes(b)
	case msgp.IntType:
		return msgp.ReadInt64Bytes(b)
	case msgp.UintType:
		return msgp.ReadUint64Bytes(b)
	case msgp.Float32Type, msgp.Float64Type:
		if f, _, _ := msgp.ReadFloat64Bytes(b); exact && (math.IsNaN(f) || math.IsInf(f, 0)) {
			return nil, nil, errFinite
		}
		if b[0] == 0xca { // its own shortest string
			return msgp.ReadFloat32Bytes(b)
		}
		return msgp.ReadFloat64Bytes(b)
	case msgp.StrType:
		s, rest, err := msgp.ReadStringZC(b)
		if exact && !utf8.Valid(s) {
			return nil, nil, ErrUTF8
		}
		return unsafe.String(unsafe.SliceData(s), len(s)), rest, err
	case msgp.BinType:
		data, rest, err := msgp.ReadBytesZC(b)
		if IsReadable(data) {
			return string(data), rest, err
		}
		return hex.EncodeToString(data), rest, err
	case msgp.ArrayType:
		n, rest, err := msgp.ReadArrayHeaderBytes(b)
		list := make([]any, n)
		for i := range list {
			if err == nil {
				list[i], rest, err = decode(rest, depth+1, exact)
			}
		}
		return list, rest, err
	case msgp.MapType:
		n, rest, err := msgp.ReadMapHeaderBytes(b)
		m := make(orderedMap, 2*int(n))
		for i := 0; i < len(m) && err == nil; i += 2 {
			if m[i], rest, err = decodeKey(rest, exact); err == nil {
				m[i+1], rest, err = decode(rest, depth+1, exact)
			}
		}
		if exact && err == nil {
			m = m.withoutDuplicates()
		}
		return m, rest, err
	}
	size := chunk.Skip(b)
	return extension(b[:size]), b[size:], nil
}

// decodeKey returns the key of a map that b begins with as a string.
func decodeKey(b []byte, exact bool) (key string, rest []byte, err error) {
	switch msgp.NextType(b) {
	case msgp.StrType, msgp.BinType, msgp.NilType, msgp.BoolType, msgp.IntType, msgp.UintType, msgp.Float32Type, msgp.Float64Type:
		v, rest, err := decode(b, 0, exact)
		if s, is := v.(string); is || err != nil {
			return s, rest, err
		}
		var out []byte
		err = codec.NewEncoderBytes(&out, jsonHandle).Encode(v)
		return string(out), rest, err
	}
	// Not as the JSON of it: a map as the key of a map, and so on, would double the escapes with every level.
	size := chunk.Skip(b)
	return base64.StdEncoding.EncodeToString(b[:size]), b[size:], nil
}

// extension renders the extension b: a lead byte, for ext 8, 16 and 32 a length, the type, the data.
func extension(b []byte) any {
	head := 1
	switch b[0] {
	case 0xc7:
		head = 2
	case 0xc8:
		head = 3
	case 0xc9:
		head = 5
	}
	kind, data := int8(b[head]), b[head+1:]
	t := time.Time{}
	switch {
	case kind == 0 && len(data) == 8: // Fluent Bit's event time
		t = time.Unix(int64(binary.BigEndian.Uint32(data)), int64(binary.BigEndian.Uint32(data[4:])))
	case kind == -1: // msgpack's own
		t, _, _ = msgp.ReadTimeBytes(b)
	}
	if t = t.UTC(); t.Year() > 1 && t.Year() <= 9999 {
		return t.Format(time.RFC3339Nano)
	}
	return orderedMap{"type", kind, "data", base64.StdEncoding.EncodeToString(data)}
}
