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
	Duplicates     int    `json:"duplicates"` // equal to an earlier one in every attribute: discarded
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

type (
	digest [16]byte // half a SHA-256: no two records collide by accident
	ledger struct {
		dimensions []string
		seen       map[digest]struct{}
		ids        map[digest]struct{} // uniqueIds
		accounts   map[string]*account

		records, refused, refusedObjects, duplicates, conflicts, withoutID int
	}
	account struct {
		line Line
		sum  big.Rat
	}
)

func newLedger(dimensions []string) ledger {
	return ledger{
		dimensions: slices.Sorted(slices.Values(dimensions)),
		seen:       map[digest]struct{}{},
		ids:        map[digest]struct{}{},
		accounts:   map[string]*account{},
	}
}

// enter adds a record to the bill unless an equal one is there.
func (l *ledger) enter(r Record) (duplicate bool) {
	l.records++
	d := r.digest()
	if _, ok := l.seen[d]; ok {
		l.duplicates++
		return true
	}
	l.seen[d] = struct{}{}
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
		l.add(r, q)
	}
	return false
}

func (l *ledger) add(r Record, q Quantity) {
	key := appendString(appendString(nil, r.Customer), q.Meter)
	for _, name := range l.dimensions {
		key = appendString(key, r.Dimensions[name])
	}
	a := l.accounts[string(key)]
	if a == nil {
		a = &account{line: Line{Customer: r.Customer, Meter: q.Meter}}
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
	a.line.Events++
	a.sum.Add(&a.sum, q.Value)
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

// digest covers every attribute that Amberflo keeps; 1 and 1.0 are the same value.
func (r Record) digest() digest {
	b := make([]byte, 0, 256)
	b = appendString(b, r.Customer)
	b = appendString(b, r.UniqueID)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Time))
	b = binary.BigEndian.AppendUint64(b, uint64(len(r.Usage)))
	for _, q := range r.Usage {
		b = appendString(b, q.Meter)
		b = appendString(b, q.Value.RatString())
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
