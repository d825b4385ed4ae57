package sealing

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"out_amberflo/plugin/disk"
)

// What is in sealing/ counts once its origin is gone: where that is, and which file of a listing it is, has to be one answer.
func TestAnOriginIsTheFileWhereItIsFound(t *testing.T) {
	id := uuid.Must(uuid.NewV7())
	files := map[Origin]string{
		Origin(id.String()):                 "open/" + id.String() + ".log",
		RemapOf + Origin(id.String()):       "rejected/" + RejectsFile(id),
		RescueOf + Origin(id.String()):      "damaged/.rescue-" + id.String() + "=ingest%2Fa.gz",
		SplitOf + Origin(id.String()):       "damaged/.split-" + id.String() + "=ingest%2Fa.gz",
		formerRetryOf + Origin(id.String()): "rejected/.retry-" + id.String(),
	}
	for origin, file := range files {
		d := disk.New(t.TempDir())
		for _, dir := range disk.Dirs {
			if err := os.MkdirAll(d.Path(dir), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		for _, other := range files {
			if is := origin.Matcher()(other); is != (other == file) {
				t.Errorf("%s is %s: %v", origin, other, is)
			}
		}
		if _, err := origin.find(d); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is not there: got %v, want that it does not exist", origin, err)
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(d.Path(file)), 0o700), os.WriteFile(d.Path(file), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if path, err := origin.find(d); err != nil || path != d.Path(file) {
			t.Errorf("%s: found %s, %v, want %s", origin, path, err, file)
		}
		for _, x := range []Pending{{origin, disk.Outbox, "ingest/11-29-2026/a=b%.gz"}, {origin, disk.Rejected, RejectsFile(id)}, {origin, disk.Damaged, "x@y"}} {
			if got, ok := ParsePending(x.Name()); !ok || got != x {
				t.Errorf("read %q as %+v, %v, want %+v", x.Name(), got, ok, x)
			}
		}
	}
}
