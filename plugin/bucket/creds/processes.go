package creds

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// mark is the variable of the environment by which the processes of a helper are known, in whatever group or session.
const mark = "OUT_AMBERFLO_HELPER"

// endAll kills the leader of a group and the group, if there is a leader, and what descends from it or has a mark that begins
// with the given one: a process that calls setsid leaves its group, and one whose parent has ended is init's. It returns
// once none of them is left, or after a second.
//
// It does not find a process that has left its group, whose parent has ended and that has cleared its environment; nor
// one that runs as another user, which could not be killed either. Nobody waits for those.
func endAll(leader int, begins string) {
	for deadline := time.Now().Add(time.Second); ; time.Sleep(10 * time.Millisecond) {
		found := descendants(leader, begins) // before a parent has ended, which they are known by
		if leader > 0 {
			_ = syscall.Kill(-leader, syscall.SIGKILL)
			leader = 0 // another process may get that number now
		}
		for _, p := range found {
			_ = p.Signal(syscall.SIGKILL)
			_ = p.Release()
		}
		if len(found) == 0 || time.Now().After(deadline) {
			return
		}
	}
}

// descendants are the processes that endAll kills. Each stays the same process, whoever gets its number later.
func descendants(leader int, begins string) (found []*os.Process) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	children := make(map[int][]int)
	var roots []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		parent, lives := parentOf(pid)
		if !lives {
			continue
		}
		children[parent] = append(children[parent], pid)
		if pid == leader || marked(pid, begins) {
			roots = append(roots, pid)
		}
	}
	seen := make(map[int]bool)
	for len(roots) > 0 {
		pid := roots[0]
		roots = roots[1:]
		if seen[pid] {
			continue
		}
		seen[pid] = true
		roots = append(roots, children[pid]...)
		p, err := os.FindProcess(pid) // by a descriptor, so that it stays this one
		if err != nil {
			continue
		}
		// Is it still the one that was looked at?
		if parent, lives := parentOf(pid); lives && (pid == leader || seen[parent] || marked(pid, begins)) {
			found = append(found, p)
		}
	}
	return found
}

// parentOf gives the parent of a process that has not ended.
func parentOf(pid int) (parent int, lives bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	var state string
	_, err = fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &state, &parent)
	return parent, err == nil && !strings.ContainsAny(state, "ZX")
}

func marked(pid int, begins string) bool {
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && bytes.Contains(append([]byte{0}, environment...), []byte("\x00"+mark+"="+begins))
}
