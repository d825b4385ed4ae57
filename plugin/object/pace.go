package object

import "time"

const (
	// pause is how long work that can wait gives way to flushes (an idle process may sleep for 1 ms), and paceBytes how much
	// is done between two pauses. On one core an object that is sealed and uploaded at a stretch makes the flush beside it last
	// twice as long; with pauses, 38 flushes take it in turn. It goes on at 60 MB/s and more all the same.
	pause     = 300 * time.Microsecond
	paceBytes = 64 << 10
)

// Pace is that of one piece of work; it is not safe for concurrent use. The zero value knows no pauses.
type Pace struct {
	Busy func() bool // do chunks come in?
	done int         // bytes since the last pause
}

// Worked counts bytes that were handled, and pauses if they are many and chunks come in.
func (p *Pace) Worked(bytes int) {
	if p.done += bytes; p.Busy == nil || p.done < paceBytes {
		return
	}
	p.done = 0
	if p.Busy() {
		time.Sleep(pause)
	}
}
