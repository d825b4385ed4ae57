package meter

import (
	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/meter/internal/grammar"
	"out_amberflo/plugin/meter/internal/packed"
	"out_amberflo/plugin/meter/internal/timeformat"
)

// quick is a shorter way to what sortOut finds, for the events that are most of a log: no id of their own, a key that is
// known and about which nothing is to be said, and values that are integers of at most 32 bits, all of them added up.
type quick struct {
	ids, times parts
	values     []part // by meter; without from where they are literals
}

// parts are fields of the record that have a bit for chunk.Event.Has, and all else.
type parts struct {
	fields    uint64
	elsewhere []part
}

func (p *parts) add(from *grammar.Accessor) {
	if at := partOf(from); uint(at.field) < chunk.QuickFields {
		p.fields |= 1 << at.field
	} else {
		p.elsewhere = append(p.elsewhere, at)
	}
}

// hasAny tells if there is anything at one of parts.
func (m *Mapper) hasAny(parts []part) bool {
	for i := range parts {
		if len(m.look(&parts[i])) > 0 {
			return true
		}
	}
	return false
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
		q.ids.add(r.IDs[i].From)
	}
	for _, from := range r.Times {
		q.times.add(from)
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

// addUpQuick adds up the records of an event that is as most are, and returns how many they are. It returns 0 for all others, of
// which nothing is added.
func (m *Mapper) addUpQuick(q *quick) (records int) {
	a, k, ev := m.adder, m.keys, m.ev.Event()
	if ev.Has(q.ids.fields) || m.hasAny(q.ids.elsewhere) {
		return 0
	}
	own := m.rules.EventTime && !ev.Has(q.times.fields) && !m.hasAny(q.times.elsewhere) && uint64(ev.Seconds) < timeformat.Latest/1000
	ms := ev.Seconds*1000 + ev.Nanos/1e6
	if !own || ms < a.low || ms >= a.high {
		var rejection *Rejection
		if ms, rejection = m.millis(); rejection != nil {
			return 0
		}
	}
	key, _ := m.findSum(ms)
	if key < 0 || k.odd[key] {
		return 0
	}
	for i := 1; i < len(q.values); i++ { // the first is tried before anything is added
		if _, ok := m.lookSmall(&q.values[i]); !ok {
			return 0
		}
	}
	for i := range q.values {
		p := &q.values[i]
		if p.from == nil {
			v := &m.rules.Meters[i].Value
			if s := k.table.Add(key, i, v.Amount, ms); s != nil {
				a.begin(s, v.Amount, v.Literal)
			}
			records++
			continue
		}
		n, ok := m.lookSmall(p)
		if !ok {
			return 0
		}
		if n < 0 {
			continue
		}
		if s := k.table.AddInt(key, i, n, ms); s != nil {
			a.begin(s, s.Amount, nil)
		}
		records++
	}
	return records
}

// lookSmall returns the number at p, -1 where nothing is, and ok false for one that may be no unsigned integer of 32 bits.
func (m *Mapper) lookSmall(p *part) (n int64, ok bool) {
	if p.from == nil {
		return 0, true
	}
	v := m.look(p)
	if len(v) == 0 {
		return -1, true
	}
	small, ok := packed.Small(v)
	return int64(small), ok
}
