package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/gzip"

	"out_amberflo/cmd/meterctl/ledger"
	"out_amberflo/cmd/meterctl/store"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/sealing"
	"out_amberflo/plugin/spool"
)

// shownBill is a bill in JSON.
type shownBill struct {
	Rows, Totals []struct {
		Customer, Meter, Month, Day, Hour string
		Dimensions                        map[string]*string
		Events, Records                   int64
		Usage                             string
		Failed                            struct{ Usage string }
	}
	From map[string]struct{ Files, Records int }

	Rejected map[string]int
	Outside  int `json:"records_of_other_days"`
	Problems []store.Found
}

func billOf(t *testing.T, args ...string) (b shownBill, err error) {
	t.Helper()
	out, err := meterctl(t, append([]string{"bill", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &b); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return b, err
}

func (b *shownBill) lines() (list []string) {
	for _, r := range b.Rows {
		line := strings.Join([]string{r.Customer, r.Meter, r.Month, r.Day, r.Hour}, "/")
		for _, name := range slices.Sorted(maps.Keys(r.Dimensions)) {
			if r.Dimensions[name] != nil {
				line += " " + name + "=" + *r.Dimensions[name]
			} else {
				line += " no " + name
			}
		}
		line += fmt.Sprintf(": %d of %d: %s", r.Events, r.Records, r.Usage)
		if r.Failed.Usage != "" {
			line += " failed " + r.Failed.Usage
		}
		list = append(list, line)
	}
	return list
}

// metered is a spool whose every directory has records.
func metered(t *testing.T) (string, *spool.Spool) {
	t.Helper()
	dir := t.TempDir()
	s := spoolIn(t, dir)
	seal := func(lines ...string) {
		addLines(t, s, lines...)
		if err := errors.Join(s.Drain(t.Context()), s.Close()); err != nil {
			t.Fatal(err)
		}
		s = spoolIn(t, dir)
		s.KeepSent(true)
	}
	seal(lineOf("acme", "Calls", "0.1", noon, 1), lineOf("acme", "Calls", "1000", noon, 50))
	obj, err := s.Take(t.Context(), false)
	if err := errors.Join(err, s.Sent(obj), s.KeepFailed(obj, []byte("unknown meter"))); err != nil {
		t.Fatal(err)
	}
	seal(lineOf("acme", "Calls", "0.2", noon, 1))
	obj, err = s.Take(t.Context(), false)
	if err := errors.Join(err, s.Sent(obj)); err != nil {
		t.Fatal(err)
	}
	seal(lineOf("acme", "Calls", "7", noon, 3), lineOf("globex", "Bytes", "9007199254740993", noon+24*3600*1000, 1))
	addLines(t, s, lineOf("globex", "Bytes", "1e-3", noon, 1))
	reject(t, s)
	t.Cleanup(func() { _ = s.Close() })
	return dir, s
}

func spoolIn(t *testing.T, dir string) *spool.Spool {
	t.Helper()
	s, err := spool.Open(spool.Options{Dir: dir, Object: object.Options{Key: func(s object.Sealed) string { return "ingest/" + s.ID.String() + ".gz" }, GzipLevel: 6},
		MaxBytes: 1 << 20, MaxAge: time.Hour, Limit: 1 << 30, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func addLines(t *testing.T, s *spool.Spool, lines ...string) {
	t.Helper()
	tx, err := s.Begin(journal.Source{}, len(lines))
	if err != nil {
		t.Fatal(err)
	}
	tx.Append(append(tx.Lines(), strings.Join(lines, "")...), len(lines))
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func TestTheBillIsWhatLiesInTheSpool(t *testing.T) {
	dir, _ := metered(t)
	before := tree(t, dir)
	b, err := billOf(t, "--store-dir", dir)
	if want := []string{"acme/Calls///: 2 of 4: 7.2 failed 1000.1", "globex/Bytes///: 2 of 2: 9007199254740993.001"}; err != nil || !slices.Equal(b.lines(), want) {
		t.Errorf("got %v, %q", err, b.lines())
	}
	if len(b.Totals) != 2 || b.Totals[0].Usage != "9007199254740993.001" || b.Totals[1].Failed.Usage != "1000.1" {
		t.Errorf("the totals are %+v", b.Totals)
	}
	for directory, want := range map[string]int{"open": 1, "outbox": 4, "sent": 1, "failed": 51} {
		if got := b.From[directory]; got.Files != 1 || got.Records != want {
			t.Errorf("%s: got %+v, want %d records of a file", directory, got, want)
		}
	}
	if b.Rejected["no_customer"] != 1 || len(b.Problems) > 0 {
		t.Errorf("beside it: %v, %v", b.Rejected, b.Problems)
	}
	out, err := meterctl(t, "bill", "--store-dir", dir, "--until", "2026-11-20", "--by", "meter,customer,day")
	want := `METER  CUSTOMER  DAY (UTC)   EVENTS  RECORDS  USAGE  FAILED RECORDS  FAILED USAGE
Bytes  globex    2026-11-20       1        1  0.001               0             0
Calls  acme      2026-11-20       2        4    7.2              51       1,000.1

in the bill: open 1 records in 1 file, outbox 3 records in 1 file, sent 1 records in 1 file
not in it:   51 records that Amberflo did not take (failed/), 1 record of the log that could not be metered, of any time (rejected/: no_customer 1), 1 record of other days
`
	if err != nil || out != want {
		t.Errorf("got %v\n%s", err, out)
	}
	if after := tree(t, dir); after != before {
		t.Error("bill has changed the spool")
	}
}

// Neither what a seal makes nor what is mapped again is in the bill as long as what it is made of counts; then all of it is.
func TestWhatIsBeingMadeCountsOnceItsOriginIsGone(t *testing.T) {
	dir, s := metered(t)
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	rejected := inRejected(dir)[0]
	id := strings.TrimSuffix(filepath.Base(rejected), ".ndjson")
	object, _ := filepath.Glob(filepath.Join(dir, "sent/ingest/*"))
	content := map[string]string{}
	for _, file := range append(object, rejected) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		content[filepath.Base(file)] = string(b)
	}
	before, err := billOf(t, "--store-dir", dir)
	if err != nil || before.Rejected["no_customer"] != 1 || len(object) != 1 {
		t.Fatal(err, before, object)
	}
	put := func(file, content string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	fresh := uuid.Must(uuid.NewV7())
	for _, of := range []struct {
		origin sealing.Origin
		is     string
	}{{sealing.Origin(id), "open/" + id + ".log"}, {sealing.RemapOf + sealing.Origin(id), "rejected/" + sealing.RejectsFile(uuid.MustParse(id))},
		{sealing.RescueOf + sealing.Origin(id), "damaged/.rescue-" + id + "=outbox%2Fx.gz"}} {
		t.Run(string(of.origin), func(t *testing.T) {
			origin := filepath.Join(dir, of.is)
			if _, err := os.Stat(origin); err != nil {
				put(origin, "")
			}
			_, sum, _ := strings.Cut(filepath.Base(object[0]), "=")
			made := filepath.Join(dir, "sealing", sealing.Pending{From: of.origin, Dir: "outbox", File: "ingest/" + fresh.String() + ".gz=" + sum}.Name())
			rest := filepath.Join(dir, "sealing", sealing.Pending{From: of.origin, Dir: "rejected", File: sealing.RejectsFile(fresh)}.Name())
			put(made, content[filepath.Base(object[0])])
			put(rest, content[filepath.Base(rejected)])
			if b, err := billOf(t, "--store-dir", dir); err != nil || !slices.Equal(b.lines(), before.lines()) || b.Rejected["no_customer"] != 1 {
				t.Errorf("its origin is there: got %v, %v, %q", err, b.Rejected, b.lines())
			}
			if err := os.Remove(origin); err != nil {
				t.Fatal(err)
			}
			rejects := map[bool]int{true: 1, false: 2}[origin == rejected]
			b, err := billOf(t, "--store-dir", dir)
			if want := strings.Replace(before.lines()[0], "2 of 4: 7.2 ", "3 of 5: 7.4 ", 1); err != nil || b.lines()[0] != want || b.Rejected["no_customer"] != rejects {
				t.Errorf("its origin is gone: got %v, %v, %q", err, b.Rejected, b.lines())
			}
			if err := errors.Join(os.Remove(made), os.Remove(rest), os.WriteFile(rejected, []byte(content[filepath.Base(rejected)]), 0o600)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// What the bucket has is billed as the spool bills it.
func TestTheBillOfFiles(t *testing.T) {
	var packed bytes.Buffer
	gz := gzip.NewWriter(&packed)
	of := func(customer, dimensions, value string, millis int64, more string) string {
		return fmt.Sprintf(`{"customerId":%q,"meterApiName":"M","dimensions":{%s},"meterValue":%s,"meterTimeInMillis":%d,"uniqueId":"x"%s}`+"\n", customer, dimensions, value, millis, more)
	}
	_, err := gz.Write([]byte(of("a", `"region":"eu","day":"monday"`, "0.1", noon, "") + of("a", `"region":"eu"`, "12", noon+3600_000, `,"records":7,"firstMillis":1,"lastMillis":2`)))
	if err := errors.Join(err, gz.Close()); err != nil {
		t.Fatal(err)
	}
	dir := write(t, map[string]string{
		"copies/x/1.gz":    packed.String(),
		"copies/2.json":    "[" + strings.TrimSpace(of("b", `"region":"\u0065u"`, "-3", noon+24*3600_000, "")) + ",\n" + strings.TrimSpace(of("b", "", "1e-30", noon, "")) + "]",
		"copies/3.json.gz": of("c", `"re\u0067ion":"us"`, "1e20", noon-24*3600_000, ""),
	})
	copies := filepath.Join(dir, "copies")
	for line, want := range map[string][]string{
		"":                     {"a/M///: 2 of 8: 12.1", "b/M///: 2 of 2: -2.999999999999999999999999999999", "c/M///: 1 of 1: 100000000000000000000"},
		"--by meter":           {"/M///: 5 of 11: 100000000000000000009.100000000000000000000000000001"},
		"--by region,customer": {"b/M/// no region: 1 of 1: 0.000000000000000000000000000001", "a/M/// region=eu: 2 of 8: 12.1", "b/M/// region=eu: 1 of 1: -3", "c/M/// region=us: 1 of 1: 100000000000000000000"},
		"--by hour --since 2026-11-20 --until 2026-11-20": {"/M///2026-11-20T10:00:00Z: 2 of 2: 0.100000000000000000000000000001", "/M///2026-11-20T11:00:00Z: 1 of 7: 12"},
		"--by dimensions.day,month --since 2026-11-20":    {"/M/2026-11// no day: 3 of 9: 9.000000000000000000000000000001", "/M/2026-11// day=monday: 1 of 1: 0.1"},
		"--by day,meter --until 2026-11-19":               {"/M//2026-11-19/: 1 of 1: 100000000000000000000"},
	} {
		if b, err := billOf(t, append(strings.Fields(line), copies)...); err != nil || !slices.Equal(b.lines(), want) {
			t.Errorf("%s: got %v, %q, want %q", line, err, b.lines(), want)
		}
	}
	for line, want := range map[string]string{
		"--by x,,y": "want --by with customer, meter", "--by meter,meter": "each once", "--since yesterday": "want a day such as 2026-11-20", "--until 2026-02-30": "want a day",
		"--since 2026-11-20 --until 2026-11-19": "want --until on the day of --since or later", "--store-dir " + dir: "want files, or a spool by --store-dir or -c, got both", "nothing": "want a file of meter records",
	} {
		if out, err := meterctl(t, append(append([]string{"bill"}, strings.Fields(line)...), copies)...); err == nil || errors.Is(err, errProblems) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s\n%s", line, err, want, out)
		}
	}
}

func TestABillNamesWhatIsNotInIt(t *testing.T) {
	good := lineOf("acme", "Calls", "1", noon, 1)
	dir := write(t, map[string]string{
		"good": good + lineOf("acme", "Calls", "2", noon, 1), "again": "[" + strings.TrimSpace(good) + "," + strings.TrimSpace(lineOf("acme", "Calls", "2", noon, 1)) + "]",
		"text": good + lineOf("acme", "Calls", `"7"`, noon, 1) + lineOf("acme", "Calls", "NaN", noon, 1), "time": `{"customerId":"a","meterApiName":"m","meterValue":1,"meterTimeInMillis":"now"}` + "\n",
		"long": lineOf("acme", "Calls", "1"+strings.Repeat("0", 100), noon, 1), "log": `{"tenant":"acme","bytes":5}` + "\n", "more": "[" + strings.TrimSpace(good) + "] and more",
	})
	for names, want := range map[string]string{
		"good again": "again: want each object once, got the records of GOOD again: they count twice",
		"good good":  "good: want each object once",
		"text":       `text: 2 lines are no meter record and not in the bill: want a number of at most 100 digits in meterValue, got "7"`,
		"time":       "time: 1 line is no meter record and not in the bill: want whole milliseconds since 1970 in meterTimeInMillis, got none",
		"long":       "want a number of at most 100 digits in meterValue, got 1000000",
		"log":        "want a string in customerId, got none",
		"more":       "more: want a file of meter records that can be read to its end: want nothing after the array, got more",
	} {
		args := []string{"bill"}
		for _, name := range strings.Fields(names) {
			args = append(args, filepath.Join(dir, name))
		}
		var out, notes strings.Builder
		err := run(args, strings.NewReader(""), &out, &notes)
		if want = strings.ReplaceAll(want, "GOOD", filepath.Join(dir, "good")); !errors.Is(err, errProblems) || !strings.Contains(notes.String(), want) {
			t.Errorf("%s: got %v, want %s\n%s", names, err, want, notes.String())
		}
	}
	// Damage is named, and what can be read is billed.
	spoolDir, _ := metered(t)
	files, _ := filepath.Glob(filepath.Join(spoolDir, "outbox/ingest/*.gz"))
	if err := os.Truncate(files[0], 40); err != nil {
		t.Fatal(err)
	}
	if b, err := billOf(t, "--store-dir", spoolDir); !errors.Is(err, errProblems) || len(b.Problems) == 0 || len(b.Rows) != 2 {
		t.Errorf("got %v, %+v", err, b)
	}
}

// A log that is sealed between the listing and the reading makes the reading begin anew.
func TestABillBeginsAnewWhereFilesMove(t *testing.T) {
	dir, s := metered(t)
	l := &ledger.Ledger{Dir: dir, List: (&spoolPlace{dir: dir}).files, Notes: io.Discard}
	sum, readings := ledger.Sum{}, 0
	l.Begin = func() {
		sum.Records = 0
		if readings++; readings == 1 {
			if err := s.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.Record = func(_ *ledger.Source, r *ledger.Record) error { sum.Add(r); return nil }
	if err := l.Read(); err != nil || readings != 2 || sum.Records != 57 || l.Missed != 0 {
		t.Errorf("got %v, %d records in %d readings, %d missed", err, sum.Records, readings, l.Missed)
	}
}

func TestABillByHourHasARowForEachHour(t *testing.T) {
	dir := write(t, map[string]string{"log": lineOf("acme", "Calls", "1", noon+1, 1) + lineOf("acme", "Calls", "2", noon+59*60_000+59_999, 1) + lineOf("acme", "Calls", "4", noon+60*60_000+30_500, 1)})
	out, err := meterctl(t, "bill", "--by", "hour", "--json", filepath.Join(dir, "log"))
	if err != nil || strings.Count(out, `"hour"`) != 2 || !strings.Contains(out, `"hour":"2026-11-20T10:00:00Z","events":2,"records":2,"usage":"3"`) || !strings.Contains(out, `"hour":"2026-11-20T11:00:00Z"`) {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestABillSaysThatNoRecordHasADimension(t *testing.T) {
	dir := write(t, map[string]string{"log": `{"customerId":"a","meterApiName":"M","meterValue":1,"meterTimeInMillis":1795168800000,"dimensions":{"region":"eu"}}` + "\n"})
	var out, notes strings.Builder
	err := run([]string{"bill", "--by", "regoin,region", filepath.Join(dir, "log")}, strings.NewReader(""), &out, &notes)
	if err != nil || notes.String() != "meterctl: --by: no record has a dimension regoin\n" {
		t.Errorf("got %v\n%s%s", err, notes.String(), out.String())
	}
}
