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
		if found := m.find(t.From); len(found) > 0 && (!t.List || m.hasItems(found)) {
			return found
		}
	}
	return nil
}

// appendTerms appends the sum of the terms. What finds nothing adds nothing.
func (m *Mapper) appendTerms(dst []byte, v *rules.Value) ([]byte, *Refusal) {
	total := decimal.Number{}
	for i := range v.Terms {
		t := &v.Terms[i]
		found := m.find(t.From)
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
			return dst, refuse(BadValue, m.rules.ValueOption, want, t.From, found)
		}
	}
	start := len(dst)
	dst, ok := total.Append(dst)
	if !ok {
		return dst, refuse(BadValue, m.rules.ValueOption, "a sum of at most 100 digits", v.Terms[0].From, m.find(v.Terms[0].From))
	}
	m.tellBeyondDouble(dst[start:], v)
	return dst, nil
}

// addItem adds the number that v is, or its text, and says what was wanted where v is none.
func (m *Mapper) addItem(total *decimal.Number, t *rules.Term, v []byte) (want string) {
	var digits [64]byte
	text, size := packed.ReadString(v)
	if size == 0 {
		n, ok := packed.AppendNumber(digits[:0], v)
		if !ok {
			return rules.WantNumber
		}
		if text = n; !packed.IsExact(v) {
			m.doubts.add(BeyondDouble, m.rules.ValueOption, t.From)
		}
	}
	return m.addText(total, t, text)
}

// addText is addItem for a text.
func (m *Mapper) addText(total *decimal.Number, t *rules.Term, text []byte) (want string) {
	n, want := t.Read(text)
	switch {
	case want != "":
		return want
	case n.Sign() < 0 && !m.rules.NegativeValues:
		return rules.WantNoNegative
	}
	*total = total.Add(n)
	return ""
}

// addItems adds the numbers of a list: one of msgpack, or a text in which they are parted by a comma, colon or semicolon
// with a blank behind it, as nginx does it. Without either, 1,234 and 1 234 are no lists.
func (m *Mapper) addItems(total *decimal.Number, t *rules.Term, v []byte) (want string) {
	m.eachItem(v, func(item []byte, packed bool) bool {
		if packed {
			want = m.addItem(total, t, item)
		} else {
			want = m.addText(total, t, item)
		}
		return want == ""
	})
	if want == rules.WantNumber {
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
		for end < len(text) && !(strings.IndexByte(",:;", text[end]) >= 0 && end+1 < len(text) && grammar.IsSpace(text[end+1])) {
			end++
		}
		item := bytes.TrimSpace(text[:end])
		if text = text[end:]; len(text) > 0 {
			text = bytes.TrimSpace(text[1:])
		}
		if !m.rules.Absent.HasString(item) && !do(item, false) {
			return
		}
	}
}
