package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"out_amberflo/plugin/journal"
)

func TestCheckComparesWhatAnEventStandsFor(t *testing.T) {
	line := func(members string) string {
		return fmt.Sprintf(`{"customerId":"a","meterApiName":"M","meterValue":1,"meterTimeInMillis":%d,"uniqueId":"x"%s}`+"\n", noon, members)
	}
	of := func(records, before, after int64) string {
		return line(fmt.Sprintf(`,"records":%d,"firstMillis":%d,"lastMillis":%d`, records, noon-before, noon+after))
	}
	for name, test := range map[string]struct{ lines, want string }{
		"none":                    {line(""), ""},
		"one":                     {of(1, 0, 0), ""},
		"many":                    {of(12_000, 0, 899_999), ""},
		"no records":              {of(1, 0, 0) + of(0, 0, 0), "record 2: want records of at least 1, got 0"},
		"a time before the first": {of(3, -1, 5), "record 1: want meterTimeInMillis from firstMillis to lastMillis"},
		"a time after the last":   {of(3, 5, -1), "want meterTimeInMillis from firstMillis to lastMillis"},
		"two hours":               {of(3, 1, 1), "want firstMillis and lastMillis in one hour"},
		"one member":              {line(`,"records":5`) + line(`,"records":"5"`), "want whole numbers in records, firstMillis and lastMillis, got 1 such; 2 such records in all"},
		"a name that is a text":   {line(`,"dimensions":{"records":"5"}`), ""},
		"no meter record":         {`{"records":0,"firstMillis":7}` + "\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := spoolIn(t, dir)
			defer s.Close()
			addLines(t, s, test.lines)
			for range 2 { // open, and sealed
				out, err := meterctl(t, "--store-dir", dir, "check")
				if test.want == "" && (err != nil || !strings.Contains(out, " 0 problems")) || test.want != "" && (!errors.Is(err, errProblems) || !strings.Contains(out, test.want)) {
					t.Errorf("got %v, want %q\n%s", err, test.want, out)
				}
				if err := s.Drain(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// What a flush accepted is known as long as its records lie in a log.
func TestCheckComparesWhatAFlushAccepted(t *testing.T) {
	for records, want := range map[int]string{8: "", 9: "want lines that stand for the 9 records of a flush, got 8", 7: "want lines that stand for the 7 records"} {
		dir := t.TempDir()
		s := spoolIn(t, dir)
		defer s.Close()
		addLines(t, s, lineOf("a", "M", "1", noon, 2)) // of an output that adds nothing up
		tx, err := s.Begin(journal.Source{}, 3)
		if err != nil {
			t.Fatal(err)
		}
		tx.Append(append(tx.Lines(), lineOf("a", "M", "1", noon, 5)+lineOf("a", "M", "1", noon, 1)+lineOf("b", "M", "1", noon, 2)...), 3)
		tx.Summed(15*time.Minute, records)
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		out, err := meterctl(t, "--store-dir", dir, "check")
		if want == "" && err != nil || want != "" && (!errors.Is(err, errProblems) || !strings.Contains(out, want)) {
			t.Errorf("%d records: got %v, want %q\n%s", records, err, want, out)
		}
	}
}
