// Package replay has Fluent Bit itself read a sample, filters and all.
package replay

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"out_amberflo/cmd/meterctl/pipeline"
)

// How long Fluent Bit may take to start, how long no record comes before it has read all, and how long it may take in all.
// Lines of a multiline parser are held back for four seconds.
const (
	startWithin = 30 * time.Second
	quietFor    = 2 * time.Second
	quietLong   = 7 * time.Second
	endWithin   = 2 * time.Minute
)

// Program is the Fluent Bit to run, by its name or path.
func Program() string { return cmp.Or(os.Getenv("FLUENT_BIT"), "fluent-bit") }

// Chunks gives the chunks that the output would get of a sample, by tag.
func Chunks(p *pipeline.Pipeline, how pipeline.Replay, sample []byte, notes io.Writer) (chunks map[string][]byte, err error) {
	path, err := exec.LookPath(Program())
	if err != nil {
		return nil, fmt.Errorf("--through-fluent-bit: want a program fluent-bit on the PATH or in FLUENT_BIT, got none: %w", err)
	}
	if how.Dir, err = os.MkdirTemp("", "meterctl-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(how.Dir)) }()
	how.Sample = filepath.Join(how.Dir, "sample.log")
	conf, left, err := p.Write(how)
	if err != nil {
		return nil, err
	}
	for _, filter := range left {
		fmt.Fprintf(notes, "the filter %s is left out: it would ask the network\n", filter)
	}
	if how.Input.Name != "tail" {
		fmt.Fprintf(notes, "the sample stands for records of the input %s: one JSON object a line\n", how.Input.Name)
	}
	if !bytes.HasSuffix(sample, []byte{'\n'}) {
		sample = append(sample, '\n') // the tail input waits for the end of a line
	}
	file := filepath.Join(how.Dir, "fluent-bit.yaml")
	if err := errors.Join(os.WriteFile(how.Sample, sample, 0o600), os.WriteFile(file, conf, 0o600)); err != nil {
		return nil, err
	}
	quiet := quietFor
	if bytes.Contains(conf, []byte("multiline")) {
		quiet = quietLong
	}
	out := filepath.Join(how.Dir, "out")
	if err := Run(path, file, out, quiet); err != nil {
		return nil, err
	}
	return readChunks(out)
}

// readChunks reads what Fluent Bit has left, a file for each tag.
func readChunks(dir string) (map[string][]byte, error) {
	chunks := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // not one record came
		case err != nil || d.IsDir():
			return err
		}
		tag, err := filepath.Rel(dir, path)
		if err == nil {
			chunks[tag], err = os.ReadFile(path)
		}
		return err
	})
	return chunks, err
}

// Run runs a configuration until nothing has come into dir for a while, and stops it.
func Run(path, conf, dir string, quiet time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), endWithin)
	defer cancel()
	log := &lockedBuffer{}
	cmd := exec.CommandContext(ctx, path, "-c", conf)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	started, last, bytes := time.Time{}, time.Now(), int64(-1)
	for {
		select {
		case err := <-ended:
			return fmt.Errorf("want Fluent Bit to run the pipeline, got its end (%v):\n%s", err, log.errors())
		case <-time.After(100 * time.Millisecond):
		}
		if n := size(dir); n != bytes {
			bytes, last = n, time.Now()
		}
		if started.IsZero() && log.contains("stream processor started") {
			started, last = time.Now(), time.Now()
		}
		if started.IsZero() && time.Since(last) > startWithin || !started.IsZero() && time.Since(last) > quiet {
			break
		}
	}
	cancel() // as a stop: what is in its hands is written first
	<-ended
	if started.IsZero() {
		return fmt.Errorf("want Fluent Bit to start within %s, got:\n%s", startWithin, log.errors())
	}
	return nil
}

func size(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.b.Bytes(), []byte(text))
}

// errors are the lines in which Fluent Bit says what is wrong.
func (l *lockedBuffer) errors() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, "error") || strings.Contains(line, "warn") {
			lines = append(lines, "    "+strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, "\n")
}
