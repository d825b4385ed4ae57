package meter

import (
	"github.com/tinylib/msgp/msgp"

	"out_amberflo/plugin/chunk"
)

const (
	msgpackFalse = 0xc2
	msgpackTrue  = 0xc3
)

// appendDimensions appends the dimensions, or nothing if none has a value.
func (m *Mapper) appendDimensions(dst []byte) ([]byte, *Refusal) {
	if m.rules.dimensionMap != nil {
		return m.appendDimensionMap(dst)
	}
	start := len(dst)
	dst = append(dst, `,"dimensions":{`...)
	empty := len(dst)
	for i := range m.rules.dimensions {
		d := &m.rules.dimensions[i]
		before := len(dst)
		if before > empty {
			dst = append(dst, ',')
		}
		dst = append(dst, d.key...)
		if d.value.from == nil {
			dst = append(dst, d.value.literal...)
			continue
		}
		v := m.find(d.value.from)
		out, has, ok := appendDimension(dst, v)
		if !ok {
			return dst, refuse(BadUTF8, "dimensions", "UTF-8", d.value.from, v)
		}
		if dst = out; !has {
			dst = dst[:before]
		}
	}
	if len(dst) == empty {
		return dst[:start], nil
	}
	return append(dst, '}'), nil
}

// appendDimension appends v as a JSON text. It returns has false for what is left out (null, empty, nested, no finite
// number) and ok false for what is no UTF-8.
func appendDimension(dst, v []byte) (out []byte, has, ok bool) {
	if len(v) == 0 {
		return dst, false, true
	}
	if text, size := readText(v); size != 0 {
		if len(text) == 0 {
			return dst, false, true
		}
		dst, ok = appendString(dst, text)
		return dst, ok, ok
	}
	switch v[0] {
	case msgpackTrue:
		return append(dst, `"true"`...), true, true
	case msgpackFalse:
		return append(dst, `"false"`...), true, true
	}
	dst = append(dst, '"')
	if dst, has = appendNumber(dst, v); !has {
		return dst[:len(dst)-1], false, true
	}
	return append(dst, '"'), true, true
}

// appendDimensionMap appends the entries of a map in their order. Of duplicate keys the last wins.
func (m *Mapper) appendDimensionMap(dst []byte) ([]byte, *Refusal) {
	from := m.rules.dimensionMap
	v := m.find(from)
	if len(v) == 0 {
		return dst, nil
	}
	if msgp.NextType(v) != msgp.MapType {
		return dst, refuse(BadDimensions, "dimensions", "a map", from, v)
	}
	m.readEntries(v)
	start := len(dst)
	dst = append(dst, `,"dimensions":{`...)
	empty := len(dst)
	for _, e := range m.entries {
		if e.value == nil {
			continue
		}
		before := len(dst)
		if before > empty {
			dst = append(dst, ',')
		}
		var has, ok bool
		if dst, ok = appendString(dst, e.key); ok {
			dst, has, ok = appendDimension(append(dst, ':'), e.value)
		}
		if !ok {
			return dst, refuse(BadUTF8, "dimensions", "UTF-8", from, v)
		}
		if !has {
			dst = dst[:before]
		}
	}
	if len(dst) == empty {
		return dst[:start], nil
	}
	return append(dst, '}'), nil
}

// readEntries puts the entries of the map v into m.entries, with a nil value for those that count no more because of a
// later duplicate. Keys that are numbers become their text; other keys, and empty ones, are left out.
func (m *Mapper) readEntries(v []byte) {
	m.entries, m.scratch = m.entries[:0], m.scratch[:0]
	n, b, err := msgp.ReadMapHeaderBytes(v)
	for ; err == nil && n > 0; n-- {
		key, size := readText(b)
		if size == 0 {
			size = chunk.Skip(b)
			from := len(m.scratch)
			m.scratch, _ = appendNumber(m.scratch, b[:size])
			key = m.scratch[from:]
		}
		b = b[size:]
		size = chunk.Skip(b)
		if len(key) > 0 {
			m.entries = append(m.entries, entry{key: key, value: b[:size]})
		}
		b = b[size:]
	}
	const few = 32
	if len(m.entries) <= few {
		for i := range m.entries {
			for j := i + 1; j < len(m.entries); j++ {
				if string(m.entries[i].key) == string(m.entries[j].key) {
					m.entries[i].value = nil
					break
				}
			}
		}
		return
	}
	seen := make(map[string]bool, len(m.entries))
	for i := len(m.entries) - 1; i >= 0; i-- {
		if key := string(m.entries[i].key); seen[key] {
			m.entries[i].value = nil
		} else {
			seen[key] = true
		}
	}
}
