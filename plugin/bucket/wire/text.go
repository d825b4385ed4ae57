package wire

import (
	"regexp"
	"strings"
	"unicode"
)

// queries of URLs may be secrets, such as that of AWS_CONTAINER_CREDENTIALS_FULL_URI.
var queries = regexp.MustCompile(`(https?://[^\s"?]+)\?[^\s"]+`)

// WithoutQueries is a string without them.
func WithoutQueries(text string) string { return queries.ReplaceAllString(text, "$1?…") }

// Printable is a string in one line, without what would move a terminal's cursor.
func Printable(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, text)
}

// FirstWords are enough to recognise a page by.
func FirstWords(text string) string {
	text = Printable(text)
	const most = 160
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
