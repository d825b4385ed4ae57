package plugin

import (
	"strings"
	"testing"
)

func TestALineWithoutAnErrorEndsWithoutOne(t *testing.T) {
	c := &capture{}
	var err error
	newLogger(c.host()).Warn("given up", "objects", 3, "err", err)
	if got := c.log(); !strings.HasSuffix(got, "given up objects=3") {
		t.Errorf("got %q", got)
	}
}
