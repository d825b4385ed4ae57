package spool_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/disk/disktest"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/spool"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("SPOOL_CHILD"); dir != "" {
		if err := child(dir); err != nil {
			fmt.Println("child:", err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if childDir != "" {
		_ = os.RemoveAll(childDir)
	}
	os.Exit(code)
}

// child is a process with a spool in dir/spool and a bucket in dir/bucket. It offers the chunks whose
// numbers it reads, several at once, and says which are acknowledged; at the end of its input it stops.
func child(dir string) error {
	o := testOptions(filepath.Join(dir, "spool"))
	o.MaxBytes, o.Object.MaxRecords, o.MaxAge = 700, 9, 20*time.Millisecond
	s, err := spool.Open(o)
	if err != nil {
		return err
	}
	s.KeepSent(true)
	var sealed, shipped, offering sync.WaitGroup
	sealing, stopSealing := context.WithCancel(context.Background())
	defer stopSealing()
	sealed.Go(func() { s.Run(sealing) })
	shipping, stopShipping := context.WithCancel(context.Background())
	defer stopShipping()
	var failed error
	shipped.Go(func() {
		for {
			obj, err := s.Take(shipping, false)
			if err != nil {
				return
			}
			if err := errors.Join(upload(s, obj, filepath.Join(dir, "bucket")), s.Sent(obj)); err != nil {
				failed = err
			}
		}
	})
	chunks := make(chan uint64)
	for range 4 {
		offering.Go(func() {
			for n := range chunks {
				err := offered(s, n)
				if err == nil {
					fmt.Println("ack", n) // one write
				} else {
					fmt.Println("err", n, err)
				}
			}
		})
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var n uint64
		if _, err := fmt.Sscan(in.Text(), &n); err != nil {
			return err
		}
		chunks <- n
	}
	close(chunks)
	offering.Wait()
	again := func(stays string) error {
		_, err := repair.Retry(o, "", func(line []byte) ([]byte, bool) {
			if stays != "" && bytes.Contains(line, []byte(stays)) {
				return nil, true
			}
			return append(line[:len(line):len(line)], '\n'), false
		})
		return err
	}
	err = again(".1") // of what is sealed so far, and beside that
	stopSealing()
	sealed.Wait()
	err = errors.Join(err, s.Drain(context.Background()), again(""), s.Publish(), s.Empty(context.Background()))
	stopShipping()
	shipped.Wait()
	sent, serr := s.InBucket()
	err = errors.Join(err, serr, failed)
	for i, obj := range sent {
		if i == 0 {
			err = errors.Join(err, s.KeepFailed(obj, []byte("no such meter\n")))
		} else {
			err = errors.Join(err, s.Forget(obj))
		}
	}
	return errors.Join(err, s.Close())
}

// offered flushes a chunk.
func offered(s *spool.Spool, n uint64) error {
	tx, err := s.Begin(journal.Source{Length: 1, Hash: n}, 100)
	if errors.Is(err, journal.ErrAccepted) {
		return nil
	}
	if err != nil {
		return err
	}
	prefix, first := tx.IDs()
	tx.Append(append(tx.Lines(), linesOf(prefix, first, namesOf(n))...), len(namesOf(n)))
	for i := range n % 16 / 3 { // more than one of some, none of others
		tx.Reject(fmt.Appendf(nil, "{\"name\":\"r%d.%d\",\"uniqueId\":%q}\n", n, i, tx.RejectID()))
	}
	if n%16 == 5 {
		tx.Damage(fmt.Append(nil, n))
	}
	return tx.Commit()
}

func rejectsOfChunk(n uint64) (names []string) {
	for i := range n % 16 / 3 {
		names = append(names, fmt.Sprintf("r%d.%d", n, i))
	}
	return names
}

// upload copies an object, as PutObject does: the same key is overwritten, with the same bytes.
func upload(s *spool.Spool, obj spool.Object, bucket string) error {
	f, err := s.Read(obj)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	to := filepath.Join(bucket, obj.Key)
	if was, err := os.ReadFile(to); err == nil && !bytes.Equal(was, b) {
		return fmt.Errorf("%s has other bytes than before", obj.Key)
	}
	tmp := filepath.Join(filepath.Dir(bucket), "upload")
	return errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(tmp, b, 0o600), os.Rename(tmp, to))
}

func namesOf(n uint64) (names []string) {
	for i := range n % 6 {
		names = append(names, fmt.Sprintf("%d.%d", n, i))
	}
	return names
}

// fluentBit offers chunks to one child after the other until all are acknowledged and a child has
// stopped by itself.
type fluentBit struct {
	binary, dir string
	acked       []bool // by chunk
}

var childDir string // removed by TestMain

var buildChild = sync.OnceValues(func() (binary string, err error) {
	if childDir, err = os.MkdirTemp("", "spool-child-*"); err != nil {
		return "", err
	}
	binary = filepath.Join(childDir, "child")
	out, err := exec.Command("go", "test", "-c", "-tags", "crashpoints", "-o", binary, ".").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return binary, err
})

func newFluentBit(t *testing.T, chunks int) *fluentBit {
	t.Helper()
	binary, err := buildChild()
	if err != nil {
		t.Fatal(err)
	}
	return &fluentBit{binary: binary, dir: disktest.MemoryDir(t), acked: make([]bool, chunks)}
}

// run gives a child what is not acknowledged. It dies at a point, or when kill says so, or stops; what it
// had acknowledged until then is noted. It returns whether it died.
func (fb *fluentBit) run(t *testing.T, point string, kill <-chan time.Time) (died bool) {
	t.Helper()
	var due strings.Builder
	for n, acked := range fb.acked {
		if !acked {
			fmt.Fprintln(&due, n)
		}
	}
	cmd := exec.Command(fb.binary)
	cmd.Env = append(os.Environ(), "SPOOL_CHILD="+fb.dir, "AMBERFLO_CRASH="+point)
	cmd.Stdin = strings.NewReader(due.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-kill:
			_ = cmd.Process.Kill()
		case <-done:
		}
	}()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "ack %d", &n); err != nil {
			t.Error(lines.Text())
			continue
		}
		fb.acked[n] = true
	}
	err = cmd.Wait()
	close(done)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true
	}
	if err != nil {
		t.Fatalf("child: %v", err)
	}
	return false
}

