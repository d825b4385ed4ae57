package meter

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"

	"out_amberflo/plugin/meter/internal/grammar"
	"out_amberflo/plugin/meter/internal/packed"
	"out_amberflo/plugin/meter/internal/rules"
	"out_amberflo/plugin/tally"
)

// Reasons why a record of a meter that aggregate names is not added up. They are stable.
const (
	PassedOwnID     = "own_id"         // it has an id of its own, by which Amberflo tells it from others
	PassedDimension = "aflo_dimension" // a dimension of it begins with aflo., which means something to Amberflo
	PassedValue     = "long_value"     // its value has more than 15 digits, or is beyond 2^53
)

// PassReasons are all of them.
var PassReasons = []string{PassedOwnID, PassedDimension, PassedValue}

const (
	passedOwnID = iota
	passedDimension
	passedValue
)

// adder is what a Mapper has of the chunk whose records it adds up. Their keys are Mapper.keys.
//
// The first record of a key is rendered; of the others the value and the time are read. Whatever is not as usual goes the way of
// records that are not added up, so that an event is rejected for the same reason on either way.
type adder struct {
	quick  *quick
	firsts []byte // the first values of sums
	passed []int  // records by reason, since StartIDs

	// Of this event:
	adding []addition
	values []byte
	millis int64
	// Why it passes, if it is metered, and how many of its records.
	why, passing int

	from      int64 // where the bucket of the last one begins, in milliseconds
	low, high int64 // what of it is inside of meter_time_window
	width     int64 // of a bucket
}

// addition is the value of one record, ready to be added up.
type addition struct {
	meter   int
	amount  tally.Amount
	written []byte // as it would stand in a line; empty where that is how amount is written
}

// NewAdder is NewMapper, but records that aggregate says so of are added up.
func (r *Rules) NewAdder() *Mapper {
	m := r.NewMapper()
	if r.rules.Aggregate.On() {
		m.taken = make([]bool, len(r.rules.Meters))
		m.adder = &adder{quick: m.newQuick(), passed: make([]int, len(PassReasons)), adding: make([]addition, 0, len(r.rules.Meters)),
			width: r.rules.Aggregate.Bucket.Milliseconds()}
	}
	return m
}

// Passed returns how many records of the meters that aggregate names were not added up since StartIDs, in the order of
// PassReasons. The slice is the mapper's own. It is nil where nothing is added up.
func (m *Mapper) Passed() []int {
	if m.adder == nil {
		return nil
	}
	return m.adder.passed
}

// AppendSums appends what the records since StartIDs come to that were added up, a line each, and forgets them. It returns how
// many lines there are.
func (m *Mapper) AppendSums(dst []byte) (out []byte, lines int) {
	a, k := m.adder, m.keys
	if a == nil {
		return dst, 0
	}
	sums := k.table.Sums()
	const rest = 136 // what of a line is not its head, nor its id's prefix, about
	size := 0
	for i := range sums {
		h := &k.heads[sums[i].Key]
		size += int(h.to-h.from) + len(m.id) + rest
	}
	dst = slices.Grow(dst, size) // once, and not by a quarter again and again: there may be as many as events
	for i := range sums {
		s := &sums[i]
		dst = append(m.appendKnown(dst, int(s.Key), int(s.Meter)), tally.ValueKey...)
		if s.Records == 1 {
			dst = append(dst, a.firsts[s.From:s.To]...)
		} else {
			dst = s.Amount.Append(dst)
		}
		dst = m.appendGenerated(m.appendMillis(dst, s.First))
		dst = tally.AppendMembers(dst, s.Records, s.First, s.Last)
		m.number++
	}
	lines = len(sums)
	k.restart()
	a.firsts = a.firsts[:0]
	return dst, lines
}

// restart is for the next chunk.
func (a *adder) restart() {
	a.firsts = a.firsts[:0]
	clear(a.passed)
}

// pass counts the records of an event that was metered record by record.
func (a *adder) pass() {
	if a.passing > 0 {
		a.passed[a.why] += a.passing
	}
}

// addUp adds up the records of the event, and appends lines of those that are not to be added up. It returns added false, and
// nothing is changed, where each record is to get a line, or the event may have to be rejected.
func (m *Mapper) addUp(dst []byte) (out []byte, records int, added bool) {
	a, start, number := m.adder, len(dst), m.number
	if a.quick != nil {
		if records = m.addUpQuick(a.quick); records > 0 {
			return dst, records, true
		}
	}
	a.adding, a.values, a.passing = a.adding[:0], a.values[:0], 0
	key, lines := m.sortOut()
	if key >= 0 && lines > 0 {
		var rejection *Rejection
		if dst, records, rejection = m.appendLines(dst); rejection != nil {
			key = -1
		}
	}
	clear(m.taken)
	if key < 0 {
		m.doubts.drop()
		m.number = number
		return dst[:start], 0, false
	}
	m.add(key)
	a.pass()
	return dst, records + len(a.adding), true
}

// add adds what is in adding.
func (m *Mapper) add(key int) {
	a := m.adder
	for i := range a.adding {
		d := &a.adding[i]
		if s := m.keys.table.Add(key, d.meter, d.amount, a.millis); s != nil {
			a.begin(s, d.amount, d.written)
		}
	}
}

// begin keeps how the first value of a sum is written: as its amount, unless written says so.
func (a *adder) begin(s *tally.Sum, amount tally.Amount, written []byte) {
	s.From = int32(len(a.firsts))
	if len(written) > 0 {
		a.firsts = append(a.firsts, written...)
	} else {
		a.firsts = amount.Append(a.firsts)
	}
	s.To = int32(len(a.firsts))
}

