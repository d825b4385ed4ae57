package spool

import "time"

// Stats is what a spool holds at one moment.
type Stats struct {
	LostRecords    int64     // since the start, and rejects, in logs that somebody removed
	Sealed         int64     // objects put into the outbox since the start
	Damaged        int64     // objects that were set aside since the start, or lay there then
	WaitingObjects int       // in the outbox, those being sent included
	WaitingBytes   int64     // of them, as stored
	WaitingRecords int       // accepted and not sealed
	OldestWaiting  time.Time // when the oldest of all that is named sealed, or accepted; zero if nothing waits
	UsedBytes      int64     // what counts against Options.Limit
	LimitBytes     int64     // Options.Limit, or what the disk has room for if that is less
	FailedBytes    int64     // in failed/, which is part of UsedBytes
	RejectedBytes  int64     // in rejected/, and of rejects in open/: they have a limit of their own
	RejectedLimit  int64
}

// Stats takes no longer the more is waiting.
func (s *Spool) Stats() Stats {
	o := &s.outbox
	o.mu.Lock()
	st := Stats{Sealed: o.sealed, Damaged: o.damaged, WaitingObjects: len(o.waiting) + len(o.taken), WaitingBytes: o.bytes, LimitBytes: s.opt.Limit}
	if len(o.waiting) > 0 {
		st.OldestWaiting = o.waiting[0].Since
	}
	for _, obj := range o.taken {
		if st.OldestWaiting.IsZero() || obj.Since.Before(st.OldestWaiting) {
			st.OldestWaiting = obj.Since
		}
	}
	o.mu.Unlock()

	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.logsNow() {
		if l.records > 0 && (st.OldestWaiting.IsZero() || l.opened.Before(st.OldestWaiting)) {
			st.OldestWaiting = l.opened
		}
	}
	h := s.held()
	st.WaitingRecords, st.LostRecords = h.records, s.lost
	st.UsedBytes, st.FailedBytes = h.all, s.failed
	if most := st.UsedBytes + max(0, s.free()+s.sent-h.open-reserve); st.LimitBytes == 0 || most < st.LimitBytes {
		st.LimitBytes = most
	}
	st.RejectedBytes, st.RejectedLimit = h.rejects, s.opt.RejectLimit
	return st
}
