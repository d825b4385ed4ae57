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
	b.wantSameBill(emulator, "-L", "/usr/aarch64-linux-gnu", filepath.Join(built, "amberflo-host"), "-e", filepath.Join(built, "out_amberflo.so"))
}

// .ci/debian11 makes the root file system. The directory of the test has its place in it too.
func TestOnAnOldDistributionTheBillIsTheSame(t *testing.T) {
	t.Parallel()
	old := filepath.Join(root, "build", "debian11")
	if _, err := os.Stat(filepath.Join(old, "amberflo-host")); err != nil || os.Getuid() != 0 {
		t.Skip("no build/debian11/amberflo-host, or not root: .ci/debian11 makes it")
	}
	b := newBench(t, bundledHost)
	b.wantSameBill("unshare", "--mount", "/bin/sh", "-ec",
		`mkdir -p "$1$0"; mount --bind "$0" "$1$0"; root=$1; shift; unset AWS_CA_BUNDLE; exec chroot "$root" /amberflo-host -e /out_amberflo.so "$@"`, b.dir, old)
}

// wantSameBill runs a host, of which the beginning of the command is given, with an access log.
func (b *bench) wantSameBill(host ...string) {
	b.Helper()
	in, truth := accessLog(b.T, accesslog.Options{Lines: 3000, Seed: 31, Bad: 0.05, Odd: 0.1}, accesslog.Chunks{Records: 100})
	conf := b.write("conf", []byte(b.section(append(accessMapping, "max_records 1000")...)))
	p := b.execute("log", bytes.NewReader(in.chunks), append(host, "-c", conf, "--threads", "2", "-")...)
	p.finish()
	b.wantBill(truth.Bill)
	b.wantRejected(truth)
	b.wantDelivered()
}
