//go:build crashpoints

package disk

import (
	"fmt"
	"os"
	"sync"
	"syscall"
)

var (
	passedMu sync.Mutex
	passed   = map[string]int{}
)

// Crash kills the process, as SIGKILL does, at the point and time that AMBERFLO_CRASH
// names, such as "frame-written:3", and panics at that in AMBERFLO_PANIC.
func Crash(point string) {
	passedMu.Lock()
	passed[point]++
	here := fmt.Sprintf("%s:%d", point, passed[point])
	passedMu.Unlock()
	switch here {
	case os.Getenv("AMBERFLO_CRASH"):
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case os.Getenv("AMBERFLO_PANIC"):
		panic("provoked at " + point)
	}
}
