// Package timeformat compiles meter_time_format and reads times by it, as milliseconds since 1970.
//
// What holds throughout: a Format never changes and is safe for concurrent use; fractions of a millisecond are cut off, and no
// time becomes another one through a float; a time outside of [Earliest, Latest) is none; a day that its month does not have is
// none, whatever strptime makes of it.
package timeformat

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/itchyny/timefmt-go"
	"github.com/tinylib/msgp/msgp"

	"out_amberflo/plugin/meter/internal/packed"
)

// Under meter_time_format auto, a number's magnitude tells its unit: below autoMillis it counts seconds, from there on
// milliseconds, from autoMicros on microseconds and from autoNanos on nanoseconds, all since 1970. As seconds, autoMillis
// would be the year 5138, as milliseconds March 1973: no time that is accepted is anywhere near a boundary.
const (
	autoMillis = 100_000_000_000
	autoMicros = 100_000_000_000_000
	autoNanos  = 100_000_000_000_000_000
)

// Meter times outside of [Earliest, Latest) are rejected: a clock or a unit is wrong, and Amberflo takes events of the last 60
// days. In milliseconds since 1970: the years 2000 to 2099.
const (
	Earliest = 946_684_800_000
	Latest   = 4_102_444_800_000
)

// Format says how a time is written.
type Format struct {
	Name   string // as the user wrote it
	kind   kind
	layout string // strptime, without the fraction of a second

	// The fraction of a second, which strptime has no verb for: the byte before it, and how often that byte occurs
	// after it in the layout.
	mark  byte
	after int

	// The day in a string: in which of its numbers it is (-1: in none), and where it ends there if more digits follow, else 0.
	day, dayEnd int
	zoneLast    bool // the layout ends in %z
}

type kind uint8

const (
	auto kind = iota
	unix
	unixMilli
	unixMicro
	unixNano
	rfc3339
	strptime
)

var kinds = map[string]kind{
	"": auto, "auto": auto, "unix": unix, "unix_ms": unixMilli, "unix_us": unixMicro, "unix_ns": unixNano, "rfc3339": rfc3339,
}

const wantFormat = "auto, unix, unix_ms, unix_us, unix_ns, rfc3339 or a strptime layout"

// composites are strptime verbs that stand for several, and what is none at all.
var composites = strings.NewReplacer("%%", "", "%F", "%Y-%m-%d", "%D", "%m/%d/%y", "%x", "%m/%d/%y", "%v", "%e-%b-%Y",
	"%T", "%H:%M:%S", "%X", "%H:%M:%S", "%R", "%H:%M", "%r", "%I:%M:%S %p", "%c", "%a %b %e %H:%M:%S %Y")

// parts of a time, each by its verbs. The last of two would count: %H:%m:%S takes the minutes for the month.
var parts = []struct {
	name  string
	verbs *regexp.Regexp
}{
	{"month", verbs("mBbh")}, {"day", verbs("de")}, {"hour", hours}, {"minute", minutes}, {"second", verbs("S")},
}

var hours, minutes = verbs("HIkl"), verbs("M")

func verbs(letters string) *regexp.Regexp { return regexp.MustCompile("%[-_0^#:EO]*[" + letters + "]") }

