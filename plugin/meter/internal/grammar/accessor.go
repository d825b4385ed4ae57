package grammar

import (
	"slices"
	"strconv"
)

// Accessor names one value of an event. The grammar is Fluent Bit's own (src/record_accessor/ra.l and ra.y):
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
// Of duplicate keys the last wins. Unlike Fluent Bit, which then answers with the string itself, a step into a string finds
// nothing.
type Accessor struct {
	Source string // as the user wrote it
	Name   string // after its $, without quotes; "" for $['…']
	Root   Root
	Field  int // FromRecord: index into Fields.Names; FromTag: index into Fields.Tags
	Steps  []Step
}

// Root says where an accessor begins.
type Root uint8

// The roots.
const (
	FromRecord Root = iota
	FromMetadata
	FromGroup
	FromTag
)

// Step is what stands in one pair of brackets.
type Step struct {
	Kind  StepKind
	Key   string // ByKey
	Index int    // ByIndex: of a list; ByField: into Fields.Names
}

// StepKind says what is in the brackets.
type StepKind uint8

// The kinds of steps.
const (
	ByKey StepKind = iota
	ByIndex
	ByField
)

// Accessor takes an accessor, which begins here with $.
func (s *Scanner) Accessor() (*Accessor, *Error) {
	from := s.At
	s.At++
	a := &Accessor{}
	name := ""
	switch {
	case IsLetter(s.Peek()):
		name = s.While(inIdentifier)
		if s.Peek() == '.' {
			return nil, s.Fail("no dot: a nested key is written $" + name + "['key'], a key with a dot $['" + name + ".key']")
		}
	case IsDigit(s.Peek()):
		return nil, s.Fail("a key: there are no captures of a regular expression here")
	case s.Peek() != '[':
		return nil, s.Fail("a key after the $")
	}
	for s.Peek() == '[' {
		at := s.At
		step, err := s.step()
		if err != nil {
			return nil, err
		}
		if len(a.Steps) == 0 && name == "" && at == from+1 {
			if step.Kind != ByKey || step.Key == "" {
				return nil, &Error{Want: "a key in single quotes, such as $['my key']", At: at + 1}
			}
			a.Field = s.Fields.Add(step.Key)
			continue
		}
		a.Steps = append(a.Steps, step)
	}
	a.Source, a.Name = s.S[from:s.At], name

	switch {
	case name == "TAG":
		part := -1
		if len(a.Steps) > 1 || len(a.Steps) == 1 && a.Steps[0].Kind != ByIndex {
			return nil, &Error{Want: "$TAG or one part of it, such as $TAG[1]", At: from + len("$TAG")}
		}
		if len(a.Steps) == 1 {
			part = a.Steps[0].Index
		}
		a.Root, a.Field, a.Steps = FromTag, s.Fields.AddTag(part), nil
	case name == "metadata" && len(a.Steps) > 0:
		a.Root = FromMetadata
	case name == "group" && len(a.Steps) > 0:
		a.Root, s.Fields.Group = FromGroup, true
	case name != "":
		a.Field = s.Fields.Add(name)
	}
	return a, nil
}

// step takes what stands in one pair of brackets.
func (s *Scanner) step() (Step, *Error) {
	s.At++
	s.Spaces()
	var st Step
	var err *Error
	switch c := s.Peek(); {
	case c == '\'':
		if st.Key, err = s.Quoted(); err != nil {
			return st, err
		}
	case IsDigit(c):
		at := s.At
		digits := s.While(IsDigit)
		n, convErr := strconv.ParseInt(digits, 10, 32)
		if convErr != nil || len(digits) > 1 && digits[0] == '0' {
			return st, &Error{Want: "an index such as 0 or 12", At: at}
		}
		st = Step{Kind: ByIndex, Index: int(n)}
	case c == '$':
		s.At++
		if !IsLetter(s.Peek()) {
			return st, s.Fail("the name of a field after the $")
		}
		st = Step{Kind: ByField, Index: s.Fields.Add(s.While(inIdentifier))}
	default:
		return st, s.Fail("a key in single quotes, an index or a $field")
	}
	s.Spaces()
	if !s.Accept(']') {
		return st, s.Fail("a closing ]")
	}
	return st, nil
}

// Fields collects what the accessors need of every event: the record's fields, and parts of the tag.
type Fields struct {
	Names []string
	Tags  []int // part of the tag, -1 for all of it
	Group bool  // the OpenTelemetry group is asked for
}

// Add returns the index of a field by its name.
func (f *Fields) Add(name string) int { return addOnce(&f.Names, name) }

// AddTag returns the index of a part of the tag.
func (f *Fields) AddTag(part int) int { return addOnce(&f.Tags, part) }

func addOnce[T comparable](list *[]T, v T) int {
	if i := slices.Index(*list, v); i >= 0 {
		return i
	}
	*list = append(*list, v)
	return len(*list) - 1
}

// Field returns the accessor of a top-level field whose name may be any string.
func (f *Fields) Field(name string) *Accessor {
	if name == "TAG" {
		return &Accessor{Source: "$TAG", Root: FromTag, Field: f.AddTag(-1)}
	}
	return &Accessor{Source: "$" + name, Field: f.Add(name)}
}
