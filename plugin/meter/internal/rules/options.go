// Package rules compiles the mapping options of an output into Rules: what a Mapper asks of each event.
//
// What holds throughout: Compile reports every mistake that there is, each with its key, what was wanted, what it got, and an
// example; rules never change and are safe for concurrent use; literals are rendered as JSON once. It knows no event: what
// compiled parts can say of a value they say of the value alone (Condition.Holds, Term.Read).
package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"out_amberflo/plugin/meter/internal/grammar"
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
	Absent          string
	NegativeValues  string
	OnlyIf          string
	LongDimensions  string

	MeterTimeWindow  string
	MeterTimeOutside string

	Aggregate       string
	AggregateBucket string
}

// OptionError says what is wrong with one option of an output, and how to fix it.
type OptionError struct {
	Key, Want string
	Got       string // a phrase, in which what the user typed stands in quotes
	Example   string // a value that would do; may be empty
	Caret     string // for mistakes of syntax: the value and, on a second line, a ^ under the position
}

func (e *OptionError) Error() string {
	s := fmt.Sprintf("%s: want %s, got %s", e.Key, e.Want, e.Got)
	if e.Example != "" {
		s += fmt.Sprintf(", for example: %s %s", e.Key, e.Example)
	}
	if e.Caret != "" {
		s += "\n    " + strings.ReplaceAll(e.Caret, "\n", "\n    ")
	}
	return s
}

// compiler collects mistakes, so that the user gets to see all of them at once.
type compiler struct {
	rules *Rules
	errs  []*OptionError
}

func (c *compiler) scan(value string) *grammar.Scanner {
	return &grammar.Scanner{S: value, Fields: &c.rules.Fields}
}

func (c *compiler) fail(key, value, want, example string) {
	c.errs = append(c.errs, &OptionError{Key: key, Want: want, Got: fmt.Sprintf("%q", value), Example: example})
}

// failAt is fail with what the grammar or a part of it says; it does nothing without an error.
func (c *compiler) failAt(key, value, example string, err *grammar.Error) {
	if err == nil {
		return
	}
	got := "the end"
	if err.At < len(value) {
		got = fmt.Sprintf("%q", value[err.At:])
	}
	column := utf8.RuneCountInString(value[:min(err.At, len(value))])
	c.errs = append(c.errs, &OptionError{Key: key, Want: err.Want, Got: got, Example: example,
		Caret: strings.Map(oneLine, value) + "\n" + strings.Repeat(" ", column) + "^"})
}

func (c *compiler) failed(key string) bool {
	return slices.ContainsFunc(c.errs, func(e *OptionError) bool { return e.Key == key })
}

// oneLine makes a space of each control character.
func oneLine(r rune) rune {
	if unicode.IsControl(r) {
		return ' '
	}
	return r
}

// choice returns which of the choices value is, the first for "".
func (c *compiler) choice(key, value string, choices ...string) (index int) {
	if value == "" {
		return 0
	}
	if i := slices.IndexFunc(choices, func(choice string) bool { return strings.EqualFold(choice, value) }); i >= 0 {
		return i
	}
	last := len(choices) - 1
	c.fail(key, value, strings.Join(choices[:last], ", ")+" or "+choices[last], choices[1])
	return 0
}

// without reports those of the options, each a key and its value, that are set.
func (c *compiler) without(want, instead string, options [][2]string) {
	for _, o := range options {
		if o[1] != "" {
			c.fail(o[0], o[1], want, instead)
		}
	}
}

// noMapping reports options that would be without effect.
func (c *compiler) noMapping(o Options) {
	c.without("nothing, because payload record ships the log record as it is", "(leave it out, or set payload meter)", [][2]string{
		{"customer_id", o.CustomerID}, {"meter_api_name", o.MeterAPIName}, {"meter_value", o.MeterValue}, {"meters", o.Meters},
		{"meter_time", o.MeterTime}, {"meter_time_format", o.MeterTimeFormat}, {"unique_id", o.UniqueID}, {"dimensions", o.Dimensions}, {"unmatched", o.Unmatched},
		{"negative_values", o.NegativeValues}, {"long_dimensions", o.LongDimensions}, {"meter_time_window", o.MeterTimeWindow}, {"meter_time_outside", o.MeterTimeOutside},
		{"aggregate", o.Aggregate}, {"aggregate_bucket", o.AggregateBucket},
	})
}

// ParseDuration reads 30s, 5m, 1h, 2d and Go's forms such as 1m30s: more than nothing, and at most ten years.
func ParseDuration(v string) (d time.Duration, ok bool) {
	v = strings.ToLower(v)
	if days, is := strings.CutSuffix(v, "d"); is {
		n, err := strconv.ParseFloat(days, 64)
		d, ok = time.Duration(n*24*float64(time.Hour)), err == nil && n > 0 && n <= 3650
		return d, ok
	}
	d, err := time.ParseDuration(v)
	return d, err == nil && d > 0
}
