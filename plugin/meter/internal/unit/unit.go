// Package unit reads numbers with a unit, such as 24.3ms, 5 KiB or 1m2.5s, and turns them into numbers of another one.
//
// What holds throughout: every result is exact, no value goes through a float; what may mean two things, such as K or kb, is no
// unit; only units of one family, durations or sizes, can be made of each other.
package unit

import (
	"bytes"
	"slices"

	"out_amberflo/plugin/decimal"
	"out_amberflo/plugin/meter/internal/packed"
)

// Unit is one of those that a value may be asked for in, and what it is made of: 10^exponent × 2^-twos of the family's base,
// which are nanoseconds and bytes. Dividing by two is multiplying by 5 and by a tenth: it stays exact.
type Unit struct {
	Name     string
	exponent int
	twos     int
	family   map[string]Scale
}

// Scale is what one of a unit that stands in a log comes to: times × 10^exponent of the family's base.
type Scale struct {
	times    int64
	exponent int
}

var (
	durations = map[string]Scale{
		"ns": {1, 0}, "us": {1, 3}, "\u00b5s": {1, 3}, "\u03bcs": {1, 3}, "ms": {1, 6}, "s": {1, 9}, "sec": {1, 9}, "secs": {1, 9}, "second": {1, 9},
		"seconds": {1, 9}, "m": {60, 9}, "min": {60, 9}, "mins": {60, 9}, "minute": {60, 9}, "minutes": {60, 9}, "h": {3600, 9}, "hr": {3600, 9},
		"hour": {3600, 9}, "hours": {3600, 9}, "d": {86400, 9}, "day": {86400, 9}, "days": {86400, 9}, "msec": {1, 6}, "usec": {1, 3}, "nsec": {1, 0},
		"millisecond": {1, 6}, "milliseconds": {1, 6}, "microsecond": {1, 3}, "microseconds": {1, 3}, "nanosecond": {1, 0}, "nanoseconds": {1, 0},
	}
	// A K, M or G alone may be 1,000 or 1,024 of them, and kb may be bits: neither is guessed.
	sizes = map[string]Scale{
		"B": {1, 0}, "byte": {1, 0}, "bytes": {1, 0}, "Byte": {1, 0}, "Bytes": {1, 0},
		"kB": {1, 3}, "KB": {1, 3}, "MB": {1, 6}, "GB": {1, 9}, "TB": {1, 12}, "PB": {1, 15},
		"KiB": {1 << 10, 0}, "kiB": {1 << 10, 0}, "MiB": {1 << 20, 0}, "GiB": {1 << 30, 0}, "TiB": {1 << 40, 0}, "PiB": {1 << 50, 0},
		"Ki": {1 << 10, 0}, "Mi": {1 << 20, 0}, "Gi": {1 << 30, 0}, "Ti": {1 << 40, 0}, "Pi": {1 << 50, 0},
	}
)

var units = []Unit{
	{"ns", 0, 0, durations}, {"us", 3, 0, durations}, {"ms", 6, 0, durations}, {"s", 9, 0, durations},
	{"B", 0, 0, sizes}, {"KB", 3, 0, sizes}, {"MB", 6, 0, sizes}, {"GB", 9, 0, sizes}, {"TB", 12, 0, sizes},
	{"KiB", 0, 10, sizes}, {"MiB", 0, 20, sizes}, {"GiB", 0, 30, sizes}, {"TiB", 0, 40, sizes},
}

// Find returns the unit with a name, nil where there is none that a value may be asked for in.
func Find(name string) *Unit {
	if i := slices.IndexFunc(units, func(u Unit) bool { return u.Name == name }); i >= 0 {
		return &units[i]
	}
	return nil
}

// Scale returns the scale of a unit that u can be made of, or ok false where the name is none.
func (u *Unit) Scale(name string) (s Scale, ok bool) {
	s, ok = u.family[name]
	return s, ok
}

// Convert turns n of a unit with the scale s into so many u.
func (u *Unit) Convert(n decimal.Number, s Scale) decimal.Number {
	return u.of(n.Mul(s.times, s.exponent))
}

// of turns a number of the family's base into one of u.
func (u *Unit) of(n decimal.Number) decimal.Number {
	for range u.twos / 10 {
		n = n.Mul(9765625, 0) // 5^10
	}
	return n.Mul(1, -u.exponent-u.twos)
}

// Read reads a number with a unit, or several that are added up, as so many u. It returns ok false where it is none, or one that
// u cannot be made of.
func (u *Unit) Read(s []byte) (total decimal.Number, ok bool) {
	s = bytes.TrimSpace(s)
	negative := len(s) > 0 && s[0] == '-'
	if negative || len(s) > 0 && s[0] == '+' {
		s = s[1:]
	}
	for again := true; again; again = len(s) > 0 {
		number := prefix(s, isDigit)
		n, ok := packed.ParseNumber(number)
		if !ok {
			return total, false
		}
		s = bytes.TrimLeft(s[len(number):], " \t")
		name := prefix(s, func(c byte) bool { return !isDigit(c) && c > ' ' })
		scale, known := u.family[string(name)]
		if !known {
			return total, false
		}
		s = bytes.TrimLeft(s[len(name):], " \t")
		total = total.Add(n.Mul(scale.times, scale.exponent))
	}
	if total = u.of(total); negative {
		total = total.Mul(-1, 0)
	}
	return total, true
}

// prefix returns what s begins with that belongs to set.
func prefix(s []byte, set func(c byte) bool) []byte {
	for i, c := range s {
		if !set(c) {
			return s[:i]
		}
	}
	return s
}

// isDigit tells if c is a digit, or the point among them.
func isDigit(c byte) bool { return c >= '0' && c <= '9' || c == '.' }
