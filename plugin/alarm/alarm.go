// Package alarm makes lines about failures that last rare, and loses none that is new.
package alarm

import (
	"sync"
	"time"
)

// Alarm tells which of the failures in a row are worth a line: the first, each doubling of their number, the first of
// each cause; and their end. What comes back within a minute has not ended: where good and bad come in turn, the lines
// become rare all the same. The zero value is ready, and safe for concurrent use.
type Alarm struct {
	mu    sync.Mutex
	count int
	told  map[string]bool // causes
	since time.Time       // the first failure
	ended time.Time       // the success after the last; zero before
	open  bool            // a failure was told of since the last success
}

const pause = time.Minute

// Failed notes a failure. It returns how many there are in a row, and whether to tell of this one.
func (a *Alarm) Failed(cause string) (n int, tell bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.count == 0 || !a.ended.IsZero() && time.Since(a.ended) > pause:
		a.count, a.told, a.since = 0, make(map[string]bool), time.Now()
	case !a.ended.IsZero():
		a.count = min(a.count, 8) // if it comes to stay, it is told of soon
	}
	a.ended = time.Time{}
	a.count++
	doubled := a.count&(a.count-1) == 0 // the first, second, fourth, and so on
	tell = doubled || !a.told[cause]
	if tell {
		a.told[cause], a.open = true, true
	}
	return a.count, tell
}

// Succeeded notes a success. It returns how many failures were in a row before it, for how long, and whether to tell of
// that: they were told of, and this is the first success after them.
func (a *Alarm) Succeeded() (n int, lasted time.Duration, tell bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count == 0 || !a.ended.IsZero() {
		return 0, 0, false
	}
	a.ended = time.Now()
	tell, a.open = a.open, false
	return a.count, time.Since(a.since), tell
}