// Compile returns what was wanted when s is no format.
func Compile(s string) (f Format, want string) {
	if kind, ok := kinds[strings.ToLower(s)]; ok {
		return Format{Name: cmp.Or(s, "auto"), kind: kind}, ""
	}
	if !strings.Contains(s, "%") {
		return f, wantFormat
	}
	if strings.Contains(s, "%Z") || strings.Contains(s, "%+") {
		return f, "a layout with %z instead of %Z, because the name of a zone does not tell its offset (UTC can stand in the layout as it is)"
	}
	f = Format{Name: s, kind: strptime, layout: s}
	for _, verb := range []string{"%L", "%f", "%N"} {
		at := strings.Index(s, verb)
		if at < 0 {
			continue
		}
		if at == 0 || !strings.ContainsRune(".,:", rune(s[at-1])) || strings.Count(s, verb) > 1 {
			return f, "the fraction of a second once and after a point or comma, such as %S.%L"
		}
		f.mark = s[at-1]
		f.after = strings.Count(s[at+2:], string(f.mark))
		f.layout = s[:at-1] + s[at+2:]
		break
	}
	expanded := composites.Replace(f.layout)
	for _, p := range parts {
		if n := len(p.verbs.FindAllString(expanded, -1)); n > 1 {
			return f, fmt.Sprintf("a strptime layout with the %s once (%%m is the month, %%M the minute)", p.name)
		}
	}
	if at := minutes.FindStringIndex(expanded); at != nil {
		if hour := hours.FindStringIndex(expanded); hour != nil && at[0] < hour[0] {
			return f, "a strptime layout with the minute, %M, after the hour (%m is the month)"
		}
	}
	sample := time.Date(2026, time.November, 21, 20, 34, 56, 0, time.UTC)
	back, err := timefmt.Parse(timefmt.Format(sample, f.layout), f.layout)
	if err != nil {
		return f, fmt.Sprintf("a strptime layout (%v)", cmp.Or(errors.Unwrap(err), err))
	}
	if back = back.UTC(); back.Year() != sample.Year() || back.YearDay() != sample.YearDay() {
		return f, "a strptime layout that holds year, month and day"
	}
	if back.Hour() != 0 && back.Hour() != sample.Hour() {
		return f, "a strptime layout with %p beside %I, or with %H"
	}
	if back.Second() != 0 && back.Minute() != sample.Minute() {
		return f, "a strptime layout with %M, the minute, beside %S"
	}
	f.zoneLast = strings.HasSuffix(f.layout, "%z")
	one, other := timefmt.Format(sample, f.layout), timefmt.Format(sample.AddDate(0, 0, 1), f.layout)
	_, count := number(one, 0)
	for f.day = count - 1; f.day >= 0; f.day-- {
		today, _ := number(one, f.day)
		tomorrow, _ := number(other, f.day)
		if today == tomorrow || len(today) == 1 { // a day of the week
			continue
		}
		end := 0
		for today[end] == tomorrow[end] {
			end++
		}
		if end++; end < len(today) {
			f.dayEnd = end
		}
		break
	}
	return f, ""
}

// Millis reads the time v, in milliseconds since 1970.
func (f *Format) Millis(v []byte) (ms int64, ok bool) {
	if s, size := packed.ReadString(v); size != 0 {
		ms, ok = f.stringMillis(s)
	} else {
		ms, ok = f.numberMillis(v)
	}
	return ms, ok && ms >= Earliest && ms < Latest
}

func (f *Format) numberMillis(v []byte) (int64, bool) {
	switch msgp.NextType(v) {
	case msgp.IntType, msgp.UintType:
		n, _, err := msgp.ReadInt64Bytes(v)
		if err != nil {
			return 0, false
		}
		if f.kind >= rfc3339 {
			var digits [20]byte
			return f.stringMillis(strconv.AppendInt(digits[:0], n, 10))
		}
		return f.scale(n, 0)
	case msgp.Float64Type, msgp.Float32Type:
		n, _, err := msgp.ReadFloat64Bytes(v)
		ms, ok := f.floatMillis(n)
		return ms, ok && err == nil
	}
	return 0, false
}

func (f *Format) stringMillis(s []byte) (int64, bool) {
	switch f.kind {
	case rfc3339:
		return rfc3339Millis(s)
	case strptime:
		return f.layoutMillis(s)
	case auto:
		if ms, ok := rfc3339Millis(s); ok {
			return ms, true
		}
	}
	var digits [64]byte
	number, ok := packed.AppendNumberString(digits[:0], s)
	if !ok {
		return 0, false
	}
	if bytes.ContainsAny(number, "eE") {
		n, err := strconv.ParseFloat(string(number), 64)
		ms, ok := f.floatMillis(n)
		return ms, ok && err == nil
	}
	return f.decimalMillis(number)
}

// floatMillis goes through the shortest digits and not through a product, so that 1795291200.909 s is 909 ms and not 908.
func (f *Format) floatMillis(n float64) (int64, bool) {
	if !(math.Abs(n) < 1e19) { // nor NaN
		return 0, false
	}
	var digits [400]byte
	return f.decimalMillis(strconv.AppendFloat(digits[:0], n, 'f', -1, 64))
}

