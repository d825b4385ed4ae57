package plugin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheStartSaysHowManyDescriptorsThereAre(t *testing.T) {
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			t.Error(err)
		}
	}()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for level, left := range map[string]uint64{"INFO": 100, "WARN": 30} {
		low := unix.Rlimit{Cur: uint64(len(open)) + left, Max: was.Max}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
			t.Fatal(err)
		}
		c := &capture{}
		started(t, c, "store_dir", filepath.Join(t.TempDir(), "spool")).Stop()
		if got := c.log(); !strings.Contains(got, level+" [output:amberflo:amberflo.0] file descriptors: ") || !strings.Contains(got, "needs=38 left=") {
			t.Errorf("with %d left: got\n%s", left, got)
		}
	}
}

func TestTheDefaultOfStoreDirIsAPlaceOfFluentBitsUser(t *testing.T) {
	for state, want := range map[string]string{
		"":                                     "/var/lib/fluent-bit/amberflo",
		"/var/lib/metering":                    "/var/lib/metering/amberflo",
		"/var/lib/metering:/var/lib/metering2": "/var/lib/metering/amberflo",
	} {
		if got := defaultStoreDir(state); got != want {
			t.Errorf("with STATE_DIRECTORY %q: got %s, want %s", state, got, want)
		}
	}
}

func TestOptionsThatHardlyDoWhatIsWantedAreWarnedOf(t *testing.T) {
	c := &capture{}
	started(t, c, "store_dir", filepath.Join(t.TempDir(), "spool"), "storage_class", "GLACIER").Stop()
	if got := c.log(); !strings.Contains(got, "WARN") || !strings.Contains(got, "an option works, and may not do what is wanted: storage_class GLACIER") || !strings.Contains(got, "endpoint=http://127.0.0.1:1 ") {
		t.Errorf("got\n%s", got)
	}
}

func TestALongRecordStandsOnceInItsReject(t *testing.T) {
	for _, size := range []int{100, 1 << 20} {
		dir := filepath.Join(t.TempDir(), "spool")
		p := started(t, &capture{}, "store_dir", dir)
		data := events(t, map[string]any{"long": strings.Repeat("x", size)})
		if err := p.Flush("tag", data); err != nil {
			t.Fatal(err)
		}
		p.Stop()
		files, _ := filepath.Glob(filepath.Join(dir, "rejected/*/*.ndjson"))
		if len(files) != 1 {
			t.Fatalf("got %q", files)
		}
		line, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		if shown := strings.Contains(string(line), `"record":{"long":"xxx`); shown != (size < longestShown) || len(line) > len(data)*4/3+longestShown+1000 {
			t.Errorf("a record of %d bytes takes %d, shown as JSON: %v", size, len(line), shown)
		}
	}
}
