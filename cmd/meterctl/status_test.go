package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"out_amberflo/cmd/meterctl/look"
)

func statusIn(t *testing.T, args ...string) (s look.Status, err error) {
	t.Helper()
	out, err := meterctl(t, append([]string{"status", "--json"}, args...)...)
	if jerr := json.Unmarshal([]byte(out), &s); jerr != nil {
		t.Fatalf("%v: %v\n%s", err, jerr, out)
	}
	return s, err
}

func TestStatusTellsWhatWaitsAndWhatNeedsSomebody(t *testing.T) {
	dir, key := failed(t)
	conf := filepath.Join(write(t, map[string]string{"c.conf": "[OUTPUT]\n  Name amberflo\n  bucket b\n  store_dir " + dir + "\n  store_dir_limit_size 300\n"}), "c.conf")
	s, err := statusIn(t, "-c", conf)
	if !errors.Is(err, errProblems) || len(s.Attention) != 3 {
		t.Errorf("got %v, %q", err, s.Attention)
	}
	for _, st := range s.Stages {
		if want := map[string]int{"open": 3, "failed": 2, "rejected": 2}[st.Directory]; st.Records == nil || *st.Records != want {
			t.Errorf("%s: got %v, want %d records", st.Directory, st.Records, want)
		}
	}
	if s.Spool.Percent == nil || *s.Spool.Percent < 10 || s.Rejected.Percent == nil {
		t.Errorf("got %+v, %+v", s.Spool, s.Rejected)
	}
	if len(s.Failed) != 1 || s.Failed[0].Key != key || s.Failed[0].Reason != "unknown meter" || *s.Failed[0].Records != 2 {
		t.Errorf("got %+v", s.Failed)
	}
	screen, err := meterctl(t, "status", "--store-dir", dir)
	for _, want := range []string{"3 records in 1 file", "failed         2 records", "-c CONF tells the limit", "no_customer", "unknown meter", "needs somebody", "meterctl resend --all", "meterctl retry-rejected -c CONF"} {
		if !strings.Contains(screen, want) {
			t.Errorf("want %q in (%v)\n%s", want, err, screen)
		}
	}
}

func TestStatusOfAHealthySpoolNeedsNobody(t *testing.T) {
	dir := t.TempDir()
	p := started(t, dir, "amberflo.0")
	p.Stop()
	if out, err := meterctl(t, "status", "--store-dir", dir); err != nil || !strings.Contains(out, "nothing needs anybody") {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestStatusShowsKeysOfRejectsAndNoValues(t *testing.T) {
	dir := refusing(t, `{"tenant":"secret-a","deep":{"token":"secret-b"},"n\u001b[31m":1}`+"\n", "amberflo.0")
	out, err := meterctl(t, "status", "--store-dir", dir)
	if !errors.Is(err, errProblems) || strings.Contains(out, "secret") || strings.Contains(out, "\x1b") || !strings.Contains(out, `tenant deep.token n\u{1b}[31m`) {
		t.Errorf("got %v\n%s", err, out)
	}
	s, _ := statusIn(t, "--store-dir", dir)
	if len(s.Rejects) != 1 || s.Rejects[0].Outputs[0] != "amberflo.0" || s.Rejects[0].Tag != "app.log" || len(s.Rejects[0].Example) != 3 {
		t.Errorf("got %+v", s.Rejects)
	}
}

func TestWatchTellsRates(t *testing.T) {
	dir, s := filled(t)
	s.KeepSent(true)
	a := &app{notes: new(strings.Builder)}
	c := a.looker(&spoolPlace{dir: dir}, false)
	first, err := c.Look()
	if err != nil || first.Rates != nil {
		t.Fatalf("got %v, %+v", err, first.Rates)
	}
	add(t, s, "f", "g", "h", "i")
	obj, err := s.Take(t.Context(), false)
	if err == nil {
		err = s.Sent(obj)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Now = func() time.Time { return time.Now().Add(2 * time.Second) }
	second, err := c.Look()
	if err != nil || second.Rates == nil {
		t.Fatalf("got %v, %+v", err, second.Rates)
	}
	if r := second.Rates; r.AcceptedRecords < 1.5 || r.AcceptedRecords > 2 || r.UploadedRecords < 0.7 || r.UploadedRecords > 1 || second.LastUpload == nil {
		t.Errorf("want some 2 and 1 records a second and an upload, got %+v, %v", r, second.LastUpload)
	}
	out, err := meterctl(t, "status", "--watch", "--every", "1s", "--times", "2", "--store-dir", dir)
	if !errors.Is(err, errProblems) || strings.Count(out, "spool full") != 2 || strings.Count(out, "records/s come in") != 1 {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestAnObjectThatWaitsForLongIsTold(t *testing.T) {
	dir, _ := filled(t)
	files, _ := filepath.Glob(filepath.Join(dir, "outbox/ingest/*.gz"))
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(files[0], old, old); err != nil {
		t.Fatal(err)
	}
	if s, err := statusIn(t, "--store-dir", dir); !errors.Is(err, errProblems) || !strings.Contains(strings.Join(s.Attention, "\n"), "the oldest object waits since 60m ago") {
		t.Errorf("got %v, %q", err, s.Attention)
	}
}
