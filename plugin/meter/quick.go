package meter

import (
	"out_amberflo/plugin/meter/internal/packed"
	"out_amberflo/plugin/tally"
)

// quick is a shorter way to what sortOut finds, for the events that are most of a log: no id of their own, a key that is
// known and about which nothing is to be said, and values that are integers of at most 32 bits, all of them added up.
type quick struct {
	ids, times []part
	values     []part // by meter; without from where they are literals
}

// newQuick returns nil where the rules have what sortOut alone can do.
func (m *Mapper) newQuick() *quick {
	r, q := m.rules, &quick{}
	if r.Absent.HasNumbers() {
		return nil
	}
	for i := range r.IDs {
		if r.IDs[i].Hash != nil {
			return nil
		}
		q.ids = append(q.ids, partOf(r.IDs[i].From))
	}
	for _, from := range r.Times {
		q.times = append(q.times, partOf(from))
	}
	for i := range r.Meters {
		v := &r.Meters[i].Value
		switch {
		case !r.Meters[i].Adds, v.Literal != nil && !v.IsAmount, v.Literal == nil && v.Plain() == nil:
			return nil
		case v.Literal != nil:
			q.values = append(q.values, part{field: -1})
		default:
			q.values = append(q.values, partOf(v.Plain()))
		}
	}
	return q
}

// hasAny tells if there is anything at one of parts.
func (m *Mapper) hasAny(parts []part) bool {
	ev := m.ev.Event()
	for i := range parts {
		if p := &parts[i]; p.field >= 0 && len(ev.Field(p.field)) > 0 || p.field < 0 && len(m.look(p)) > 0 {
			return true
		}
	}
	return false
}

// sortOutQuick is sortOut, but -1 also stands for an event that is not as most are. Then nothing is changed.
func (m *Mapper) sortOutQuick() (key int) {
	a := m.adder
	q := a.quick
	if m.hasAny(q.ids) {
		return -1
	}
	var ms int64
	var rejection *Rejection
	if m.rules.EventTime && !m.hasAny(q.times) {
		ms, rejection = m.eventMillis()
	} else {
		ms, rejection = m.millis()
	}
	if rejection != nil {
		return -1
	}
	if key, _ = m.findSum(ms); key < 0 || m.keys.odd[key] {
		return -1
	}
	for i := range q.values {
		p := &q.values[i]
		if p.from == nil {
			value := &m.rules.Meters[i].Value
			*a.next() = addition{i, value.Amount, value.Literal}
			continue
		}
		v := m.look(p)
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
