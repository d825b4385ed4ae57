package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"out_amberflo/plugin/disk"
)

// recover takes up the segments in open/, to be sealed, and the chunks that may come again.
func (j *Journal) recover() error {
	log, d := j.opt.Log, j.opt.Dir
	entries, err := os.ReadDir(d.Path(disk.Open)) // by name, and so by age
	if err != nil {
		return err
	}
	found := make(map[accepted]int64)
	for _, e := range entries {
		id, err := uuid.Parse(strings.TrimSuffix(e.Name(), ".log"))
		if err != nil || disk.Open+"/"+e.Name() != NameOf(id) || !e.Type().IsRegular() {
			log.Warn("not a file of this plugin: left alone", "file", disk.Open+"/"+e.Name())
			continue
		}
		s := &Segment{ID: id}
		var errno unix.Errno
		switch err := j.recoverSegment(s, found); {
		case err == nil:
			j.full = append(j.full, s)
		case errors.Is(err, errUnsynced):
			return fmt.Errorf("%s: %w", s.Name(), err)
		case errors.As(err, &errno):
			// Left alone, it would be delivered later, and its chunks, which come again now, as well.
			return fmt.Errorf("%s: want to read what an earlier process accepted before chunks come again: %w", s.Name(), err)
		case errors.Is(err, ErrVersion):
			log.Error("left alone: a segment of another version; the version that wrote it can deliver it", "file", s.Name(), "err", err)
		default:
			log.Error("left alone: a segment that cannot be read; will be tried at the next start", "file", s.Name(), "err", err)
		}
	}
	j.chunks.expect(found, j.lastAt)
	for id := range j.ends {
		if _, err := os.Stat(d.Path(NameOf(id))); errors.Is(err, fs.ErrNotExist) {
			delete(j.ends, id)
		}
	}
	return nil
}

// errUnsynced ends a start: a chunk that comes again could be taken for accepted, and then be lost.
var errUnsynced = errors.New("what an earlier process accepted cannot be synced to disk")

// recoverSegment reads a segment of an earlier process: what is in it, where it ends, which chunks it saw. In found are the
// chunks that may come again, and until when.
func (j *Journal) recoverSegment(s *Segment, found map[accepted]int64) error {
	f, err := os.OpenFile(s.path(j.opt.Dir), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	r, err := newReader(f, st.Size(), end{offset: math.MaxInt64})
	if err != nil {
		return err
	}
	s.opened = st.ModTime()
	for r.Next() {
		h, had := r.header, s.holds()
		s.has.add(r.content())
		if s.holds() && !had {
			s.opened = time.Unix(0, h.accepted)
		}
		j.lastAt = max(j.lastAt, h.accepted)
		switch h.kind {
		case kindRedelivered:
			if len(r.payload) == 8 {
				delete(found, accepted{h.source, int64(binary.LittleEndian.Uint64(r.payload))})
			}
			fallthrough // it may come a third time, and is then known by this frame
		case kindRecords, kindBlock:
			found[accepted{h.source, h.accepted}] = h.accepted + int64(recentAge)
		case kindCheckpoint:
			c := parseCheckpoint(r.payload)
			clear(found)
			for _, a := range c.recent {
				found[a] = a.at + int64(recentAge)
			}
			for _, a := range c.expected {
				found[a] = h.accepted + int64(expectDeferredFor)
			}
			maps.Copy(j.ends, c.ends)
		}
	}
	if r.err != nil {
		return r.err
	}
	// Chunks in here will be answered as delivered when they come again: that must be true on disk.
	if err := j.opt.Dir.Sync(f); err != nil {
		return fmt.Errorf("%w: %w", errUnsynced, err)
	}
	s.written.Store(st.Size())
	s.synced = st.Size()
	return nil
}
