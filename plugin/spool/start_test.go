package spool_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/disk/disktest"
	"out_amberflo/plugin/spool"
)

// Somebody reads "in use by process N", and removes LOCK.
func TestASpoolHasOneOwnerThoughItsLockWasRemoved(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	mustAppend(t, s, batchOf(1, "a"))
	if err := os.Remove(s.Dir().Path("LOCK")); err != nil {
		t.Fatal(err)
	}
	if other, err := spool.Open(o); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a second start: got %v", err)
		_ = other.Close()
	}
	mustAppend(t, s, batchOf(2, "b"))
	once(t, drained(t, s), "a", "b")
	s = mustOpen(t, o)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestADirectoryThatIsALinkIsRefused(t *testing.T) {
	o := testOptions(t.TempDir())
	if err := os.Symlink(t.TempDir(), filepath.Join(o.Dir, disk.Outbox)); err != nil {
		t.Fatal(err)
	}
	if _, err := spool.Open(o); err == nil || !strings.Contains(err.Error(), "got a link") {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNoObjectIsLeftAloneAndTold(t *testing.T) {
	o := testOptions(t.TempDir())
	log := logged(&o)
	file, _ := sealedOnce(t, o, 1)
	outbox := filepath.Join(o.Dir, disk.Outbox)
	strangers := map[string]func(string) error{
		"notes.txt": func(p string) error { return os.WriteFile(p, []byte("remember the milk\n"), 0o600) },
		"link.gz":   func(p string) error { return os.Symlink(file, p) },
		"fifo.gz":   func(p string) error { return unix.Mkfifo(p, 0o600) },
		"null.gz":   func(p string) error { return os.Symlink("/dev/zero", p) },
	}
	for name, put := range strangers {
		if err := put(filepath.Join(outbox, name)); err != nil {
			t.Fatal(err)
		}
	}
	s := mustOpen(t, o)
	defer s.Close()
	if s.Waiting() != 1 {
		t.Errorf("%d objects wait, want the one that is", s.Waiting())
	}
	if got := log.String(); strings.Count(got, "not a file of this plugin: left alone") != 1 || !strings.Contains(got, "files=4") {
		t.Errorf("want it told once, got\n%s", got)
	}
	for name := range strangers {
		if _, err := os.Lstat(filepath.Join(outbox, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestAnEmptyFileOfSomebodyElseIsLeftAloneAndTold(t *testing.T) {
	o := testOptions(t.TempDir())
	log := logged(&o)
	_, _ = sealedOnce(t, o, 1)
	stranger := filepath.Join(o.Dir, disk.Outbox, "empty.gz")
	if err := os.WriteFile(stranger, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, o)
	defer s.Close()
	if s.Waiting() != 1 || strings.Count(log.String(), "not a file of this plugin: left alone") != 1 || !strings.Contains(log.String(), "outbox/empty.gz") {
		t.Errorf("%d objects wait, want the one that is; got\n%s", s.Waiting(), log)
	}
	if _, err := os.Stat(stranger); err != nil {
		t.Error(err)
	}
}

func TestAStrayFileInSealingIsLeftAlone(t *testing.T) {
	o := testOptions(t.TempDir())
	s := mustOpen(t, o)
	for _, name := range []string{"notes.txt", "no-uuid=key", "0190a6e0-0000-7000-8000-000000000001=..%2F..%2Fkey"} {
		if err := os.WriteFile(s.Dir().Path(disk.Sealing, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, s, batchOf(1, "a"))
	crashed(t, s)
	s = mustOpen(t, o)
	once(t, drained(t, s), "a")
	if left, _ := os.ReadDir(s.Dir().Path(disk.Sealing)); len(left) != 3 {
		t.Errorf("left: %v, want the 3 files", left)
	}
}

func TestAStartThatFailsLeavesNoFileOpen(t *testing.T) {
	o := testOptions(t.TempDir())
	first := mustOpen(t, o)
	if s, err := spool.Open(o); err == nil || !strings.Contains(err.Error(), "in use") || s != nil {
		t.Errorf("got %v, want the directory to be in use", err)
	}
	crashed(t, first)
	o = onDisk(o)
	disktest.Failing(o.Disk, "sync", "sent|", 1)
	if _, err := spool.Open(o); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want the failure of the fsync", err)
	}
	if open := disktest.OpenFiles(t, o.Dir); len(open) > 0 {
		t.Errorf("left open: %v", open)
	}
	o.Disk = nil
	crashed(t, mustOpen(t, o))
}

// A folder may get another number though it is the same: then ID tells.
func TestTheDirectoryIsKnownByItsID(t *testing.T) {
	s := mustOpen(t, testOptions(t.TempDir()))
	salt, err := s.Salt()
	if err != nil || salt == 0 {
		t.Fatal(salt, err)
	}
	if again, err := s.Salt(); again != salt || err != nil {
		t.Errorf("got %x, then %x, %v", salt, again, err)
	}
	mustAppend(t, s, begun(t, s, 1, "a"))
	other := s.Dir().Path("x")
	if err := os.CopyFS(other, os.DirFS(s.Dir().Path(disk.Open))); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(s.Dir().Path(disk.Open)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, s.Dir().Path(disk.Open)); err != nil {
		t.Fatal(err)
	}
	if err := s.Dir().Attached(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(s.Dir().Path("ID"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Dir().Attached(); err == nil {
		t.Error("want another spool told")
	}
	if again, err := s.Salt(); again != salt || err != nil {
		t.Errorf("got %x, then %x, %v", salt, again, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCloseLeavesNoGoroutineAndNoFile(t *testing.T) {
	before := runtime.NumGoroutine()
	o := testOptions(t.TempDir())
	o.MaxBytes, o.MaxAge = 200, time.Millisecond
	s := mustOpen(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	for i := range 20 {
		mustAppend(t, s, batchOf(uint64(i), "a", "b"))
	}
	if err := reject(s, []byte("{}\n")); err != nil {
		t.Error(err)
	}
	cancel()
	<-done
	if got := namesIn(t, drained(t, s)); got["a"] != 20 || got["b"] != 20 {
		t.Errorf("got %v, want a and b 20 times", got)
	}
	if open := disktest.OpenFiles(t, o.Dir); len(open) > 0 {
		t.Errorf("left open: %v", open)
	}
	for i := 0; runtime.NumGoroutine() > before; i++ {
		if i > 1000 {
			stacks := make([]byte, 1<<16)
			t.Fatalf("left running:\n%s", stacks[:runtime.Stack(stacks, true)])
		}
		runtime.Gosched()
	}
}

func TestADirectoryThatOthersCanWriteIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name  string
		root  bool // needs it
		spoil func(dir string) error
		says  string
	}{
		{"the directory is another user's", true, func(dir string) error { return os.Chown(dir, 12345, 12345) }, "belongs to user 12345"},
		{"a folder in it is another user's", true, func(dir string) error { return os.Chown(filepath.Join(dir, disk.Outbox), 12345, 12345) }, "belongs to user 12345"},
		{"a folder of keys is another user's", true, func(dir string) error {
			return os.Chown(filepath.Join(dir, disk.Outbox, "ingest"), 12345, 12345)
		}, "belongs to user 12345"},
		{"all may write", false, func(dir string) error { return os.Chmod(dir, 0o777) }, "the mode 0777"},
		{"all may write in a folder", false, func(dir string) error { return os.Chmod(filepath.Join(dir, disk.Outbox), 0o707) }, "the mode 0707"},
		{"another group may write", true, func(dir string) error { return firstOf(os.Chown(dir, -1, 12345), os.Chmod(dir, 0o770)) }, "the mode 0770"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.root && os.Geteuid() != 0 {
				t.Skip("only root can give a directory away")
			}
			o := testOptions(filepath.Join(t.TempDir(), "spool"))
			file, _ := sealedOnce(t, o, 1)
			if err := tt.spoil(o.Dir); err != nil {
				t.Fatal(err)
			}
			s, err := spool.Open(o)
			if err == nil {
				_ = s.Close()
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "store_dir: want") || !strings.Contains(err.Error(), "set another store_dir") {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(file); err != nil {
				t.Error(err)
			}
		})
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestALinkWhereOthersCanWriteIsRefused(t *testing.T) {
	shared := filepath.Join(t.TempDir(), "shared")
	if err := firstOf(os.Mkdir(shared, 0o700), os.Chmod(shared, 0o1777)); err != nil {
		t.Fatal(err)
	}
	theirs := t.TempDir()
	if err := os.Symlink(theirs, filepath.Join(shared, "fluent-bit")); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"fluent-bit", "fluent-bit/amberflo"} {
		if _, err := spool.Open(testOptions(filepath.Join(shared, dir))); err == nil || !strings.Contains(err.Error(), "got the link "+shared+"/fluent-bit") {
			t.Errorf("%s: got %v", dir, err)
		}
	}
	if left, _ := os.ReadDir(theirs); len(left) > 0 {
		t.Errorf("%d files were made behind the link", len(left))
	}
	s, err := spool.Open(testOptions(filepath.Join(shared, "own"))) // a new one there is this user's alone
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestALinkThatNobodyElseCanMoveIsFollowed(t *testing.T) {
	dir := t.TempDir()
	if err := firstOf(os.Mkdir(filepath.Join(dir, "disk"), 0o750), os.Symlink("disk", filepath.Join(dir, "spool"))); err != nil {
		t.Fatal(err)
	}
	s, err := spool.Open(testOptions(filepath.Join(dir, "spool")))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Who can rename the directory away does not write bills, but can take them: that is told, and no reason not to start.
func TestADirectoryThatOthersCanRenameIsToldOf(t *testing.T) {
	for _, tt := range []struct {
		name  string
		root  bool // needs it
		above func(dir string) error
		made  bool // before the start
		told  bool
	}{
		{"nobody else's", false, func(dir string) error { return os.Chmod(dir, 0o755) }, true, false},
		{"sticky and root's, as /tmp is", false, func(dir string) error { return os.Chmod(dir, 0o777|os.ModeSticky) }, true, false},
		{"all may write", false, func(dir string) error { return os.Chmod(dir, 0o777) }, true, true},
		{"all may write in an emptyDir", false, func(dir string) error { return os.Chmod(dir, 0o777) }, false, true},
		{"the group of the process may write, as with an fsGroup", false, func(dir string) error { return os.Chmod(dir, 0o775|os.ModeSetgid) }, true, false},
		{"another group may write", true, func(dir string) error { return firstOf(os.Chown(dir, -1, 12345), os.Chmod(dir, 0o775)) }, true, true},
		{"another user's", true, func(dir string) error { return os.Chown(dir, 12345, 12345) }, true, true},
		{"another user's, and sticky", true, func(dir string) error {
			return firstOf(os.Chown(dir, 12345, 12345), os.Chmod(dir, 0o777|os.ModeSticky))
		}, false, true},
	} {
		for _, way := range []string{"directly", "further up", "through a link"} {
			t.Run(tt.name+", "+way, func(t *testing.T) {
				if tt.root && os.Geteuid() != 0 {
					t.Skip("only root can give a directory away")
				}
				above := filepath.Join(t.TempDir(), "above")
				if err := os.Mkdir(above, 0o700); err != nil {
					t.Fatal(err)
				}
				dir := filepath.Join(above, "amberflo")
				if way == "further up" {
					dir = filepath.Join(above, "between", "amberflo")
				}
				if tt.made {
					if err := os.MkdirAll(dir, 0o700); err != nil {
						t.Fatal(err)
					}
				}
				if err := tt.above(above); err != nil {
					t.Fatal(err)
				}
				if way == "through a link" {
					link := filepath.Join(t.TempDir(), "link")
					if err := os.Symlink(above, link); err != nil {
						t.Fatal(err)
					}
					dir = filepath.Join(link, "amberflo")
				}
				o := testOptions(dir)
				log := logged(&o)
				s := mustOpen(t, o)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				told := strings.Count(log.String(), "others can rename store_dir away") == 1 && strings.Contains(log.String(), "directory="+above+" ")
				if told != tt.told || !tt.told && log.String() != "" {
					t.Errorf("told: %v, want %v; got\n%s", told, tt.told, log)
				}
			})
		}
	}
}

// The kubelet makes it so, and a container's user can change neither that nor, without a shell, anything else.
func TestAVolumeThatAllMayWriteIsToldApart(t *testing.T) {
	for _, mode := range []os.FileMode{0o777, 0o777 | os.ModeSetgid} {
		volume := filepath.Join(t.TempDir(), "spool")
		if err := firstOf(os.Mkdir(volume, 0o700), os.Chmod(volume, mode)); err != nil {
			t.Fatal(err)
		}
		o := testOptions(volume)
		o.Log = slog.New(slog.DiscardHandler)
		if _, err := spool.Open(o); err == nil || !strings.Contains(err.Error(), "a directory in it, which is made then: store_dir "+volume+"/amberflo") {
			t.Errorf("%s: got %v", mode, err)
		}
		o.Dir = filepath.Join(volume, "amberflo")
		s := mustOpen(t, o)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
