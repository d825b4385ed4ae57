// Package grammar reads the values of options from left to right: accessors, literals and lists of both.
//
// What holds throughout: it knows no option; each method takes what it reads and the position moves on; an error says what was
// wanted and at which byte. What accessors name is collected in Fields, which the events' reader is then asked for. It is used
// at the start only, and speed does not matter.
package grammar

import "strings"

// Error says what was wanted at byte At of an option's value.
type Error struct {
	Want string
	At   int
}

// Scanner reads one option's value.
type Scanner struct {
	S      string
	At     int // the next byte
	Fields *Fields
}

// Fail returns the error that something else was wanted here.
func (s *Scanner) Fail(want string) *Error { return &Error{Want: want, At: s.At} }

// Done tells if nothing is left.
func (s *Scanner) Done() bool { return s.At >= len(s.S) }

// Peek returns the next byte, 0 at the end.
func (s *Scanner) Peek() byte {
	if s.Done() {
		return 0
	}
	return s.S[s.At]
}

// Accept takes the next byte if it is c.
func (s *Scanner) Accept(c byte) bool {
	if s.Done() || s.S[s.At] != c {
		return false
	}
	s.At++
	return true
}

// AcceptAll takes what comes next if it is prefix.
func (s *Scanner) AcceptAll(prefix string) bool {
	if !strings.HasPrefix(s.S[s.At:], prefix) {
		return false
	}
	s.At += len(prefix)
	return true
}

// Spaces takes spaces, of which line breaks are some: an option of a YAML configuration may have several lines.
func (s *Scanner) Spaces() { s.While(IsSpace) }

// While takes the bytes from here on that belong to set.
func (s *Scanner) While(set func(c byte) bool) string {
	from := s.At
	for !s.Done() && set(s.S[s.At]) {
		s.At++
	}
	return s.S[from:s.At]
}

// Word takes letters.
func (s *Scanner) Word() string { return s.While(IsLetter) }

// AtQuote tells if what comes next is in quotes.
func (s *Scanner) AtQuote() bool { return s.Peek() == '"' || s.Peek() == '\'' }

// Quoted takes a string in quotes, in which a doubled quote stands for one.
func (s *Scanner) Quoted() (string, *Error) {
	quote := s.Peek()
	s.At++
	var plain strings.Builder
	for {
		if s.Done() {
			return "", s.Fail("a closing " + string(quote))
		}
		c := s.Peek()
		s.At++
		if c == quote && !s.Accept(quote) {
			return plain.String(), nil
		}
		plain.WriteByte(c)
	}
}

// IsSpace tells if c is a space or a line break.
func IsSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// IsLetter tells if c is an ASCII letter or an underscore.
func IsLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }

// IsDigit tells if c is an ASCII digit.
func IsDigit(c byte) bool { return c >= '0' && c <= '9' }

func inIdentifier(c byte) bool { return IsLetter(c) || IsDigit(c) || c == '-' || c == '/' }

// inBareWord tells if c can stand in a word without quotes that is one of a list.
func inBareWord(c byte) bool { return !IsSpace(c) && !strings.ContainsRune(",=$\"'[]()", rune(c)) }
