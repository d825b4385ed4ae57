package journal

import (
	"cmp"
	"fmt"
	"time"

	"out_amberflo/plugin/disk"
)

// chunk is what becomes of one chunk: one frame, with one checksum and one fsync.
type chunk struct {
	source   Source
	lines    []byte // meter records: no line feed inside, and a line feed, each
	records  int    // of them
	bucket   time.Duration
	summed   int    // records that were added up to those, if bucket is not 0
	rejects  []byte // what could not be metered, a line each
	rejected int
	damage   []byte // bytes that could not be decoded, as they came
}

// Tx is one flush. What is put into it becomes durable together, in Commit, or nothing of it counts. It is not safe for
// concurrent use, and ends when Commit returns nil: the journal gives its memory to the next one then. One that is not
// committed may be forgotten.
type Tx struct {
	chunk
	journal *Journal

	// Its numbers for ids: most of them from first on, in numbers; nil when they were given back.
	numbers     *Segment
	prefix      string
	first, most int

	encoder encoder
	slack   struct{ lines, rejects slack }

	// Where it was written, and waits for its fsync.
	segment *Segment
	upTo    int64
}

// Begin starts the transaction of a chunk, of which come at most most records, and as many rejects. ErrAccepted says that the
// chunk was accepted before the process last died, and is a redelivery: it must not be counted a second time, and that is
// durable. ErrFull says that not even one byte would be accepted. former are other identities that an earlier version may have
// accepted the chunk under.
func (j *Journal) Begin(src Source, most int, former ...Source) (*Tx, error) {
	disk.Crash("offered")
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.opt.Dir.Attached(); err != nil {
		return nil, err
	}
	for _, known := range append(former, src) {
		if err := j.redelivered(known); err != nil {
			return nil, err
		}
	}
	if err := j.opt.Space(1, 0, j.held()); err != nil {
		return nil, err
	}
	if j.current != nil && j.current.unlinked() {
		j.handOver() // who seals it says so
	}
	if err := j.ensure(); err != nil {
		return nil, err
	}
	now := time.Now()
	j.begun.Store(&now)
	tx := j.spare
	if j.spare = nil; tx == nil {
		tx, _ = j.txs.Get().(*Tx)
	}
	if tx == nil {
		tx = &Tx{journal: j}
	}
	tx.chunk = chunk{source: src, lines: tx.lines[:0], rejects: tx.rejects[:0]}
	s := j.current
	tx.numbers, tx.prefix, tx.first, tx.most = s, s.ID.String()+"-", s.numbered, most
	s.numbered += most
	return tx, nil
}

// IDs are for what brings none of its own: prefix, `<uuid>-`, and a number from first on. Nothing else gets them. The uuid is
// that of the object that the records are going to be in, or of an earlier one if that fills up meanwhile.
func (tx *Tx) IDs() (prefix string, first int) { return tx.prefix, tx.first }

// Lines are the records so far, for [Tx.Append].
func (tx *Tx) Lines() []byte { return tx.lines }

// Append takes what [Tx.Lines] gave back, with n records more after it.
func (tx *Tx) Append(lines []byte, n int) {
	tx.lines = lines
	tx.records += n
}

// Summed says that the lines are sums of so many records (not less than lines), by buckets of that width, a whole number of
// milliseconds up to 49 days. Lines of one key and bucket may be added up further when they are sealed.
func (tx *Tx) Summed(bucket time.Duration, records int) { tx.bucket, tx.summed = bucket, records }

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

// DamageFile is where they will be, below the directory.
func (tx *Tx) DamageFile() string { return disk.Damaged + "/" + tx.source.DamageFile() }

// DamageFile is the name of the file in damaged/ that keeps what of a chunk could not be decoded.
func (s Source) DamageFile() string { return fmt.Sprintf("chunk-%016x.msgpack", s.Hash) }

// Commit makes it durable: when it returns nil, all of it is on disk and counted exactly once. On any error nothing of it
// counts and the chunk is to be offered again; on ErrRejectsFull another Commit may follow, after DropRejects.
func (tx *Tx) Commit() error {
	err := tx.Write()
	if err == nil {
		err = tx.Sync()
	}
	return err
}

