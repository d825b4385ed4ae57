// Package spool holds every byte on disk between a flush and the bucket. It knows no S3 and no meters:
// what comes in are lines, what goes out are files whose path is their object key and the digest of their bytes.
//
// The directory is the state machine and a rename is the transition:
//
//	LOCK                      held while a Spool is open
//	ID                        what tells this directory from all others, see Salt
//	open/<uuid>.log           accepted, still growing (format: frame.go)
//	sealing/<origin>=<file>   whole object of a log, or what else comes of it; it counts from the moment the log is gone
//	                          (or the rejected records that were retried, see retry.go)
//	outbox/<file>             sealed: the exact bytes, under the exact key and with their MD5
//	sent/<file>               in the bucket, waiting for Amberflo's verdict
//	failed/<file>             refused by Amberflo, beside <key>.reason.txt
//	rejected/<day>/<uuid>.ndjson   records that could not be metered, of one log; earlier versions had a file for each day
//	damaged/…                 bytes that could not be read, as they came
//	damaged/outbox/<file>     objects that the disk has changed
//
// The file of an object is its key with its digest, see digest.go.
//
// A flush is one transaction, a frame in a log: its records, its rejects and what of it cannot be decoded (see Tx).
//
// Removing the log is the commit of a seal: before it the log is the truth, behind it what was made of it. Nothing
// leaves sealing/ earlier, so nothing that was sealed twice can have been shipped once.
//
// One log is always open, and it begins with the chunks accepted shortly before (carry), so that a
// chunk which Fluent Bit delivers again after a crash is recognised even if its log is long gone.
package spool

import (
	"cmp"
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
	// Limit bounds the bytes in open/, outbox/ and failed/, and what cannot leave sealing/; at the limit a chunk
	// is answered with ErrFull. sent/ gives way to them.
	Limit int64
	// RejectLimit bounds the bytes of rejects, in open/ and in rejected/; 0 is no bound.
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

// segmentLevel is the gzip level of the segment that so many bytes of lines become, 0 if they lie in the log as they are.
func (o *Options) segmentLevel(bytes int) int {
	from := cmp.Or(o.segmentFrom, leastSegment)
	if !o.segments() || bytes < from {
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

var (
	// ErrFull says that the spool holds as much as it may; the chunk is to be offered again later.
	ErrFull = errors.New("the spool is full")
	// ErrRejectsFull is an ErrFull: there are as many rejects as there may be.
	ErrRejectsFull = fmt.Errorf("%w of rejected records", ErrFull)
	// ErrAccepted says that a chunk was accepted before: it is to be answered with OK.
	ErrAccepted = errors.New("the chunk was accepted before")
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
	current  *log   // nil after a failure: the next chunk begins one
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
	lost     int64 // records and rejects in logs that somebody removed
	// resendable: there is something that meterctl could send again.
	resendable bool

	txs sync.Pool // of *Tx

	salt  atomic.Uint64             // see Salt; 0: not known yet
	begun atomic.Pointer[time.Time] // when the last batch was begun; nil before the first

	outbox outbox
	sealer sealer
}

// room answers ErrFull if n bytes more are too many. A part of the disk is left free: sealing needs
// room beside the log, and a disk that is full of logs could never be drained.
func (s *Spool) room(n int64) error {
	h := s.held()
	// What is in sent/ is in the bucket, and takes no room from what is not: it is given up first. A chunk
	// larger than the limit is let in alone, or it would never be.
	if s.opt.Limit > 0 && h.all+n > s.opt.Limit && (h.logs > 0 || h.all > h.open) {
		return fmt.Errorf("%w: want at most %d bytes (store_dir_limit_size), have %d and %d more", ErrFull, s.opt.Limit, h.all, n)
	}
	// The object of a log takes about as much again until the log is removed.
	if free := s.free(); free < h.open+n+reserve {
		if s.sent > 0 {
			s.crowded = true
			s.poke()
		}
		return fmt.Errorf("%w: no room left on the disk: want %d bytes free to write and seal, have %d", ErrFull, h.open+n+reserve, free)
	}
	return nil
}

// roomForRejects answers ErrRejectsFull if n bytes more of rejects are too many, unless there are none: a chunk with more than
// that would never be accepted. The caller holds s.mu.
func (s *Spool) roomForRejects(n int64) error {
	have := s.held().rejects
	if n == 0 || have == 0 || s.opt.RejectLimit == 0 || have+n <= s.opt.RejectLimit {
		return nil
	}
	return fmt.Errorf("%w: want at most %d bytes (rejected_limit_size), have %d; mend the mapping and run meterctl retry-rejected",
		ErrRejectsFull, s.opt.RejectLimit, have)
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

// holding is what there is at a moment.
type holding struct {
	logs    int   // that hold anything
	open    int64 // bytes of all logs
	all     int64 // and of the objects, but those in sent/: what counts against Options.Limit
	records int   // in logs
	rejects int64 // bytes of them, in logs and in rejected/
}

// held sums up. The caller holds s.mu.
func (s *Spool) held() (h holding) {
	h.rejects = s.rejected
	for _, l := range s.logsNow() {
		if l.holds() {
			h.logs++
		}
		h.open += l.written.Load()
		h.records += l.records
		h.rejects += l.rejects
	}
	h.all = h.open + s.objects + s.failed + s.stuck
	return h
}

// logsNow are those in open/, the oldest first. The caller holds s.mu, and keeps them no longer.
func (s *Spool) logsNow() []*log {
	if s.current == nil {
		return s.sealing
	}
	return append(s.sealing[:len(s.sealing):len(s.sealing)], s.current)
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
