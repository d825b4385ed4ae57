package meter

import (
	"strconv"
	"strings"

	"out_amberflo/plugin/meter/internal/packed"
)

// accessor names one value of an event. The grammar is Fluent Bit's own (src/record_accessor/ra.l and ra.y):
//
//	$key  $key['sub']['it''s']  $key['list'][0]  $TAG  $TAG[1]
//
// with these additions, none of which Fluent Bit gives another meaning:
//
//	$['any key']     a top-level key that is no identifier
//	$key[$other]     the member whose name stands in the top-level field other
//	$metadata['x']   the event's metadata; $metadata without a bracket is the record's field of that name
//	$group['x']      the event's OpenTelemetry group: resource and scope; $group likewise
//
// Of duplicate keys the last wins. Unlike Fluent Bit, which then answers with the text itself, a step into a text finds
// nothing.
type accessor struct {
	source string // as the user wrote it
	name   string // behind its $, without quotes; "" for $['…']
	root   root
	field  int // fromRecord: index of Event.Field; fromTag: index into Mapper.tags
	steps  []step
}

type root uint8

const (
	fromRecord root = iota
	fromMetadata
	fromGroup
	fromTag
)

type step struct {
	kind  stepKind
	key   string // byKey
	index int    // byIndex: of a list; byField: of Event.Field
}

type stepKind uint8

const (
	byKey stepKind = iota
	byIndex
	byField
)

// A syntaxError says what was wanted at byte at of an option's value.
type syntaxError struct {
	want string
	at   int
}

// scanner reads an option's value from left to right.
type scanner struct {
	s string
	i int
}

func (s *scanner) fail(want string) *syntaxError { return &syntaxError{want: want, at: s.i} }

func (s *scanner) done() bool { return s.i >= len(s.s) }

func (s *scanner) peek() byte {
	if s.done() {
		return 0
	}
	return s.s[s.i]
}

func (s *scanner) accept(c byte) bool {
	if s.done() || s.s[s.i] != c {
		return false
	}
	s.i++
	return true
}

func (s *scanner) blanks() {
	for isSpace(s.peek()) && !s.done() {
		s.i++
	}
}

// while takes the bytes from here on that belong to set.
func (s *scanner) while(set func(c byte) bool) string {
	from := s.i
	for !s.done() && set(s.s[s.i]) {
		s.i++
	}
	return s.s[from:s.i]
}

// quoted takes a text in quotes, in which a doubled quote stands for one.
func (s *scanner) quoted() (string, *syntaxError) {
	quote := s.peek()
	s.i++
	var text strings.Builder
	for {
		if s.done() {
			return "", s.fail("a closing " + string(quote))
		}
		c := s.peek()
		s.i++
		if c == quote && !s.accept(quote) {
			return text.String(), nil
		}
		text.WriteByte(c)
	}
}

// isSpace includes line breaks: an option of a YAML configuration may have several lines.
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func isLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func inIdentifier(c byte) bool {
	return isLetter(c) || isDigit(c) || c == '-' || c == '/'
}

// accessor takes an accessor, which begins here with $.
func (s *scanner) accessor(fields *fieldSet) (*accessor, *syntaxError) {
	from := s.i
	s.i++
	a := &accessor{}
	name := ""
	switch {
	case isLetter(s.peek()):
		name = s.while(inIdentifier)
		if s.peek() == '.' {
			return nil, s.fail("no dot: a nested key is written $" + name + "['key'], a key with a dot $['" + name + ".key']")
		}
	case isDigit(s.peek()):
		return nil, s.fail("a key: there are no captures of a regular expression here")
	case s.peek() != '[':
		return nil, s.fail("a key behind the $")
	}
	for s.peek() == '[' {
		at := s.i
		step, err := s.step(fields)
		if err != nil {
			return nil, err
		}
		if len(a.steps) == 0 && name == "" && at == from+1 {
			if step.kind != byKey || step.key == "" {
				return nil, &syntaxError{want: "a key in single quotes, such as $['my key']", at: at + 1}
			}
			a.field = fields.add(step.key)
			continue
		}
		a.steps = append(a.steps, step)
	}
	a.source, a.name = s.s[from:s.i], name

	switch {
	case name == "TAG":
		part := -1
		if len(a.steps) > 1 || len(a.steps) == 1 && a.steps[0].kind != byIndex {
			return nil, &syntaxError{want: "$TAG or one part of it, such as $TAG[1]", at: from + len("$TAG")}
		}
		if len(a.steps) == 1 {
			part = a.steps[0].index
		}
		a.root, a.field, a.steps = fromTag, fields.addTag(part), nil
	case name == "metadata" && len(a.steps) > 0:
		a.root = fromMetadata
	case name == "group" && len(a.steps) > 0:
		a.root, fields.group = fromGroup, true
	case name != "":
		a.field = fields.add(name)
	}
	return a, nil
}