// decimalMillis reads digits with an optional point and fraction.
func (f *Format) decimalMillis(number []byte) (int64, bool) {
	if f.kind >= rfc3339 {
		return 0, false
	}
	whole, fraction := packed.CutDigits(number)
	n, err := strconv.ParseInt(string(whole), 10, 64)
	if err != nil {
		return 0, false
	}
	nanos := int64(0)
	if len(fraction) > 1 {
		nanos = fractionNanos(fraction[1:])
	}
	return f.scale(n, nanos)
}

// fractionNanos reads the digits after a point as a fraction of one, in billionths.
func fractionNanos(digits []byte) (nanos int64) {
	for i := range 9 {
		nanos *= 10
		if i < len(digits) {
			nanos += int64(digits[i] - '0')
		}
	}
	return nanos
}

// scale turns n units and billionths of one into milliseconds.
func (f *Format) scale(n, billionths int64) (int64, bool) {
	kind := f.kind
	if kind == auto {
		switch {
		case n < autoMillis:
			kind = unix
		case n < autoMicros:
			kind = unixMilli
		case n < autoNanos:
			kind = unixMicro
		default:
			kind = unixNano
		}
	}
	if n < 0 {
		return 0, false
	}
	switch kind {
	case unix:
		return n*1000 + billionths/1e6, n < autoMillis
	case unixMilli:
		return n, true
	case unixMicro:
		return n / 1e3, true
	default:
		return n / 1e6, true
	}
}

// rfc3339Millis also takes what RFC 3339 allows and time.Parse does not: t and z in lower case, a space instead of the T.
func rfc3339Millis(s []byte) (int64, bool) {
	if len(s) < len("2006-01-02T15:04:05Z") || len(s) > 64 {
		return 0, false
	}
	var buf [64]byte
	b := append(buf[:0], s...)
	if b[10] == 't' || b[10] == ' ' {
		b[10] = 'T'
	}
	if last := len(b) - 1; b[last] == 'z' {
		b[last] = 'Z'
	}
	t, err := time.Parse(time.RFC3339, string(b))
	return t.UnixMilli(), err == nil
}

func (f *Format) layoutMillis(b []byte) (int64, bool) {
	s, nanos := string(b), int64(0)
	if f.mark != 0 {
		at := len(s)
		for range f.after + 1 {
			if at = strings.LastIndexByte(s[:at], f.mark); at < 0 {
				return 0, false
			}
		}
		digits, _ := packed.CutDigits(b[at+1:])
		if len(digits) == 0 {
			return 0, false
		}
		nanos = fractionNanos(digits)
		s = s[:at] + s[at+1+len(digits):]
	}
	t, err := timefmt.Parse(s, f.layout)
	if err != nil {
		return 0, false
	}
	// A day that its month does not have becomes one of the first three of the next. A leap second does so too, rightly.
	if t.Day() <= 3 && !f.onDay(s, t) && !f.onDay(s, t.Add(-time.Second)) {
		return 0, false
	}
	return t.UnixMilli() + nanos/1e6, true
}

// onDay tells if the string s names the day of t. It is true too if that cannot be told: the day stands in words, or s has an
// offset in another spelling than the layout's in front of it.
func (f *Format) onDay(s string, t time.Time) bool {
	if f.day < 0 {
		return true
	}
	want := timefmt.Format(t, f.layout)
	a, in := number(s, f.day)
	b, of := number(want, f.day)
	return in != of && !f.zoneLast || f.dayDigits(a) == f.dayDigits(b)
}

// dayDigits cuts the day out of the number that it is in.
func (f *Format) dayDigits(number string) string {
	if f.dayEnd > 0 && len(number) >= f.dayEnd {
		number = number[:f.dayEnd]
	}
	return strings.TrimLeft(number, "0")
}

// number returns the i-th run of digits in s, and how many there are.
func number(s string, i int) (digits string, count int) {
	for from := 0; from < len(s); from++ {
		if !isDigit(s[from]) {
			continue
		}
		end := from + 1
		for end < len(s) && isDigit(s[end]) {
			end++
		}
		if count == i {
			digits = s[from:end]
		}
		count++
		from = end
	}
	return digits, count
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
