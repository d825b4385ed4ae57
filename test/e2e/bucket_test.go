package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/amberflo"
)

// amberflo reads the whole bucket as Amberflo does.
func (b *bench) amberflo() *amberflo.Standin {
	b.Helper()
	s := b.reader(nil)
	if _, err := s.Read(b.Context()); err != nil {
		b.Fatal(err)
	}
	return s
}

func (b *bench) reader(each func(key string, r amberflo.Record)) *amberflo.Standin {
	return b.server.Standin(amberflo.Options{Each: each})
}

// untilBilled waits until so many records have arrived.
func (b *bench) untilBilled(n int) {
	b.Helper()
	s := b.reader(nil)
	b.until(fmt.Sprintf("%d records in the bucket", n), func() bool {
		if _, err := s.Read(b.Context()); err != nil {
			b.Fatal(err)
		}
		return s.Bill().Billed >= n
	})
}

// allowReports lets the plugin list and read failure reports.
func (b *bench) allowReports() {
	b.Helper()
	if err := b.server.SetPolicy(b.Context(), b.server.PutAndReportsPolicy()); err != nil {
		b.Fatal(err)
	}
}

// meterctl wants a command on the spool to succeed, and returns what it writes.
func (b *bench) meterctl(args ...string) string {
	b.Helper()
	cmd := exec.Command(meterctl, append([]string{"--store-dir", b.path("spool")}, args...)...)
	var notes strings.Builder
	cmd.Stderr = &notes
	out, err := cmd.Output()
	if err != nil {
		b.Errorf("meterctl %s: %v\n%s%s", strings.Join(args, " "), err, out, notes.String())
	}
	return string(out)
}

// wantBill wants what the log says, to the last unit, without help of deduplication.
func (b *bench) wantBill(want []accesslog.Line) {
	b.Helper()
	s := b.amberflo()
	bill := s.Bill()
	b.wantLines(bill, want)
	if bill.Duplicates+bill.Conflicts+bill.Refused+bill.RefusedObjects+bill.WithoutID > 0 {
		b.Errorf("want no duplicates, conflicts, refusals or records without id, got %+v", bill)
	}
	for _, o := range s.Objects() {
		if strings.HasSuffix(o.Key, ".gz") && o.Members != 1 {
			b.Errorf("%s has %d gzip members, want 1", o.Key, o.Members)
		}
	}
}

func (b *bench) wantLines(bill amberflo.Bill, want []accesslog.Line) {
	b.Helper()
	var expected []amberflo.Line
	for _, l := range want {
		expected = append(expected, amberflo.Line{Customer: l.Customer, Meter: l.Meter, Events: l.Events, Usage: l.Usage})
	}
	for _, diff := range amberflo.Diff(expected, bill.Lines) {
		b.Errorf("bill: %s", diff)
	}
}

// wantRejected wants each record that cannot be metered in rejected/, once and with an id of its own.
func (b *bench) wantRejected(truth accesslog.Truth) {
	b.Helper()
	ids := map[string]bool{}
	found := b.rejected()
	for _, r := range found {
		ids[r.ID] = true
	}
	if len(found) != truth.Rejected() || len(ids) != len(found) {
		b.Errorf("%d records in rejected/ with %d ids, want %d", len(found), len(ids), truth.Rejected())
	}
}

// reject is a line of rejected/.
type reject struct {
	ID, Reason, Detail, Tag, Time string
	Record                        json.RawMessage
	Chunk                         []byte
}

func (b *bench) rejected() []reject {
	b.Helper()
	var found []reject
	for name, content := range b.spool("rejected") {
		for line := range strings.Lines(content) {
			var r reject
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				b.Fatalf("rejected/%s: %q: %v", name, line, err)
			}
			found = append(found, r)
		}
	}
	return found
}

// objects gives what is in the bucket: the bytes by key.
func (b *bench) objects() map[string]string { return b.server.Contents(b) }

// arrived waits until there are as many objects in the bucket.
func (b *bench) arrived(n int) map[string]string {
	b.Helper()
	b.until(fmt.Sprintf("%d objects in the bucket", n), func() bool {
		listed, err := b.server.Objects(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		return len(listed) >= n
	})
	return b.objects()
}

// plain undoes gzip if the key says so, as Amberflo does.
func (b *bench) plain(key, content string) string {
	b.Helper()
	if !strings.HasSuffix(key, ".gz") {
		return content
	}
	zr, err := gzip.NewReader(bytes.NewReader([]byte(content)))
	if err != nil {
		b.Fatalf("%s: %v", key, err)
	}
	zr.Multistream(false)
	text, err := io.ReadAll(zr)
	if err != nil {
		b.Fatalf("%s: %v", key, err)
	}
	return string(text)
}
