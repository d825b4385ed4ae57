package meter

import (
	"bytes"
	"slices"
	"strings"

	"out_amberflo/plugin/decimal"
	"out_amberflo/plugin/meter/internal/packed"
	"out_amberflo/plugin/tally"
)

// value is the value of a meter: a literal, or terms that are added up.
//
//	1   $bytes   $in+$out   sum($upstream_response_time)   ms($latency)   s($duration ns)   sum(ms($times))
type value struct {
	literal []byte // JSON; nil where there are terms
	terms   []term

	amount   tally.Amount // of the literal, if isAmount
	isAmount bool
}

// term is one accessor, and how what it finds is read.
type term struct {
	from *accessor
	unit *unit  // ms(…): a number with a unit, in this unit
	bare *scale // the unit of numbers that have none; nil where they are not taken
	list bool   // sum(…): several numbers
}

// unit is one of those that a value may be asked for in, and what it is made of: 10^exponent × 2^-twos of the family's
// base, which are nanoseconds and bytes. Dividing by two is multiplying by 5 and by a tenth: it stays exact.
type unit struct {
	name     string
	exponent int
	twos     int
	family   map[string]scale
}

// scale is what one of a unit that stands in a log comes to: times × 10^exponent of the family's base.
type scale struct {
	times    int64
	exponent int
}

var (
	durations = map[string]scale{
		"ns": {1, 0}, "us": {1, 3}, "\u00b5s": {1, 3}, "\u03bcs": {1, 3}, "ms": {1, 6}, "s": {1, 9}, "sec": {1, 9}, "secs": {1, 9}, "second": {1, 9},
		"seconds": {1, 9}, "m": {60, 9}, "min": {60, 9}, "mins": {60, 9}, "minute": {60, 9}, "minutes": {60, 9}, "h": {3600, 9}, "hr": {3600, 9},
		"hour": {3600, 9}, "hours": {3600, 9}, "d": {86400, 9}, "day": {86400, 9}, "days": {86400, 9}, "msec": {1, 6}, "usec": {1, 3}, "nsec": {1, 0},
		"millisecond": {1, 6}, "milliseconds": {1, 6}, "microsecond": {1, 3}, "microseconds": {1, 3}, "nanosecond": {1, 0}, "nanoseconds": {1, 0},
	}
	// A K, M or G alone may be 1,000 or 1,024 of them, and kb may be bits: neither is guessed.
	sizes = map[string]scale{
		"B": {1, 0}, "byte": {1, 0}, "bytes": {1, 0}, "Byte": {1, 0}, "Bytes": {1, 0},
		"kB": {1, 3}, "KB": {1, 3}, "MB": {1, 6}, "GB": {1, 9}, "TB": {1, 12}, "PB": {1, 15},
		"KiB": {1 << 10, 0}, "kiB": {1 << 10, 0}, "MiB": {1 << 20, 0}, "GiB": {1 << 30, 0}, "TiB": {1 << 40, 0}, "PiB": {1 << 50, 0},
		"Ki": {1 << 10, 0}, "Mi": {1 << 20, 0}, "Gi": {1 << 30, 0}, "Ti": {1 << 40, 0}, "Pi": {1 << 50, 0},
	}
)

var units = []unit{
	{"ns", 0, 0, durations}, {"us", 3, 0, durations}, {"ms", 6, 0, durations}, {"s", 9, 0, durations},
	{"B", 0, 0, sizes}, {"KB", 3, 0, sizes}, {"MB", 6, 0, sizes}, {"GB", 9, 0, sizes}, {"TB", 12, 0, sizes},
	{"KiB", 0, 10, sizes}, {"MiB", 0, 20, sizes}, {"GiB", 0, 30, sizes}, {"TiB", 0, 40, sizes},
}

const wantFunction = "sum(…), or one of the units s, ms, us, ns, B, KB, MB, GB, TB, KiB, MiB, GiB and TiB as a function, such as ms($latency)"

// terms takes the terms of a value, of which the first begins here, and the blanks behind the last.
func (s *scanner) terms(fields *fieldSet) (list []term, err *syntaxError) {
	for {
		s.blanks()
		t := term{}
		if err := s.term(&t, fields); err != nil {
			return nil, err
		}
		list = append(list, t)
		if s.blanks(); !s.accept('+') {
			return list, nil
		}
	}
}

