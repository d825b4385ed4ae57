package show

import (
	"fmt"
	"io"
	"time"
)

// When progress is shown first, and how often: on a terminal in place, elsewhere a line each time.
const (
	progressAfter    = time.Second
	progressEvery    = 200 * time.Millisecond
	progressLineEach = 5 * time.Second
)

// Progress tells on the way that a long command lives. The zero value tells nothing; it is not safe for concurrent use.
type Progress struct {
	w           io.Writer
	terminal    bool
	what        string
	total, done int64 // bytes
	began, last time.Time
	calls       int
	shown       bool
}

// NewProgress begins to count to a total of bytes, and tells w of it. The caller ends it.
func NewProgress(w io.Writer, what string, total int64) *Progress {
	return &Progress{w: w, terminal: IsTerminal(w), what: what, total: total, began: time.Now()}
}

// Add counts bytes that were read.
func (p *Progress) Add(bytes int64) {
	p.done += bytes
	p.show()
}

// Tick is called for each record.
func (p *Progress) Tick() {
	if p.calls++; p.calls%1024 == 0 {
		p.show()
	}
}

func (p *Progress) show() {
	if p.w == nil || p.total == 0 {
		return
	}
	now := time.Now()
	every := progressLineEach
	if p.terminal {
		every = progressEvery
	}
	if now.Sub(p.began) < progressAfter || now.Sub(p.last) < every || p.last.IsZero() && !p.terminal && now.Sub(p.began) < every {
		return
	}
	p.last, p.shown = now, true
	text := fmt.Sprintf("%s: %s of %s (%d %%)", p.what, Bytes(p.done), Bytes(p.total), 100*min(p.done, p.total)/p.total)
	if p.done > 0 && p.done < p.total {
		left := time.Duration(float64(now.Sub(p.began)) * float64(p.total-p.done) / float64(p.done))
		text += ", " + Duration(left) + " left"
	}
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s", text)
	} else {
		fmt.Fprintln(p.w, text)
	}
}

// Hide takes the line on the terminal away, before another is written.
func (p *Progress) Hide() {
	if p.shown && p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// End hides it for good.
func (p *Progress) End() {
	p.Hide()
	p.w = nil
}
