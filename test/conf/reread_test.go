package conf

import (
	"bytes"
	"os"
	"strconv"
	"testing"
	"time"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/amberflo"
)

// The log is read in two parts, with a restart of Fluent Bit between them, and then once more from its beginning, because
// the tail input's DB is gone: every line has the id and the time that it had.
func TestALogThatIsReadTwiceIsBilledOnce(t *testing.T) {
	fluentBit(t)
	t.Parallel()
	s := newSite(t)
	var log bytes.Buffer
	truth, err := accesslog.WriteLines(&log, accesslog.Options{Lines: 2000, Seed: 7, Odd: 0.1, Start: time.Now(), Meter: "BytesOut", MeterTime: true})
	if err != nil {
		t.Fatal(err)
	}
	want := make([]amberflo.Line, 0, 2*len(truth.Bill))
	for _, line := range truth.Bill {
		want = append(want, amberflo.Line{Customer: line.Customer, Meter: "ApiCalls", Events: line.Events, Usage: strconv.Itoa(line.Events)},
			amberflo.Line{Customer: line.Customer, Meter: line.Meter, Events: line.Events, Usage: line.Usage})
	}
	half := bytes.IndexByte(log.Bytes()[log.Len()/2:], '\n') + log.Len()/2 + 1
	lines := bytes.Count(log.Bytes()[:half], []byte("\n"))

	s.write("input.log", string(log.Bytes()[:half]))
	s.viaFluentBit("access-log-ids.conf", 2*lines, nil)
	s.append("input.log", log.Bytes()[half:])
	s.viaFluentBit("access-log-ids.conf", 2*truth.Metered, nil)
	if err := os.Remove(s.path("state/tail.db")); err != nil {
		t.Fatal(err)
	}
	s.viaFluentBit("access-log-ids.conf", 4*truth.Metered, nil)

	bill := s.bill()
	for _, diff := range amberflo.Diff(want, bill.Lines) {
		t.Errorf("bill: %s", diff)
	}
	if bill.Billed != 2*truth.Metered || bill.Duplicates != 2*truth.Metered || bill.Refused+bill.WithoutID != 0 {
		t.Errorf("want %d records billed, as many duplicates and nothing else, got %+v", 2*truth.Metered, bill)
	}
	if rejected := s.rejected(); len(rejected) != 0 {
		t.Errorf("rejected %q, want none", rejected)
	}
}

func (s *site) append(name string, content []byte) {
	s.t.Helper()
	file, err := os.OpenFile(s.path(name), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := file.Write(content); err != nil {
		s.t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		s.t.Fatal(err)
	}
}
