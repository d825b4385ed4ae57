package parser

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

var (
	leadingInteger = regexp.MustCompile(`^[ \t\n\v\f\r]*([+-]?\d+)`)
	leadingFloat   = regexp.MustCompile(`^[ \t\n\v\f\r]*([+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?i:inf(?:inity)?|nan)))`)
	leadingHex     = regexp.MustCompile(`^[ \t\n\v\f\r]*([+-]?)(?:0[xX])?([0-9a-fA-F]+)`)
)

// typed is what Types makes of a string (flb_parser_typecast): the number that it begins with, as atoll, atof and strtoull read it.
func typed(kind, text string) any {
	switch kind {
	case "integer":
		n, _ := strconv.ParseInt(first(leadingInteger, text), 10, 64) // beyond the range: the nearest, as atoll
		return n
	case "float":
		f, _ := strconv.ParseFloat(first(leadingFloat, text), 64)
		return f
	case "hex":
		m := leadingHex.FindStringSubmatch(text)
		if m == nil {
			return uint64(0)
		}
		n, err := strconv.ParseUint(m[2], 16, 64)
		if err != nil {
			return uint64(math.MaxUint64)
		}
		if m[1] == "-" {
			n = -n
		}
		return n
	case "bool":
		switch {
		case len(text) >= 4 && strings.EqualFold(text[:4], "true"):
			return true
		case len(text) >= 5 && strings.EqualFold(text[:5], "false"):
			return false
		}
	}
	return text
}

// first is the number that a string begins with, 0 if it begins with none.
func first(re *regexp.Regexp, text string) string {
	if m := re.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return "0"
}

// unescape is flb_unescape_string_utf8: \n and its like, \uXXXX; another character after a \ stands for itself.
func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		switch at := strings.IndexByte("abfnrtv", text[i]); {
		case at >= 0:
			b.WriteByte("\a\b\f\n\r\t\v"[at])
		case text[i] == 'u' && i+4 < len(text):
			n, err := strconv.ParseUint(text[i+1:i+5], 16, 16)
			if err != nil {
				b.WriteByte(text[i])
				continue
			}
			i += 4
			r := rune(n)
			if utf16.IsSurrogate(r) && i+6 < len(text) && text[i+1] == '\\' && text[i+2] == 'u' {
				if low, err := strconv.ParseUint(text[i+3:i+7], 16, 16); err == nil {
					r = utf16.DecodeRune(r, rune(low))
					i += 6
				}
			}
			b.WriteString(string(utf8.AppendRune(nil, r)))
		default:
			b.WriteByte(text[i])
		}
	}
	out, _, _ := strings.Cut(b.String(), "\x00")
	return out
}
