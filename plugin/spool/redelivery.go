package spool

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Source identifies a chunk. Hash covers the output's name, the tag and the bytes:
// one chunk may rightly reach two outputs.
type Source struct {
	Length uint32
	Hash   uint64
}

// accepted is a chunk and when it was accepted; at is unique within a spool.
type accepted struct {
	source Source
	at     int64 // Unix nanoseconds
}

// recent is a chunk accepted since the start, and up to where its log must be durable for that to hold.
type recent struct {
	accepted
	log  *log
	upTo int64
}

const (
	// How long before a crash a chunk can have been accepted and still not be recorded as delivered by
	// Fluent Bit, and how many. It records within milliseconds; the margin is for a stalled engine.
	recentAge = time.Minute
	recentMax = 4096
	// The latest are remembered whatever the clock says, which may have jumped.
	recentLeast = 64
	// How long after a start a chunk is still taken for one delivered again. Measured with filesystem
	// storage, they are among the first five chunks.
	expectFor = 10 * time.Minute
	// How long after one was refused: Fluent Bit waits up to 2000 s (scheduler.cap) before it offers it again.
	expectRefusedFor = time.Hour
)

// Salt is a number that no other spool has: what makes names of the bytes of chunks puts it in, since other machines may well
// have equal ones. It is made when it is first asked for, and then stays the same, so that a chunk which comes again after a
// crash gets the same names.
func (s *Spool) Salt() (uint64, error) {
	if salt := s.salt.Load(); salt != 0 {
		return salt, nil
	}
	s.mu.Lock() // one makes it, the next reads it
	defer s.mu.Unlock()
	if err := s.attached(); err != nil {
		return 0, err
	}
	path := s.path("ID")
	id, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if len(id) > 0 { // a power cut may still undo it
		if err := s.syncDir(s.opt.Dir); err != nil {
			return 0, err
		}
	} else {
		id = []byte(uuid.NewString() + "\n")
		if err := s.writeFile(path, id); err != nil {
			return 0, err
		}
	}
	s.salt.Store(saltOf(id))
	return s.salt.Load(), nil
}

func saltOf(id []byte) uint64 {
	hash := fnv.New64a()
	_, _ = hash.Write(id) // it cannot fail
	return hash.Sum64()
}

// Expects tells if chunks that were accepted before the process last died may still come again.
func (s *Spool) Expects() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.stillExpected()) > 0
}

// redelivered answers ErrAccepted for a chunk that was accepted before the process last died. The caller holds s.mu, and holds
// it until all is durable: a log that is begun meanwhile has to know.
func (s *Spool) redelivered(src Source) error {
	at := s.stillExpected()[src]
	if len(at) == 0 {
		return nil
	}
	if err := s.attached(); err != nil {
		return err
	}
	// Room is not asked for: it is small, and lets go of a chunk.
	l, upTo, err := s.put(frameHeader{kind: kindAgain, source: src}, binary.LittleEndian.AppendUint64(make([]byte, frameHeaderSize), uint64(at[0])))
	if err == nil {
		if err = s.commit(l, upTo); err != nil {
			s.retire(l, l.synced)
		}
	}
	if err != nil {
		s.expires = time.Now().Add(expectRefusedFor)
		return err
	}
	crash("again-synced")
	if s.expected[src] = at[1:]; len(at) == 1 {
		delete(s.expected, src)
	}
	return ErrAccepted
}

// stillRecent gives the chunks accepted since the start that the next log must carry. Only what is
// durable may be among them: a chunk recognised by mistake would be lost. The caller holds s.mu.
func (s *Spool) stillRecent() []accepted {
	oldest := time.Now().Add(-recentAge).UnixNano()
	keep := s.recent[:0]
	var seen []accepted
	for i, r := range s.recent {
		left := len(s.recent) - i
		if left <= recentMax && (r.at >= oldest || left <= recentLeast) && s.commit(r.log, r.upTo) == nil {
			keep = append(keep, r)
			seen = append(seen, r.accepted)
		}
	}
	clear(s.recent[len(keep):]) // lets go of their logs
	s.recent = keep
	return seen
}

// stillExpected gives the chunks accepted before the start that are still to come again. The caller holds
// s.mu.
func (s *Spool) stillExpected() map[Source][]int64 {
	if time.Now().After(s.expires) {
		clear(s.expected)
	}
	return s.expected
}

// expect keeps those of the chunks found that may still come again, seen from when the process ended.
func (s *Spool) expect(found map[accepted]int64) {
	all := slices.SortedFunc(maps.Keys(found), func(a, b accepted) int { return cmp.Compare(a.at, b.at) })
	var last []accepted
	for i, a := range all {
		if found[a] >= s.lastAt || len(all)-i <= recentLeast {
			last = append(last, a)
		}
	}
	for _, a := range last[max(0, len(last)-recentMax):] {
		s.expected[a.source] = append(s.expected[a.source], a.at)
	}
}
