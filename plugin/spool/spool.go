// Package spool is a store_dir as a state machine: every byte on disk between a flush and Amberflo's verdict. It knows no S3
// and no meters: what comes in are lines (package journal), what goes out are files (package object) whose path is their object
// key and the digest of their bytes.
//
//   - Removing a segment is the commit of its seal: before it the segment is the truth, after it what was made of it. Nothing
//     leaves sealing/ earlier, so nothing that was sealed twice can have been shipped once. Rejected records that are mapped
//     again, and what meterctl makes of an object, are sealed in the same way.
//   - An object has one key and the same bytes for ever. What the disk has changed of it does not go out.
//   - There is no state outside of the directory, and no two processes write to one file.
//   - What is accepted is never dropped: at a limit, chunks wait with Fluent Bit.
//
// Locks, in the order in which they may be taken: outbox.mu, journal.Journal.mu. Between processes see package disk.
//
// The directory is the state machine and a rename is the transition:
//
//	LOCK                      held while a Spool is open
//	ID                        what tells this directory from all others, see disk.Dir.Salt
//	open/<uuid>.log           segment: accepted, still growing
//	sealing/<origin>=<file>   whole object, or what else comes of an origin; it counts from the moment the origin is gone
//	outbox/<file>             sealed: the exact bytes, under the exact key and with their MD5 (object.FileOf)
//	sent/<file>               in the bucket, waiting for Amberflo's verdict; one that is kept longer for an audit is read-only
//	failed/<file>             not taken by Amberflo, beside <key>.reason.txt
//	failed/audit.ndjson       what was sent again or given up, and why
//	rejected/<day>/<uuid>.ndjson   records that could not be metered, of one segment; earlier versions had a file for each day
//	damaged/…                 bytes that could not be read, as they came
//	damaged/outbox/<file>     objects that the disk has changed
//
// status/ beside them is package plugin's and no state: it is for somebody to look at.
//
// Files: open.go is a start, seal.go makes objects of segments by package sealing, outbox.go hands objects out, sent.go keeps
// them until Amberflo has spoken and for an audit, verdict.go is what Amberflo did not take, quota.go is how full it may get.
package spool

import (
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/object"
)

// Options say where a spool is and what its objects are.
type Options struct {
	Dir    string
	Object object.Options
	// An object is sealed at MaxBytes of lines, when its first record is MaxAge old, or before a batch that would take it
	// beyond Object.MaxRecords.
	MaxBytes int64
	MaxAge   time.Duration
	// MinBlock is how many bytes of lines a flush compresses at once; see journal.Options.
	MinBlock int
	// Limit bounds the bytes in open/, outbox/ and failed/, and what cannot leave sealing/; at the limit a chunk is answered
	// with journal.ErrFull. sent/ gives way to them.
	Limit int64
	// RejectLimit bounds the bytes of rejects, in open/ and in rejected/; 0 is no bound.
	RejectLimit int64
	// Retention is how long after its upload an object is kept in sent/ for an audit, its verdict or none; 0: no longer than
	// its verdict is waited for.
	Retention time.Duration
	// Sealed, unless it is nil, is called with the number of events by meter (its name in quotes, as in a line) that came of
	// flushes that add up, once they are in objects.
	Sealed func(events map[string]int64)
	// Log is used by Open and Run, for what an operator should know and no caller can act on.
	Log *slog.Logger
	// Disk is Dir with seams that fail, in tests; nil otherwise.
	Disk *disk.Dir
}

// MaxKey is the longest object key in bytes, escaped as by url.PathEscape: so it stands in sealing/, as part of one file name,
// with its digest and what it is made of.
const MaxKey = 179

// Spool is safe for concurrent use.
type Spool struct {
	opt     Options
	dir     *disk.Dir
	journal *journal.Journal
	outbox  outbox
	sent    sent
	quota   quota
	lost    atomic.Int64 // records and rejects in segments that somebody removed
	events  atomic.Int64 // lines of sealed objects

	// Of the one goroutine that seals.
	maker   object.Maker
	oldest  []Object     // of sent/: those that give way next
	trimmed [2]time.Time // when it was last said that sent/ had no space: for what is kept, for what waits
	looked  time.Time    // when failed/ and rejected/ were last measured

	wake     chan struct{} // to Run: something to seal
	uploaded chan struct{} // see Uploaded
}

func (s *Spool) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Salt is a number that no other spool has; see disk.Dir.
func (s *Spool) Salt() (uint64, error) { return s.dir.Salt() }

// Begin starts a flush; see journal.Journal.
func (s *Spool) Begin(src journal.Source, most int, former ...journal.Source) (*journal.Tx, error) {
	return s.journal.Begin(src, most, former...)
}

// Expects tells if redeliveries may still come.
func (s *Spool) Expects() bool { return s.journal.Expects() }

// Close lets go of the directory. Run must have returned and no object be taken.
func (s *Spool) Close() error {
	if s.journal != nil {
		s.journal.Close()
	}
	return s.dir.Unlock()
}

// Stats is what a spool holds at one moment.
type Stats struct {
	LostRecords    int64     // since the start, and rejects, in segments that somebody removed
	Sealed         int64     // objects put into the outbox since the start
	SealedEvents   int64     // lines in objects made of segments since the start
	Damaged        int64     // objects that were set aside since the start, or lay there then
	WaitingObjects int       // in the outbox, those being sent included
	WaitingBytes   int64     // of them, as stored
	WaitingRecords int       // accepted and not sealed
	OldestWaiting  time.Time // when the oldest of all that is named sealed, or accepted; zero if nothing waits
	UsedBytes      int64     // what counts against Options.Limit
	LimitBytes     int64     // Options.Limit, or what the disk has space for if that is less
	SentBytes      int64     // in sent/, which is no part of UsedBytes: it gives way
	FailedBytes    int64     // in failed/, which is part of UsedBytes
	RejectedBytes  int64     // in rejected/, and of rejects in open/: they have a limit of their own
	RejectedLimit  int64
}

// Stats takes no longer the more is waiting.
func (s *Spool) Stats() (st Stats) {
	o, q, have := &s.outbox, &s.quota, s.journal.Held()
	o.mu.Lock()
	defer o.mu.Unlock()
	st.Sealed, st.Damaged, st.WaitingObjects, st.WaitingBytes = o.sealed, o.damaged, len(o.waiting)+len(o.taken), o.bytes
	st.OldestWaiting, st.WaitingRecords, st.LostRecords = have.Oldest, have.Records, s.lost.Load()
	st.SealedEvents = s.events.Load()
	for _, obj := range slices.AppendSeq(slices.Clone(o.waiting[:min(1, len(o.waiting))]), maps.Values(o.taken)) {
		if st.OldestWaiting.IsZero() || obj.Since.Before(st.OldestWaiting) {
			st.OldestWaiting = obj.Since
		}
	}
	st.UsedBytes, st.SentBytes, st.FailedBytes, st.LimitBytes = q.used(have), q.sent.Load(), q.failed.Load(), s.opt.Limit
	if most := st.UsedBytes + max(0, s.dir.Free()+q.sent.Load()-have.Bytes-reserve); s.opt.Limit == 0 || most < s.opt.Limit {
		st.LimitBytes = most
	}
	st.RejectedBytes, st.RejectedLimit = q.rejected.Load()+have.Rejects, s.opt.RejectLimit
	return st
}
