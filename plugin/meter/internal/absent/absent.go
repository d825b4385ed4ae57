// Package absent knows what says that there is no value: what the option absent has, which is as good as a missing field, and
// words that often mean nothing and are only told of.
//
// What holds throughout: a Set never changes and is safe for concurrent use; asking it allocates nothing, and for most values
// looks at their first and last bytes alone.
package absent

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"out_amberflo/plugin/meter/internal/grammar"
	"out_amberflo/plugin/meter/internal/packed"
)

// Set is what stands in a log where there is no value, beside null and strings of spaces: "-" of most servers.
type Set struct {
	words   [][]byte
	longest int
	numbers []int64 // those of strings that are integers: they stand for numbers too

	ways [256]way // by the first byte of a value in msgpack
}

// way says how to tell if a value says nothing.
type way uint8

const (
	neverAbsent way = iota
	lookAtEnds      // a string longer than all of Set.words, which says nothing only with spaces around it
	lookAtItAll
)

// prepare fills in ways. All of a is set.
func (a *Set) prepare() {
	for lead := range a.ways {
		switch n := lead - 0xa0; {
		case n > a.longest && n < 0x20: // fixstr
			a.ways[lead] = lookAtEnds
		case n >= 0 && n < 0x20, lead >= 0xc4 && lead <= 0xc6, lead >= 0xd9 && lead <= 0xdb, len(a.numbers) > 0: // str and bin
			a.ways[lead] = lookAtItAll
		}
	}
}

// Compile reads a list of strings separated by commas; "" in quotes stands for none.
func Compile(value string) (a Set, err *grammar.Error) {
	s := &grammar.Scanner{S: value}
	for {
		s.Spaces()
		word, at := "", s.At
		if s.AtQuote() {
			word, err = s.Quoted()
		} else if word = s.While(func(c byte) bool { return !grammar.IsSpace(c) && strings.IndexByte(",;|$", c) < 0 }); s.Peek() == '$' {
			err = s.Fail("strings, not fields")
		} else if word == "" {
			err = &grammar.Error{Want: `a string such as -, or "" for none`, At: at}
		}
		s.Spaces()
		if err == nil && !s.Done() && s.Peek() != ',' {
			err = s.Fail("a comma, or quotes around a string with spaces")
		}
		if err != nil {
			return a, err
		}
		if word = strings.TrimSpace(word); word != "" {
			a.words = append(a.words, []byte(word))
			a.longest = max(a.longest, len(word))
			if n, err := strconv.ParseInt(word, 10, 64); err == nil {
				a.numbers = append(a.numbers, n)
			}
		}
		if !s.Accept(',') {
			a.prepare()
			return a, nil
		}
	}
}

// Has tells if v, which is not empty, says that there is no value: a string of spaces, or one of the list, whose case and the
// spaces around it do not count.
func (a *Set) Has(v []byte) bool {
	way := a.ways[v[0]]
	return way != neverAbsent && (way == lookAtItAll || mayHaveSpaces(v[1], v[v[0]&0x1f])) && a.hasAny(v)
}

// mayHaveSpaces tells if a string with these first and last bytes may begin or end with spaces.
func mayHaveSpaces(first, last byte) bool {
	return first <= ' ' || first >= utf8.RuneSelf || last <= ' ' || last >= utf8.RuneSelf
}

// HasNumbers tells if there are numbers that say so, too.
func (a *Set) HasNumbers() bool { return len(a.numbers) > 0 }

func (a *Set) hasAny(v []byte) bool {
	s, size := packed.ReadString(v)
	if size == 0 {
		return len(a.numbers) > 0 && a.hasNumber(v)
	}
	if len(s) > a.longest && !mayHaveSpaces(s[0], s[len(s)-1]) {
		return false
	}
	return a.HasString(s)
}

// HasString is Has for a string.
func (a *Set) HasString(s []byte) bool {
	if s = bytes.TrimSpace(s); len(s) == 0 {
		return true
	}
	for _, t := range a.words {
		if len(t) == len(s) && bytes.EqualFold(t, s) {
			return true
		}
	}
	return false
}

func (a *Set) hasNumber(v []byte) bool {
	n, _, err := msgp.ReadInt64Bytes(v)
	if err != nil {
		f, _, err := msgp.ReadFloat64Bytes(v)
		if n = int64(f); err != nil || float64(n) != f {
			return false
		}
	}
	return slices.Contains(a.numbers, n)
}

// nothingWords are strings that often mean that there is no value. Where they are not in absent they are metered as they
// stand, and it is told: a customer may have such a name.
var nothingWords = []string{
	"null", "(null)", "<null>", "[null]", "nil", "<nil>", "%!s(<nil>)", "none", "(none)", "<none>", "n/a", "na", "#n/a", "nan", `\n`, "undefined", "unknown",
	"(unknown)", "<unknown>", "(not set)", "not set", "not_set", "(empty)", "<empty>", "empty", "missing", "<no value>", "[object object]", "{}", "[]",
	"-", "--", "-, -", "- : -", "-/-", `"-"`, `""`, "''", "00000000-0000-0000-0000-000000000000",
}

// nothingByLength are nothingWords by their length.
var nothingByLength = func() (t [40][][]byte) {
	for _, word := range nothingWords {
		t[len(word)] = append(t[len(word)], []byte(word))
	}
	return t
}()

// IsNothing tells if s, which is not empty, is one of nothingWords.
func IsNothing(s []byte) bool {
	if mayHaveSpaces(s[0], s[len(s)-1]) {
		s = bytes.TrimSpace(s)
	}
	if len(s) >= len(nothingByLength) {
		return false
	}
	for _, word := range nothingByLength[len(s)] {
		if (word[0] == s[0] || word[0] == s[0]|0x20) && bytes.EqualFold(word, s) {
			return true
		}
	}
	return false
}

// IsNoName tells if s is nobody's name: it says nothing, has neither letters nor digits, or is a template that somebody
// did not fill in.
func IsNoName(s []byte) bool {
	if c := s[0]; c < utf8.RuneSelf && (grammar.IsLetter(c) || grammar.IsDigit(c)) { // as most are
		return IsNothing(s)
	}
	for _, begin := range []string{"$", "{{", "%{", "<%", "#{"} {
		if rest, ok := bytes.CutPrefix(s, []byte(begin)); ok && len(rest) > 0 && (grammar.IsLetter(rest[0]) || rest[0] == '{' || rest[0] == ' ') {
			return true
		}
	}
	return IsNothing(s) || bytes.IndexFunc(s, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }) < 0
}
