package main

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

// progress tells on the way that a long command lives. The zero value tells nothing; it is not safe for concurrent use.
type progress struct {
	w           io.Writer
	terminal    bool
	what        string
	total, done int64 // bytes
	began, last time.Time
	calls       int
	shown       bool
}

// progress begins to count. The caller ends it.
func (a *app) progress(what string, total int64) *progress {
	return &progress{w: a.notes, terminal: isTerminal(a.notes), what: what, total: total, began: time.Now()}
}

// add counts bytes that were read.
func (p *progress) add(bytes int64) {
	p.done += bytes
	p.show()
}

// tick is called for each record.
func (p *progress) tick() {
	if p.calls++; p.calls%1024 == 0 {
		p.show()
	}
}

func (p *progress) show() {
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
	text := fmt.Sprintf("%s: %s of %s (%d %%)", p.what, bytesText(p.done), bytesText(p.total), 100*min(p.done, p.total)/p.total)
	if p.done > 0 && p.done < p.total {
		left := time.Duration(float64(now.Sub(p.began)) * float64(p.total-p.done) / float64(p.done))
		text += ", " + durationText(left) + " left"
	}
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s", text)
	} else {
		fmt.Fprintln(p.w, text)
	}
}

// hide takes the line on the terminal away, before another is written.
func (p *progress) hide() {
	if p.shown && p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// end hides it for good.
func (p *progress) end() {
	p.hide()
	p.w = nil
}

// sizeOf adds up files.
func sizeOf(files []spoolFile) (bytes int64) {
	for _, f := range files {
		bytes += f.Bytes
	}
	return bytes
}
