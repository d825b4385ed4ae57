package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"out_amberflo/cmd/meterctl/preflight"
	"out_amberflo/cmd/meterctl/sample"
	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/cmd/meterctl/store"
	"out_amberflo/plugin"
	"out_amberflo/plugin/repair"
)

// retryRejected maps what could not be metered by the present configuration, and has sent what now maps.
func (a *app) retryRejected() *cobra.Command {
	var at place
	o := &retryFlags{}
	cmd := &cobra.Command{
		Use: "retry-rejected [flags] -c CONF", Short: "map what is in rejected/ again, by CONF as it is now", GroupID: acts, DisableFlagsInUseLine: true,
		Long: `retry-rejected maps the records of rejected/ again, by CONF as it is now. What maps is sent, the rest stays. It takes what the
output has rejected and still matches by its tag, or with --from all that the output of that name has rejected. It applies the
mapping of the output, and neither parsers nor filters.`,
		Example:           "  meterctl retry-rejected -c fluent-bit.conf --dry-run\n  meterctl retry-rejected -c fluent-bit.conf --since 2026-11-20",
		Annotations:       exits("0  all was mapped, or left as the output lines say\n1  records were rejected again, or could not be read\n2  the command was not carried out, or not all of it"),
		ValidArgsFunction: cobra.NoFileCompletions,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("want no arguments beside its flags, got %q", args)
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error { return a.retry(&at, o) },
	}
	at.flags(cmd)
	cmd.Flags().StringVar(&o.from, "from", "", "take all that the output of that `NAME` rejected, whatever its tag")
	cmd.Flags().Func("since", "leave out the days before that `DAY`, YYYY-MM-DD", func(v string) error {
		if _, err := time.Parse(time.DateOnly, v); err != nil {
			return errors.New("want a day such as 2026-11-20")
		}
		o.since = v
		return nil
	})
	dryRunFlag(cmd, &o.dryRun)
	return cmd
}

type retryFlags struct {
	from, since string
	dryRun      bool
}

func (a *app) retry(where *place, o *retryFlags) error {
	needs := slices.Clone(ofObjects)
	if where.storeDir == "" {
		needs = append(needs, "store_dir")
	}
	if o.from == "" {
		needs = append(needs, "match", "match_regex", "alias")
	}
	s, config, err := load(where.conf, where.output, needs, a.notes)
	if err != nil {
		return err
	}
	r := &retry{Mapping: sample.NewMapping(config.Rules), done: map[string]bool{}, others: map[string]int{}, from: o.from,
		name: cmp.Or(s.Get("alias"), s.ID), match: s.Get("match")}
	if pattern := s.Get("match_regex"); pattern != "" {
		if r.matchRegex, err = preflight.TagRegex(pattern); err != nil {
			return fmt.Errorf("%s: match_regex: want one that this command can read too, got %w; name the output with --from", s.PlaceOf("match_regex"), err)
		}
	} else if r.match == "" {
		r.match = "*" // as Fluent Bit does where there is one input and one output
	}
	config.StoreDir = cmp.Or(where.storeDir, config.StoreDir)
	at := &spoolPlace{dir: config.StoreDir, config: config, section: s}
	files, err := at.files()
	if err != nil {
		return err
	}
	files = store.RejectsFrom(files, o.since)
	r.progress = a.progress("retry", store.SizeOf(files))
	defer r.progress.End()
	var objects int
	are := "are on their way"
	if o.dryRun {
		objects, err = r.tryAll(at, files)
		are = "would be sent"
	} else {
		objects, err = repair.Retry(config.Spool(), o.since, r.again)
	}
	r.progress.End()
	fmt.Fprintf(a.out, "%d rejected records: %d meter records in %d objects %s%s%s\n", r.lines, r.records, objects, are, r.Summary(), r.left())
	if o.dryRun {
		fmt.Fprintln(a.out, "dry run: nothing was changed")
	}
	if err != nil {
		return fmt.Errorf("%w; what is on its way has ids of its own, so that the same command may be given again", err)
	}
	if len(r.Rejected)+r.unreadable > 0 {
		return errProblems
	}
	return nil
}

// left is empty, or begins with a semicolon.
func (r *retry) left() (kept string) {
	for _, name := range slices.Sorted(maps.Keys(r.others)) {
		kept += fmt.Sprintf("; %d that %s rejected are left: --from %s takes them", r.others[name], name, name)
	}
	if r.unmatched > 0 {
		kept += fmt.Sprintf("; %d with a tag that the output does not match are left: --from %s takes them", r.unmatched, r.name)
	}
	if r.ignored > 0 {
		kept += fmt.Sprintf("; %d that unmatched ignore skips are left", r.ignored)
	}
	if r.unreadable > 0 {
		kept += fmt.Sprintf("; %d lines cannot be read and are left", r.unreadable)
	}
	return kept
}

// tryAll maps as a retry does, and throws the records away. It returns the number of objects that they would be.
func (r *retry) tryAll(at *spoolPlace, files []store.File) (objects int, err error) {
	c := at.config
	for _, f := range files {
		var size int64
		records := 0 // in the object at hand; 0: none is begun
		_, problems, _, err := store.Records(at.dir, f, func(line []byte) error {
			lines, _ := r.again(line)
			first := true
			for record := range bytes.Lines(lines) { // what one line gives is parted by max_records only
				if records == 0 || first && size >= c.TotalFileSize || c.MaxRecords > 0 && records >= c.MaxRecords {
					objects, size, records = objects+1, 0, 0
				}
				first = false
				size += int64(len(record))
				records++
			}
			return nil
		})
		if err != nil {
			return objects, err
		}
		r.unreadable += len(problems)
	}
	return objects, nil
}

type retry struct {
	*sample.Mapping
	name       string // of the output, as it calls itself
	match      string
	matchRegex *regexp.Regexp // may be nil
	from       string         // if set, the output whose rejects are taken, whatever their tag
	progress   *show.Progress
	done       map[string]bool // ids of earlier versions that map now
	others     map[string]int  // rejects by the outputs that they are of

	lines, records, unmatched, ignored, unreadable int
}

// again maps one line of rejected/.
func (r *retry) again(line []byte) (records []byte, keep bool) {
	r.progress.Add(int64(len(line)) + 1)
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
	// An earlier version could write the rejects of a chunk that came again twice, under one id; no other id stands twice.
	former := !strings.Contains(what.ID, "-r")
	if former && r.done[what.ID] {
		return nil, false
	}
	r.lines++
	// The ids are the same whenever the line is mapped, so that no crash makes Amberflo count twice.
	r.Mapper.StartIDs(what.ID+"-", 0)
	r.Mapper.StartClock(time.Now())
	reject, err := r.Run(tag, what.Chunk)
	if err != nil {
		r.lines--
		r.unreadable++
		return nil, true
	}
	if reject != nil {
		return nil, true
	}
	if len(r.Lines) == 0 { // unmatched ignore skips it: that bills nothing, and is no reason to delete it
		r.ignored++
		return nil, true
	}
	if former {
		r.done[what.ID] = true
	}
	r.records += bytes.Count(r.Lines, []byte{'\n'})
	return r.Lines, false
}

// matches tells if a tag matches a pattern as Fluent Bit has it (flb_router.c): * stands for any string, also an empty one.
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
