// Package spool holds every byte on disk between a flush and the bucket. It knows no S3 and no meters:
// what comes in are lines, what goes out are files whose path is their object key.
//
// The directory is the state machine and a rename is the transition:
//
//	LOCK                      held while a Spool is open
//	open/<uuid>.log           accepted, still growing (format: frame.go)
//	sealing/<uuid>=<key>      whole object of a log; it counts from the moment the log is gone
//	outbox/<key>              sealed: the exact bytes, under the exact key
//	sent/<key>                in the bucket, waiting for Amberflo's verdict
//	failed/<key>              refused by Amberflo, beside <key>.reason.txt
//	rejected/<day>.ndjson     records that could not be metered
//	damaged/…                 bytes that could not be read, as they came
//
// Removing the log is the commit of a seal: before it the log is the truth, behind it the object. No
// object leaves sealing/ earlier, so nothing that was sealed twice can have been shipped once.
//
// One log is always open, and it begins with the chunks accepted shortly before (carry), so that a
// chunk which Fluent Bit delivers again after a crash is recognised even if its log is long gone.
package spool

import (
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
	// JSONArray makes an object a JSON array of its lines instead of NDJSON.
	JSONArray bool
	// GzipLevel is 1 to 9, or 0 for objects that are not compressed.
	GzipLevel int
	// An object is sealed at MaxBytes of lines, at MaxRecords (0: no bound; then also never exceeded),
	// or when its first record is MaxAge old.
	MaxBytes   int64
	MaxRecords int
	MaxAge     time.Duration
	// Limit bounds the bytes under Dir, rejected/ and damaged/ aside; at the limit Append answers ErrFull.
	Limit int64
	// RejectLimit bounds the bytes in rejected/; 0 is no bound.
	RejectLimit int64
	// Log is used by Open and Run, for what an operator should know and no caller can act on.
	Log *slog.Logger
}

// MaxKey is the longest object key in bytes, escaped as by url.PathEscape: so it stands in sealing/,
// as part of one file name.
const MaxKey = 200

// Sealed is what an object key may be made of.
type Sealed struct {
	ID     uuid.UUID
	Opened time.Time // when the first record was accepted, UTC
	Sum    [32]byte  // SHA-256 of the object's bytes
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
	// How long after a start a chunk is still taken for one delivered again. Measured with filesystem
	// storage, they are among the first five chunks.
	expectFor = 10 * time.Minute
)

// Batch collects the records of one chunk. The zero value is ready; a batch may be used again after
// Reset. It is not safe for concurrent use.
type Batch struct {
	Source  Source
	Records int
	// frame has room for the header in front of the lines.
	frame []byte
}

// Reset empties b and keeps its memory.
func (b *Batch) Reset() {
	b.Source, b.Records = Source{}, 0
	b.frame = append(b.frame[:0], make([]byte, frameHeaderSize)...)
}

// Buffer is where lines are appended; hand the longer slice back with SetBuffer. A line is one record:
// text without a line feed or NUL inside, and a line feed. One NUL byte may stand in it for the record's
// unique id, which the spool puts there: `<uuid>-<n>`.
func (b *Batch) Buffer() []byte {
	if len(b.frame) == 0 {
		b.Reset()
	}
	return b.frame
}

// SetBuffer takes what Buffer gave, with lines appended.
func (b *Batch) SetBuffer(buf []byte) { b.frame = buf }

// Spool is safe for concurrent use.
type Spool struct {
	opt  Options
	lock *os.File
	// One seam each, for tests that make them fail.
	write func(*os.File, []byte) (int, error)
	sync  func(*os.File) error

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
	lastAt   int64
	objects  int64 // bytes in outbox/ and sent/
	failed   int64 // bytes in failed/
	rejected int64 // bytes in rejected/
	// resendable: there is something that meterctl could send again.
	resendable bool

	asideMu sync.Mutex // one writer of rejected/ at a time

	outbox outbox
	sealer sealer
}

// log is one file in open/.
type log struct {
	id   uuid.UUID
	file *os.File
	// written is guarded by Spool.mu for writing; a commit reads it without.
	written atomic.Int64
	pending sync.WaitGroup // appends that are not through their commit

	// Guarded by Spool.mu.
	records int
	lines   int64 // bytes of lines
	opened  time.Time

	commitMu sync.Mutex // guards what follows; taken without Spool.mu or inside it, never around it
	synced   int64
	failed   error
}

