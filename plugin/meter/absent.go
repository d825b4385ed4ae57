package meter

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"out_amberflo/plugin/meter/internal/packed"
)

// absence is what stands in a log where there is no value, beside null and blank texts: "-" of most servers.
type absence struct {
	texts   [][]byte
	longest int
	numbers []int64 // those of texts that are integers: they stand for numbers too

	ways [256]absenceWay // by the first byte of a value in msgpack
}

// absenceWay says how to tell if a value says nothing.
type absenceWay uint8

const (
	neverAbsent absenceWay = iota
	lookAtEnds             // a text longer than all of absence.texts, which says nothing only with blanks around it
	lookAtItAll
)

// prepare fills in ways. All of a is set.
func (a *absence) prepare() {
	for lead := range a.ways {
		switch n := lead - 0xa0; {
		case n > a.longest && n < 0x20: // fixstr
			a.ways[lead] = lookAtEnds
		case n >= 0 && n < 0x20, lead >= 0xc4 && lead <= 0xc6, lead >= 0xd9 && lead <= 0xdb, len(a.numbers) > 0: // str and bin
			a.ways[lead] = lookAtItAll
		}
	}
}

func (c *compiler) absent(value string) (a absence) {
	const example = "-, N/A, null"
	s := &scanner{s: value}
	for {
		s.blanks()
		at := s.i
		text := ""
		var err *syntaxError
		if q := s.peek(); q == '"' || q == '\'' {
			text, err = s.quoted()
		} else if text = s.while(func(c byte) bool { return !isSpace(c) && strings.IndexByte(",;|$", c) < 0 }); s.peek() == '$' {
			err = s.fail("texts, not fields")
		} else if text == "" {
			err = &syntaxError{want: `a text such as -, or "" for none`, at: at}
		}
		s.blanks()
		if err == nil && !s.done() && s.peek() != ',' {
			err = s.fail("a comma, or quotes around a text with blanks")
		}
		if err != nil {
			c.failAt("absent", value, example, err)
			return a
		}
		if text = strings.TrimSpace(text); text != "" {
			a.texts = append(a.texts, []byte(text))
			a.longest = max(a.longest, len(text))
			if n, err := strconv.ParseInt(text, 10, 64); err == nil {
				a.numbers = append(a.numbers, n)
			}
		}
		if !s.accept(',') {
			a.prepare()
			return a
		}
	}
}

// has tells if v, which is not empty, says that there is no value: a blank text, or one of the list, whose case and the
// blanks around it do not count.
func (a *absence) has(v []byte) bool {
	way := a.ways[v[0]]
	return way != neverAbsent && (way == lookAtItAll || mayHaveBlanks(v[1], v[v[0]&0x1f])) && a.hasAny(v)
}

// mayHaveBlanks tells if a text with these first and last bytes may begin or end with blanks.
func mayHaveBlanks(first, last byte) bool {
	return first <= ' ' || first >= utf8.RuneSelf || last <= ' ' || last >= utf8.RuneSelf
}

func (a *absence) hasAny(v []byte) bool {
	text, size := packed.ReadString(v)
	if size == 0 {
		return len(a.numbers) > 0 && a.hasNumber(v)
	}
	if len(text) > a.longest && !mayHaveBlanks(text[0], text[len(text)-1]) {
		return false
	}
	return a.hasText(text)
}

func (a *absence) hasText(text []byte) bool {
	if text = bytes.TrimSpace(text); len(text) == 0 {
		return true
	}
	for _, t := range a.texts {
		if len(t) == len(text) && bytes.EqualFold(t, text) {
			return true
		}
	}
	return false
}

func (a *absence) hasNumber(v []byte) bool {
	var n int64
	switch msgp.NextType(v) {
	case msgp.IntType, msgp.UintType:
		var err error
		if n, _, err = msgp.ReadInt64Bytes(v); err != nil {
			return false
		}
	case msgp.Float64Type, msgp.Float32Type:
		f, _, err := msgp.ReadFloat64Bytes(v)
		if n = int64(f); err != nil || float64(n) != f {
			return false
		}
	default:
		return false
	}
	for _, have := range a.numbers {
		if n == have {
			return true
		}
	}
	return false
}

// nothingWords are texts that often mean that there is no value. Where they are not in absent they are metered as they
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

// isNothingWord tells if text, which is not empty, is one of nothingWords.
func isNothingWord(text []byte) bool {
	if mayHaveBlanks(text[0], text[len(text)-1]) {
		text = bytes.TrimSpace(text)
	}
	if len(text) >= len(nothingByLength) {
		return false
	}
	for _, word := range nothingByLength[len(text)] {
		if (word[0] == text[0] || word[0] == text[0]|0x20) && bytes.EqualFold(word, text) {
			return true
		}
	}
	return false
}

// isNoName tells if text is nobody's name: it says nothing, has neither letters nor digits, or is a template that somebody
// did not fill in.
func isNoName(text []byte) bool {
	if c := text[0]; c < utf8.RuneSelf && (isLetter(c) || isDigit(c)) { // as most are
		return isNothingWord(text)
	}
	for _, begin := range []string{"$", "{{", "%{", "<%", "#{"} {
		if rest, ok := bytes.CutPrefix(text, []byte(begin)); ok && len(rest) > 0 && (isLetter(rest[0]) || rest[0] == '{' || rest[0] == ' ') {
			return true
		}
	}
	return isNothingWord(text) || bytes.IndexFunc(text, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }) < 0
}
