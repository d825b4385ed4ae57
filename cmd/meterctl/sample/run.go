package sample

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"out_amberflo/cmd/meterctl/parser"
	"out_amberflo/cmd/meterctl/pipeline"
	"out_amberflo/cmd/meterctl/preflight"
	"out_amberflo/cmd/meterctl/replay"
	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/meter"
	"out_amberflo/plugin/watch"
)

// Options are what the user says of the lines.
type Options struct {
	Tag             string    // "": that of the input
	At              time.Time // of lines that have no time
	Metadata, Group parser.Map
}

// Became is what became of samples, in JSON.
type Became struct {
	Output       string         `json:"output"`
	Samples      int            `json:"samples"`
	MeterRecords int            `json:"meter_records"`
	Events       *int           `json:"events,omitempty"`       // that they are added up to, with aggregate
	NotAddedUp   map[string]int `json:"not_added_up,omitempty"` // records of meters that aggregate names, by reason
	Ignored      int            `json:"ignored"`
	Rejected     map[string]int `json:"rejected"` // by reason
	Unreadable   int            `json:"unreadable"`
	Unparsed     int            `json:"unparsed"`
}

// Became tells it.
func (r *Run) Became(section *pipeline.Section) *Became {
	b := &Became{Output: section.ID, Samples: r.samples, MeterRecords: r.records, Ignored: r.Ignored, Rejected: r.Rejected, Unreadable: r.unreadable, Unparsed: r.from.failed}
	if r.adding != nil {
		b.Events, b.NotAddedUp = &r.adding.events, r.adding.passed()
	}
	return b
}

// Run maps the lines of a sample.
type Run struct {
	*Mapping
	from                *Reader
	survey              *meter.Survey
	adding              *adding // nil: each record is an event
	out, notes          io.Writer
	samples, unreadable int
	records             int
	unbilled            []string       // the fields of the first record that is skipped
	said                map[string]int // lines of one kind that are named, or counted once enough are
}

// named is how many lines of one kind are named; the others are counted.
const named = 5

// name says what is wrong with a line, or counts it.
func (r *Run) name(kind, format string, args ...any) {
	if r.said[kind]++; r.said[kind] <= named {
		fmt.Fprintf(r.notes, format+"\n", args...)
	}
}

// tellCounted says how many lines were counted and not named.
func (r *Run) tellCounted() {
	for _, kind := range slices.Sorted(maps.Keys(r.said)) {
		if more := r.said[kind] - named; more > 0 {
			fmt.Fprintf(r.notes, "%s: %s\n", kind, show.Number(more, "more line"))
		}
	}
}

// New returns a run by rules. Meter records go to out, all else that is to be said to notes. The caller ends it.
func New(rules *meter.Rules, s *Reader, out, notes io.Writer) *Run {
	r := &Run{Mapping: NewMapping(rules), from: s, survey: rules.NewSurvey(), adding: newAdding(rules, out), out: out, notes: notes, said: map[string]int{}}
	r.Mapper.StartIDs("<uuid>-", 0)
	r.Mapper.StartClock(time.Now())
	return r
}

// StartClock says what time it is, for lines that have none.
func (r *Run) StartClock(now time.Time) {
	r.Mapper.StartClock(now)
	if r.adding != nil {
		r.adding.mapper.StartClock(now)
	}
}

// TellWhatIsNotApplied says what of the pipeline only Fluent Bit itself applies.
func (r *Run) TellWhatIsNotApplied(p *pipeline.Pipeline, section *pipeline.Section) {
	if names := preflight.NotApplied(p, section); len(names) > 0 {
		fmt.Fprintf(r.notes, "filters are not applied: %s; --through-fluent-bit applies them\n", strings.Join(names, ", "))
	}
	if r.from.parser == nil {
		if r.from.Input != nil && r.from.Input.Get("multiline.parser") != "" {
			fmt.Fprintf(r.notes, "multiline.parser is not applied: %s; --through-fluent-bit applies it\n", r.from.Input.Get("multiline.parser"))
		}
		return
	}
	for _, option := range r.from.parser.NotApplied {
		fmt.Fprintf(r.notes, "the parser %s is applied without: %s; --through-fluent-bit applies it\n", r.from.parser.Name, option)
	}
}

