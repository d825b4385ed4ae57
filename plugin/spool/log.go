package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// log is one file in open/.
type log struct {
	id   uuid.UUID
	file *os.File // nil once nothing is written or synced any more
	// written is guarded by Spool.mu for writing; a commit reads it without.
	written atomic.Int64
	pending sync.WaitGroup // appends that are not through their commit
	settled bool           // sealed and removed, or told of as lost; of the goroutine that seals

	// Guarded by Spool.mu.
	records  int
	rejected int   // rejects
	rejects  int64 // bytes of them
	damage   int64 // bytes that could not be decoded
	numbered int   // numbers given to chunks, which may have come to nothing
	lines    int64 // bytes of lines, before compression
	opened   time.Time

	commitMu sync.Mutex // guards what follows; taken without Spool.mu or inside it, never around it
	synced   int64
	failed   error
}

// ensure makes sure that there is a log to write to. The caller holds s.mu.
func (s *Spool) ensure() error {
	if s.closed {
		return ErrClosed
	}
	if s.current == nil {
		return s.begin()
	}
	return nil
}

// put writes a frame, whose first frameHeaderSize bytes are for h, at the end of the current log; where that
// frame ends, commit makes it durable. The caller holds s.mu.
func (s *Spool) put(h frameHeader, frame []byte) (*log, int64, error) {
	if err := s.ensure(); err != nil {
		return nil, 0, err
	}
	l := s.current
	now := time.Now()
	s.lastAt = max(s.lastAt+1, now.UnixNano())
	h.accepted = s.lastAt
	h.put(frame)
	at := l.written.Load()
	if n, err := s.write(l.file, frame); err != nil {
		err = fmt.Errorf("append %d bytes to %s: %w", len(frame), l.name(), err)
		if n > 0 {
			if terr := s.truncate(l.file, at); terr != nil {
				s.retire(l, at)
				err = errors.Join(err, fmt.Errorf("roll back: %w", terr))
			}
		}
		return nil, 0, err
	}
	crash("frame-written")
	if !l.holds() {
		l.opened = now
		s.poke() // the age of this object begins
	}
	upTo := at + int64(len(frame))
	l.written.Store(upTo)
	l.records += int(h.records)
	l.lines += h.text.size
	if len(s.recent) >= 2*recentMax {
		s.recent = append(s.recent[:0], s.recent[len(s.recent)-recentMax:]...)
	}
	s.recent = append(s.recent, recent{accepted{h.source, s.lastAt}, l, upTo})
	return l, upTo, nil
}

// holds tells if anything comes of the log when it is sealed.
func (l *log) holds() bool { return l.records > 0 || l.rejects > 0 || l.damage > 0 }

// took counts what of a chunk is no record. The caller holds Spool.mu.
func (l *log) took(c *content) {
	l.rejected += c.rejected
	l.rejects += int64(len(c.rejects))
	l.damage += int64(len(c.damage))
}

// commit makes l durable up to an offset. Flushes that arrive together share one fsync: whoever waited
// for the one under way finds its bytes covered or syncs for all that came meanwhile. After a failure
// the kernel may have dropped the pages, so that a second fsync would lie: the file is not synced again,
// and the caller has to retire it.
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
	_ = s.truncate(l.file, offset)
	l.written.Store(offset)
	if s.current == l {
		s.handOver()
	}
}

// handOver gives the current log to be sealed; what comes next begins another. The caller holds s.mu.
func (s *Spool) handOver() {
	s.sealing = append(s.sealing, s.current)
	s.current = nil
	s.poke()
}

// commitAll makes the logs durable that wait to be sealed, or ends them where they are. The caller
// holds s.mu.
func (s *Spool) commitAll() {
	for _, l := range s.sealing {
		if s.commit(l, l.written.Load()) != nil {
			s.retire(l, l.synced)
		}
	}
}

func (s *Spool) full(l *log) bool {
	// Frames without records (redelivered or wholly rejected chunks) fill a log too.
	return l.lines >= s.opt.MaxBytes || l.written.Load() >= s.opt.MaxBytes+(8<<20) ||
		s.opt.MaxRecords > 0 && l.records >= s.opt.MaxRecords
}

// fits tells if so many records more can be in one object with those of the log.
func (s *Spool) fits(l *log, records int) bool {
	return s.opt.MaxRecords == 0 || l.records == 0 || l.records+records <= s.opt.MaxRecords
}