func (s *scanner) term(t *term, fields *fieldSet) (err *syntaxError) {
	if s.peek() == '$' {
		at := s.i
		switch t.from, err = s.accessor(fields); {
		case err != nil:
		case strings.ContainsAny(t.from.name, "/*"):
			err = &syntaxError{want: "no calculation but + (a field with a / in its name is written $['a/b'])", at: at + 1 + strings.IndexAny(t.from.name, "/*")}
		case t.unit != nil:
			err = s.bareUnit(t)
		}
		return err
	}
	at := s.i
	name := s.while(isLetter)
	if !s.accept('(') {
		return &syntaxError{want: "an accessor such as $bytes, or a function of one such as ms($latency)", at: at}
	}
	i := slices.IndexFunc(units, func(u unit) bool { return u.name == name })
	switch {
	case name == "sum" && !t.list:
		t.list = true
	case i >= 0 && t.unit == nil:
		t.unit = &units[i]
	default:
		return &syntaxError{want: wantFunction, at: at}
	}
	s.blanks()
	if err := s.term(t, fields); err != nil {
		return err
	}
	if s.blanks(); !s.accept(')') {
		return s.fail("a closing )")
	}
	return nil
}

// bareUnit takes the unit behind an accessor that numbers without one have, if there is any.
func (s *scanner) bareUnit(t *term) *syntaxError {
	s.blanks()
	at := s.i
	name := s.while(isLetter)
	if name == "" {
		return nil
	}
	by, known := t.unit.family[name]
	if !known {
		return &syntaxError{want: "a unit that " + t.unit.name + " can be made of, or a closing )", at: at}
	}
	t.bare = &by
	return nil
}

// atTerms tells if what comes next is an accessor or a function, and no literal.
func (s *scanner) atTerms() bool {
	ahead := *s
	if ahead.blanks(); ahead.peek() == '$' {
		return true
	}
	return ahead.while(isLetter) != "" && ahead.peek() == '('
}

// String is the terms as a user would write them.
func (v *value) String() string {
	var all []string
	for _, t := range v.terms {
		text := t.from.source
		if t.unit != nil {
			text = t.unit.name + "(" + text + ")"
		}
		if t.list {
			text = "sum(" + text + ")"
		}
		all = append(all, text)
	}
	return strings.Join(all, "+")
}

// plain is the accessor of a value that is what one accessor finds, as most are; else nil.
func (v *value) plain() *accessor {
	if len(v.terms) == 1 && v.terms[0].unit == nil && !v.terms[0].list {
		return v.terms[0].from
	}
	return nil
}

// findValue returns what the first term finds that finds anything; it is empty where none does.
func (m *Mapper) findValue(v *value) []byte {
	for i := range v.terms {
		t := &v.terms[i]
		if found := m.find(t.from); len(found) > 0 && (!t.list || m.hasItems(found)) {
			return found
		}
	}
	return nil
}

// appendTerms appends the sum of the terms. What finds nothing adds nothing.
func (m *Mapper) appendTerms(dst []byte, v *value) ([]byte, *Refusal) {
	total := decimal.Number{}
	for i := range v.terms {
		t := &v.terms[i]
		found := m.find(t.from)
		if len(found) == 0 {
			continue
		}
		want := ""
		if t.list {
			want = m.addItems(&total, t, found)
		} else {
			want = m.addItem(&total, t, found)
		}
		if want != "" {
			return dst, refuse(BadValue, m.rules.valueOption, want, t.from, found)
		}
	}
	start := len(dst)
	dst, ok := total.Append(dst)
	if !ok {
		return dst, refuse(BadValue, m.rules.valueOption, "a sum of at most 100 digits", v.terms[0].from, m.find(v.terms[0].from))
	}
	m.tellBeyondDouble(dst[start:], v)
	return dst, nil
}

const (
	wantNumber     = "a finite number"
	wantNoNegative = "a number that is not negative (negative_values accept takes it)"
)

// addItem adds the number that v is, or its text, and says what was wanted where v is none.
func (m *Mapper) addItem(total *decimal.Number, t *term, v []byte) (want string) {
	var digits [64]byte
	text, size := packed.ReadString(v)
	if size == 0 {
		n, ok := packed.AppendNumber(digits[:0], v)
		if !ok {
			return wantNumber
		}
		if text = n; !packed.IsExact(v) {
			m.doubts.add(BeyondDouble, m.rules.valueOption, t.from)
		}
	}
	return m.addText(total, t, text)
}

