package s3server

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// listeningPort finds the TCP port on which a process listens. versitygw does not tell the
// port that the kernel chose for it, and choosing one beforehand would be a race. The format
// of /proc/net/tcp is that of proc(5): local address as hex:hex, state 0A for listening, inode.
func listeningPort(pid int) (int, error) {
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return 0, err
	}
	own := map[string]bool{}
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && strings.HasPrefix(target, "socket:[") {
			own[strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")] = true
		}
	}
	for _, table := range []string{"tcp", "tcp6"} {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(content)) {
			field := strings.Fields(line)
			if len(field) < 10 || field[3] != "0A" || !own[field[9]] {
				continue
			}
			_, port, _ := strings.Cut(field[1], ":")
			n, err := strconv.ParseUint(port, 16, 16)
			return int(n), err
		}
	}
	return 0, fmt.Errorf("process %d listens on no TCP port", pid)
}