// Append makes b durable: when it returns nil, the batch is on disk with its final unique ids, and it
// is counted exactly once. On any error nothing of b counts and the chunk is to be offered again. The
// caller keeps b.
func (s *Spool) Append(b *Batch) error {
	s.mu.Lock()
	l, upTo, err := s.put(b, kindRecords)
	if err == nil && s.full(l) && s.rotate(b) != nil {
		s.poke() // Run tries again, and tells
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.finish(l, upTo)
}

// Redelivered tells whether a chunk was accepted before the process last died and is now offered
// again. If so it must not be counted a second time; with a nil error that is durable.
func (s *Spool) Redelivered(src Source) (bool, error) {
	s.mu.Lock()
	if len(s.expected) > 0 && time.Now().After(s.expires) {
		s.expected = nil
	}
	at := s.expected[src]
	if len(at) == 0 {
		s.mu.Unlock()
		return false, nil
	}
	var b Batch
	b.Source = src
	b.SetBuffer(appendInt64(b.Buffer(), at[0]))
	l, upTo, err := s.put(&b, kindAgain)
	if err == nil {
		if s.expected[src] = at[1:]; len(at) == 1 {
			delete(s.expected, src)
		}
	}
	s.mu.Unlock()
	if err == nil {
		err = s.finish(l, upTo)
	}
	if err != nil {
		s.mu.Lock()
		if s.expected != nil {
			s.expected[src] = at
		}
		s.mu.Unlock()
	}
	return true, err
}

// put writes b as one frame at the end of the current log. The caller holds s.mu and, on success, must
// call finish.
func (s *Spool) put(b *Batch, kind uint32) (*log, int64, error) {
	if s.closed {
		return nil, 0, ErrClosed
	}
	frame := b.Buffer()
	if len(frame) > math.MaxUint32/2 {
		return nil, 0, fmt.Errorf("append: want at most 2 GiB of records from one chunk, got %d bytes", len(frame))
	}
	if err := s.room(int64(len(frame))); err != nil {
		return nil, 0, err
	}
	if s.current == nil {
		if err := s.begin(nil, 0); err != nil {
			return nil, 0, err
		}
	}
	l := s.current
	now := time.Now()
	s.lastAt = max(s.lastAt+1, now.UnixNano())
	frameHeader{
		kind: kind, records: uint32(b.Records), first: uint32(l.records),
		source: b.Source, accepted: s.lastAt,
	}.put(frame)
	at := l.written.Load()
	if n, err := s.write(l.file, frame); err != nil {
		err = fmt.Errorf("append %d bytes to %s: %w", len(frame), l.name(), err)
		if n > 0 {
			if terr := l.rollBack(at); terr != nil {
				s.retire(l, at)
				err = errors.Join(err, terr)
			}
		}
		return nil, 0, err
	}
	crash("frame-written")
	if l.records == 0 {
		l.opened = now
		s.poke() // the age of this object begins
	}
	l.written.Store(at + int64(len(frame)))
	l.records += b.Records
	if kind == kindRecords {
		l.lines += int64(len(frame) - frameHeaderSize)
	}
	s.recent = append(s.recent, recent{accepted{b.Source, s.lastAt}, l, l.written.Load()})
	l.pending.Add(1)
	return l, at + int64(len(frame)), nil
}

// finish waits until what put wrote is durable. The caller does not hold s.mu.
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

// commit makes l durable up to an offset. Flushes that arrive together share one fsync: whoever waited
// for the one under way finds its bytes covered or syncs for all that came meanwhile. After a failure
// the kernel may have dropped the pages, so that a second fsync would lie: the file is not synced again.
func (s *Spool) commit(l *log, upTo int64) error {
	l.commitMu.Lock()
	defer l.commitMu.Unlock()
	if l.synced >= upTo {
		return nil
	}
	if l.failed != nil {
		return l.failed
	}
	written := l.written.Load()
	if err := s.sync(l.file); err != nil {
		l.failed = fmt.Errorf("fsync %s: %w", l.name(), err)
		return l.failed
	}
	l.synced = written
	return nil
}

// retire ends a log at an offset behind which nothing counts. The caller holds s.mu. The next log
// records the end durably; the truncation is for the time until then.
func (s *Spool) retire(l *log, offset int64) {
	if e, ended := s.ends[l.id]; ended && e.offset <= offset {
		return
	}
	s.ends[l.id] = end{offset: offset}
	_ = l.file.Truncate(offset)
	if s.current == l {
		s.current = nil
		s.sealing = append(s.sealing, l)
		s.poke()
	}
}

func (l *log) rollBack(offset int64) error {
	if err := l.file.Truncate(offset); err != nil {
		return fmt.Errorf("roll back: %w", err)
	}
	_, err := l.file.Seek(offset, 0)
	return err
}

// room answers ErrFull if n bytes more are too many. A part of the disk is left free: sealing needs
// room beside the log, and a disk that is full of logs could never be drained.
func (s *Spool) room(n int64) error {
	open := s.openBytes()
	if have := open + s.objects + s.failed; s.opt.Limit > 0 && have+n > s.opt.Limit {
		return fmt.Errorf("%w: want at most %d bytes (store_dir_limit_size), have %d", ErrFull, s.opt.Limit, have)
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(s.lock.Fd()), &st); err != nil || st.Bsize <= 0 {
		return nil // the write will tell
	}
	reserve := open
	if s.opt.GzipLevel > 0 {
		reserve = open / 4
	}
	if free := int64(st.Bavail) * int64(st.Bsize); free < reserve+n+1<<20 {
		return fmt.Errorf("%w: no room left on the disk: want %d bytes free to write and seal, have %d", ErrFull, reserve+n+1<<20, free)
	}
	return nil
}

func (s *Spool) openBytes() int64 {
	var n int64
	if s.current != nil {
		n = s.current.written.Load()
	}
	for _, l := range s.sealing {
		n += l.written.Load()
	}
	return n
}

// stillRecent gives the chunks that the next log must carry. Only what is durable may be among them: a
// chunk recognised by mistake would be lost. The caller holds s.mu.
func (s *Spool) stillRecent() []accepted {
	oldest := time.Now().Add(-recentAge).UnixNano()
	keep := s.recent[:0]
	for _, r := range s.recent[max(0, len(s.recent)-recentMax):] {
		if r.at >= oldest && s.commit(r.log, r.upTo) == nil {
			keep = append(keep, r)
		}
	}
	s.recent = keep
	seen := make([]accepted, 0, len(keep))
	for src, times := range s.expected {
		for _, at := range times {
			seen = append(seen, accepted{src, at})
		}
	}
	for _, r := range keep {
		seen = append(seen, r.accepted)
	}
	return seen
}

func (s *Spool) full(l *log) bool {
	// Frames without records (redelivered or wholly rejected chunks) fill a log too.
	return l.lines >= s.opt.MaxBytes || l.written.Load() >= s.opt.MaxBytes+8<<20 ||
		s.opt.MaxRecords > 0 && l.records >= s.opt.MaxRecords
}

// rotate closes the current log for sealing and begins the next; if that fails, the current one goes on
// growing. The caller holds s.mu. last is the batch that filled the log, or nil: of its records, those
// beyond MaxRecords move on.
func (s *Spool) rotate(last *Batch) error {
	old := s.current
	// What moves on, and what the next log says of this one, must hold on disk first.
	if err := s.commit(old, old.written.Load()); err != nil {
		return err
	}
	var lines []byte
	rest := 0
	if last != nil && s.opt.MaxRecords > 0 && old.records > s.opt.MaxRecords {
		rest = old.records % s.opt.MaxRecords
	}
	if rest > 0 {
		lines = tailLines(last.frame[frameHeaderSize:], rest)
		lines = appendStamped(nil, lines, old.id, old.records-rest)
		s.ends[old.id] = end{old.written.Load() - int64(len(last.frame)), int64(last.Records - rest)}
	}
	if err := s.begin(lines, rest); err != nil {
		if rest > 0 {
			delete(s.ends, old.id)
		}
		return err
	}
	s.sealing = append(s.sealing, old)
	s.poke()
	return nil
}

// begin makes a new log the current one, durable with its directory entry. The caller holds s.mu.
func (s *Spool) begin(lines []byte, records int) error {
	id, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("begin a log: %w", err)
	}
	c := carry{seen: s.stillRecent(), ends: s.ends, lines: lines}
	now := time.Now()
	buf := newFileHeader(id)
	frame := c.append(make([]byte, frameHeaderSize))
	frameHeader{kind: kindCarry, records: uint32(records), accepted: now.UnixNano()}.put(frame)
	buf = append(buf, frame...)

	l := &log{id: id, records: records, lines: int64(len(lines)), opened: now, synced: int64(len(buf))}
	l.written.Store(l.synced)
	path := s.logPath(id)
	l.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("begin a log: %w", err)
	}
	if _, err = s.write(l.file, buf); err == nil {
		err = s.sync(l.file)
	}
	if err == nil {
		err = s.syncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = l.file.Close()
		_ = os.Remove(path)
		return fmt.Errorf("begin %s: %w", l.name(), err)
	}
	s.current = l
	crash("log-begun")
	return nil
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

// name is how messages call the log.
func (l *log) name() string { return openDir + "/" + l.id.String() + ".log" }
