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
			if comma := strings.IndexByte(o.plain, ','); comma >= 0 {
				return o, &syntaxError{want: "one text, or quotes around one with a comma", at: from + comma}
			}
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

func inBareWord(c byte) bool { return !isSpace(c) && !strings.ContainsRune(",=$\"'[]()", rune(c)) }

// parenthesized reads the items of a list that take takes, one with each call, up to the closing ) behind them.
func (s *scanner) parenthesized(take func() *syntaxError) *syntaxError {
	for {
		if err := take(); err != nil {
			return err
		}
		if s.blanks(); s.accept(')') {
			return nil
		}
		if !s.accept(',') {
			return s.fail("a comma or a closing )")
		}
	}
}

// pair is the beginning of one item of a list: name or name=.
type pair struct {
	name     string
	at       int
	hasValue bool
}

// pairs reads a list whose items are parted by commas and whose names occur once. take is called behind each name, or the
// = behind it, and takes the value.
func (s *scanner) pairs(take func(s *scanner, p pair) *syntaxError) (err *syntaxError) {
	seen := map[string]bool{}
	for {
		s.blanks()
		p := pair{at: s.i}
		switch s.peek() {
		case '"', '\'':
			if p.name, err = s.quoted(); err != nil {
				return err
			}
		case '$':
			return s.fail("a name: write key for the field $key, or name=$key")
		default:
			p.name = s.while(inBareWord)
		}
		if strings.TrimSpace(p.name) == "" {
			return &syntaxError{want: "a name", at: p.at}
		}
		if seen[p.name] {
			return &syntaxError{want: "each name once", at: p.at}
		}
		seen[p.name] = true
		if s.peek() == '[' {
			return s.fail("name=$" + p.name + "['key'] for a nested key")
		}
		if s.blanks(); s.accept('=') {
			p.hasValue = true
			s.blanks()
		}
		if err := take(s, p); err != nil {
			return err
		}
		if s.blanks(); s.done() {
			return nil
		}
		if !s.accept(',') {
			return s.fail("a comma, or quotes around a text with blanks")
		}
	}
}
