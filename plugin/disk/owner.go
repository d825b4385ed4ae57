package disk

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
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

// followed finds links on the way to dir that others could put elsewhere.
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
// since what they put in its place is looked at like it, but can take it away. It is no reason not to start: a volume that is
// all containers' of a pod is such a directory, and a home of another user in an image.
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

// Lock keeps other processes, and other instances in this one, away. The kernel lets go of it when the process ends, however it
// ends.
func (d *Dir) Lock() error {
	f, err := os.OpenFile(d.Path("LOCK"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("store_dir: want a directory that can be written, got %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder := make([]byte, 20)
		n, _ := f.Read(holder)
		_ = f.Close()
		return fmt.Errorf("store_dir %s is in use by process %s: want one Fluent Bit per store_dir; stop that one or set another store_dir (%w)",
			d.Root, strings.TrimSpace(string(holder[:n])), err)
	}
	// Somebody may have removed LOCK: open/ is locked too, which nobody removes. NFS may not know that of directories.
	if d.open, err = os.Open(d.Path(Open)); err == nil {
		if locked := unix.Flock(int(d.open.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(locked, unix.EWOULDBLOCK) {
			err = errors.Join(fmt.Errorf("store_dir %s is in use by another process, though its LOCK is free: stop that one (%w)", d.Root, locked), d.open.Close())
		}
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	_ = f.Truncate(0)
	_, _ = fmt.Fprintln(f, os.Getpid())
	d.lock = f
	return nil
}

// Unlock ends what Lock began.
func (d *Dir) Unlock() error { return errors.Join(d.open.Close(), d.lock.Close()) }

// LockFor keeps others out of one directory, or file, who do the same there, until what it returns is closed. It works beside
// the process that holds the lock of all.
func (d *Dir) LockFor(at, what string) (*os.File, error) {
	f, err := os.Open(d.Path(at))
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("want to be the only one who %s, but %s is locked: %w", what, at, err)
	}
	return f, nil
}

// Attached says why nothing that is written now would be found at the next start: the directory that was locked is not what its
// path leads to any more.
func (d *Dir) Attached() error {
	mine, err := d.open.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(d.Path(Open))
	if err == nil && os.SameFile(mine, there) {
		return nil
	}
	// Some network file systems number a directory anew: what it holds tells then.
	if id, err := os.ReadFile(d.Path("ID")); err == nil && saltOf(id) == d.salt.Load() {
		return nil
	}
	return fmt.Errorf("store_dir %s is not the directory that was opened: it was removed, or another is mounted over it; "+
		"want it back, or a restart of Fluent Bit", d.Root)
}

// Free is how many bytes the disk has left; where it does not say, the write will tell.
func (d *Dir) Free() int64 {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(d.lock.Fd()), &st); err != nil || st.Bsize <= 0 {
		return math.MaxInt64 / 2
	}
	return int64(min(st.Bavail, math.MaxInt64/2/uint64(st.Bsize))) * int64(st.Bsize)
}

// Salt is a number that no other store_dir has: what makes names of the bytes of chunks puts it in, since other machines may
// well have equal ones. It is made when it is first asked for, and then stays the same, so that a chunk which is redelivered
// after a crash gets the same names. The directory is locked.
func (d *Dir) Salt() (uint64, error) {
	if salt := d.salt.Load(); salt != 0 {
		return salt, nil
	}
	d.mu.Lock() // one makes it, the next reads it
	defer d.mu.Unlock()
	if err := d.Attached(); err != nil {
		return 0, err
	}
	path := d.Path("ID")
	id, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if len(id) > 0 { // a power cut may still undo it
		err = d.SyncDir(d.Root)
	} else {
		id = []byte(uuid.NewString() + "\n")
		err = d.WriteFile(path, id)
	}
	if err != nil {
		return 0, err
	}
	d.salt.Store(saltOf(id))
	return d.salt.Load(), nil
}

func saltOf(id []byte) uint64 {
	hash := fnv.New64a()
	_, _ = hash.Write(id) // it cannot fail
	return hash.Sum64()
}
