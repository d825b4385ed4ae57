package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/spool"
)

// filled is a spool with an object of two records and a log of three, left as by a crash or open, and a reject of each.
func filled(t *testing.T) (string, *spool.Spool) {
	t.Helper()
	dir := t.TempDir()
	o := spool.Options{
		Dir: dir, Object: object.Options{Key: func(s object.Sealed) string { return "ingest/" + s.ID.String() + ".gz" }, GzipLevel: 6},
		MaxBytes: 1 << 20, MaxAge: time.Hour, Limit: 1 << 30, Log: slog.New(slog.DiscardHandler),
	}
	open := func() *spool.Spool {
		s, err := spool.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	add(t, s, "a", "b")
	reject(t, s)
	if err := errors.Join(s.Drain(context.Background()), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open()
	add(t, s, "c", "d", "e")
	reject(t, s)
	t.Cleanup(func() { _ = s.Close() })
	return dir, s
}

func add(t *testing.T, s *spool.Spool, names ...string) {
	t.Helper()
	tx, err := s.Begin(journal.Source{}, len(names))
	if err != nil {
		t.Fatal(err)
	}
	ids, first := tx.IDs()
	for i, n := range names {
		tx.Append(fmt.Appendf(tx.Lines(), "{\"name\":%q,\"uniqueId\":\"%s%d\"}\n", n, ids, first+i), 1)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func reject(t *testing.T, s *spool.Spool) {
	t.Helper()
	tx, err := s.Begin(journal.Source{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	tx.Reject([]byte(`{"reason":"no_customer"}` + "\n"))
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func meterctl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out, notes strings.Builder
	err := run(args, strings.NewReader(""), &out, &notes)
	if notes.Len() > 0 {
		t.Log(notes.String())
	}
	return out.String(), err
}

// mapSamples runs meterctl map.
func mapSamples(in io.Reader, out, notes io.Writer, args []string) error {
	return run(append([]string{"map"}, args...), in, out, notes)
}

// retryRejected runs meterctl retry-rejected, in a spool or in the configuration's.
func retryRejected(out, notes io.Writer, storeDir string, args []string) error {
	args = append([]string{"retry-rejected"}, args...)
	if storeDir != "" {
		args = append(args, "--store-dir", storeDir)
	}
	return run(args, strings.NewReader(""), out, notes)
}

// No test looks for credentials outside of this machine.
func TestMain(m *testing.M) {
	_ = os.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	os.Exit(m.Run())
}

func TestLsCountsEachDirectoryBesideARunningPlugin(t *testing.T) {
	dir, _ := filled(t)
	out, err := meterctl(t, "--store-dir", dir, "ls")
	if err != nil {
		t.Fatal(err)
	}
	for directory, want := range map[string]string{"open": "1 3", "outbox": "1 2", "rejected": "2 2", "damaged": "0 0"} {
		found := false
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); f[0] == directory {
				found = true
				if got := f[1] + " " + f[4]; got != want { // a size is a number and a unit
					t.Errorf("%s: got %q files and records, want %q", directory, got, want)
				}
			}
		}
		if !found {
			t.Errorf("no line of %s in\n%s", directory, out)
		}
	}
}

func TestAReasonIsNoFileOfRecords(t *testing.T) {
	dir, s := filled(t)
	obj, err := s.Take(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	s.KeepSent(true)
	if err := s.Sent(obj); err != nil {
		t.Fatal(err)
	}
	if err := s.KeepFailed(obj, []byte("unknown meter")); err != nil {
		t.Fatal(err)
	}
	out, err := meterctl(t, "--store-dir", dir, "ls")
	if err != nil || !regexp.MustCompile(`(?m)^failed +1 +\d+ B +2 `).MatchString(out) {
		t.Errorf("want one file with 2 records in failed/, got %v\n%s", err, out)
	}
	if out, err := meterctl(t, "--store-dir", dir, "cat", "failed/"+obj.Key+spool.ReasonSuffix); err == nil || !strings.Contains(err.Error(), "want a file of records") {
		t.Errorf("got %v, %s", err, out)
	}
	if out, err := meterctl(t, "--store-dir", dir, "check"); err != nil {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestAnObjectWithoutRecordsIsAProblem(t *testing.T) {
	dir, _ := filled(t)
	files, _ := filepath.Glob(filepath.Join(dir, "outbox/ingest/*.gz"))
	if err := os.Truncate(files[0], 0); err != nil {
		t.Fatal(err)
	}
	if out, err := meterctl(t, "--store-dir", dir, "check"); !errors.Is(err, errProblems) || !strings.Contains(out, "want at least one record, got none") {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestCatPrintsTheRecordsWithTheirUniqueIDs(t *testing.T) {
	dir, _ := filled(t)
	for glob, want := range map[string]int{"open/*.log": 3, "outbox/ingest/*.gz": 2} {
		files, _ := filepath.Glob(filepath.Join(dir, glob))
		if len(files) != 1 {
			t.Fatalf("%s: got %v", glob, files)
		}
		id := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(files[0]), ".log"), ".gz")
		id = id[strings.IndexByte(id, '=')+1:] // after the digest
		out, err := meterctl(t, "--store-dir", dir, "cat", files[0])
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(out, "\n") != want || !strings.Contains(out, fmt.Sprintf(`"uniqueId":"%s-%d"`, id, want-1)) {
			t.Errorf("%s: want %d records with ids of %s, got\n%s", glob, want, id, out)
		}
	}
	logs, _ := filepath.Glob(filepath.Join(dir, "open/*.log"))
	if out, err := meterctl(t, "--store-dir", dir, "cat", logs[0]+":rejected"); err != nil || out != `{"reason":"no_customer"}`+"\n" {
		t.Errorf("the rejects in a log: got %v, %q", err, out)
	}
}

func TestCheckIsSilentOnASoundSpoolAndNamesDamageByFileAndOffset(t *testing.T) {
	dir, s := filled(t)
	if out, err := meterctl(t, "--store-dir", dir, "check"); err != nil || !strings.Contains(out, " 0 problems") {
		t.Fatalf("got %v\n%s", err, out)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, glob := range []string{"open/*.log", "outbox/ingest/*.gz", "rejected/*/*.ndjson"} {
		files, _ := filepath.Glob(filepath.Join(dir, glob))
		content, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		bad := append([]byte(nil), content...)
		bad[len(bad)-20] ^= 0xff // of the log, in the reject
		if err := os.WriteFile(files[0], bad, 0o600); err != nil {
			t.Fatal(err)
		}
		rel, _ := filepath.Rel(dir, files[0])
		out, err := meterctl(t, "--store-dir", dir, "check")
		if !errors.Is(err, errProblems) || !strings.Contains(out, rel+": offset ") {
			t.Errorf("%s with a flipped byte: got %v\n%s", glob, err, out)
		}
		if err := os.WriteFile(files[0], content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAWrongCommandSaysWhatIsWanted(t *testing.T) {
	dir, _ := filled(t)
	for _, args := range [][]string{{}, {"lss"}, {"--store-dir", dir, "cat"}, {"--store-dir", dir, "cat", "nothing"}, {"--store-dir", "/nonexistent", "ls"}, {"-x"},
		{"--store-dir", dir, "check", "--store-dir", "/nonexistent"}, {"--store-dir", dir, "check", dir}, {"--store-dir", dir, "ls", dir}} {
		if out, err := meterctl(t, args...); err == nil || !strings.Contains(err.Error(), "want") && !strings.Contains(err.Error(), "meterctl --help") {
			t.Errorf("%v: got %v, %s", args, err, out)
		}
	}
}
