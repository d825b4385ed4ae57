package meter

import (
	"out_amberflo/plugin/meter/internal/grammar"
	"out_amberflo/plugin/meter/internal/packed"
	"out_amberflo/plugin/meter/internal/rules"
	"out_amberflo/plugin/tally"
)

// keys remember how the lines of earlier records began. A key is what of a record its customer, name and dimensions are made of,
// as it stands in msgpack, after the bucket where records are added up. Only the first record of a key is rendered, which
// checks what of it depends on the key alone.
type keys struct {
	parts []keyPart // customer, name, dimensions
	key   []byte    // of this event
	table *tally.Table
	heads []head // by key of table
	odd   []bool // by key: notNamed, hasAflo or doubtful, in less memory
	held  []byte // of heads
	bytes int    // of keys and heads

	asked, missed int // lately
	paused        int // records for which nothing is asked, because too few keys were known
}

// mostKept is how many keys are remembered after a chunk, and of how many bytes: what a few minutes of most logs have. Without
// sums, which need them all, no key is remembered that is longer than longestKept: of a text that is cut, or a map that is left
// out, a key may be far longer than what is rendered of it.
const (
	mostKept      = 2048
	mostKeptBytes = 1 << 20
	longestKept   = 1 << 10
)

// head is what the lines of one key begin with: the customer from from to name, the meter's name up to dimensions, and these
// up to to. Of several meters, the name is that of the first that had a value.
type head struct {
	from, name, dimensions, to int32

	notNamed bool // aggregate does not have the name that was found
	hasAflo  bool // a dimension begins with aflo.
	doubtful bool // each time, it is rendered again to say why
}

// part is where one value of an event is: a field of the record, or what the first of a list finds that finds anything.
type part struct {
	field int // -1 where it is none
	from  []*grammar.Accessor
}

func partOf(from ...*grammar.Accessor) part {
	if len(from) == 1 && from[0].Root == grammar.FromRecord && len(from[0].Steps) == 0 {
		return part{from[0].Field, from}
	}
	return part{-1, from}
}

// keyPart is fields of the record, or one value that is found otherwise.
type keyPart struct {
	fields []int
	part
}

// addPart adds the value at p to what keys are made of.
func (k *keys) addPart(p part) {
	if last := len(k.parts) - 1; p.field >= 0 && last >= 0 && k.parts[last].fields != nil {
		k.parts[last].fields = append(k.parts[last].fields, p.field)
	} else if p.field >= 0 {
		k.parts = append(k.parts, keyPart{fields: []int{p.field}})
	} else {
		k.parts = append(k.parts, keyPart{part: p})
	}
}

func newKeys(r *rules.Rules) *keys {
	sums := 0
	if r.Aggregate.On() {
		sums = len(r.Meters)
	}
	k := &keys{key: make([]byte, 0, 256), table: tally.NewTable(sums)}
	if r.PayloadRecord {
		return k
	}
	for _, list := range [][]*grammar.Accessor{r.Customer.From, r.Meters[0].Name.From} {
		if len(list) > 0 {
			k.addPart(partOf(list...))
		}
	}
	if r.DimensionMap != nil {
		k.addPart(partOf(r.DimensionMap))
	}
	for i := range r.Dimensions {
		if from := r.Dimensions[i].From; from != nil {
			k.addPart(partOf(from))
		}
	}
	return k
}

// restart is for the next chunk.
func (k *keys) restart() {
	if k.asked >= 4096 { // enough to judge by: to look a key up takes half as long as to render it
		if k.missed*8 > k.asked {
			k.paused = 64 * k.asked
		}
		k.asked, k.missed = 0, 0
	}
	if k.table.Keys() < mostKept && k.bytes < mostKeptBytes {
		k.table.Restart()
		return
	}
	k.table.Reset()
	k.heads, k.odd, k.held, k.bytes = k.heads[:0], k.odd[:0], k.held[:0], 0
	if cap(k.held) > 4*mostKeptBytes { // one large chunk is no reason to keep as much
		k.held = nil
	}
}

