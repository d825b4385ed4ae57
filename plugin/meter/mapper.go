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
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/meter/internal/packed"
)

// Reasons of a refusal. They are stable: people and counters go by them.
const (
	NotAnEvent    = "not_an_event"        // well-formed msgpack that is no log event
	NoCustomer    = "no_customer"         // the customer is absent
	BadCustomer   = "bad_customer"        // neither a text nor a number
	NoMeter       = "no_meter"            // the meter's name is absent
	BadMeter      = "bad_meter"           // neither a text nor a number
	NoValue       = "no_value"            // the value (of meters: every value) is absent
	BadValue      = "bad_value"           // no finite number, or a negative one
	BadTime       = "bad_time"            // no time, not in the wanted format, not of the years 2000 to 2099, or absent
	BadUniqueID   = "bad_unique_id"       // absent, or neither a text nor a number
	BadDimensions = "bad_dimensions"      // the one accessor of dimensions finds something that is no map
	BadUTF8       = "bad_utf8"            // a text of the meter record is no UTF-8, or was none before it came here
	BadRecord     = "bad_record"          // payload record: JSON cannot say it
	BadCondition  = "bad_condition"       // only_if: what is there cannot be compared
	LongDimension = "long_dimension"      // the value of a dimension has more than 200 characters
	OutsideWindow = "time_outside_window" // meter_time_outside reject: a time that Amberflo does not take
	TornGroup     = "torn_group"          // $group: the markers of OpenTelemetry groups in the chunk do not belong together
)

// Reasons are all of them.
var Reasons = []string{
	NotAnEvent, NoCustomer, BadCustomer, NoMeter, BadMeter, NoValue, BadValue, BadTime,
	BadUniqueID, BadDimensions, BadUTF8, BadRecord, BadCondition, LongDimension, OutsideWindow, TornGroup,
}

// Refusal says why an event gives no meter record.
type Refusal struct {
	Reason string // one of the constants above
	Detail string // a sentence with what was wanted and what there was
}

// Mapper maps one event after the other. It is not safe for concurrent use.
type Mapper struct {
	rules   *Rules
	event   *chunk.Event
	tag     string
	tags    [][]byte // the wanted parts of tag, as msgpack; nil where it has no such part
	hasTag  bool
	entries []entry
	scratch []byte
	hex     []byte

	// The time of the last event as it stands in a line, and when its second began, in milliseconds.
	second int64
	time   []byte

	// A generated unique id is id, which is idKey and a prefix, and the record's number.
	id     []byte
	number int
	given  int // number at StartIDs

	adder *adder // nil where each record gets a line
	taken []bool // by meter: this event's record is added up, and gets no line; nil as adder

	oldest, newest int64 // meter times from oldest up to newest are inside of meter_time_window, in milliseconds
	doubts         doubts
}

// StartClock says what time it is, for meter_time_window. Before, no time is outside of it.
func (m *Mapper) StartClock(now time.Time) {
	m.oldest, m.newest = now.Add(-m.rules.windowBack).UnixMilli(), now.Add(m.rules.windowAhead).UnixMilli()
}

// StartIDs says what unique ids are generated from now on: prefix and the number of the record, first for the next and one
// more for each. A new Mapper has an empty prefix. Whoever calls it sees to it that no id is given twice.
func (m *Mapper) StartIDs(prefix string, first int) {
	m.id, _ = packed.AppendString(append(m.id[:0], idKey...), []byte(strings.ToValidUTF8(prefix, "")))
	m.id, m.number, m.given = m.id[:len(m.id)-1], first, first // without the quote behind it
	if m.adder != nil {
		m.adder.reset()
	}
}

// Lines returns how many lines were appended since StartIDs: that many numbers are given.
func (m *Mapper) Lines() int { return m.number - m.given }

// entry is a dimension out of a map.
type entry struct{ key, value []byte }

