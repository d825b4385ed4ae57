//go:build crashpoints

package disk

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// mishap is a point and for which time it is passed: "frame-written:3".
type mishap struct {
	name   string
	after  int64
	passed atomic.Int64
}

func mishapOf(variable string) *mishap {
	name, n, _ := strings.Cut(os.Getenv(variable), ":")
	after, _ := strconv.ParseInt(n, 10, 64)
	return &mishap{name: name, after: max(after, 1)}
}

func (m *mishap) happens(point string) bool { return point == m.name && m.passed.Add(1) == m.after }

var kill, panics = mishapOf("AMBERFLO_CRASH"), mishapOf("AMBERFLO_PANIC")

// Crash kills the process, as SIGKILL does, at the point named in AMBERFLO_CRASH, and panics at that in
// AMBERFLO_PANIC.
func Crash(point string) {
	if kill.happens(point) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	if panics.happens(point) {
		panic("provoked at " + point)
	}
}
