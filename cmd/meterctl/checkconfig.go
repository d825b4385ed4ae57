package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"out_amberflo/cmd/meterctl/pipeline"
	"out_amberflo/cmd/meterctl/preflight"
	"out_amberflo/plugin"
)

// checkConfig looks at a whole pipeline: for every output of amberflo, what would lose, double or misbill records.
func checkConfig(out io.Writer, args []string) error {
	flags := flag.NewFlagSet("check-config", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.String("c", "", "")
	sample := flags.String("sample", "", "")
	input := flags.String("input", "", "")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("check-config: %w; it takes -c, -sample and -input", err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("check-config: want -c CONF and nothing after it, got %q", flags.Args())
	}
	if *file != "" {
		if _, err := os.Stat(*file); err != nil {
			return fmt.Errorf("check-config: want -c with a configuration that can be read: %w", err)
		}
	}
	p, err := readPipeline(*file)
	if *file != "" && err != nil { // what Fluent Bit does not read either
		fmt.Fprintf(out, "%v\n1 error, 0 warnings: Fluent Bit does not start with this\n", err)
		return errProblems
	}
	if err != nil {
		return fmt.Errorf("check-config: %w", err)
	}
	findings := preflight.All(p)
	errs := 0
	for _, f := range findings {
		fmt.Fprintln(out, f)
		if f.Error {
			errs++
		}
	}
	fmt.Fprintf(out, "%s: %s, %s\n", number(len(p.Mine()), "output"), number(errs, "error"), number(len(findings)-errs, "warning"))
	if *sample != "" {
		for _, section := range p.Mine() {
			err := tryOn(out, p, section, *input, *sample)
			if err != nil && !errors.Is(err, errProblems) {
				return fmt.Errorf("check-config: %w", err)
			}
			if err != nil {
				errs++
			}
		}
	}
	if errs > 0 {
		return errProblems
	}
	return nil
}

// tryOn maps a sample as an output would, and says all but the meter records.
func tryOn(out io.Writer, p *pipeline.Pipeline, section *pipeline.Section, input, sample string) error {
	config, _ := plugin.Check(section.Get)
	if config.Rules == nil {
		return errProblems // which is said already
	}
	f, err := os.Open(sample)
	if err != nil {
		return fmt.Errorf("want a file of samples: %w", err)
	}
	defer f.Close()
	s, err := newSampler(p, section, input)
	if err != nil {
		return err
	}
	s.setName(sample)
	fmt.Fprintf(out, "%s on %s:\n", section.ID, sample)
	r := newMapRun(config.Rules, s, io.Discard, out)
	r.tellWhatIsNotApplied(p, section)
	if err := r.lines(f, &mapFlags{at: time.Now()}); err != nil {
		return err
	}
	failed := r.tellDoubts(section)
	return errors.Join(r.sum(), r.verdict(failed))
}
