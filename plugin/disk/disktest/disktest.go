// Package disktest makes the seams of a disk.Dir fail, in tests: some operations, all from one on, or with what a power cut
// leaves.
package disktest

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"out_amberflo/plugin/disk"
)

// Disk stands behind the seams of a disk.Dir and knows what of its directory would survive a power cut:
// the bytes of a file up to its last fsync, a name since the last fsync of its directory. Nothing is
// really synced. At a given operation the process dies; what it would find at its next start is then in
// another directory, and the one that it still sees does not matter any more.
type Disk struct {
	Root string
	// Faults is the chance of an operation to fail.
	Faults float64
	Fuse   int   // operations until the process dies; 0: it lives on
	Power  bool  // it dies of a power cut
	Next   *Disk // what the next process finds; nil while this one lives

	t    *testing.T
	rand *rand.Rand

	nodes map[uint64]*node // by inode
	ghost uint64           // the last number for a node without inode
}

// node is a file or directory.
type node struct {
	file *os.File // held open: so its inode is not used again, and it can be read when it has no name
	last []byte   // content of one that is gone
	dir  bool
	path string // in the directory; "" if it is gone

	// What is durable.
	kept string // path, or ""
	data []byte
	lost int64 // bytes from here on were dropped by a failed fsync, whatever a later one says to this process
}

// ErrDied answers what a dead process would still do.
var ErrDied = errors.New("the process has died")

// MemoryDir is a directory of the test, in memory if there is a place for that.
func MemoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "spool-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// New makes an empty one.
func New(t *testing.T, r *rand.Rand) *Disk {
	dir := MemoryDir(t)
	return &Disk{t: t, Root: dir, rand: r, nodes: make(map[uint64]*node), ghost: math.MaxUint64}
}

// Dir is for the process that works on it from now on.
func (d *Disk) Dir() *disk.Dir {
	for _, n := range d.nodes {
		n.lost = math.MaxInt64
	}
	return d.Beside()
}

// Beside is for another process that works in the directory.
func (d *Disk) Beside() *disk.Dir {
	s := disk.New(d.Root)
	s.Write = d.write
	s.Sync = func(f *os.File) error {
		return d.do(syscall.EIO, func() error { return d.sync(f) }, func() { d.dropped(f) })
	}
	s.Truncate = func(f *os.File, n int64) error {
		return d.do(syscall.EIO, func() error { return f.Truncate(n) }, nil)
	}
	s.Rename = func(from, to string) error {
		return d.do(syscall.ENOSPC, func() error { return os.Rename(from, to) }, nil)
	}
	s.Remove = func(path string) error {
		return d.do(syscall.EIO, func() error { return os.Remove(path) }, nil)
	}
	return s
}

// Files is how many files the disk itself has open.
func (d *Disk) Files() int { return len(d.nodes) }

// do performs an operation, or lets it fail, or lets the process die before or after it.
func (d *Disk) do(fault error, op func() error, failed func()) error {
	if d.Next != nil {
		return ErrDied
	}
	dies := false
	if d.Fuse > 0 {
		d.Fuse--
		dies = d.Fuse == 0
	}
	if dies && d.rand.IntN(2) == 0 {
		d.die()
		return ErrDied
	}
	var err error
	if d.rand.Float64() < d.Faults {
		err = fault
		if failed != nil {
			failed()
		}
	} else {
		err = op()
	}
	if dies {
		d.die()
		return ErrDied
	}
	return err
}

func (d *Disk) write(f *os.File, b []byte) (n int, err error) {
	err = d.do(syscall.ENOSPC, func() (err error) {
		n, err = f.Write(b)
		return err
	}, func() {
		n, _ = f.Write(b[:d.rand.IntN(len(b))])
	})
	return n, err
}

