package tally

import (
	"bytes"
	"slices"
)

// texts keeps copies of short texts in pages: what is there does not move when more comes, and no page is given up for a larger one.
type texts struct {
	pages [][]byte
	used  int // of pages
}

const pageSize = 64 << 10

// keep returns a copy of b, valid until reset.
func (t *texts) keep(b []byte) []byte {
	if len(b) > pageSize/8 {
		return bytes.Clone(b)
	}
	if t.used == 0 || len(t.pages[t.used-1])+len(b) > pageSize {
		if t.used == len(t.pages) {
			t.pages = append(t.pages, make([]byte, 0, pageSize))
		}
		t.pages[t.used] = t.pages[t.used][:0]
		t.used++
	}
	page := &t.pages[t.used-1]
	from := len(*page)
	*page = append(*page, b...)
	return (*page)[from:len(*page):len(*page)]
}

// reset forgets all of them, and keeps the pages, but not more than most texts need.
func (t *texts) reset() {
	const most = 32
	if len(t.pages) > most {
		t.pages = slices.Delete(t.pages, most, len(t.pages))
	}
	t.used = 0
}

// push appends, and doubles the capacity where append would add a quarter, several times in a row.
func push[E any](s []E, e E) []E {
	if len(s) == cap(s) {
		s = slices.Grow(s, max(64, len(s)))
	}
	return append(s, e)
}
