package spool

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestADirectoryThatOthersCanWriteIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name  string
		root  bool // needs it
		spoil func(dir string) error
		says  string
	}{
		{"the directory is another user's", true, func(dir string) error { return os.Chown(dir, 12345, 12345) }, "belongs to user 12345"},
		{"a folder in it is another user's", true, func(dir string) error { return os.Chown(filepath.Join(dir, outboxDir), 12345, 12345) }, "belongs to user 12345"},
		{"a folder of keys is another user's", true, func(dir string) error {
			return os.Chown(filepath.Join(dir, outboxDir, "ingest"), 12345, 12345)
		}, "belongs to user 12345"},
		{"all may write", false, func(dir string) error { return os.Chmod(dir, 0o777) }, "the mode 0777"},
		{"all may write in a folder", false, func(dir string) error { return os.Chmod(filepath.Join(dir, outboxDir), 0o707) }, "the mode 0707"},
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
			s, err := Open(o)
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
		if _, err := Open(testOptions(filepath.Join(shared, dir))); err == nil || !strings.Contains(err.Error(), "got the link "+shared+"/fluent-bit") {
			t.Errorf("%s: got %v", dir, err)
		}
	}
	if left, _ := os.ReadDir(theirs); len(left) > 0 {
		t.Errorf("%d files were made behind the link", len(left))
	}
	s, err := Open(testOptions(filepath.Join(shared, "own"))) // a new one there is this user's alone
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
	s, err := Open(testOptions(filepath.Join(dir, "spool")))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
