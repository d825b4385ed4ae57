package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"out_amberflo/cmd/meterctl/parser"
	"out_amberflo/cmd/meterctl/preflight"
	"out_amberflo/cmd/meterctl/sample"
	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/plugin"
	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/meter"
	"out_amberflo/plugin/watch"
)

// mapFlags are what map was asked for.
type mapFlags struct {
	place
	sample.Options
	input                 string
	raw, records, through bool
	asJSON                bool
	file                  string
}

// mapVerb shows what an output makes of the lines of a log.
func (a *app) mapVerb() *cobra.Command {
	f := &mapFlags{Options: sample.Options{At: time.Now()}}
	cmd := &cobra.Command{
		Use: "map [flags] -c CONF [FILE]", Short: "the meter records that a configuration makes of the lines of a log", GroupID: configs, DisableFlagsInUseLine: true,
		Long: `map prints the meter records that CONF makes of the lines of a log, from FILE or standard input; what check-config says of the
output goes to standard error. With aggregate it prints the events that one object of them would have. Lines go through the
parser of the input; where that is json, or there is none, a line is a record in JSON. Filters are applied by
--through-fluent-bit only, which runs the pipeline of CONF in the fluent-bit of the PATH or of $FLUENT_BIT.`,
		Example:     "  tail -n 100 app.log | meterctl map -c fluent-bit.conf\n  meterctl map -c fluent-bit.conf --json app.log | jq .summary",
		Annotations: looked("CONF has an error, a line cannot be metered, or there is none"),
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return fmt.Errorf("want one file of samples, got %q", args)
			case f.raw && f.records:
				return errors.New("want --raw or --records, got both")
			case f.through && (f.records || f.Metadata != nil || f.Group != nil):
				return errors.New("want --through-fluent-bit with lines as the input reads them, got --records, --metadata or --group too")
			}
			f.file = strings.Join(args, "")
			return a.mapSamples(f)
		},
	}
	flags := cmd.Flags()
	f.confFlags(cmd)
	flags.StringVar(&f.input, "input", "", "the input that reads such lines: its `NAME` such as tail.0, its alias, or its number from 0")
	flags.BoolVar(&f.raw, "raw", false, "no line is a record in JSON: without a parser it is one string in the field log")
	flags.BoolVar(&f.records, "records", false, "each line is a record in JSON, whatever the input's parser is")
	flags.BoolVar(&f.through, "through-fluent-bit", false, "run the lines through the pipeline in Fluent Bit itself, filters and all")
	flags.StringVar(&f.Tag, "tag", "", "the `TAG` of the records (default that of the input)")
	flags.Func("time", "the time of lines that have none, as `RFC3339` (default now)", func(v string) (err error) {
		if f.At, err = time.Parse(time.RFC3339, v); err == nil && (f.At.Unix() < 0 || f.At.Unix() > sample.GroupStart-2) {
			err = errors.New("want a time of 1970 to 2106, as Fluent Bit has them")
		}
		return err
	})
	flags.Func("metadata", "metadata of each record, an object in `JSON`", func(v string) (err error) { f.Metadata, err = parser.Object([]byte(v)); return })
	flags.Func("group", "the OpenTelemetry group of each record, an object in `JSON`", func(v string) (err error) { f.Group, err = parser.Object([]byte(v)); return })
	jsonFlag(cmd, &f.asJSON)
	return cmd
}

// mapSamples runs samples through the mapping of a configuration. Meter records go to out, all else to notes: first what is
// wrong with the configuration. With asJSON all goes to out.
func (a *app) mapSamples(flags *mapFlags) error {
	p, section, err := choose(flags.conf, flags.output)
	if err != nil {
		return err
	}
	notes := a.notes
	said := &mapNotes{}
	if flags.asJSON {
		notes = said
	}
	findings := preflight.Output(p, section)
	for _, f := range findings {
		fmt.Fprintln(a.notes, f)
	}
	config, _ := plugin.Check(section.Get)
	if config.Rules == nil {
		return errProblems
	}
	in := a.in
	if flags.file != "" && flags.file != "-" {
		f, err := os.Open(flags.file)
		if err != nil {
			return fmt.Errorf("want a file of samples: %w", err)
		}
		defer f.Close()
		in = f
	}
	s, err := sample.NewReader(p, section, flags.input)
	if err != nil {
		return err
	}
	s.Raw, s.Records = flags.raw, flags.records
	s.SetName(flags.file)
	out := io.Writer(a.out)
	if flags.asJSON {
		fmt.Fprint(a.out, "{\"records\": [")
		out = &show.Array{W: a.out}
	}
	r := sample.New(config.Rules, s, out, notes)
	r.StartClock(flags.At)
	if flags.through {
		err = r.Through(p, section, in, flags.Options)
	} else {
		r.TellWhatIsNotApplied(p, section)
		err = r.Read(in, flags.Options)
	}
	if err != nil {
		return err
	}
	failed, err := r.End(section)
	if err != nil {
		return err
	}
	verdict := r.Sum()
	if r.Verdict(failed || preflight.Failed(findings)) {
		verdict = errors.Join(verdict, errProblems)
	}
	if flags.asJSON {
		sum := mapSummary{Became: r.Became(section), Notes: said.lines(), Findings: []foundInConfig{}}
		for _, f := range findings {
			sum.Findings = append(sum.Findings, inJSON(f))
		}
		fmt.Fprint(a.out, "],\n\"summary\": ")
		verdict = errors.Join(show.JSON(a.out, sum), verdict)
		fmt.Fprintln(a.out, "}")
	}
	return verdict
}

