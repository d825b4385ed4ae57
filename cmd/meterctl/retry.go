package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"out_amberflo/plugin"
	"out_amberflo/plugin/meter"
	"out_amberflo/plugin/spool"
)

// reject is what of a line of rejected/ it takes to map its record again.
type reject struct {
	ID     string
	Output string
	Tag    string
	Chunk  []byte // the event as it came, behind the start of its group
}

// retryRejected maps what was set aside by the present configuration, and has delivered what now maps. It works in
// storeDir, or in the configuration's if that is empty.
func retryRejected(out, notes io.Writer, storeDir string, args []string) error {
	flags := flag.NewFlagSet("retry-rejected", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.String("c", "", "")
	choice := flags.String("output", "", "")
	since := ""
	flags.Func("since", "", func(v string) error {
		_, err := time.Parse(time.DateOnly, v)
		since = v
		return err
	})
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("retry-rejected: %w; it takes -c, -output and -since", err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("retry-rejected: want no arguments beside its flags, got %q", flags.Args())
	}
	conf, s, config, err := load(*file, *choice, true, notes)
	if err != nil {
		return err
	}

	r := &retry{mapping: newMapping(config.Rules), done: map[string]bool{}, names: []string{s.name, cmp.Or(s.get("alias"), s.name)}, shared: sharesSpool(conf, s, config)}
	config.StoreDir = cmp.Or(storeDir, config.StoreDir)
	objects, err := spool.Retry(config.Spool(), since, r.again)
	kept := ""
	if r.others > 0 {
		kept = fmt.Sprintf("; %d of other outputs are left: see -output", r.others)
	}
	if r.unreadable > 0 {
		kept += fmt.Sprintf("; %d lines cannot be read and are left", r.unreadable)
	}
	fmt.Fprintf(out, "%d rejected records: %d meter records in %d objects are on their way%s%s\n", r.lines, r.records, objects, r.summary(), kept)
	if err != nil {
		return fmt.Errorf("%w; what is on its way has ids of its own, so that the same command may be given again", err)
	}
	if len(r.refused)+r.unreadable > 0 {
		return errProblems
	}
	return nil
}

// sharesSpool tells if another output of the configuration has the same store_dir: then rejected/ holds
// records of both.
func sharesSpool(conf *configuration, s *section, config *plugin.Config) bool {
	for _, other := range conf.outputs {
		if c, _ := plugin.Check(other.get); other != s && c.StoreDir == config.StoreDir {
			return true
		}
	}
	return false
}

type retry struct {
	*mapping
	names  []string        // of the output, as it may call itself
	shared bool            // only records of that output count
	done   map[string]bool // ids that map now

	lines, records, others, unreadable int
}

// again maps one line of rejected/.
func (r *retry) again(line []byte) (records []byte, keep bool) {
	var what reject
	if err := json.Unmarshal(line, &what); err != nil || what.ID == "" {
		r.unreadable++
		return nil, true
	}
	if r.shared && !slices.Contains(r.names, what.Output) {
		r.others++
		return nil, true
	}
	if r.done[what.ID] {
		return nil, false // a flush that came again had it set aside twice
	}
	r.lines++
	refusal, err := r.run(what.Tag, what.Chunk)
	if err != nil {
		r.lines--
		r.unreadable++
		return nil, true
	}
	if refusal != nil {
		return nil, true
	}
	r.done[what.ID] = true
	r.mapping.lines = withIDs(r.mapping.lines, what.ID)
	r.records += bytes.Count(r.mapping.lines, []byte{'\n'})
	return r.mapping.lines, false
}

// withIDs puts ids made of id where ids are to be generated: id itself in a single record, id-1, id-2, …
// in several. They are the same whenever the line is mapped, so that no crash makes Amberflo count twice.
func withIDs(lines []byte, id string) []byte {
	several := bytes.Count(lines, []byte{'\n'}) > 1
	var out []byte
	k := 0
	for line := range bytes.Lines(lines) {
		k++
		own := id
		if several {
			own += "-" + strconv.Itoa(k)
		}
		out = append(out, bytes.ReplaceAll(line, []byte(meter.GeneratedID), []byte(own))...)
	}
	return out
}
