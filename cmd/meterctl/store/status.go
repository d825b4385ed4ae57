package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"out_amberflo/plugin"
)

// Output is what an output has said of itself.
type Output struct {
	plugin.Status
	Runs bool `json:"runs"` // its process holds the file
}

// Until is up to when its counters count.
func (o *Output) Until() time.Time {
	if o.Runs {
		return time.Now()
	}
	return o.Written
}

// longestStatus bounds what is read of a file.
const longestStatus = 1 << 20

// Outputs are those that have worked on a spool, by name. What is no status of an output is left out: nothing depends on it.
func Outputs(dir string) (list []Output) {
	entries, _ := os.ReadDir(filepath.Join(dir, plugin.StatusDir))
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".json" { // such as one that is being written
			continue
		}
		path := filepath.Join(dir, plugin.StatusDir, e.Name())
		o, err := readOutput(path)
		for tries := 1; errors.Is(err, errReplaced) && tries < 5; tries++ {
			o, err = readOutput(path)
		}
		if err == nil {
			list = append(list, o)
		}
	}
	return list
}

// errReplaced says that there is a newer file.
var errReplaced = errors.New("replaced meanwhile")

func readOutput(path string) (o Output, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return o, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s: want a file, got %s", path, st.Mode().Type())
	}
	if err != nil {
		return o, err
	}
	text, err := io.ReadAll(io.LimitReader(f, longestStatus))
	if err == nil {
		err = json.Unmarshal(text, &o.Status)
	}
	if err != nil {
		return o, err
	}
	// A shared lock, and of this file alone: the output locks another one each time that it writes.
	if locked := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); locked != nil {
		o.Runs = errors.Is(locked, unix.EWOULDBLOCK)
		return o, nil
	}
	// An output renames first and then lets go of what was there before.
	if now, err := os.Stat(path); err == nil && !os.SameFile(st, now) {
		return o, errReplaced
	}
	return o, nil
}
