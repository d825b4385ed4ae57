package meter

import "strings"

// operand is the right side of an option: a literal as the user means it, or an accessor.
type operand struct {
	plain string
	from  *accessor
}

// operand takes a literal or an accessor, and the blanks behind it. In a list, a literal without quotes ends at a comma
// and holds no blanks: a forgotten comma would otherwise become part of it unnoticed.
func (s *scanner) operand(fields *fieldSet, inList bool) (o operand, err *syntaxError) {
	s.blanks()
	switch s.peek() {
	case '$':
		o.from, err = s.accessor(fields)
	case '"', '\'':
		o.plain, err = s.quoted()
	default:
		from := s.i
		if inList {
			o.plain = s.while(inBareWord)
		} else {
			o.plain = strings.TrimSpace(s.while(func(c byte) bool { return c != '$' }))
			for i := from + 1; i < s.i; i++ { // Fluent Bit has no comments behind a value
				if s.s[i] == '#' && isSpace(s.s[i-1]) {
					return o, &syntaxError{want: "no comment behind a value, or quotes around a text with a #", at: i}
				}
			}
		}
		if s.peek() == '$' {
			return o, s.fail("no $ inside a literal: a value is one accessor, or a literal in quotes")
		}
		if o.plain == "" {
			return o, &syntaxError{want: "a value", at: from}
		}
	}
	s.blanks()
	return o, err
}

func inBareWord(c byte) bool { return !isSpace(c) && !strings.ContainsRune(",=$\"'[]", rune(c)) }

// pair is one item of a list: name or name=value.
type pair struct {
	name     string
	at       int
	value    operand
	valueAt  int
	hasValue bool
}

// pairs reads a list whose items are parted by commas and whose names occur once.
func pairs(value string, fields *fieldSet) (list []pair, err *syntaxError) {
	s := &scanner{s: value}
	seen := map[string]bool{}
	for {
		s.blanks()
		p := pair{at: s.i}
		switch s.peek() {
		case '"', '\'':
			if p.name, err = s.quoted(); err != nil {
				return nil, err
			}
		case '$':
			return nil, s.fail("a name: write key for the field $key, or name=$key")
		default:
			p.name = s.while(inBareWord)
		}
		if strings.TrimSpace(p.name) == "" {
			return nil, &syntaxError{want: "a name", at: p.at}
		}
		if seen[p.name] {
			return nil, &syntaxError{want: "each name once", at: p.at}
		}
		seen[p.name] = true
		if s.peek() == '[' {
			return nil, s.fail("name=$" + p.name + "['key'] for a nested key")
		}
		if s.blanks(); s.accept('=') {
			s.blanks()
			p.hasValue, p.valueAt = true, s.i
			if p.value, err = s.operand(fields, true); err != nil {
				return nil, err
			}
			if p.value.from == nil && p.value.plain == "" {
				return nil, &syntaxError{want: "a value that is not empty", at: p.valueAt}
			}
		}
		list = append(list, p)
		if s.done() {
			return list, nil
		}
		if !s.accept(',') {
			return nil, s.fail("a comma, or quotes around a text with blanks")
		}
	}
}
