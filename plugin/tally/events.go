package tally

import (
	"bytes"
	"hash/maphash"
	"strconv"
)

// events are what a Merger holds: in pages, which neither move nor hold pointers, found by their keys, each of which is held
// once. They are numbered in the order in which they come.
type events struct {
	pages []*[eventsInPage]event
	n     int

	seed  maphash.Seed // of each its own: whoever writes a log cannot know which keys would share a slot
	slots []uint32     // 1 + the number of the event that a key adds to, 0 for none: open addressing, at most half of it taken
	taken int

	texts    texts
	prefixes [][]byte // of ids, with their opening quotes
}

// event is what goes out as one line. Its text has the key; the value as it was written, if that is not as Amount.Append
// writes it and stands for one record; and the id in quotes, if that is no prefix and number.
type event struct {
	amount   Amount
	records  int64
	first    int64  // in milliseconds
	span     uint32 // from the first to the last
	at       uint32 // from the first to that of the meter record, as long as it has but one
	text     uint32 // where it begins, in texts
	key, end uint32 // where in text the key ends, and the text
	number   uint32 // of the id, or where in text the id begins
	hash     uint32 // of the key
	prefix   uint32 // of the id
}

// wholeID is the prefix of an id that stands in the text.
const wholeID = 1<<32 - 1

const (
	eventsInPage = 1024
	// eventSize is what an event takes beside its text, in bytes, with its slots.
	eventSize = 64 + 4*4

	mostPrefixes  = 16 // ids begin with the uuid of a segment, of which there are few
	longestPrefix = 64
)

func newEvents() events { return events{seed: maphash.MakeSeed(), slots: make([]uint32, 64)} }

func (x *events) at(number int) *event { return &x.pages[number/eventsInPage][number%eventsInPage] }

func (x *events) home(hash uint32) int { return int(hash) & (len(x.slots) - 1) }

func (x *events) after(slot int) int { return (slot + 1) & (len(x.slots) - 1) }

// in returns the event of a slot, nil if it has none.
func (x *events) in(slot int) *event {
	n := x.slots[slot]
	if n == 0 {
		return nil
	}
	return x.at(int(n) - 1)
}

// add returns the next event, for the key that hash and slot are of, whose lines add to it from now on. All but its hash has
// to be set.
func (x *events) add(slot int, hash uint32) *event {
	if x.n == len(x.pages)*eventsInPage {
		x.pages = append(x.pages, new([eventsInPage]event))
	}
	e := x.at(x.n)
	x.n++
	e.hash = hash
	if x.slots[slot] == 0 {
		x.taken++
	}
	x.slots[slot] = uint32(x.n)
	if 2*x.taken > len(x.slots) {
		x.grow()
	}
	return e
}

func (x *events) grow() {
	old := x.slots
	x.slots = make([]uint32, 2*len(old))
	for _, n := range old {
		if n > 0 {
			slot := x.home(x.at(int(n) - 1).hash)
			for x.slots[slot] != 0 {
				slot = x.after(slot)
			}
			x.slots[slot] = n
		}
	}
}

// add adds what a line says beside its value.
func (e *event) add(l *line) {
	e.records += l.records
	last := max(e.first+int64(e.span), l.last)
	e.first = min(e.first, l.first)
	e.span = uint32(last - e.first)
}

// reset forgets all events, and keeps the memory.
func (x *events) reset() {
	clear(x.slots)
	x.n, x.taken, x.prefixes = 0, 0, x.prefixes[:0]
	x.texts.reset(len(x.texts.pages))
}

// cutID takes an id apart, if it is one of few prefixes and a number; else it gives it back as text.
func (x *events) cutID(id []byte) (prefix, number uint32, text []byte) {
	digits := id[bytes.LastIndexByte(id, '-')+1 : len(id)-1]
	before := id[:len(id)-1-len(digits)]
	n, size := readDigits(digits)
	if size != len(digits) || size == 0 || size > 9 || digits[0] == '0' && size > 1 || len(before) > longestPrefix {
		return wholeID, 0, id
	}
	for i := len(x.prefixes) - 1; i >= 0; i-- {
		if string(x.prefixes[i]) == string(before) {
			return uint32(i), uint32(n), nil
		}
	}
	if len(x.prefixes) == mostPrefixes {
		return wholeID, 0, id
	}
	x.prefixes = append(x.prefixes, bytes.Clone(before))
	return uint32(len(x.prefixes) - 1), uint32(n), nil
}

// appendID appends the id of an event in quotes.
func (x *events) appendID(dst []byte, e *event, text []byte) []byte {
	if e.prefix == wholeID {
		return append(dst, text[e.number:]...)
	}
	return append(strconv.AppendUint(append(dst, x.prefixes[e.prefix]...), uint64(e.number), 10), '"')
}
