package spool

import (
	"context"
	"time"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/journal"
)

func (s *Spool) Dir() *disk.Dir              { return s.dir }
func (s *Spool) Journal() *journal.Journal   { return s.journal }
func (s *Spool) SetMaxAge(age time.Duration) { s.opt.MaxAge = age }
func (s *Spool) SetLimit(bytes int64)        { s.opt.Limit = bytes }
func (s *Spool) Publish() error              { return s.publishAll() }
func (s *Spool) TrimSent()                   { s.trimSent() }
func (s *Spool) LookAside()                  { s.lookAside() }
func (s *Spool) SentBytes() int64            { return s.quota.sent.Load() }
func (s *Spool) StuckBytes() int64           { return s.quota.stuck.Load() }
func (s *Spool) Resendable() bool            { return s.quota.resendable.Load() }
func (s *Spool) SetResendable(may bool)      { s.quota.resendable.Store(may) }
func (s *Spool) Space(bytes int64) error     { return s.space(bytes, 0, s.journal.Held()) }

// SealNow seals all that was accepted, whatever its age.
func (s *Spool) SealNow(ctx context.Context) error {
	segments, _, err := s.journal.Due(0)
	if err != nil {
		return err
	}
	return s.sealAll(ctx, segments)
}
