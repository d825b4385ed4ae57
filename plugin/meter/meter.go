// Package meter turns log events into Amberflo's meter records by the rules that a user wrote, or says in a word why it
// cannot. It is pure: rules are compiled once and never change, a Mapper holds the scratch of one flush.
//
// A meter record is one line of JSON, with the keys in this order and without dimensions where there are none:
//
//	{"customerId":"c","meterApiName":"m","dimensions":{"k":"v"},"meterValue":1,"meterTimeInMillis":1795291200123,"uniqueId":"u"}
//
// What many records have in common comes first and what tells them apart last: gzip makes 8 % less of it than with the
// dimensions at the end, in less time.
package meter

import (
	"cmp"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Options are the mapping options as the user typed them; "" is the default.
type Options struct {
	CustomerID      string
	MeterAPIName    string
	MeterValue      string
	Meters          string
	MeterTime       string
	MeterTimeFormat string
	UniqueID        string
	Dimensions      string
	Payload         string
	Unmatched       string
}

// OptionError says what is wrong with one option of an output, and how to mend it.
type OptionError struct {
	Key, Want string
	Got       string // a phrase, in which what the user typed stands in quotes
	Example   string // a value that would do; may be empty
	Caret     string // for mistakes of syntax: the value and, on a second line, a ^ under the position
}

func (e *OptionError) Error() string {
	text := fmt.Sprintf("%s: want %s, got %s", e.Key, e.Want, e.Got)
	if e.Example != "" {
		text += fmt.Sprintf(", for example: %s %s", e.Key, e.Example)
	}
	if e.Caret != "" {
		text += "\n    " + strings.ReplaceAll(e.Caret, "\n", "\n    ")
	}
	return text
}

// Rules are compiled options. They are immutable and safe for concurrent use.
type Rules struct {
	payloadRecord   bool
	ignoreUnmatched bool
	customer        text
	meters          []meter
	valueOption     string      // where the meters' values come from
	times           []*accessor // the first one that is there
	timeFallback    bool        // and else the event's own time
	format          timeFormat
	ids             []*accessor
	idFallback      bool // and else a generated one
	dimensions      []dimension
	dimensionMap    *accessor
	fields          fieldSet
}

// text is a literal or the text that an accessor finds.
type text struct {
	literal []byte // JSON
	from    *accessor
}

// meter is one meter record per event.
type meter struct {
	name  text
	value text
}

type dimension struct {
	key   []byte // JSON, with its colon
	value text
}

// Keys returns the fields of the record that a chunk.Reader has to find for the mapper. The slice is the rules' own.
func (r *Rules) Keys() []string { return r.fields.names }

// MostRecords is how many meter records an event can give.
func (r *Rules) MostRecords() int { return max(1, len(r.meters)) }

// NewMapper returns a mapper for one flush after the other.
func (r *Rules) NewMapper() *Mapper {
	m := &Mapper{rules: r, tags: make([][]byte, len(r.fields.tags))}
	m.StartIDs("", 0)
	return m
}

// compiler collects mistakes, so that the user gets to see all of them at once.
type compiler struct {
	rules *Rules
	errs  []*OptionError
}

// Compile checks all options and returns the rules, or every mistake there is.
func Compile(o Options) (*Rules, []*OptionError) {
	c := &compiler{rules: &Rules{}}
	r := c.rules
	r.payloadRecord = c.choice("payload", o.Payload, "meter", "record") == "record"
	r.ignoreUnmatched = c.choice("unmatched", o.Unmatched, "reject", "ignore") == "ignore"
	if r.payloadRecord {
		c.noMapping(o)
	} else {
		r.customer = c.text("customer_id", cmp.Or(o.CustomerID, "$customerId"), "$tenant")
		c.meters(o)
		c.time(o.MeterTime, o.MeterTimeFormat)
		r.ids, r.idFallback = c.alternatives("unique_id", cmp.Or(o.UniqueID, "$uniqueId, generate"), "$request_id", "generate")
		c.dimensions(o.Dimensions)
	}
	if len(c.errs) > 0 {
		return nil, c.errs
	}
	return r, nil
}

func (c *compiler) fail(key, value, want, example string) {
	c.errs = append(c.errs, &OptionError{Key: key, Want: want, Got: fmt.Sprintf("%q", value), Example: example})
}

func (c *compiler) failAt(key, value, example string, err *syntaxError) {
	got := "the end"
	if err.at < len(value) {
		got = fmt.Sprintf("%q", value[err.at:])
	}
	column := utf8.RuneCountInString(value[:min(err.at, len(value))])
	c.errs = append(c.errs, &OptionError{Key: key, Want: err.want, Got: got, Example: example,
		Caret: strings.Map(oneLine, value) + "\n" + strings.Repeat(" ", column) + "^"})
}

// oneLine makes a blank of each control character.
func oneLine(r rune) rune {
	if unicode.IsControl(r) {
		return ' '
	}
	return r
}

func (c *compiler) choice(key, value string, choices ...string) string {
	if value == "" {
		return choices[0]
	}
	for _, choice := range choices {
		if strings.EqualFold(value, choice) {
			return choice
		}
	}
	c.fail(key, value, strings.Join(choices, " or "), choices[1])
	return ""
}

// noMapping refuses options that would be without effect.
func (c *compiler) noMapping(o Options) {
	c.leftOut("nothing, because payload record ships the log record as it is", "(leave it out, or set payload meter)", [][2]string{
		{"customer_id", o.CustomerID}, {"meter_api_name", o.MeterAPIName}, {"meter_value", o.MeterValue}, {"meters", o.Meters},
		{"meter_time", o.MeterTime}, {"meter_time_format", o.MeterTimeFormat}, {"unique_id", o.UniqueID}, {"dimensions", o.Dimensions}, {"unmatched", o.Unmatched},
	})
}

// leftOut refuses those of the options, each a key and its value, that are set.
func (c *compiler) leftOut(want, instead string, options [][2]string) {
	for _, o := range options {
		if o[1] != "" {
			c.fail(o[0], o[1], want, instead)
		}
	}
}

// operand compiles one literal or one accessor.
func (c *compiler) operand(key, value, example string) (operand, bool) {
	s := &scanner{s: value}
	o, err := s.operand(&c.rules.fields, false)
	if err == nil && !s.done() {
		err = s.fail(wantOne)
	}
	if err != nil {
		c.failAt(key, value, example, err)
	}
	return o, err == nil
}

// text compiles a literal or an accessor of a text.
func (c *compiler) text(key, value, example string) text {
	o, ok := c.operand(key, value, example)
	if ok && o.from == nil && strings.TrimSpace(o.plain) == "" {
		c.failAt(key, value, example, &syntaxError{want: "a text that is not empty"})
		ok = false
	}
	if !ok {
		return text{}
	}
	return c.literal(key, value, example, o)
}

const wantOne = "one literal or one accessor (in quotes if the rest belongs to the literal)"

func (c *compiler) literal(key, value, example string, o operand) text {
	if o.from != nil {
		return text{from: o.from}
	}
	b, ok := appendString(nil, []byte(o.plain))
	if !ok {
		c.fail(key, value, "UTF-8", example)
	} else if strings.ContainsFunc(o.plain, unicode.IsControl) { // such as the line break behind a secret that echo wrote
		c.fail(key, value, "a text without line breaks and other control characters", example)
	}
	return text{literal: b}
}

func (c *compiler) number(key, value, example string, at int, o operand) text {
	if o.from != nil {
		return text{from: o.from}
	}
	b, ok := appendNumberText(nil, []byte(o.plain))
	if !ok {
		c.failAt(key, value, example, &syntaxError{want: "a number or an accessor", at: at})
	}
	return text{literal: b}
}

const metersExample = "ApiCalls=1, BytesOut=$bytes"

func (c *compiler) meters(o Options) {
	c.rules.valueOption = "meters"
	if o.Meters == "" {
		c.rules.valueOption = "meter_value"
		m := meter{name: c.text("meter_api_name", cmp.Or(o.MeterAPIName, "$meterApiName"), "ApiCalls")}
		value := cmp.Or(o.MeterValue, "$meterValue")
		if v, ok := c.operand("meter_value", value, "$bytes"); ok {
			m.value = c.number("meter_value", value, "$bytes", 0, v)
		}
		c.rules.meters = []meter{m}
		return
	}
	c.leftOut("nothing beside meters, which replaces it", "(leave it out)", [][2]string{{"meter_api_name", o.MeterAPIName}, {"meter_value", o.MeterValue}})
	pairs, err := pairs(o.Meters, &c.rules.fields)
	if err != nil {
		c.failAt("meters", o.Meters, metersExample, err)
		return
	}
	for _, p := range pairs {
		if !p.hasValue {
			c.failAt("meters", o.Meters, metersExample, &syntaxError{want: "name=value", at: p.at})
			return
		}
		c.rules.meters = append(c.rules.meters, meter{
			name:  c.literal("meters", o.Meters, metersExample, operand{plain: p.name}),
			value: c.number("meters", o.Meters, metersExample, p.valueAt, p.value),
		})
	}
}

func (c *compiler) time(value, format string) {
	c.rules.times, c.rules.timeFallback = c.alternatives("meter_time", cmp.Or(value, "$meterTimeInMillis, event"), "$time", "event")
	if s := (&scanner{s: format}); s.peek() == '"' || s.peek() == '\'' {
		if text, err := s.quoted(); err == nil && s.done() {
			format = text
		}
	}
	f, want := compileTimeFormat(format)
	if want != "" {
		c.fail("meter_time_format", format, want, "%d/%b/%Y:%H:%M:%S %z")
	}
	c.rules.format = f
}

// alternatives compiles a list of accessors of which the first that finds something counts. The word fallback may stand
// at its end.
func (c *compiler) alternatives(key, value, example, fallback string) (list []*accessor, hasFallback bool) {
	s := &scanner{s: value}
	fail := func(err *syntaxError) { c.failAt(key, value, example+", "+fallback, err) }
	for {
		s.blanks()
		if s.peek() != '$' {
			at := s.i
			if word := s.while(func(c byte) bool { return isLetter(c) }); !strings.EqualFold(word, fallback) {
				fail(&syntaxError{want: "an accessor such as $key, or the word " + fallback, at: at})
				return nil, false
			}
			if s.blanks(); !s.done() {
				fail(s.fail("the end behind " + fallback))
			}
			return list, true
		}
		a, err := s.accessor(&c.rules.fields)
		if err != nil {
			fail(err)
			return nil, false
		}
		list = append(list, a)
		if s.blanks(); s.done() {
			return list, false
		}
		if !s.accept(',') {
			fail(s.fail("a comma or the end"))
			return nil, false
		}
	}
}

const dimensionsExample = "region, plan=$account['plan'], source=edge"

func (c *compiler) dimensions(value string) {
	value = cmp.Or(value, "$dimensions")
	r := c.rules
	if s := (&scanner{s: value}); s.peek() == '$' {
		a, err := s.accessor(&r.fields)
		if s.blanks(); err == nil && !s.done() {
			err = &syntaxError{want: "one accessor to a map, or a list of name and name=$accessor", at: s.i}
		}
		if err == nil && a.root == fromTag {
			err = &syntaxError{want: "an accessor to a map; the tag is a text, such as in tag=$TAG"}
		}
		if err != nil {
			c.failAt("dimensions", value, dimensionsExample, err)
		}
		r.dimensionMap = a
		return
	}
	pairs, err := pairs(value, &r.fields)
	if err != nil {
		c.failAt("dimensions", value, dimensionsExample, err)
		return
	}
	for _, p := range pairs {
		if !p.hasValue {
			p.value = operand{from: fieldAccessor(p.name, &r.fields)}
		}
		key := c.literal("dimensions", value, dimensionsExample, operand{plain: p.name})
		r.dimensions = append(r.dimensions, dimension{key: append(key.literal, ':'), value: c.literal("dimensions", value, dimensionsExample, p.value)})
	}
}
