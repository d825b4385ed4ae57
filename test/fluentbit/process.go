package fluentbit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"out_amberflo/test/logbook"
)

// Process is a program that has the plugin loaded: Fluent Bit, or the bundled host in its place. It is safe for concurrent use.
type Process struct {
	Cmd   *exec.Cmd
	Log   *logbook.Book // standard error, and standard output where the command has no other place for it
	ended chan struct{}
}

// Start starts a command. The kernel kills it if it outlives this program.
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{Cmd: cmd, Log: &logbook.Book{}, ended: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = p.Log
	}
	cmd.Stderr = p.Log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second // for the copy of its standard input
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait() // its state tells the rest
		close(p.ended)
	}()
	return p, nil
}

// Running tells whether it has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Ended waits for the end.
func (p *Process) Ended(most time.Duration) error {
	select {
	case <-p.ended:
		return nil
	case <-time.After(most):
		_ = p.Cmd.Process.Signal(syscall.SIGABRT) // the stacks of a plugin that hangs
		<-p.ended
		return p.failed(fmt.Sprintf("has not ended after %s", most))
	}
}

// Succeeded waits for the end, and wants the exit status 0.
func (p *Process) Succeeded(most time.Duration) error {
	err := p.Ended(most)
	if err == nil && !p.Cmd.ProcessState.Success() {
		err = p.failed(p.Cmd.ProcessState.String() + ", want exit status 0")
	}
	return err
}

// Stop sends SIGTERM and wants an orderly end.
func (p *Process) Stop(most time.Duration) error {
	if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return p.Succeeded(most)
}

// Kill sends SIGKILL and waits. It tells whether that was what ended the process.
func (p *Process) Kill() bool {
	_ = p.Cmd.Process.Kill()
	<-p.ended
	status, ok := p.Cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Await waits for a line that holds all of the words.
func (p *Process) Await(most time.Duration, words ...string) error {
	return p.Until(most, fmt.Sprintf("a line with %q", words), func() bool { return p.Log.Count(words...) > 0 })
}

// Until waits for a condition that the process brings about before it ends.
func (p *Process) Until(most time.Duration, what string, condition func() bool) error {
	running := true
	if !Until(most, func() bool {
		running = p.Running() // before the condition, which its end may have fulfilled
		return condition() || !running
	}) {
		return p.failed(fmt.Sprintf("waited %s for %s", most, what))
	}
	if !running && !condition() {
		return p.failed("ended without " + what)
	}
	return nil
}

func (p *Process) failed(how string) error {
	return fmt.Errorf("%s: %s; log:\n%s", p.Cmd.Path, how, p.Log)
}

// Until waits for a condition that another process brings about, and tells whether it came. It leaves the machine at least
// half of the time.
func Until(most time.Duration, condition func() bool) bool {
	for end := time.Now().Add(most); ; {
		began := time.Now()
		if condition() {
			return true
		}
		if began.After(end) {
			return false
		}
		time.Sleep(max(10*time.Millisecond, time.Since(began)))
	}
}

// Built finds what make builds, out_amberflo.so or bin/NAME, in this directory or in one above it: tests run in those of
// their packages, and none builds it itself, so that it is what is shipped, with the same flags.
func Built(name string) (string, error) {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		file := filepath.Join(dir, name)
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("want %s, which is not built: run make test at the top of the repository", name)
		}
	}
	return "", err
}

// Section is a section of a configuration in the classic form.
func Section(name string, lines ...string) string {
	return "[" + name + "]\n    " + strings.Join(lines, "\n    ") + "\n"
}

// Parsers is a Parsers_File with the parser of Tail.
const Parsers = "[PARSER]\n    Name json\n    Format json\n    Time_Key time\n    Time_Format %Y-%m-%dT%H:%M:%S.%LZ\n"

// Tail is an [INPUT], line by line, that reads a log from its beginning, of which each line is JSON with a time.
func Tail(log, tag string) []string {
	return []string{"Name tail", "Path " + log, "Tag " + tag, "Parser json", "Read_from_Head on"}
}
