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
// Files: frame.go is the format and reader.go its reader, tx.go a flush, segment.go one file, journal.go their order,
// redelivery.go the chunks that may come again, recover.go a start.
package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"out_amberflo/plugin/disk"
)

// Options say where a journal is and when a segment is closed.
type Options struct {
	Dir *disk.Dir
	// GzipLevel is that of the blocks that records become; 0: they stay lines.
	GzipLevel int
	// MinBlock is how many bytes of lines make a block worth it; 0: 64 KB. What comes in small batches is compressed together
	// when it is sealed: a record of an access log takes 190 bytes in a block of its own, 42 among 10, 19 among 100, and 16 from
	// some 300 (64 KB) on.
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

	txs   sync.Pool                 // of *Tx
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

// Due gives the segments that are to be sealed now, oldest first: the full ones, and the current one if its first record is that
// old; next is when that will be, 0 if nothing waits for it. All of them have a successor, which knows what must outlive them;
// on an error, those that have.
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

// RemoveLast removes the last segment, behind which all are sealed, unless it has something to tell to the next start.
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

// ensure makes sure that there is a segment to write to. The caller holds mu.
func (j *Journal) ensure() error {
	switch {
	case j.closed:
		return ErrClosed
	case j.current == nil:
		return j.begin()
	}
	return nil
}

// put writes a frame, whose first frameHeaderSize bytes are for h, at the end of the current segment; where that frame ends,
// commit makes it durable. The caller holds mu.
func (j *Journal) put(h frameHeader, frame []byte) (*Segment, int64, error) {
	if err := j.ensure(); err != nil {
		return nil, 0, err
	}
	s := j.current
	now := time.Now()
	j.lastAt = max(j.lastAt+1, now.UnixNano())
	h.accepted = j.lastAt
	h.put(frame)
	at := s.written.Load()
	if n, err := j.opt.Dir.Write(s.file, frame); err != nil {
		err = fmt.Errorf("append %d bytes to %s: %w", len(frame), s.Name(), err)
		if n > 0 {
			if terr := j.opt.Dir.Truncate(s.file, at); terr != nil {
				j.retire(s, at)
				err = errors.Join(err, fmt.Errorf("roll back: %w", terr))
			}
		}
		return nil, 0, err
	}
	disk.Crash("frame-written")
	if !s.holds() {
		s.opened = now
		j.opt.Wake() // the age of this object begins
	}
	upTo := at + int64(len(frame))
	s.written.Store(upTo)
	j.chunks.add(recent{accepted{h.source, j.lastAt}, s, upTo})
	return s, upTo, nil
}

// commit makes a segment durable up to an offset. Flushes that arrive together share one fsync: whoever waited for the one
// under way finds its bytes covered or syncs for all that came meanwhile. After a failure the kernel may have dropped the pages,
// so that a second fsync would lie: the file is not synced again, and the caller has to retire it.
func (j *Journal) commit(s *Segment, upTo int64) error {
	s.commitMu.Lock()
	defer s.commitMu.Unlock()
	if s.synced >= upTo {
		return nil
	}
	if s.failed != nil {
		return s.failed
	}
	written := s.written.Load()
	if err := j.opt.Dir.Sync(s.file); err != nil {
		s.failed = fmt.Errorf("fsync %s: %w", s.Name(), err)
		return s.failed
	}
	s.synced = written
	return nil
}

// retire ends a segment at an offset after which nothing counts. The caller holds mu. The next segment records the end durably;
// the truncation is for the time until then.
func (j *Journal) retire(s *Segment, offset int64) {
	if e, ended := j.ends[s.ID]; ended && e.offset <= offset {
		return
	}
	j.ends[s.ID] = end{offset: offset}
	_ = j.opt.Dir.Truncate(s.file, offset)
	s.written.Store(offset)
	if j.current == s {
		j.handOver()
	}
}

// handOver gives the current segment to be sealed; what comes next begins another. The caller holds mu.
func (j *Journal) handOver() {
	j.full = append(j.full, j.current)
	j.current = nil
	j.opt.Wake()
}

func (j *Journal) isFull(s *Segment) bool {
	// Frames without records (redelivered or wholly rejected chunks) fill a segment too.
	return s.has.lineBytes >= j.opt.MaxBytes || s.written.Load() >= j.opt.MaxBytes+(8<<20) ||
		j.opt.MaxRecords > 0 && s.has.records >= j.opt.MaxRecords
}

// fits tells if so many records more can be in one object with those of the segment.
func (j *Journal) fits(s *Segment, records int) bool {
	return j.opt.MaxRecords == 0 || s.has.records == 0 || s.has.records+records <= j.opt.MaxRecords
}

// rotate closes the current segment for sealing and begins the next; if that fails, the current one goes on growing. The caller
// holds mu.
func (j *Journal) rotate() error {
	old := j.current
	// What the next segment says of this one must hold on disk first.
	if err := j.commit(old, old.written.Load()); err != nil {
		j.retire(old, old.synced)
		return err
	}
	err := j.begin()
	if err != nil && j.doubt == "" {
		return err
	}
	if err != nil { // that segment may be there, and does not know what this one would still take
		j.current = nil
	}
	j.full = append(j.full, old)
	j.opt.Wake()
	return err
}

// begin makes a new segment the current one, durable with its directory entry. The caller holds mu.
func (j *Journal) begin() error {
	if err := j.opt.Dir.Attached(); err != nil {
		return err
	}
	if err := j.settle(); err != nil {
		return err
	}
	for _, s := range j.full { // those that wait are durable, or end where they are
		if j.commit(s, s.written.Load()) != nil {
			j.retire(s, s.synced)
		}
	}
	// A name after all others, whatever the clock says: the newest segment knows best.
	j.lastAt = max(j.lastAt+int64(time.Millisecond), time.Now().UnixNano())
	id, err := UUIDAt(time.Unix(0, j.lastAt))
	if err != nil {
		return fmt.Errorf("begin a segment: %w", err)
	}
	c := checkpoint{recent: j.stillRecent(), expected: j.chunks.stillExpected(), ends: j.ends}
	frame := c.append(make([]byte, frameHeaderSize))
	frameHeader{kind: kindCheckpoint, accepted: j.lastAt}.put(frame)
	s, err := j.create(id, append(newFileHeader(id), frame...))
	if err != nil {
		return errors.Join(fmt.Errorf("begin %s: %w", NameOf(id), err), j.settle())
	}
	j.current = s
	disk.Crash("log-begun")
	return nil
}

// create makes the file of a segment, durable with its directory entry. The caller holds mu.
func (j *Journal) create(id uuid.UUID, head []byte) (s *Segment, err error) {
	d := j.opt.Dir
	s = &Segment{ID: id, opened: time.Now(), synced: int64(len(head))}
	s.written.Store(s.synced)
	// Appending: a write that was rolled back leaves no hole.
	s.file, err = os.OpenFile(s.path(d), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	disk.Crash("log-created")
	if _, err = d.Write(s.file, head); err == nil {
		disk.Crash("log-written")
		err = d.Sync(s.file)
	}
	if err == nil {
		disk.Crash("log-synced")
		err = d.SyncDir(d.Path(disk.Open))
	}
	if err != nil {
		s.close()
		j.doubt = s.path(d)
	}
	return s, err
}

// settle removes a segment whose begin failed: it may be on disk or not, and must not come back after a power cut to tell of a
// state that was given up. Until that is certain no segment grows or is removed. The caller holds mu.
func (j *Journal) settle() error {
	if j.doubt == "" {
		return nil
	}
	d := j.opt.Dir
	if err := d.Remove(j.doubt); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.SyncDir(d.Path(disk.Open)); err != nil {
		return err
	}
	j.doubt = ""
	return nil
}
