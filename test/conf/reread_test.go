package conf

import (
	"bytes"
	"math/big"
	"os"
	"strconv"
	"testing"
	"time"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/amberflo"
)

// The log has each line twice, far from each other: both count. It is read in two parts, with a restart of Fluent Bit between
// them, and then once more from its beginning, because the tail input's DB is gone: every line has the id and the time that
// it had.
func TestALogThatIsReadTwiceIsBilledOnce(t *testing.T) {
	fluentBit(t)
	t.Parallel()
	s := newSite(t)
	var log bytes.Buffer
	truth, err := accesslog.WriteLines(&log, accesslog.Options{Lines: 1000, Seed: 7, Odd: 0.1, Start: time.Now(), Meter: "BytesOut", MeterTime: true})
	if err != nil {
		t.Fatal(err)
	}
	var want []amberflo.Line
	for _, line := range truth.Bill {
		usage, ok := new(big.Rat).SetString(line.Usage)
		if !ok {
			t.Fatalf("usage %q", line.Usage)
		}
		events := 2 * line.Events
		want = append(want, amberflo.Line{Customer: line.Customer, Meter: "ApiCalls", Events: events, Usage: strconv.Itoa(events)},
			amberflo.Line{Customer: line.Customer, Meter: line.Meter, Events: events, Usage: amberflo.Decimal(usage.Add(usage, usage))})
	}

	const conf = "access-log-ids.conf"
	records := 2 * truth.Metered // of one reading of log
	s.write("input.log", log.String())
	s.viaFluentBit(conf, records, nil)
	s.append("input.log", log.Bytes())
	s.viaFluentBit(conf, 2*records, nil)
	if err := os.Remove(s.path("state/tail.db")); err != nil {
		t.Fatal(err)
	}
	s.viaFluentBit(conf, 4*records, nil)

	bill := s.bill()
	for _, diff := range amberflo.Diff(want, bill.Lines) {
		t.Errorf("bill: %s", diff)
	}
	if bill.Billed != 2*records || bill.Duplicates != 2*records || bill.Refused+bill.WithoutID != 0 {
		t.Errorf("want %d records billed, as many duplicates and nothing else, got %d billed, %d duplicates, %d refused, %d without id",
			2*records, bill.Billed, bill.Duplicates, bill.Refused, bill.WithoutID)
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
