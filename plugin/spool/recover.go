package spool

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
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
	s := &Spool{
		opt:      o,
		write:    (*os.File).Write,
		sync:     func(f *os.File) error { return unix.Fdatasync(int(f.Fd())) },
		wake:     make(chan struct{}, 1),
		uploaded: make(chan struct{}, 1),
		ends:     make(map[uuid.UUID]end),
		expected: make(map[Source][]int64),
		expires:  time.Now().Add(expectFor),
	}
	for _, dir := range Rooms {
		if err := os.MkdirAll(s.path(dir), 0o700); err != nil {
			return nil, fmt.Errorf("store_dir: want a directory that can be written, got %w", err)
		}
	}
	if err := s.takeLock(); err != nil {
		return nil, err
	}
	if err := s.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("store_dir %s: %w", o.Dir, err), s.Close())
	}
	return s, nil
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
	_ = f.Truncate(0)
	_, _ = fmt.Fprintln(f, os.Getpid())
	s.lock = f
	return nil
}

func (s *Spool) recover() error {
	if err := s.recoverSealing(); err != nil {
		return err
	}
	var err error
	if s.outbox.waiting, err = s.listObjects(outboxDir); err != nil {
		return err
	}
	sent, err := s.listObjects(sentDir)
	if err != nil {
		return err
	}
	for _, obj := range append(sent, s.outbox.waiting...) {
		s.objects += obj.Size
	}
	if len(sent) > 0 {
		s.uploaded <- struct{}{}
	}
	s.lookAside()
	entries, err := os.ReadDir(s.path(openDir)) // by name, and so by age
	if err != nil {
		return err
	}
	found := make(map[accepted]place)
	for _, e := range entries {
		id, err := uuid.Parse(strings.TrimSuffix(e.Name(), ".log"))
		if err != nil || e.Name() != id.String()+".log" || !e.Type().IsRegular() {
			s.opt.Log.Warn("not a file of this plugin: left alone", "file", openDir+"/"+e.Name())
			continue
		}
		l := &log{id: id}
		switch err := s.recoverLog(l, found); {
		case err == nil:
			s.sealing = append(s.sealing, l)
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(nil, 0); err != nil {
		// A full disk does not hold up the start: the outbox may drain, and Append tries again.
		s.opt.Log.Error("cannot accept records yet, will be tried again", "err", err)
	}
	return nil
}

// recoverSealing finishes or undoes seals that were under way.
func (s *Spool) recoverSealing() error {
	return s.eachSealed(func(name string) error {
		if strings.HasSuffix(name, ".tmp") {
			return os.Remove(s.path(sealingDir, name))
		}
		id, _, _ := strings.Cut(name, "=")
		_, err := os.Stat(s.path(openDir, id+".log"))
		if err == nil {
			return os.Remove(s.path(sealingDir, name)) // the log is the truth, and will be sealed again
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil // Run publishes it
	})
}

// recoverLog reads a log of an earlier process: what is in it, where it ends, which chunks it saw.
func (s *Spool) recoverLog(l *log, found map[accepted]place) error {
	f, err := os.OpenFile(s.logPath(l.id), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() {
		if l.file == nil {
			_ = f.Close()
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	scan, err := newScanner(f, st.Size())
	if err != nil {
		return err
	}
	l.opened = st.ModTime()
	note := func(at int64, n uint32) {
		if t := time.Unix(0, at); n > 0 && l.records == 0 {
			l.opened = t
		}
		l.records += int(n)
		s.lastAt = max(s.lastAt, at)
	}
	for scan.Next() {
		h := scan.header
		switch h.kind {
		case kindRecords:
			found[accepted{h.source, h.accepted}] = place{l.id, scan.start, false}
			note(h.accepted, h.records)
		case kindAgain:
			if len(scan.payload) == 8 {
				found[accepted{h.source, int64(binary.LittleEndian.Uint64(scan.payload))}] = place{again: true}
			}
			found[accepted{h.source, h.accepted}] = place{l.id, scan.start, false}
			note(h.accepted, 0)
		case kindCarry:
			c, _ := parseCarry(scan.payload)
			for _, a := range c.seen {
				if _, known := found[a]; !known {
					found[a] = place{}
				}
			}
			for id, e := range c.ends {
				s.ends[id] = e
			}
			note(h.accepted, h.records)
		}
	}
	if scan.err != nil {
		return scan.err
	}
	// Chunks in here will be answered as delivered when they come again: that must be true on disk.
	if err := s.sync(f); err != nil {
		return err
	}
	l.file = f
	l.written.Store(st.Size())
	l.synced = st.Size()
	return nil
}

// place is the frame in which a chunk was found; the zero value is a note carried from an earlier log.
type place struct {
	log   uuid.UUID
	start int64
	again bool // it came again later, and stands under that time
}

// expect keeps those of the chunks found that may come again: the last before the process ended, and
// only where their frame counts.
func (s *Spool) expect(found map[accepted]place) {
	var last []accepted
	for a, p := range found {
		e, ended := s.ends[p.log]
		void := ended && (p.start > e.offset || p.start == e.offset && e.lines == 0)
		if !p.again && !void && a.at >= s.lastAt-int64(recentAge) {
			last = append(last, a)
		}
	}
	slices.SortFunc(last, func(a, b accepted) int { return cmp.Compare(a.at, b.at) })
	for _, a := range last[max(0, len(last)-recentMax):] {
		s.expected[a.source] = append(s.expected[a.source], a.at)
	}
}
