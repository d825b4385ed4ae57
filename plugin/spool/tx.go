package spool

import (
	"fmt"
	"time"
)

// content is what becomes of one chunk: one frame, with one checksum and one fsync.
type content struct {
	source   Source
	lines    []byte // meter records: text without a line feed inside, and a line feed, each
	records  int
	rejects  []byte // what could not be metered, a line each
	rejected int
	damage   []byte // bytes that could not be decoded, as they came
}

// Tx is one flush. What is put into it becomes durable together, in Commit, or nothing of it counts. It is not safe for
// concurrent use, and ends when Commit returns nil: the spool gives its memory to the next one then. One that is not
// committed may be forgotten.
type Tx struct {
	content
	spool *Spool

	// Its numbers for ids: most of them from first on, in numbers; nil when they were given back.
	numbers     *log
	prefix      string
	first, most int

	encoder encoder

	// Where it was written, and waits for its fsync.
	log  *log
	upTo int64
}

// Begin starts the transaction of a chunk, of which come at most most records, and as many rejects. ErrAccepted says that the
// chunk was accepted before the process last died, and is now offered again: it must not be counted a second time, and that
// is durable. ErrFull says that not even one byte would be accepted. former are other identities that an earlier version may
// have accepted the chunk under.
func (s *Spool) Begin(src Source, most int, former ...Source) (*Tx, error) {
	crash("offered")
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, known := range append(former, src) {
		if err := s.redelivered(known); err != nil {
			return nil, err
		}
	}
	if err := s.attached(); err != nil {
		return nil, err
	}
	if err := s.room(1); err != nil {
		return nil, err
	}
	if s.current != nil && s.current.unlinked() {
		s.handOver() // seal says so
	}
	if err := s.ensure(); err != nil {
		return nil, err
	}
	now := time.Now()
	s.begun.Store(&now)
	tx, _ := s.txs.Get().(*Tx)
	if tx == nil {
		tx = &Tx{spool: s}
	}
	tx.content = content{source: src, lines: tx.lines[:0], rejects: tx.rejects[:0]}
	l := s.current
	tx.numbers, tx.prefix, tx.first, tx.most = l, l.id.String()+"-", l.numbered, most
	l.numbered += most
	return tx, nil
}

// IDs are for what brings none of its own: prefix, `<uuid>-`, and a number from first on. Nothing else gets them. The uuid is
// that of the object that the records are going to be in, or of an earlier one if that fills up meanwhile.
func (tx *Tx) IDs() (prefix string, first int) { return tx.prefix, tx.first }

// Lines are the records so far, for [Tx.Append].
func (tx *Tx) Lines() []byte { return tx.lines }

// Append takes what [Tx.Lines] gave back, with n records more behind it.
func (tx *Tx) Append(lines []byte, n int) {
	tx.lines = lines
	tx.records += n
}

// RejectID is that of the next reject.
func (tx *Tx) RejectID() string { return fmt.Sprintf("%sr%d", tx.prefix, tx.first+tx.rejected) }

// Reject takes a line, with its line feed, that says what could not be metered and why.
func (tx *Tx) Reject(line []byte) {
	tx.rejects = append(tx.rejects, line...)
	tx.rejected++
}

// DropRejects gives the rejects up.
func (tx *Tx) DropRejects() { tx.rejects, tx.rejected = tx.rejects[:0], 0 }

// Damage takes bytes that could not be decoded. They must not change until Commit has returned.
func (tx *Tx) Damage(b []byte) { tx.damage = b }

// DamageFile is where they will be, below the spool's directory.
func (tx *Tx) DamageFile() string { return damagedDir + "/" + damageFile(tx.source) }

func damageFile(src Source) string { return fmt.Sprintf("chunk-%016x.msgpack", src.Hash) }

// Commit makes it durable: when it returns nil, all of it is on disk and counted exactly once. On any error nothing of it
// counts and the chunk is to be offered again; on ErrRejectsFull another Commit may follow, after DropRejects.
func (tx *Tx) Commit() error {
	err := tx.write()
	if err == nil {
		err = tx.sync()
	}
	if err == nil {
		tx.content = content{lines: tx.lines, rejects: tx.rejects}
		tx.spool.txs.Put(tx) // not after a panic
	}
	return err
}

// write compresses it, without the lock, and writes it; on success the caller must call sync.
func (tx *Tx) write() error {
	s := tx.spool
	h, frame, err := tx.encoder.frameOf(&tx.content, s.opt.segmentLevel(len(tx.lines)))
	if err != nil {
		return fmt.Errorf("append: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := tx.giveBack(); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	if err := s.room(int64(len(frame))); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	if err := s.roomForRejects(int64(len(tx.rejects))); err != nil {
		return err
	}
	if s.current != nil && !s.fits(s.current, tx.records) && s.rotate() != nil {
		s.poke() // Run tries again, and tells; the seal keeps the bound
	}
	l, upTo, err := s.put(h, frame)
	if err != nil {
		return err
	}
	l.took(&tx.content)
	l.pending.Add(1)
	tx.log, tx.upTo = l, upTo
	if s.full(l) && s.rotate() != nil {
		s.poke()
	}
	return nil
}

// sync waits until what was written is durable.
func (tx *Tx) sync() error {
	s, l := tx.spool, tx.log
	defer l.pending.Done()
	err := s.commit(l, tx.upTo)
	if err != nil {
		s.mu.Lock()
		s.retire(l, l.synced)
		s.mu.Unlock()
	}
	crash("frame-synced")
	return err
}

// giveBack lets the next one have the numbers that this one did not use. The caller holds s.mu.
func (tx *Tx) giveBack() error {
	l := tx.numbers
	if l == nil {
		return nil
	}
	tx.numbers = nil
	used := max(tx.records, tx.rejected)
	if used > tx.most {
		return fmt.Errorf("want at most the %d records that were said to come, got %d: their ids may be given twice", tx.most, used)
	}
	if l.numbered == tx.first+tx.most { // else another has begun meanwhile: there is a gap
		l.numbered = tx.first + used
	}
	return nil
}
