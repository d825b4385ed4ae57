package ship

import (
	"maps"
	"time"

	"out_amberflo/plugin/ship/failure"
)

// Stats counts since the start.
type Stats struct {
	Uploaded      int64 // objects
	UploadedBytes int64
	Failed        map[failure.Kind]int64 // attempts
	LastSuccess   time.Time              // zero if there was none
	LastFailure   Failure                // zero if there was none
}

// Failure is an attempt that failed.
type Failure struct {
	Kind   failure.Kind
	Err    error
	Key    string // of the object that fails for a reason of its own; "" where it concerns all
	At     time.Time
	InARow int       // such attempts, of that object or of all; those that were under way together count once
	Next   time.Time // no attempt before, of that object or of any
	Ended  time.Time // an upload worked, or the object has left the outbox; zero while it lasts
}

// end notes that what concerns an object, or all ("") of them, does not fail any more.
func (f *Failure) end(key string) {
	if !f.At.IsZero() && f.Ended.IsZero() && f.Key == key {
		f.Ended = time.Now()
	}
}

// Stats returns a copy.
func (s *Shipper) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Failed = maps.Clone(st.Failed)
	return st
}
