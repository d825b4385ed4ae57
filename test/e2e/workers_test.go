package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"out_amberflo/test/logbook"
)

// In a host that does not call FLBPluginOutputPreRun, as this one is made to say, workers are started by the host, twice in
// 5.1.1. Those that it forgets wake up every 1.5 s and would end it, see out_amberflo/workers.c.
func TestWorkersThatTheHostForgetsDoNoHarm(t *testing.T) {
	t.Parallel()
	b := newBench(t, realFluentBit)
	program, err := os.ReadFile(fluentBit)
	if err != nil {
		t.Fatal(err)
	}
	b.fluentBit = b.write("fluent-bit-of-another-kind", bytes.ReplaceAll(program, []byte("flb_output_pre_run\x00"), []byte("flb_output_pre_ruN\x00")))
	if err := os.Chmod(b.fluentBit, 0o700); err != nil {
		t.Fatal(err)
	}
	b.service = []string{"Hot_Reload On"}
	const workers = 2
	p := b.start(oneRecord, b.section(fmt.Sprintf("Workers %d", workers)))
	p.ready()
	if n := p.workers(); n != 2*workers {
		t.Skipf("%d workers, want %d: this Fluent Bit starts them once", n, 2*workers)
	}
	p.signal(syscall.SIGHUP)
	p.await("successful reload done")
	if n := p.deadTimers(); n < workers {
		t.Errorf("%d timers are disarmed, want that of each of the %d forgotten workers", n, workers)
	}
	p.stop()
	b.wantDelivered()
}

// workers counts those that said that they started, less those that said that they stopped. Their names in /proc would not
// do: a thread that Go starts in one of them has its name too.
func (p *process) workers() int {
	log := p.Log.String()
	return logbook.Count(log, "[ info] [output:amberflo:amberflo.0] worker #", "started") - logbook.Count(log, "thread worker #", "stopped")
}

// deadTimers counts the descriptors of timers that will never go off.
func (p *process) deadTimers() (n int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", p.Cmd.Process.Pid))
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && bytes.Contains(text, []byte("it_value: (0, 0)")) {
			n++
		}
	}
	return n
}

// workerFiles counts the descriptors of the kinds that workers have: event loops, timers and pipes. Connections are none.
func (p *process) workerFiles() (n int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.Cmd.Process.Pid))
	for _, file := range files {
		kind, err := os.Readlink(file)
		if err == nil && (kind == "anon_inode:[eventpoll]" || kind == "anon_inode:[timerfd]" || strings.HasPrefix(kind, "pipe:")) {
			n++
		}
	}
	return n
}
