package e2e

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a program that has the plugin loaded.
type process struct {
	b     *bench
	cmd   *exec.Cmd
	log   *logbook
	ended chan struct{}
}

// execute starts a program. It is killed if it outlives the test.
func (b *bench) execute(log string, stdin io.Reader, args ...string) *process {
	b.Helper()
	p := &process{b: b, cmd: exec.Command(args[0], args[1:]...), log: &logbook{}, ended: make(chan struct{})}
	p.cmd.Env = append(append(os.Environ(), b.server.Env(b.credentials)...), b.env...)
	p.cmd.Stdin = stdin
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = 5 * time.Second // for the copy of stdin
	if err := p.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // its state tells the rest
		close(p.ended)
	}()
	b.Cleanup(func() {
		p.kill()
		b.write(log, []byte(p.log.String()))
	})
	return p
}

// hangs is after what time a process does not end any more: twice the longest shutdown_timeout of these tests.
const hangs = 90 * time.Second

// wait waits for the end and gives the exit status, -1 for a signal.
func (p *process) wait() int {
	p.b.Helper()
	select {
	case <-p.ended:
	case <-time.After(hangs):
		_ = p.cmd.Process.Signal(syscall.SIGABRT) // the stacks of a plugin that hangs
		<-p.ended
		p.b.Fatalf("%s has not ended after %s; log:\n%s", p.cmd.Path, hangs, p.log.String())
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) signal(s syscall.Signal) {
	p.b.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.b.Fatal(err)
	}
}

// ready waits until the program can be stopped in good order, or has ended.
func (p *process) ready() {
	p.b.Helper()
	p.b.until("the start", func() bool {
		log := p.log.String()
		return !p.running() || lines(log, "[output:amberflo:", "started", "bucket=") > 0 &&
			(p.b.program != realFluentBit || lines(log, "stream processor started") > 0)
	})
}

// stop sends SIGTERM, wants an orderly end and returns the log.
func (p *process) stop() string {
	p.b.Helper()
	p.ready()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		p.b.Fatalf("exit status %d after SIGTERM, want 0; log:\n%s", code, p.log.String())
	}
	return p.log.String()
}

// kill sends SIGKILL and waits; it tells whether that was what ended the process.
func (p *process) kill() bool {
	_ = p.cmd.Process.Kill()
	<-p.ended
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// await waits for a line that holds all of the words.
func (p *process) await(words ...string) {
	p.b.Helper()
	const most = 45 * time.Second
	for deadline := time.Now().Add(most); lines(p.log.String(), words...) == 0; time.Sleep(5 * time.Millisecond) {
		if !p.running() && lines(p.log.String(), words...) == 0 {
			p.b.Fatalf("%s ended without a line with %q; log:\n%s", p.cmd.Path, words, p.log.String())
		}
		if time.Now().After(deadline) {
			p.b.Fatalf("waited %s for a line with %q; log:\n%s", most, words, p.log.String())
		}
	}
}

// logbook is what a process wrote so far. It is safe for concurrent use.
type logbook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
