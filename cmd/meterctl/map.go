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
