package meter

import (
	"regexp"
	"slices"
	"strings"

	"out_amberflo/plugin/decimal"
	"out_amberflo/plugin/meter/internal/packed"
)

// condition is one of those that only_if joins by and.
type condition struct {
	from *accessor
	is   relation
	with []operandOf
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

// operandOf is a text to compare with, and the number that it is, if it is one.
type operandOf struct {
	text     string
	number   decimal.Number
	isNumber bool
}

const onlyIfExample = "$status >= 200 and $status < 300 and $user is present"

// conditions compiles only_if:
//
//	$field == v   != v   < n   <= n   > n   >= n   in (v, v)   not in (v, v)   is present   is absent
func (c *compiler) conditions(value string) (list []condition) {
	if value == "" {
		return nil
	}
	s := &scanner{s: value}
	for {
		one, err := s.condition(&c.rules.fields)
		if err != nil {
			c.failAt("only_if", value, onlyIfExample, err)
			return nil
		}
		list = append(list, one)
		if s.blanks(); s.done() {
			return list
		}
		if at := s.i; !strings.EqualFold(s.while(isLetter), "and") {
			c.failAt("only_if", value, onlyIfExample, &syntaxError{want: "and, or the end (for or, write in (…))", at: at})
			return nil
		}
	}
}

func (s *scanner) condition(fields *fieldSet) (c condition, err *syntaxError) {
	if s.blanks(); s.peek() != '$' {
		return c, s.fail("an accessor such as $status")
	}
	if c.from, err = s.accessor(fields); err != nil {
		return c, err
	}
	s.blanks()
	at := s.i
	const want = "==, !=, <, <=, >, >=, in (…), not in (…), is present or is absent"
	if sign := s.while(func(c byte) bool { return strings.ContainsRune("=!<>", rune(c)) }); sign != "" {
		signs := map[string]relation{"==": isEqual, "!=": isNotEqual, "<": isLess, "<=": isLessOrEqual, ">": isGreater, ">=": isGreaterOrEqual}
		var known bool
		if c.is, known = signs[sign]; !known {
			return c, &syntaxError{want: want, at: at}
		}
		s.blanks()
		at = s.i
		with, err := s.comparand()
		if err == nil && c.is >= isLess && !with.isNumber {
			err = &syntaxError{want: "a number behind " + sign, at: at}
		}
		c.with = []operandOf{with}
		return c, err
	}
	word := strings.ToLower(s.while(isLetter))
	s.blanks()
	if word == "is" {
		switch what := strings.ToLower(s.while(isLetter)); what {
		case "present":
			c.is = isPresent
		case "absent":
			c.is = isAbsent
		default:
			return c, &syntaxError{want: "is present or is absent", at: at}
		}
		return c, nil
	}
	if word == "not" {
		c.is = isNotEqual
		word = strings.ToLower(s.while(isLetter))
		s.blanks()
	}
	if word != "in" {
		return c, &syntaxError{want: want, at: at}
	}
	if !s.accept('(') {
		return c, s.fail("a list in parentheses, such as (200, 201)")
	}
	err = s.parenthesized(func() *syntaxError {
		with, err := s.comparand()
		c.with = append(c.with, with)
		return err
	})
	return c, err
}

// ranges are what people write for several numbers: 400-499, 4xx, 4*.
var ranges = regexp.MustCompile(`^\d+(-\d+|[xX]+|\*)$`)

// comparand takes a literal, and the blanks around it.
func (s *scanner) comparand() (o operandOf, err *syntaxError) {
	s.blanks()
	at := s.i
	if q := s.peek(); q == '"' || q == '\'' {
		o.text, err = s.quoted()
		if err == nil && looksLikeAccessor(o.text) {
			err = &syntaxError{want: wantNoQuotedAccessor, at: at}
		}
	} else if o.text = s.while(inBareWord); o.text == "" || s.peek() == '$' {
		err = &syntaxError{want: "a text or a number, not a field", at: at}
	} else if strings.EqualFold(o.text, "null") || strings.EqualFold(o.text, "nil") {
		err = &syntaxError{want: "is present or is absent: nothing is no text (quotes make one of it)", at: at}
	} else if ranges.MatchString(o.text) {
		err = &syntaxError{want: "a number; a range is >= 400 and <= 499 (quotes make a text of it)", at: at}
	}
	if err != nil {
		return o, err
	}
	o.number, o.isNumber = packed.ParseNumber([]byte(o.text))
	s.blanks()
	return o, nil
}

// holds tells if the event meets all conditions of only_if. A refusal says that this cannot be told.
func (m *Mapper) holds() (bool, *Refusal) {
	for i := range m.rules.conditions {
		c := &m.rules.conditions[i]
		holds, want := c.holds(m.find(c.from))
		if want != "" {
			return false, refuse(BadCondition, "only_if", want, c.from, m.find(c.from))
		}
		if !holds {
			return false, nil
		}
	}
	return true, nil
}

// holds tells if the condition holds for v, which is empty where there is nothing: that equals nothing, and is neither less
// nor greater. want says what was wanted where v cannot be compared.
func (c *condition) holds(v []byte) (holds bool, want string) {
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

// equals tells if v is one of c.with: numbers by what they come to, texts byte for byte.
func (c *condition) equals(v []byte) (equal bool, want string) {
	if len(v) == 0 {
		return false, ""
	}
	var digits [64]byte
	text, ok := packed.Scalar(digits[:0], v)
	if !ok {
		return false, "a text, a number or a boolean to compare"
	}
	if slices.ContainsFunc(c.with, func(o operandOf) bool { return o.text == string(text) }) {
		return true, ""
	}
	number, is := packed.ParseNumber(text)
	return is && slices.ContainsFunc(c.with, func(o operandOf) bool { return o.isNumber && o.number.Cmp(number) == 0 }), ""
}