// sortOut fills in what of the event is added up, and returns its key and how many of its records get lines. The key is -1
// where all of them do, or the event may have to be rejected.
func (m *Mapper) sortOut() (key, lines int) {
	r, a := m.rules, m.adder
	first, v := m.nextMeter(0)
	if first == len(r.Meters) {
		return -1, 0
	}
	if m.hasID() {
		a.why, a.passing = passedOwnID, m.named(first)
		return -1, 0
	}
	if key = m.sumKey(first); key < 0 {
		return -1, 0
	}
	h := &m.keys.heads[key]
	switch {
	case h.notNamed:
		return -1, 0
	case h.hasAflo:
		a.why, a.passing = passedDimension, m.named(first)
		return -1, 0
	case h.doubtful: // what is rendered stands already
		_, _ = m.renderHead(m.keys.held, first)
	}
	a.why = passedValue
	for i := first; i < len(r.Meters); i, v = m.nextMeter(i + 1) {
		mt := &r.Meters[i]
		if !mt.Adds {
			lines++
			continue
		}
		d := addition{meter: i}
		isAmount, ok := m.readAmount(&d, mt, v)
		if !ok {
			return -1, 0
		}
		if !isAmount {
			a.passing++
			lines++
			continue
		}
		m.taken[i] = true
		a.adding = append(a.adding, d)
	}
	return key, lines
}

// readAmount reads the value of a meter, of which v is what its first term finds. It returns ok false for one that rejects the
// event.
func (m *Mapper) readAmount(d *addition, mt *rules.Meter, v []byte) (isAmount, ok bool) {
	if mt.Value.Literal != nil {
		d.amount, d.written = mt.Value.Amount, mt.Value.Literal
		return mt.Value.IsAmount, true
	}
	if n, ok := packed.Small(v); ok && mt.Value.Plain() != nil { // as most are
		d.amount, isAmount = tally.Int(int64(n))
		return isAmount, true
	}
	a := m.adder
	from := len(a.values) + len(tally.ValueKey)
	values, rejection := m.appendValue(a.values, mt, v)
	if rejection != nil {
		return false, false
	}
	a.values, d.written = values, values[from:]
	d.amount, isAmount = tally.Parse(d.written)
	return isAmount, true
}

// named returns how many of the event's records aggregate names, from the meter first on.
func (m *Mapper) named(first int) (n int) {
	meters := m.rules.Meters
	for i := first; i < len(meters); i, _ = m.nextMeter(i + 1) {
		if meters[i].Adds && (meters[i].Name.From == nil || m.findsNamed(&meters[i])) {
			n++
		}
	}
	return n
}

// findsNamed tells if aggregate has the name that a meter finds.
func (m *Mapper) findsNamed(mt *rules.Meter) bool {
	name, rejection := m.appendSource(m.scratch[:0], &mt.Name, &meterRule)
	m.scratch = name
	return rejection == nil && m.rules.Aggregate.Has(name)
}

// hasID tells if the event has an id of its own, or something in its place.
func (m *Mapper) hasID() bool {
	for i := range m.rules.IDs {
		id := &m.rules.IDs[i]
		if id.Hash == nil && len(m.ev.Find(id.From)) > 0 || id.Hash != nil &&
			!slices.ContainsFunc(id.Hash, func(a *grammar.Accessor) bool { return len(m.ev.Find(a)) == 0 }) {
			return true
		}
	}
	return false
}

// sumKey returns the number of the event's key, -1 where the event has to be rejected, and reads its time. The meter number
// first is the first that has a value.
func (m *Mapper) sumKey(first int) int {
	k := m.keys
	ms, rejection := m.millis()
	if rejection != nil {
		return -1
	}
	number, hash := m.findSum(ms)
	if number >= 0 {
		return number
	}
	if k.bytes > math.MaxInt32/2 || len(m.adder.firsts) > math.MaxInt32/2 { // a chunk of gigabytes: the rest of it gets lines
		return -1
	}
	doubts := len(m.doubts.event)
	held, rejection := m.renderHead(k.held, first)
	if rejection != nil {
		return -1
	}
	rendered, h := held[len(k.held):], m.head
	h.notNamed = m.rules.Meters[first].Name.From != nil && !m.rules.Aggregate.Has(rendered[int(h.name)+len(tally.MeterKey):h.dimensions])
	h.hasAflo = hasAflo(rendered[h.dimensions:])
	h.doubtful = len(m.doubts.event) > doubts
	k.held = held
	return k.add(hash, h)
}

// findSum makes ms the time of the event, and looks up its key.
func (m *Mapper) findSum(ms int64) (number int, hash uint64) {
	a, k := m.adder, m.keys
	if a.millis = ms; ms < a.low || ms >= a.high {
		a.from = ms / a.width * a.width // since 1970 in UTC, which full hours are multiples of
		a.low, a.high = max(a.from, m.oldest), min(a.from+a.width, m.newest)
	}
	k.key = m.appendKey(binary.LittleEndian.AppendUint64(k.key[:0], uint64(a.from)))
	return k.table.Find(k.key)
}

// hasAflo tells if one of the dimensions, as they stand in a line, has a name that begins with aflo.
func hasAflo(dimensions []byte) bool {
	if !bytes.Contains(dimensions, []byte(`"aflo.`)) {
		return false
	}
	dimensions = bytes.TrimSuffix(bytes.TrimPrefix(dimensions, []byte(tally.DimensionsKey)), []byte("}"))
	for name := range tally.Dimensions(dimensions) {
		if bytes.HasPrefix(name, []byte(`"aflo.`)) {
			return true
		}
	}
	return false
}
