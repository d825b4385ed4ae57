package plugin

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestALineWithoutAnErrorEndsWithoutOne(t *testing.T) {
	c := &capture{}
	var err error
	newLogger(c.host()).Warn("given up", "objects", 3, "err", err)
	if got := c.log(); !strings.HasSuffix(got, "given up objects=3") {
		t.Errorf("got %q", got)
	}
}

func TestNoControlCharacterReachesALine(t *testing.T) {
	const evil = "evil\x1b[31mRED\u009b2J\u202e\x7f\xff\r\n[error] forged"
	c := &capture{}
	log := newLogger(c.host())
	log.Warn("a tag", "tag", evil)
	log.Warn("an error", "err", errors.New(evil))
	log.Warn("a message " + evil)
	got := c.log()
	if strings.ContainsFunc(got, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) || !utf8.ValidString(got) {
		t.Errorf("got %q", got)
	}
	if n := strings.Count(got, "RED"); n != 3 || strings.Count(strings.TrimSpace(got), "\n") != 2 {
		t.Errorf("want three lines that can be read, got\n%s", got)
	}
	if !strings.Contains(got, `tag="evil\x1b[31mRED`) || !strings.Contains(got, `an error: evil\x1b[31mRED`) {
		t.Errorf("got\n%s", got)
	}
}

func TestALayoutWithoutAZoneIsToldAtTheStart(t *testing.T) {
	for layout, told := range map[string]int{
		"%Y-%m-%d %H:%M:%S": 1, "%Y-%m-%dT%H:%M:%S.%L": 1,
		"%d/%b/%Y:%H:%M:%S %z": 0, "%Y-%m-%dT%H:%M:%SZ": 0, "%F %T UTC": 0, "rfc3339": 0, "unix_ms": 0, "": 0,
	} {
		c := &capture{}
		p := started(t, c, "store_dir", t.TempDir(), "meter_time", "$at, event", "meter_time_format", layout)
		p.Stop()
		if n := c.count("WARN [output:amberflo:amberflo.0] meter_time_format has no %z: times are read as UTC layout="); n != told {
			t.Errorf("%q: told %d times, want %d:\n%s", layout, n, told, c.log())
		}
	}
}
