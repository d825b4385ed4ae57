// Package journal is the write-ahead log between a flush and the objects made of it. It knows no meters and no objects: what
// comes in are lines, what goes out are segments of frames.
//
//   - A flush is one transaction, a frame in a segment: its records, its rejects and what of it cannot be decoded (see [Tx]). All
//     of it is durable, or none of it counts.
//   - A chunk that was accepted before the process last died is a redelivery: it is recognised by its [Source], even if its
//     segment is long sealed and gone, and answered with [ErrAccepted] (redelivery.go).
//   - One segment is always open. It begins with a checkpoint: what must outlive the segments before it, of which none is removed
//     before the next one is durable.
//   - A segment grows by whole frames only. After a failed fsync it ends where it was durable, and is not written again.
//   - No record moves from one segment to the next. A segment is closed before a chunk that would pass Options.MaxRecords.
//   - Removing a segment is the commit of its seal: before it the segment is the truth, after it what was made of it.
//
// Locks, in the order in which they may be taken: Journal.mu, Segment.commitMu. Options.Space is called with Journal.mu held.
//
// Files: tx.go is a flush, frame.go the format of what it writes and reader.go its reader, segment.go one file and how it
// grows, journal.go all of them and a start, redelivery.go the chunks that may come again.
package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"out_amberflo/plugin/disk"
)

// Options say where a journal is and when a segment is closed.
type Options struct {
	Dir *disk.Dir
	// GzipLevel is that of the blocks that records become; 0: they stay lines.
	GzipLevel int
	// MinBlock is how many bytes of lines make a block worth it; 0: 64 KB. What comes in small batches is compressed together
	// when it is sealed: a record of an access log takes 190 bytes in a block of its own, 42 among 10, 19 among 100, and 16
	// from some 300 (64 KB) on. Of lines that stand for records added up, four times as many are left as they are.
	MinBlock int
	// A segment is closed at MaxBytes of lines, and before a chunk that would take it beyond MaxRecords (0: no bound).
	MaxBytes   int64
	MaxRecords int
	// Space answers ErrFull if so many bytes more are too many, and ErrRejectsFull if rejects, which are part of them, are.
	Space func(bytes, rejects int64, have Held) error
	// Wake is called when there may be something to seal. It must not block.
	Wake func()
	// Log is used at a start, for what an operator should know and no caller can act on.
	Log *slog.Logger
}

var (
	// ErrFull says that there is as much on disk as there may be; the chunk is to be offered again later.
	ErrFull = errors.New("the spool is full")
	// ErrRejectsFull is an ErrFull: there are as many rejects as there may be.
	ErrRejectsFull = fmt.Errorf("%w of rejected records", ErrFull)
	// ErrAccepted says that a chunk was accepted before: it is to be answered with OK.
	ErrAccepted = errors.New("the chunk was accepted before")
	// ErrClosed says that the journal is closing; the chunk is to be offered to the next one.
	ErrClosed = errors.New("the spool is closed")
)

// Journal is safe for concurrent use.
type Journal struct {
	opt Options

	mu      sync.Mutex // guards what follows
	closed  bool
	current *Segment   // nil after a failure: the next chunk begins one
	full    []*Segment // to be sealed, oldest first
	chunks  redelivery
	ends    map[uuid.UUID]end // of segments that still exist
	doubt   string            // path of a segment that may exist or not; see settle
	lastAt  int64             // Unix nanoseconds, of the latest frame or segment: no two have one time

	spare *Tx                       // the last one that was given back, guarded by mu
	txs   sync.Pool                 // of *Tx, more of them
	begun atomic.Pointer[time.Time] // when the last flush began; nil before the first
}

// Open takes up what is in open/, whatever ended the last process. The directory is locked.
func Open(o Options) (*Journal, error) {
	j := &Journal{opt: o, ends: make(map[uuid.UUID]end), chunks: redelivery{expires: time.Now().Add(expectFor)}}
	if err := j.recover(); err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.begin(); err != nil {
		// A full disk does not hold up the start: the outbox may drain, and the next chunk tries again.
		o.Log.Error("cannot accept records yet, will be tried again", "err", err)
	}
	return j, nil
}

// recover takes up the segments in open/, to be sealed, and the chunks that may come again.
func (j *Journal) recover() error {
	log, d := j.opt.Log, j.opt.Dir
	entries, err := os.ReadDir(d.Path(disk.Open)) // by name, and so by age
	if err != nil {
		return err
	}
	found := make(findings)
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
	maps.DeleteFunc(j.ends, func(id uuid.UUID, _ end) bool {
		_, err := os.Stat(d.Path(NameOf(id)))
		return errors.Is(err, fs.ErrNotExist)
	})
	return nil
}

// errUnsynced ends a start: a chunk that comes again could be taken for accepted, and then be lost.
var errUnsynced = errors.New("what an earlier process accepted cannot be synced to disk")

