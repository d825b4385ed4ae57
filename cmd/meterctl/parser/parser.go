// Package parser reads lines of a log as the parsers of Fluent Bit 5.1.1 do: regex, json, logfmt and ltsv, with their types and
// times. Where it cannot, New says so; it never guesses.
package parser

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"out_amberflo/cmd/meterctl/pipeline"
)

// Map is a map as its keys and values in turn: Fluent Bit keeps the order and the duplicates of a record's keys.
type Map []any

// MapBySlice tells ugorji's codec to write it as a map.
func (Map) MapBySlice() {}

// Parser is one [PARSER].
type Parser struct {
	Name       string
	NotApplied []string // options of it that this package does not know
	BadTimes   int      // values of its time key that its time format does not fit, so far
	GivenUp    int      // lines on which the expression ran for longer than matchTimeout, so far

	parse     func(line string) (Map, time.Time, bool)
	times     *timeFormat // nil: records have no time
	timeKey   string
	timeKeep  bool
	types     map[string]string
	skipEmpty bool
	noBare    bool
	now       func() time.Time
}

// New compiles a parser section.
func New(s *pipeline.Section) (*Parser, error) {
	p := &Parser{Name: s.Name, timeKey: cmp.Or(s.Get("time_key"), "time"), timeKeep: pipeline.IsOn(s.Get("time_keep")), types: map[string]string{},
		skipEmpty: !pipeline.IsOff(s.Get("skip_empty_values")), noBare: pipeline.IsOn(s.Get("logfmt_no_bare_keys")), now: time.Now}
	for _, item := range strings.Fields(s.Get("types")) {
		if name, kind, ok := strings.Cut(item, ":"); ok && p.types[name] == "" {
			p.types[name] = strings.ToLower(kind)
		}
	}
	for _, property := range s.Properties {
		if strings.HasPrefix(property.Key, "decode_field") {
			p.NotApplied = append(p.NotApplied, property.Key+" "+property.Value)
		}
	}
	switch format := strings.ToLower(s.Get("format")); format {
	case "regex":
		var err error
		if p.parse, err = p.regex(s.Get("regex")); err != nil {
			return nil, fmt.Errorf("%s: regex: %w", s.PlaceOf("regex"), err)
		}
	case "json":
		p.parse = p.json
	case "logfmt":
		p.parse = p.logfmt
	case "ltsv":
		p.parse = p.ltsv
	}
	if key, want := Wrong(s); key != "" {
		return nil, fmt.Errorf("%s: %s: %s, got %q, with which Fluent Bit does not start", s.PlaceOf(key), key, want, s.Get(key))
	}
	p.times = newTimeFormat(s)
	return p, nil
}

// Parse reads one line. The time is zero where the line has none: the record then has the time of its reading. It is false
// where the parser does not match, and Fluent Bit keeps the line as one string; also where nobody knows, and GivenUp counts.
func (p *Parser) Parse(line string) (record Map, at time.Time, ok bool) { return p.parse(line) }

// field appends a key and its string, cast as Types says.
func (p *Parser) field(record Map, key, value string) Map {
	return append(record, key, typed(p.types[key], value))
}

// time reads the value of the time key.
func (p *Parser) time(value string) (at time.Time, ok bool) {
	if at, ok = p.times.read(value, p.now()); !ok {
		p.BadTimes++
	}
	return at, ok
}
