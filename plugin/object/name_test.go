package object

import (
	"bytes"
	"strings"
	"testing"
)

func TestAFileNamesItsKeyAndItsDigest(t *testing.T) {
	sum := bytes.Repeat([]byte{0xab}, 16)
	for _, key := range []string{"a", "ingest/x.gz", "dt=2026-11-28/x=y.gz", strings.Repeat("a", 32) + "=", "a/" + strings.Repeat("g", 32) + "=b"} {
		if got, s := ParseFile(FileOf(key, sum)); got != key || !bytes.Equal(s, sum) {
			t.Errorf("%s: got %s, %x", key, got, s)
		}
		if got, s := ParseFile(key); got != key || s != nil {
			t.Errorf("%s of an earlier version: got %s, %x", key, got, s)
		}
	}
}
