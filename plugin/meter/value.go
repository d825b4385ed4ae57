package meter

import (
	"bytes"
	"strings"

	"out_amberflo/plugin/decimal"
	"out_amberflo/plugin/meter/internal/grammar"
	"out_amberflo/plugin/meter/internal/packed"
	"out_amberflo/plugin/meter/internal/rules"
)

// findValue returns what the first term finds that finds anything; it is empty where none does.
func (m *Mapper) findValue(v *rules.Value) []byte {
	for i := range v.Terms {
		t := &v.Terms[i]
		if found := m.ev.Find(t.From); len(found) > 0 && (!t.List || m.hasItems(found)) {
			return found
		}
	}
	return nil
}

// appendTerms appends the sum of the terms. What finds nothing adds nothing.
func (m *Mapper) appendTerms(dst []byte, v *rules.Value) ([]byte, *Rejection) {
	total := decimal.Number{}
	for i := range v.Terms {
		t := &v.Terms[i]
		found := m.ev.Find(t.From)
		if len(found) == 0 {
			continue
		}
		want := ""
		if t.List {
			want = m.addItems(&total, t, found)
		} else {
			want = m.addItem(&total, t, found)
		}
		if want != "" {
			return dst, reject(BadValue, m.rules.ValueOption, want, t.From, found)
		}
	}
	start := len(dst)
	dst, ok := total.Append(dst)
	if !ok {
		return dst, reject(BadValue, m.rules.ValueOption, "a sum of at most 100 digits", v.Terms[0].From, m.ev.Find(v.Terms[0].From))
	}
	m.tellBeyondDouble(dst[start:], v)
	return dst, nil
}

// addItem adds the number that v is, or its string, and says what was wanted where v is none.
func (m *Mapper) addItem(total *decimal.Number, t *rules.Term, v []byte) (want string) {
	var digits [64]byte
	s, size := packed.ReadString(v)
	if size == 0 {
		n, ok := packed.AppendNumber(digits[:0], v)
		if !ok {
			return rules.WantNumber
		}
		if s = n; !packed.IsExact(v) {
			m.doubts.add(BeyondDouble, m.rules.ValueOption, t.From)
		}
	}
	return m.addString(total, t, s)
}

// addString is addItem for a string.
func (m *Mapper) addString(total *decimal.Number, t *rules.Term, s []byte) (want string) {
	n, want := t.Read(s)
	switch {
	case want != "":
		return want
	case n.Sign() < 0 && !m.rules.NegativeValues:
		return rules.WantNoNegative
	}
	*total = total.Add(n)
	return ""
}

// addItems adds the numbers of a list: one of msgpack, or a string in which they are separated by a comma, colon or semicolon
// with a space after it, as nginx does it. Without either, 1,234 and 1 234 are no lists.
func (m *Mapper) addItems(total *decimal.Number, t *rules.Term, v []byte) (want string) {
	m.eachItem(v, func(item []byte, packed bool) bool {
		if packed {
			want = m.addItem(total, t, item)
		} else {
			want = m.addString(total, t, item)
		}
		return want == ""
	})
	if want == rules.WantNumber {
		want = "numbers, separated by a comma, colon or semicolon and a space"
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

// eachItem calls do with each item of a list that does not say nothing, packed as msgpack or as a piece of a string, until it
// returns false. What is no list is one of a single item.
func (m *Mapper) eachItem(v []byte, do func(item []byte, packed bool) bool) {
	if packed.IsList(v) {
		for item := range packed.Items(v) {
			if !m.ev.SaysNothing(item) && !do(item, true) {
				return
			}
		}
		return
	}
	s, size := packed.ReadString(v)
	if size == 0 {
		do(v, true)
		return
	}
	for len(s) > 0 {
		end := 0
		for end < len(s) && !(strings.IndexByte(",:;", s[end]) >= 0 && end+1 < len(s) && grammar.IsSpace(s[end+1])) {
			end++
		}
		item := bytes.TrimSpace(s[:end])
		if s = s[end:]; len(s) > 0 {
			s = bytes.TrimSpace(s[1:])
		}
		if !m.rules.Absent.HasString(item) && !do(item, false) {
			return
		}
	}
}