// step takes what stands in one pair of brackets.
func (s *scanner) step(fields *fieldSet) (step, *syntaxError) {
	s.i++
	s.blanks()
	var st step
	var err *syntaxError
	switch c := s.peek(); {
	case c == '\'':
		if st.key, err = s.quoted(); err != nil {
			return st, err
		}
	case isDigit(c):
		at := s.i
		digits := s.while(isDigit)
		n, convErr := strconv.ParseInt(digits, 10, 32)
		if convErr != nil || len(digits) > 1 && digits[0] == '0' {
			return st, &syntaxError{want: "an index such as 0 or 12", at: at}
		}
		st = step{kind: byIndex, index: int(n)}
	case c == '$':
		s.i++
		if !isLetter(s.peek()) {
			return st, s.fail("the name of a field behind the $")
		}
		st = step{kind: byField, index: fields.add(s.while(inIdentifier))}
	default:
		return st, s.fail("a key in single quotes, an index or a $field")
	}
	s.blanks()
	if !s.accept(']') {
		return st, s.fail("a closing ]")
	}
	return st, nil
}

// fieldSet collects what the accessors need of every event: the record's fields, and parts of the tag.
type fieldSet struct {
	names []string
	tags  []int // part of the tag, -1 for all of it
	group bool  // the OpenTelemetry group is asked for
}

func (f *fieldSet) add(name string) int { return addOnce(&f.names, name) }
func (f *fieldSet) addTag(part int) int { return addOnce(&f.tags, part) }

func addOnce[T comparable](list *[]T, v T) int {
	for i, have := range *list {
		if have == v {
			return i
		}
	}
	*list = append(*list, v)
	return len(*list) - 1
}

// fieldAccessor is the accessor of a top-level field whose name may be any text.
func fieldAccessor(name string, fields *fieldSet) *accessor {
	if name == "TAG" {
		return &accessor{source: "$TAG", root: fromTag, field: fields.addTag(-1)}
	}
	return &accessor{source: "$" + name, field: fields.add(name)}
}

// find returns the msgpack value that a names, empty when the event has none, or one that says that there is none.
func (m *Mapper) find(a *accessor) []byte {
	var v []byte
	if a.root == fromRecord && len(a.steps) == 0 { // as most are
		v = m.event.Field(a.field)
	} else {
		v = m.look(a)
	}
	if len(v) == 0 || m.rules.absent.has(v) {
		return nil
	}
	return v
}

// saysNothing tells if v, which is one whole value, is null or says that there is no value.
func (m *Mapper) saysNothing(v []byte) bool { return v[0] == packed.Nil || m.rules.absent.has(v) }

// look returns the msgpack value that a names, empty when the event has none or it is null.
func (m *Mapper) look(a *accessor) []byte {
	var v []byte
	switch a.root {
	case fromRecord:
		v = m.event.Field(a.field)
	case fromMetadata:
		v = m.event.Metadata
	case fromGroup:
		v = m.event.Group
	case fromTag:
		v = m.tags[a.field]
	}
	for i := range a.steps {
		switch st := &a.steps[i]; st.kind {
		case byKey:
			v = packed.Member(v, st.key)
		case byIndex:
			v = packed.Item(v, st.index)
		case byField:
			name, size := packed.ReadString(m.event.Field(st.index))
			if size == 0 {
				return nil
			}
			v = packed.Member(v, string(name))
		}
	}
	if len(v) == 0 || v[0] == packed.Nil {
		return nil
	}
	return v
}
