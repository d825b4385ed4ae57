package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"out_amberflo/cmd/meterctl/pipeline"
	"out_amberflo/cmd/meterctl/preflight"
	"out_amberflo/cmd/meterctl/sample"
	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/plugin"
)

// checkConfig looks at a whole pipeline: for every output of amberflo, what would lose, double or misbill records.
func (a *app) checkConfig() *cobra.Command {
	var file, sample, input string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "check-config [flags] -c CONF", Short: "what in a pipeline would lose, double or misbill records", GroupID: configs, DisableFlagsInUseLine: true,
		Long: `check-config looks at the whole pipeline of CONF for what would lose, double or misbill records. With --sample it also maps the
lines of a log, and says what of CONF does not fit them.`,
		Example:           "  meterctl check-config -c fluent-bit.conf --sample app.log",
		Annotations:       looked("CONF has an error, or a line of the sample cannot be metered"),
		ValidArgsFunction: cobra.NoFileCompletions,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("want -c CONF and flags only, got %q", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error { return a.checkPipeline(file, sample, input, asJSON) },
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "`CONF`, a configuration of Fluent Bit, classic or YAML; it is read with the environment of this command")
	cmd.Flags().StringVar(&sample, "sample", "", "`FILE` with lines of the log, as they are")
	cmd.Flags().StringVar(&input, "input", "", "the input that reads such lines: its `NAME` such as tail.0, its alias, or its number from 0")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// foundInConfig is a finding, in JSON.
type foundInConfig struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Severity string `json:"severity"`
	Key      string `json:"key"`
	Text     string `json:"text"`
}

func inJSON(f pipeline.Finding) foundInConfig {
	severity := "warning"
	if f.Error {
		severity = "error"
	}
	return foundInConfig{f.File, f.Line, severity, f.Key, f.Text}
}

// checkedConfig is what check-config finds, in JSON.
type checkedConfig struct {
	Outputs  int              `json:"outputs"`
	Errors   int              `json:"errors"`
	Warnings int              `json:"warnings"`
	Findings []foundInConfig  `json:"findings"`
	Unread   string           `json:"unread,omitempty"` // why Fluent Bit does not read the file
	Samples  []*sample.Became `json:"samples,omitempty"`
}

func (a *app) checkPipeline(file, sample, input string, asJSON bool) error {
	if file != "" {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("want -c with a configuration that can be read: %w", err)
		}
	}
	p, err := readPipeline(file)
	said := checkedConfig{Findings: []foundInConfig{}}
	if file != "" && err != nil { // what Fluent Bit does not read either
		if said.Unread, said.Errors = err.Error(), 1; asJSON {
			return errors.Join(show.JSON(a.out, said), errProblems)
		}
		fmt.Fprintf(a.out, "%v\n1 error, 0 warnings: Fluent Bit does not start with this\n", err)
		return errProblems
	}
	if err != nil {
		return err
	}
	findings := preflight.All(p)
	said.Outputs = len(p.Mine())
	for _, f := range findings {
		said.Findings = append(said.Findings, inJSON(f))
		if f.Error {
			said.Errors++
		}
	}
	said.Warnings = len(findings) - said.Errors
	out := io.Writer(a.out)
	if asJSON {
		out = io.Discard
	}
	for _, f := range findings {
		fmt.Fprintln(out, f)
	}
	fmt.Fprintf(out, "%s: %s, %s\n", show.Number(said.Outputs, "output"), show.Number(said.Errors, "error"), show.Number(said.Warnings, "warning"))
	failed := said.Errors > 0
	if sample != "" {
		for _, section := range p.Mine() {
			r, err := tryOn(out, p, section, input, sample)
			if err != nil && !errors.Is(err, errProblems) {
				return err
			}
			failed = failed || err != nil
			if r != nil {
				said.Samples = append(said.Samples, r.Became(section))
			}
		}
	}
	if asJSON {
		err = show.JSON(a.out, said)
	}
	if failed {
		return errors.Join(err, errProblems)
	}
	return err
}

// tryOn maps a sample as an output would, and says all but the meter records.
func tryOn(out io.Writer, p *pipeline.Pipeline, section *pipeline.Section, input, name string) (*sample.Run, error) {
	config, _ := plugin.Check(section.Get)
	if config.Rules == nil {
		return nil, errProblems // which is said already
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("want a file of samples: %w", err)
	}
	defer f.Close()
	s, err := sample.NewReader(p, section, input)
	if err != nil {
		return nil, err
	}
	s.SetName(name)
	fmt.Fprintf(out, "%s on %s:\n", section.ID, name)
	r := sample.New(config.Rules, s, io.Discard, out)
	r.TellWhatIsNotApplied(p, section)
	if err := r.Read(f, sample.Options{At: time.Now()}); err != nil {
		return nil, err
	}
	failed, err := r.End(section)
	err = errors.Join(err, r.Sum())
	if r.Verdict(failed) {
		err = errors.Join(err, errProblems)
	}
	return r, err
}
