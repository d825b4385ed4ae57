// Package spool holds every byte on disk between a flush and the bucket. It knows no S3 and no meters:
// what comes in are lines, what goes out are files whose path is their object key and the digest of their bytes.
//
// The directory is the state machine and a rename is the transition:
//
//	LOCK                      held while a Spool is open
//	ID                        what tells this directory from all others, see Salt
//	open/<uuid>.log           accepted, still growing (format: frame.go)
//	sealing/<origin>=<file>   whole object of a log; it counts from the moment the log is gone
//	                          (or of rejected records that were retried, see retry.go)
//	outbox/<file>             sealed: the exact bytes, under the exact key and with their MD5
//	sent/<file>               in the bucket, waiting for Amberflo's verdict
//	failed/<file>             refused by Amberflo, beside <key>.reason.txt
//	rejected/<day>.ndjson     records that could not be metered
//	damaged/…                 bytes that could not be read, as they came
//	damaged/outbox/<file>     objects that the disk has changed
//
// The file of an object is its key with its digest, see digest.go.
//
// Removing the log is the commit of a seal: before it the log is the truth, behind it the object. No
// object leaves sealing/ earlier, so nothing that was sealed twice can have been shipped once.
//
// One log is always open, and it begins with the chunks accepted shortly before (carry), so that a
// chunk which Fluent Bit delivers again after a crash is recognised even if its log is long gone.
package spool

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// Options say where a spool is and what its objects are.
type Options struct {
	Dir string
	// Key names an object; it is called once per object, from one goroutine. The result is a relative,
	// clean, slash-separated path that no other object ever has, no longer than MaxKey allows.
	Key func(Sealed) string
	// Hash: Key wants Sealed.Sum.
	Hash bool
	// JSONArray makes an object a JSON array of its lines instead of NDJSON.
	JSONArray bool
	// GzipLevel is 1 to 9, or 0 for objects that are not compressed.
	GzipLevel int
	// An object is sealed at MaxBytes of lines, when its first record is MaxAge old, or before a batch that would take it
	// beyond MaxRecords (0: no bound), which no object exceeds.
	MaxBytes   int64
	MaxRecords int
	MaxAge     time.Duration
	// Limit bounds the bytes in open/, outbox/ and failed/, and what cannot leave sealing/; at the limit Append answers
	// ErrFull. sent/ gives way to them.
	Limit int64
	// RejectLimit bounds the bytes in rejected/; 0 is no bound.
	RejectLimit int64
	// Log is used by Open and Run, for what an operator should know and no caller can act on.
	Log *slog.Logger

	segmentFrom int // instead of leastSegment, in tests
}

// leastSegment is how many bytes of lines make a segment worth it. What comes in small batches is compressed together when
// it is sealed: a record of an access log takes 190 bytes in a segment of its own, 42 among 10, 19 among 100, and 16 from
// some 300 (64 KB) on.
const leastSegment = 64 << 10

// segments tells if whole segments make an object: a JSON array is not what one line after the other makes.
func (o *Options) segments() bool { return o.GzipLevel > 0 && !o.JSONArray }

// segmentLevel is the gzip level of the segment that a batch becomes, 0 if its lines lie in the log as they are.
func (o *Options) segmentLevel(b *Batch) int {
	from := cmp.Or(o.segmentFrom, leastSegment)
	if !o.segments() || len(b.Lines) < from {
		return 0
	}
	return o.GzipLevel
}

// MaxKey is the longest object key in bytes, escaped as by url.PathEscape: so it stands in sealing/,
// as part of one file name, with its digest and what it is made of.
const MaxKey = 179

// Sealed is what an object key may be made of.
type Sealed struct {
	ID     uuid.UUID
	Opened time.Time // when the first record was accepted, UTC
	Sum    [32]byte  // SHA-256 of the object's bytes, with Options.Hash
}

// Source identifies the chunk that a batch came from. Hash covers the output, the tag and the bytes:
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

var (
	// ErrFull says that the spool holds as much as it may; the chunk is to be offered again later.
	ErrFull = errors.New("the spool is full")
	// ErrClosed says that the spool is closing; the chunk is to be offered to the next one.
	ErrClosed = errors.New("the spool is closed")
)

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

