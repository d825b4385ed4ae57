package tally

import "slices"

// texts keep copies of texts in pages: what is there does not move when more comes, and no page is given up for a larger one.
type texts struct {
	pages [][]byte
	used  int      // of pages
	long  [][]byte // what would leave much of a page empty
}

const pageSize = 64 << 10

// isLong marks where one of long is. Other texts are at the number of their page and the offset in it.
const isLong = 1 << 31

// keep makes one text of parts, and returns where it is, until reset.
func (t *texts) keep(parts ...[]byte) (at uint32) {
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	if size > pageSize/8 {
		t.long = append(t.long, slices.Concat(parts...))
		return isLong | uint32(len(t.long)-1)
	}
	if t.used == 0 || len(t.pages[t.used-1])+size > pageSize {
		if t.used == len(t.pages) {
			t.pages = append(t.pages, make([]byte, 0, pageSize))
		}
		t.pages[t.used] = t.pages[t.used][:0]
		t.used++
	}
	page := &t.pages[t.used-1]
	at = uint32((t.used-1)*pageSize + len(*page))
	for _, part := range parts {
		*page = append(*page, part...)
	}
	return at
}

// get returns the first size bytes of a text.
func (t *texts) get(at, size uint32) []byte {
	if at&isLong != 0 {
		return t.long[at&^isLong][:size]
	}
	return t.pages[at/pageSize][at%pageSize:][:size]
}

// reset forgets all of them, and keeps at most so many pages.
func (t *texts) reset(most int) {
	if len(t.pages) > most {
		t.pages = slices.Delete(t.pages, most, len(t.pages))
	}
	clear(t.long)
	t.used, t.long = 0, t.long[:0]
}

// push appends, and doubles the capacity where append would add a quarter, several times in a row.
func push[E any](s []E, e E) []E {
	if len(s) == cap(s) {
		s = slices.Grow(s, max(64, len(s)))
	}
	return append(s, e)
}
