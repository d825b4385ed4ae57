package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"out_amberflo/plugin/disk"
)

// Segment is one file of the journal, open/<uuid>.log.
type Segment struct {
	ID   uuid.UUID
	file *os.File // nil once nothing is written or synced any more
	// written is guarded by Journal.mu for writing; a commit reads it without.
	written atomic.Int64
	pending sync.WaitGroup // appends that are not through their commit
	settled bool           // removed, or told of as lost; of the goroutine that seals

	// Guarded by Journal.mu.
	has      content
	numbered int // numbers given to chunks, which may have come to nothing
	opened   time.Time

	commitMu sync.Mutex // guards what follows; taken without Journal.mu or inside it, never around it
	synced   int64
	failed   error
}

type content struct {
	records     int   // lines
	accepted    int   // records that they are made of, which are more where those were added up
	lineBytes   int64 // before compression
	rejects     int
	rejectBytes int64
	damage      int64 // bytes that could not be decoded
}

func contentOf(h frameHeader, summed int, rejects, damage []byte) content {
	records := int(h.Lines)
	return content{
		records: records, accepted: max(records, summed), lineBytes: int64(h.Size),
		rejects: bytes.Count(rejects, []byte{'\n'}), rejectBytes: int64(len(rejects)), damage: int64(len(damage)),
	}
}

func (c *content) add(x content) {
	c.records += x.records
	c.accepted += x.accepted
	c.lineBytes += x.lineBytes
	c.rejects += x.rejects
	c.rejectBytes += x.rejectBytes
	c.damage += x.damage
}

// holds tells if anything comes of the segment when it is sealed.
func (s *Segment) holds() bool { return s.has.records > 0 || s.has.rejectBytes > 0 || s.has.damage > 0 }

// Opened is when the first record was accepted. It does not change once the segment is handed out.
func (s *Segment) Opened() time.Time { return s.opened }

// Size is that of the file, as far as it counts.
func (s *Segment) Size() int64 { return s.written.Load() }

// Name is the path below the directory, for messages.
func (s *Segment) Name() string { return NameOf(s.ID) }

func (s *Segment) path(d *disk.Dir) string { return d.Path(s.Name()) }

// NameOf is the path, below the directory, of the segment with that id.
func NameOf(id uuid.UUID) string { return disk.Open + "/" + id.String() + ".log" }

func (s *Segment) unlinked() bool {
	var st unix.Stat_t
	if unix.Fstat(int(s.file.Fd()), &st) != nil || st.Nlink > 0 {
		return false
	}
	_, err := os.Lstat(s.file.Name()) // some file systems count no links
	return errors.Is(err, fs.ErrNotExist)
}

// Lost tells once how many records and rejects are lost with a segment whose file somebody removed; 0 if it was removed here.
func (s *Segment) Lost() int {
	if s.settled {
		return 0
	}
	s.settled = true
	return s.has.accepted + s.has.rejects
}

// close lets go of the file. What counts was synced, so that its error says nothing.
func (s *Segment) close() {
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
}

// WithTime gives a UUID of version 7 (RFC 9562) another time.
func WithTime(id uuid.UUID, at time.Time) uuid.UUID {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli())<<16)
	copy(id[:6], ms[:])
	return id
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
	h.Accepted = j.lastAt
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
	j.chunks.add(recent{accepted{h.Source, j.lastAt}, s, upTo})
	return s, upTo, nil
}

// commit makes a segment durable up to an offset. Flushes that arrive together share one fsync: whoever waited for the one
// under way finds its bytes covered or syncs for all that came meanwhile. After a failure the kernel may have dropped the
// pages, so that a second fsync would lie: the file is not synced again, and the caller has to retire it.
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
	if e, ended := j.ends[s.ID]; ended && e.Offset <= offset {
		return
	}
	j.ends[s.ID] = end{Of: s.ID, Offset: offset}
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
	switch {
	case err == nil:
		j.full = append(j.full, old)
		j.opt.Wake()
	case j.doubt != "": // that segment may be there, and does not know what this one would still take
		j.handOver()
	}
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
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("begin a segment: %w", err)
	}
	id = WithTime(id, time.Unix(0, j.lastAt))
	c := checkpoint{recent: j.stillRecent(), expected: j.chunks.stillExpected(), ends: j.ends}
	frame := c.append(make([]byte, frameHeaderSize))
	frameHeader{Kind: kindCheckpoint, Accepted: j.lastAt}.put(frame)
	head, d := append(newFileHeader(id), frame...), j.opt.Dir
	s := &Segment{ID: id, opened: time.Now(), synced: int64(len(head))}
	s.written.Store(s.synced)
	// Appending: a write that was rolled back leaves no hole.
	if s.file, err = os.OpenFile(s.path(d), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600); err != nil {
		return fmt.Errorf("begin a segment: %w", err)
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
		return errors.Join(fmt.Errorf("begin %s: %w", s.Name(), err), j.settle())
	}
	j.current = s
	disk.Crash("log-begun")
	return nil
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
