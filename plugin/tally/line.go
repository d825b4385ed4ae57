package tally

import (
	"bytes"
	"encoding/binary"
	"iter"
	"math/bits"
	"strconv"
)

// line is one with the three members, taken apart. Its slices alias the line.
type line struct {
	customer, meter []byte // in quotes
	dimensions      []byte // "k":"v","k":"v", and nothing where there are none
	sorted          bool   // their names ascend, and so no two are equal
	value           []byte
	millis          int64
	id              []byte // in quotes
	plain           []byte // the meter record without the three members and its closing brace
	records         int64
	first           int64
	last            int64
}

// How the members of a line begin, in their order. Whoever writes lines writes these, or they are not added up.
const (
	CustomerKey   = `{"customerId":`
	MeterKey      = `,"meterApiName":`
	DimensionsKey = `,"dimensions":{`
	ValueKey      = `,"meterValue":`
	TimeKey       = `,"meterTimeInMillis":`
	IDKey         = `,"uniqueId":`
	recordsKey    = `,"records":`
	firstKey      = `,"firstMillis":`
	lastKey       = `,"lastMillis":`
)

// AppendMembers appends the three members that a line of records that were added up ends with, its closing brace and its line
// feed.
func AppendMembers(dst []byte, records, first, last int64) []byte {
	dst = strconv.AppendInt(append(dst, recordsKey...), records, 10)
	dst = strconv.AppendInt(append(dst, firstKey...), first, 10)
	dst = strconv.AppendInt(append(dst, lastKey...), last, 10)
	return append(dst, '}', '\n')
}

// Key returns what a line of records that were added up is about: its customer and its meter, in quotes, its dimensions for
// [Dimensions], and the time of its first record in milliseconds. It returns ok false for other lines.
func Key(b []byte) (customer, meter, dimensions []byte, first int64, ok bool) {
	l, ok := readLine(b)
	if !ok {
		return nil, nil, nil, 0, false
	}
	return l.customer, l.meter, l.dimensions, l.first, true
}

// Meter returns the meter of a line, in quotes, or nil where it is no meter record.
func Meter(b []byte) []byte {
	b, ok := bytes.CutPrefix(b, []byte(CustomerKey))
	if !ok {
		return nil
	}
	b, ok = bytes.CutPrefix(b[stringSize(b):], []byte(MeterKey))
	if size := stringSize(b); ok && size > 0 {
		return b[:size]
	}
	return nil
}

// Records returns how many records a line stands for: 1 where it does not say so.
func Records(b []byte) int64 {
	b, ok := bytes.CutSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("}"))
	for _, key := range []string{lastKey, firstKey} {
		if ok {
			_, b, ok = cutNumber(b, key)
		}
	}
	if ok {
		if n, _, ok := cutNumber(b, recordsKey); ok && n > 0 {
			return n
		}
	}
	return 1
}

// cutNumber takes key and a number of at most 18 digits off the end of b.
func cutNumber(b []byte, key string) (n int64, before []byte, ok bool) {
	at := len(b)
	for at > 0 && b[at-1] >= '0' && b[at-1] <= '9' {
		at--
	}
	if digits := b[at:]; len(digits) == 0 || len(digits) > 18 {
		return 0, b, false
	}
	for _, c := range b[at:] {
		n = n*10 + int64(c-'0')
	}
	before, ok = bytes.CutSuffix(b[:at], []byte(key))
	return n, before, ok
}

// readLine takes a line apart, or returns ok false for one that is not written as this package writes it. It goes from the
// front: what a string holds is never taken for a member.
func readLine(b []byte) (l line, ok bool) {
	b = bytes.TrimSuffix(b, []byte("\n"))
	rest := b
	if l.customer, rest = cutString(rest, CustomerKey); l.customer == nil {
		return l, false
	}
	if l.meter, rest = cutString(rest, MeterKey); l.meter == nil {
		return l, false
	}
	if in := len(DimensionsKey); len(rest) > in && string(rest[:in]) == DimensionsKey {
		size := 0
		if size, l.sorted = dimensionsSize(rest[in:]); size == 0 || in+size == len(rest) || rest[in+size] != '}' {
			return l, false
		}
		l.dimensions, rest = rest[in:in+size], rest[in+size+1:]
	}
	if rest, ok = cut(rest, ValueKey); !ok {
		return l, false
	}
	end := bytes.IndexByte(rest, ',')
	if end < 0 {
		return l, false
	}
	l.value, rest = rest[:end], rest[end:]
	if l.millis, rest, ok = readNumber(rest, TimeKey); !ok {
		return l, false
	}
	if l.id, rest = cutString(rest, IDKey); l.id == nil {
		return l, false
	}
	l.plain = b[:len(b)-len(rest)]
	if l.records, rest, ok = readNumber(rest, recordsKey); !ok || l.records < 1 {
		return l, false
	}
	if l.first, rest, ok = readNumber(rest, firstKey); !ok {
		return l, false
	}
	if l.last, rest, ok = readNumber(rest, lastKey); !ok {
		return l, false
	}
	return l, string(rest) == "}" && l.first <= l.millis && l.millis <= l.last
}

