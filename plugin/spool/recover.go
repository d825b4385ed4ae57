package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// Open takes a spool over: the directory is made if it is missing, locked, and brought to order after
// whatever ended its last owner. What was accepted then and is not sealed yet waits for Run.
func Open(o Options) (*Spool, error) {
	s := newSpool(o)
	if err := s.open(); err != nil {
		return nil, err
	}
	return s, nil
}

func newSpool(o Options) *Spool {
	return &Spool{
		opt:      o,
		write:    (*os.File).Write,
		sync:     (*os.File).Sync,
		truncate: (*os.File).Truncate,
		rename:   os.Rename,
		remove:   os.Remove,
		wake:     make(chan struct{}, 1),
		uploaded: make(chan struct{}, 1),
		outbox:   outbox{taken: make(map[string]Object)},
		ends:     make(map[uuid.UUID]end),
		expected: make(map[Source][]int64),
		expires:  time.Now().Add(expectFor),
	}
}

func (s *Spool) open() error {
	if err := s.private(); err != nil {
		return err
	}
	for _, dir := range Rooms {
		if err := os.MkdirAll(s.path(dir), 0o700); err != nil {
			return fmt.Errorf("store_dir: want a directory that can be written, got %w", err)
		}
		if st, err := os.Lstat(s.path(dir)); err == nil && !st.IsDir() { // a walk would not follow it
			return fmt.Errorf("store_dir: want %s to be a folder, got a link; make store_dir itself the link", s.path(dir))
		}
	}
	if err := s.takeLock(); err != nil {
		return err
	}
	if err := s.recover(); err != nil {
		return errors.Join(fmt.Errorf("store_dir %s: %w", s.opt.Dir, err), s.Close())
	}
	return nil
}

