package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"out_amberflo/plugin/repair"
)

// damagedOutbox gives a closed spool whose one object has a byte that is another.
func damagedOutbox(t *testing.T) (dir, key string) {
	t.Helper()
	dir, s := filled(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := repair.Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Dir != "outbox" {
			continue
		}
		path := filepath.Join(dir, f.Path)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-6] ^= 1 // of the checksum
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir, f.Key()
	}
	t.Fatal("no object")
	return "", ""
}

func TestAllCommandsAgreeOnADamagedObject(t *testing.T) {
	dir, key := damagedOutbox(t)
	ls, err := meterctl(t, "--store-dir", dir, "ls", "-l")
	if !errors.Is(err, errProblems) {
		t.Errorf("ls: got %v", err)
	}
	m := regexp.MustCompile(`(?m)^outbox/\S+ +\d+ B +(\d+) `).FindStringSubmatch(ls)
	if m == nil {
		t.Fatalf("no line of the object in\n%s", ls)
	}
	cat, err := meterctl(t, "--store-dir", dir, "cat", key)
	if n := strings.Count(cat, "\n"); !errors.Is(err, errProblems) || m[1] != "2" || n != 2 {
		t.Errorf("cat prints %d records, %v, ls says %s", n, err, m[1])
	}
	check, err := meterctl(t, "--store-dir", dir, "check")
	if !errors.Is(err, errProblems) || !strings.Contains(check, " 7 records, ") || !strings.Contains(check, "want the bytes that were sealed") {
		t.Errorf("check: %v\n%s", err, check)
	}
}

func TestRescueAndSplitSayWhatTheyDid(t *testing.T) {
	dir, key := damagedOutbox(t)
	if out, err := meterctl(t, "--store-dir", dir, "rescue", key); err == nil || !strings.Contains(err.Error(), "want the key of an object in damaged/outbox/") {
		t.Errorf("an object that is not set aside: got %v %s", err, out)
	}
	aside := filepath.Join(dir, "damaged/outbox/ingest")
	if err := os.MkdirAll(aside, 0o700); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "outbox/ingest/*.gz"))
	if err := os.Rename(files[0], filepath.Join(aside, filepath.Base(files[0]))); err != nil {
		t.Fatal(err)
	}
	if _, err := meterctl(t, "--store-dir", dir, "rescue", key); err == nil || !strings.Contains(err.Error(), "-all sends them as they are") {
		t.Errorf("without -all: got %v", err)
	}
	if out, err := meterctl(t, "--store-dir", dir, "rescue", "--all", "damaged/outbox/ingest/"+filepath.Base(files[0])); err != nil || !strings.Contains(out, "2 records are sent") {
		t.Errorf("got %v %s", err, out)
	}
	if out, err := meterctl(t, "--store-dir", dir, "check"); err != nil {
		t.Errorf("afterwards: %v\n%s", err, out)
	}

	dir, s := filled(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, _ = filepath.Glob(filepath.Join(dir, "outbox/ingest/*.gz"))
	name := filepath.Base(files[0])
	was, err := meterctl(t, "--store-dir", dir, "cat", files[0])
	if err != nil {
		t.Fatal(err)
	}
	if out, err := meterctl(t, "--store-dir", dir, "split", "outbox/ingest/"+name, "--size", "1"); err != nil || !strings.Contains(out, "is 2 objects now") {
		t.Errorf("got %v %s", err, out)
	}
	var now []string // in the order of the digests, which lead the names
	sealing, _ := filepath.Glob(filepath.Join(dir, "sealing/*"))
	for _, file := range sealing {
		out, err := meterctl(t, "--store-dir", dir, "cat", file)
		if err != nil {
			t.Fatal(err)
		}
		now = append(now, out)
	}
	if slices.Sort(now); strings.Join(now, "") != was {
		t.Errorf("split has\n%s\nof\n%s", now, was)
	}
	for line, want := range map[string]string{
		"rescue": "want keys, got none", "rescue -x": "unknown shorthand flag: 'x' in -x; meterctl rescue --help explains the flags",
		"split": "want one key, got none", "split k --size x": "want a size such as", "split k l": `want one key, got "k l"`,
	} {
		if _, err := meterctl(t, append([]string{"--store-dir", dir}, strings.Fields(line)...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", line, err, want)
		}
	}
}
