package packed

import (
	"bytes"
	"math"
	"strconv"

	"github.com/tinylib/msgp/msgp"

	"out_amberflo/plugin/decimal"
)

// AppendNumber appends the number v as JSON: integers to the last digit, floats as the shortest string that reads back
// the same in their own precision. It returns ok false, and dst unchanged, for what is no finite number.
func AppendNumber(dst, v []byte) (out []byte, ok bool) {
	// What counts things: numbers from 0 to 65535, in the shortest form.
	switch {
	case len(v) > 0 && v[0] < 0x80:
		return strconv.AppendUint(dst, uint64(v[0]), 10), true
	case len(v) > 1 && v[0] == 0xcc:
		return strconv.AppendUint(dst, uint64(v[1]), 10), true
	case len(v) > 2 && v[0] == 0xcd:
		return strconv.AppendUint(dst, uint64(v[1])<<8|uint64(v[2]), 10), true
	}
	switch msgp.NextType(v) {
	case msgp.IntType, msgp.UintType:
		if u, _, err := msgp.ReadUint64Bytes(v); err == nil {
			return strconv.AppendUint(dst, u, 10), true
		}
		i, _, err := msgp.ReadInt64Bytes(v)
		if err != nil {
			return dst, false
		}
		return strconv.AppendInt(dst, i, 10), true
	case msgp.Float64Type:
		f, _, err := msgp.ReadFloat64Bytes(v)
		if err != nil {
			return dst, false
		}
		return appendFloat(dst, f, 64)
	case msgp.Float32Type:
		f, _, err := msgp.ReadFloat32Bytes(v)
		if err != nil {
			return dst, false
		}
		return appendFloat(dst, float64(f), 32)
	}
	return dst, false
}

// IsExact tells if the number v is no float from where on not every integer has one of its own: what was a long id, and
// has become the nearest float on its way, cannot be told from others.
func IsExact(v []byte) bool {
	switch msgp.NextType(v) {
	case msgp.Float64Type:
		f, _, err := msgp.ReadFloat64Bytes(v)
		return err == nil && math.Abs(f) < 1<<53
	case msgp.Float32Type:
		f, _, err := msgp.ReadFloat32Bytes(v)
		return err == nil && math.Abs(float64(f)) < 1<<24
	}
	return true
}

// appendFloat writes floats the way ECMAScript and encoding/json do.
func appendFloat(dst []byte, f float64, bits int) (out []byte, ok bool) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return dst, false
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, bits), true
}

// AppendNumberString appends the number that s holds as a JSON number with the digits as they are written. Spaces
// around it, a leading +, leading zeros (decimal, never octal) and a bare point, as in .5 or 1., are put into JSON's
// form without a change of value. It returns ok false, and dst unchanged, for anything else: no digits, hexadecimal,
// separators, words, units, a magnitude beyond float64, or more digits or a larger exponent than decimal takes.
func AppendNumberString(dst, s []byte) (out []byte, ok bool) {
	start := len(dst)
	s = bytes.Trim(s, " \t\r\n")
	if len(s) > 0 && (s[0] == '-' || s[0] == '+') {
		if s[0] == '-' {
			dst = append(dst, '-')
		}
		s = s[1:]
	}
	whole, s := CutDigits(s)
	var fraction []byte
	if len(s) > 0 && s[0] == '.' {
		fraction, s = CutDigits(s[1:])
	}
	if digits := len(whole) + len(fraction); digits == 0 || digits > decimal.MaxDigits {
		return dst[:start], false
	}
	if whole = bytes.TrimLeft(whole, "0"); len(whole) == 0 {
		dst = append(dst, '0')
	}
	dst = append(dst, whole...)
	if len(fraction) > 0 {
		dst = append(append(dst, '.'), fraction...)
	}
	if len(s) == 0 {
		return dst, true
	}
	if exponent, err := strconv.Atoi(string(s[1:])); s[0]|0x20 != 'e' || err != nil || max(exponent, -exponent) > decimal.MaxExponent {
		return dst[:start], false
	}
	dst = append(dst, s...)
	if f, err := strconv.ParseFloat(string(dst[start:]), 64); err != nil || math.IsInf(f, 0) {
		return dst[:start], false
	}
	return dst, true
}

// ParseNumber reads the number that s holds, as AppendNumberString takes it.
func ParseNumber(s []byte) (n decimal.Number, ok bool) {
	var digits [128]byte
	number, ok := AppendNumberString(digits[:0], s)
	if !ok {
		return n, false
	}
	return decimal.Parse(number)
}

// ReadNumber reads the number that v is, or that its string holds.
func ReadNumber(v []byte) (n decimal.Number, ok bool) {
	var digits [128]byte
	number, ok := AppendAnyNumber(digits[:0], v)
	if !ok {
		return n, false
	}
	return decimal.Parse(number)
}

// AppendAnyNumber appends the number that v is, or that its string holds.
func AppendAnyNumber(dst, v []byte) (out []byte, ok bool) {
	if s, size := ReadString(v); size != 0 {
		return AppendNumberString(dst, s)
	}
	return AppendNumber(dst, v)
}

// CutDigits parts s after the digits that it begins with.
func CutDigits(s []byte) (digits, rest []byte) {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return s[:n], s[n:]
}

// IsNegative tells if the JSON number is less than 0.
func IsNegative(number []byte) bool {
	if number[0] != '-' {
		return false
	}
	for _, c := range number[1:] {
		if c >= '1' && c <= '9' {
			return true
		}
		if c|0x20 == 'e' {
			break
		}
	}
	return false
}

// IsBeyondDouble tells if the JSON number becomes another one in a reader with doubles, as most have.
func IsBeyondDouble(number []byte) bool {
	f, err := strconv.ParseFloat(string(number), 64)
	exact, ok := decimal.Parse(number)
	if err != nil || !ok {
		return true
	}
	var digits [32]byte
	near, ok := decimal.Parse(strconv.AppendFloat(digits[:0], f, 'e', -1, 64))
	return !ok || near.Cmp(exact) != 0
}
