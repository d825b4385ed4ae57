package meter

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
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
	lookAtFirst            // a text longer than all of absence.texts, which says nothing only if it is blank
	lookAtItAll
)

// prepare fills in ways. All of a is set.
func (a *absence) prepare() {
	for lead := range a.ways {
		switch n := lead - 0xa0; {
		case n > a.longest && n < 0x20: // fixstr
			a.ways[lead] = lookAtFirst
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
		} else if text = strings.TrimSpace(s.while(func(c byte) bool { return c != ',' && c != '$' })); s.peek() == '$' {
			err = s.fail("texts, not fields")
		} else if text == "" {
			err = &syntaxError{want: `a text such as -, or "" for none`, at: at}
		}
		s.blanks()
		if err == nil && !s.done() && s.peek() != ',' {
			err = s.fail("a comma or the end")
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
	return way != neverAbsent && (way == lookAtItAll || v[1] <= ' ' || v[1] >= utf8.RuneSelf) && a.hasAny(v)
}

func (a *absence) hasAny(v []byte) bool {
	text, size := readText(v)
	if size == 0 {
		return len(a.numbers) > 0 && a.hasNumber(v)
	}
	if len(text) > a.longest && text[0] > ' ' && text[0] < utf8.RuneSelf {
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
var nothingWords = [][]byte{
	[]byte("null"), []byte("(null)"), []byte("<null>"), []byte("nil"), []byte("<nil>"), []byte("none"), []byte("(none)"), []byte("<none>"),
	[]byte("n/a"), []byte("undefined"), []byte("nan"), []byte("--"), []byte(`"-"`), []byte("unknown"), []byte("(empty)"), []byte("<empty>"),
}

// nothingByLength are nothingWords by their length.
var nothingByLength = func() (t [10][][]byte) {
	for _, word := range nothingWords {
		t[len(word)] = append(t[len(word)], word)
	}
	return t
}()

// isNothingWord tells if text is one of nothingWords.
func isNothingWord(text []byte) bool {
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
