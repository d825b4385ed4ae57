package meter

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/meter/internal/absent"
	"out_amberflo/plugin/meter/internal/find"
	"out_amberflo/plugin/meter/internal/grammar"
	"out_amberflo/plugin/meter/internal/packed"
	"out_amberflo/plugin/meter/internal/rules"
	"out_amberflo/plugin/meter/internal/timeformat"
	"out_amberflo/plugin/tally"
)

// Mapper maps one event after the other. It is not safe for concurrent use.
type Mapper struct {
	ev      find.Finder
	rules   *rules.Rules
	entries []entry
	scratch []byte
	hex     []byte

	// The time of the last event as it stands in a line, and when its second began, in milliseconds.
	second int64
	time   []byte

	// A generated unique id is id, which is tally.IDKey and a prefix, and the record's number.
	id     []byte
	number int
	given  int // number at StartIDs

	head  head // of this event's lines, beginning at 0
	keys  *keys
	adder *adder // nil where each record gets a line
	taken []bool // by meter: this event's record is added up, and gets no line; nil as adder

	oldest, newest int64 // meter times from oldest up to newest are inside of meter_time_window, in milliseconds
	doubts         doubts
}

// StartClock says what time it is, for meter_time_window. Before, no time is outside of it.
func (m *Mapper) StartClock(now time.Time) {
	m.oldest, m.newest = now.Add(-m.rules.Window.Back).UnixMilli(), now.Add(m.rules.Window.Ahead).UnixMilli()
	if m.adder != nil {
		m.adder.low, m.adder.high = 0, 0
	}
}

// StartIDs says what unique ids are generated from now on: prefix and the number of the record, first for the next and one
// more for each. A new Mapper has an empty prefix. Whoever calls it sees to it that no id is given twice.
func (m *Mapper) StartIDs(prefix string, first int) {
	m.id, _ = packed.AppendString(append(m.id[:0], tally.IDKey...), []byte(strings.ToValidUTF8(prefix, "")))
	m.id, m.number, m.given = m.id[:len(m.id)-1], first, first // without the quote after it
	m.keys.restart()
	if m.adder != nil {
		m.adder.restart()
	}
}

// Lines returns how many lines were appended since StartIDs: that many numbers are given.
func (m *Mapper) Lines() int { return m.number - m.given }

// entry is a dimension out of a map.
type entry struct{ key, value []byte }

// Append appends the meter records of an event to dst, each as one line that ends in '\n', and returns how many there
// are: one, as many as meters has values for, or none if the event is to be ignored under unmatched ignore. It appends
// either all of an event or, with a rejection, nothing. The event must come from a reader with the rules' keys.
//
// Under meters, a meter whose accessor finds nothing is left out, as long as another one finds something. A value that
// is there but no number rejects the whole event: half of a bill could not be told from the whole later.
//
// A mapper of NewAdder keeps the records that are to be added up for AppendSums, and appends no lines for them: all of an event
// or nothing, there too.
func (m *Mapper) Append(dst []byte, tag string, ev *chunk.Event) (out []byte, records int, rejection *Rejection) {
	if ev.Malformed != "" {
		return dst, 0, &Rejection{Reason: NotAnEvent, Detail: ev.Malformed}
	}
	m.ev.Start(tag, ev)
	if m.rules.Fields.Group && ev.GroupTorn() {
		return dst, 0, &Rejection{Reason: TornGroup, Detail: "$group: want a group whose start and end are both in the chunk, got one torn by a filter such as rewrite_tag"}
	}
	if m.rules.Conditions != nil {
		if holds, rejection := m.holds(); !holds {
			return dst, 0, rejection
		}
	}
	start, number := len(dst), m.number
	if m.rules.PayloadRecord {
		out, err := packed.AppendExactJSON(dst, ev.Record)
		if errors.Is(err, packed.ErrUTF8) {
			return dst[:start], 0, &Rejection{Reason: BadUTF8, Detail: err.Error()}
		} else if err != nil {
			return dst[:start], 0, &Rejection{Reason: BadRecord, Detail: err.Error()}
		}
		m.number++
		return append(out, '\n'), 1, nil
	}
	m.doubts.start()
	if m.adder != nil {
		if out, records, added := m.addUp(dst); added {
			return out, records, nil
		}
	}
	dst, records, rejection = m.appendLines(dst)
	if rejection != nil {
		m.doubts.drop()
		dst, records = dst[:start], 0
		m.number = number
		if m.isUnmatched() {
			rejection = nil
		}
	} else if m.adder != nil {
		m.adder.pass()
	}
	return dst, records, rejection
}