// mapSummary is what became of samples, in JSON.
type mapSummary struct {
	*sample.Became
	Findings []foundInConfig `json:"findings,omitempty"`
	Notes    []string        `json:"notes,omitempty"`
}

// mapNotes keeps what would go to standard error.
type mapNotes struct{ bytes.Buffer }

func (n *mapNotes) lines() (list []string) {
	for line := range strings.Lines(n.String()) {
		list = append(list, strings.TrimSuffix(line, "\n"))
	}
	return list
}

// jsonArray writes lines of JSON as the items of an array.
type jsonArray struct {
	w    io.Writer
	some bool
}

// Write implements [io.Writer], for whole lines.
func (j *jsonArray) Write(lines []byte) (int, error) {
	for line := range bytes.Lines(lines) {
		before := ",\n"
		if !j.some {
			before = "\n"
		}
		j.some = true
		if _, err := fmt.Fprintf(j.w, "%s%s", before, bytes.TrimSuffix(line, []byte{'\n'})); err != nil {
			return 0, err
		}
	}
	return len(lines), nil
}

// mapRun is one call of map.
type mapRun struct {
	*mapping
	sampler             *sampler
	survey              *meter.Survey
	out, notes          io.Writer
	samples, unreadable int
	records             int
	unbilled            []string // the fields of the first record that is skipped
}

func newMapRun(rules *meter.Rules, s *sampler, out, notes io.Writer) *mapRun {
	r := &mapRun{mapping: newMapping(rules), sampler: s, survey: rules.NewSurvey(), out: out, notes: notes}
	r.mapper.StartIDs("<uuid>-", 0)
	r.mapper.StartClock(time.Now())
	return r
}

func (r *mapRun) tellWhatIsNotApplied(p *pipeline.Pipeline, section *pipeline.Section) {
	if names := preflight.NotApplied(p, section); len(names) > 0 {
		fmt.Fprintf(r.notes, "filters are not applied: %s; --through-fluent-bit applies them\n", strings.Join(names, ", "))
	}
	if r.sampler.parser == nil {
		if r.sampler.input != nil && r.sampler.input.Get("multiline.parser") != "" {
			fmt.Fprintf(r.notes, "multiline.parser is not applied: %s; --through-fluent-bit applies it\n", r.sampler.input.Get("multiline.parser"))
		}
		return
	}
	for _, option := range r.sampler.parser.NotApplied {
		fmt.Fprintf(r.notes, "the parser %s is applied without: %s; --through-fluent-bit applies it\n", r.sampler.parser.Name, option)
	}
}