// look brings the nodes up to date with the directory.
func (d *Disk) look() {
	for _, n := range d.nodes {
		n.path = ""
	}
	err := filepath.WalkDir(d.Root, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := e.Info()
		if err != nil {
			return err
		}
		ino := st.Sys().(*syscall.Stat_t).Ino
		n := d.nodes[ino]
		if n == nil {
			n = &node{dir: e.IsDir(), lost: math.MaxInt64}
			if n.file, err = os.Open(p); err != nil {
				return err
			}
			d.nodes[ino] = n
		}
		n.path, err = filepath.Rel(d.Root, p)
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	for ino, n := range d.nodes {
		if n.path == "" && n.file != nil {
			n.last = n.content(d.t)
			_ = n.file.Close()
			n.file = nil
			delete(d.nodes, ino)
			d.ghost--
			d.nodes[d.ghost] = n
		}
	}
}

func (n *node) content(t *testing.T) []byte {
	if n.file == nil || n.dir {
		return n.last
	}
	st, err := n.file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, st.Size())
	if _, err := n.file.ReadAt(b, 0); err != nil && st.Size() > 0 {
		t.Fatal(err)
	}
	return b
}

func (d *Disk) node(f *os.File) *node {
	st, err := f.Stat()
	if err != nil {
		d.t.Fatal(err)
	}
	ino := st.Sys().(*syscall.Stat_t).Ino
	if st.IsDir() || d.nodes[ino] == nil {
		d.look()
	}
	return d.nodes[ino]
}

func (d *Disk) sync(f *os.File) error {
	n := d.node(f)
	if n == nil {
		return nil // above the directory
	}
	if !n.dir {
		b := n.content(d.t)
		n.data = b[:min(int64(len(b)), n.lost)]
		return nil
	}
	within := func(path string) bool { return path != "" && path != "." && filepath.Dir(path) == n.path }
	for _, x := range d.nodes {
		if within(x.path) || within(x.kept) { // a rename between two directories is one step
			x.kept = x.path
		}
	}
	return nil
}

// dropped notes that an fsync of f failed: the kernel may have let go of what was to be written.
func (d *Disk) dropped(f *os.File) {
	if n := d.node(f); n != nil && !n.dir {
		n.lost = min(n.lost, int64(len(n.data)))
	}
}

// die makes the disk that the next process finds.
func (d *Disk) die() {
	d.look()
	next := New(d.t, d.rand)
	for _, n := range sorted(d.nodes) {
		x := &node{dir: n.dir, path: n.path, kept: n.kept, data: n.data, lost: n.lost, last: n.content(d.t)}
		if d.Power {
			if d.rand.IntN(2) == 0 {
				x.path = n.kept
			}
			x.last = d.survivor(n)
			x.kept, x.data, x.lost = x.path, x.last, math.MaxInt64
		}
		if n.path == "." {
			x.path, x.kept = ".", "."
		}
		d.ghost--
		next.nodes[d.ghost] = x
	}
	next.settle()
	for _, n := range d.nodes {
		if n.file != nil {
			_ = n.file.Close()
		}
	}
	d.Next = next
}

// sorted gives nodes in an order that a seed repeats, directories before what is in them.
func sorted(nodes map[uint64]*node) []*node {
	name := func(path string) string {
		if strings.HasSuffix(path, ".tmp") {
			return filepath.Join(filepath.Dir(path), ".tmp") // the rest of it is random
		}
		return path
	}
	return slices.SortedFunc(maps.Values(nodes), func(a, b *node) int {
		return cmp.Or(cmp.Compare(name(a.path), name(b.path)), cmp.Compare(name(a.kept), name(b.kept)), bytes.Compare(a.last, b.last))
	})
}