// cut takes key off the front of b. bytes.CutPrefix would have to be given bytes.
func cut(b []byte, key string) (rest []byte, ok bool) {
	if len(b) < len(key) || string(b[:len(key)]) != key {
		return b, false
	}
	return b[len(key):], true
}

// cutString takes key and a JSON string off the front of b, and returns nil where they are not there.
func cutString(b []byte, key string) (s, rest []byte) {
	b, ok := cut(b, key)
	if !ok {
		return nil, b
	}
	size := stringSize(b)
	if size == 0 {
		return nil, b
	}
	return b[:size], b[size:]
}

// readNumber takes key and a number of at most 18 digits off the front of b.
func readNumber(b []byte, key string) (n int64, rest []byte, ok bool) {
	b, ok = cut(b, key)
	if !ok {
		return 0, b, false
	}
	n, digits := readDigits(b)
	return n, b[digits:], digits > 0 && digits <= mostDigits
}

// mostDigits is how many an int64 holds, whatever they are.
const mostDigits = 18

// readDigits reads those that b begins with. n is their number if they are at most mostDigits.
func readDigits(b []byte) (n int64, digits int) {
	if len(b) >= 8 { // eight at once: neighbours become numbers of two digits, of four and of eight
		v := binary.LittleEndian.Uint64(b) ^ eight*'0'
		if v&(eight*0xf0)|(v+eight*6)&(eight*0xf0) == 0 {
			v = (v*10 + v>>8) & 0x00ff00ff00ff00ff
			v = (v*100 + v>>16) & 0x0000ffff0000ffff
			n, digits = int64((v*10_000+v>>32)&0xffffffff), 8
		}
	}
	for digits < len(b) && b[digits]-'0' <= 9 {
		n = n*10 + int64(b[digits]-'0')
		digits++
	}
	return n, digits
}

// eight times a byte is a word of it.
const eight = 0x0101010101010101

// stringSize returns the size of the JSON string in quotes that b begins with, 0 if it begins with none.
func stringSize(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	for i := 1; i < len(b); i++ {
		for i+8 <= len(b) {
			v := binary.LittleEndian.Uint64(b[i:])
			quote, backslash := v^eight*'"', v^eight*'\\'
			// The lowest bit of those set is that of the first byte that is 0 in either.
			if found := (quote-eight)&^quote&(eight<<7) | (backslash-eight)&^backslash&(eight<<7); found != 0 {
				i += bits.TrailingZeros64(found) / 8
				break
			}
			i += 8
		}
		if i == len(b) {
			return 0
		}
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// dimensionsSize returns the size of the "k":"v","k":"v" that b begins with, at least one of them, or 0; and if their names
// ascend.
func dimensionsSize(b []byte) (size int, sorted bool) {
	sorted = true
	var before []byte
	for {
		name := stringSize(b[size:])
		colon := size + name
		if name == 0 || colon == len(b) || b[colon] != ':' {
			return 0, false
		}
		value := stringSize(b[colon+1:])
		if value == 0 {
			return 0, false
		}
		sorted = sorted && bytes.Compare(before, b[size:colon]) < 0
		before = b[size:colon]
		if size = colon + 1 + value; size == len(b) || b[size] != ',' {
			return size, sorted
		}
		size++
	}
}

// Dimensions yields names and values of "k":"v","k":"v", in their quotes. Where that breaks off, the last value is nil.
func Dimensions(b []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for len(b) > 0 {
			name := stringSize(b)
			if name == 0 || name == len(b) || b[name] != ':' {
				yield(b, nil)
				return
			}
			value := stringSize(b[name+1:])
			end := name + 1 + value
			if value == 0 || end < len(b) && b[end] != ',' || end+1 == len(b) {
				yield(b, nil)
				return
			}
			if !yield(b[:name], b[name+1:end]) {
				return
			}
			b = b[min(end+1, len(b)):]
		}
	}
}
