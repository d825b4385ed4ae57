// Package find finds what accessors name in an event, as msgpack.
//
// What holds throughout: what it returns aliases the event, or the Finder until its next Start; nothing is empty; and only a tag
// that is another one than that of the event before allocates.
package find

import (
	"strings"

	"github.com/tinylib/msgp/msgp"

	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/meter/internal/absent"
	"out_amberflo/plugin/meter/internal/grammar"
	"out_amberflo/plugin/meter/internal/packed"
)

// Finder finds what accessors name in an event. It is not safe for concurrent use.
type Finder struct {
	fields *grammar.Fields
	absent *absent.Set
	event  *chunk.Event
	tag    string
	tags   [][]byte // the wanted parts of tag, as msgpack; nil where it has no such part
	hasTag bool
}

// New returns a finder for accessors whose fields are collected in fields. It keeps both.
func New(fields *grammar.Fields, absent *absent.Set) Finder {
	return Finder{fields: fields, absent: absent, tags: make([][]byte, len(fields.Tags))}
}

// Start makes ev, from a reader with the names of the fields, the event in which things are found.
func (f *Finder) Start(tag string, ev *chunk.Event) {
	f.event = ev
	f.setTag(tag)
}

// Event is the event of the last Start.
func (f *Finder) Event() *chunk.Event { return f.event }

// Find returns the msgpack value that a names, empty when the event has none, or one that says that there is none.
func (f *Finder) Find(a *grammar.Accessor) []byte {
	var v []byte
	if a.Root == grammar.FromRecord && len(a.Steps) == 0 { // as most are
		v = f.event.Field(a.Field)
	} else {
		v = f.Look(a)
	}
	if len(v) == 0 || f.absent.Has(v) {
		return nil
	}
	return v
}

// SaysNothing tells if v, which is one whole value, is null or says that there is no value.
func (f *Finder) SaysNothing(v []byte) bool { return v[0] == packed.Nil || f.absent.Has(v) }

// Look returns the msgpack value that a names, empty when the event has none or it is null.
func (f *Finder) Look(a *grammar.Accessor) []byte {
	var v []byte
	switch a.Root {
	case grammar.FromRecord:
		v = f.event.Field(a.Field)
	case grammar.FromMetadata:
		v = f.event.Metadata
	case grammar.FromGroup:
		v = f.event.Group
	case grammar.FromTag:
		v = f.tags[a.Field]
	}
	for i := range a.Steps {
		switch st := &a.Steps[i]; st.Kind {
		case grammar.ByKey:
			v = packed.Member(v, st.Key)
		case grammar.ByIndex:
			v = packed.Item(v, st.Index)
		case grammar.ByField:
			name, size := packed.ReadString(f.event.Field(st.Index))
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

// First returns the first of the alternatives that finds something, and what.
func (f *Finder) First(list []*grammar.Accessor) (*grammar.Accessor, []byte) {
	for _, a := range list {
		if v := f.Find(a); len(v) > 0 {
			return a, v
		}
	}
	return nil, nil
}

// setTag cuts the tag at its dots, as Fluent Bit does, when it is not that of the last call.
func (f *Finder) setTag(tag string) {
	if len(f.tags) == 0 || f.hasTag && tag == f.tag {
		return
	}
	f.tag, f.hasTag = strings.Clone(tag), true
	parts := strings.Split(f.tag, ".")
	for i, part := range f.fields.Tags {
		switch {
		case part < 0:
			f.tags[i] = msgp.AppendString(nil, f.tag)
		case part < len(parts):
			f.tags[i] = msgp.AppendString(nil, parts[part])
		default:
			f.tags[i] = nil
		}
	}
}