// add remembers the head at the end of held for key. h begins at 0.
func (k *keys) add(hash uint64, h head) (number int) {
	k.bytes += len(k.key) + int(h.to)
	at := int32(len(k.held)) - h.to
	h.from, h.name, h.dimensions, h.to = at, at+h.name, at+h.dimensions, at+h.to
	number = k.table.Insert(k.key, hash)
	k.heads, k.odd = append(k.heads, h), append(k.odd, h.notNamed || h.hasAflo || h.doubtful)
	return number
}

// appendKey appends what the head of the event's lines is made of. Whether a value says that there is none is asked where a key
// is new: two that say so make two keys of equal heads.
func (m *Mapper) appendKey(key []byte) []byte {
	ev := m.ev.Event()
	for i := range m.keys.parts {
		if p := &m.keys.parts[i]; p.fields != nil {
			key = ev.AppendFields(key, p.fields)
		} else if v := m.look(&p.part); len(v) > 0 {
			key = append(key, v...)
		} else {
			key = append(key, packed.Nil)
		}
	}
	return key
}

// look returns what stands at p, empty where there is nothing. It may be null.
func (m *Mapper) look(p *part) []byte {
	switch {
	case p.field >= 0:
		return m.ev.Event().Field(p.field)
	case len(p.from) == 1:
		return m.ev.Look(p.from[0])
	}
	_, v := m.ev.First(p.from)
	return v
}

// appendHead appends what the event's lines begin with, and sets Mapper.head. The meter number first is the first that has a
// value.
func (m *Mapper) appendHead(dst []byte, first int) ([]byte, *Rejection) {
	k := m.keys
	if k.paused > 0 {
		k.paused--
		return m.renderHead(dst, first)
	}
	if m.adder != nil || first == len(m.rules.Meters) { // sums have keys of their own
		return m.renderHead(dst, first)
	}
	k.key = m.appendKey(k.key[:0])
	number, hash := k.table.Find(k.key)
	k.asked++
	if number >= 0 && !k.odd[number] {
		return m.appendKnown(dst, number, first), nil
	}
	k.missed++
	start, doubts := len(dst), len(m.doubts.event)
	dst, rejection := m.renderHead(dst, first)
	if rejection == nil && number < 0 && len(k.key) <= longestKept && k.table.Keys() < mostKept && k.bytes < mostKeptBytes {
		m.head.doubtful = len(m.doubts.event) > doubts
		k.held = append(k.held, dst[start:]...)
		k.add(hash, m.head)
	}
	return dst, rejection
}

// appendKnown is appendHead for a key that is known, by its number, and a meter.
func (m *Mapper) appendKnown(dst []byte, number, meter int) []byte {
	k, start := m.keys, len(dst)
	h := &k.heads[number]
	if len(m.rules.Meters) == 1 {
		m.head.name, m.head.dimensions, m.head.to = h.name-h.from, h.dimensions-h.from, h.to-h.from
		return append(dst, k.held[h.from:h.to]...)
	}
	dst = append(dst, k.held[h.from:h.name]...)
	m.head.name = int32(len(dst) - start)
	dst = append(append(dst, tally.MeterKey...), m.rules.Meters[meter].Name.Literal...)
	m.head.dimensions = int32(len(dst) - start)
	dst = append(dst, k.held[h.dimensions:h.to]...)
	m.head.to = int32(len(dst) - start)
	return dst
}

// renderHead is appendHead for a key that is not known.
func (m *Mapper) renderHead(dst []byte, first int) (out []byte, rejection *Rejection) {
	r, start := m.rules, len(dst)
	m.head = head{}
	if dst, rejection = m.appendSource(append(dst, tally.CustomerKey...), &r.Customer, &customerRule); rejection != nil {
		return dst, rejection
	}
	if first == len(r.Meters) {
		return dst, m.noValue()
	}
	m.head.name = int32(len(dst) - start)
	if dst, rejection = m.appendName(dst, &r.Meters[first]); rejection != nil {
		return dst, rejection
	}
	m.head.dimensions = int32(len(dst) - start)
	if dst, rejection = m.appendDimensions(dst); rejection != nil {
		return dst, rejection
	}
	m.head.to = int32(len(dst) - start)
	return dst, nil
}
