package meter

import (
	"strings"

	"github.com/tinylib/msgp/msgp"

	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/meter/internal/grammar"
	"out_amberflo/plugin/meter/internal/packed"
	"out_amberflo/plugin/meter/internal/rules"
)

// finder finds what accessors name in one event.
type finder struct {
	rules  *rules.Rules
	event  *chunk.Event
	tag    string
	tags   [][]byte // the wanted parts of tag, as msgpack; nil where it has no such part
	hasTag bool
}

func newFinder(r *rules.Rules) finder {
	return finder{rules: r, tags: make([][]byte, len(r.Fields.Tags))}
}

// start makes ev the event in which things are found.
func (f *finder) start(tag string, ev *chunk.Event) {
	f.event = ev
	f.setTag(tag)
}

// find returns the msgpack value that a names, empty when the event has none, or one that says that there is none.
func (f *finder) find(a *grammar.Accessor) []byte {
	var v []byte
	if a.Root == grammar.FromRecord && len(a.Steps) == 0 { // as most are
		v = f.event.Field(a.Field)
	} else {
		v = f.look(a)
	}
	if len(v) == 0 || f.rules.Absent.Has(v) {
		return nil
	}
	return v
}

// saysNothing tells if v, which is one whole value, is null or says that there is no value.
func (f *finder) saysNothing(v []byte) bool { return v[0] == packed.Nil || f.rules.Absent.Has(v) }

// look returns the msgpack value that a names, empty when the event has none or it is null.
func (f *finder) look(a *grammar.Accessor) []byte {
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

// first returns the first of the alternatives that finds something, and what.
func (f *finder) first(list []*grammar.Accessor) (*grammar.Accessor, []byte) {
	for _, a := range list {
		if v := f.find(a); len(v) > 0 {
			return a, v
		}
	}
	return nil, nil
}

// setTag cuts the tag at its dots, as Fluent Bit does, when it is not that of the last call.
func (f *finder) setTag(tag string) {
	if len(f.tags) == 0 || f.hasTag && tag == f.tag {
		return
	}
	f.tag, f.hasTag = strings.Clone(tag), true
	parts := strings.Split(f.tag, ".")
	for i, part := range f.rules.Fields.Tags {
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
