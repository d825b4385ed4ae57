package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Whoever can write in a spool can write bills, and read those that wait. So Open works in no directory that another user has
// made or can write, and follows no link that another user can put elsewhere. Root is no other user: it can do all that anyway.

// private tells what of the spool's directory, if it is there, others could write.
func (s *Spool) private() error {
	dir, err := filepath.Abs(s.opt.Dir)
	if err != nil {
		return err
	}
	if err := followed(dir); err != nil {
		return err
	}
	s.warnOfParents(dir)
	if _, err := os.Stat(dir); err != nil {
		return nil // is made, or said to be missing
	}
	return filepath.WalkDir(dir+"/", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // not a folder that anything is read from, or gone
		}
		st, err := os.Stat(path)
		if err != nil {
			return nil
		}
		path = strings.TrimSuffix(path, "/")
		switch uid := ownerOf(st); {
		case othersOwn(uid, path):
			return fmt.Errorf("store_dir: want a directory that only Fluent Bit's user (%d) can write, got %s, which belongs to user %d: who writes there writes bills. "+
				"Look at what is in it, then chown -R %d %s, or set another store_dir", os.Geteuid(), path, uid, os.Geteuid(), dir)
		case othersWrite(st):
			another := "set another store_dir"
			if path == dir && st.Mode().Perm()&0o002 != 0 { // a volume may come so, such as an emptyDir of Kubernetes, and be root's
				another = fmt.Sprintf("set another store_dir, such as a folder in it, which is made then: store_dir %s/amberflo", dir)
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
		if above, err := os.Stat(filepath.Dir(path)); err == nil && (othersWrite(above) || !trusted(ownerOf(above))) {
			return fmt.Errorf("store_dir: want a directory that nobody else can put elsewhere, got the link %s in a directory that others can write: set store_dir to what it leads to", path)
		}
	}
	return nil
}

// warnOfParents tells of a directory above the spool in which others could rename what leads to it. They gain no bills by that,
// since what they put in its place is looked at as the spool is, but can take it away. It is no reason not to start: a volume
// that is all containers' of a pod is such a directory, and a home of another user in an image.
func (s *Spool) warnOfParents(dir string) {
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
			break
		}
	}
	if _, err := os.Stat(s.opt.Dir); err == nil {
		dir = filepath.Dir(dir)
	}
	for ; ; dir = filepath.Dir(dir) {
		if st, err := os.Stat(dir); err == nil && othersRename(st, dir) {
			s.opt.Log.Warn("others can rename store_dir away: want the directories above it to be root's or Fluent Bit's user's, and sticky where others write",
				"directory", dir, "owner", ownerOf(st), "mode", fmt.Sprintf("%04o", st.Mode().Perm()), "store_dir", s.opt.Dir)
			return
		}
		if dir == "/" {
			return
		}
	}
}

// othersRename tells if users besides this one and root may rename what is this one's in a directory.
func othersRename(st fs.FileInfo, dir string) bool {
	return othersOwn(ownerOf(st), dir) || othersWrite(st) && st.Mode()&fs.ModeSticky == 0
}

func ownerOf(st fs.FileInfo) int { return int(st.Sys().(*syscall.Stat_t).Uid) }

func trusted(uid int) bool { return uid == os.Geteuid() || uid == 0 }

// othersOwn tells if what a user has in dir is neither this one's nor root's.
func othersOwn(uid int, dir string) bool {
	if trusted(uid) {
		return false
	}
	mine, err := madeIn(dir)
	return err != nil || uid != mine
}

// madeIn is whose a file is that this process makes in dir: a mount may say that it is another user's.
func madeIn(dir string) (uid int, err error) {
	f, err := os.CreateTemp(dir, ".owner-*.tmp")
	if err != nil {
		return 0, err
	}
	st, err := f.Stat()
	if err := errors.Join(err, f.Close(), os.Remove(f.Name())); err != nil {
		return 0, err
	}
	return ownerOf(st), nil
}

// othersWrite tells if users besides the owner may write in a directory. A group that this process is in is meant to, such as
// the one that Kubernetes gives a volume.
func othersWrite(st fs.FileInfo) bool {
	groups, _ := os.Getgroups()
	gid := int(st.Sys().(*syscall.Stat_t).Gid)
	ours := gid == os.Getegid() || slices.Contains(groups, gid)
	return st.Mode().Perm()&0o002 != 0 || st.Mode().Perm()&0o020 != 0 && !ours
}
