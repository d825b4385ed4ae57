package conf

import (
	"bytes"
	"fmt"
	"math/big"
	"os"
	"strconv"
	"testing"
	"time"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/amberflo"
	"out_amberflo/test/fluentbit"
)

// The log has each line twice, far from each other: both count. It is read in two parts, with a restart of Fluent Bit between
// them, and then once more from its beginning, because the tail input's DB is gone: every line has the id and the time that
// it had.
func TestALogThatIsReadTwiceIsBilledOnce(t *testing.T) {
	fluentbit.Needed(t)
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

// Files that something fetches: one that is fetched twice is billed once, and a new one is read although the disk gave it
// the number of one that was removed.
func TestFetchedFilesAreBilledOnceEach(t *testing.T) {
	fluentbit.Needed(t)
	t.Parallel()
	s := newSite(t)
	s.env = append(s.env, "AMBERFLO_LOG_PATH="+s.path("fetched-*.log"))
	const conf, line = "alb.conf", `http 2026-11-20T10:00:%02d.000000Z app/api/50dc6c495c0c9188 192.0.2.10:46532 10.0.0.1:80 0.001 0.024 0.000 200 200 34 366 ` +
		`"GET http://%s.example.com:80/ HTTP/1.1" "-" - - arn:aws:elasticloadbalancing:us-west-2:123456789012:targetgroup/api/73e2d6bc24d8a067 "-" "-" "-" 0 ` +
		`2026-11-20T10:00:00.000000Z "forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_1` + "\n"
	requests := func(customer string, n int) (log string) {
		for i := range n {
			log += fmt.Sprintf(line, i, customer)
		}
		return log
	}
	const perLine = 4 // meters
	s.write("fetched-1.log", requests("acme", 5))
	s.viaFluentBit(conf, 5*perLine, nil)

	s.write("again", requests("acme", 5))
	if err := os.Rename(s.path("again"), s.path("fetched-1.log")); err != nil {
		t.Fatal(err)
	}
	s.viaFluentBit(conf, 10*perLine, nil)

	if err := os.Rename(s.path("fetched-1.log"), s.path("fetched-2.log")); err != nil {
		t.Fatal(err)
	}
	s.write("fetched-2.log", requests("globex", 9)) // in the same inode
	s.viaFluentBit(conf, 19*perLine, nil)

	bill := s.bill()
	want := []amberflo.Line{
		{Customer: "acme.example.com", Meter: "ApiCalls", Events: 5, Usage: "5"}, {Customer: "acme.example.com", Meter: "BytesIn", Events: 5, Usage: "170"},
		{Customer: "acme.example.com", Meter: "BytesOut", Events: 5, Usage: "1830"}, {Customer: "acme.example.com", Meter: "TargetSeconds", Events: 5, Usage: "0.12"},
		{Customer: "globex.example.com", Meter: "ApiCalls", Events: 9, Usage: "9"}, {Customer: "globex.example.com", Meter: "BytesIn", Events: 9, Usage: "306"},
		{Customer: "globex.example.com", Meter: "BytesOut", Events: 9, Usage: "3294"}, {Customer: "globex.example.com", Meter: "TargetSeconds", Events: 9, Usage: "0.216"},
	}
	for _, diff := range amberflo.Diff(want, bill.Lines) {
		t.Errorf("bill: %s", diff)
	}
	if bill.Duplicates != 5*perLine {
		t.Errorf("%d duplicates, want %d: the file that was fetched twice", bill.Duplicates, 5*perLine)
	}
}
