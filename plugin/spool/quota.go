package spool

import (
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

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

// trimSent gives up waiting for the verdict on the oldest objects in sent/ until all of store_dir is
// within its limit, and on every one if the disk is full. Only Run calls it.
func (s *Spool) trimSent() {
	s.mu.Lock()
	over := s.held().all + s.sent - s.opt.Limit
	if s.opt.Limit <= 0 {
		over = 0
	}
	if s.crowded {
		over = s.sent
	}
	s.crowded = false
	none := s.sent == 0
	s.mu.Unlock()
	if over <= 0 || none {
		return
	}
	s.outbox.mu.Lock() // nothing comes in meanwhile
	objects, err := s.InBucket()
	if err == nil { // somebody may have removed some
		sum := sizeOf(objects)
		s.mu.Lock()
		over -= s.sent - sum
		s.sent = sum
		s.mu.Unlock()
	}
	s.outbox.mu.Unlock()
	n := 0
	for ; n < len(objects) && over > 0 && err == nil; n++ {
		err = s.Forget(objects[n])
		over -= objects[n].Size
	}
	if (n > 0 || err != nil) && time.Since(s.sealer.trimmed) > time.Minute {
		s.sealer.trimmed = time.Now()
		s.opt.Log.Warn("no room to keep all that is in the bucket until its verdict: the oldest is given up; should Amberflo refuse it, that will not be seen. "+
			"A larger store_dir_limit_size or a shorter failure_reports_window helps", "objects", n, "err", err)
	}
}

// lookAside measures failed/ and rejected/ again, from where meterctl takes files, and notes whether
// there is anything left that it could send.
func (s *Spool) lookAside() {
	s.outbox.mu.Lock() // no Refuse meanwhile, and nothing comes into rejected/
	defer s.outbox.mu.Unlock()
	refused, err1 := Refused(s.opt.Dir)
	days, err2 := s.listObjects(rejectedDir)
	aside := len(s.aside()) > 0
	s.mu.Lock()
	defer s.mu.Unlock()
	if err1 == nil {
		s.failed = sizeOf(refused)
	}
	if err2 == nil {
		s.rejected = sizeOf(days)
	}
	s.resendable = aside || s.failed+s.rejected > 0 || err1 != nil || err2 != nil // what was known holds until the next look
}

func sizeOf(objects []Object) (n int64) {
	for _, obj := range objects {
		n += obj.Size
	}
	return n
}

// count adds to one of the counts of bytes: objects, sent.
func (s *Spool) count(of *int64, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*of += bytes
}
