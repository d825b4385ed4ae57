//go:build crashpoints

package spool

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

var crashName, crashAfter = func() (string, int64) {
	name, n, _ := strings.Cut(os.Getenv("AMBERFLO_CRASH"), ":")
	after, _ := strconv.ParseInt(n, 10, 64)
	return name, max(after, 1)
}()

var crashPassed atomic.Int64

// crash kills the process, as SIGKILL does, when it passes the point named in AMBERFLO_CRASH for the
// n-th time ("frame-written:3").
func crash(point string) {
	if point == crashName && crashPassed.Add(1) == crashAfter {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