// Read maps one line after the other.
func (r *Run) Read(in io.Reader, opt Options) error {
	tag := cmp.Or(opt.Tag, r.from.tag())
	lines := bufio.NewReaderSize(in, 1<<20)
	for number, end := 1, false; !end; number++ {
		line, err := lines.ReadBytes('\n')
		if end = errors.Is(err, io.EOF); err != nil && !end {
			return err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			r.from.offset += len(line)
			continue
		}
		record, at, note, err := r.from.Read(line)
		if err != nil {
			r.name("not readable", "line %d: %v", number, err)
			r.unreadable++
			continue
		}
		if note != "" {
			r.name("not parsed", "line %d: %s", number, note)
		}
		if at.IsZero() {
			at = opt.At
		}
		b, err := AppendEvent(nil, at, opt.Metadata, opt.Group, record)
		if err == nil {
			_, err = r.each(tag, b, func(_ int, reject *meter.Rejection) error {
				return r.write(fmt.Sprintf("line %d", number), tag, reject)
			})
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
	return nil
}

// write gives out what became of one event.
func (r *Run) write(name, tag string, reject *meter.Rejection) error {
	r.samples++
	if reject != nil {
		fields := ""
		if r.said[reject.Reason] == 0 {
			if keys, more := meter.Keys(r.reader.Event(), 12); len(keys) > 0 {
				fields = "; its record has the fields " + show.Plain(strings.Join(keys, ", "))
				if more > 0 {
					fields += fmt.Sprintf(" and %d more", more)
				}
			}
		}
		r.name(reject.Reason, "%s: %s: %s%s", name, reject.Reason, reject.Detail, fields)
	} else {
		r.survey.Look(tag, r.reader.Event(), r.Lines)
		if len(r.Lines) == 0 && r.unbilled == nil {
			r.unbilled, _ = meter.Keys(r.reader.Event(), 12)
		}
	}
	r.records += bytes.Count(r.Lines, []byte{'\n'})
	if r.adding != nil {
		return r.adding.add(tag, r.reader.Event())
	}
	_, err := r.out.Write(r.Lines)
	return err
}

// End adds up what is left to add up, and says what tellDoubts and adding do.
func (r *Run) End(section *pipeline.Section) (failed bool, err error) {
	r.tellCounted()
	failed = r.tellDoubts(section)
	if r.adding != nil {
		err = r.adding.end()
		r.adding.tell(r.notes, section)
	}
	return failed, err
}

// tellDoubts says what of the mapping may not be meant, and what of the records. It is true if all of them are billed to a
// text, or as one, that is the name of a field, or if the input writes over a field that is billed.
func (r *Run) tellDoubts(section *pipeline.Section) (failed bool) {
	tell := func(isError bool, of meter.Finding) {
		fmt.Fprintln(r.notes, pipeline.Finding{Place: section.PlaceOf(of.Option), Error: isError, Key: of.Option, Text: of.Text})
		failed = failed || isError
	}
	for _, f := range r.survey.Findings(false) { // literals
		tell(f.Option != "dimensions", f)
	}
	for _, f := range r.survey.Findings(true) {
		tell(false, f)
	}
	for _, f := range r.from.overwritten(section) {
		fmt.Fprintln(r.notes, f)
		failed = true
	}
	if s := r.from; s.parser != nil && s.parser.BadTimes > 0 {
		fmt.Fprintln(r.notes, pipeline.Finding{Place: s.of.PlaceOf("time_format"), Key: "time_format",
			Text: fmt.Sprintf("want what the times of the log look like, got %q, which %s not fit: such a line has no time but that of its reading", s.of.Get("time_format"), show.Number(s.parser.BadTimes, "line", " does", " do"))})
	}
	for _, d := range r.Mapper.TakeDoubts() {
		fmt.Fprintf(r.notes, "%s metered, but doubtful: %s (%s): %s\n", show.Number(d.Records, "record"), d.Kind, strings.TrimSpace(d.Option+" "+d.Source), watch.Advice(d.Kind))
	}
	return failed
}

// Sum writes the last line.
func (r *Run) Sum() error {
	made := show.Number(r.records, "meter record")
	if r.adding != nil {
		made += ", added up to " + show.Number(r.adding.events, "event")
	}
	text := fmt.Sprintf("%s: %s%s", show.Number(r.samples, "sample"), made, r.Mapping.Summary())
	if r.unreadable > 0 {
		text += fmt.Sprintf("; %s not be read", show.Number(r.unreadable, "line", " could", " could"))
	}
	if r.from.failed > 0 {
		text += fmt.Sprintf("; %s not match the parser %s", show.Number(r.from.failed, "line", " does", " do"), r.from.parser.Name)
	}
	_, err := fmt.Fprintln(r.notes, text)
	return err
}

// Verdict is what the exit status says.
func (r *Run) Verdict(failed bool) (problems bool) {
	if r.samples+r.unreadable == 0 {
		fmt.Fprintln(r.notes, errNoSamples)
	}
	if r.records == 0 && r.Ignored > 0 {
		fmt.Fprintf(r.notes, "no sample is billed; the first that is skipped has the fields %s\n", cmp.Or(strings.Join(r.unbilled, ", "), "(none)"))
	}
	unparsed := r.from.failed > 0 && r.from.parsed == 0
	if unparsed {
		fmt.Fprintln(r.notes, pipeline.Finding{Place: r.from.Input.PlaceOf("parser"), Error: true, Key: "parser",
			Text: fmt.Sprintf("want a parser that matches the lines, got %q, which matches none of the samples", r.from.parser.Name)})
	}
	if failed || unparsed || r.samples == 0 || r.unreadable > 0 || len(r.Rejected) > 0 {
		return true
	}
	return false
}

// Mapping is what a flush does with one chunk.
type Mapping struct {
	reader   *chunk.Reader
	Mapper   *meter.Mapper
	Lines    []byte // of the last event
	Ignored  int
	Rejected map[string]int // by reason
}

func NewMapping(rules *meter.Rules) *Mapping {
	return &Mapping{reader: chunk.NewReader(nil, rules.Keys()), Mapper: rules.NewMapper(), Rejected: map[string]int{}}
}

// Run maps the event of a chunk. The error says that the chunk holds something else.
func (m *Mapping) Run(tag string, b []byte) (*meter.Rejection, error) {
	var first *meter.Rejection
	_, err := m.each(tag, b, func(_ int, reject *meter.Rejection) error {
		first = reject
		return io.EOF
	})
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return first, err
}

// each maps the events of a chunk. After each of them do finds its meter records in lines. The error says that there is no
// event, or is that of do.
func (m *Mapping) each(tag string, b []byte, do func(n int, reject *meter.Rejection) error) (events int, err error) {
	m.reader.Reset(b)
	m.Lines = m.Lines[:0]
	for m.reader.Next() {
		lines, records, reject := m.Mapper.Append(m.Lines[:0], tag, m.reader.Event())
		m.Lines = lines
		switch {
		case reject != nil:
			m.Rejected[reject.Reason]++
		case records == 0:
			m.Ignored++
		}
		events++
		if err := do(events, reject); err != nil {
			return events, err
		}
	}
	if err := m.reader.Err(); err != nil || events == 0 {
		return events, errors.Join(errors.New("want a chunk of one event, got none"), err)
	}
	return events, nil
}

// Summary is empty, or begins with a comma.
func (m *Mapping) Summary() string {
	text := ""
	if m.Ignored > 0 {
		text = fmt.Sprintf(", %d ignored", m.Ignored)
	}
	if len(m.Rejected) == 0 {
		return text
	}
	total := 0
	var reasons []string
	for reason, n := range m.Rejected {
		total += n
		reasons = append(reasons, fmt.Sprintf("%s %d", reason, n))
	}
	slices.Sort(reasons)
	return fmt.Sprintf("%s, %d rejected (%s)", text, total, strings.Join(reasons, ", "))
}

// Through runs the sample through the pipeline in Fluent Bit itself, and maps what the output would have got.
func (r *Run) Through(p *pipeline.Pipeline, section *pipeline.Section, in io.Reader, opt Options) error {
	if r.from.Input == nil {
		return errors.New("--through-fluent-bit: want an input whose records reach the output, got none")
	}
	sample, err := io.ReadAll(in)
	if err != nil || len(bytes.TrimSpace(sample)) == 0 {
		return err
	}
	chunks, err := replay.Chunks(p, pipeline.Replay{Input: r.from.Input, Output: section, Tag: opt.Tag}, sample, r.notes)
	if err != nil {
		return err
	}
	for _, tag := range slices.Sorted(maps.Keys(chunks)) {
		_, err := r.each(tag, chunks[tag], func(n int, reject *meter.Rejection) error {
			return r.write(fmt.Sprintf("%s, record %d", tag, n), tag, reject)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
