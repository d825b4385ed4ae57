package look

import (
	"fmt"
	"strings"
	"time"

	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/cmd/meterctl/store"
	"out_amberflo/plugin"
)

// output is what an output has said of itself, and what that comes to a second.
type output struct {
	store.Output
	Average *average `json:"average"` // null in its first moment
}

// average is what an output did a second since its start.
type average struct {
	Seconds         float64 `json:"seconds"`
	AcceptedRecords float64 `json:"accepted_records_per_second"`
	SkippedRecords  float64 `json:"skipped_records_per_second"`
	RejectedRecords float64 `json:"rejected_records_per_second"`
	UploadedObjects float64 `json:"uploaded_objects_per_second"`
	UploadedBytes   float64 `json:"uploaded_bytes_per_second"`
}

// Names of Metrics.
const (
	accepted = "accepted_records_total"
	ignored  = "ignored_records_total"
	rejected = "rejected_records_total"
)

// count adds up the values of a counter.
func (o *output) count(name string) (sum float64) {
	for series, v := range o.Counters {
		if series == name || strings.HasPrefix(series, name+"{") {
			sum += v
		}
	}
	return sum
}

// outputs notes what the outputs have said of themselves.
func (s *Status) outputs(dir string) {
	s.Outputs = []*output{}
	for _, is := range store.Outputs(dir) {
		o := &output{Output: is}
		s.Outputs = append(s.Outputs, o)
		if seconds := o.Until().Sub(o.Started).Seconds(); seconds >= 1 {
			o.Average = &average{seconds, o.count(accepted) / seconds, o.count(ignored) / seconds, o.count(rejected) / seconds,
				o.count("uploaded_objects_total") / seconds, o.count("uploaded_bytes_total") / seconds}
		}
		if s.Skipped == nil {
			s.Skipped = new(int)
		}
		*s.Skipped += int(o.count(ignored))
		if at := o.LastUpload; at != nil && (s.LastUpload == nil || at.After(*s.LastUpload)) {
			s.LastUpload = at
		}
		// Outputs that share a spool share its failures: what runs knows how they go on.
		if f := o.LastFailure; f != nil && (s.LastFailure == nil || o.Runs && !s.failing.Runs || o.Runs == s.failing.Runs && o.Written.After(s.failing.Written)) {
			s.LastFailure, s.failing = f, o
		}
	}
}

// skippedSince is how many records were skipped since another look, by outputs that ran at both.
func (s *Status) skippedSince(before *glance) (records float64, known bool) {
	for _, o := range s.Outputs {
		if was, ran := before.skipped[o.id()]; ran {
			records, known = records+o.count(ignored)-was, true
		}
	}
	return records, known
}

// id is of one run of an output.
func (o *output) id() string {
	return fmt.Sprintf("%s %d %d", o.Output.Output, o.PID, o.Started.UnixNano())
}

// lastsNow is a failure that lasts, of an output that runs.
func (s *Status) lastsNow() *plugin.UploadFailure {
	if f := s.LastFailure; f != nil && s.failing.Runs && f.Ended == nil {
		return f
	}
	return nil
}

// failure is the last one in words.
func (s *Status) failure() string {
	f := s.LastFailure
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s", show.Cut(f.Kind, 40), show.Ago(f.Time))
	if f.Failures > 1 {
		fmt.Fprintf(&b, ", %s in a row", show.Count(f.Failures))
	}
	if f.Key != "" {
		fmt.Fprintf(&b, ", of one object (%s), others go on", show.Cut(f.Key, 120))
	}
	switch left := time.Until(f.Next); {
	case f.Ended != nil:
		fmt.Fprintf(&b, "; over since %s", show.Ago(*f.Ended))
	case !s.failing.Runs:
		b.WriteString("; it lasted when the process ended")
	case left > 0:
		fmt.Fprintf(&b, "; next attempt in %s", show.Duration(left))
	default:
		b.WriteString("; the next attempt is due")
	}
	fmt.Fprintf(&b, ": %s", show.Cut(f.Error, 500))
	return b.String()
}

// lines are an output in words.
func (o *output) lines() (list []string) {
	is := fmt.Sprintf("%s, process %d, started %s", show.Cut(o.Version, 40), o.PID, show.Ago(o.Started))
	switch {
	case o.Runs:
		is = "runs: " + is + "; last change " + show.Ago(o.Written)
	case o.Stopped:
		is = "has stopped " + show.Ago(o.Written) + ": " + is
	default:
		is = "its process has ended without a shutdown; this is from " + show.Ago(o.Written) + ": " + is
	}
	rate := func(of func(*average) float64) string {
		if o.Average == nil {
			return ""
		}
		return fmt.Sprintf(" (%.1f/s)", of(o.Average))
	}
	return []string{is, fmt.Sprintf("records since the start: %s accepted%s, %s skipped by only_if or unmatched%s, %s rejected",
		show.Count(int(o.count(accepted))), rate(func(a *average) float64 { return a.AcceptedRecords }),
		show.Count(int(o.count(ignored))), rate(func(a *average) float64 { return a.SkippedRecords }), show.Count(int(o.count(rejected))))}
}
