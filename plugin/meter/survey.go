package meter

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/zeebo/xxh3"

	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/meter/internal/packed"
)

// Survey looks at the first records for what nobody means: a field that no record has, as a misspelt one, a literal that is
// the name of a field, as one whose $ was forgotten, and ids that tell no records apart. It is not safe for concurrent use.
type Survey struct {
	mapper *Mapper
	found  []bool // for each of the rules' uses
	told   []bool
	// namesake tells that records have fields by the names metadata and group, which the accessors do not mean.
	namesake map[root]bool
	events   int
	metered  int
	lines    map[uint64]bool // hashes of meter records, without their values
	equal    int             // of them, those that an earlier record had
}

// use is what the user wrote: an accessor that should find something, or a literal.
type use struct {
	option  string
	from    *accessor
	literal string
	any     bool // in an event that was not metered too: a condition
}

// Finding is something that is probably not meant.
type Finding struct {
	Option string
	Text   string // a sentence, without a value of any record
}

// NewSurvey returns a survey that has looked at nothing.
func (r *Rules) NewSurvey() *Survey {
	return &Survey{mapper: r.NewMapper(), found: make([]bool, len(r.uses)), told: make([]bool, len(r.uses)), namesake: map[root]bool{}, lines: map[uint64]bool{}}
}

// Metered returns how many events that were metered it has looked at.
func (s *Survey) Metered() int { return s.metered }

// Look looks at an event from a reader with the rules' keys, and at the meter records that it gave: none if it was passed
// over. It keeps neither.
func (s *Survey) Look(tag string, ev *chunk.Event, lines []byte) {
	m := s.mapper
	m.event = ev
	m.setTag(tag)
	s.events++
	if len(lines) == 0 {
		for i, u := range m.rules.uses {
			s.found[i] = s.found[i] || u.any && len(m.look(u.from)) > 0
		}
		return
	}
	s.metered++
	for _, name := range topKeys(ev.Record) {
		switch name {
		case "metadata":
			s.namesake[fromMetadata] = true
		case "group":
			s.namesake[fromGroup] = true
		}
		for i, u := range m.rules.uses {
			s.found[i] = s.found[i] || u.from == nil && (u.literal == name || strings.HasPrefix(u.literal, name+"."))
		}
	}
	for i, u := range m.rules.uses {
		s.found[i] = s.found[i] || u.from != nil && len(m.look(u.from)) > 0
	}
	for line := range bytes.Lines(lines) {
		before, rest, _ := bytes.Cut(line, []byte(valueKey))
		_, behind, _ := bytes.Cut(rest, []byte(timeKey))
		sum := xxh3.HashSeed(behind, xxh3.Hash(before))
		if s.lines[sum] {
			s.equal++
		}
		s.lines[sum] = true
	}
}

// Findings returns what is known by now and was not returned before: literals at once, what is missing only with all.
func (s *Survey) Findings(all bool) (list []Finding) {
	if s.metered == 0 {
		return nil
	}
	for i, u := range s.mapper.rules.uses {
		isLiteral := u.from == nil
		if s.told[i] || isLiteral != (s.found[i] || u.literal == "TAG") || !isLiteral && !all {
			continue
		}
		s.told[i] = true
		list = append(list, Finding{Option: u.option, Text: s.text(u)})
	}
	if all && s.equal*10 >= s.metered && s.equal > 0 {
		list = append(list, Finding{Option: "unique_id", Text: fmt.Sprintf("%d of %d records are equal to another one in customer, meter, time, dimensions and id, "+
			"and Amberflo keeps one of such: does the id tell records apart?", s.equal, s.metered)})
	}
	return list
}

func (s *Survey) text(u use) string {
	if u.from == nil {
		path := strings.Split(u.literal, ".")
		accessor := "$" + path[0]
		for _, key := range path[1:] {
			accessor += "['" + key + "']"
		}
		if u.literal == "TAG" {
			return `"TAG" is one text for all records: did you mean $TAG?`
		}
		return fmt.Sprintf("%q is one text for all records, and they have a field of that name: did you mean %s?", u.literal, accessor)
	}
	text := fmt.Sprintf("none of %d records had %s: is it spelt as in the log?", s.events, u.from.source)
	if s.events == 1 {
		text = fmt.Sprintf("the record did not have %s: is it spelt as in the log?", u.from.source)
	}
	if name := map[root]string{fromMetadata: "metadata", fromGroup: "group"}[u.from.root]; s.namesake[u.from.root] {
		text += fmt.Sprintf(" The records have a field %s, which is written $['%s']", name, name)
	}
	return text
}

// survey notes what a Survey looks for: what the user wrote, and not the defaults.
func (c *compiler) survey(o Options) {
	r := c.rules
	add := func(option string, list ...*accessor) {
		for _, a := range list {
			if a.root != fromTag {
				r.uses = append(r.uses, use{option: option, from: a, any: option == "only_if"})
			}
		}
	}
	addLiteral := func(option string, literal []byte) {
		if len(literal) > 2 {
			r.uses = append(r.uses, use{option: option, literal: string(literal[1 : len(literal)-1])})
		}
	}
	for i := range r.conditions {
		add("only_if", r.conditions[i].from)
	}
	if r.payloadRecord {
		return
	}
	addLiteral("customer_id", r.customer.literal)
	if o.CustomerID != "" && o.CustomerID != defaultCustomer {
		add("customer_id", r.customer.list...)
	}
	if o.Meters == "" {
		addLiteral("meter_api_name", r.meters[0].name.literal)
		if o.MeterAPIName != "" && o.MeterAPIName != defaultMeter {
			add("meter_api_name", r.meters[0].name.list...)
		}
	}
	for i := range r.meters {
		for _, t := range r.meters[i].value.terms {
			add(r.valueOption, t.from)
		}
	}
	if o.MeterTime != "" && o.MeterTime != defaultTime {
		add("meter_time", r.times...)
	}
	if o.UniqueID != "" && o.UniqueID != defaultID {
		for i := range r.ids {
			if id := &r.ids[i]; id.hash != nil {
				add("unique_id", id.hash...)
			} else {
				add("unique_id", id.from)
			}
		}
	}
	for _, d := range r.dimensions {
		if d.from == nil {
			addLiteral("dimensions", d.literal)
		} else {
			add("dimensions", d.from)
		}
	}
}

// topKeys are the names of a record's fields, of at most 100.
func topKeys(record []byte) (names []string) {
	for key := range packed.Members(record) {
		if name, size := packed.ReadString(key); size > 0 && len(names) < 100 {
			names = append(names, string(name))
		}
	}
	return names
}

// Keys returns the names of the event's fields for a line of a log: at most most, and long ones cut. It is for people: names
// are what a program wrote, and no values.
func Keys(ev *chunk.Event, most int) (names []string, more int) {
	if ev.Malformed != "" {
		return nil, 0
	}
	names = topKeys(ev.Record)
	if more = len(names) - most; more > 0 {
		return names[:most], more
	}
	return names, 0
}
