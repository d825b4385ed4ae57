package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"out_amberflo/cmd/meterctl/pipeline"
	"out_amberflo/cmd/meterctl/preflight"
	"out_amberflo/plugin"
)

// ofObjects are the options that say what objects are.
var ofObjects = []string{"s3_key_format", "format", "compression", "compression_level", "total_file_size", "max_records"}

// choose reads a configuration and chooses one of its outputs of amberflo.
func choose(file, choice string) (*pipeline.Pipeline, *pipeline.Section, error) {
	p, err := readPipeline(file)
	if err != nil {
		return nil, nil, err
	}
	out, err := p.Choose(choice)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return p, out, nil
}

func readPipeline(file string) (*pipeline.Pipeline, error) {
	if file == "" {
		return nil, errors.New("want -c CONF with a configuration of Fluent Bit, got none")
	}
	p, err := pipeline.Read(file)
	var at *fs.PathError
	if errors.As(err, &at) && at.Path == file {
		return nil, fmt.Errorf("want -c CONF with a configuration of Fluent Bit: %w", err)
	}
	return p, err
}

// load reads the chosen output of a configuration and checks it. The error names every mistake in the mapping and in the
// options in needs, and variables in them that are not set; what else is wrong with the output is written to notes.
func load(file, choice string, needs []string, notes io.Writer) (*pipeline.Section, *plugin.Config, error) {
	p, out, err := choose(file, choice)
	if err != nil {
		return nil, nil, err
	}
	_, ofMapping := plugin.Keys()
	needed := slices.Concat(needs, ofMapping)
	config, mistakes := plugin.Check(out.Get)
	doubtful := map[string]bool{}
	for _, m := range mistakes {
		doubtful[m.Key] = true
	}
	for _, u := range p.Unset {
		doubtful[u.Key] = doubtful[u.Key] || u.Section == out
	}
	var errs []error
	for _, f := range preflight.Output(p, out) {
		switch {
		case f.Section != out:
		case f.Error && doubtful[f.Key] && slices.Contains(needed, f.Key):
			errs = append(errs, fmt.Errorf("%s: %s: %s", f.Place, f.Key, f.Text))
		default:
			fmt.Fprintln(notes, f)
		}
	}
	return out, config, errors.Join(errs...)
}
