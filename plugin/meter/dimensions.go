package meter

import (
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"out_amberflo/plugin/meter/internal/absent"
	"out_amberflo/plugin/meter/internal/grammar"
	"out_amberflo/plugin/meter/internal/packed"
	"out_amberflo/plugin/meter/internal/rules"
	"out_amberflo/plugin/tally"
)

// appendDimensions appends the dimensions, or nothing if none has a value.
func (m *Mapper) appendDimensions(dst []byte) ([]byte, *Rejection) {
	if m.rules.DimensionMap != nil {
		return m.appendDimensionMap(dst)
	}
	start := len(dst)
	dst = append(dst, tally.DimensionsKey...)
	empty := len(dst)
	for i := range m.rules.Dimensions {
		d := &m.rules.Dimensions[i]
		before := len(dst)
		if before > empty {
			dst = append(dst, ',')
		}
		dst = append(dst, d.Key...)
		if d.From == nil {
			dst = append(dst, d.Literal...)
			continue
		}
		out, has, rejection := m.appendDimension(dst, m.ev.Find(d.From), d.From)
		if rejection != nil {
			return dst, rejection
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

// appendDimension appends v, which is what from found or is in the map that it found, as a JSON string. It returns has false
// for what is left out: what is absent, nested, or no finite number.
func (m *Mapper) appendDimension(dst, v []byte, from *grammar.Accessor) (out []byte, has bool, rejection *Rejection) {
	if len(v) == 0 {
		return dst, false, nil
	}
	if s, size := packed.ReadString(v); size != 0 {
		s = m.legible(v, s)
		if len(s) > rules.LongestDimension && utf8.RuneCount(s) > rules.LongestDimension {
			if !m.rules.CutDimensions {
				return dst, false, reject(LongDimension, "dimensions", "at most 200 characters (long_dimensions cut shortens them)", from, v)
			}
			s = cutString(s)
			m.doubts.add(CutDimension, "dimensions", from)
		}
		dst, ok := packed.AppendString(dst, s)
		if !ok {
			return dst, false, reject(BadUTF8, "dimensions", "UTF-8", from, v)
		}
		if absent.IsNothing(s) {
			m.doubts.add(WordForNothing, "dimensions", from)
		}
		return dst, true, nil
	}
	switch v[0] {
	case packed.True:
		return append(dst, `"true"`...), true, nil
	case packed.False:
		return append(dst, `"false"`...), true, nil
	}
	dst = append(dst, '"')
	if dst, has = packed.AppendNumber(dst, v); !has {
		return dst[:len(dst)-1], false, nil
	}
	return append(dst, '"'), true, nil
}

// cutString returns the first 200 characters of s, which has more.
func cutString(s []byte) []byte {
	end := 0
	for range rules.LongestDimension {
		_, size := utf8.DecodeRune(s[end:])
		end += size
	}
	return s[:end]
}

// appendDimensionMap appends the entries of a map in their order. Of duplicate keys the last wins.
func (m *Mapper) appendDimensionMap(dst []byte) ([]byte, *Rejection) {
	from := m.rules.DimensionMap
	v := m.ev.Find(from)
	if len(v) == 0 {
		return dst, nil
	}
	if msgp.NextType(v) != msgp.MapType {
		return dst, reject(BadDimensions, "dimensions", "a map", from, v)
	}
	m.readEntries(v)
	start := len(dst)
	dst = append(dst, tally.DimensionsKey...)
	empty := len(dst)
	for _, e := range m.entries {
		if e.value == nil || m.ev.SaysNothing(e.value) {
			continue
		}
		before := len(dst)
		if before > empty {
			dst = append(dst, ',')
		}
		out, named := packed.AppendString(dst, e.key)
		out, has, rejection := m.appendDimension(append(out, ':'), e.value, from)
		switch {
		case rejection != nil:
			return dst, rejection
		case !has:
			dst = dst[:before]
		case !named:
			return dst, reject(BadUTF8, "dimensions", "UTF-8", from, v)
		default:
			dst = out
		}
	}
	if len(dst) == empty {
		return dst[:start], nil
	}
	return append(dst, '}'), nil
}

// readEntries puts the entries of the map v into m.entries, with a nil value for those that count no more because of a
// later duplicate. Keys that are numbers become their string; other keys, and empty ones, are left out.
func (m *Mapper) readEntries(v []byte) {
	m.entries, m.scratch = m.entries[:0], m.scratch[:0]
	for k, value := range packed.Members(v) {
		key, size := packed.ReadString(k)
		if size == 0 {
			from := len(m.scratch)
			m.scratch, _ = packed.AppendNumber(m.scratch, k)
			key = m.scratch[from:]
		}
		if len(key) > 0 {
			m.entries = append(m.entries, entry{key: key, value: value})
		} else if !m.ev.SaysNothing(value) {
			m.doubts.add(NoName, "dimensions", m.rules.DimensionMap)
		}
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