func (m *Mapper) appendLines(dst []byte) (out []byte, records int, rejection *Rejection) {
	r, start := m.rules, len(dst)
	first, v := m.nextMeter(0)
	if dst, rejection = m.appendHead(dst, first); rejection != nil {
		return dst, 0, rejection
	}
	customerEnd, nameEnd, dimensionsEnd := start+int(m.head.name), start+int(m.head.dimensions), len(dst)
	if dst, rejection = m.appendValue(dst, &r.Meters[first], v); rejection != nil {
		return dst, 0, rejection
	}
	valueEnd := len(dst)
	if dst, rejection = m.appendTime(dst); rejection != nil {
		return dst, 0, rejection
	}
	timeEnd := len(dst)
	dst, found, rejection := m.appendID(dst)
	if rejection != nil {
		return dst, 0, rejection
	}
	if !found {
		dst = m.appendGenerated(dst)
	}
	idEnd := len(dst)
	dst = append(dst, '}', '\n')
	records = 1
	m.number++
	for i, v := m.nextMeter(first + 1); i < len(r.Meters); i, v = m.nextMeter(i + 1) {
		dst = append(dst, dst[start:customerEnd]...)
		if dst, rejection = m.appendName(dst, &r.Meters[i]); rejection != nil {
			return dst, 0, rejection
		}
		dst = append(dst, dst[nameEnd:dimensionsEnd]...)
		if dst, rejection = m.appendValue(dst, &r.Meters[i], v); rejection != nil {
			return dst, 0, rejection
		}
		if found {
			dst = append(dst, dst[valueEnd:idEnd]...)
		} else {
			dst = m.appendGenerated(append(dst, dst[valueEnd:timeEnd]...))
		}
		dst = append(dst, '}', '\n')
		records++
		m.number++
	}
	return dst, records, nil
}

// holds tells if the event meets all conditions of only_if. A rejection says that this cannot be told.
func (m *Mapper) holds() (bool, *Rejection) {
	for i := range m.rules.Conditions {
		c := &m.rules.Conditions[i]
		v := m.ev.Find(c.From)
		holds, want := c.Holds(v)
		if want != "" {
			return false, reject(BadCondition, "only_if", want, c.From, v)
		}
		if !holds {
			return false, nil
		}
	}
	return true, nil
}

// nextMeter returns the first meter from the i-th on that the event has a value for, and what its first term finds; where
// there is but one meter, that one in any case. It is the number of meters after the last.
func (m *Mapper) nextMeter(i int) (int, []byte) {
	meters := m.rules.Meters
	for ; i < len(meters); i++ {
		if m.taken != nil && m.taken[i] {
			continue
		}
		v := &meters[i].Value
		if v.Literal != nil {
			return i, nil
		}
		if found := m.findValue(v); len(found) > 0 || len(meters) == 1 {
			return i, found
		}
	}
	return i, nil
}

// isUnmatched tells if an event that cannot be metered is to be skipped, as unmatched says.
func (m *Mapper) isUnmatched() bool {
	r := m.rules
	if r.Unmatched == rules.RejectUnmatched {
		return false
	}
	var customer, name, value presence
	customer.add(len(r.Customer.From) > 0, m.hasSource(&r.Customer))
	for i := range r.Meters {
		mt := &r.Meters[i]
		name.add(len(mt.Name.From) > 0, m.hasSource(&mt.Name))
		value.add(mt.Value.Literal == nil, mt.Value.Literal != nil || len(m.findValue(&mt.Value)) > 0)
	}
	switch r.Unmatched {
	case rules.IgnoreAll:
		return customer.asked+name.asked+value.asked > 0 && customer.found+name.found+value.found == 0
	case rules.IgnoreAny:
		return !customer.there || !name.there || !value.there
	}
	switch {
	case value.found > 0:
		return false
	case value.there: // by a literal
		return !customer.there || !name.there
	}
	return true
}

// presence says how many accessors were asked, how many of them found something, and whether there is anything at all.
type presence struct {
	asked, found int
	there        bool
}

func (p *presence) add(asks, there bool) {
	p.there = p.there || there
	if asks {
		p.asked++
		if there {
			p.found++
		}
	}
}

// hasSource tells if t finds something, or has a literal.
func (m *Mapper) hasSource(t *rules.Source) bool {
	_, v := m.ev.First(t.From)
	return len(v) > 0 || t.Literal != nil
}

// sourceRule says how a string that must be there is rejected.
type sourceRule struct{ option, absent, bad string }

var (
	customerRule = sourceRule{option: "customer_id", absent: NoCustomer, bad: BadCustomer}
	meterRule    = sourceRule{option: "meter_api_name", absent: NoMeter, bad: BadMeter}
	idRule       = sourceRule{option: "unique_id", absent: BadUniqueID, bad: BadUniqueID}
)

