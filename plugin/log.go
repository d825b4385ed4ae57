package plugin

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"
)

// logHandler writes lines that look like Fluent Bit's own, through Fluent Bit where it offers that:
//
//	[2026/11/21 20:00:09.692] [ info] [output:amberflo:amberflo.0] message key=value
type logHandler struct {
	host  Host
	lines atomic.Int64 // so far
}

func newLogger(host Host) *slog.Logger { return slog.New(&logHandler{host: host}) }

// linesOf is how many lines a logger of newLogger has written.
func linesOf(log *slog.Logger) int64 { return log.Handler().(*logHandler).lines.Load() }

func (h *logHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.host.Level }

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	h.lines.Add(1)
	var b strings.Builder
	fmt.Fprintf(&b, "[output:amberflo:%s] %s", shown(h.host.Name), shown(r.Message))
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(attrString(a))
		return true
	})
	if h.host.Log != nil && h.host.Log(r.Level, b.String()) {
		return nil
	}
	level := map[slog.Level]string{slog.LevelDebug: "debug", slog.LevelInfo: " info", slog.LevelWarn: " warn", slog.LevelError: "error"}[r.Level]
	_, err := fmt.Fprintf(os.Stderr, "[%s] [%s] %s\n", r.Time.Format("2006/01/02 15:04:05.000"), level, b.String())
	return err
}

func attrString(a slog.Attr) string {
	v := a.Value.Resolve()
	s := v.String()
	switch {
	case v.Kind() == slog.KindDuration:
		s = v.Duration().Round(time.Millisecond).String()
	case a.Key == "err" && a.Value.Any() == nil:
		return "" // it went well
	case a.Key == "err":
		// The last of a line, and full of spaces and quotes: easier to read without more of them.
		return ": " + errorText(s)
	case strings.ContainsAny(s, " \t\"") || s == "" || strings.ContainsFunc(s, hidden) || !utf8.ValidString(s):
		s = fmt.Sprintf("%q", s)
	}
	return " " + a.Key + "=" + s
}

// errorText is an error in one line.
func errorText(s string) string { return shown(strings.ReplaceAll(s, "\n", "; ")) }

// hidden tells characters that a terminal obeys or does not show: what a tag, a key or a server's answer holds is to be read and
// not to be followed.
func hidden(r rune) bool { return !unicode.IsPrint(r) && r != '\t' }

// shown is s with what is hidden written as in Go, such as \x1b.
func shown(s string) string {
	if !strings.ContainsFunc(s, hidden) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, "\\x%02x", s[0])
		} else if hidden(r) {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteRune(r)
		}
		s = s[n:]
	}
	return b.String()
}

// Nobody here makes a logger with attributes of its own: these two lose them.

func (h *logHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *logHandler) WithGroup(string) slog.Handler      { return h }

// LogError writes an error of an output that has no logger, because it did not start.
func LogError(host Host, err error) {
	log := newLogger(host)
	if each := unjoin(err); len(each) > 1 {
		log.Error(fmt.Sprintf("not started: %d options are wrong", len(each)))
		for _, e := range each {
			log.Error(e.Error())
		}
		return
	}
	log.Error("not started: " + err.Error())
}

// Caught, deferred, ends a panic where there is no instance that would count it.
func Caught(host Host, doing string) {
	if r := recover(); r != nil {
		logPanic(newLogger(host), doing, r)
	}
}

// logPanic writes the stack in lines of its own, since a host may cut off long ones.
func logPanic(log *slog.Logger, doing string, r any) {
	all := fmt.Sprintf("internal error (bug), please report it: panic in %s: %v\n%s", doing, r, debug.Stack())
	for line := range strings.Lines(all) {
		log.Error(strings.TrimRight(line, "\n"))
	}
}
