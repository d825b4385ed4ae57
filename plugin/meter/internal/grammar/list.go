package grammar

import "strings"

// Operand is the right side of an option: a literal as the user means it, or an accessor.
type Operand struct {
	Plain string
	From  *Accessor // nil for a literal
}

// Operand takes a literal or an accessor, and the spaces after it. In a list, a literal without quotes ends at a comma and holds
// no spaces: a forgotten comma would otherwise become part of it unnoticed.
func (s *Scanner) Operand(inList bool) (o Operand, err *Error) {
	s.Spaces()
	switch s.Peek() {
	case '$':
		o.From, err = s.Accessor()
	case '"', '\'':
		o.Plain, err = s.Quoted()
	default:
		from := s.At
		if inList {
			o.Plain = s.BareWord()
		} else {
			o.Plain = strings.TrimSpace(s.While(func(c byte) bool { return c != '$' }))
			if comma := strings.IndexByte(o.Plain, ','); comma >= 0 {
				return o, &Error{Want: "one string, or quotes around one with a comma", At: from + comma}
			}
			for i := from + 1; i < s.At; i++ { // Fluent Bit has no comments after a value
				if s.S[i] == '#' && IsSpace(s.S[i-1]) {
					return o, &Error{Want: "no comment after a value, or quotes around a string with a #", At: i}
				}
			}
		}
		if s.Peek() == '$' {
			return o, s.Fail("no $ inside a literal: a value is one accessor, or a literal in quotes")
		}
		if o.Plain == "" {
			return o, &Error{Want: "a value", At: from}
		}
	}
	s.Spaces()
	return o, err
}

// Parenthesized reads the items of a list that take takes, one with each call, up to the closing ) after them.
func (s *Scanner) Parenthesized(take func() *Error) *Error {
	for {
		if err := take(); err != nil {
			return err
		}
		if s.Spaces(); s.Accept(')') {
			return nil
		}
		if !s.Accept(',') {
			return s.Fail("a comma or a closing )")
		}
	}
}

// Pair is the beginning of one item of a list: name or name=.
type Pair struct {
	Name     string
	At       int
	HasValue bool
}

// Pairs reads a list whose items are separated by commas and whose names occur once. take is called after each name, or the =
// after it, and takes the value.
func (s *Scanner) Pairs(take func(p Pair) *Error) (err *Error) {
	seen := map[string]bool{}
	for {
		s.Spaces()
		p := Pair{At: s.At}
		if s.AtQuote() {
			if p.Name, err = s.Quoted(); err != nil {
				return err
			}
		} else if p.Name = s.BareWord(); p.Name == "" && s.Peek() == '$' {
			return s.Fail("a name: write key for the field $key, or name=$key")
		}
		if strings.TrimSpace(p.Name) == "" {
			return &Error{Want: "a name", At: p.At}
		}
		if seen[p.Name] {
			return &Error{Want: "each name once", At: p.At}
		}
		seen[p.Name] = true
		if s.Peek() == '[' {
			return s.Fail("name=$" + p.Name + "['key'] for a nested key")
		}
		if s.Spaces(); s.Accept('=') {
			p.HasValue = true
			s.Spaces()
		}
		if err := take(p); err != nil {
			return err
		}
		if s.Spaces(); s.Done() {
			return nil
		}
		if !s.Accept(',') {
			return s.Fail("a comma, or quotes around a string with spaces")
		}
	}
}

// BareWord takes a literal without quotes in a list.
func (s *Scanner) BareWord() string { return s.While(inBareWord) }

// LooksLikeAccessor tells if a string begins as an accessor does.
func LooksLikeAccessor(s string) bool {
	s = strings.Trim(s, " \"'")
	return len(s) > 1 && s[0] == '$' && (IsLetter(s[1]) || s[1] == '[' || s[1] == '{')
}
