package spool

import "time"

const (
	// pause is how long work that can wait gives way to flushes (an idle process may sleep for 1 ms), and paceBytes how much
	// is done between two pauses. On one core an object that is sealed and uploaded at a stretch makes the flush beside it last
	// twice as long; with pauses, 38 flushes take it in turn. It goes on at 60 MB/s and more all the same.
	pause     = 300 * time.Microsecond
	paceBytes = 64 << 10
	// flushing is how long after it began a flush is taken to be running.
	flushing = 20 * time.Millisecond
)

// pace is that of one piece of work; it is not safe for concurrent use. The zero value knows no pauses.
type pace struct {
	s    *Spool
	done int // bytes since the last pause
}

// worked counts bytes that were handled, and pauses if they are many and chunks come in.
func (p *pace) worked(bytes int) {
	if p.done += bytes; p.s == nil || p.done < paceBytes {
		return
	}
	p.done = 0
	if begun := p.s.begun.Load(); begun != nil && time.Since(*begun) < flushing {
		time.Sleep(pause)
	}
}
