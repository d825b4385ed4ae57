package show

import (
	"strings"
	"testing"
	"time"
)

func TestSizesAgesAndNamesAreForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 12_345_678: "12.3 MB", 99_949: "99.9 kB", 99_951: "100 kB", 999_499: "999 kB", 999_500: "1.0 MB", 10_000_000_000: "10.0 GB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-time.Second: "0s", 3 * time.Second: "3s", 3 * time.Minute: "3m", 119 * time.Second: "119s", 26 * time.Hour: "26h", 75 * time.Hour: "3d"} {
		if got := Duration(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
	for name, want := range map[string]string{"acme": "acme", "größe 例": "größe 例", "a\x1b[31m\n": `a\u{1b}[31m\u{a}`, "x\u202egpj": `x\u{202e}gpj`, "z\u200bw": `z\u{200b}w`, "bad\xff": "bad\ufffd"} {
		if got := Plain(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
	for text, want := range map[string]string{"1": "1", "1234": "1,234", "-1234567.8901": "-1,234,567.8901", "123": "123"} {
		if got := Thousands(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestProgressIsToldOfWhatTakesLong(t *testing.T) {
	var b strings.Builder
	p := &Progress{w: &b, what: "check", total: 4e9, began: time.Now().Add(-30 * time.Second)}
	p.Add(1e9)
	p.Add(1e9) // within the same five seconds
	p.End()
	p.Add(1e9)
	if want := "check: 1.0 GB of 4.0 GB (25 %), 90s left\n"; b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
	b.Reset()
	p = &Progress{w: &b, what: "cat", total: 10, began: time.Now()}
	p.Add(5)
	if b.Len() > 0 {
		t.Errorf("at once: got %q", b.String())
	}
	p = &Progress{w: &b, terminal: true, what: "cat", total: 10, began: time.Now().Add(-2 * time.Second)}
	p.Add(5)
	p.End()
	if want := "\r\x1b[Kcat: 5 B of 10 B (50 %), 2s left\r\x1b[K"; b.String() != want {
		t.Errorf("on a terminal: got %q, want %q", b.String(), want)
	}
}
