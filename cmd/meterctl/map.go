package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"out_amberflo/plugin"
	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/meter"
)

// ofObjects are the options that say what objects are.
var ofObjects = []string{"s3_key_format", "format", "compression", "compression_level", "total_file_size", "max_records"}

// load reads the chosen output of a configuration and checks it. The error names every mistake in the mapping, and in the
// options in needs; other mistakes are warnings, written to notes.
func load(file, choice string, needs []string, notes io.Writer) (*section, *plugin.Config, error) {
	if file == "" {
		return nil, nil, errors.New("want -c with a configuration of Fluent Bit, got none")
	}
	conf, err := readConfiguration(file)
	if err != nil {
		return nil, nil, err
	}
	s, err := conf.output(choice)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	conf.review(s)
	s.mistakes = len(conf.warnings)
	c, mistakes := plugin.Check(s.get)
	_, ofMapping := plugin.Keys()
	var errs []error
	unknown := false // what some option of the delivery will be: others may be judged by it
	for _, v := range conf.unset {
		if p := s.find(v.key); p == nil || p.place != v.place { // of another output
			continue
		}
		unknown = unknown || !slices.Contains(ofMapping, v.key)
		switch {
		case needs != nil && slices.Contains(ofMapping, v.key), slices.Contains(needs, v.key):
			errs = append(errs, fmt.Errorf("%v; set it as it is for Fluent Bit", v))
		default:
			conf.warnings = append(conf.warnings, v.String())
		}
	}
	for _, m := range mistakes {
		if slices.Contains(ofMapping, m.Key) || slices.Contains(needs, m.Key) {
			errs = append(errs, fmt.Errorf("%s: %w", s.placeOf(m.Key), m))
		} else {
			conf.warn(s.placeOf(m.Key), "%v", m)
			if !unknown {
				s.mistakes++
			}
		}
	}
	for _, w := range conf.warnings {
		fmt.Fprintln(notes, "warning:", w)
	}
	return s, c, errors.Join(errs...)
}

// mapSamples runs sample records through the mapping of a configuration. Meter records go to out, all
// else to notes.
func mapSamples(in io.Reader, out, notes io.Writer, args []string) error {
	flags := flag.NewFlagSet("map", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.String("c", "", "")
	choice := flags.String("output", "", "")
	tag := flags.String("tag", "sample", "")
	at := time.Now()
	flags.Func("time", "", func(v string) (err error) {
		if at, err = time.Parse(time.RFC3339, v); err == nil && (at.Unix() < 0 || at.Unix() > groupStart-2) {
			err = errors.New("want a time of 1970 to 2106, as Fluent Bit has them")
		}
		return err
	})
	var metadata, group orderedMap
	flags.Func("metadata", "", func(v string) (err error) { metadata, err = parseObject([]byte(v)); return })
	flags.Func("group", "", func(v string) (err error) { group, err = parseObject([]byte(v)); return })
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("map: %w; it takes -c, -output, -tag, -time, -metadata and -group", err)
	}
	if flags.NArg() > 1 {
		return fmt.Errorf("map: want one file of samples, got %q", flags.Args())
	}
	s, config, err := load(*file, *choice, nil, notes)
	if err != nil {
		return err
	}
	if name := flags.Arg(0); name != "" && name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("map: want a file of samples: %w", err)
		}
		defer f.Close()
		in = f
	}

	m := newMapping(config.Rules)
	m.mapper.StartIDs("<uuid>-", 0)
	records, samples, unreadable := 0, 0, 0
	lines := bufio.NewReaderSize(in, 1<<20)
	for number, end := 1, false; !end; number++ {
		line, err := lines.ReadBytes('\n')
		if end = errors.Is(err, io.EOF); err != nil && !end {
			return fmt.Errorf("map: %w", err)
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		record, err := parseObject(line)
		if err != nil {
			fmt.Fprintf(notes, "line %d: %v\n", number, err)
			unreadable++
			continue
		}
		samples++
		b, err := appendSample(nil, at, metadata, group, record)
		if err != nil {
			return fmt.Errorf("map: line %d: %w", number, err)
		}
		refusal, err := m.run(*tag, b)
		if err != nil {
			return fmt.Errorf("map: line %d: %w", number, err)
		}
		if refusal != nil {
			fmt.Fprintf(notes, "line %d: %s: %s\n", number, refusal.Reason, refusal.Detail)
		}
		records += bytes.Count(m.lines, []byte{'\n'})
		if _, err := out.Write(m.lines); err != nil {
			return err
		}
	}
	fmt.Fprintf(notes, "%d samples: %d meter records%s", samples, records, m.summary())
	if unreadable > 0 {
		fmt.Fprintf(notes, "; %d lines are no samples", unreadable)
	}
	fmt.Fprintln(notes)
	if unreadable > 0 || len(m.refused) > 0 || s.mistakes > 0 {
		return errProblems
	}
	return nil
}

// mapping is what a flush does with one chunk of one event.
type mapping struct {
	reader  *chunk.Reader
	mapper  *meter.Mapper
	lines   []byte // of the last run
	ignored int
	refused map[string]int // by reason
}

func newMapping(rules *meter.Rules) *mapping {
	return &mapping{reader: chunk.NewReader(nil, rules.Keys()), mapper: rules.NewMapper(), refused: map[string]int{}}
}

// run maps the event of a chunk. The error says that the chunk holds something else.
func (m *mapping) run(tag string, b []byte) (*meter.Refusal, error) {
	m.reader.Reset(b)
	m.lines = m.lines[:0]
	if !m.reader.Next() {
		return nil, errors.Join(errors.New("want a chunk of one event, got none"), m.reader.Err())
	}
	lines, records, refusal := m.mapper.Append(m.lines, tag, m.reader.Event())
	m.lines = lines
	switch {
	case refusal != nil:
		m.refused[refusal.Reason]++
	case records == 0:
		m.ignored++
	}
	return refusal, nil
}

// summary is empty, or begins with a comma.
func (m *mapping) summary() string {
	text := ""
	if m.ignored > 0 {
		text = fmt.Sprintf(", %d ignored", m.ignored)
	}
	if len(m.refused) == 0 {
		return text
	}
	total := 0
	var reasons []string
	for reason, n := range m.refused {
		total += n
		reasons = append(reasons, fmt.Sprintf("%s %d", reason, n))
	}
	slices.Sort(reasons)
	return fmt.Sprintf("%s, %d rejected (%s)", text, total, strings.Join(reasons, ", "))
}
