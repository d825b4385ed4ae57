package spool

import (
	"fmt"
	"sync/atomic"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/journal"
)

// quota is how full the directory is, and how full it may get. What is moved is counted where it comes to before it is counted
// off where it was: for a moment there is more than there is, and never less.
type quota struct {
	// Bytes in outbox/, sent/, failed/, those in sealing/ that could not be published, and in rejected/.
	objects, sent, failed, stuck, rejected atomic.Int64

	crowded    atomic.Int64 // bytes that the disk lacks and sent/ has
	resendable atomic.Bool  // there is something that meterctl could send again
}

// reserve is what stays free on the disk, for directories and what is moved.
const reserve = 1 << 20

func (q *quota) used(have journal.Held) int64 {
	return have.Bytes + q.objects.Load() + q.failed.Load() + q.stuck.Load()
}

// space is journal.Options.Space. A part of the disk is left free: sealing needs space beside the segment, and a disk that is
// full of segments could never be drained.
func (s *Spool) space(n, rejects int64, have journal.Held) error {
	q, limit, rejectLimit := &s.quota, s.opt.Limit, s.opt.RejectLimit
	used := q.used(have)
	// What is in sent/ is in the bucket, and takes no space from what is not: it is given up first. A chunk larger than the
	// limit is let in alone, or it would never be.
	if limit > 0 && used+n > limit && (have.Segments > 0 || used > have.Bytes) {
		return fmt.Errorf("%w: want at most %d bytes (store_dir_limit_size), have %d and %d more", journal.ErrFull, limit, used, n)
	}
	// The object of a segment takes about as much again until the segment is removed.
	if free := s.dir.Free(); free < have.Bytes+n+reserve {
		q.noSpace(have.Bytes + n + reserve - free + q.sent.Load()/16) // not each flush is to be refused
		s.poke()                                                      // sent/ is to give way
		return fmt.Errorf("%w: no space left on the disk: want %d bytes free to write and seal, have %d", journal.ErrFull, have.Bytes+n+reserve, free)
	}
	// A chunk with more rejects than their limit is let in alone too.
	if there := q.rejected.Load() + have.Rejects; rejects > 0 && there > 0 && rejectLimit > 0 && there+rejects > rejectLimit {
		return fmt.Errorf("%w: want at most %d bytes (rejected_limit_size), have %d; fix the mapping and run meterctl retry-rejected",
			journal.ErrRejectsFull, rejectLimit, there)
	}
	return nil
}

// noSpace says that the disk lacks so many bytes: as much of what is in the bucket gives way at the next try.
func (q *quota) noSpace(lacks int64) { q.crowded.Store(min(lacks, q.sent.Load())) }

// lookAside measures failed/ and rejected/ again, from where meterctl takes files, and notes whether there is anything left
// that it could send.
func (s *Spool) lookAside() {
	s.outbox.mu.Lock() // no KeepFailed meanwhile, and nothing comes into rejected/
	defer s.outbox.mu.Unlock()
	failed, err1 := List(s.dir, disk.Failed)
	rejected, err2 := List(s.dir, disk.Rejected)
	damaged := len(s.damagedObjects()) > 0
	q := &s.quota
	if err1 == nil {
		q.failed.Store(sizeOf(failed))
	}
	if err2 == nil {
		q.rejected.Store(sizeOf(rejected))
	}
	q.resendable.Store(damaged || q.failed.Load()+q.rejected.Load() > 0 || err1 != nil || err2 != nil) // what was known holds until the next look
}

func sizeOf(objects []Object) (n int64) {
	for _, obj := range objects {
		n += obj.Size
	}
	return n
}
