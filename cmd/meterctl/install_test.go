package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestInstallCopiesWhatLiesBesideIt(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for name, mode := range map[string]os.FileMode{"out_amberflo.so": 0o640, "meterctl": 0o755, "plugins.conf": 0o644, "passwd": 0o644} {
		if err := os.WriteFile(filepath.Join(from, name), []byte(name+" of today"), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(to, "meterctl"), []byte("of yesterday"), 0o600); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for range 2 { // a container that is restarted does it again
		if err := copyParts(&said, from, to); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"out_amberflo.so": 0o644, "meterctl": 0o755, "plugins.conf": 0o644} {
		text, err := os.ReadFile(filepath.Join(to, name))
		if err != nil || string(text) != name+" of today" {
			t.Errorf("%s holds %q, %v", name, text, err)
		}
		if info, err := os.Stat(filepath.Join(to, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s has the mode %v, %v; want %v", name, info.Mode(), err, mode)
		}
		if !strings.Contains(said.String(), "installed "+filepath.Join(to, name)+"\n") {
			t.Errorf("%s is not told: %q", name, &said)
		}
	}
	if files, err := os.ReadDir(to); err != nil || len(files) != 3 {
		t.Errorf("%d files, %v; want the three parts and nothing else", len(files), err)
	}
}

func installed(args ...string) error {
	return run(append([]string{"install"}, args...), nil, io.Discard, io.Discard)
}

func TestInstallSaysWhatItWants(t *testing.T) {
	empty, whole := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(whole, "out_amberflo.so"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		err  error
		want string
	}{
		{installed(), "want the directory"},
		{installed("a", "b"), "want the directory"},
		{copyParts(io.Discard, empty, whole), "want out_amberflo.so beside meterctl"},
		{copyParts(io.Discard, whole, filepath.Join(empty, "none")), "want a directory to copy to"},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("got %v, want %q", test.err, test.want)
		}
	}
}
