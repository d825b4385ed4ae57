package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"out_amberflo/test/accesslog"
)

// summary is what the bundled host says at its end.
func (b *bench) summary(log string) (s struct {
	PeakMiB float64 `json:"peak_rss_mib"`
	FirstS  float64 `json:"first_flush_s"`
}) {
	b.Helper()
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "{") && json.Unmarshal([]byte(line), &s) == nil && s.PeakMiB > 0 {
			return s
		}
	}
	b.Fatalf("no summary of the host in\n%s", log)
	return s
}

// TestMemoryStaysFlatWithTenGigabytesWaiting fills the outbox with files that have a size and no content
// on disk. Nobody takes them.
func TestMemoryStaysFlatWithTenGigabytesWaiting(t *testing.T) {
	t.Parallel()
	peak := func(objects int, size int64) (peak, first float64) {
		b := newBench(t, bundledHost)
		b.endpoint = "http://127.0.0.1:1"
		outbox := b.path("spool", "outbox", "ingest")
		if err := os.MkdirAll(outbox, 0o700); err != nil {
			t.Fatal(err)
		}
		for i := range objects {
			name := filepath.Join(outbox, fmt.Sprintf("%032x=%08x-0000-7000-8000-000000000000.gz", 0, i)) // as spool names them
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(name, size); err != nil {
				t.Fatal(err)
			}
		}
		in, _ := accessLog(t, accesslog.Options{Lines: 20_000}, accesslog.Chunks{})
		s := b.summary(b.run(in, b.section(append(accessMapping, "store_dir_limit_size 20G", "shutdown_timeout 500ms")...)))
		return s.PeakMiB, s.FirstS
	}
	empty, firstEmpty := peak(0, 0)
	full, firstFull := peak(200, 50e6)
	many, firstMany := peak(10_000, 1)
	t.Logf("peak memory with nothing waiting %.0f MiB, with 10 GB %.0f MiB, with 10,000 objects %.0f MiB; start to first flush %.0f, %.0f, %.0f ms",
		empty, full, many, firstEmpty*1000, firstFull*1000, firstMany*1000)
	if full > empty+16 || many > empty+16 {
		t.Errorf("peak memory with nothing waiting is %.0f MiB, with 10 GB %.0f MiB, with 10,000 objects %.0f MiB: want no more than 16 MiB above the first", empty, full, many)
	}
}