// takeLock keeps other processes, and other instances in this one, away. The kernel lets go of it when
// the process ends, however it ends.
func (s *Spool) takeLock() error {
	f, err := os.OpenFile(s.path("LOCK"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("store_dir: want a directory that can be written, got %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder := make([]byte, 20)
		n, _ := f.Read(holder)
		_ = f.Close()
		return fmt.Errorf("store_dir %s is in use by process %s: want one Fluent Bit per store_dir; stop that one or set another store_dir (%w)",
			s.opt.Dir, strings.TrimSpace(string(holder[:n])), err)
	}
	// Somebody may have removed LOCK: the folder of the logs is locked too, which nobody removes. NFS may not know that of
	// folders.
	if s.logs, err = os.Open(s.path(openDir)); err == nil {
		if locked := unix.Flock(int(s.logs.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(locked, unix.EWOULDBLOCK) {
			err = errors.Join(fmt.Errorf("store_dir %s is in use by another process, though its LOCK is free: stop that one (%w)", s.opt.Dir, locked), s.logs.Close())
		}
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	_ = f.Truncate(0)
	_, _ = fmt.Fprintln(f, os.Getpid())
	s.lock = f
	return nil
}

// recover brings the directory to order: what was sealed, the objects, the logs, and a log to go on with.
func (s *Spool) recover() error {
	if err := s.recoverSealing(); err != nil {
		return err
	}
	if room, err := s.lockRetries(); err == nil { // locked: meterctl is at it, and undoes what it does not finish
		err = s.undoRetries()
		_ = room.Close()
		if err != nil {
			return err
		}
	}
	if room, err := s.lockRepairs(); err == nil {
		_ = room.Close()
	} else if !errors.Is(err, unix.EWOULDBLOCK) {
		return err
	}
	if err := s.syncDirs(); err != nil {
		return err
	}
	if err := s.recoverObjects(); err != nil {
		return err
	}
	if err := s.recoverLogs(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(); err != nil {
		// A full disk does not hold up the start: the outbox may drain, and the next chunk tries again.
		s.opt.Log.Error("cannot accept records yet, will be tried again", "err", err)
	}
	return nil
}

// recoverObjects takes up the objects in outbox/ and sent/.
func (s *Spool) recoverObjects() error {
	for _, room := range []string{outboxDir, sentDir, failedDir, rejectedDir} {
		if err := s.removeEmptyDirs(room); err != nil {
			return err
		}
	}
	strangers, err := s.strangers()
	if err != nil {
		return err
	}
	if s.outbox.waiting, err = s.listObjects(outboxDir); err != nil {
		return err
	}
	s.outbox.waiting = slices.DeleteFunc(s.outbox.waiting, func(obj Object) bool {
		strange := !s.looksSealed(obj)
		if strange {
			strangers = append(strangers, outboxDir+"/"+obj.Key)
		}
		return strange
	})
	if len(strangers) > 0 {
		s.opt.Log.Warn("not a file of this plugin: left alone", "file", strangers[0], "files", len(strangers))
	}
	sent, err := s.listObjects(sentDir)
	if err != nil {
		return err
	}
	s.outbox.damaged = int64(len(s.aside())) // nobody has seen to them yet
	s.outbox.bytes = sizeOf(s.outbox.waiting)
	s.objects, s.sent = s.outbox.bytes, sizeOf(sent)
	if len(sent) > 0 {
		s.uploaded <- struct{}{}
	}
	s.lookAside()
	return nil
}

// strangers are what lies among objects and is no file at all: links, pipes.
func (s *Spool) strangers() (found []string, err error) {
	for _, room := range []string{outboxDir, sentDir, failedDir} {
		err = errors.Join(err, walk(s.path(room), func(path string, st fs.FileInfo) {
			if !st.Mode().IsRegular() {
				found = append(found, room+"/"+path)
			}
		}))
	}
	return found, err
}

// looksSealed tells objects from files that somebody else put into the outbox. What has a digest in its name is compared to it
// before it goes out; what has none, of an earlier version, has to begin as an object does, and is read to its end then.
func (s *Spool) looksSealed(obj Object) bool {
	if obj.sum != nil {
		return true
	}
	head := make([]byte, len(gzipHeader))
	f, err := os.Open(s.path(outboxDir, obj.file()))
	if err != nil {
		return true // Read says so
	}
	defer f.Close()
	n, err := f.Read(head)
	if err != nil && err != io.EOF {
		return true
	}
	if isGzip(head[:n]) || head[0] == '{' || head[0] == '[' {
		return true
	}
	return false
}

// recoverLogs takes up the logs in open/, to be sealed, and the chunks that may come again.
func (s *Spool) recoverLogs() error {
	entries, err := os.ReadDir(s.path(openDir)) // by name, and so by age
	if err != nil {
		return err
	}
	found := make(map[accepted]int64)
	for _, e := range entries {
		id, err := uuid.Parse(strings.TrimSuffix(e.Name(), ".log"))
		if err != nil || e.Name() != id.String()+".log" || !e.Type().IsRegular() {
			s.opt.Log.Warn("not a file of this plugin: left alone", "file", openDir+"/"+e.Name())
			continue
		}
		l := &log{id: id}
		var disk unix.Errno
		switch err := s.recoverLog(l, found); {
		case err == nil:
			s.sealing = append(s.sealing, l)
		case errors.Is(err, errUnsynced):
			return fmt.Errorf("%s: %w", l.name(), err)
		case errors.As(err, &disk):
			// Left alone, it would be delivered later, and its chunks, which come again now, as well.
			return fmt.Errorf("%s: want to read what an earlier process accepted before chunks come again: %w", l.name(), err)
		case errors.Is(err, errVersion):
			s.opt.Log.Error("left alone: a log of another version; the version that wrote it can deliver it", "file", l.name(), "err", err)
		default:
			s.opt.Log.Error("left alone: a log that cannot be read; will be tried at the next start", "file", l.name(), "err", err)
		}
	}
	s.expect(found)
	for id := range s.ends {
		if _, err := os.Stat(s.logPath(id)); errors.Is(err, fs.ErrNotExist) {
			delete(s.ends, id)
		}
	}
	return nil
}

// recoverSealing undoes seals that were under way: the log is the truth, and will be sealed again. What
// is whole is published by Run.
func (s *Spool) recoverSealing() error {
	entries, err := os.ReadDir(s.path(sealingDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		x, ok := parseSealed(e.Name())
		switch {
		case ok && x.from.byHand():
			continue // somebody may be at it, see undoRetries and undoRepairs
		case ok:
			_, err := os.Stat(x.from.path(s))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
		case !strings.HasSuffix(e.Name(), ".tmp"):
			s.opt.Log.Warn("not a file of this plugin: left alone", "file", sealingDir+"/"+e.Name())
			continue
		}
		if err := s.remove(s.path(sealingDir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// errUnsynced ends a start: a chunk that comes again could be taken for accepted, and then be lost.
var errUnsynced = errors.New("what an earlier process accepted cannot be synced to disk")

// recoverLog reads a log of an earlier process: what is in it, where it ends, which chunks it saw. In
// found are the chunks that may come again, and until when.
func (s *Spool) recoverLog(l *log, found map[accepted]int64) error {
	f, err := os.OpenFile(s.logPath(l.id), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	scan, err := newScanner(f, st.Size())
	if err != nil {
		return err
	}
	l.opened = st.ModTime()
	for scan.Next() {
		h := scan.header
		if (h.records > 0 || len(scan.rejects)+len(scan.damage) > 0) && !l.holds() {
			l.opened = time.Unix(0, h.accepted)
		}
		l.records += int(h.records)
		l.took(&content{rejects: scan.rejects, rejected: bytes.Count(scan.rejects, newline), damage: scan.damage})
		s.lastAt = max(s.lastAt, h.accepted)
		switch h.kind {
		case kindAgain:
			if len(scan.payload) == 8 {
				delete(found, accepted{h.source, int64(binary.LittleEndian.Uint64(scan.payload))})
			}
			fallthrough // it may come a third time, and is then known by this frame
		case kindRecords, kindSegment:
			found[accepted{h.source, h.accepted}] = h.accepted + int64(recentAge)
		case kindCarry:
			c := parseCarry(scan.payload)
			clear(found)
			for _, a := range c.recent {
				found[a] = a.at + int64(recentAge)
			}
			for _, a := range c.expected {
				found[a] = h.accepted + int64(expectRefusedFor)
			}
			maps.Copy(s.ends, c.ends)
		}
	}
	if scan.err != nil {
		return scan.err
	}
	// Chunks in here will be answered as delivered when they come again: that must be true on disk.
	if err := s.sync(f); err != nil {
		return fmt.Errorf("%w: %w", errUnsynced, err)
	}
	l.written.Store(st.Size())
	l.synced = st.Size()
	return nil
}
