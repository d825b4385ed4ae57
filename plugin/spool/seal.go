package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"out_amberflo/plugin/alarm"
	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/sealing"
)

// Run seals until ctx ends: segments that are full at once, the current one when its first record is Options.MaxAge old. What
// fails is tried again, and logged at each doubling of its number. One goroutine runs it.
func (s *Spool) Run(ctx context.Context) {
	var trouble alarm.Alarm
	failures := 0
	for {
		next, err := s.Seal(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			failures++
			next = min(time.Second<<min(failures, 6), time.Minute)
			if n, tell := trouble.Failed(""); tell {
				s.opt.Log.Error("sealing failed, will be tried again", "failures", n, "in", next, "err", err)
			}
		} else {
			failures = 0
			if n, _, tell := trouble.Succeeded(); tell {
				s.opt.Log.Info("sealing succeeded again", "failures", n)
			}
		}
		var timer <-chan time.Time
		if next > 0 {
			timer = time.After(next)
		}
		select {
		case <-ctx.Done():
			return
		case <-timer:
		case <-s.wake:
		}
	}
}

// lookForResent: meterctl puts objects into sealing/ to be sent again; while there is anything that it could send, Run looks
// there this often.
const lookForResent = 15 * time.Second

// Seal is one round of Run: it seals what is full or old enough, takes up what meterctl has left, and tells when the next round
// is due; 0 is never.
func (s *Spool) Seal(ctx context.Context) (next time.Duration, err error) {
	if err := s.dir.Attached(); err != nil {
		return 0, err
	}
	segments, next, err := s.journal.Due(s.opt.MaxAge)
	s.trimSent()
	if wait, kept := s.expireSent(); kept && (next == 0 || next > wait) {
		next = wait
	}
	if s.quota.resendable.Load() {
		wait := time.Until(s.looked.Add(lookForResent))
		if wait <= 0 {
			s.lookAside()
			s.looked, wait = time.Now(), lookForResent
		}
		if next == 0 || next > wait {
			next = wait
		}
	}
	if err = errors.Join(err, s.sealAll(ctx, segments)); errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		s.quota.noSpace((s.quota.sent.Load() + 1) / 2) // nobody knows how much it takes
	}
	return next, err
}

// Drain ends acceptance and seals all that was accepted, as far as ctx allows; what is left is sealed at the next start, if
// store_dir is still there. Run must have returned.
func (s *Spool) Drain(ctx context.Context) error {
	segments, err := s.journal.End()
	if err := s.dir.Attached(); err != nil {
		return err
	}
	if err = errors.Join(err, s.sealAll(ctx, segments)); err != nil {
		return err
	}
	return s.journal.RemoveLast()
}

// sealAll seals segments, oldest first, and publishes what is sealed. One that fails does not hold up the others.
func (s *Spool) sealAll(ctx context.Context, segments []*journal.Segment) error {
	errs := []error{s.publishAll()}
	for i, seg := range segments {
		if err := s.seal(ctx, seg, len(segments)-i > 2); err != nil {
			errs = append(errs, fmt.Errorf("seal %s: %w", seg.Name(), err))
			continue
		}
		errs = append(errs, s.publishAll())
	}
	return errors.Join(errs...)
}

// seal makes of one segment what comes of it, in sealing/, and then removes it. It starts anew after a failure. hurry: more
// comes in than is sealed.
func (s *Spool) seal(ctx context.Context, seg *journal.Segment, hurry bool) error {
	r, err := s.journal.Read(seg)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.dir.Attached(); err != nil {
			return err
		}
		if n := seg.Lost(); n > 0 {
			s.lost.Add(int64(n))
			s.opt.Log.Error("a segment is gone from open/, somebody removed it: its records are lost", "file", seg.Name(), "records", n)
		}
		return s.remove(seg) // which may have failed when it was removed here
	}
	if err != nil {
		return err
	}
	defer r.Close()
	w := sealing.NewWriter(&s.maker, sealing.Origin(seg.ID.String()), seg.ID, seg.Opened())
	defer w.Abort()
	if s.opt.Sealed != nil {
		w.Meters = make(map[string]*int64)
	}
	if !hurry {
		w.Objects.Pace.Busy = s.journal.Busy
	}
	if err := s.sealInto(ctx, w, r, seg.Name()); err != nil {
		return errors.Join(err, w.Undo())
	}
	disk.Crash("sealed")
	if err := s.remove(seg); err != nil {
		return err
	}
	s.events.Add(int64(w.Objects.Records))
	if len(w.Meters) > 0 {
		events := make(map[string]int64, len(w.Meters))
		for meter, n := range w.Meters {
			events[meter] = *n
		}
		s.opt.Sealed(events)
	}
	return nil
}

