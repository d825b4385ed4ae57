package rules

import (
	"cmp"
	"strings"

	"out_amberflo/plugin/decimal"
	"out_amberflo/plugin/meter/internal/grammar"
	"out_amberflo/plugin/meter/internal/packed"
	"out_amberflo/plugin/meter/internal/unit"
	"out_amberflo/plugin/tally"
)

// Value is the value of a meter: a literal, or terms that are added up.
//
//	1   $bytes   $in+$out   sum($upstream_response_time)   ms($latency)   s($duration ns)   sum(ms($times))
type Value struct {
	Source  string // as the user wrote it
	Literal []byte // JSON; nil where there are terms
	Terms   []Term

	Amount   tally.Amount // of the literal, if IsAmount
	IsAmount bool
}

// Term is one accessor, and how what it finds is read.
type Term struct {
	From *grammar.Accessor
	List bool        // sum(…): several numbers
	unit *unit.Unit  // ms(…): a number with a unit, in this unit
	bare *unit.Scale // the unit of numbers that have none; nil where they are not taken
}

// Plain is the accessor of a value that is what one accessor finds, as most are; else nil.
func (v *Value) Plain() *grammar.Accessor {
	if len(v.Terms) == 1 && v.Terms[0].unit == nil && !v.Terms[0].List {
		return v.Terms[0].From
	}
	return nil
}

// What a value has to be.
const (
	WantNumber     = "a finite number"
	WantNoNegative = "a number that is not negative (negative_values accept takes it)"
)

// Read reads a number, with its unit where the term asks for one. want says what was wanted where s holds none.
func (t *Term) Read(s []byte) (n decimal.Number, want string) {
	n, ok := packed.ParseNumber(s)
	switch {
	case t.unit == nil && !ok:
		return n, WantNumber
	case t.unit == nil, ok && n.Sign() == 0: // nothing is nothing in any unit
		return n, ""
	case !ok:
		if n, ok = t.unit.Read(s); !ok {
			want = "a number with a unit that " + t.unit.Name + " can be made of"
		}
		return n, want
	case t.bare == nil:
		return n, "a number with a unit (or the unit of those without, such as " + t.unit.Name + "(" + t.From.Source + " " + t.unit.Name + "))"
	}
	return t.unit.Convert(n, *t.bare), ""
}

const metersExample = "ApiCalls=1, BytesOut=$bytes"

func (c *compiler) meters(o Options) {
	r := c.rules
	if o.Meters == "" {
		r.ValueOption = "meter_value"
		m := Meter{Name: c.source("meter_api_name", cmp.Or(o.MeterAPIName, defaultMeter), "ApiCalls")}
		s := c.scan(cmp.Or(o.MeterValue, "$meterValue"))
		var err *grammar.Error
		if m.Value, err = c.value(s, false); err == nil && !s.Done() {
			err = s.Fail("one number, or accessors joined by +")
		}
		c.failAt("meter_value", s.S, "$bytes", err)
		r.Meters = []Meter{m}
		return
	}
	r.ValueOption = "meters"
	c.without("nothing beside meters, which replaces it", "(leave it out)", [][2]string{{"meter_api_name", o.MeterAPIName}, {"meter_value", o.MeterValue}})
	s := c.scan(o.Meters)
	c.failAt("meters", o.Meters, metersExample, s.Pairs(func(p grammar.Pair) (err *grammar.Error) {
		if !p.HasValue {
			return &grammar.Error{Want: "name=value", At: p.At}
		}
		m := Meter{}
		if m.Name.Literal, err = c.literal(p.Name, p.At); err == nil {
			m.Value, err = c.value(s, true)
		}
		r.Meters = append(r.Meters, m)
		return err
	}))
}

// value takes the value of a meter, and the spaces after it.
func (c *compiler) value(s *grammar.Scanner, inList bool) (v Value, err *grammar.Error) {
	s.Spaces()
	at := s.At
	if atTerm(*s) {
		v.Terms, err = terms(s)
	} else if o, wrong := s.Operand(inList); wrong != nil {
		err = wrong
	} else {
		v.Literal, err = c.number(o.Plain, at)
	}
	v.Source = strings.TrimSpace(s.S[at:s.At])
	return v, err
}

// number renders the literal of a value that begins at byte at of its option.
func (c *compiler) number(plain string, at int) ([]byte, *grammar.Error) {
	b, ok := packed.AppendNumberString(nil, []byte(plain))
	switch {
	case grammar.LooksLikeAccessor(plain):
		return nil, &grammar.Error{Want: wantNoQuotedAccessor, At: at}
	case !ok:
		return nil, &grammar.Error{Want: "a number, an accessor such as $bytes, or a function of one such as ms($latency)", At: at}
	case packed.IsNegative(b) && !c.rules.NegativeValues:
		return nil, &grammar.Error{Want: WantNoNegative, At: at}
	}
	return b, nil
}

// atTerm tells if what comes next is an accessor or a function, and no literal.
func atTerm(s grammar.Scanner) bool {
	return s.Peek() == '$' || s.Word() != "" && s.Peek() == '('
}

// terms takes the terms of a value, of which the first begins here, and the spaces after the last.
func terms(s *grammar.Scanner) (list []Term, err *grammar.Error) {
	for {
		s.Spaces()
		t := Term{}
		if err := t.scan(s); err != nil {
			return nil, err
		}
		list = append(list, t)
		if s.Spaces(); !s.Accept('+') {
			return list, nil
		}
	}
}

const wantFunction = "sum(…), or one of the units s, ms, us, ns, B, KB, MB, GB, TB, KiB, MiB, GiB and TiB as a function, such as ms($latency)"

func (t *Term) scan(s *grammar.Scanner) (err *grammar.Error) {
	at := s.At
	if s.Peek() == '$' {
		switch t.From, err = s.Accessor(); {
		case err != nil:
		case strings.ContainsAny(t.From.Name, "/*"):
			err = &grammar.Error{Want: "no calculation but + (a field with a / in its name is written $['a/b'])", At: at + 1 + strings.IndexAny(t.From.Name, "/*")}
		case t.unit != nil:
			err = t.scanBare(s)
		}
		return err
	}
	name := s.Word()
	if !s.Accept('(') {
		return &grammar.Error{Want: "an accessor such as $bytes, or a function of one such as ms($latency)", At: at}
	}
	u := unit.Find(name)
	switch {
	case name == "sum" && !t.List:
		t.List = true
	case u != nil && t.unit == nil:
		t.unit = u
	default:
		return &grammar.Error{Want: wantFunction, At: at}
	}
	s.Spaces()
	if err := t.scan(s); err != nil {
		return err
	}
	if s.Spaces(); !s.Accept(')') {
		return s.Fail("a closing )")
	}
	return nil
}

// scanBare takes the unit after an accessor that numbers without one have, if there is any.
func (t *Term) scanBare(s *grammar.Scanner) *grammar.Error {
	s.Spaces()
	at := s.At
	name := s.Word()
	if name == "" {
		return nil
	}
	scale, known := t.unit.Scale(name)
	if !known {
		return &grammar.Error{Want: "a unit that " + t.unit.Name + " can be made of, or a closing )", At: at}
	}
	t.bare = &scale
	return nil
}