func (m *Mapper) appendSource(dst []byte, t *rules.Source, rule *sourceRule) ([]byte, *Rejection) {
	from, v := m.ev.First(t.From)
	switch {
	case len(v) > 0:
		return m.appendFound(dst, v, from, rule)
	case t.Literal != nil:
		return append(dst, t.Literal...), nil
	}
	return dst, m.noSource(t.From[0], rule)
}

const wantString = "a string that is not empty, or a number"

// noSource is the rejection of a string that is not there, of which from is the first accessor.
func (m *Mapper) noSource(from *grammar.Accessor, rule *sourceRule) *Rejection {
	return reject(rule.absent, rule.option, wantString, from, m.ev.Look(from))
}

// appendFound appends the string or number v in quotes, which from has found.
func (m *Mapper) appendFound(dst, v []byte, from *grammar.Accessor, rule *sourceRule) ([]byte, *Rejection) {
	s, size := packed.ReadString(v)
	if size == 0 {
		dst = append(dst, '"')
		dst, ok := packed.AppendNumber(dst, v)
		if !ok {
			return dst, reject(rule.bad, rule.option, wantString, from, v)
		}
		if !packed.IsExact(v) {
			return dst, reject(rule.bad, rule.option, "a string, or a number that has kept its digits", from, v)
		}
		return append(dst, '"'), nil
	}
	s = m.legible(v, s)
	start := len(dst)
	dst, ok := packed.AppendString(dst, s)
	if !ok {
		return dst, reject(BadUTF8, rule.option, "UTF-8", from, v)
	}
	if mayBeOdd(dst[start:], s) {
		if bytes.Contains(s, []byte("\ufffd")) {
			return dst, reject(BadUTF8, rule.option, "a string without U+FFFD, which a broken one has become on its way,", from, v)
		}
		if bytes.IndexFunc(s, isHidden) >= 0 {
			m.doubts.add(HiddenCharacter, rule.option, from)
		}
	}
	if absent.IsNoName(s) || rule == &idRule && isZeros(s) {
		m.doubts.add(WordForNothing, rule.option, from)
	}
	return dst, nil
}

// mayBeOdd tells if a string may hold a character that nobody sees, or U+FFFD: in JSON it got longer, or has bytes of those.
func mayBeOdd(json, s []byte) bool {
	if len(json) != len(s)+2 {
		return true
	}
	for _, c := range s {
		if c == 0xe2 || c == 0xef || c == 0xc2 { // which few strings have
			return true
		}
	}
	return false
}

// isHidden tells if nobody sees a character: one that controls a terminal or the direction of letters, or has no width.
func isHidden(r rune) bool { return unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) }

// isZeros tells if an id is one that says that there is none.
func isZeros(s []byte) bool {
	return s[0] == '0' && len(bytes.Trim(s, "0-")) == 0
}

func (m *Mapper) appendName(dst []byte, mt *rules.Meter) ([]byte, *Rejection) {
	return m.appendSource(append(dst, tally.MeterKey...), &mt.Name, &meterRule)
}

// appendValue appends the value of a meter, of which v is what its first term finds.
func (m *Mapper) appendValue(dst []byte, mt *rules.Meter, v []byte) ([]byte, *Rejection) {
	dst = append(dst, tally.ValueKey...)
	if mt.Value.Literal != nil {
		return append(dst, mt.Value.Literal...), nil
	}
	from := mt.Value.Plain()
	switch {
	case len(v) == 0:
		from = mt.Value.Terms[0].From
		return dst, reject(NoValue, m.rules.ValueOption, rules.WantNumber, from, m.ev.Look(from))
	case from == nil:
		return m.appendTerms(dst, &mt.Value)
	}
	start := len(dst)
	dst, ok := packed.AppendAnyNumber(dst, v)
	switch {
	case !ok:
		return dst, reject(BadValue, m.rules.ValueOption, rules.WantNumber, from, v)
	case dst[start] == '-' && !m.rules.NegativeValues && packed.IsNegative(dst[start:]):
		return dst, reject(BadValue, m.rules.ValueOption, rules.WantNoNegative, from, v)
	case !packed.IsExact(v):
		m.doubts.add(BeyondDouble, m.rules.ValueOption, from)
	default:
		m.tellBeyondDouble(dst[start:], &mt.Value)
	}
	return dst, nil
}

// tellBeyondDouble notes a number with more digits than a double has.
func (m *Mapper) tellBeyondDouble(number []byte, v *rules.Value) {
	if len(number) > 15 && packed.IsBeyondDouble(number) {
		m.doubts.add(BeyondDouble, m.rules.ValueOption, v.Terms[0].From)
	}
}

