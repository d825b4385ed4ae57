package tally

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// readFromTheEnd is another way to read a line: where all else is a number or stands in quotes, the last of each member is
// the line's own.
func readFromTheEnd(b []byte) (l line, ok bool) {
	rest := bytes.TrimSuffix(b, []byte("\n"))
	if rest, ok = bytes.CutSuffix(rest, []byte("}")); !ok {
		return l, false
	}
	for _, x := range []struct {
		n   *int64
		key string
	}{{&l.last, lastKey}, {&l.first, firstKey}, {&l.records, recordsKey}} {
		if *x.n, rest, ok = cutNumber(rest, x.key); !ok {
			return l, false
		}
	}
	l.plain = rest
	at := bytes.LastIndex(rest, []byte(IDKey))
	if at < 0 {
		return l, false
	}
	l.id = rest[at+len(IDKey):]
	if size := slowStringSize(l.id); size == 0 || size != len(l.id) {
		return l, false
	}
	if l.millis, rest, ok = cutNumber(rest[:at], TimeKey); !ok {
		return l, false
	}
	if at = bytes.LastIndex(rest, []byte(ValueKey)); at < 0 {
		return l, false
	}
	rest, l.value = rest[:at], rest[at+len(ValueKey):]
	for _, x := range []struct {
		s   *[]byte
		key string
	}{{&l.customer, CustomerKey}, {&l.meter, MeterKey}} {
		if rest, ok = bytes.CutPrefix(rest, []byte(x.key)); !ok {
			return l, false
		}
		size := slowStringSize(rest)
		if size == 0 {
			return l, false
		}
		*x.s, rest = rest[:size], rest[size:]
	}
	if len(rest) > 0 {
		if rest, ok = bytes.CutPrefix(rest, []byte(DimensionsKey)); !ok {
			return l, false
		}
		if l.dimensions, ok = bytes.CutSuffix(rest, []byte("}")); !ok {
			return l, false
		}
		var names []string
		for name, value := range Dimensions(l.dimensions) {
			if value == nil {
				return l, false
			}
			names = append(names, string(name))
		}
		l.sorted = slices.IsSorted(names) && len(slices.Compact(slices.Clone(names))) == len(names)
		if len(names) == 0 {
			return l, false
		}
	}
	return l, l.records > 0 && l.first <= l.millis && l.millis <= l.last
}

func slowStringSize(b []byte) int {
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

func (l line) text() string {
	return fmt.Sprintf("%q %q %q %v %q %d %q %q %d %d %d", l.customer, l.meter, l.dimensions, l.sorted, l.value, l.millis, l.id, l.plain, l.records, l.first, l.last)
}

func sameReading(t testing.TB, b []byte) (ok bool) {
	t.Helper()
	got, ok := readLine(b)
	want, wanted := readFromTheEnd(b)
	// What has a comma is no value: only the reader from the end takes it for one, and what adds up does not.
	if wanted && bytes.IndexByte(want.value, ',') >= 0 {
		if _, number := Parse(want.value); number || ok {
			t.Fatalf("a value with a comma: %q", b)
		}
		return false
	}
	if ok != wanted || ok && got.text() != want.text() {
		t.Fatalf("of %q\ngot  %v %s\nwant %v %s", b, ok, got.text(), wanted, want.text())
	}
	if !ok {
		return false
	}
	if n := Records(b); n != got.records {
		t.Fatalf("%d records of %q", n, b)
	}
	return true
}

// hostile texts hold what looks like the end of a string, of a member or of a line.
var hostile = []string{"", "a", "web-7", `\"`, `\\`, `\\\"`, `,\"meterValue\":`, `\",\"uniqueId\":\"u`, `,\"dimensions\":{`, `}`, `{`, ",", ":", "ü", "\u2028", `\u0022`, `,\"records\":2,\"firstMillis\":1,\"lastMillis\":3}`,
	strings.Repeat("x", 7), strings.Repeat("x", 8), strings.Repeat(`\\`, 4), "0123456789abcdef0"}

func hostileLine(r *rand.Rand) []byte {
	text := func() string { return hostile[r.IntN(len(hostile))] + hostile[r.IntN(len(hostile))] }
	var dims []string
	for range r.IntN(4) {
		dims = append(dims, fmt.Sprintf(`"%s":"%s"`, text(), text()))
	}
	first := at + r.Int64N(1_000_000)>>r.IntN(40)
	b := plainLine(text(), strings.Join(dims, ","), randomNumber(r), first+r.Int64N(9), text())
	return AppendMembers([]byte(b), 1+r.Int64N(1<<r.IntN(40)), first, first+8)
}

func TestALineIsReadAlikeFromItsFrontAndItsEnd(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	pieces := []string{"", `"`, `\`, ",", ":", "}", "{", "7", "-", "\n", ValueKey, IDKey, recordsKey}
	read := 0
	const lines = 50_000
	for range lines {
		b := hostileLine(r)
		if !sameReading(t, b) {
			t.Fatalf("not read: %s", b)
		}
		from := r.IntN(len(b))
		to := min(from+r.IntN(3)*r.IntN(3), len(b))
		if sameReading(t, slices.Concat(b[:from], []byte(pieces[r.IntN(len(pieces))]), b[to:])) {
			read++
		}
		sameReading(t, b[:from])
		sameReading(t, b[from:])
	}
	if read == 0 || read > lines*2/3 {
		t.Errorf("%d of %d changed lines are lines", read, lines)
	}
}

func FuzzReadLine(f *testing.F) {
	r := rand.New(rand.NewPCG(11, 12))
	for range 20 {
		f.Add(hostileLine(r))
	}
	f.Fuzz(func(t *testing.T, b []byte) { sameReading(t, b) })
}

func TestDigitsAreReadAsTheyStand(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for range 200_000 {
		b := make([]byte, r.IntN(20))
		for i := range b {
			b[i] = byte('0' + r.IntN(10))
		}
		want := len(b)
		if len(b) > 0 && r.IntN(2) == 0 {
			want = r.IntN(len(b))
			b[want] = byte(r.IntN(256))
			for want < len(b) && b[want] >= '0' && b[want] <= '9' {
				want++
			}
		}
		n, digits := readDigits(b)
		if digits != want || digits <= mostDigits && fmt.Sprintf("%0*d", max(digits, 1), n) != "0"[:1-min(digits, 1)]+string(b[:digits]) {
			t.Fatalf("of %q got %d and %d digits", b, n, digits)
		}
	}
}

func TestStringsEndAtTheirQuote(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	for range 200_000 {
		b := make([]byte, r.IntN(30))
		for i := range b {
			if b[i] = byte(r.IntN(256)); r.IntN(4) == 0 {
				b[i] = "\"\\#!]"[r.IntN(5)]
			}
		}
		b = append([]byte{'"'}, b...)
		if got, want := stringSize(b), slowStringSize(b); got != want {
			t.Fatalf("of %q got %d, want %d", b, got, want)
		}
	}
}
