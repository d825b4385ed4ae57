// Package tally adds meter records up, exactly: those of a chunk in the flush, to one line a key ([Table]), and the lines of a
// segment at the seal ([Merger]). It is pure: it knows no disk and no msgpack.
//
// A line that stands for several records is a meter record with three more members at its end, which Amberflo ignores:
//
//	{"customerId":…,"meterApiName":…,"dimensions":{…},"meterValue":SUM,"meterTimeInMillis":T,"uniqueId":"…","records":N,"firstMillis":A,"lastMillis":B}
//
// Whatever becomes of such lines, the sum of their values by customer, meter, dimensions and bucket, and the sum of their
// records, stay what they were: adding up less than possible costs events, and nothing else.
package tally

import "out_amberflo/plugin/decimal"

// Amount is a decimal number that every reader gets as it is written, also one with doubles: an integer up to 2^53, or a
// number of at most 15 significant digits. The zero value is 0. It is units × 10^-decimals.
type Amount struct {
	units    int64
	decimals int
}

const (
	maxInteger  = 1 << 53
	maxFraction = 1e15 - 1 // the units of what is no integer
	// With more of them, a number may be longer than decimal.MaxDigits when it is written without an exponent.
	maxDecimals = decimal.MaxDigits - 1
)

// Int returns the amount n, or ok false where that is none.
func Int(n int64) (a Amount, ok bool) {
	return Amount{units: n}, n <= maxInteger && n >= -maxInteger
}

// Parse reads a number as JSON writes it, and returns ok false for what is no amount.
func Parse(number []byte) (a Amount, ok bool) {
	n, ok := decimal.Parse(number)
	if !ok {
		return a, false
	}
	units, exponent, ok := n.Coefficient()
	if !ok {
		return a, false
	}
	for ; exponent > 0; exponent-- {
		if units > maxInteger || units < -maxInteger {
			return a, false
		}
		units *= 10
	}
	return Amount{units, -exponent}.bounded()
}

// Add returns a + b, or ok false where the sum is no amount.
func (a Amount) Add(b Amount) (sum Amount, ok bool) {
	if a.decimals == 0 && b.decimals == 0 {
		return Int(a.units + b.units)
	}
	if sum, ok = a.add(b); !ok { // zeros at the end of fractions may have been in the way
		sum, ok = a.normal().add(b.normal())
	}
	return sum, ok
}

// add is Add for numbers without zeros at the end of their fractions: where one of them has too many units with the decimals
// of the other, so has the sum.
func (a Amount) add(b Amount) (sum Amount, ok bool) {
	if a.decimals < b.decimals {
		a, b = b, a
	}
	if b, ok = b.stretch(a.decimals); !ok {
		return sum, false
	}
	return Amount{a.units + b.units, a.decimals}.bounded()
}

// bounded tells if a is an amount. Its units are far from what an int64 holds.
func (a Amount) bounded() (Amount, bool) {
	if a.decimals > 0 && (a.units > maxFraction || a.units < -maxFraction || a.decimals > maxDecimals) {
		a = a.normal()
	}
	if a.decimals == 0 {
		return Int(a.units)
	}
	return a, a.units <= maxFraction && a.units >= -maxFraction && a.decimals <= maxDecimals
}

// normal takes zeros off the end of a fraction.
func (a Amount) normal() Amount {
	for a.decimals > 0 && a.units%10 == 0 {
		a.units /= 10
		a.decimals--
	}
	return a
}

// stretch returns the same number with more decimals, or ok false where its units get too many.
func (a Amount) stretch(decimals int) (Amount, bool) {
	const most = 1 << 62
	for ; a.decimals < decimals && a.units != 0; a.decimals++ {
		if a.units > most/10 || a.units < -most/10 {
			return a, false
		}
		a.units *= 10
	}
	return Amount{a.units, decimals}, true
}

// Append appends the number as JSON writes it, without an exponent and without zeros at the end of its fraction.
func (a Amount) Append(dst []byte) []byte {
	dst, _ = decimal.Of(a.units, -a.decimals).Append(dst)
	return dst
}
