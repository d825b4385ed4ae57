package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"out_amberflo/cmd/meterctl/look"
	"out_amberflo/plugin"
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

func TestStatusTellsTheLastFailureAndWhatWasSkippedWhileItRunsAndAfterwards(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "x")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not-to-be-told")
	dir := filepath.Join(t.TempDir(), "spool[1]")
	p := startedWith(t, dir, "amberflo.0", map[string]string{"customer_id": "$c", "only_if": "$bill == yes"})
	stopped := false
	stop := func() {
		if !stopped {
			p.Stop()
		}
		stopped = true
	}
	defer stop()
	if err := p.Flush("app.log", chunkOf(t, `{"c":"a","bill":"yes"}`+"\n"+`{"c":"a","bill":"no"}`+"\n"+`{"c":"a"}`+"\n")); err != nil {
		t.Fatal(err)
	}
	var s look.Status
	for until := time.Now().Add(30 * time.Second); s.LastFailure == nil || s.Skipped == nil || *s.Skipped != 2; time.Sleep(100 * time.Millisecond) {
		if s, _ = statusIn(t, "--store-dir", dir); time.Now().After(until) {
			t.Fatalf("got %+v, want what the output says", s)
		}
	}
	f := s.LastFailure
	if f.Kind != "unreachable" || f.Failures < 1 || f.Ended != nil || !strings.Contains(f.Error, "127.0.0.1:1") || s.LastUpload != nil || len(s.Outputs) != 1 {
		t.Fatalf("got %+v of %+v", f, s)
	}
	if o := s.Outputs[0]; !o.Runs || o.Stopped || o.PID != os.Getpid() || o.Average == nil || o.Average.SkippedRecords <= 0 || o.Counters["accepted_records_total"] != 1 {
		t.Errorf("got %+v", o)
	}
	screen, _ := meterctl(t, "status", "--store-dir", dir)
	for _, want := range []string{"last failure", "unreachable, ", "amberflo.0", "runs: ", "1 accepted", "2 skipped by only_if or unmatched", "0 rejected"} {
		if !strings.Contains(screen, want) {
			t.Errorf("want %q in\n%s", want, screen)
		}
	}
	watched, _ := meterctl(t, "status", "--watch", "--every", "1s", "--times", "2", "--store-dir", dir)
	if strings.Count(watched, "0.0 records/s are skipped") != 1 {
		t.Errorf("want how many are skipped between two looks in\n%s", watched)
	}
	// One that was moved, or whose process was killed: nobody holds the file.
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.CopyFS(moved, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	screen, _ = meterctl(t, "status", "--store-dir", moved)
	if !strings.Contains(screen, "its process has ended without a shutdown; this is from ") || !strings.Contains(screen, "it lasted when the process ended") || strings.Contains(screen, "next attempt in") {
		t.Errorf("got\n%s", screen)
	}
	stop()
	screen, _ = meterctl(t, "status", "--store-dir", dir)
	if !strings.Contains(screen, "has stopped ") || strings.Contains(screen, "not-to-be-told") {
		t.Errorf("got\n%s", screen)
	}
	s, _ = statusIn(t, "--store-dir", dir)
	if o := s.Outputs[0]; o.Runs || !o.Stopped {
		t.Errorf("got %+v", o)
	}
}

func TestAFailureThatNeedsSomebodyIsTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	started(t, dir, "amberflo.0").Stop()
	path := filepath.Join(dir, plugin.StatusDir, "amberflo.0.json")
	write := func(is plugin.Status) (locked *os.File) {
		text, err := json.Marshal(is)
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err == nil {
			locked, err = os.Open(path)
		}
		if err == nil {
			err = unix.Flock(int(locked.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		}
		if err != nil {
			t.Fatal(err)
		}
		return locked
	}
	now := time.Now()
	is := plugin.Status{Output: "amberflo.0", Started: now.Add(-time.Hour), Written: now.Add(-time.Minute), LastUpload: &now,
		LastFailure: &plugin.UploadFailure{Kind: "denied", Error: "no \x1b[31mpermission", NeedsYou: true, Time: now.Add(-time.Minute), Failures: 12, Next: now.Add(time.Minute)}}
	f := write(is)
	s, err := statusIn(t, "--store-dir", dir)
	if got := strings.Join(s.Attention, "\n"); !errors.Is(err, errProblems) || !strings.HasPrefix(got, "uploads fail, which does not pass by itself: denied, 60s ago, 12 in a row; next attempt in ") || !strings.HasSuffix(got, `no \u{1b}[31mpermission`) {
		t.Errorf("got %v, %q", err, got)
	}
	if s.LastUpload == nil || !s.LastUpload.Equal(now) {
		t.Errorf("got %v, want the last upload though sent/ keeps nothing", s.LastUpload)
	}
	_ = f.Close()
	is.LastFailure.Ended = &now
	defer write(is).Close()
	if out, err := meterctl(t, "status", "--store-dir", dir); err != nil || !strings.Contains(out, "denied, 60s ago, 12 in a row; over since 0s ago: no ") || !strings.Contains(out, "last upload    0s ago; sent/ keeps nothing") {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestWhatIsNoStatusIsLeftOut(t *testing.T) {
	dir, _ := filled(t)
	want, _ := meterctl(t, "ls", "--store-dir", dir)
	at := func(name string) string { return filepath.Join(dir, plugin.StatusDir, name) }
	if err := errors.Join(os.MkdirAll(at("dir.json"), 0o700), os.WriteFile(at("a.json"), []byte("{"), 0o600), os.WriteFile(at(".0.tmp"), []byte("{}"), 0o600),
		unix.Mkfifo(at("pipe.json"), 0o600), os.Symlink("/dev/zero", at("link.json")), os.WriteFile(at("notes.txt"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if s, err := statusIn(t, "--store-dir", dir); !errors.Is(err, errProblems) || s.Outputs == nil || len(s.Outputs) > 0 || s.Skipped != nil {
		t.Errorf("got %v, %+v", err, s.Outputs)
	}
	if got, err := meterctl(t, "ls", "--store-dir", dir); err != nil || got != want {
		t.Errorf("ls: got %v\n%s\nwant\n%s", err, got, want)
	}
	if out, err := meterctl(t, "check", "--store-dir", dir); err != nil {
		t.Errorf("check: got %v\n%s", err, out)
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