// remove removes a sealed segment. What was made of it counts against the limit until it is published, or its space would be
// given away.
func (s *Spool) remove(seg *journal.Segment) error {
	size := seg.Size()
	s.quota.stuck.Add(size)
	err := s.journal.Remove(seg)
	if err != nil {
		s.quota.stuck.Add(-size)
	}
	return err
}

func (s *Spool) sealInto(ctx context.Context, w *sealing.Writer, r *journal.Reader, name string) error {
	for r.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := w.Reject(r.Rejects)
		if err == nil {
			err = w.Damage(r.Source.DamageFile(), r.Damage)
		}
		if err == nil {
			err = s.sealRecords(ctx, w, r)
		}
		if err != nil {
			return err
		}
	}
	if r.Err() != nil {
		return r.Err()
	}
	for _, x := range r.Damaged {
		if err := s.keepDamage(w, r, x, name); err != nil {
			return err
		}
	}
	if err := w.EndSums(ctx); err != nil {
		return err
	}
	return w.Finish()
}

// sealRecords puts the records of one frame into objects: the only place where they leave a segment. Those that were added up
// in the flush are added up further.
func (s *Spool) sealRecords(ctx context.Context, w *sealing.Writer, r *journal.Reader) error {
	if block, sum, records, ok := r.Block(); ok && r.Bucket == 0 && s.opt.Object.Blocks() {
		if taken, err := w.Objects.AddBlock(block, sum, records); taken || err != nil {
			return err
		}
	}
	if r.Bucket > 0 {
		pieces, err := r.Pieces()
		if err != nil {
			r.Spoiled()
			return nil
		}
		for piece, err := range pieces {
			if err == nil {
				err = w.Sum(ctx, r.Bucket, piece)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	// What does not go into an object as it is: no block, of another configuration or version, or only in part.
	lines, err := r.Lines()
	if err != nil {
		r.Spoiled()
		return nil
	}
	return w.Objects.Add(ctx, lines)
}

func (s *Spool) keepDamage(w *sealing.Writer, r *journal.Reader, x journal.Stretch, of string) error {
	suffix, what := ".bin", "damaged bytes in the spool: kept aside, the whole frames around them are delivered"
	if x.Torn {
		suffix, what = ".torn", "a write was cut off by a crash before it was acknowledged: kept aside"
	}
	name := fmt.Sprintf("%s-%d%s", w.From, x.Offset, suffix)
	b, err := r.Bytes(x)
	if err == nil {
		err = w.Damage(name, b)
	}
	if err != nil {
		return fmt.Errorf("keep %d damaged bytes: %w", x.Length, err)
	}
	s.opt.Log.Error(what, "file", of, "offset", x.Offset, "bytes", x.Length, "kept", disk.Damaged+"/"+name)
	return nil
}

// publishAll moves what is sealed to its place, if its origin is gone for good: not that of segments that wait in the journal.
func (s *Spool) publishAll() error {
	waiting := s.journal.Full()
	found, err := sealing.Whole(s.dir, func(x sealing.Pending) bool {
		return !slices.ContainsFunc(waiting, func(seg *journal.Segment) bool { return string(x.From) == seg.ID.String() })
	})
	var stuck int64
	for _, x := range found {
		publish := s.publishAside
		if x.Dir == disk.Outbox {
			publish = s.publish
		}
		if perr := publish(x); perr != nil {
			err = errors.Join(err, perr)
			if st, err := os.Stat(s.dir.Path(disk.Sealing, x.Name())); err == nil {
				stuck += st.Size()
			}
		}
	}
	s.quota.stuck.Store(stuck)
	return err
}
