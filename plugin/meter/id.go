package meter

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"out_amberflo/plugin/meter/internal/grammar"
	"out_amberflo/plugin/meter/internal/packed"
)

// appendHash appends the hash of all fields in quotes. It returns ok false, and dst unchanged, if one of them is absent:
// without it, ids of different lines could be equal, and Amberflo would take one for the other.
//
// The hash never changes, or what is read a second time after an upgrade counts twice: the first 128 bits of the SHA-256 of
// each field's length in bytes, 64 bits in little endian, and the field: strings as they are, all else as JSON. It is
// SHA-256 because lines hold what customers send: nobody can make two that look equal.
func (m *Mapper) appendHash(dst []byte, fields []*grammar.Accessor) (out []byte, ok bool) {
	var digits [64]byte
	b := m.scratch[:0]
	for _, a := range fields {
		v := m.ev.Find(a)
		if len(v) == 0 {
			return dst, false
		}
		at := len(b)
		b = append(b, "length__"...)
		if s, ok := packed.Scalar(digits[:0], v); ok {
			b = append(b, s...)
		} else if json, err := packed.AppendJSON(b, v); err == nil {
			b = json
		} else {
			return dst, false
		}
		binary.LittleEndian.PutUint64(b[at:], uint64(len(b)-at-8))
	}
	m.scratch = b
	sum := sha256.Sum256(b)
	return append(hex.AppendEncode(append(dst, '"'), sum[:16]), '"'), true
}