// addText is addItem for a text.
func (m *Mapper) addText(total *decimal.Number, t *term, text []byte) (want string) {
	n, want := readItem(t, text)
	switch {
	case want != "":
		return want
	case n.Sign() < 0 && !m.rules.negative:
		return wantNoNegative
	}
	*total = total.Add(n)
	return ""
}

// readItem reads a number, with its unit where t asks for one.
func readItem(t *term, text []byte) (n decimal.Number, want string) {
	n, ok := packed.ParseNumber(text)
	switch {
	case t.unit == nil && !ok:
		return n, wantNumber
	case t.unit == nil, ok && n.Sign() == 0: // nothing is nothing in any unit
		return n, ""
	case !ok:
		return t.unit.read(bytes.TrimSpace(text))
	case t.bare == nil:
		return n, "a number with a unit (or the unit of those without, such as " + t.unit.name + "(" + t.from.source + " " + t.unit.name + "))"
	}
	return t.unit.of(n.Mul(t.bare.times, t.bare.exponent)), ""
}

// of turns a number of the family's base into one of u.
func (u *unit) of(n decimal.Number) decimal.Number {
	for range u.twos / 10 {
		n = n.Mul(9765625, 0) // 5^10
	}
	return n.Mul(1, -u.exponent-u.twos)
}

// read reads a number with a unit, such as 24.3ms, 5 KiB or 1m2.5s, as so many u.
func (u *unit) read(text []byte) (total decimal.Number, want string) {
	want = "a number with a unit that " + u.name + " can be made of"
	negative := len(text) > 0 && text[0] == '-'
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		text = text[1:]
	}
	for again := true; again; again = len(text) > 0 {
		end := 0
		for end < len(text) && (isDigit(text[end]) || text[end] == '.') {
			end++
		}
		n, ok := packed.ParseNumber(text[:end])
		if !ok {
			return total, want
		}
		text = bytes.TrimLeft(text[end:], " \t")
		end = 0
		for end < len(text) && !isDigit(text[end]) && text[end] != '.' && !isSpace(text[end]) {
			end++
		}
		by, known := u.family[string(text[:end])]
		if !known {
			return total, want
		}
		text = bytes.TrimLeft(text[end:], " \t")
		total = total.Add(n.Mul(by.times, by.exponent))
	}
	if total = u.of(total); negative {
		total = total.Mul(-1, 0)
	}
	return total, ""
}

// addItems adds the numbers of a list: one of msgpack, or a text in which they are parted by a comma, colon or semicolon
// with a blank behind it, as nginx does it. Without either, 1,234 and 1 234 are no lists.
func (m *Mapper) addItems(total *decimal.Number, t *term, v []byte) (want string) {
	m.eachItem(v, func(item []byte, packed bool) bool {
		if packed {
			want = m.addItem(total, t, item)
		} else {
			want = m.addText(total, t, item)
		}
		return want == ""
	})
	if want == wantNumber {
		want = "numbers, parted by a comma, colon or semicolon and a blank"
	}
	return want
}

// hasItems tells if a list holds anything but what says nothing.
func (m *Mapper) hasItems(v []byte) (has bool) {
	m.eachItem(v, func([]byte, bool) bool {
		has = true
		return false
	})
	return has
}

// eachItem calls do with each item of a list that does not say nothing, packed as msgpack or as a piece of a text, until it
// returns false. What is no list is one of a single item.
func (m *Mapper) eachItem(v []byte, do func(item []byte, packed bool) bool) {
	if packed.IsList(v) {
		for item := range packed.Items(v) {
			if !m.saysNothing(item) && !do(item, true) {
				return
			}
		}
		return
	}
	text, size := packed.ReadString(v)
	if size == 0 {
		do(v, true)
		return
	}
	for len(text) > 0 {
		end := 0
		for end < len(text) && !(strings.IndexByte(",:;", text[end]) >= 0 && end+1 < len(text) && isSpace(text[end+1])) {
			end++
		}
		item := bytes.TrimSpace(text[:end])
		if text = text[end:]; len(text) > 0 {
			text = bytes.TrimSpace(text[1:])
		}
		if !m.rules.absent.hasText(item) && !do(item, false) {
			return
		}
	}
}