// settle makes the files of d, whose nodes only say what they are.
func (d *Disk) settle() {
	nodes := sorted(d.nodes)
	clear(d.nodes)
	for _, n := range nodes {
		at := filepath.Join(d.Root, n.path)
		switch {
		case n.path == "":
		case n.path == ".":
		case n.dir:
			if err := os.Mkdir(at, 0o700); err != nil {
				n.path, n.kept = "", "" // the directory above is lost, or there are two of them
			}
		default:
			f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				n.path, n.kept = "", ""
				break
			}
			_, err = f.Write(n.last)
			if err = errors.Join(err, f.Close(), os.Chtimes(at, time.Now(), time.Now())); err != nil {
				d.t.Fatal(err)
			}
		}
		key := d.ghost - 1
		if n.path != "" {
			f, err := os.Open(at)
			if err != nil {
				d.t.Fatal(err)
			}
			st, err := f.Stat()
			if err != nil {
				d.t.Fatal(err)
			}
			n.file, n.last = f, nil
			key = st.Sys().(*syscall.Stat_t).Ino
		} else {
			d.ghost--
		}
		d.nodes[key] = n
	}
}

// survivor gives what a power cut may leave of a file: what is durable and some of what is not, or
// zeros in its place, where the size got to the disk and the bytes did not.
func (d *Disk) survivor(n *node) []byte {
	b := n.content(d.t)
	if !bytes.HasPrefix(b, n.data) { // cut off since
		if d.rand.IntN(2) == 0 {
			return n.data
		}
		return b
	}
	b = slices.Clone(b[:len(n.data)+d.rand.IntN(len(b)-len(n.data)+1)])
	if fresh := b[len(n.data):]; len(fresh) > 0 && d.rand.IntN(3) == 0 {
		clear(fresh[d.rand.IntN(len(fresh)):])
	}
	return b
}

// Close lets go of the disk.
func (d *Disk) Close() {
	for _, n := range d.nodes {
		if n.file != nil {
			_ = n.file.Close()
			n.file = nil
		}
	}
}

// OpenFiles lists what this process has open under a directory.
func OpenFiles(t *testing.T, dir string) (open []string) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc:", err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, dir) {
			open = append(open, to)
		}
	}
	return open
}

// Failing makes the first n operations fail that a seam does on a path that contains part; a stroke stands for its end.
func Failing(d *disk.Dir, seam, part string, n int) {
	fails := func(name, path string) bool {
		if name == seam && n > 0 && strings.Contains(path+"|", part) {
			n--
			return true
		}
		return false
	}
	write, fsync, rename, remove, truncate := d.Write, d.Sync, d.Rename, d.Remove, d.Truncate
	d.Write = func(f *os.File, b []byte) (int, error) {
		if fails("write", f.Name()) {
			k, _ := write(f, b[:len(b)/2])
			return k, syscall.ENOSPC
		}
		return write(f, b)
	}
	d.Sync = func(f *os.File) error {
		if fails("sync", f.Name()) {
			return syscall.EIO
		}
		return fsync(f)
	}
	d.Rename = func(from, to string) error {
		if fails("rename", to) {
			return syscall.ENOSPC
		}
		return rename(from, to)
	}
	d.Truncate = func(f *os.File, size int64) error {
		if fails("truncate", f.Name()) {
			return syscall.EIO
		}
		return truncate(f, size)
	}
	d.Remove = func(path string) error {
		if fails("remove", path) {
			return syscall.EIO
		}
		return remove(path)
	}
}

// Dying makes every operation fail from one on, as for a process that died there. It returns how many are left.
func Dying(d *disk.Dir, operations int) *int {
	left := operations
	burn := func() error {
		if left--; left < 0 {
			return ErrDied
		}
		return nil
	}
	write, fsync, rename, remove := d.Write, d.Sync, d.Rename, d.Remove
	d.Sync = func(f *os.File) error {
		if err := burn(); err != nil {
			return err
		}
		return fsync(f)
	}
	d.Write = func(f *os.File, b []byte) (int, error) {
		if err := burn(); err != nil {
			return 0, err
		}
		return write(f, b)
	}
	d.Rename = func(from, to string) error {
		if err := burn(); err != nil {
			return err
		}
		return rename(from, to)
	}
	d.Remove = func(path string) error {
		if err := burn(); err != nil {
			return err
		}
		return remove(path)
	}
	return &left
}
