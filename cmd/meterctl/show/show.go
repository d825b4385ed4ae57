// Package show writes what meterctl has found for people, and as JSON for programs.
package show

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// JSON writes one value in JSON.
func JSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// Table aligns the cells of lines, which tabs separate.
func Table(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 8, 2, ' ', 0) }

// Bytes is a size for people, in powers of 1,000 as the options have them.
func Bytes(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	size, unit := float64(n), 0
	for size >= 999.5 && unit < 5 {
		size, unit = size/1000, unit+1
	}
	if size < 99.95 {
		return fmt.Sprintf("%.1f %cB", size, " kMGTP"[unit])
	}
	return fmt.Sprintf("%.0f %cB", size, " kMGTP"[unit])
}

// Count is a number with its thousands apart.
func Count(n int) string { return Thousands(fmt.Sprint(n)) }

// Thousands parts the digits before the point.
func Thousands(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	whole, fraction, point := strings.Cut(digits, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if point {
		whole += "." + fraction
	}
	return sign + whole
}

// Duration is a duration for people, in its largest unit.
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// Ago is the age of something.
func Ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return Duration(time.Since(t)) + " ago"
}

// hidden are runes that change how what is around them looks, or show nothing.
var hidden = []*unicode.RangeTable{unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp}

// Plain shows a name that came from outside as it is: what would move a cursor, turn the direction of text or hide is escaped.
func Plain(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool { return r == unicode.ReplacementChar || unicode.In(r, hidden...) }) {
		return name
	}
	var b strings.Builder
	for _, r := range name {
		if unicode.In(r, hidden...) {
			fmt.Fprintf(&b, `\u{%x}`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Cut is plain, and as much of it as so many runes have.
func Cut(name string, most int) string {
	runes := []rune(Plain(name))
	if len(runes) <= most {
		return string(runes)
	}
	return string(runes[:most-1]) + "…"
}

// IsTerminal tells if somebody looks at what is written.
func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Number is n of what is counted, with an ending for one and for more.
func Number(n int, of string, endings ...string) string {
	one, more := "", ""
	if len(endings) > 0 {
		one, more = endings[0], endings[1]
	}
	if n == 1 {
		return "1 " + of + one
	}
	return fmt.Sprintf("%d %ss%s", n, of, more)
}

// Array writes lines of JSON as the items of an array.
type Array struct {
	W    io.Writer
	some bool
}

// Write implements [io.Writer], for whole lines.
func (j *Array) Write(lines []byte) (int, error) {
	for line := range bytes.Lines(lines) {
		before := ",\n"
		if !j.some {
			before = "\n"
		}
		j.some = true
		if _, err := fmt.Fprintf(j.W, "%s%s", before, bytes.TrimSuffix(line, []byte{'\n'})); err != nil {
			return 0, err
		}
	}
	return len(lines), nil
}

// longest are the runes of a short name.
const longest = 64

// Short is a name of which no two are the same: a long one has the beginning of its digest.
func Short(name string) string {
	if text := Plain(name); len([]rune(text)) <= longest {
		return text
	}
	digest := sha256.Sum256([]byte(name))
	return Cut(name, longest-10) + " #" + hex.EncodeToString(digest[:4])
}

func Time(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// OptionalTime is nil for no time, for JSON.
func OptionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