// Release gives its memory, [Tx.Lines] too, to the next one. It is for whoever has no more use for it after Commit, and not
// called after a panic. One is kept: a pool alone would have one for each processor, and give all up in turn.
func (tx *Tx) Release() {
	tx.chunk = chunk{lines: tx.slack.lines.keep(tx.lines), rejects: tx.slack.rejects.keep(tx.rejects)}
	tx.encoder.trim()
	j := tx.journal
	j.mu.Lock()
	other := j.spare
	j.spare = tx
	j.mu.Unlock()
	if other != nil {
		j.txs.Put(other)
	}
}

// slack tells when memory has been far too large for a while.
type slack int

// keep gives back the memory of b, or nil where it is far more than what b and those before it take of it.
func (s *slack) keep(b []byte) []byte {
	const (
		little = 1 << 20
		huge   = 16 << 20 // one large chunk is no reason to keep as much
		often  = 16
	)
	if *s++; cap(b) <= little || 4*len(b) >= cap(b) {
		*s = 0
	}
	if *s == often || cap(b) > huge {
		*s = 0
		return nil
	}
	return b[:0]
}

// Write is the first half of Commit: it compresses, without the lock, and writes. On success the caller must call Sync.
func (tx *Tx) Write() error {
	j, level := tx.journal, 0
	if len(tx.rejects) > 0 { // what has no space for them is not compressed, and that again without them
		if err := tx.askForRejects(); err != nil {
			return fmt.Errorf("append: %w", err)
		}
	}
	least := cmp.Or(j.opt.MinBlock, 64<<10)
	if tx.bucket > 0 {
		least *= 4 // the seal would have to inflate them: where they are few, that costs more than their bytes
	}
	if len(tx.lines) >= least {
		level = j.opt.GzipLevel
	}
	h, frame, err := tx.encoder.frameOf(&tx.chunk, level)
	if err != nil {
		return fmt.Errorf("append: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := tx.giveBack(); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	if err := j.opt.Space(int64(len(frame)), int64(len(tx.rejects)), j.held()); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	if j.current != nil && !j.fits(j.current, tx.records) && j.rotate() != nil {
		j.opt.Wake() // who seals tries again, and tells; the seal keeps the bound
	}
	s, upTo, err := j.put(h, frame)
	if err != nil {
		return err
	}
	s.has.add(contentOf(h, tx.summed, tx.rejects, tx.damage))
	s.pending.Add(1)
	tx.segment, tx.upTo = s, upTo
	if j.isFull(s) && j.rotate() != nil {
		j.opt.Wake()
	}
	return nil
}

// askForRejects returns ErrRejectsFull, or ErrFull, if there is no space for the rejects alone.
func (tx *Tx) askForRejects() error {
	j, n := tx.journal, int64(len(tx.rejects))
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := tx.giveBack(); err != nil {
		return err
	}
	return j.opt.Space(n, n, j.held())
}

// Sync is the second half: it waits until what was written is durable. Flushes that were written together share an fsync.
func (tx *Tx) Sync() error {
	j, s := tx.journal, tx.segment
	defer s.pending.Done()
	err := j.commit(s, tx.upTo)
	if err != nil {
		j.mu.Lock()
		j.retire(s, s.synced)
		j.mu.Unlock()
	}
	disk.Crash("frame-synced")
	return err
}

// giveBack lets the next one have the numbers that this one did not use. The caller holds Journal.mu.
func (tx *Tx) giveBack() error {
	s := tx.numbers
	if s == nil {
		return nil
	}
	tx.numbers = nil
	used := max(tx.records, tx.rejected)
	if used > tx.most {
		return fmt.Errorf("want at most the %d records that were said to come, got %d: their ids may be given twice", tx.most, used)
	}
	if s.numbered == tx.first+tx.most { // else another has begun meanwhile: there is a gap
		s.numbered = tx.first + used
	}
	return nil
}
