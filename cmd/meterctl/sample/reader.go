// Package sample makes meter records of the lines of a log as an input, an output and what lies between them would: to see them
// before they are billed.
package sample

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ugorji/go/codec"

	"out_amberflo/cmd/meterctl/parser"
	"out_amberflo/cmd/meterctl/pipeline"
	"out_amberflo/cmd/meterctl/preflight"
	"out_amberflo/cmd/meterctl/show"
)

// GroupStart is the time of the event that opens an OpenTelemetry group (flb_log_event.h).
const GroupStart = 0xFFFFFFFF

var msgpackHandle = &codec.MsgpackHandle{WriteExt: true}

// appendOne appends an event as Fluent Bit hands it to an output: [[time, metadata], record].
func appendOne(dst []byte, seconds, nanos uint32, metadata, record parser.Map) ([]byte, error) {
	dst = append(dst, 0x92, 0x92, 0xd7, 0x00) // two arrays of two; eight bytes of extension type 0
	dst = binary.BigEndian.AppendUint32(dst, seconds)
	dst = binary.BigEndian.AppendUint32(dst, nanos)
	for _, m := range []parser.Map{metadata, record} {
		var b []byte
		if err := codec.NewEncoderBytes(&b, msgpackHandle).Encode(m); err != nil {
			return dst, err
		}
		dst = append(dst, b...)
	}
	return dst, nil
}

// AppendEvent appends a chunk of one event, after the start of its group if it has one.
func AppendEvent(dst []byte, at time.Time, metadata, group, record parser.Map) ([]byte, error) {
	var err error
	if group != nil {
		if dst, err = appendOne(dst, GroupStart, 0, parser.Map{}, group); err != nil {
			return dst, err
		}
	}
	if metadata == nil {
		metadata = parser.Map{}
	}
	return appendOne(dst, uint32(at.Unix()), uint32(at.Nanosecond()), metadata, record)
}

// Reader turns the lines of a sample into records, as the input that reads them would.
type Reader struct {
	Input          *pipeline.Section // nil: none is known, and samples are records
	parser         *parser.Parser    // nil: none
	of             *pipeline.Section // of the parser
	name           string            // of the sample, for Path_Key
	Raw, Records   bool              // what the user says of the lines
	offset         int
	parsed, failed int            // lines that the parser matched, and not
	covered        map[string]int // lines over whose own field an option of the input writes, by option
}

// NewReader chooses the input, by its number, name or alias if choice is not empty.
func NewReader(p *pipeline.Pipeline, out *pipeline.Section, choice string) (*Reader, error) {
	s := &Reader{covered: map[string]int{}}
	inputs := preflight.Inputs(p, out)
	s.Input = pipeline.Pick(inputs, choice)
	switch {
	case choice != "" && s.Input == nil:
		return nil, fmt.Errorf("--input: want one of %s, got %q", pipeline.Names(inputs), choice)
	case choice == "" && len(inputs) > 0:
		s.Input = inputs[0]
		for _, in := range inputs[1:] {
			if in.Name != s.Input.Name || in.Get("parser") != s.Input.Get("parser") {
				return nil, fmt.Errorf("want --input with one of %s, since their lines are read differently, got none", pipeline.Names(inputs))
			}
		}
	}
	if s.Input == nil || s.Input.Get("parser") == "" {
		return s, nil
	}
	section := p.ParserNamed(s.Input.Get("parser"))
	if section == nil {
		return s, nil // a finding says so
	}
	var err error
	s.of = section
	s.parser, err = parser.New(section)
	return s, err
}

// tag is the input's, if it can be known.
func (s *Reader) tag() string {
	if s.Input == nil {
		return "sample"
	}
	tag := s.Input.Get("tag")
	switch {
	case tag == "":
		return s.Input.ID
	case strings.Contains(tag, "*"):
		return strings.ReplaceAll(tag, "*", "sample")
	}
	return tag
}

// Read makes a record of a line. The time is zero where the line has none. The error says that it is no sample, the note how
// Fluent Bit would take it.
func (s *Reader) Read(line []byte) (record parser.Map, at time.Time, note string, err error) {
	text := strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r")
	offset := s.offset
	s.offset += len(line)
	tail := s.Input != nil && s.Input.Name == "tail"
	switch {
	case s.Records || !s.Raw && s.parser == nil:
		if record, err = parser.Object(line); err == nil || s.Records || !tail {
			return record, at, "", err
		}
		record, err = s.asLog(text), nil
	case s.parser == nil:
		record = s.asLog(text)
	default:
		before := s.parser.GivenUp
		var ok bool
		if record, at, ok = s.parser.Parse(text); ok {
			s.parsed++
			break
		}
		if s.parser.GivenUp > before {
			return nil, at, "", fmt.Errorf("the parser %s ran for too long: whether it matches is not known here; --through-fluent-bit has Fluent Bit itself read the line", s.parser.Name)
		}
		s.failed++
		note = fmt.Sprintf("the parser %s does not match: the line is one string in the field %s", s.parser.Name, s.logKey())
		if _, err := parser.Object(line); err == nil {
			note += "; --records takes it for a record"
		}
		record = s.asLog(text)
	}
	return s.withPlace(record, offset), at, note, nil
}

func (s *Reader) asLog(text string) parser.Map { return parser.Map{s.logKey(), text} }

// logKey is where the tail input puts a line that no parser reads.
func (s *Reader) logKey() string {
	if s.Input != nil && s.Input.Get("key") != "" {
		return s.Input.Get("key")
	}
	return "log"
}

// withPlace adds what Path_Key and Offset_Key of the input ask for.
func (s *Reader) withPlace(record parser.Map, offset int) parser.Map {
	if s.Input == nil {
		return record
	}
	for _, add := range []struct {
		option string
		value  any
	}{{"path_key", s.name}, {"offset_key", uint64(offset)}} {
		key := s.Input.Get(add.option)
		if key == "" {
			continue
		}
		for i := 0; i < len(record); i += 2 {
			if record[i] == any(key) {
				s.covered[add.option]++
				break
			}
		}
		record = append(record, key, add.value)
	}
	return record
}

// overwritten names the options of the input that write over a field of the lines which the mapping names.
func (s *Reader) overwritten(out *pipeline.Section) (list []pipeline.Finding) {
	for _, option := range slices.Sorted(maps.Keys(s.covered)) {
		for _, f := range preflight.Fields(out.Get) {
			if key := s.Input.Get(option); f.Root == "record" && f.Key == key {
				list = append(list, pipeline.Finding{Place: s.Input.PlaceOf(option), Error: true, Section: s.Input, Key: option,
					Text: fmt.Sprintf("want a name that no field of the line has, got %q, which %s names, and which %s: the input writes over it", key, f.Option, show.Number(s.covered[option], "line", " has", " have"))})
				break
			}
		}
	}
	return list
}

// SetName is how Path_Key names the sample.
func (s *Reader) SetName(file string) {
	if s.name = "(standard input)"; file != "" && file != "-" {
		s.name = file
		if abs, err := filepath.Abs(file); err == nil {
			s.name = abs
		}
	}
}

var errNoSamples = errors.New("want samples, one a line, got none")
