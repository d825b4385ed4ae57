package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/klauspost/compress/flate"
	"golang.org/x/sys/unix"

	"out_amberflo/plugin/alarm"
)

// Run seals until ctx ends: logs that are full at once, the current one when its first record is
// Options.MaxAge old. What fails is tried again, and logged at each doubling of its number. One goroutine runs it.
func (s *Spool) Run(ctx context.Context) {
	var trouble alarm.Alarm
	failures := 0
	for {
		next, err := s.sealDue(ctx)
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

// sealDue seals what is full or old enough and tells when the next look is due; 0 is never.
func (s *Spool) sealDue(ctx context.Context) (time.Duration, error) {
	if err := s.attached(); err != nil {
		return 0, err
	}
	logs, next, look, err := s.due()
	s.trimSent()
	if look {
		wait := time.Until(s.sealer.looked.Add(lookForResent))
		if wait <= 0 {
			s.lookAside()
			s.sealer.looked, wait = time.Now(), lookForResent
		}
		if next == 0 || next > wait {
			next = wait
		}
	}
	if err = errors.Join(err, s.sealAll(ctx, logs)); errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		s.mu.Lock()
		s.crowded = s.sent > 0 // what is in the bucket gives way at the next try
		s.mu.Unlock()
	}
	return next, err
}

// due gives the logs that are to be sealed now, when the next will be, and whether to look aside.
func (s *Spool) due() (logs []*log, next time.Duration, look bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	due := false
	if l := s.current; l != nil && l.holds() {
		next = time.Until(l.opened.Add(s.opt.MaxAge))
		if due = next <= 0 || s.full(l); due {
			next = 0
		}
	}
	logs, err = s.sealable(due)
	return logs, next, s.resendable, err
}

// sealable gives the logs that may be sealed, the current one among them if it is due: those that have a
// successor, which knows what must outlive them. The caller holds s.mu.
func (s *Spool) sealable(due bool) (logs []*log, err error) {
	if due && s.current != nil {
		err = s.rotate()
	}
	if s.current == nil {
		err = errors.Join(err, s.begin())
	}
	if s.current == nil {
		return nil, err
	}
	return slices.Clone(s.sealing), err
}

// sealAll seals logs, oldest first, and publishes what is sealed. A log that fails does not hold up the
// others.
func (s *Spool) sealAll(ctx context.Context, logs []*log) error {
	errs := []error{s.publishAll()}
	for _, l := range logs {
		if err := s.seal(ctx, l); err != nil {
			errs = append(errs, fmt.Errorf("seal %s: %w", l.name(), err))
			continue
		}
		s.mu.Lock()
		s.sealing = slices.DeleteFunc(s.sealing, func(x *log) bool { return x == l })
		s.stuck += l.written.Load() // its objects count until they are published, or its room would be given away
		delete(s.ends, l.id)
		s.mu.Unlock()
		errs = append(errs, s.publishAll())
	}
	return errors.Join(errs...)
}

// Drain ends acceptance and seals all that was accepted, as far as ctx allows; what is left is sealed at the next start, if
// store_dir is still there. The chunks accepted since the start are forgotten: Fluent Bit stops when it has recorded them.
// Run must have returned.
func (s *Spool) Drain(ctx context.Context) error {
	logs, err := s.endAcceptance()
	if err := s.attached(); err != nil {
		return err
	}
	if err = errors.Join(err, s.sealAll(ctx, logs)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sealing)+len(s.ends)+len(s.stillExpected()) > 0 {
		return nil // the last log has something to tell
	}
	crash("drained")
	s.current.close()
	path := s.logPath(s.current.id)
	s.current = nil
	return errors.Join(s.remove(path), s.syncDir(s.path(openDir)))
}

// endAcceptance gives the logs that are left to seal.
func (s *Spool) endAcceptance() ([]*log, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.recent = nil
	return s.sealable(true)
}

// Close lets go of the directory. Run must have returned and no object be taken.
func (s *Spool) Close() error {
	s.mu.Lock()
	s.closed = true
	logs := s.sealing
	if s.current != nil {
		logs = append(logs, s.current)
	}
	s.sealing, s.current = nil, nil
	s.mu.Unlock()
	for _, l := range logs {
		l.pending.Wait()
		l.close()
	}
	return errors.Join(s.logs.Close(), s.lock.Close())
}

// sealer is the state of the one goroutine that seals.
type sealer struct {
	deflate *flate.Writer // compresses lines that are no segments yet; made on first use

	trimmed time.Time // when it was last said that sent/ had no room
	looked  time.Time // when failed/ and rejected/ were last measured
}

// seal turns one log into objects in sealing/ and then removes it. It starts anew after a failure.
func (s *Spool) seal(ctx context.Context, l *log) error {
	l.pending.Wait()
	l.close()
	f, err := os.Open(s.logPath(l.id))
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.attached(); err != nil {
			return err
		}
		if lost := l.records + l.rejected; !l.settled && lost > 0 {
			l.settled = true
			s.mu.Lock()
			s.lost += int64(lost)
			s.mu.Unlock()
			s.opt.Log.Error("a log is gone from open/, somebody removed it: its records are lost", "file", l.name(), "records", lost)
		}
		return s.syncDir(s.path(openDir)) // which may have failed when it was removed here
	}
	if err != nil {
		return err
	}
	err = s.sealInto(ctx, l, f)
	_ = f.Close()
	if err != nil {
		return errors.Join(err, s.unseal(l.origin()))
	}
	crash("sealed")
	if err := s.remove(s.logPath(l.id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l.settled = true
	crash("log-removed")
	return s.syncDir(s.path(openDir))
}

func (s *Spool) sealInto(ctx context.Context, l *log, f *os.File) error {
	s.mu.Lock()
	bound, bounded := s.ends[l.id]
	if !bounded {
		bound = end{offset: l.written.Load()}
	}
	behind := len(s.sealing) > 2 // more come in than are sealed
	s.mu.Unlock()
	scan, err := newScanner(f, l.written.Load())
	if err != nil {
		return err
	}
	objects := &series{s: s, from: l.origin(), id: l.id, opened: l.opened}
	if !behind {
		objects.pace.s = s
	}
	defer objects.abort()
	beside := &aside{s: s, from: l.origin(), id: withTime(l.id, l.opened)}
	defer beside.abort()
	for scan.Next() && scan.start <= bound.offset {
		if err := ctx.Err(); err != nil {
			return err
		}
		h := scan.header
		if scan.start < bound.offset {
			if err := beside.reject(scan.rejects); err != nil {
				return err
			}
			if len(scan.damage) > 0 {
				if err := beside.keep(damageFile(h.source), scan.damage); err != nil {
					return err
				}
			}
		}
		if h.kind == kindSegment && scan.start < bound.offset && h.records > 0 && s.opt.segments() {
			if taken, err := objects.addSegment(scan.payload, h.text, int(h.records)); err != nil {
				return err
			} else if taken {
				continue
			}
		}
		// What does not go into an object as it is: no segment, carried, of another configuration, or only in part.
		lines, err := scan.lines(bound)
		if err != nil {
			scan.damaged = append(scan.damaged, damage{scan.start, scan.offset - scan.start, false})
			continue
		}
		if err := objects.add(ctx, lines); err != nil {
			return err
		}
	}
	if scan.err != nil {
		return scan.err
	}
	for _, d := range scan.damaged {
		if d.offset <= bound.offset {
			if err := s.keepDamage(l, f, d); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(objects.finish(), beside.finish()); err != nil || objects.made == 0 && !beside.rejects && !beside.damage {
		return err
	}
	return s.syncDir(s.path(sealingDir))
}

// keepDamage copies bytes of a log that are no frame to damaged/.
func (s *Spool) keepDamage(l *log, f *os.File, d damage) error {
	b := make([]byte, d.length)
	if _, err := f.ReadAt(b, d.offset); err != nil {
		return err
	}
	suffix, what := ".bin", "damaged bytes in the spool: kept aside, the whole frames around them are delivered"
	if d.torn {
		suffix, what = ".torn", "a write was cut off by a crash before it was acknowledged: kept aside"
	}
	name := fmt.Sprintf("%s-%d%s", l.id, d.offset, suffix)
	if err := s.writeFile(s.path(damagedDir, name), b); err != nil {
		return fmt.Errorf("keep %d damaged bytes: %w", len(b), err)
	}
	s.opt.Log.Error(what, "file", l.name(), "offset", d.offset, "bytes", d.length, "kept", damagedDir+"/"+name)
	return nil
}

// publishAll moves what is sealed to its place, if its origin is gone for good.
func (s *Spool) publishAll() error {
	logs := make(map[origin]bool)
	s.mu.Lock()
	for _, l := range s.sealing {
		logs[l.origin()] = true
	}
	s.mu.Unlock()
	found, err := s.whole(func(x sealed) bool { return !logs[x.from] })
	var stuck int64
	for _, x := range found {
		publish := s.publish
		if x.room != outboxDir {
			publish = s.publishAside
		}
		if perr := publish(x); perr != nil {
			err = errors.Join(err, perr)
			if st, err := os.Stat(s.path(sealingDir, x.name())); err == nil {
				stuck += st.Size()
			}
		}
	}
	s.mu.Lock()
	s.stuck = stuck
	s.mu.Unlock()
	return err
}
