package plugin

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// logHandler writes lines that look like Fluent Bit's own:
//
//	[2026/11/21 20:00:09.692] [ info] [output:amberflo:amberflo.0] text key=value
type logHandler struct {
	name  string
	mu    *sync.Mutex
	out   io.Writer
	attrs string
}

// newLogger makes the logger of one output; name is as Fluent Bit calls it, amberflo.0.
func newLogger(out io.Writer, name string) *slog.Logger {
	return slog.New(&logHandler{name: name, mu: &sync.Mutex{}, out: out})
}

func (h *logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	level := map[slog.Level]string{slog.LevelDebug: "debug", slog.LevelInfo: " info", slog.LevelWarn: " warn", slog.LevelError: "error"}[r.Level]
	var b strings.Builder
	fmt.Fprintf(&b, "[%s] [%s] [output:amberflo:%s] %s", r.Time.Format("2006/01/02 15:04:05.000"), level, h.name, r.Message)
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(attrText(a))
		return true
	})
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.out, b.String())
	return err
}

func attrText(a slog.Attr) string {
	v := a.Value.Resolve()
	text := v.String()
	switch {
	case v.Kind() == slog.KindDuration:
		text = v.Duration().Round(time.Millisecond).String()
	case a.Key == "err":
		// The last of a line, and full of spaces and quotes: easier to read without more of them.
		return ": " + strings.ReplaceAll(text, "\n", "; ")
	case strings.ContainsAny(text, " \t\n\"") || text == "":
		text = fmt.Sprintf("%q", text)
	}
	return " " + a.Key + "=" + text
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	for _, a := range attrs {
		c.attrs += attrText(a)
	}
	return &c
}

func (h *logHandler) WithGroup(string) slog.Handler { return h }

// LogError writes one error of an output that has no logger, because it did not start.
func LogError(out io.Writer, name string, err error) {
	log := newLogger(out, name)
	if each := unjoin(err); len(each) > 1 {
		log.Error(fmt.Sprintf("not started: %d options are wrong", len(each)))
		for _, e := range each {
			log.Error(e.Error())
		}
		return
	}
	log.Error(err.Error())
}