// lines maps one line after the other.
func (r *mapRun) lines(in io.Reader, flags *mapFlags) error {
	tag := cmp.Or(flags.tag, r.sampler.tag())
	lines := bufio.NewReaderSize(in, 1<<20)
	for number, end := 1, false; !end; number++ {
		line, err := lines.ReadBytes('\n')
		if end = errors.Is(err, io.EOF); err != nil && !end {
			return err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			r.sampler.offset += len(line)
			continue
		}
		record, at, note, err := r.sampler.read(line)
		if err != nil {
			fmt.Fprintf(r.notes, "line %d: %v\n", number, err)
			r.unreadable++
			continue
		}
		if note != "" {
			fmt.Fprintf(r.notes, "line %d: %s\n", number, note)
		}
		if at.IsZero() {
			at = flags.at
		}
		b, err := appendSample(nil, at, flags.metadata, flags.group, record)
		if err == nil {
			_, err = r.each(tag, b, func(_ int, reject *meter.Refusal) error {
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
func (r *mapRun) write(name, tag string, reject *meter.Refusal) error {
	r.samples++
	if reject != nil {
		fmt.Fprintf(r.notes, "%s: %s: %s\n", name, reject.Reason, reject.Detail)
	} else {
		r.survey.Look(tag, r.reader.Event(), r.mapping.lines)
		if len(r.mapping.lines) == 0 && r.unbilled == nil {
			r.unbilled, _ = meter.Keys(r.reader.Event(), 12)
		}
	}
	r.records += bytes.Count(r.mapping.lines, []byte{'\n'})
	_, err := r.out.Write(r.mapping.lines)
	return err
}

// tellDoubts says what of the mapping may not be meant, and what of the records. It is true if all of them are billed to a
// text, or as one, that is the name of a field, or if the input writes over a field that is billed.
func (r *mapRun) tellDoubts(section *pipeline.Section) (failed bool) {
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
	for _, f := range r.sampler.overwritten(section) {
		fmt.Fprintln(r.notes, f)
		failed = true
	}
	if s := r.sampler; s.parser != nil && s.parser.BadTimes > 0 {
		fmt.Fprintln(r.notes, pipeline.Finding{Place: s.of.PlaceOf("time_format"), Key: "time_format",
			Text: fmt.Sprintf("want what the times of the log look like, got %q, which %s not fit: such a line has no time but that of its reading", s.of.Get("time_format"), number(s.parser.BadTimes, "line", " does", " do"))})
	}
	for _, d := range r.mapper.TakeDoubts() {
		fmt.Fprintf(r.notes, "%s metered, but doubtful: %s (%s): %s\n", number(d.Records, "record"), d.Kind, strings.TrimSpace(d.Option+" "+d.Source), watch.Advice(d.Kind))
	}
	return failed
}

// sum is the last line.
func (r *mapRun) sum() error {
	text := fmt.Sprintf("%s: %s%s", number(r.samples, "sample"), number(r.records, "meter record"), r.summary())
	if r.unreadable > 0 {
		text += fmt.Sprintf("; %s not be read", number(r.unreadable, "line", " could", " could"))
	}
	if r.sampler.failed > 0 {
		text += fmt.Sprintf("; %s not match the parser %s", number(r.sampler.failed, "line", " does", " do"), r.sampler.parser.Name)
	}
	_, err := fmt.Fprintln(r.notes, text)
	return err
}

// verdict is what the exit status says.
func (r *mapRun) verdict(failed bool) error {
	if r.samples+r.unreadable == 0 {
		fmt.Fprintln(r.notes, errNoSamples)
	}
	if r.records == 0 && r.ignored > 0 {
		fmt.Fprintf(r.notes, "no sample is billed; the first that is skipped has the fields %s\n", cmp.Or(strings.Join(r.unbilled, ", "), "(none)"))
	}
	unparsed := r.sampler.failed > 0 && r.sampler.parsed == 0
	if unparsed {
		fmt.Fprintln(r.notes, pipeline.Finding{Place: r.sampler.input.PlaceOf("parser"), Error: true, Key: "parser",
			Text: fmt.Sprintf("want a parser that matches the lines, got %q, which matches none of the samples", r.sampler.parser.Name)})
	}
	if failed || unparsed || r.samples == 0 || r.unreadable > 0 || len(r.rejected) > 0 {
		return errProblems
	}
	return nil
}

// number is n of what is counted, with an ending for one and for more.
func number(n int, of string, endings ...string) string {
	one, more := "", ""
	if len(endings) > 0 {
		one, more = endings[0], endings[1]
	}
	if n == 1 {
		return "1 " + of + one
	}
	return fmt.Sprintf("%d %ss%s", n, of, more)
}

// mapping is what a flush does with one chunk.
type mapping struct {
	reader   *chunk.Reader
	mapper   *meter.Mapper
	lines    []byte // of the last event
	ignored  int
	rejected map[string]int // by reason
}

func newMapping(rules *meter.Rules) *mapping {
	return &mapping{reader: chunk.NewReader(nil, rules.Keys()), mapper: rules.NewMapper(), rejected: map[string]int{}}
}

// run maps the event of a chunk. The error says that the chunk holds something else.
func (m *mapping) run(tag string, b []byte) (*meter.Refusal, error) {
	var first *meter.Refusal
	_, err := m.each(tag, b, func(_ int, reject *meter.Refusal) error {
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
func (m *mapping) each(tag string, b []byte, do func(n int, reject *meter.Refusal) error) (events int, err error) {
	m.reader.Reset(b)
	m.lines = m.lines[:0]
	for m.reader.Next() {
		lines, records, reject := m.mapper.Append(m.lines[:0], tag, m.reader.Event())
		m.lines = lines
		switch {
		case reject != nil:
			m.rejected[reject.Reason]++
		case records == 0:
			m.ignored++
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

// summary is empty, or begins with a comma.
func (m *mapping) summary() string {
	text := ""
	if m.ignored > 0 {
		text = fmt.Sprintf(", %d ignored", m.ignored)
	}
	if len(m.rejected) == 0 {
		return text
	}
	total := 0
	var reasons []string
	for reason, n := range m.rejected {
		total += n
		reasons = append(reasons, fmt.Sprintf("%s %d", reason, n))
	}
	slices.Sort(reasons)
	return fmt.Sprintf("%s, %d rejected (%s)", text, total, strings.Join(reasons, ", "))
}
