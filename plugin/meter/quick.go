package meter

import (
	"encoding/binary"

	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/meter/internal/grammar"
	"out_amberflo/plugin/meter/internal/packed"
	"out_amberflo/plugin/tally"
)

// quick is a shorter way to what sortOut finds, for the events that are most of a log: no id of their own, a key that is
// known and about which nothing is to be said, and values that are integers of at most 32 bits, all of them added up.
type quick struct {
	ids, times []part
	key        []part // customer, name, dimensions, as sumKey has them
	values     []part // by meter
}

// part is where one value of an event is: a field of the record, or what from finds; with neither, a literal.
type part struct {
	field int // -1 where it is none
	from  *grammar.Accessor
}

// newQuick returns nil where the rules have what sortOut alone can do.
func (m *Mapper) newQuick() *quick {
	r, q, plain := m.rules, &quick{}, true
	partOf := func(from *grammar.Accessor) part {
		if from.Root == grammar.FromRecord && len(from.Steps) == 0 {
			return part{from.Field, from}
		}
		return part{-1, from}
	}
	source := func(list []*grammar.Accessor) {
		if plain = plain && len(list) < 2; plain && len(list) == 1 {
			q.key = append(q.key, partOf(list[0]))
		}
	}
	for i := range r.IDs {
		if plain = plain && r.IDs[i].Hash == nil; plain {
			q.ids = append(q.ids, partOf(r.IDs[i].From))
		}
	}
	for _, from := range r.Times {
		q.times = append(q.times, partOf(from))
	}
	source(r.Customer.From)
	source(r.Meters[0].Name.From)
	if r.DimensionMap != nil {
		q.key = append(q.key, partOf(r.DimensionMap))
	}
	for i := range r.Dimensions {
		if from := r.Dimensions[i].From; from != nil {
			q.key = append(q.key, partOf(from))
		}
	}
	for i := range r.Meters {
		v := &r.Meters[i].Value
		switch plain = plain && r.Meters[i].Adds; {
		case v.Literal != nil:
			plain = plain && v.IsAmount
			q.values = append(q.values, part{field: -1})
		case v.Plain() != nil:
			q.values = append(q.values, partOf(v.Plain()))
		default:
			plain = false
		}
	}
	if !plain || r.Absent.HasNumbers() {
		return nil
	}
	return q
}

// hasAny tells if there is anything at one of parts.
func (m *Mapper) hasAny(ev *chunk.Event, parts []part) bool {
	for i := range parts {
		if p := &parts[i]; p.field >= 0 && len(ev.Field(p.field)) > 0 || p.field < 0 && len(m.ev.Look(p.from)) > 0 {
			return true
		}
	}
	return false
}

// sortOutQuick is sortOut, but -1 also stands for an event that is not as most are. Then nothing is changed.
func (m *Mapper) sortOutQuick(ev *chunk.Event) (key int) {
	a := m.adder
	q := a.quick
	if m.hasAny(ev, q.ids) {
		return -1
	}
	var ms int64
	var rejection *Rejection
	if m.rules.EventTime && !m.hasAny(ev, q.times) {
		ms, rejection = m.eventMillis()
	} else {
		ms, rejection = m.millis()
	}
	if rejection != nil {
		return -1
	}
	a.setTime(ms)
	k := binary.LittleEndian.AppendUint64(a.key[:0], uint64(a.from))
	for i := range q.key {
		if p := &q.key[i]; p.field >= 0 {
			k = appendSpan(k, ev.Field(p.field))
		} else {
			k = appendSpan(k, m.ev.Look(p.from))
		}
	}
	a.key = k
	if key, _ = a.table.Find(k); key < 0 || a.odd[key] {
		return -1
	}
	for i := range q.values {
		p, v := &q.values[i], []byte(nil)
		switch {
		case p.field >= 0:
			v = ev.Field(p.field)
		case p.from != nil:
			v = m.ev.Look(p.from)
		default:
			value := &m.rules.Meters[i].Value
			*a.next() = addition{i, value.Amount, value.Literal}
			continue
		}
		if len(v) == 0 {
			continue
		}
		n, ok := packed.Small(v)
		if !ok {
			return -1
		}
		d := a.next()
		d.meter, d.written = i, nil
		d.amount, _ = tally.Int(int64(n))
	}
	if len(a.adding) == 0 {
		return -1
	}
	return key
}