// Append appends the meter records of an event to dst, each as one line that ends in '\n', and returns how many there
// are: one, as many as meters has values for, or none if the event is to be ignored under unmatched ignore. It appends
// either all of an event or, with a refusal, nothing. The event must come from a reader with the rules' keys.
//
// Under meters, a meter whose accessor finds nothing is left out, as long as another one finds something. A value that
// is there but no number refuses the whole event: half of a bill could not be told from the whole later.
//
// A mapper of NewAdder keeps the records that are to be added up for AppendSums, and appends no lines for them: all of an event
// or nothing, there too.
func (m *Mapper) Append(dst []byte, tag string, ev *chunk.Event) (out []byte, records int, refusal *Refusal) {
	if ev.Malformed != "" {
		return dst, 0, &Refusal{Reason: NotAnEvent, Detail: ev.Malformed}
	}
	m.event = ev
	m.setTag(tag)
	if m.rules.fields.group && ev.GroupTorn() {
		return dst, 0, &Refusal{Reason: TornGroup, Detail: "$group: want a group whose start and end are both in the chunk, got one torn by a filter such as rewrite_tag"}
	}
	if m.rules.conditions != nil {
		if holds, refusal := m.holds(); !holds {
			return dst, 0, refusal
		}
	}
	start, number := len(dst), m.number
	if m.rules.payloadRecord {
		out, err := packed.AppendExactJSON(dst, ev.Record)
		if errors.Is(err, packed.ErrUTF8) {
			return dst[:start], 0, &Refusal{Reason: BadUTF8, Detail: err.Error()}
		} else if err != nil {
			return dst[:start], 0, &Refusal{Reason: BadRecord, Detail: err.Error()}
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
	dst, records, refusal = m.appendLines(dst)
	if refusal != nil {
		m.doubts.drop()
		dst, records = dst[:start], 0
		m.number = number
		if m.isUnmatched() {
			refusal = nil
		}
	} else if m.adder != nil {
		m.adder.pass()
	}
	return dst, records, refusal
}

func (m *Mapper) appendLines(dst []byte) (out []byte, records int, refusal *Refusal) {
	r, start := m.rules, len(dst)
	dst = append(dst, customerKey...)
	if dst, refusal = m.appendText(dst, &r.customer, &customerText); refusal != nil {
		return dst, 0, refusal
	}
	customerEnd := len(dst)
	first, v := m.nextMeter(0)
	if first == len(r.meters) {
		return dst, 0, m.noValue()
	}
	if dst, refusal = m.appendName(dst, &r.meters[first]); refusal != nil {
		return dst, 0, refusal
	}
	nameEnd := len(dst)
	if dst, refusal = m.appendDimensions(dst); refusal != nil {
		return dst, 0, refusal
	}
	dimensionsEnd := len(dst)
	if dst, refusal = m.appendValue(dst, &r.meters[first], v); refusal != nil {
		return dst, 0, refusal
	}
	valueEnd := len(dst)
	if dst, refusal = m.appendTime(dst); refusal != nil {
		return dst, 0, refusal
	}
	timeEnd := len(dst)
	dst, found, refusal := m.appendID(dst)
	if refusal != nil {
		return dst, 0, refusal
	}
	if !found {
		dst = m.appendGenerated(dst)
	}
	idEnd := len(dst)
	dst = append(dst, '}', '\n')
	records = 1
	m.number++
	for i, v := m.nextMeter(first + 1); i < len(r.meters); i, v = m.nextMeter(i + 1) {
		dst = append(dst, dst[start:customerEnd]...)
		if dst, refusal = m.appendName(dst, &r.meters[i]); refusal != nil {
			return dst, 0, refusal
		}
		dst = append(dst, dst[nameEnd:dimensionsEnd]...)
		if dst, refusal = m.appendValue(dst, &r.meters[i], v); refusal != nil {
			return dst, 0, refusal
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

// nextMeter returns the first meter from the i-th on that the event has a value for, and what its first term finds; where
// there is but one meter, that one in any case. It is the number of meters behind the last.
func (m *Mapper) nextMeter(i int) (int, []byte) {
	meters := m.rules.meters
	for ; i < len(meters); i++ {
		if m.taken != nil && m.taken[i] {
			continue
		}
		v := &meters[i].value
		if v.literal != nil {
			return i, nil
		}
		if found := m.findValue(v); len(found) > 0 || len(meters) == 1 {
			return i, found
		}
	}
	return i, nil
}

// isUnmatched tells if an event that cannot be metered is to be passed over, as unmatched says.
func (m *Mapper) isUnmatched() bool {
	r := m.rules
	if r.unmatched == rejectUnmatched {
		return false
	}
	var customer, name, value presence
	customer.add(len(r.customer.list) > 0, m.hasText(&r.customer))
	for i := range r.meters {
		mt := &r.meters[i]
		name.add(len(mt.name.list) > 0, m.hasText(&mt.name))
		value.add(mt.value.literal == nil, mt.value.literal != nil || len(m.findValue(&mt.value)) > 0)
	}
	switch r.unmatched {
	case ignoreAll:
		return customer.asked+name.asked+value.asked > 0 && customer.found+name.found+value.found == 0
	case ignoreAny:
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

// hasText tells if t finds something, or has a literal.
func (m *Mapper) hasText(t *text) bool {
	_, v := m.first(t.list)
	return len(v) > 0 || t.literal != nil
}

// setTag cuts the tag at its dots, as Fluent Bit does, when it is not that of the last call.
func (m *Mapper) setTag(tag string) {
	if len(m.tags) == 0 || m.hasTag && tag == m.tag {
		return
	}
	m.tag, m.hasTag = strings.Clone(tag), true
	parts := strings.Split(m.tag, ".")
	for i, part := range m.rules.fields.tags {
		switch {
		case part < 0:
			m.tags[i] = msgp.AppendString(nil, m.tag)
		case part < len(parts):
			m.tags[i] = msgp.AppendString(nil, parts[part])
		default:
			m.tags[i] = nil
		}
	}
}

// textRule says how a text that must be there is refused.
type textRule struct{ option, absent, bad string }

var (
	customerText = textRule{option: "customer_id", absent: NoCustomer, bad: BadCustomer}
	meterText    = textRule{option: "meter_api_name", absent: NoMeter, bad: BadMeter}
	idText       = textRule{option: "unique_id", absent: BadUniqueID, bad: BadUniqueID}
)

func (m *Mapper) appendText(dst []byte, t *text, rule *textRule) ([]byte, *Refusal) {
	from, v := m.first(t.list)
	switch {
	case len(v) > 0:
		return m.appendFound(dst, v, from, rule)
	case t.literal != nil:
		return append(dst, t.literal...), nil
	}
	return dst, m.noText(t.list[0], rule)
}

const wantText = "a text that is not empty, or a number"

// noText is the refusal of a text that is not there, of which from is the first accessor.
func (m *Mapper) noText(from *accessor, rule *textRule) *Refusal {
	return refuse(rule.absent, rule.option, wantText, from, m.look(from))
}

// appendFound appends the text or number v in quotes, which from has found.
func (m *Mapper) appendFound(dst, v []byte, from *accessor, rule *textRule) ([]byte, *Refusal) {
	text, size := packed.ReadString(v)
	if size == 0 {
		dst = append(dst, '"')
		dst, ok := packed.AppendNumber(dst, v)
		if !ok {
			return dst, refuse(rule.bad, rule.option, wantText, from, v)
		}
		if !packed.IsExact(v) {
			return dst, refuse(rule.bad, rule.option, "a text, or a number that has kept its digits", from, v)
		}
		return append(dst, '"'), nil
	}
	text = m.legible(v, text)
	start := len(dst)
	dst, ok := packed.AppendString(dst, text)
	if !ok {
		return dst, refuse(BadUTF8, rule.option, "UTF-8", from, v)
	}
	if mayBeOdd(dst[start:], text) {
		if bytes.Contains(text, []byte("\ufffd")) {
			return dst, refuse(BadUTF8, rule.option, "a text without U+FFFD, which a broken one has become on its way,", from, v)
		}
		if bytes.IndexFunc(text, isHidden) >= 0 {
			m.doubts.add(HiddenCharacter, rule.option, from)
		}
	}
	if isNoName(text) || rule == &idText && isZeros(text) {
		m.doubts.add(WordForNothing, rule.option, from)
	}
	return dst, nil
}

// mayBeOdd tells if a text may hold a character that nobody sees, or U+FFFD: in JSON it got longer, or has bytes of those.
func mayBeOdd(json, text []byte) bool {
	if len(json) != len(text)+2 {
		return true
	}
	for _, c := range text {
		if c == 0xe2 || c == 0xef || c == 0xc2 { // which few texts have
			return true
		}
	}
	return false
}

// isHidden tells if nobody sees a character: one that controls a terminal or the direction of text, or has no width.
func isHidden(r rune) bool { return unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) }

// isZeros tells if an id is one that says that there is none.
func isZeros(text []byte) bool {
	return text[0] == '0' && len(bytes.Trim(text, "0-")) == 0
}

func (m *Mapper) appendName(dst []byte, mt *meter) ([]byte, *Refusal) {
	return m.appendText(append(dst, nameKey...), &mt.name, &meterText)
}

// appendValue appends the value of a meter, of which v is what its first term finds.
func (m *Mapper) appendValue(dst []byte, mt *meter, v []byte) ([]byte, *Refusal) {
	dst = append(dst, valueKey...)
	if mt.value.literal != nil {
		return append(dst, mt.value.literal...), nil
	}
	from := mt.value.plain()
	switch {
	case len(v) == 0:
		from = mt.value.terms[0].from
		return dst, refuse(NoValue, m.rules.valueOption, wantNumber, from, m.look(from))
	case from == nil:
		return m.appendTerms(dst, &mt.value)
	}
	start := len(dst)
	dst, ok := packed.AppendAnyNumber(dst, v)
	switch {
	case !ok:
		return dst, refuse(BadValue, m.rules.valueOption, wantNumber, from, v)
	case dst[start] == '-' && !m.rules.negative && packed.IsNegative(dst[start:]):
		return dst, refuse(BadValue, m.rules.valueOption, wantNoNegative, from, v)
	case !packed.IsExact(v):
		m.doubts.add(BeyondDouble, m.rules.valueOption, from)
	default:
		m.tellBeyondDouble(dst[start:], &mt.value)
	}
	return dst, nil
}

// tellBeyondDouble notes a number with more digits than a double has.
func (m *Mapper) tellBeyondDouble(number []byte, v *value) {
	if len(number) > 15 && packed.IsBeyondDouble(number) {
		m.doubts.add(BeyondDouble, m.rules.valueOption, v.terms[0].from)
	}
}

func (m *Mapper) noValue() *Refusal {
	var sources []string
	for i := range m.rules.meters {
		sources = append(sources, m.rules.meters[i].value.String())
	}
	return &Refusal{Reason: NoValue, Detail: "meters: want at least one of " + strings.Join(sources, ", ") + ", got nothing"}
}

// first returns the first of the alternatives that finds something, and what.
func (m *Mapper) first(list []*accessor) (*accessor, []byte) {
	for _, a := range list {
		if v := m.find(a); len(v) > 0 {
			return a, v
		}
	}
	return nil, nil
}

// millis returns the meter time, in milliseconds since 1970.
func (m *Mapper) millis() (ms int64, refusal *Refusal) {
	r := m.rules
	from, v := m.first(r.times)
	switch {
	case len(v) > 0:
		var ok bool
		if ms, ok = r.format.millis(v); !ok {
			return 0, refuse(BadTime, "meter_time", "a time of the years 2000 to 2099 in the format "+r.format.name, from, v)
		}
	case !r.timeFallback:
		return 0, refuse(BadTime, "meter_time", "a time", r.times[0], m.look(r.times[0]))
	default: // the event's own
		seconds := m.event.Seconds
		if seconds < earliestMillis/1000 || seconds >= latestMillis/1000 {
			return 0, &Refusal{Reason: BadTime, Detail: fmt.Sprintf("meter_time: want an event time of the years 2000 to 2099, got %d seconds since 1970", seconds)}
		}
		ms = seconds*1000 + m.event.Nanos/1e6
	}
	if ms < m.oldest || ms >= m.newest {
		refusal = m.outside(ms, from)
	}
	return ms, refusal
}

// outside refuses, or notes, a time that Amberflo does not take. from is nil for the event's own.
func (m *Mapper) outside(ms int64, from *accessor) *Refusal {
	if !m.rules.rejectOutside {
		m.doubts.add(OutsideWindow, "meter_time", from)
		return nil
	}
	return &Refusal{Reason: OutsideWindow, Detail: fmt.Sprintf("meter_time: want a time within %s (meter_time_window), got %s",
		m.rules.window, time.UnixMilli(ms).UTC().Format(time.RFC3339Nano))}
}

func (m *Mapper) appendTime(dst []byte) ([]byte, *Refusal) {
	ms, refusal := m.millis()
	if refusal != nil {
		return dst, refusal
	}
	return m.appendMillis(dst, ms), nil
}

// appendMillis appends a meter time. The last second is remembered: the events of a chunk come close to each other.
func (m *Mapper) appendMillis(dst []byte, at int64) []byte {
	ms := uint64(at - m.second)
	if ms >= 1000 {
		ms = uint64(at) % 1000
		m.second = at - int64(ms)
		m.time = strconv.AppendInt(append(m.time[:0], timeKey...), at, 10)
	}
	last := len(m.time) - 3
	m.time[last], m.time[last+1], m.time[last+2] = byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10)
	return append(dst, m.time...)
}

// The members of a line.
const (
	customerKey   = `{"customerId":`
	nameKey       = `,"meterApiName":`
	dimensionsKey = `,"dimensions":{`
	valueKey      = `,"meterValue":`
	timeKey       = `,"meterTimeInMillis":`
	idKey         = `,"uniqueId":`
)

// appendID appends the id that the event has. It returns found false, and dst unchanged, if it has none and each of its
// records is to have a generated one.
func (m *Mapper) appendID(dst []byte) (out []byte, found bool, refusal *Refusal) {
	ids := m.rules.ids
	for i := range ids {
		if ids[i].hash != nil {
			if out, ok := m.appendHash(append(dst, idKey...), ids[i].hash); ok {
				return out, true, nil
			}
		} else if v := m.find(ids[i].from); len(v) > 0 {
			out, refusal = m.appendFound(append(dst, idKey...), v, ids[i].from, &idText)
			return out, true, refusal
		}
	}
	switch {
	case m.rules.idFallback:
		return dst, false, nil
	case ids[0].hash != nil:
		return dst, false, &Refusal{Reason: BadUniqueID, Detail: "unique_id: want all fields of " + ids[0].String() + ", got not all"}
	}
	return dst, false, m.noText(ids[0].from, &idText)
}

// appendGenerated appends the generated id of the next record.
func (m *Mapper) appendGenerated(dst []byte) []byte {
	return append(strconv.AppendInt(append(dst, m.id...), int64(m.number), 10), '"')
}

// legible returns text, which is what v holds: as it is, but bytes (bin) that are no string that people read, such as
// OpenTelemetry's ids, in lower-case hex, in memory that is the mapper's until the next call.
func (m *Mapper) legible(v, text []byte) []byte {
	if v[0]-0xc4 >= 3 || packed.IsReadable(text) { // no bin 8, 16 or 32
		return text
	}
	m.hex = hex.AppendEncode(m.hex[:0], text)
	return m.hex
}

// AppendJSON appends the one msgpack value that b holds as JSON, on one line, for people. Maps keep their order and duplicate
// keys, numbers their value to the last digit; what JSON cannot say is replaced. It returns an error, and dst unchanged, for
// what is not one whole value or nests deeper than 512. It is safe for concurrent use and does not keep b.
func AppendJSON(dst, b []byte) ([]byte, error) { return packed.AppendJSON(dst, b) }

// refuse makes the refusal of the value v, which may be empty, that from found.
func refuse(reason, option, want string, from *accessor, v []byte) *Refusal {
	got := "nothing"
	if len(v) > 0 {
		got = shown(v)
	}
	return &Refusal{Reason: reason, Detail: fmt.Sprintf("%s: want %s at %s, got %s", option, want, from.source, got)}
}

// shown renders a value for a sentence, cut where it gets long.
func shown(v []byte) string {
	const most = 120
	if f, _, err := msgp.ReadFloat64Bytes(v); err == nil {
		return strconv.FormatFloat(f, 'g', -1, 64) // NaN and infinities, which JSON cannot say
	}
	b, err := packed.AppendJSON(nil, v)
	if text, size := packed.ReadString(v); err == nil && size == len(v) && !utf8.Valid(text) { // the bytes, as they are
		b = fmt.Appendf(nil, "%q", text)
	}
	if err != nil {
		return fmt.Sprintf("%d bytes of msgpack", len(v))
	}
	if len(b) > most {
		return strings.ToValidUTF8(string(b[:most]), "") + "…"
	}
	return string(b)
}