// check compares the bucket with what was acknowledged, which is all.
func (fb *fluentBit) check(t *testing.T) {
	t.Helper()
	got, ids := make(map[string]int), make(map[string]bool)
	for _, text := range objectsIn(t, filepath.Join(fb.dir, "bucket")) {
		for line := range strings.Lines(text) {
			name, id, ok := strings.Cut(strings.TrimPrefix(line, `{"name":"`), `","uniqueId":"`)
			if !ok {
				t.Fatalf("not a line of this test: %q", line)
			}
			if ids[id] {
				t.Errorf("unique id twice: %s", line)
			}
			ids[id] = true
			got[name]++
		}
	}
	for n, acked := range fb.acked {
		if !acked {
			t.Errorf("chunk %d was not acknowledged", n)
		}
		for _, name := range slices.Concat(namesOf(uint64(n)), rejectsOfChunk(uint64(n))) {
			if got[name] != 1 {
				t.Errorf("record %s was delivered %d times", name, got[name])
			}
			delete(got, name)
		}
		if n%16 == 5 {
			kept := filepath.Join(fb.dir, "spool", disk.Damaged, journal.Source{Length: 1, Hash: uint64(n)}.DamageFile())
			if b, err := os.ReadFile(kept); err != nil || string(b) != fmt.Sprint(n) {
				t.Errorf("got %q, %v in %s", b, err, kept)
			}
		}
	}
	if len(got) > 0 {
		t.Errorf("nobody offered %v", got)
	}
	files, err := repair.Files(filepath.Join(fb.dir, "spool"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		n, problems, err := repair.Records(filepath.Join(fb.dir, "spool"), f, nil)
		if err != nil || len(problems) > 0 || n > 0 && f.Dir != disk.Failed || f.Dir == disk.Damaged && !strings.HasSuffix(f.Path, ".torn") && !strings.HasSuffix(f.Path, ".msgpack") {
			t.Errorf("left: %s, %d records, %v, %v", f.Path, n, problems, err)
		}
	}
}

func TestEveryRecordArrivesOnceWhereverTheProcessDies(t *testing.T) {
	files, err := filepath.Glob("../*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var points []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		for _, m := range regexp.MustCompile(`disk\.Crash\("([a-z-]+)"\)`).FindAllSubmatch(b, -1) {
			points = append(points, string(m[1]))
		}
	}
	slices.Sort(points)
	if points = slices.Compact(points); len(points) < 10 {
		t.Fatalf("want the crash points of these packages, got %v", points)
	}
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			reached := false
			for _, nth := range []int{1, 2, 5} {
				for _, before := range []string{"", "frame-synced:7"} { // behind that, some come again
					fb := newFluentBit(t, 50)
					if before != "" {
						fb.run(t, before, nil)
					}
					died := fb.run(t, fmt.Sprintf("%s:%d", point, nth), nil)
					reached = reached || died
					// And there once more, with what that left.
					fb.run(t, point+":1", nil)
					if fb.run(t, "", nil) {
						t.Fatal("killed by somebody else")
					}
					fb.check(t)
				}
			}
			if !reached {
				t.Error("the process was never here")
			}
		})
	}
}

func TestEveryRecordArrivesOnceWheneverTheProcessIsKilled(t *testing.T) {
	fb := newFluentBit(t, 3000)
	kills := 0
	for tries := 0; kills < 20 && tries < 200; tries++ {
		if fb.run(t, "", time.After(time.Duration(5+rand.IntN(60))*time.Millisecond)) {
			kills++
		}
	}
	if fb.run(t, "", nil) {
		t.Fatal("killed by somebody else")
	}
	fb.check(t)
	t.Logf("%d kills", kills)
}
