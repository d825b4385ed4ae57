package meter

import (
	"fmt"
	"slices"

	"github.com/tinylib/msgp/msgp"

	"out_amberflo/plugin/chunk"
)

// Survey looks at the first records that were metered for what nobody means: a field that no record has, as a misspelt one,
// and a literal that is the name of a field, as one whose $ was forgotten. It is not safe for concurrent use.
type Survey struct {
	mapper *Mapper
	found  []bool // for each of the rules' uses
	told   []bool
	// namesake tells that records have fields by the names metadata and group, which the accessors do not mean.
	namesake map[root]bool
	records  int
}

// use is what the user wrote: accessors of which one should find something, or a literal.
type use struct {
	option, source string
	list           []*accessor
	literal        string
}

// Finding is something that is probably not meant.
type Finding struct {
	Option string
	Text   string // a sentence, without a value of any record
}

// NewSurvey returns a survey that has looked at nothing.
func (r *Rules) NewSurvey() *Survey {
	return &Survey{mapper: r.NewMapper(), found: make([]bool, len(r.uses)), told: make([]bool, len(r.uses)), namesake: map[root]bool{}}
}

// Records returns how many records it has looked at.
func (s *Survey) Records() int { return s.records }

// Look looks at an event that gave a meter record, from a reader with the rules' keys.
func (s *Survey) Look(tag string, ev *chunk.Event) {
	s.records++
	m := s.mapper
	m.event = ev
	m.setTag(tag)
	for _, name := range topKeys(ev.Record) {
		switch name {
		case "metadata":
			s.namesake[fromMetadata] = true
		case "group":
			s.namesake[fromGroup] = true
		}
		for i, u := range m.rules.uses {
			s.found[i] = s.found[i] || u.list == nil && u.literal == name
		}
	}
	for i, u := range m.rules.uses {
		s.found[i] = s.found[i] || slices.ContainsFunc(u.list, func(a *accessor) bool { return len(m.look(a)) > 0 })
	}
}

// Findings returns what is known by now and was not returned before: literals at once, what is missing only with all.
func (s *Survey) Findings(all bool) (list []Finding) {
	for i, u := range s.mapper.rules.uses {
		isLiteral := u.list == nil
		if s.told[i] || isLiteral != s.found[i] || !isLiteral && !all || s.records == 0 {
			continue
		}
		s.told[i] = true
		text := fmt.Sprintf("%q is one text for all records, and they have a field of that name: did you mean $%s?", u.literal, u.literal)
		if !isLiteral {
			text = fmt.Sprintf("none of %d records had %s: is it spelt as in the log?", s.records, u.source)
			if s.records == 1 {
				text = fmt.Sprintf("the record did not have %s: is it spelt as in the log?", u.source)
			}
			for _, a := range u.list {
				name := map[root]string{fromMetadata: "metadata", fromGroup: "group"}[a.root]
				if s.namesake[a.root] {
					text += fmt.Sprintf(" The records have a field %s, which is written $['%s']", name, name)
				}
			}
		}
		list = append(list, Finding{Option: u.option, Text: text})
	}
	return list
}

// survey notes what a Survey looks for: what the user wrote, and not the defaults.
func (c *compiler) survey(o Options) {
	r := c.rules
	add := func(option, source string, list ...*accessor) {
		if len(list) > 0 && list[0] != nil && list[0].root != fromTag {
			r.uses = append(r.uses, use{option: option, source: source, list: list})
		}
	}
	addLiteral := func(option string, literal []byte) {
		if len(literal) > 2 {
			r.uses = append(r.uses, use{option: option, literal: string(literal[1 : len(literal)-1])})
		}
	}
	for i := range r.conditions {
		if one := &r.conditions[i]; one.is != isAbsent && one.is != isNotEqual {
			add("only_if", one.from.source, one.from)
		}
	}
	if r.payloadRecord {
		return
	}
	addLiteral("customer_id", r.customer.literal)
	if o.Meters == "" {
		addLiteral("meter_api_name", r.meters[0].name.literal)
	}
	for i := range r.meters {
		for _, t := range r.meters[i].value.terms {
			add(r.valueOption, t.from.source, t.from)
		}
	}
	if o.MeterTime != "" && o.MeterTime != defaultTime {
		add("meter_time", "any of "+o.MeterTime, r.times...)
	}
	if o.UniqueID != "" && o.UniqueID != defaultID {
		for i := range r.ids {
			if id := &r.ids[i]; id.hash != nil {
				for _, a := range id.hash {
					add("unique_id", a.source, a)
				}
			} else {
				add("unique_id", id.from.source, id.from)
			}
		}
	}
	for _, d := range r.dimensions {
		if d.from == nil {
			addLiteral("dimensions", d.literal)
		} else {
			add("dimensions", d.from.source, d.from)
		}
	}
}

// topKeys are the names of a record's fields, of at most 100.
func topKeys(record []byte) (names []string) {
	n, b, err := msgp.ReadMapHeaderBytes(record)
	for ; err == nil && n > 0 && len(names) < 100; n-- {
		name, size := readText(b)
		if size == 0 {
			size = chunk.Skip(b)
		} else {
			names = append(names, string(name))
		}
		b = b[size:]
		b = b[chunk.Skip(b):]
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