// recoverSegment reads a segment of an earlier process: what is in it, where it ends, which chunks it saw.
func (j *Journal) recoverSegment(s *Segment, found findings) error {
	r, err := open(s.path(j.opt.Dir), os.O_RDWR, -1, end{Offset: math.MaxInt64})
	if err != nil {
		return err
	}
	defer r.Close()
	st, err := r.file.Stat()
	if err != nil {
		return err
	}
	s.opened = st.ModTime()
	for r.Next() {
		h, had := r.header, s.holds()
		s.has.add(contentOf(h, r.Summed, r.Rejects, r.Damage))
		if s.holds() && !had {
			s.opened = time.Unix(0, h.Accepted)
		}
		j.lastAt = max(j.lastAt, h.Accepted)
		found.see(h, r.payload)
		if h.Kind == kindCheckpoint {
			maps.Copy(j.ends, parseCheckpoint(r.payload).ends)
		}
	}
	if r.err != nil {
		return r.err
	}
	// Chunks in here will be answered as delivered when they come again: that must be true on disk.
	if err := j.opt.Dir.Sync(r.file); err != nil {
		return fmt.Errorf("%w: %w", errUnsynced, err)
	}
	s.written.Store(r.size)
	s.synced = r.size
	return nil
}

// flushing is how long after it began a flush is taken to be running.
const flushing = 20 * time.Millisecond

// Busy tells if chunks come in at the moment.
func (j *Journal) Busy() bool {
	begun := j.begun.Load()
	return begun != nil && time.Since(*begun) < flushing
}

// Held is what all segments hold.
type Held struct {
	Segments int       // that hold anything
	Bytes    int64     // of all, as stored
	Records  int       // accepted and not sealed
	Rejects  int64     // bytes of them
	Oldest   time.Time // when the first record was accepted; zero without any
}

// Held sums up.
func (j *Journal) Held() Held {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.held()
}

func (j *Journal) held() (h Held) {
	for _, s := range j.segments() {
		if s.holds() {
			h.Segments++
		}
		h.Bytes += s.written.Load()
		h.Records += s.has.accepted
		h.Rejects += s.has.rejectBytes
		if s.has.records > 0 && (h.Oldest.IsZero() || s.opened.Before(h.Oldest)) {
			h.Oldest = s.opened
		}
	}
	return h
}

// segments are those in open/, the oldest first. The caller holds mu, and keeps them no longer.
func (j *Journal) segments() []*Segment {
	if j.current == nil {
		return j.full
	}
	return append(j.full[:len(j.full):len(j.full)], j.current)
}

// Due gives the segments that are to be sealed now, oldest first: the full ones, and the current one if its first record is
// that old; next is when that will be, 0 if nothing waits for it. All of them have a successor, which knows what must outlive
// them; on an error, those that have.
func (j *Journal) Due(age time.Duration) (segments []*Segment, next time.Duration, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	due := false
	if s := j.current; s != nil && s.holds() {
		next = time.Until(s.opened.Add(age))
		if due = next <= 0 || j.isFull(s); due {
			next = 0
		}
	}
	segments, err = j.sealable(due)
	return segments, next, err
}

// sealable gives the segments that may be sealed, the current one among them if it is due. The caller holds mu.
func (j *Journal) sealable(due bool) (segments []*Segment, err error) {
	if due && j.current != nil {
		err = j.rotate()
	}
	if j.current == nil {
		err = errors.Join(err, j.begin())
	}
	if j.current == nil {
		return nil, err
	}
	return slices.Clone(j.full), err
}

// Full are the segments that wait to be sealed, or for their removal to be durable, oldest first.
func (j *Journal) Full() []*Segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.full)
}

// Remove removes a segment, for good: what was made of it counts then.
func (j *Journal) Remove(s *Segment) error {
	d := j.opt.Dir
	if err := d.Remove(s.path(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.settled = true
	disk.Crash("log-removed")
	if err := d.SyncDir(d.Path(disk.Open)); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.full = slices.DeleteFunc(j.full, func(x *Segment) bool { return x == s })
	delete(j.ends, s.ID)
	return nil
}

// End ends acceptance, and gives the segments that are left to seal. The chunks accepted since the start are forgotten: Fluent
// Bit stops when it has recorded them.
func (j *Journal) End() ([]*Segment, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	j.chunks.recent = nil
	return j.sealable(true)
}

// RemoveLast removes the last segment, before which all are sealed, unless it has something to tell to the next start.
func (j *Journal) RemoveLast() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.full)+len(j.ends)+len(j.chunks.stillExpected()) > 0 {
		return nil
	}
	disk.Crash("drained")
	d, path := j.opt.Dir, j.current.path(j.opt.Dir)
	j.current.close()
	j.current = nil
	return errors.Join(d.Remove(path), d.SyncDir(d.Path(disk.Open)))
}

// Close waits for the flushes under way and lets go of all files.
func (j *Journal) Close() {
	j.mu.Lock()
	j.closed = true
	segments := j.segments()
	j.full, j.current = nil, nil
	j.mu.Unlock()
	for _, s := range segments {
		s.pending.Wait()
		s.close()
	}
}
