package spool_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/spool"
)

// A power cut leaves such on some file systems.
func TestAnEmptiedObjectIsDamagedLikeAnyOther(t *testing.T) {
	for _, when := range []string{"before the start", "while it waits"} {
		t.Run(when, func(t *testing.T) {
			o := testOptions(t.TempDir())
			file, _ := sealedOnce(t, o, 1)
			empty := func() {
				if err := os.Truncate(file, 0); err != nil {
					t.Fatal(err)
				}
			}
			if when == "before the start" {
				empty()
			}
			s := mustOpen(t, o)
			defer s.Close()
			obj := taken(t, s)
			empty()
			body, err := s.Read(obj)
			if err == nil {
				defer body.Close()
				_, err = body.Read(make([]byte, 1))
			}
			if !errors.Is(err, spool.ErrDamaged) {
				t.Fatalf("got %v, want it damaged", err)
			}
			if err := s.SetAside(obj); err != nil {
				t.Fatal(err)
			}
			if s.Waiting() != 0 || s.Stats().Damaged != 1 {
				t.Errorf("%d wait, %d damaged, want it set aside", s.Waiting(), s.Stats().Damaged)
			}
			f := repair.File{Dir: disk.Damaged, Path: strings.TrimPrefix(onlyFile(t, o.Dir, spool.DamagedObjects), o.Dir+"/")}
			n, problems, err := repair.Records(o.Dir, f, nil)
			if n != 0 || len(problems) == 0 || err != nil {
				t.Errorf("check says %d records, %v, %v, want what is wrong", n, problems, err)
			}
		})
	}
}

func TestAnEmptyFileOfSomebodyElseIsLeftAloneAndTold(t *testing.T) {
	o := testOptions(t.TempDir())
	log := &bytes.Buffer{}
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	_, _ = sealedOnce(t, o, 1)
	stranger := filepath.Join(o.Dir, disk.Outbox, "empty.gz")
	if err := os.WriteFile(stranger, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, o)
	defer s.Close()
	if s.Waiting() != 1 || strings.Count(log.String(), "not a file of this plugin: left alone") != 1 || !strings.Contains(log.String(), "outbox/empty.gz") {
		t.Errorf("%d objects wait, want the one that is; got\n%s", s.Waiting(), log)
	}
	if _, err := os.Stat(stranger); err != nil {
		t.Error(err)
	}
}
