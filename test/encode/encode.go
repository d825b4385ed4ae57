// Package encode writes log events as Fluent Bit hands them to an output, for tests. It shares nothing with the product's
// readers and writers of msgpack.
package encode

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Record is a map whose keys keep their order: key, value, key, value. A map[string]any is written in the order of its keys.
type Record []any

// Raw is msgpack as it stands.
type Raw string

// Wide is a value of which every length and integer, also inside of it, is spelt as long as it may be. Without it the
// spelling is the shortest, as that of Fluent Bit.
type Wide struct{ Value any }

// GroupStart is the time of the marker that begins an OpenTelemetry group (flb_log_event.h).
var GroupStart = time.Unix(0xffffffff, 0)

// Event appends an event: [[time, metadata], record]. No metadata (nil) is an empty map.
func Event(b []byte, at time.Time, metadata, record any) []byte {
	if metadata == nil {
		metadata = Record{}
	}
	return Value(Value(Head(b, at), metadata), record)
}

// Head appends the beginning of an event, up to its time.
func Head(b []byte, at time.Time) []byte {
	b = binary.BigEndian.AppendUint32(append(b, 0x92, 0x92, 0xd7, 0), uint32(at.Unix()))
	return binary.BigEndian.AppendUint32(b, uint32(at.Nanosecond()))
}

// Frame appends a chunk in the form in which the bundled host reads it: its tag and its events, each behind its length.
func Frame(b []byte, tag string, chunk []byte) []byte {
	return append(FrameHead(b, tag, len(chunk)), chunk...)
}

// FrameHead appends what is in front of a chunk of so many bytes in its Frame.
func FrameHead(b []byte, tag string, bytes int) []byte {
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(tag))), tag...)
	return binary.BigEndian.AppendUint32(b, uint32(bytes))
}

// Value appends a value. It panics if there is no msgpack for its type.
func Value(b []byte, value any) []byte { return appendValue(b, value, false) }

func appendValue(b []byte, value any, wide bool) []byte {
	switch v := value.(type) {
	case nil:
		return append(b, 0xc0)
	case Raw:
		return append(b, v...)
	case Wide:
		return appendValue(b, v.Value, true)
	case bool:
		if v {
			return append(b, 0xc3)
		}
		return append(b, 0xc2)
	case int:
		return appendInt(b, int64(v), wide)
	case int64:
		return appendInt(b, v, wide)
	case uint64:
		if wide {
			return binary.BigEndian.AppendUint64(append(b, 0xcf), v)
		}
		return Uint(b, v)
	case float32:
		return binary.BigEndian.AppendUint32(append(b, 0xca), math.Float32bits(v))
	case float64:
		return Float(b, v)
	case json.Number:
		if n, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return appendValue(b, n, wide)
		}
		if n, err := v.Int64(); err == nil {
			return appendInt(b, n, wide)
		}
		f, err := v.Float64()
		if err != nil {
			panic(err)
		}
		return Float(b, f)
	case string:
		return appendString(b, v, wide)
	case []any:
		return appendItems(appendLength(b, len(v), wide, 0x90, 15, 0, 0xdc, 0xdd), v, wide)
	case Record:
		return appendItems(appendLength(b, len(v)/2, wide, 0x80, 15, 0, 0xde, 0xdf), v, wide)
	case map[string]any:
		var r Record
		for _, key := range slices.Sorted(maps.Keys(v)) {
			r = append(r, key, v[key])
		}
		return appendValue(b, r, wide)
	}
	panic(fmt.Sprintf("no msgpack for %T", value))
}

func appendItems(b []byte, items []any, wide bool) []byte {
	for _, item := range items {
		b = appendValue(b, item, wide)
	}
	return b
}

// appendLength appends the beginning of a value of n bytes or items. A code of 0 is one that its type does not have.
func appendLength(b []byte, n int, wide bool, fix byte, fixed int, code8, code16, code32 byte) []byte {
	switch {
	case wide || n > math.MaxUint16:
		return binary.BigEndian.AppendUint32(append(b, code32), uint32(n))
	case n <= fixed:
		return append(b, fix|byte(n))
	case code8 != 0 && n <= math.MaxUint8:
		return append(b, code8, byte(n))
	default:
		return binary.BigEndian.AppendUint16(append(b, code16), uint16(n))
	}
}

func appendInt(b []byte, n int64, wide bool) []byte {
	switch {
	case wide || n < math.MinInt32:
		return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(n))
	case n >= 0:
		return Uint(b, uint64(n))
	case n >= -32:
		return append(b, byte(n))
	case n >= math.MinInt8:
		return append(b, 0xd0, byte(n))
	case n >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(b, 0xd1), uint16(n))
	default:
		return binary.BigEndian.AppendUint32(append(b, 0xd2), uint32(n))
	}
}

// String appends a string.
func String[T string | []byte](b []byte, s T) []byte { return appendString(b, s, false) }

func appendString[T string | []byte](b []byte, s T, wide bool) []byte {
	return append(appendLength(b, len(s), wide, 0xa0, 31, 0xd9, 0xda, 0xdb), s...)
}

// Uint appends a whole number.
func Uint(b []byte, n uint64) []byte {
	switch {
	case n <= math.MaxInt8:
		return append(b, byte(n))
	case n <= math.MaxUint8:
		return append(b, 0xcc, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(n))
	default:
		return binary.BigEndian.AppendUint64(append(b, 0xcf), n)
	}
}

// Float appends a double.
func Float(b []byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(f))
}

// JSON reads a text as a value, with the keys of objects in their order. A string that begins with "msgpack:" stands for the
// bytes behind it, in Go's spelling, which JSON cannot say.
func JSON(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	return next(d)
}

func next(d *json.Decoder) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case json.Delim:
		var items []any
		for d.More() {
			item, err := next(d)
			if err != nil {
				return nil, err
			}
			items = append(items, item)
		}
		if _, err := d.Token(); err != nil {
			return nil, err
		}
		if v == '{' {
			return Record(items), nil
		}
		return items, nil
	case string:
		if hexed, ok := strings.CutPrefix(v, "msgpack:"); ok {
			raw, err := strconv.Unquote(`"` + hexed + `"`)
			return Raw(raw), err
		}
	}
	return token, nil
}
