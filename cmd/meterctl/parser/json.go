package parser

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Object reads one JSON object. Integers become int64 or uint64, all other numbers float64, those beyond its range infinities,
// as the http input has it; bytes that are no UTF-8 stay as they are.
func Object(text []byte) (Map, error) {
	object, rest, err := read(text, false)
	if err == nil && len(bytes.TrimSpace(rest)) > 0 {
		err = errors.New("something after it")
	}
	if err != nil {
		return nil, fmt.Errorf("want a JSON object on one line, got %w", err)
	}
	return object, nil
}

// secondValue is what begins like another value of JSON, and not just with some words.
var secondValue = regexp.MustCompile(`^(?:[{["0-9-]|true|false|null)`)

// lineObject is Object as the json parser has it: a number beyond the range of a double is no JSON, and what stands after the
// object does not count unless it is another one.
func lineObject(text []byte) (Map, error) {
	object, rest, err := read(text, true)
	if err == nil {
		if rest = bytes.TrimSpace(rest); secondValue.Match(rest) {
			err = errors.New("a second value")
		}
	}
	return object, err
}

func read(text []byte, strict bool) (object Map, rest []byte, err error) {
	shielded := shield(shieldControls(string(text)))
	dec := json.NewDecoder(strings.NewReader(shielded))
	dec.UseNumber()
	v, err := value(dec, strict)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("one that breaks off")
	}
	if err != nil {
		return nil, nil, err
	}
	object, ok := v.(Map)
	if !ok {
		return nil, nil, fmt.Errorf("%.60s", bytes.TrimSpace(text))
	}
	return object, []byte(shielded[dec.InputOffset():]), nil
}

func value(dec *json.Decoder, strict bool) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case string:
		return unshield(t), nil
	case json.Number:
		if n, err := strconv.ParseInt(t.String(), 10, 64); err == nil {
			return n, nil
		}
		if n, err := strconv.ParseUint(t.String(), 10, 64); err == nil {
			return n, nil
		}
		f, err := strconv.ParseFloat(t.String(), 64)
		if errors.Is(err, strconv.ErrRange) && !strict {
			err = nil
		}
		return f, err
	case json.Delim:
		items := []any{} // not nil, which msgpack has too
		for dec.More() {
			v, err := value(dec, strict)
			if err != nil {
				return nil, err
			}
			items = append(items, v)
		}
		_, err := dec.Token()
		if t == '{' {
			return Map(items), err
		}
		return items, err
	}
	return token, nil
}

// Bytes that are no UTF-8 go through Go's JSON and regexp2 as characters of private use, of which no log has any.
const private = 0x10FE00

func shield(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && n == 1 {
			r = private + rune(text[i])
		}
		b.WriteRune(r)
		i += n
	}
	return b.String()
}

// shieldControls does so with control characters that stand in a string as they are, as Fluent Bit takes them.
func shieldControls(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return r < ' ' }) < 0 {
		return text
	}
	var b strings.Builder
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && quoted && i+1 < len(text):
			b.WriteString(text[i : i+2])
			i++
		case c < ' ' && quoted:
			b.WriteRune(private + rune(c))
		default:
			quoted = quoted != (c == '"')
			b.WriteByte(c)
		}
	}
	return b.String()
}

func unshield(text string) string {
	if !strings.Contains(text, "\xf4\x8f") { // how all of them begin
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if r >= private && r <= private+0xff {
			b.WriteByte(byte(r - private))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
