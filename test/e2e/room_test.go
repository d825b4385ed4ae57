package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/fault"
)

// limit is less than what the logs of these tests become, and more than any chunk of Fluent Bit (2 MB of events become
// some 1.5 MB of records): one that is larger would be let in alone.
const limit = 2_400_000

var uncompressed = []string{"compression none", "s3_key_format ingest/$UUID.json"}

func TestAtTheLimitFluentBitKeepsTheLogsUntilThereIsRoom(t *testing.T) {
	in, truth := accessLog(t, accesslog.Options{Lines: 30000, Seed: 4}, accesslog.Chunks{Records: 100})
	both(t, func(t *testing.T, b *bench) {
		proxy := b.behind(fault.Options{Rate: 1, Modes: []fault.Mode{fault.Unavailable}})
		section := b.section(slices.Concat(accessMapping, uncompressed, []string{"store_dir_limit_size " + fmt.Sprint(limit), "total_file_size 300K",
			"upload_timeout 200ms", "upload_concurrency 4", "failure_reports off"})...)
		p := b.start(in, section)
		p.await("[error]", "a chunk cannot be accepted now, Fluent Bit offers it again as often as Retry_Limit allows", "the spool is full", "store_dir_limit_size")
		b.until("no more than the limit to wait", func() bool { return b.size("open")+b.size("sealing")+b.size("outbox") <= limit })
		proxy.SetRate(0)
		p.await("chunks are accepted again after")
		b.untilBilled(truth.Metered)
		p.stop()
		b.wantBill(truth.Bill)
		b.wantDelivered()
	})
}

// What was uploaded is kept only to be sent again should Amberflo not take it: it must not hold up what is not.
func TestWhatIsInTheBucketTakesNoRoomFromWhatIsNot(t *testing.T) {
	t.Parallel()
	in, truth := accessLog(t, accesslog.Options{Lines: 40000, Seed: 4}, accesslog.Chunks{Records: 100})
	b := newBench(t, bundledHost)
	b.allowReports()
	p := b.start(in, b.section(slices.Concat(accessMapping, uncompressed, []string{"store_dir_limit_size " + fmt.Sprint(limit), "total_file_size 100K", "upload_timeout 200ms"})...))
	b.untilBilled(truth.Metered)
	p.stop()
	b.wantBill(truth.Bill)
}

func (b *bench) size(folder string) int {
	b.Helper()
	n := 0
	for _, content := range b.spool(folder) {
		n += len(content)
	}
	return n
}

func TestOnAFullDiskNothingIsLostAndItGoesOnWhenThereIsRoom(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt").CombinedOutput(); err != nil {
		t.Skipf("no small file system can be mounted here (unshare -rm): %v: %s", err, out)
	}
	in, truth := accessLog(t, accesslog.Options{Lines: 14000, Seed: 5, Bad: 0.01}, accesslog.Chunks{Records: 200})
	b := newBench(t, bundledHost)
	proxy := b.behind(fault.Options{Rate: 1, Modes: []fault.Mode{fault.Unavailable}})
	if err := os.Mkdir(b.path("spool"), 0o700); err != nil {
		t.Fatal(err)
	}
	conf := b.write("conf", []byte(b.section(slices.Concat(accessMapping, uncompressed, []string{
		"total_file_size 200K", "upload_timeout 1s", "upload_concurrency 4", "failure_reports off"})...)))
	script := fmt.Sprintf(`mount -t tmpfs -o size=2560k,mode=0700 none %s && exec %s -e %s -c %s --threads 2 --wait 10m -`, b.path("spool"), hostProgram, pluginFile, conf)
	p := b.execute("log", bytes.NewReader(in.chunks), "unshare", "-rm", "sh", "-c", script)
	p.await("[error]", "a chunk cannot be accepted now, Fluent Bit offers it again as often as Retry_Limit allows", "no space left on the disk")

	// What is on disk now is whole.
	inside := fmt.Sprintf("/proc/%d/root%s", p.Cmd.Process.Pid, b.path("spool"))
	var disk syscall.Statfs_t
	if err := syscall.Statfs(inside, &disk); err != nil {
		t.Fatal(err)
	}
	if used := (disk.Blocks - disk.Bfree) * uint64(disk.Bsize); used < 500_000 || used > 2560<<10 {
		t.Errorf("%d bytes of 2.5 MiB are used, want a good part of it", used)
	}
	proxy.SetRate(0)
	p.await("chunks are accepted again after")
	b.untilBilled(truth.Metered)
	if left := b.files(inside + "/outbox"); len(left) > 0 {
		t.Errorf("left in outbox/: %q", names(left))
	}
	p.stop()
	b.wantBill(truth.Bill)
}
