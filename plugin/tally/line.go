package tally

import (
	"bytes"
	"iter"
	"strconv"
)

// line is one with the three members, taken apart. Its slices alias the line.
type line struct {
	names      []byte // {"customerId":"…","meterApiName":"…"
	dimensions []byte // "k":"v","k":"v", and nothing where there are none
	head       []byte // both as they stand, up to the comma before meterValue
	value      []byte
	millis     int64
	id         []byte // in quotes
	plain      []byte // the meter record without the three members and its closing brace
	records    int64
	first      int64
	last       int64
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
	customer = l.names[len(CustomerKey):]
	customer = customer[:stringSize(customer)]
	return customer, l.names[len(CustomerKey)+len(customer)+len(MeterKey):], l.dimensions, l.first, true
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
	if _, l, ok := cutMembers(b); ok {
		return l.records
	}
	return 1
}

// cutMembers takes the three members off the end of a line.
func cutMembers(b []byte) (plain []byte, l line, ok bool) {
	b, ok = bytes.CutSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("}"))
	if !ok {
		return nil, l, false
	}
	if l.last, b, ok = cutNumber(b, lastKey); !ok {
		return nil, l, false
	}
	if l.first, b, ok = cutNumber(b, firstKey); !ok {
		return nil, l, false
	}
	if l.records, b, ok = cutNumber(b, recordsKey); !ok || l.records < 1 {
		return nil, l, false
	}
	return b, l, true
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

// readLine takes a line apart, or returns ok false for one that is not written as this package writes it.
func readLine(b []byte) (l line, ok bool) {
	plain, l, ok := cutMembers(b)
	if !ok {
		return l, false
	}
	l.plain = plain
	at := bytes.LastIndex(plain, []byte(IDKey))
	if at < 0 {
		return l, false
	}
	l.id = plain[at+len(IDKey):]
	if size := stringSize(l.id); size == 0 || size != len(l.id) {
		return l, false
	}
	if l.millis, plain, ok = cutNumber(plain[:at], TimeKey); !ok {
		return l, false
	}
	// The last one: after it there are only numbers, and an id in which it cannot stand.
	if at = bytes.LastIndex(plain, []byte(ValueKey)); at < 0 {
		return l, false
	}
	l.head, l.value = plain[:at], plain[at+len(ValueKey):]
	rest := l.head
	for _, key := range []string{CustomerKey, MeterKey} {
		if rest, ok = bytes.CutPrefix(rest, []byte(key)); !ok {
			return l, false
		}
		size := stringSize(rest)
		if size == 0 {
			return l, false
		}
		rest = rest[size:]
	}
	l.names = l.head[:len(l.head)-len(rest)]
	if len(rest) > 0 {
		if rest, ok = bytes.CutPrefix(rest, []byte(DimensionsKey)); !ok {
			return l, false
		}
		if l.dimensions, ok = bytes.CutSuffix(rest, []byte("}")); !ok {
			return l, false
		}
	}
	return l, l.first <= l.millis && l.millis <= l.last
}

// stringSize returns the size of the JSON string in quotes that b begins with, 0 if it begins with none.
func stringSize(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
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
