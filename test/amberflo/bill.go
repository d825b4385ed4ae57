package amberflo

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
)

// Bill is the usage of all records that count, and how many there were of each sort. Records counts
// what stands in the objects, so Records = Billed + Refused + Duplicates, and delivery was exactly
// once without Amberflo's help when Duplicates and Conflicts are both 0.
type Bill struct {
	Lines          []Line `json:"bill"` // by customer, meter and dimensions
	Records        int    `json:"records"`
	Billed         int    `json:"billed"`
	Refused        int    `json:"refused"`
	RefusedObjects int    `json:"refused_objects"`
	Duplicates     int    `json:"duplicates"` // equal to an earlier one in every attribute: discarded; see Rule
	Conflicts      int    `json:"conflicts"`  // a uniqueId seen before, other attributes: billed again
	WithoutID      int    `json:"without_id"` // records without a uniqueId: billed
}

// Line is the usage of one meter by one customer.
type Line struct {
	Customer   string            `json:"customer"`
	Meter      string            `json:"meter"`
	Dimensions map[string]string `json:"dimensions,omitempty"` // those of Options.Dimensions that the records have
	Events     int               `json:"events"`
	Usage      string            `json:"usage"` // exact, in the one shortest decimal spelling
}

// Rule says which records are one. Amberflo's documents have two wordings, of which the second has two readings.
type Rule int

const (
	// EqualInAll discards a record that is equal to an earlier one in every attribute.
	EqualInAll Rule = iota
	// LastValue has a record replace an earlier one that is equal in every attribute but its values.
	LastValue
	// LastEvent has a record replace an earlier one with its customer, meters, time and dimensions, whatever their ids and values.
	LastEvent
)

type (
	digest [16]byte // half a SHA-256: no two records collide by accident
	ledger struct {
		rule       Rule
		dimensions []string
		seen       map[digest]Record   // with EqualInAll no more than that they are there
		ids        map[digest]struct{} // uniqueIds
		accounts   map[string]*account

		records, refused, refusedObjects, duplicates, conflicts, withoutID int
	}
	account struct {
		line Line
		sum  big.Rat
	}
)

func newLedger(dimensions []string, rule Rule) ledger {
	return ledger{
		rule:       rule,
		dimensions: slices.Sorted(slices.Values(dimensions)),
		seen:       map[digest]Record{},
		ids:        map[digest]struct{}{},
		accounts:   map[string]*account{},
	}
}

// enter adds a record to the bill. One that it is a duplicate of stays as it is, or is replaced, as the rule says.
func (l *ledger) enter(r Record) (duplicate bool) {
	l.records++
	d := r.digest(l.rule)
	before, ok := l.seen[d]
	if l.rule == EqualInAll {
		l.seen[d] = Record{}
	} else {
		l.seen[d] = r
	}
	if ok {
		l.duplicates++
		if l.rule != EqualInAll {
			for i, q := range r.Usage {
				a := l.account(r, q.Meter)
				a.sum.Add(&a.sum, q.Value)
				a.sum.Sub(&a.sum, before.Usage[i].Value)
			}
		}
		return true
	}
	if r.UniqueID == "" {
		l.withoutID++
	} else {
		id := hash([]byte(r.UniqueID))
		if _, ok := l.ids[id]; ok {
			l.conflicts++
		} else {
			l.ids[id] = struct{}{}
		}
	}
	for _, q := range r.Usage {
		a := l.account(r, q.Meter)
		a.line.Events++
		a.sum.Add(&a.sum, q.Value)
	}
	return false
}

