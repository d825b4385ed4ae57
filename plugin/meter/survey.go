package meter

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/meter/internal/find"
	"out_amberflo/plugin/meter/internal/grammar"
	"out_amberflo/plugin/meter/internal/packed"
	"out_amberflo/plugin/meter/internal/rules"
	"out_amberflo/plugin/tally"
)

// Survey looks at the first records for what nobody means: a field that no record has, as a misspelt one, a literal that is
// the name of a field, as one whose $ was forgotten, and ids that tell no records apart. It is not safe for concurrent use.
type Survey struct {
	ev    find.Finder
	rules *rules.Rules
	found []bool // for each of the rules' uses
	told  []bool
	// namesake tells that records have fields by the names metadata and group, which the accessors do not mean.
	namesake map[grammar.Root]bool
	events   int
	metered  int
	lines    map[uint64]bool // hashes of meter records, without their values
	equal    int             // of them, those that an earlier record had
}

// Finding is something that is probably not meant.
type Finding struct {
	Option string
	Text   string // a sentence, without a value of any record
}

// NewSurvey returns a survey that has looked at nothing.
func (r *Rules) NewSurvey() *Survey {
	uses := len(r.rules.Uses)
	return &Survey{ev: find.New(&r.rules.Fields, &r.rules.Absent), rules: r.rules, found: make([]bool, uses), told: make([]bool, uses), namesake: map[grammar.Root]bool{}, lines: map[uint64]bool{}}
}

// Metered returns how many events that were metered it has looked at.
func (s *Survey) Metered() int { return s.metered }

// Look looks at an event from a reader with the rules' keys, and at the meter records that it gave: none if it was skipped. It
// keeps neither.
func (s *Survey) Look(tag string, ev *chunk.Event, lines []byte) {
	s.ev.Start(tag, ev)
	s.events++
	metered := len(lines) > 0
	var keys []string
	if metered {
		s.metered++
		keys = topKeys(ev.Record)
		s.namesake[grammar.FromMetadata] = s.namesake[grammar.FromMetadata] || slices.Contains(keys, "metadata")
		s.namesake[grammar.FromGroup] = s.namesake[grammar.FromGroup] || slices.Contains(keys, "group")
	}
	for i, u := range s.rules.Uses {
		switch {
		case s.found[i]:
		case u.From == nil:
			s.found[i] = slices.ContainsFunc(keys, func(key string) bool { return u.Literal == key || strings.HasPrefix(u.Literal, key+".") })
		case metered || u.Option == "only_if": // which finds something in events that it skips, too
			s.found[i] = len(s.ev.Look(u.From)) > 0
		}
	}
	for line := range bytes.Lines(lines) {
		before, rest, _ := bytes.Cut(line, []byte(tally.ValueKey))
		_, after, _ := bytes.Cut(rest, []byte(tally.TimeKey))
		sum := xxh3.HashSeed(after, xxh3.Hash(before))
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
	for i, u := range s.rules.Uses {
		isLiteral := u.From == nil
		if s.told[i] || isLiteral != (s.found[i] || u.Literal == "TAG") || !isLiteral && !all {
			continue
		}
		s.told[i] = true
		list = append(list, Finding{Option: u.Option, Text: s.sentence(u)})
	}
	if all && s.equal*10 >= s.metered && s.equal > 0 {
		list = append(list, Finding{Option: "unique_id", Text: fmt.Sprintf("%d of %d records are equal to another one in customer, meter, time, dimensions and id, "+
			"and Amberflo keeps one of such: does the id tell records apart?", s.equal, s.metered)})
	}
	return list
}

func (s *Survey) sentence(u rules.Use) string {
	if u.From == nil {
		path := strings.Split(u.Literal, ".")
		accessor := "$" + path[0]
		for _, key := range path[1:] {
			accessor += "['" + key + "']"
		}
		if u.Literal == "TAG" {
			return `"TAG" is one string for all records: did you mean $TAG?`
		}
		return fmt.Sprintf("%q is one string for all records, and they have a field of that name: did you mean %s?", u.Literal, accessor)
	}
	sentence := fmt.Sprintf("none of %d records had %s: is it spelt as in the log?", s.events, u.From.Source)
	if s.events == 1 {
		sentence = fmt.Sprintf("the record did not have %s: is it spelt as in the log?", u.From.Source)
	}
	if name := map[grammar.Root]string{grammar.FromMetadata: "metadata", grammar.FromGroup: "group"}[u.From.Root]; s.namesake[u.From.Root] {
		sentence += fmt.Sprintf(" The records have a field %s, which is written $['%s']", name, name)
	}
	return sentence
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
