package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Whoever can write in a store_dir can write bills, and read those that wait. So no work is done in a directory that another
// user has made or can write, and no link is followed that another user can put elsewhere. Root is no other user: it can do all
// that anyway.

// Private tells what of the directory, if it is there, others could write. It warns of what they could do above it.
func (d *Dir) Private(log *slog.Logger) error {
	dir, err := filepath.Abs(d.Root)
	if err != nil {
		return err
	}
	if err := followed(dir); err != nil {
		return err
	}
	warnOfParents(log, d.Root, dir)
	if _, err := os.Stat(dir); err != nil {
		return nil // is made, or said to be missing
	}
	return filepath.WalkDir(dir+"/", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return nil // not a directory that anything is read from, or gone
		}
		st, err := os.Stat(path)
		if err != nil {
			return nil
		}
		path = strings.TrimSuffix(path, "/")
		switch uid := Owner(st); {
		case othersOwn(uid, path):
			return fmt.Errorf("store_dir: want a directory that only Fluent Bit's user (%d) can write, got %s, which belongs to user %d: who writes there writes bills. "+
				"Look at what is in it, then chown -R %d %s, or set another store_dir", os.Geteuid(), path, uid, os.Geteuid(), dir)
		case othersWrite(st):
			another := "set another store_dir"
			if path == dir && st.Mode().Perm()&0o002 != 0 { // a volume may come so, such as an emptyDir of Kubernetes, and be root's
				another = fmt.Sprintf("set another store_dir, such as a directory in it, which is made then: store_dir %s/amberflo", dir)
			}
			return fmt.Errorf("store_dir: want a directory that only Fluent Bit's user (%d) can write, got %s with the mode %04o: who writes there writes bills. "+
				"Look at what is in it, then chmod -R go-w %s, or %s", os.Geteuid(), path, st.Mode().Perm(), dir, another)
		}
		return nil
	})
}

// followed refuses links on the way to dir that others could put elsewhere.
func followed(dir string) error {
	for path := dir; path != "/"; path = filepath.Dir(path) {
		st, err := os.Lstat(path)
		if err != nil || st.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		if above, err := os.Stat(filepath.Dir(path)); err == nil && (othersWrite(above) || !trusted(Owner(above))) {
			return fmt.Errorf("store_dir: want a directory that nobody else can put elsewhere, got the link %s in a directory that others can write: set store_dir to what it leads to", path)
		}
	}
	return nil
}

// warnOfParents tells of a directory above store_dir in which others could rename what leads to it. They gain no bills by that,
// since what they put in its place is looked at like it, but can take it away. It is no reason not to start: a volume
// that is all containers' of a pod is such a directory, and a home of another user in an image.
func warnOfParents(log *slog.Logger, root, dir string) {
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
			break
		}
	}
	if _, err := os.Stat(root); err == nil {
		dir = filepath.Dir(dir)
	}
	for ; ; dir = filepath.Dir(dir) {
		if st, err := os.Stat(dir); err == nil && othersRename(st, dir) {
			log.Warn("others can rename store_dir away: want the directories above it to be root's or Fluent Bit's user's, and sticky where others write",
				"directory", dir, "owner", Owner(st), "mode", fmt.Sprintf("%04o", st.Mode().Perm()), "store_dir", root)
			return
		}
		if dir == "/" {
			return
		}
	}
}

// othersRename tells if users besides this one and root may rename what is this one's in a directory.
func othersRename(st fs.FileInfo, dir string) bool {
	return othersOwn(Owner(st), dir) || othersWrite(st) && st.Mode()&fs.ModeSticky == 0
}

// Owner is whose a file is.
func Owner(st fs.FileInfo) int { return int(st.Sys().(*syscall.Stat_t).Uid) }

func trusted(uid int) bool { return uid == os.Geteuid() || uid == 0 }

// othersOwn tells if what a user has in dir is neither this one's nor root's.
func othersOwn(uid int, dir string) bool {
	if trusted(uid) {
		return false
	}
	mine, err := MadeIn(dir)
	return err != nil || uid != mine
}

// MadeIn is whose a file is that this process makes in dir: a mount may say that it is another user's.
func MadeIn(dir string) (uid int, err error) {
	f, err := os.CreateTemp(dir, ".owner-*.tmp")
	if err != nil {
		return 0, err
	}
	st, err := f.Stat()
	if err := errors.Join(err, f.Close(), os.Remove(f.Name())); err != nil {
		return 0, err
	}
	return Owner(st), nil
}

// othersWrite tells if users besides the owner may write in a directory. A group that this process is in is meant to, such as
// the one that Kubernetes gives a volume.
func othersWrite(st fs.FileInfo) bool {
	groups, _ := os.Getgroups()
	gid := int(st.Sys().(*syscall.Stat_t).Gid)
	ours := gid == os.Getegid() || slices.Contains(groups, gid)
	return st.Mode().Perm()&0o002 != 0 || st.Mode().Perm()&0o020 != 0 && !ours
}
