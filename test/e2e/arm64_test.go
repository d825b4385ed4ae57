package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"out_amberflo/test/accesslog"
)

// .ci/arm64 builds what this runs.
func TestForAnotherArchitectureTheBillIsTheSame(t *testing.T) {
	t.Parallel()
	built := filepath.Join(root, "build", "arm64")
	emulator, err := exec.LookPath("qemu-aarch64")
	if _, missing := os.Stat(filepath.Join(built, "amberflo-host")); err != nil || missing != nil {
		t.Skip("no qemu-aarch64 or no build/arm64/amberflo-host: .ci/arm64 gets both")
	}
	b := newBench(t, bundledHost)
	in, truth := accessLog(t, accesslog.Options{Lines: 3000, Seed: 31, Bad: 0.05, Odd: 0.1}, accesslog.Chunks{Records: 100})
	conf := b.write("conf", []byte(b.section(append(accessMapping, "max_records 1000")...)))
	p := b.execute("log", bytes.NewReader(in.chunks), emulator, "-L", "/usr/aarch64-linux-gnu",
		filepath.Join(built, "amberflo-host"), "-e", filepath.Join(built, "out_amberflo.so"), "-c", conf, "--threads", "2", "-")
	if code := p.wait(); code != 0 {
		t.Fatalf("exit status %d, want 0; log:\n%s", code, p.log.String())
	}
	b.wantBill(truth.Bill)
	b.wantRejected(truth)
	b.wantDelivered()
}
