package e2e

import (
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"out_amberflo/test/fluentbit"
	"out_amberflo/test/logbook"
)

const (
	// patience is how long another process may take to bring something about.
	patience = 45 * time.Second
	// longestShutdown is the largest shutdown_timeout of these tests.
	longestShutdown = 45 * time.Second
	// endWithin is how long a program may take to end: with the work that it still has, its shutdown, Fluent Bit's Grace of
	// 5 s, and the time that a busy machine takes in between.
	endWithin = patience + longestShutdown + 15*time.Second
)

// process is a program that has the plugin loaded; what it does not do in time fails the test.
type process struct {
	*fluentbit.Process
	b *bench
}

// execute starts a program. It is killed if it outlives the test.
func (b *bench) execute(log string, stdin io.Reader, args ...string) *process {
	b.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(append(os.Environ(), b.server.Env(b.credentials)...), b.env...)
	cmd.Stdin = stdin
	started, err := fluentbit.Start(cmd)
	p := &process{started, b}
	p.must(err)
	b.Cleanup(func() {
		p.Kill()
		b.write(log, []byte(p.Log.String()))
	})
	return p
}

func (p *process) must(err error) {
	p.b.Helper()
	if err != nil {
		p.b.Fatal(err)
	}
}

// wait waits for the end and gives the exit status, -1 for a signal.
func (p *process) wait() int {
	p.b.Helper()
	p.must(p.Ended(endWithin))
	return p.Cmd.ProcessState.ExitCode()
}

// finish wants it to end by itself, in good order, and returns the log.
func (p *process) finish() string {
	p.b.Helper()
	p.must(p.Succeeded(endWithin))
	return p.Log.String()
}

// notStarted wants it to end by itself with an error, and returns the log.
func (p *process) notStarted() string {
	p.b.Helper()
	if code := p.wait(); code <= 0 {
		p.b.Errorf("%s: exit status %d, want it not to start", p.Cmd, code)
	}
	return p.Log.String()
}

func (p *process) signal(s syscall.Signal) {
	p.b.Helper()
	p.must(p.Cmd.Process.Signal(s))
}

// ready waits until the program can be stopped in good order, or has ended.
func (p *process) ready() {
	p.b.Helper()
	p.b.until("the start", func() bool {
		return !p.Running() || p.Log.Count("[output:amberflo:", "started", "bucket=") > 0 &&
			(p.b.program != realFluentBit || p.Log.Count("stream processor started") > 0)
	})
}

// stop sends SIGTERM, wants an orderly end and returns the log.
func (p *process) stop() string {
	p.b.Helper()
	p.ready()
	p.must(p.Stop(endWithin))
	return p.Log.String()
}

// await waits for a line that holds all of the words.
func (p *process) await(words ...string) {
	p.b.Helper()
	p.must(p.Await(patience, words...))
}

// until waits for what another process brings about.
func (b *bench) until(what string, condition func() bool) {
	b.Helper()
	if !fluentbit.Until(patience, condition) {
		b.Fatalf("waited %s for %s", patience, what)
	}
}

// wantLog wants one line of a log that holds all of the words.
func (b *bench) wantLog(log string, words ...string) {
	b.Helper()
	if logbook.Count(log, words...) == 0 {
		b.Errorf("want a line with %q in the log:\n%s", words, log)
	}
}
