package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"out_amberflo/cmd/meterctl/pipeline"
	"out_amberflo/cmd/meterctl/preflight"
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
		return fmt.Errorf("check-config: want -c CONF and nothing behind it, got %q", flags.Args())
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
	if *sample != "" {
		for _, section := range p.Mine() {
			more, err := surveyed(p, section, *input, *sample)
			if err != nil {
				return fmt.Errorf("check-config: %w", err)
			}
			findings = append(findings, more...)
		}
	}
	errs := 0
	for _, f := range findings {
		fmt.Fprintln(out, f)
		if f.Error {
			errs++
		}
	}
	fmt.Fprintf(out, "%s: %s, %s\n", number(len(p.Mine()), "output"), number(errs, "error"), number(len(findings)-errs, "warning"))
	if errs > 0 {
		return errProblems
	}
	return nil
}

// surveyed compares the mapping of an output with the records of a sample.
func surveyed(p *pipeline.Pipeline, section *pipeline.Section, input, sample string) ([]pipeline.Finding, error) {
	f, err := os.Open(sample)
	if err != nil {
		return nil, fmt.Errorf("want a file of samples: %w", err)
	}
	defer f.Close()
	s, err := newSampler(p, section, input)
	if err != nil {
		return nil, err
	}
	s.setName(sample)
	survey := preflight.NewSurvey(section)
	lines := bufio.NewReaderSize(f, 1<<20)
	var findings []pipeline.Finding
	for number, end := 1, false; !end; number++ {
		line, err := lines.ReadString('\n')
		if end = errors.Is(err, io.EOF); err != nil && !end {
			return nil, err
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		record, _, note, err := s.read([]byte(line))
		if err != nil {
			note = err.Error()
		}
		if note != "" {
			findings = append(findings, pipeline.Finding{Place: pipeline.Place{File: sample, Line: number}, Error: err != nil, Section: section, Key: "sample", Text: note})
			if err != nil {
				continue
			}
		}
		survey.Look(keysOf(record))
	}
	if s.failed > 0 && s.parsed == 0 {
		findings = append(findings, pipeline.Finding{Place: s.input.PlaceOf("parser"), Error: true, Section: s.input, Key: "parser",
			Text: fmt.Sprintf("want a parser that matches the lines, got %q, which matches none of the samples", s.parser.Name)})
	}
	return append(findings, survey.Findings(false)...), nil
}
