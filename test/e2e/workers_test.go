package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
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
	if n := p.threads("flb-out-amberfl"); n != 2*workers {
		t.Skipf("%d workers, want %d: this Fluent Bit starts them once", n, 2*workers)
	}
	p.signal(syscall.SIGHUP)
	p.await("successful reload done")
	reloaded := time.Now()
	b.until("their timers to go off twice", func() bool { return time.Since(reloaded) > 4*time.Second || !p.running() })
	p.stop()
	b.wantDelivered()
}

// threads counts those of a name, of which Linux keeps 15 bytes.
func (p *process) threads(name string) (n int) {
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/comm", p.cmd.Process.Pid))
	for _, file := range names {
		if text, err := os.ReadFile(file); err == nil && string(text) == name+"\n" {
			n++
		}
	}
	return n
}

// eventLoops counts the descriptors of epoll and of timers: a worker has one and two, a connection none.
func (p *process) eventLoops() (n int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.cmd.Process.Pid))
	for _, file := range files {
		if kind, err := os.Readlink(file); err == nil && (kind == "anon_inode:[eventpoll]" || kind == "anon_inode:[timerfd]") {
			n++
		}
	}
	return n
}
