// Package spool holds every byte on disk between a flush and the bucket. It knows no S3 and no meters:
// what comes in are lines, what goes out are files whose path is their object key and the digest of their bytes.
//
// What holds throughout:
//
//   - A flush is one transaction, a frame in a log: its records, its rejects and what of it cannot be decoded (see Tx). All of
//     it is durable, or none of it counts.
//   - Removing the log is the commit of a seal: before it the log is the truth, behind it what was made of it. Nothing
//     leaves sealing/ earlier, so nothing that was sealed twice can have been shipped once. Rejects that are mapped again, and
//     what meterctl makes of an object, are sealed in the same way.
//   - No record moves from one log to the next, no file but a log grows, and no two processes write to one file.
//   - A file is written, synced, renamed, and its folder synced; one whose fsync failed is not synced again.
//   - There is no state outside of the directory.
//
// Locks, in the order in which they may be taken: outbox.mu, Spool.mu, log.commitMu. Between processes: LOCK and open/ are held
// by the one that accepts; rejected/ by a meterctl that maps rejects again, and damaged/ by one that repairs, beside it.
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
// One log is always open, and it begins with the chunks accepted shortly before (carry), so that a
// chunk which Fluent Bit delivers again after a crash is recognised even if its log is long gone.
//
// Files: tx.go is a flush, log.go and frame.go the log, redelivery.go the chunks that may come again, quota.go how full it may
// get, durable.go files and folders that survive; seal.go, series.go, object.go and sealed.go make objects and what goes beside
// them, outbox.go hands them out, verdict.go keeps them until Amberflo has spoken; recover.go is a start. What meterctl does is
// in inspect.go, resend.go, retry.go, repair.go and salvage.go.
package spool

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
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
