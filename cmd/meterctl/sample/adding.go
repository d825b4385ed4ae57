package sample

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"out_amberflo/cmd/meterctl/pipeline"
	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/plugin/chunk"
	"out_amberflo/plugin/meter"
	"out_amberflo/plugin/tally"
)

// adding adds the records of a sample up as the flushes and the seal of one object would.
type adding struct {
	mapper *meter.Mapper
	merger *tally.Merger
	bucket time.Duration
	lines  []byte
	inHand int // sample events since the last sums

	events  int       // that came out
	records int       // that went in
	values  []*values // of each dimension, and of the customers
}

// values are the different values of one dimension.
type values struct {
	name string
	seen map[string]bool
}

const (
	flushEvery  = 10_000 // events of a sample, where the flush of a chunk would end
	mostValues  = 10_000
	leastSample = 100 // records: of fewer nobody can say what adding up does
)

// newAdding returns nil where nothing is added up.
func newAdding(rules *meter.Rules, out io.Writer) *adding {
	_, bucket := rules.Aggregate()
	if bucket == 0 {
		return nil
	}
	s := &adding{mapper: rules.NewAdder(), bucket: bucket}
	s.mapper.StartIDs("<uuid>-", 0)
	s.merger = tally.NewMerger([16]byte{}, func(line []byte, _ int64) error {
		s.events++
		_, err := out.Write(line)
		return err
	})
	return s
}

// add takes an event of the sample.
func (s *adding) add(tag string, ev *chunk.Event) error {
	var records int
	s.lines, records, _ = s.mapper.Append(s.lines[:0], tag, ev)
	s.records += records
	if err := s.merger.Add(s.bucket, s.lines); err != nil {
		return err
	}
	if s.inHand++; s.inHand < flushEvery {
		return nil
	}
	return s.flush()
}

// flush ends a chunk.
func (s *adding) flush() error {
	s.inHand = 0
	s.lines, _ = s.mapper.AppendSums(s.lines[:0])
	for line := range bytes.Lines(s.lines) {
		s.look(line)
	}
	return s.merger.Add(s.bucket, s.lines)
}

func (s *adding) end() error {
	if err := s.flush(); err != nil {
		return err
	}
	return s.merger.End()
}

// look notes the values that keep records apart.
func (s *adding) look(line []byte) {
	customer, _, dimensions, _, _ := tally.Key(line)
	s.value("the customer", customer)
	for name, value := range tally.Dimensions(dimensions) {
		s.value("the dimension "+show.Plain(strings.Trim(string(name), `"`)), value)
	}
}

func (s *adding) value(name string, value []byte) {
	for _, v := range s.values {
		if v.name == name {
			if len(v.seen) < mostValues {
				v.seen[string(value)] = true
			}
			return
		}
	}
	s.values = append(s.values, &values{name, map[string]bool{string(value): true}})
}

// passedBecause says why a record of a meter that aggregate names is not added up.
var passedBecause = map[string]string{
	meter.PassedOwnID:     "an id of its own",
	meter.PassedDimension: "a dimension whose name begins with aflo.",
	meter.PassedValue:     "a value of more than 15 digits",
}

// passed counts the records that were not added up, by reason.
func (s *adding) passed() map[string]int {
	by := map[string]int{}
	for i, n := range s.mapper.Passed() {
		if n > 0 {
			by[meter.PassReasons[i]] = n
		}
	}
	return by
}

// tell says what was not added up, and where adding up does little.
func (s *adding) tell(notes io.Writer, section *pipeline.Section) {
	passed := s.passed()
	for _, reason := range meter.PassReasons {
		if n := passed[reason]; n > 0 {
			fmt.Fprintf(notes, "%s not added up: %s\n", show.Number(n, "record", " has "+passedBecause[reason]+" and is", " have "+passedBecause[reason]+" and are"), reason)
		}
	}
	if s.records < leastSample || 2*s.events <= s.records {
		return
	}
	text := fmt.Sprintf("want records that have much in common, got %s of %s: adding up does little here, and without aggregate it costs less", show.Number(s.events, "event"), show.Number(s.records, "record"))
	if most := s.most(); most != nil && len(most.seen) > 1 {
		text += fmt.Sprintf("; %s has most values, %d: leave out a dimension that keeps records apart, or make aggregate_bucket wider", most.name, len(most.seen))
	}
	fmt.Fprintln(notes, pipeline.Finding{Place: section.PlaceOf("aggregate"), Key: "aggregate", Text: text})
}

func (s *adding) most() (most *values) {
	for _, v := range s.values {
		if most == nil || len(v.seen) > len(most.seen) {
			most = v
		}
	}
	return most
}
