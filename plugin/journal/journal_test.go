package journal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/disk/disktest"
)

func options(dir string) Options {
	d := disk.New(dir)
	d.Sync = func(*os.File) error { return nil }
	return Options{
		Dir: d, MaxBytes: 1 << 20, GzipLevel: 6, MinBlock: 100, Log: slog.New(slog.DiscardHandler), Wake: func() {},
		Space: func(int64, int64, Held) error { return nil },
	}
}

func mustOpen(t *testing.T, o Options) *Journal {
	t.Helper()
	for _, dir := range []string{disk.Open, disk.Sealing} {
		if err := os.MkdirAll(o.Dir.Path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Dir.Lock(); err != nil {
		t.Fatal(err)
	}
	j, err := Open(o)
	if err != nil {
		t.Fatal(err, o.Dir.Unlock())
	}
	return j
}

// crashed leaves the directory as a killed process does.
func crashed(t *testing.T, j *Journal) {
	t.Helper()
	j.Close()
	if err := j.opt.Dir.Unlock(); err != nil {
		t.Fatal(err)
	}
}

func mustBegin(t *testing.T, j *Journal, source uint64, lines string) *Tx {
	t.Helper()
	tx, err := j.Begin(Source{1, source}, 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	tx.Append(append(tx.Lines(), lines...), strings.Count(lines, "\n"))
	return tx
}

func mustAppend(t *testing.T, j *Journal, source uint64, lines string) {
	t.Helper()
	if err := mustBegin(t, j, source, lines).Commit(); err != nil {
		t.Fatal(err)
	}
}

// removed removes all segments but the current one, as if they were sealed.
func removed(t *testing.T, j *Journal) {
	t.Helper()
	segments, _, err := j.Due(0)
	for _, s := range segments {
		r, rerr := j.Read(s)
		if rerr == nil {
			r.Close()
		}
		err = errors.Join(err, rerr, j.Remove(s))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestMaxBytesIsOfLinesAndNotOfWhatTheyTakeOnDisk(t *testing.T) {
	o := options(disktest.MemoryDir(t))
	o.MaxBytes = 100_000
	j := mustOpen(t, o)
	for i := range uint64(3) {
		mustAppend(t, j, i, strings.Repeat("x", 60_000)+"\n")
	}
	if n := len(j.full); n != 1 || j.current.has.records != 1 {
		t.Errorf("%d segments are full and %d records in the last one, want 1 and 1", n, j.current.has.records)
	}
	crashed(t, j)
}

func TestALargeBatchIsNoReasonToKeepAsMuchMemory(t *testing.T) {
	o := options(disktest.MemoryDir(t))
	o.GzipLevel = 0
	j := mustOpen(t, o)
	source := uint64(0)
	flush := func(size int) *Tx {
		t.Helper()
		source++
		tx := mustBegin(t, j, source, strings.Repeat("x", size-1)+"\n")
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		tx.Release()
		return tx
	}
	for _, size := range []int{40 << 20, 12 << 20} { // what is given up at once, and after a while
		tx := flush(size)
		for range 20 {
			if again := flush(100 << 10); again != tx {
				t.Fatal("one flush after the other, and not in the same memory")
			}
		}
		if lines, frame := cap(tx.lines), tx.encoder.frame.Cap(); lines > 1<<20 || frame > 1<<20 {
			t.Errorf("after %d bytes, %d of lines and %d of a frame are kept", size, lines, frame)
		}
	}
	tx := mustBegin(t, j, 9999, "a\n")
	for range 40 {
		tx.Reject([]byte(strings.Repeat("x", 1<<20-1) + "\n"))
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	tx.Release()
	if n := cap(tx.rejects); n > 1<<20 {
		t.Errorf("%d bytes of rejects are kept", n)
	}
	tx = flush(3 << 20)
	for i := range 100 {
		flush(100 << 10)
		if i%10 == 0 {
			flush(3 << 20)
		}
	}
	if cap(tx.lines) < 3<<20 {
		t.Error("what is needed again and again is given up")
	}
	crashed(t, j)
}

func TestAChunkIsKnownThoughTheClockJumped(t *testing.T) {
	o := options(t.TempDir())
	j := mustOpen(t, o)
	mustAppend(t, j, 1, "a\n")
	j.chunks.recent[0].At -= int64(2 * time.Minute) // as put notes it with a clock that was behind until now
	removed(t, j)
	crashed(t, j)
	j = mustOpen(t, o)
	defer crashed(t, j)
	if _, err := j.Begin(Source{1, 1}, 1); !errors.Is(err, ErrAccepted) {
		t.Errorf("got %v for what was accepted right before the crash", err)
	}
}

// Left alone, such a segment would be delivered later, and so would its chunks that come again now.
func TestASegmentThatTheDiskDoesNotGiveEndsTheStart(t *testing.T) {
	o := options(t.TempDir())
	j := mustOpen(t, o)
	mustAppend(t, j, 1, "a\n")
	id, file := j.current.ID, j.current.path(o.Dir)
	crashed(t, j)
	away := o.Dir.Root + "-segment"
	if err := errors.Join(os.Rename(file, away), os.Symlink(file, file)); err != nil { // ELOOP
		t.Fatal(err)
	}
	// A link is no file of the plugin; what it would read through one is what counts here.
	if err := (&Journal{opt: o}).recoverSegment(&Segment{ID: id}, findings{}); !errors.As(err, new(unix.Errno)) {
		t.Fatalf("got %v, want the disk's own error", err)
	}
	if err := errors.Join(os.Remove(file), os.Rename(away, file), os.Chmod(file, 0)); err != nil {
		t.Fatal(err)
	}
	j, err := Open(o)
	if os.Geteuid() != 0 {
		if err == nil || !strings.Contains(err.Error(), "before chunks come again") {
			t.Errorf("got %v", err)
		}
		return
	}
	if err != nil { // root may read it
		t.Fatal(err)
	}
	if got := j.Held().Records; got != 1 {
		t.Errorf("got %d records, want the one", got)
	}
	j.Close()
}

func TestNothingIsRecognisedInADirectoryThatIsAnother(t *testing.T) {
	dir := t.TempDir() + "/journal"
	o := options(dir)
	j := mustOpen(t, o)
	if err := errors.Join(os.Rename(dir, dir+"-away"), os.CopyFS(dir, os.DirFS(dir+"-away"))); err != nil {
		t.Fatal(err)
	}
	j.chunks.expected = []accepted{{Source{1, 5}, 7}}
	if _, err := j.Begin(Source{1, 5}, 1); err == nil || errors.Is(err, ErrAccepted) || len(j.chunks.expected) != 1 {
		t.Errorf("a chunk that is expected: got %v; want it offered again", err)
	}
	if err := j.begin(); err == nil {
		t.Error("want no segment begun")
	}
	crashed(t, j)
}

func TestAFrameSaysWhatItsLinesAreSumsOf(t *testing.T) {
	for _, what := range []string{"lines", "a block"} {
		for _, aside := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, with rejects and damage %v", what, aside), func(t *testing.T) {
				o := options(t.TempDir())
				if what == "lines" {
					o.GzipLevel = 0
				}
				j := mustOpen(t, o)
				lines := strings.Repeat(`{"meterValue":5}`+"\n", 10)
				tx := mustBegin(t, j, 1, lines)
				tx.Summed(15*time.Minute, 50)
				if aside {
					tx.Reject([]byte("\"r\"\n"))
					tx.Damage([]byte("d"))
				}
				if err := tx.Commit(); err != nil {
					t.Fatal(err)
				}
				mustAppend(t, j, 2, "{}\n")
				for range 2 { // as it is written, and as it is found
					if h := j.Held(); h.Records != 51 {
						t.Errorf("got %d records accepted, want 51", h.Records)
					}
					crashed(t, j)
					j = mustOpen(t, o)
				}
				r, err := j.Read(j.full[0])
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				var got []string
				for r.Next() {
					b, err := r.Lines()
					if err != nil {
						t.Fatal(err)
					}
					if len(b) > 0 {
						got = append(got, fmt.Sprintf("%s %d %q %q %d", r.Bucket, r.Summed, r.Rejects, r.Damage, bytes.Count(b, []byte{'\n'})))
					}
				}
				want := []string{`15m0s 50 "" "" 10`, `0s 0 "" "" 1`}
				if aside {
					want[0] = `15m0s 50 "\"r\"\n" "d" 10`
				}
				if r.Err() != nil || len(r.Damaged) > 0 || fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("got %v, %v, %v, want %v", got, r.Damaged, r.Err(), want)
				}
				crashed(t, j)
			})
		}
	}
}
