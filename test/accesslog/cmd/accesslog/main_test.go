package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"out_amberflo/test/accesslog"
)

// TestMain lets the test binary be the command.
func TestMain(m *testing.M) {
	if os.Getenv("BE_ACCESSLOG") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "BE_ACCESSLOG=1")
	return cmd
}

func TestTheCommandWritesTheLogAndItsTruth(t *testing.T) {
	log, file := filepath.Join(t.TempDir(), "access.log"), filepath.Join(t.TempDir(), "truth.json")
	if out, err := command(t, "-lines", "300", "-bad", "0.1", "-meter", "ApiCalls", "-value", "1", "-o", log, "-truth", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %s", err, out)
	}
	written, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var truth accesslog.Truth
	if err := json.Unmarshal(data, &truth); err != nil {
		t.Fatal(err)
	}
	events := 0
	for _, line := range truth.Bill {
		events += line.Events
	}
	if n := strings.Count(string(written), "\n"); n != 300 || truth.Lines != 300 || events != truth.Metered || truth.Rejected() == 0 {
		t.Errorf("got %d lines and %d events on the bill; the truth says %+v", n, events, truth)
	}
}

func TestTheCommandSaysWhatItWants(t *testing.T) {
	for _, args := range [][]string{{"-format", "xml"}, {"-start", "today"}, {"-value", "12"}, {"-bad", "2"}, {"left over"}} {
		out, err := command(t, args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "want ") {
			t.Errorf("%q: got error %v: %s", args, err, out)
		}
	}
}
