package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/sealing"
)

// Open takes a spool over: the directory is made if it is missing, locked, and brought to order after whatever ended its last
// owner. What was accepted then and is not sealed yet waits for Run.
func Open(o Options) (*Spool, error) {
	d := cmp.Or(o.Disk, disk.New(o.Dir))
	s := &Spool{
		opt: o, dir: d, wake: make(chan struct{}, 1), uploaded: make(chan struct{}, 1),
		outbox: outbox{taken: make(map[string]Object)}, sent: sent{look: time.Now()}, maker: object.Maker{Options: o.Object, Dir: d},
	}
	if err := d.Private(o.Log); err != nil {
		return nil, err
	}
	for _, dir := range disk.Dirs {
		if err := os.MkdirAll(d.Path(dir), 0o700); err != nil {
			return nil, fmt.Errorf("store_dir: want a directory that can be written, got %w", err)
		}
		if st, err := os.Lstat(d.Path(dir)); err == nil && !st.IsDir() { // a walk would not follow it
			return nil, fmt.Errorf("store_dir: want %s to be a directory, got a link; make store_dir itself the link", d.Path(dir))
		}
	}
	if err := d.Lock(); err != nil {
		return nil, err
	}
	if err := s.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("store_dir %s: %w", d.Root, err), s.Close())
	}
	return s, nil
}

// recover brings the directory to order: what was being sealed, the objects, the segments, and one to go on with.
func (s *Spool) recover() error {
	err := s.recoverSealing()
	for _, step := range []func() error{s.undoCutOff, func() error { return TakeOverAuditLog(s.dir) }, s.dir.SyncAll, s.recoverObjects} {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		return err
	}
	o := journal.Options{
		Dir: s.dir, MinBlock: s.opt.MinBlock, MaxBytes: s.opt.MaxBytes, MaxRecords: s.opt.Object.MaxRecords,
		Space: s.space, Wake: s.poke, Log: s.opt.Log,
	}
	if s.opt.Object.Blocks() {
		o.GzipLevel = s.opt.Object.GzipLevel
	}
	s.journal, err = journal.Open(o)
	return err
}

// recoverSealing undoes seals that were under way: the segment is the truth, and will be sealed again. What is whole is
// published by Run; what meterctl is at, or was, is left to undoCutOff.
func (s *Spool) recoverSealing() error {
	entries, err := os.ReadDir(s.dir.Path(disk.Sealing))
	for _, e := range entries {
		switch _, ok := sealing.ParsePending(e.Name()); {
		case ok || err != nil:
		case strings.HasSuffix(e.Name(), ".tmp"):
			err = s.dir.Remove(s.dir.Path(disk.Sealing, e.Name()))
		default:
			s.opt.Log.Warn("not a file of this plugin: left alone", "file", disk.Sealing+"/"+e.Name())
		}
	}
	if err != nil {
		return err
	}
	return sealing.Undo(s.dir, "")
}

// undoCutOff undoes what meterctl was at when it died. One that is at it now undoes itself what it does not finish; where
// nobody can lock a directory (NFS), meterctl refuses to work.
func (s *Spool) undoCutOff() error {
	for _, work := range []struct {
		dir  string
		undo func(*disk.Dir) error
	}{{disk.Rejected, sealing.UndoRetries}, {disk.Damaged, sealing.UndoRepairs}} {
		lock, err := s.dir.LockFor(work.dir, "works there")
		if errors.Is(err, unix.EWOULDBLOCK) {
			continue
		}
		err = work.undo(s.dir)
		_ = lock.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Spool) recoverObjects() error {
	for _, dir := range []string{disk.Outbox, disk.Sent, disk.Failed, disk.Rejected} {
		s.dir.RemoveEmpty(dir)
	}
	var strangers []string // links, pipes, and what others have put there
	for _, dir := range []string{disk.Outbox, disk.Sent, disk.Failed} {
		if err := disk.Walk(s.dir.Path(dir), func(path string, st fs.FileInfo) {
			if !st.Mode().IsRegular() {
				strangers = append(strangers, dir+"/"+path)
			}
		}); err != nil {
			return err
		}
	}
	o := &s.outbox
	var err error
	if o.waiting, err = List(s.dir, disk.Outbox); err != nil {
		return err
	}
	o.waiting = slices.DeleteFunc(o.waiting, func(obj Object) bool {
		strange := !s.looksSealed(obj)
		if strange {
			strangers = append(strangers, disk.Outbox+"/"+obj.Key)
		}
		return strange
	})
	if len(strangers) > 0 {
		s.opt.Log.Warn("not a file of this plugin: left alone", "file", strangers[0], "files", len(strangers))
	}
	awaited := false
	if err := s.walkSent(func(obj Object, kept bool) {
		s.quota.sent.Add(obj.Size)
		awaited = awaited || !kept
	}); err != nil {
		return err
	}
	o.damaged = int64(len(s.damagedObjects())) // nobody has seen to them yet
	o.bytes = sizeOf(o.waiting)
	s.quota.objects.Store(o.bytes)
	if awaited {
		s.uploaded <- struct{}{}
	}
	s.lookAside()
	return nil
}

// looksSealed tells objects from files that somebody else put into the outbox. What has a digest in its name is compared with
// it before it goes out; what has none, of an earlier version, has to begin as an object does, and is read to its end then.
func (s *Spool) looksSealed(obj Object) bool {
	if obj.Sum != nil {
		return true
	}
	f, err := os.Open(s.dir.Path(disk.Outbox, obj.File()))
	if err != nil {
		return true // Read says so
	}
	defer f.Close()
	head := make([]byte, len(object.GzipHeader))
	n, err := f.Read(head)
	return err != nil && err != io.EOF || object.Begins(head[:n])
}
