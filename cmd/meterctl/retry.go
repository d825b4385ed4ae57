package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"out_amberflo/cmd/meterctl/preflight"
	"out_amberflo/plugin"
	"out_amberflo/plugin/repair"
)

// retryRejected maps what was set aside by the present configuration, and has delivered what now maps. It works in
// storeDir, or in the configuration's if that is empty.
func retryRejected(out, notes io.Writer, storeDir string, args []string) error {
	flags := flag.NewFlagSet("retry-rejected", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.String("c", "", "")
	choice := flags.String("output", "", "")
	from := flags.String("from", "", "")
	since := ""
	flags.Func("since", "", func(v string) error {
		_, err := time.Parse(time.DateOnly, v)
		since = v
		return err
	})
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("retry-rejected: %w; it takes -c, -output, -from and -since", err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("retry-rejected: want no arguments beside its flags, got %q", flags.Args())
	}
	needs := slices.Clone(ofObjects)
	if storeDir == "" {
		needs = append(needs, "store_dir")
	}
	if *from == "" {
		needs = append(needs, "match", "match_regex", "alias")
	}
	s, config, err := load(*file, *choice, needs, notes)
	if err != nil {
		return err
	}

	r := &retry{mapping: newMapping(config.Rules), done: map[string]bool{}, others: map[string]int{}, from: *from,
		name: cmp.Or(s.Get("alias"), s.ID), match: s.Get("match")}
	if pattern := s.Get("match_regex"); pattern != "" {
		if r.matchRegex, err = preflight.TagRegex(pattern); err != nil {
			return fmt.Errorf("%s: match_regex: want one that this command can read too, got %w; name the output with -from", s.PlaceOf("match_regex"), err)
		}
	} else if r.match == "" {
		r.match = "*" // as Fluent Bit does where there is one input and one output
	}
	config.StoreDir = cmp.Or(storeDir, config.StoreDir)
	objects, err := repair.Retry(config.Spool(), since, r.again)
	kept := ""
	for _, name := range slices.Sorted(maps.Keys(r.others)) {
		kept += fmt.Sprintf("; %d that %s rejected are left: -from %s takes them", r.others[name], name, name)
	}
	if r.unmatched > 0 {
		kept += fmt.Sprintf("; %d with a tag that the output does not match are left: -from %s takes them", r.unmatched, r.name)
	}
	if r.ignored > 0 {
		kept += fmt.Sprintf("; %d that unmatched ignore passes over are left", r.ignored)
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

type retry struct {
	*mapping
	name       string // of the output, as it calls itself
	match      string
	matchRegex *regexp.Regexp  // may be nil
	from       string          // if set, the output whose rejects are taken, whatever their tag
	done       map[string]bool // ids of earlier versions that map now
	others     map[string]int  // rejects by the outputs that they are of

	lines, records, unmatched, ignored, unreadable int
}

// again maps one line of rejected/.
func (r *retry) again(line []byte) (records []byte, keep bool) {
	var what plugin.Reject
	if err := json.Unmarshal(line, &what); err != nil || what.ID == "" || what.Output == "" {
		r.unreadable++
		return nil, true
	}
	// Under another output's mapping the bill would be wrong: outputs without alias have the name of their place, which changes
	// when others come and go.
	if what.Output != cmp.Or(r.from, r.name) {
		r.others[what.Output]++
		return nil, true
	}
	tag := what.Tag
	if what.TagBytes != nil {
		tag = string(what.TagBytes)
	}
	if r.from == "" && !matches(r.match, tag) && (r.matchRegex == nil || r.matchRegex.FindString(tag) == "") {
		r.unmatched++
		return nil, true
	}
	// An earlier version could set aside the rejects of a chunk that came again twice, under one id; no other id stands twice.
	former := !strings.Contains(what.ID, "-r")
	if former && r.done[what.ID] {
		return nil, false
	}
	r.lines++
	// The ids are the same whenever the line is mapped, so that no crash makes Amberflo count twice.
	r.mapper.StartIDs(what.ID+"-", 0)
	r.mapper.StartClock(time.Now())
	refusal, err := r.run(tag, what.Chunk)
	if err != nil {
		r.lines--
		r.unreadable++
		return nil, true
	}
	if refusal != nil {
		return nil, true
	}
	if len(r.mapping.lines) == 0 { // unmatched ignore passes it over: that bills nothing, and is no reason to delete it
		r.ignored++
		return nil, true
	}
	if former {
		r.done[what.ID] = true
	}
	r.records += bytes.Count(r.mapping.lines, []byte{'\n'})
	return r.mapping.lines, false
}

// matches tells if a tag matches a pattern as Fluent Bit has it (flb_router.c): * stands for any text, also an empty one.
func matches(pattern, tag string) bool {
	first, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == tag
	}
	tag, ok := strings.CutPrefix(tag, first)
	for ; ok; tag = tag[1:] {
		if matches(rest, tag) {
			return true
		}
		if tag == "" {
			break
		}
	}
	return false
}