func (m *Mapper) noValue() *Rejection {
	var sources []string
	for i := range m.rules.Meters {
		sources = append(sources, m.rules.Meters[i].Value.Source)
	}
	return &Rejection{Reason: NoValue, Detail: "meters: want at least one of " + strings.Join(sources, ", ") + ", got nothing"}
}

// millis returns the meter time, in milliseconds since 1970.
func (m *Mapper) millis() (ms int64, rejection *Rejection) {
	r := m.rules
	from, v := m.ev.First(r.Times)
	switch {
	case len(v) > 0:
		var ok bool
		if ms, ok = r.TimeFormat.Millis(v); !ok {
			return 0, reject(BadTime, "meter_time", "a time of the years 2000 to 2099 in the format "+r.TimeFormat.Name, from, v)
		}
	case !r.EventTime:
		return 0, reject(BadTime, "meter_time", "a time", r.Times[0], m.ev.Look(r.Times[0]))
	default:
		return m.eventMillis()
	}
	if ms < m.oldest || ms >= m.newest {
		rejection = m.outside(ms, from)
	}
	return ms, rejection
}

// eventMillis is millis of the event's own time.
func (m *Mapper) eventMillis() (ms int64, rejection *Rejection) {
	ev := m.ev.Event()
	if ev.Seconds < timeformat.Earliest/1000 || ev.Seconds >= timeformat.Latest/1000 {
		return 0, &Rejection{Reason: BadTime, Detail: fmt.Sprintf("meter_time: want an event time of the years 2000 to 2099, got %d seconds since 1970", ev.Seconds)}
	}
	if ms = ev.Seconds*1000 + ev.Nanos/1e6; ms < m.oldest || ms >= m.newest {
		rejection = m.outside(ms, nil)
	}
	return ms, rejection
}

// outside rejects, or notes, a time that Amberflo does not take. from is nil for the event's own.
func (m *Mapper) outside(ms int64, from *grammar.Accessor) *Rejection {
	if !m.rules.Window.Reject {
		m.doubts.add(OutsideWindow, "meter_time", from)
		return nil
	}
	return &Rejection{Reason: OutsideWindow, Detail: fmt.Sprintf("meter_time: want a time within %s (meter_time_window), got %s",
		m.rules.Window.Phrase, time.UnixMilli(ms).UTC().Format(time.RFC3339Nano))}
}

func (m *Mapper) appendTime(dst []byte) ([]byte, *Rejection) {
	ms, rejection := m.millis()
	if rejection != nil {
		return dst, rejection
	}
	return m.appendMillis(dst, ms), nil
}

// appendMillis appends a meter time. The last second is remembered: the events of a chunk come close to each other.
func (m *Mapper) appendMillis(dst []byte, at int64) []byte {
	ms := uint64(at - m.second)
	if ms >= 1000 {
		ms = uint64(at) % 1000
		m.second = at - int64(ms)
		m.time = strconv.AppendInt(append(m.time[:0], tally.TimeKey...), at, 10)
	}
	last := len(m.time) - 3
	m.time[last], m.time[last+1], m.time[last+2] = byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10)
	return append(dst, m.time...)
}

// appendID appends the id that the event has. It returns found false, and dst unchanged, if it has none and each of its
// records is to have a generated one.
func (m *Mapper) appendID(dst []byte) (out []byte, found bool, rejection *Rejection) {
	ids := m.rules.IDs
	for i := range ids {
		if ids[i].Hash != nil {
			if out, ok := m.appendHash(append(dst, tally.IDKey...), ids[i].Hash); ok {
				return out, true, nil
			}
		} else if v := m.ev.Find(ids[i].From); len(v) > 0 {
			out, rejection = m.appendFound(append(dst, tally.IDKey...), v, ids[i].From, &idRule)
			return out, true, rejection
		}
	}
	switch {
	case m.rules.GenerateIDs:
		return dst, false, nil
	case ids[0].Hash != nil:
		return dst, false, &Rejection{Reason: BadUniqueID, Detail: "unique_id: want all fields of " + ids[0].Source + ", got not all"}
	}
	return dst, false, m.noSource(ids[0].From, &idRule)
}

// appendGenerated appends the generated id of the next record.
func (m *Mapper) appendGenerated(dst []byte) []byte {
	return append(strconv.AppendInt(append(dst, m.id...), int64(m.number), 10), '"')
}

// legible returns s, which is what v holds: as it is, but bytes (bin) that are no string that people read, such as
// OpenTelemetry's ids, in lower-case hex, in memory that is the mapper's until the next call.
func (m *Mapper) legible(v, s []byte) []byte {
	if v[0]-0xc4 >= 3 || packed.IsReadable(s) { // no bin 8, 16 or 32
		return s
	}
	m.hex = hex.AppendEncode(m.hex[:0], s)
	return m.hex
}