// Batch collects the records of one chunk. The zero value is ready; Begin makes a batch ready for the next chunk. It is not
// safe for concurrent use.
type Batch struct {
	Source  Source
	Records int
	Lines   []byte // one for each record: text without a line feed inside, and a line feed

	// Its numbers for records: most of them from first on, in log. See Begin.
	log         *log
	first, most int
}

// Spool is safe for concurrent use.
type Spool struct {
	opt  Options
	lock *os.File
	logs *os.File // open/, locked
	// One seam each, for tests that make them fail.
	write    func(*os.File, []byte) (int, error)
	sync     func(*os.File) error
	truncate func(*os.File, int64) error
	rename   func(from, to string) error
	remove   func(string) error

	wake     chan struct{} // to Run: something to seal
	uploaded chan struct{} // see Uploaded

	mu       sync.Mutex // guards what follows
	closed   bool
	current  *log   // nil after a failure: the next Append begins one
	sealing  []*log // to be sealed, oldest first
	recent   []recent
	expected map[Source][]int64 // accepted before the start, oldest first
	expires  time.Time          // when expected ends
	ends     map[uuid.UUID]end  // of logs that still exist
	doubt    string             // path of a log that may exist or not; see settle
	lastAt   int64
	objects  int64 // bytes in outbox/
	sent     int64 // bytes in sent/
	crowded  bool  // the disk lacks what sent/ has
	failed   int64 // bytes in failed/
	stuck    int64 // bytes in sealing/ that could not be published
	rejected int64 // bytes in rejected/
	lost     int64 // records in logs that somebody removed
	// resendable: there is something that meterctl could send again.
	resendable bool

	encoders sync.Pool // of *encoder

	salt  atomic.Uint64             // see Salt; 0: not known yet
	begun atomic.Pointer[time.Time] // when the last batch was begun; nil before the first

	asideMu sync.Mutex // one writer of rejected/ at a time

	outbox outbox
	sealer sealer
}

// Begin empties b for the records of a chunk, at most most of them, and keeps its memory. It answers ErrFull if Append would
// refuse even one byte.
//
// The unique ids of records that have none are prefix, `<uuid>-`, and their number from first on. No other batch gets them.
// The uuid is that of the object that the records are going to be in, or of an earlier one if that fills up meanwhile.
func (s *Spool) Begin(b *Batch, src Source, most int) (prefix string, first int, err error) {
	*b = Batch{Source: src, Lines: b.Lines[:0]}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.attached(); err != nil {
		return "", 0, err
	}
	if err := s.room(1); err != nil {
		return "", 0, err
	}
	if s.current != nil && s.current.unlinked() {
		s.handOver() // seal says so
	}
	if err := s.ensure(); err != nil {
		return "", 0, err
	}
	now := time.Now()
	s.begun.Store(&now)
	b.log, b.first, b.most = s.current, s.current.numbered, most
	b.log.numbered += most
	return b.log.id.String() + "-", b.first, nil
}

// giveBack lets the next batch have the numbers that b did not use. The caller holds s.mu.
func (b *Batch) giveBack() error {
	l := b.log
	if l == nil {
		return nil
	}
	b.log = nil
	if b.Records > b.most {
		return fmt.Errorf("want at most the %d records that were said to come, got %d: their ids may be given twice", b.most, b.Records)
	}
	if l.numbered == b.first+b.most { // else another has begun meanwhile: there is a gap
		l.numbered = b.first + b.Records
	}
	return nil
}

// Append makes b durable: when it returns nil, the batch is on disk and counted exactly once. On any error nothing of b
// counts and the chunk is to be offered again. The caller keeps b.
func (s *Spool) Append(b *Batch) error {
	l, upTo, err := s.accept(b)
	if err != nil {
		return err
	}
	return s.finish(l, upTo)
}

// accept compresses b, without the lock, and writes it; on success the caller must call finish.
func (s *Spool) accept(b *Batch) (*log, int64, error) {
	e, _ := s.encoders.Get().(*encoder)
	if e == nil {
		e = new(encoder)
	}
	h, frame, err := e.records(b, s.opt.segmentLevel(b))
	if err != nil {
		return nil, 0, fmt.Errorf("append: %w", err)
	}
	l, upTo, err := s.place(b, h, frame)
	s.encoders.Put(e) // not after a panic
	return l, upTo, err
}

