package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// jsonFlag adds --json.
func jsonFlag(cmd *cobra.Command, to *bool) {
	cmd.Flags().BoolVar(to, "json", false, "write JSON, for programs: sizes in bytes, times in RFC 3339")
}

// writeJSON writes one value in JSON.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// newTable aligns the cells of lines, which tabs separate.
func newTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 8, 2, ' ', 0) }

// bytesText is a size for people, in powers of 1,000 as the options have them.
func bytesText(n int64) string {
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

// countText is a number with its thousands apart.
func countText(n int) string { return thousands(fmt.Sprint(n)) }

// thousands parts the digits before the point.
func thousands(digits string) string {
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

// durationText is a duration for people, in its largest unit.
func durationText(d time.Duration) string {
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

// ago is the age of something.
func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return durationText(time.Since(t)) + " ago"
}

// hidden are runes that change how what is around them looks, or show nothing.
var hidden = []*unicode.RangeTable{unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp}

// plain shows a name that came from outside as it is: what would move a cursor, turn the direction of text or hide is escaped.
func plain(name string) string {
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

// shown is plain, and as much of it as so many runes have.
func shown(name string, most int) string {
	runes := []rune(plain(name))
	if len(runes) <= most {
		return string(runes)
	}
	return string(runes[:most-1]) + "…"
}

// isTerminal tells if somebody looks at what is written.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// optionalTime is nil for no time, for JSON.
func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
