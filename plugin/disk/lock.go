package disk

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math"
	"os"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// Lock keeps other processes, and other instances in this one, away. The kernel lets go of it when the process ends, however
// it ends.
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

// LockFor keeps others out of one directory who do the same there, until the file is closed. It works beside the process that
// holds the lock of all.
func (d *Dir) LockFor(dir, what string) (*os.File, error) {
	f, err := os.Open(d.Path(dir))
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("want to be the only one who %s, but %s/ is locked: %w", what, dir, err)
	}
	return f, nil
}

// Attached says why nothing that is written now would be found at the next start: the directory that was locked is not what
// its path leads to any more.
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
