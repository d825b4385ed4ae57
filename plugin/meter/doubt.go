package meter

import (
	"out_amberflo/plugin/meter/internal/grammar"
)

// Kinds of doubts. They are stable: people and counters go by them, as by the reasons of rejections.
const (
	BeyondDouble    = "beyond_double"    // a value with more digits than a double keeps: most readers see another number
	WordForNothing  = "word_for_nothing" // a customer, meter, id or dimension such as null or N/A, which absent does not have
	HiddenCharacter = "hidden_character" // a customer, meter or id with a character that nobody sees, such as a colour's
	NoName          = "no_name"          // a dimension without a name was left out
	CutDimension    = "cut_dimension"    // long_dimensions cut: a value was cut to 200 characters
)

// Doubts are all kinds of them. OutsideWindow is one too, if it is not rejected.
var Doubts = []string{OutsideWindow, BeyondDouble, WordForNothing, HiddenCharacter, NoName, CutDimension}

// Doubt is something about records that were metered all the same, which somebody should know of.
type Doubt struct {
	Kind    string // one of Doubts
	Option  string // the option that the first of them is about
	Source  string // the accessor that found it; "" for the event itself
	Records int
}

// doubts collects those of the records since the last TakeDoubts. Most have none, and cost nothing.
type doubts struct {
	list  []Doubt
	event []Doubt // of this event, until it is metered
}

func (d *doubts) start() {
	if len(d.event) > 0 {
		d.keep()
	}
}

func (d *doubts) keep() {
next:
	for _, e := range d.event {
		for i := range d.list {
			if d.list[i].Kind == e.Kind {
				d.list[i].Records++
				continue next
			}
		}
		d.list = append(d.list, e)
	}
	d.event = d.event[:0]
}

func (d *doubts) drop() { d.event = d.event[:0] }

func (d *doubts) add(kind, option string, from *grammar.Accessor) {
	source := ""
	if from != nil {
		source = from.Source
	}
	d.addAgain(Doubt{Kind: kind, Option: option, Source: source, Records: 1})
}

// addAgain adds what an earlier record was doubted for.
func (d *doubts) addAgain(doubt Doubt) {
	for i := range d.event {
		if d.event[i].Kind == doubt.Kind {
			return
		}
	}
	d.event = append(d.event, doubt)
}

// TakeDoubts returns what there was to doubt in the events since the last call, one for each kind: its number of events,
// and what the first was about. The slice is the mapper's own until its next event.
func (m *Mapper) TakeDoubts() []Doubt {
	m.doubts.start()
	list := m.doubts.list
	m.doubts.list = m.doubts.list[:0]
	return list
}