// rotate closes the current log for sealing and begins the next; if that fails, the current one goes on
// growing. The caller holds s.mu.
func (s *Spool) rotate() error {
	old := s.current
	// What the next log says of this one must hold on disk first.
	if err := s.commit(old, old.written.Load()); err != nil {
		s.retire(old, old.synced)
		return err
	}
	if err := s.begin(); err != nil {
		if s.doubt != "" { // that log may be there, and does not know what this one would still take
			s.current = nil
			s.sealing = append(s.sealing, old)
		}
		return err
	}
	s.sealing = append(s.sealing, old)
	s.poke()
	return nil
}

// begin makes a new log the current one, durable with its directory entry. The caller holds s.mu.
func (s *Spool) begin() error {
	if err := s.attached(); err != nil {
		return err
	}
	if err := s.settle(); err != nil {
		return err
	}
	s.commitAll()
	now := time.Now()
	// A name behind all others, whatever the clock says: the newest log knows best.
	s.lastAt = max(s.lastAt+int64(time.Millisecond), now.UnixNano())
	id, err := uuidAt(s.lastAt)
	if err != nil {
		return fmt.Errorf("begin a log: %w", err)
	}
	c := carry{recent: s.stillRecent(), ends: s.ends}
	for source, times := range s.stillExpected() {
		for _, at := range times {
			c.expected = append(c.expected, accepted{source, at})
		}
	}
	buf := newFileHeader(id)
	frame := c.append(make([]byte, frameHeaderSize))
	frameHeader{kind: kindCarry, accepted: s.lastAt}.put(frame)
	buf = append(buf, frame...)

	l := &log{id: id, opened: now, synced: int64(len(buf))}
	l.written.Store(l.synced)
	path := s.logPath(id)
	// Appending: a write that was rolled back leaves no hole.
	l.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("begin a log: %w", err)
	}
	crash("log-created")
	if _, err = s.write(l.file, buf); err == nil {
		crash("log-written")
		err = s.sync(l.file)
	}
	if err == nil {
		crash("log-synced")
		err = s.syncDir(s.path(openDir))
	}
	if err != nil {
		l.close()
		s.doubt = path
		return errors.Join(fmt.Errorf("begin %s: %w", l.name(), err), s.settle())
	}
	s.current = l
	crash("log-begun")
	return nil
}

// attached says why nothing that is written now would be found at the next start: the directory that was opened and locked
// is not what its path leads to any more.
func (s *Spool) attached() error {
	mine, err := s.logs.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(s.path(openDir))
	if err == nil && os.SameFile(mine, there) {
		return nil
	}
	// Some network file systems number a folder anew: what it holds tells then.
	if id, err := os.ReadFile(s.path("ID")); err == nil && saltOf(id) == s.salt.Load() {
		return nil
	}
	return fmt.Errorf("store_dir %s is not the directory that was opened: it was removed, or another is mounted over it; "+
		"want it back, or a restart of Fluent Bit", s.opt.Dir)
}

// unlinked tells if somebody removed the log's file.
func (l *log) unlinked() bool {
	var st unix.Stat_t
	if unix.Fstat(int(l.file.Fd()), &st) != nil || st.Nlink > 0 {
		return false
	}
	_, err := os.Lstat(l.file.Name()) // some file systems count no links
	return errors.Is(err, fs.ErrNotExist)
}

// settle removes a log whose begin failed: it may be on disk or not, and must not come back after a
// power cut to tell of a state that was given up. Until that is certain no log grows or is removed. The
// caller holds s.mu.
func (s *Spool) settle() error {
	if s.doubt == "" {
		return nil
	}
	if err := s.remove(s.doubt); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.syncDir(s.path(openDir)); err != nil {
		return err
	}
	s.doubt = ""
	return nil
}

// uuidAt gives a UUID of version 7 (RFC 9562) for a time in Unix nanoseconds.
func uuidAt(at int64) (uuid.UUID, error) {
	id, err := uuid.NewRandom()
	id[6] = 0x70 | id[6]&0x0f
	return withTime(id, time.Unix(0, at)), err
}

// close lets go of the file. What counts was synced, so that its error says nothing.
func (l *log) close() {
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}

func (l *log) origin() origin { return origin(l.id.String()) }

// name is how messages call the log.
func (l *log) name() string { return openDir + "/" + l.id.String() + ".log" }
