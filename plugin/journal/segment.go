package journal

import (
	"encoding/binary"
	"errors"
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

// content counts what is in frames.
type content struct {
	records     int   // lines
	accepted    int   // records that they are made of, which are more where those were added up
	lineBytes   int64 // before compression
	rejects     int
	rejectBytes int64
	damage      int64 // bytes that could not be decoded
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

// unlinked tells if somebody removed the file.
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

// UUIDAt gives a UUID of version 7 (RFC 9562) for a time.
func UUIDAt(at time.Time) (uuid.UUID, error) {
	id, err := uuid.NewRandom()
	id[6] = 0x70 | id[6]&0x0f
	return WithTime(id, at), err
}

// WithTime gives id with that time.
func WithTime(id uuid.UUID, at time.Time) uuid.UUID {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(at.UnixMilli())<<16)
	copy(id[:6], ms[:])
	return id
}