// account is the line of a bill that a record counts to.
func (l *ledger) account(r Record, meter string) *account {
	key := appendString(appendString(nil, r.Customer), meter)
	for _, name := range l.dimensions {
		key = appendString(key, r.Dimensions[name])
	}
	a := l.accounts[string(key)]
	if a == nil {
		a = &account{line: Line{Customer: r.Customer, Meter: meter}}
		for _, name := range l.dimensions {
			if v, ok := r.Dimensions[name]; ok {
				if a.line.Dimensions == nil {
					a.line.Dimensions = map[string]string{}
				}
				a.line.Dimensions[name] = v
			}
		}
		l.accounts[string(key)] = a
	}
	return a
}

func (l *ledger) bill() Bill {
	b := Bill{
		Lines:   make([]Line, 0, len(l.accounts)),
		Records: l.records + l.refused, Billed: l.records - l.duplicates,
		Refused: l.refused, RefusedObjects: l.refusedObjects,
		Duplicates: l.duplicates, Conflicts: l.conflicts, WithoutID: l.withoutID,
	}
	for _, a := range l.accounts {
		line := a.line
		line.Dimensions = maps.Clone(line.Dimensions)
		line.Usage = Decimal(&a.sum)
		b.Lines = append(b.Lines, line)
	}
	slices.SortFunc(b.Lines, compareLines)
	return b
}

// Decimal spells a decimal fraction exactly and in only one way, so that equal numbers are equal
// strings. A number that has no finite decimal form is spelled as a fraction.
func Decimal(r *big.Rat) string {
	digits, exact := r.FloatPrec()
	if !exact {
		return r.RatString()
	}
	return r.FloatString(digits)
}

// Diff says line by line where a bill is not what it should be; nil means to the last unit. The
// order of the lines does not matter.
func Diff(want, got []Line) []string {
	name := func(l Line) string {
		return strings.TrimRight(l.Customer+" / "+l.Meter+" "+l.dimensions(), " ")
	}
	index := func(lines []Line) map[string]Line {
		m := make(map[string]Line, len(lines))
		for _, l := range lines {
			m[name(l)] = l
		}
		return m
	}
	var diff []string
	w, g := index(want), index(got)
	for _, n := range slices.Sorted(maps.Keys(w)) {
		have, ok := g[n]
		switch {
		case !ok:
			diff = append(diff, fmt.Sprintf("%s: want usage %s of %d events, got none", n, w[n].Usage, w[n].Events))
		case have.Usage != w[n].Usage || have.Events != w[n].Events:
			diff = append(diff, fmt.Sprintf("%s: want usage %s of %d events, got %s of %d", n, w[n].Usage, w[n].Events, have.Usage, have.Events))
		}
	}
	for _, n := range slices.Sorted(maps.Keys(g)) {
		if _, ok := w[n]; !ok {
			diff = append(diff, fmt.Sprintf("%s: want none, got usage %s of %d events", n, g[n].Usage, g[n].Events))
		}
	}
	return diff
}

func (l Line) dimensions() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(l.Dimensions)) {
		parts = append(parts, name+"="+l.Dimensions[name])
	}
	return strings.Join(parts, " ")
}

func compareLines(a, b Line) int {
	return cmp.Or(strings.Compare(a.Customer, b.Customer), strings.Compare(a.Meter, b.Meter),
		strings.Compare(a.dimensions(), b.dimensions()))
}

// digest covers what of a record a rule compares, at most every attribute that Amberflo keeps; 1 and 1.0 are the same value.
func (r Record) digest(rule Rule) digest {
	b := make([]byte, 0, 256)
	b = appendString(b, r.Customer)
	if rule != LastEvent {
		b = appendString(b, r.UniqueID)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(r.Time))
	b = binary.BigEndian.AppendUint64(b, uint64(len(r.Usage)))
	for _, q := range r.Usage {
		b = appendString(b, q.Meter)
		if rule == EqualInAll {
			b = appendString(b, q.Value.RatString())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Dimensions)) {
		b = appendString(b, name)
		b = appendString(b, r.Dimensions[name])
	}
	return hash(b)
}

func hash(b []byte) digest {
	sum := sha256.Sum256(b)
	return digest(sum[:16])
}

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}