// place writes the frame of b.
func (s *Spool) place(b *Batch, h frameHeader, frame []byte) (*log, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := b.giveBack(); err != nil {
		return nil, 0, fmt.Errorf("append: %w", err)
	}
	if err := s.room(int64(len(frame))); err != nil {
		return nil, 0, fmt.Errorf("append: %w", err)
	}
	if s.current != nil && !s.fits(s.current, b.Records) && s.rotate() != nil {
		s.poke() // Run tries again, and tells; the seal keeps the bound
	}
	l, upTo, err := s.put(h, frame)
	if err != nil {
		return nil, 0, err
	}
	l.pending.Add(1)
	if s.full(l) && s.rotate() != nil {
		s.poke()
	}
	return l, upTo, nil
}

// finish waits until what accept wrote is durable.
func (s *Spool) finish(l *log, upTo int64) error {
	defer l.pending.Done()
	err := s.commit(l, upTo)
	if err != nil {
		s.mu.Lock()
		s.retire(l, l.synced)
		s.mu.Unlock()
	}
	crash("frame-synced")
	return err
}

// Redelivered tells whether a chunk was accepted before the process last died and is now offered
// again. If so it must not be counted a second time; with a nil error that is durable.
func (s *Spool) Redelivered(src Source) (bool, error) {
	crash("offered")
	// Held until all is durable: a log that is begun meanwhile has to know.
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.stillExpected()[src]
	if len(at) == 0 {
		return false, nil
	}
	if err := s.attached(); err != nil {
		return true, err
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
		return true, err
	}
	crash("again-synced")
	if s.expected[src] = at[1:]; len(at) == 1 {
		delete(s.expected, src)
	}
	return true, nil
}

// RoomFor says why n bytes of records would not be accepted now.
func (s *Spool) RoomFor(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.room(int64(n))
}

// room answers ErrFull if n bytes more are too many. A part of the disk is left free: sealing needs
// room beside the log, and a disk that is full of logs could never be drained.
func (s *Spool) room(n int64) error {
	open, records, have := s.held()
	// What is in sent/ is in the bucket, and takes no room from what is not: it is given up first. A chunk
	// larger than the limit is let in alone, or it would never be.
	if s.opt.Limit > 0 && have+n > s.opt.Limit && (records > 0 || have > open) {
		return fmt.Errorf("%w: want at most %d bytes (store_dir_limit_size), have %d and %d more", ErrFull, s.opt.Limit, have, n)
	}
	// The object of a log takes about as much again until the log is removed.
	if free := s.free(); free < open+n+reserve {
		if s.sent > 0 {
			s.crowded = true
			s.poke()
		}
		return fmt.Errorf("%w: no room left on the disk: want %d bytes free to write and seal, have %d", ErrFull, open+n+reserve, free)
	}
	return nil
}

// reserve is what stays free on the disk, for directories and what is moved.
const reserve = 1 << 20

// free is what the disk has left; where it does not say, the write will tell.
func (s *Spool) free() int64 {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(s.lock.Fd()), &st); err != nil || st.Bsize <= 0 {
		return math.MaxInt64 / 2
	}
	return int64(min(st.Bavail, math.MaxInt64/2/uint64(st.Bsize))) * int64(st.Bsize)
}

// held is what the logs hold, and what counts against Options.Limit: that and the objects but those in sent/. The caller
// holds s.mu.
func (s *Spool) held() (open int64, records int, all int64) {
	for _, l := range s.sealing {
		open += l.written.Load()
		records += l.records
	}
	if s.current != nil {
		open += s.current.written.Load()
		records += s.current.records
	}
	return open, records, open + s.objects + s.failed + s.stuck
}

func (s *Spool) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// The folders of Options.Dir; the package comment says what is in each.
const (
	openDir     = "open"
	sealingDir  = "sealing"
	outboxDir   = "outbox"
	sentDir     = "sent"
	failedDir   = "failed"
	rejectedDir = "rejected"
	damagedDir  = "damaged"
)

func (s *Spool) path(elem ...string) string {
	return filepath.Join(append([]string{s.opt.Dir}, elem...)...)
}

func (s *Spool) logPath(id uuid.UUID) string { return s.path(openDir, id.String()+".log") }
