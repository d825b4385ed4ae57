package main

import (
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

	"out_amberflo/cmd/meterctl/preflight"
	"out_amberflo/plugin"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/repair"
	"out_amberflo/test/encode"
)

var sampleTime = time.Date(2026, 11, 20, 10, 0, 0, 123e6, time.UTC)

// started is a plugin that expects a customer in a field that is not there. It reaches no bucket.
func started(t *testing.T, storeDir, name string) *plugin.Instance {
	t.Helper()
	return startedWith(t, storeDir, name, nil)
}

// startedWith sets more options, or other ones.
func startedWith(t *testing.T, storeDir, name string, more map[string]string) *plugin.Instance {
	t.Helper()
	options := map[string]string{"bucket": "b", "region": "us-west-2", "endpoint": "http://127.0.0.1:1", "startup_check": "off",
		"failure_reports": "off", "store_dir": storeDir, "customer_id": "$forgotten", "meter_api_name": "M", "meter_value": "1", "upload_timeout": "100ms", "shutdown_timeout": "100ms"}
	maps.Copy(options, more)
	p, err := plugin.Start(t.Context(), plugin.Host{
		Name: name, Option: func(key string) string { return options[key] }, Log: func(slog.Level, string) bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// chunkOf makes events of samples, a line each.
func chunkOf(t *testing.T, samples string) (chunk []byte) {
	t.Helper()
	for line := range strings.Lines(samples) {
		record, err := encode.JSON(line)
		if err != nil {
			t.Fatal(err)
		}
		chunk = encode.Event(chunk, sampleTime, encode.Record{"zone", "z"}, record)
	}
	return chunk
}

// refusing is a store_dir in which the named outputs, one after the other, have set aside the samples.
func refusing(t *testing.T, samples string, outputs ...string) (storeDir string) {
	t.Helper()
	storeDir = filepath.Join(t.TempDir(), "spool")
	for _, name := range outputs {
		p := started(t, storeDir, name)
		if err := p.Flush("app.log", chunkOf(t, samples)); err != nil {
			t.Fatal(err)
		}
		p.Stop()
	}
	return storeDir
}

// retriedWith runs retry-rejected with a mapping and gives what it says and the records that are to go
// out now, sorted.
func retriedWith(t *testing.T, storeDir, mapping string, args ...string) (said string, records []string, err error) {
	t.Helper()
	conf := fmt.Sprintf("[OUTPUT]\n  Name amberflo\n  Match app.*\n  bucket b\n  Retry_Limit no_limits\n  store_dir %s\n  %s\n", storeDir, strings.ReplaceAll(mapping, "\n", "\n  "))
	file := filepath.Join(write(t, map[string]string{"fluent-bit.conf": conf}), "fluent-bit.conf")
	var out, notes strings.Builder
	err = retryRejected(&out, &notes, "", append([]string{"-c", file}, args...))
	files, ferr := repair.Files(storeDir)
	if ferr != nil {
		t.Fatal(ferr)
	}
	for _, f := range files {
		if f.Dir != "sealing" {
			continue
		}
		_, problems, rerr := repair.Records(storeDir, f, func(line []byte) error {
			records = append(records, string(line))
			return nil
		})
		if rerr != nil || len(problems) > 0 {
			t.Fatal(rerr, problems)
		}
	}
	slices.Sort(records)
	return out.String() + notes.String(), records, err
}

// inRejected are the files in rejected/.
func inRejected(storeDir string) []string {
	files, _ := filepath.Glob(filepath.Join(storeDir, "rejected", "*", "*"))
	return files
}

// rejects is the one file in rejected/.
func rejects(t *testing.T, storeDir string) (path, content string) {
	t.Helper()
	files := inRejected(storeDir)
	if len(files) != 1 {
		t.Fatalf("want one file in rejected/, got %q", files)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return files[0], string(b)
}

// idsIn are the ids of the lines of a file in rejected/.
func idsIn(content string) (ids []string) {
	for line := range strings.Lines(content) {
		_, rest, _ := strings.Cut(line, `"id":"`)
		id, _, _ := strings.Cut(rest, `"`)
		ids = append(ids, id)
	}
	return ids
}

func TestAFixedMappingBillsWhatWasRejected(t *testing.T) {
	dir := refusing(t, `{"tenant":"a","bytes":5}
{"tenant":"b","bytes":"12abc"}
{"tenant":"c"}
`, "amberflo.0")
	path, before := rejects(t, dir)
	ids := idsIn(before)
	const mapping = "customer_id $tenant\nmeters Calls=1, Bytes=$bytes\ndimensions tag=$TAG, zone=$metadata['zone']"
	record := func(customer, meter string, value int, id string) string {
		return fmt.Sprintf(`{"customerId":%q,"meterApiName":%q,"dimensions":{"tag":"app.log","zone":"z"},"meterValue":%d,"meterTimeInMillis":1795168800123,"uniqueId":%q}`, customer, meter, value, id)
	}
	want := []string{record("a", "Bytes", 5, ids[0]+"-1"), record("a", "Calls", 1, ids[0]+"-0"), record("c", "Calls", 1, ids[2]+"-0")}

	said, got, err := retriedWith(t, dir, mapping)
	if !errors.Is(err, errProblems) || !strings.Contains(said, "3 rejected records: 3 meter records in 1 objects are on their way, 1 rejected (bad_value 1)") {
		t.Errorf("got %v, %s", err, said)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if _, left := rejects(t, dir); left != strings.SplitAfter(before, "\n")[1] {
		t.Errorf("want the second line left as it was, got\n%s", left)
	}

	// As if the command had died before it took the lines out.
	if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	_, again, _ := retriedWith(t, dir, mapping)
	if !slices.Equal(again, want) {
		t.Errorf("given twice, got\n%s\nwant\n%s", strings.Join(again, "\n"), strings.Join(want, "\n"))
	}
}

func TestAPluginThatRunsTakesUpWhatNowMaps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	p := started(t, dir, "amberflo.0")
	if err := p.Flush("app.log", chunkOf(t, `{"tenant":"a"}`)); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); len(inRejected(dir)) == 0; time.Sleep(time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatal("the reject is not sealed")
		}
	}
	_, got, err := retriedWith(t, dir, "customer_id $tenant\nmeter_api_name M\nmeter_value 1")
	if err != nil || len(got) != 1 {
		t.Errorf("got %v, %q", err, got)
	}
	if err := p.Flush("app.log", chunkOf(t, `{"late":1}`)); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	objects, _ := filepath.Glob(filepath.Join(dir, "outbox/*/*/*/*"))
	out, err := meterctl(t, append([]string{"--store-dir", dir, "cat"}, objects...)...)
	if err != nil || out != got[0]+"\n" {
		t.Errorf("in the outbox: %v %q, want %q", err, out, got)
	}
	if _, left := rejects(t, dir); !strings.Contains(left, `"late":1`) {
		t.Errorf("want the later reject in a file of its own, got %q", left)
	}
}

func TestEqualRejectsAreEachBilled(t *testing.T) {
	dir := refusing(t, `{"tenant":"a"}`+"\n", "amberflo.0", "amberflo.0")
	said, got, err := retriedWith(t, dir, "customer_id $tenant\nmeter_api_name M\nmeter_value 1")
	if err != nil || len(got) != 2 || got[0] == got[1] {
		t.Errorf("got %v, %s%q", err, said, got)
	}
	if files, _ := os.ReadDir(filepath.Join(dir, "rejected")); len(files) != 0 {
		t.Errorf("want nothing left, got %v", files)
	}
}

// Earlier versions had a file for each day, and after a crash a reject could stand in it twice.
func TestALineThatStandsTwiceInAFileOfADayIsBilledOnce(t *testing.T) {
	dir := refusing(t, `{"tenant":"a"}`+"\n", "amberflo.0")
	path, line := rejects(t, dir)
	line = strings.Replace(line, idsIn(line)[0], "00112233445566aa-0", 1)
	if err := errors.Join(os.RemoveAll(filepath.Dir(path)), os.WriteFile(filepath.Join(dir, "rejected", "2026-11-20.ndjson"), []byte(line+line), 0o600)); err != nil {
		t.Fatal(err)
	}
	said, got, err := retriedWith(t, dir, "customer_id $tenant\nmeter_api_name M\nmeter_value 1")
	if err != nil || len(got) != 1 {
		t.Errorf("got %v, %s%q", err, said, got)
	}
	if files, _ := os.ReadDir(filepath.Join(dir, "rejected")); len(files) != 0 {
		t.Errorf("want nothing left, got %v", files)
	}
}

func TestAnIDOfTheRecordsOwnStays(t *testing.T) {
	dir := refusing(t, `{"tenant":"a","rid":"r1"}`+"\n", "amberflo.0")
	_, got, err := retriedWith(t, dir, "customer_id $tenant\nmeter_api_name M\nmeter_value 1\nunique_id $rid, generate")
	if err != nil || len(got) != 1 || !strings.Contains(got[0], `"uniqueId":"r1"`) {
		t.Errorf("got %v, %q", err, got)
	}
}

func TestRecordsOfAnotherOutputOfTheSpoolAreLeft(t *testing.T) {
	dir := refusing(t, `{"tenant":"a"}`+"\n", "amberflo.0", "second")
	section := "[OUTPUT]\n  Name amberflo\n  Match *\n  alias %s\n  store_dir " + dir + "\n  customer_id $tenant\n  meter_api_name M\n  meter_value 1\n"
	conf := fmt.Sprintf(section+section, "first", "second")
	file := filepath.Join(write(t, map[string]string{"c.conf": conf}), "c.conf")
	var out strings.Builder
	if err := retryRejected(&out, io.Discard, "", []string{"-c", file}); err == nil || !strings.Contains(err.Error(), "want --output") {
		t.Errorf("without --output: got %v", err)
	}
	if err := retryRejected(&out, io.Discard, "", []string{"-c", file, "--output", "second"}); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(out.String(), "1 rejected records: 1 meter records in 1 objects are on their way; 1 that amberflo.0 rejected are left: --from amberflo.0 takes them") {
		t.Errorf("got %s", out.String())
	}
	if _, left := rejects(t, dir); strings.Count(left, "\n") != 1 || !strings.Contains(left, `"output":"amberflo.0"`) {
		t.Errorf("left\n%s", left)
	}
	// Its place in the configuration was another when it rejected: only who knows that may say so.
	out.Reset()
	if err := retryRejected(&out, io.Discard, "", []string{"-c", file, "--output", "first", "--from", "amberflo.0"}); err != nil || !strings.HasPrefix(out.String(), "1 rejected records: 1 meter records") {
		t.Errorf("with -from: got %v, %s", err, out.String())
	}
}

// Outputs without alias are known by their place, which changes when another comes in front of them, or goes.
func TestRejectsWithATagOfAnotherOutputAreLeft(t *testing.T) {
	dir := refusing(t, `{"tenant":"a"}`+"\n", "amberflo.0")
	for match, taken := range map[string]bool{"Match web.*": false, "Match_Regex ^web": false, "Match app.*": true} {
		_, before := rejects(t, dir)
		conf := "[OUTPUT]\n  Name amberflo\n  " + match + "\n  store_dir " + dir + "\n  customer_id $tenant\n  meter_api_name M\n  meter_value $none\n"
		file := filepath.Join(write(t, map[string]string{"c.conf": conf}), "c.conf")
		out, err := meterctl(t, "retry-rejected", "-c", file)
		if mapped := strings.Contains(out, "1 rejected (no_value 1)"); mapped != taken || strings.Contains(out, "1 with a tag that the output does not match are left") == taken {
			t.Errorf("%s: got %v, %s", match, err, out)
		}
		if _, left := rejects(t, dir); left != before {
			t.Errorf("%s: left %q", match, left)
		}
	}
}

func TestTagsAreMatchedByRegexAsFluentBitDoesIt(t *testing.T) {
	for _, tt := range []struct {
		pattern, tag string
		want         bool
	}{
		{"^app", "app.log", true}, {"app", "app.log", true}, {"log", "app.log", false}, {"/^app/", "app.log", true}, {"a|b", "xb", false}, {"x*", "app", false},
		{"/APP/i", "app.log", true}, {"/app", "app.log", false}, {"/app", "/app", true}, {"/app/q", "app", false},
	} {
		re, err := preflight.TagRegex(tt.pattern)
		if err != nil || re.FindString(tt.tag) != "" != tt.want {
			t.Errorf("%q, %q: got %v, %v", tt.pattern, tt.tag, re, err)
		}
	}
	for _, pattern := range []string{"/app/x", "(?<=a)b", "/(?<=a)b/i"} {
		if re, err := preflight.TagRegex(pattern); err == nil {
			t.Errorf("%q: got %v, want an error", pattern, re)
		}
	}
}

func TestTagsAreMatchedAsFluentBitMatchesThem(t *testing.T) {
	for _, tt := range []struct {
		pattern, tag string
		want         bool
	}{
		{"*", "", true}, {"*", "a.b", true}, {"a.*", "a.b.c", true}, {"a.*", "a.", true}, {"a.*", "a", false}, {"a", "a", true},
		{"a", "ab", false}, {"*.b", "a.b", true}, {"*.b", "a.bc", false}, {"a*c*e", "abcde", true}, {"a*c*e", "abcd", false}, {"", "a", false}, {"", "", true},
	} {
		if got := matches(tt.pattern, tt.tag); got != tt.want {
			t.Errorf("%q, %q: got %v", tt.pattern, tt.tag, got)
		}
	}
}

func TestWhatIsIgnoredNowStays(t *testing.T) {
	dir := refusing(t, `{"tenant":"a","bytes":5}`+"\n", "amberflo.0")
	_, before := rejects(t, dir)
	said, got, err := retriedWith(t, dir, "customer_id $tenat\nmeter_api_name M\nmeter_value $byte\nunmatched ignore")
	if err != nil || len(got) > 0 || !strings.Contains(said, "1 that unmatched ignore skips are left") {
		t.Errorf("got %v, %q, %s", err, got, said)
	}
	if _, left := rejects(t, dir); left != before {
		t.Errorf("left %q, want the record", left)
	}
}

func TestATagThatIsNoUTF8IsNotAltered(t *testing.T) {
	storeDir := filepath.Join(t.TempDir(), "spool")
	p := started(t, storeDir, "amberflo.0")
	if err := p.Flush("app.m\xfcller", chunkOf(t, `{"x":1}`)); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	said, got, err := retriedWith(t, storeDir, "customer_id $TAG[1]\nmeter_api_name M\nmeter_value 1")
	if !errors.Is(err, errProblems) || len(got) > 0 || !strings.Contains(said, "1 rejected (bad_utf8 1)") {
		t.Errorf("got %v, %q, %s", err, got, said)
	}
	said, got, err = retriedWith(t, storeDir, "customer_id c\nmeter_api_name M\nmeter_value 1")
	if err != nil || len(got) != 1 {
		t.Errorf("got %v, %q, %s", err, got, said)
	}
}

// The operator fixes the mapping while a chunk waits: its record maps in the flush, and must not lie in rejected/ as well.
func TestAChunkThatIsNotAcceptedLeavesNoRejects(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	options := map[string]string{"bucket": "b", "region": "us-west-2", "endpoint": "http://127.0.0.1:1", "startup_check": "off", "failure_reports": "off",
		"store_dir": dir, "store_dir_limit_size": "12K", "customer_id": "$tenant", "meter_api_name": "M", "meter_value": "1", "upload_timeout": "100ms", "shutdown_timeout": "100ms"}
	p, err := plugin.Start(t.Context(), plugin.Host{Name: "amberflo.0", Option: func(key string) string { return options[key] }, Log: func(slog.Level, string) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Flush("app.log", chunkOf(t, `{"tenant":"a"}`)); err != nil {
		t.Fatal(err)
	}
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, "{\"tenant\":\"%d-%s\"}\n", i, strings.Repeat("x", 100))
	}
	if err := p.Flush("app.log", chunkOf(t, many.String()+`{"bad":1}`)); !errors.Is(err, journal.ErrFull) {
		t.Fatalf("got %v, want a spool that is full", err)
	}
	p.Stop()
	if files, _ := os.ReadDir(filepath.Join(dir, "rejected")); len(files) > 0 {
		t.Errorf("rejected/ has %v of a chunk that was not accepted", files)
	}
}

func TestAStoreDirThatIsNamedCountsAndNotTheConfigurations(t *testing.T) {
	live := refusing(t, `{"tenant":"a"}`+"\n", "amberflo.0")
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(live)); err != nil {
		t.Fatal(err)
	}
	conf := "[OUTPUT]\n  Name amberflo\n  bucket b\n  store_dir ${AMBERFLO_TEST_UNSET}\n  customer_id $tenant\n  meter_api_name M\n  meter_value 1\n"
	file := filepath.Join(write(t, map[string]string{"c.conf": conf}), "c.conf")
	if out, err := meterctl(t, "retry-rejected", "-c", file); err == nil {
		t.Errorf("without a store_dir: got %s", out)
	}
	if out, err := meterctl(t, "--store-dir", copied, "retry-rejected", "-c", file); err != nil || !strings.HasPrefix(out, "1 rejected records: 1 meter records") {
		t.Errorf("got %v, %s", err, out)
	}
	if files, _ := os.ReadDir(filepath.Join(copied, "rejected")); len(files) != 0 {
		t.Errorf("want nothing left in the directory that was named, got %v", files)
	}
	rejects(t, live)
}

func TestWhatIsNoRejectStays(t *testing.T) {
	dir := refusing(t, `{"tenant":"a"}`+"\n", "amberflo.0")
	path, good := rejects(t, dir)
	bad := "torn\n{}\n" + `{"id":"x","chunk":"kg=="}` + "\n"
	if err := os.WriteFile(path, []byte(bad+good), 0o600); err != nil {
		t.Fatal(err)
	}
	said, got, err := retriedWith(t, dir, "customer_id $tenant\nmeter_api_name M\nmeter_value 1")
	if !errors.Is(err, errProblems) || len(got) != 1 || !strings.Contains(said, "3 lines cannot be read and are left") {
		t.Errorf("got %v, %s%q", err, said, got)
	}
	if _, left := rejects(t, dir); left != bad {
		t.Errorf("left %q, want %q", left, bad)
	}
}

func TestRetryRejectedRefusesADoubtfulConfiguration(t *testing.T) {
	for name, test := range map[string]struct {
		mapping, want string
		args          []string
	}{
		"a variable in what objects are that is not set here": {mapping: "s3_key_format ${AMBERFLO_TEST_UNSET}/$UUID.gz", want: "want a value for ${AMBERFLO_TEST_UNSET}, got none"},
		"a wrong option of the delivery":                      {mapping: "compression zip", want: "compression: want gzip or none"},
		"a wrong mapping":                                     {mapping: "customer_id $a.b", want: "customer_id: want"},
		"a day that is none":                                  {mapping: "alias a", args: []string{"--since", "yesterday"}, want: "--since"},
		"a file":                                              {mapping: "alias a", args: []string{"x"}, want: "want no arguments"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := refusing(t, `{"tenant":"a"}`+"\n", "amberflo.0")
			_, before := rejects(t, dir)
			_, got, err := retriedWith(t, dir, test.mapping, test.args...)
			if err == nil || !strings.Contains(err.Error(), test.want) || len(got) > 0 {
				t.Errorf("got %v, %q, want %q", err, got, test.want)
			}
			if _, left := rejects(t, dir); left != before {
				t.Errorf("left %q, want all", left)
			}
		})
	}
}

// What is wrong with the pipeline around an output does not keep its rejects from being mapped again.
func TestRetryRejectedNeedsNoPipeline(t *testing.T) {
	dir := write(t, map[string]string{"c.conf": "[INPUT]\n    Name dummy\n    Tag other\n[OUTPUT]\n    Name amberflo\n    Match app.*\n    bucket b\n    customer_id $t\n"})
	var notes strings.Builder
	if _, _, err := load(filepath.Join(dir, "c.conf"), "", []string{"match"}, &notes); err != nil {
		t.Error(err)
	}
	if !strings.Contains(notes.String(), "error: match: want a pattern that matches one of the tags other") {
		t.Errorf("got %s", notes.String())
	}
}
