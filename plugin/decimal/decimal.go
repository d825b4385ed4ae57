// Package decimal adds and compares decimal numbers exactly: no value goes through a float. It is pure.
//
// A Number is a coefficient and a power of ten. As long as the coefficient fits an int64, nothing allocates; beyond that
// math/big carries on.
package decimal

import (
	"cmp"
	"math/big"
	"math/bits"
	"strconv"
)

// MaxDigits bounds the digits of a number, as they are written. Readers have bounds of their own: Jackson rejects numbers
// of more than 1,000 characters, and whatever stands beside them in an array.
const MaxDigits = 100

// MaxExponent bounds the power of ten after an e. A float64 ends there, and Java's BigDecimal and Jackson take any such
// number.
const MaxExponent = 308

// Number is coefficient × 10^exponent. The zero value is 0. It is immutable, and safe for concurrent use.
type Number struct {
	small    int64
	big      *big.Int // the coefficient instead of small, where it fits no int64
	exponent int
}

// Of returns coefficient × 10^exponent.
func Of(coefficient int64, exponent int) Number {
	return Number{small: coefficient, exponent: exponent}
}

// Coefficient returns the number as coefficient × 10^exponent with the smallest coefficient that it can have, or ok false
// where even that fits no int64.
func (n Number) Coefficient() (coefficient int64, exponent int, ok bool) {
	if n.big != nil {
		ten, rest, whole := big.NewInt(10), new(big.Int), new(big.Int).Set(n.big)
		for !whole.IsInt64() {
			next, _ := new(big.Int).QuoRem(whole, ten, rest)
			if rest.Sign() != 0 {
				return 0, 0, false
			}
			whole = next
			n.exponent++
		}
		n.small = whole.Int64()
	}
	if n.small == 0 {
		return 0, 0, true
	}
	for n.small%10 == 0 {
		n.small /= 10
		n.exponent++
	}
	return n.small, n.exponent, true
}

// Parse reads a number as JSON writes it: digits, a sign and a fraction and an exponent where there are any. It returns ok
// false for anything else, and beyond MaxDigits and MaxExponent. It does not keep s.
func Parse(s []byte) (n Number, ok bool) {
	negative := len(s) > 0 && s[0] == '-'
	if negative {
		s = s[1:]
	}
	var coefficient uint64
	var wide []byte // all digits, from where they fit no uint64 any more
	digits, point, i := 0, -1, 0
	for ; i < len(s); i++ {
		c := s[i]
		if c == '.' && point < 0 && digits > 0 {
			point = digits
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		if digits++; digits > MaxDigits {
			return n, false
		}
		if wide == nil && coefficient > (1<<63-10)/10 {
			wide = strconv.AppendUint(make([]byte, 0, MaxDigits), coefficient, 10)
		}
		if wide != nil {
			wide = append(wide, c)
		} else {
			coefficient = coefficient*10 + uint64(c-'0')
		}
	}
	if digits == 0 || point == digits {
		return n, false
	}
	if point >= 0 {
		n.exponent = point - digits
	}
	if i < len(s) {
		if s[i]|0x20 != 'e' {
			return n, false
		}
		e, err := strconv.Atoi(string(s[i+1:]))
		if err != nil || e > MaxExponent || e < -MaxExponent {
			return n, false
		}
		n.exponent += e
	}
	if wide == nil {
		n.small = int64(coefficient)
		if negative {
			n.small = -n.small
		}
		return n, true
	}
	n.big, _ = new(big.Int).SetString(string(wide), 10)
	if negative {
		n.big.Neg(n.big)
	}
	return n, true
}

// Sign returns -1, 0 or 1.
func (n Number) Sign() int {
	if n.big != nil {
		return n.big.Sign()
	}
	switch {
	case n.small < 0:
		return -1
	case n.small > 0:
		return 1
	}
	return 0
}

// Add returns n + m.
func (n Number) Add(m Number) Number {
	n, m = align(n, m)
	if n.big == nil && m.big == nil {
		if sum := n.small + m.small; (sum > n.small) == (m.small > 0) {
			return Number{small: sum, exponent: n.exponent}
		}
	}
	return Number{big: new(big.Int).Add(n.coefficient(), m.coefficient()), exponent: n.exponent}
}

// Mul returns n × by × 10^exponent.
func (n Number) Mul(by int64, exponent int) Number {
	n.exponent += exponent
	if product, ok := multiply(n.small, by); ok && n.big == nil {
		n.small = product
		return n
	}
	n.big, n.small = new(big.Int).Mul(n.coefficient(), big.NewInt(by)), 0
	return n
}

// Cmp returns -1, 0 or 1 as n is less than, equal to or greater than m.
func (n Number) Cmp(m Number) int {
	if a, b := n.Sign(), m.Sign(); a != b || a == 0 {
		return cmp.Compare(a, b)
	}
	n, m = align(n, m)
	return n.coefficient().Cmp(m.coefficient())
}

// Append appends the number as JSON writes it, without an exponent and without zeros at the end of its fraction. It returns
// ok false, and dst unchanged, where that takes more than MaxDigits digits.
func (n Number) Append(dst []byte) (out []byte, ok bool) {
	start := len(dst)
	if n.big != nil {
		dst = n.big.Append(dst, 10)
	} else {
		dst = strconv.AppendInt(dst, n.small, 10)
	}
	first := start
	if dst[start] == '-' {
		first++
	}
	if n.Sign() == 0 {
		return dst, true
	}
	exponent := n.exponent
	for exponent < 0 && dst[len(dst)-1] == '0' {
		dst, exponent = dst[:len(dst)-1], exponent+1
	}
	if len(dst)-first > MaxDigits || exponent > MaxDigits || exponent < -MaxDigits {
		return dst[:start], false
	}
	for ; exponent > 0; exponent-- {
		dst = append(dst, '0')
	}
	if exponent < 0 {
		for len(dst)-first <= -exponent {
			dst = append(dst, 0)
			copy(dst[first+1:], dst[first:])
			dst[first] = '0'
		}
		point := len(dst) + exponent
		dst = append(dst, 0)
		copy(dst[point+1:], dst[point:])
		dst[point] = '.'
	}
	if len(dst)-first > MaxDigits+1 {
		return dst[:start], false
	}
	return dst, true
}

func (n Number) coefficient() *big.Int {
	if n.big != nil {
		return n.big
	}
	return big.NewInt(n.small)
}

// align returns the same two numbers with one exponent.
func align(n, m Number) (Number, Number) {
	switch {
	case n.exponent > m.exponent:
		n = n.stretch(n.exponent - m.exponent)
	case m.exponent > n.exponent:
		m = m.stretch(m.exponent - n.exponent)
	}
	return n, m
}

// stretch moves powers of ten from the exponent into the coefficient.
func (n Number) stretch(by int) Number {
	n.exponent -= by
	if n.big == nil && by < len(powers) {
		if product, ok := multiply(n.small, powers[by]); ok {
			n.small = product
			return n
		}
	}
	ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(by)), nil)
	n.big, n.small = ten.Mul(ten, n.coefficient()), 0
	return n
}

// powers of ten that fit an int64.
var powers = func() (p [19]int64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

func multiply(a, b int64) (product int64, ok bool) {
	high, low := bits.Mul64(abs(a), abs(b))
	if high != 0 || low>>63 != 0 {
		return 0, false
	}
	if (a < 0) != (b < 0) {
		return -int64(low), true
	}
	return int64(low), true
}

func abs(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}
