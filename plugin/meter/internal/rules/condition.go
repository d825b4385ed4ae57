package rules

import (
	"regexp"
	"slices"
	"strings"

	"out_amberflo/plugin/decimal"
	"out_amberflo/plugin/meter/internal/grammar"
	"out_amberflo/plugin/meter/internal/packed"
)

// Condition is one of those that only_if joins by and.
type Condition struct {
	From *grammar.Accessor
	is   relation
	with []comparand
}

type relation uint8

const (
	isEqual relation = iota // to one of with
	isNotEqual
	isLess
	isLessOrEqual
	isGreater
	isGreaterOrEqual
	isPresent
	isAbsent
)

// comparand is a string to compare with, and the number that it is, if it is one.
type comparand struct {
	plain    string
	number   decimal.Number
	isNumber bool
}

const onlyIfExample = "$status >= 200 and $status < 300 and $user is present"

// conditions compiles only_if:
//
//	$field == v   != v   < n   <= n   > n   >= n   in (v, v)   not in (v, v)   is present   is absent
func (c *compiler) conditions(value string) {
	s := c.scan(value)
	for value != "" {
		one := Condition{}
		err := one.scan(s)
		c.rules.Conditions = append(c.rules.Conditions, one)
		if s.Spaces(); err == nil && s.Done() {
			return
		}
		if at := s.At; err == nil && !strings.EqualFold(s.Word(), "and") {
			err = &grammar.Error{Want: "and, or the end (for or, write in (…))", At: at}
		}
		if err != nil {
			c.failAt("only_if", value, onlyIfExample, err)
			return
		}
	}
}

var signs = map[string]relation{"==": isEqual, "!=": isNotEqual, "<": isLess, "<=": isLessOrEqual, ">": isGreater, ">=": isGreaterOrEqual}

func (c *Condition) scan(s *grammar.Scanner) (err *grammar.Error) {
	if s.Spaces(); s.Peek() != '$' {
		return s.Fail("an accessor such as $status")
	}
	if c.From, err = s.Accessor(); err != nil {
		return err
	}
	s.Spaces()
	at := s.At
	wanted := &grammar.Error{Want: "==, !=, <, <=, >, >=, in (…), not in (…), is present or is absent", At: at}
	if sign := s.While(func(c byte) bool { return strings.ContainsRune("=!<>", rune(c)) }); sign != "" {
		var known bool
		if c.is, known = signs[sign]; !known {
			return wanted
		}
		s.Spaces()
		at = s.At
		err = c.scanComparand(s)
		if err == nil && c.is >= isLess && !c.with[0].isNumber {
			err = &grammar.Error{Want: "a number after " + sign, At: at}
		}
		return err
	}
	word := strings.ToLower(s.Word())
	s.Spaces()
	if word == "is" {
		switch strings.ToLower(s.Word()) {
		case "present":
			c.is = isPresent
		case "absent":
			c.is = isAbsent
		default:
			return &grammar.Error{Want: "is present or is absent", At: at}
		}
		return nil
	}
	if word == "not" {
		c.is = isNotEqual
		word = strings.ToLower(s.Word())
		s.Spaces()
	}
	if word != "in" {
		return wanted
	}
	if !s.Accept('(') {
		return s.Fail("a list in parentheses, such as (200, 201)")
	}
	return s.Parenthesized(func() *grammar.Error { return c.scanComparand(s) })
}

// ranges are what people write for several numbers: 400-499, 4xx, 4*.
var ranges = regexp.MustCompile(`^\d+(-\d+|[xX]+|\*)$`)

// scanComparand takes a literal to compare with, and the spaces around it.
func (c *Condition) scanComparand(s *grammar.Scanner) (err *grammar.Error) {
	s.Spaces()
	at, with, want := s.At, comparand{}, ""
	if s.AtQuote() {
		with.plain, err = s.Quoted()
		if grammar.LooksLikeAccessor(with.plain) {
			want = wantNoQuotedAccessor
		}
	} else if with.plain = s.BareWord(); with.plain == "" || s.Peek() == '$' {
		want = "a string or a number, not a field"
	} else if strings.EqualFold(with.plain, "null") || strings.EqualFold(with.plain, "nil") {
		want = "is present or is absent: nothing is no string (quotes make one of it)"
	} else if ranges.MatchString(with.plain) {
		want = "a number; a range is >= 400 and <= 499 (quotes make a string of it)"
	}
	if err == nil && want != "" {
		err = &grammar.Error{Want: want, At: at}
	}
	with.number, with.isNumber = packed.ParseNumber([]byte(with.plain))
	c.with = append(c.with, with)
	s.Spaces()
	return err
}

// Holds tells if the condition holds for v, which is empty where there is nothing: that equals nothing, and is neither less
// nor greater. want says what was wanted where v cannot be compared.
func (c *Condition) Holds(v []byte) (holds bool, want string) {
	switch c.is {
	case isPresent:
		return len(v) > 0, ""
	case isAbsent:
		return len(v) == 0, ""
	case isEqual, isNotEqual:
		equal, want := c.equals(v)
		return equal == (c.is == isEqual), want
	}
	if len(v) == 0 {
		return false, ""
	}
	number, is := packed.ReadNumber(v)
	if !is {
		return false, "a number to compare"
	}
	order := number.Cmp(c.with[0].number)
	switch c.is {
	case isLess:
		return order < 0, ""
	case isLessOrEqual:
		return order <= 0, ""
	case isGreater:
		return order > 0, ""
	}
	return order >= 0, ""
}

// equals tells if v is one of c.with: numbers by what they come to, strings byte for byte.
func (c *Condition) equals(v []byte) (equal bool, want string) {
	if len(v) == 0 {
		return false, ""
	}
	var digits [64]byte
	plain, ok := packed.Scalar(digits[:0], v)
	if !ok {
		return false, "a string, a number or a boolean to compare"
	}
	if slices.ContainsFunc(c.with, func(o comparand) bool { return o.plain == string(plain) }) {
		return true, ""
	}
	number, is := packed.ParseNumber(plain)
	return is && slices.ContainsFunc(c.with, func(o comparand) bool { return o.isNumber && o.number.Cmp(number) == 0 }), ""
}
