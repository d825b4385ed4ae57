package spool

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/gzip"
)

// Run seals until ctx ends: logs that are full at once, the current one when its first record is
// Options.MaxAge old. What fails is logged and tried again. One goroutine runs it.
func (s *Spool) Run(ctx context.Context) {
	failures := 0
	for {
		next, err := s.sealDue(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			failures++
			next = min(time.Second<<min(failures, 6), time.Minute)
			s.opt.Log.Error("sealing failed, nothing is lost, will be tried again", "in", next, "err", err)
		} else if failures > 0 {
			s.opt.Log.Info("sealing succeeded again", "failures", failures)
			failures = 0
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
	s.mu.Lock()
	var next time.Duration
	var err error
	if s.current == nil {
		// No log is removed before its successor exists, which carries what it knew.
		err = s.begin(nil, 0)
	} else if l := s.current; l.records > 0 {
		next = time.Until(l.opened.Add(s.opt.MaxAge))
		if next <= 0 || s.full(l) {
			if err = s.rotate(nil); err == nil {
				next = 0
			}
		}
	}
	look := s.resendable
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if look {
		s.lookAside()
		if next == 0 || next > lookForResent {
			next = lookForResent
		}
	}
	return next, s.sealAll(ctx)
}

// sealAll seals every log that waits for it, oldest first. One that fails does not hold up the others.
func (s *Spool) sealAll(ctx context.Context) error {
	s.mu.Lock()
	logs := slices.Clone(s.sealing)
	s.mu.Unlock()
	var errs []error
	for _, l := range logs {
		if err := s.seal(ctx, l); err != nil {
			errs = append(errs, fmt.Errorf("seal %s: %w", l.name(), err))
			continue
		}
		s.mu.Lock()
		s.sealing = slices.DeleteFunc(s.sealing, func(x *log) bool { return x == l })
		delete(s.ends, l.id)
		s.mu.Unlock()
		if err := s.publishAll(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, s.publishAll())...)
}

// Drain ends acceptance and seals all that was accepted, as far as ctx allows; what is left is sealed at
// the next start. Run must have returned.
func (s *Spool) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	if l := s.current; l != nil {
		s.sealing = append(s.sealing, l)
		s.current = nil
	}
	s.mu.Unlock()
	return s.sealAll(ctx)
}

// Close lets go of the directory. Run must have returned and no object be taken.
func (s *Spool) Close() error {
	s.mu.Lock()
	s.closed = true
	logs := append(s.sealing, s.current)
	s.sealing, s.current = nil, nil
	s.mu.Unlock()
	var errs []error
	for _, l := range logs {
		if l != nil {
			l.pending.Wait()
			errs = append(errs, l.file.Close())
		}
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// sealer is the state of the one goroutine that seals.
type sealer struct {
	gz   *gzip.Writer
	text []byte
}

// seal turns one log into objects in sealing/ and then removes it. It starts anew after a failure.
func (s *Spool) seal(ctx context.Context, l *log) error {
	l.pending.Wait()
	if _, err := os.Stat(s.logPath(l.id)); errors.Is(err, fs.ErrNotExist) {
		return s.syncDir(s.path(openDir)) // sealed before; this failed then
	}
	if err := s.sealInto(ctx, l); err != nil {
		return errors.Join(err, s.unseal(l.id))
	}
	crash("sealed")
	if err := os.Remove(s.logPath(l.id)); err != nil {
		return err
	}
	crash("log-removed")
	_ = l.file.Close()
	return s.syncDir(s.path(openDir))
}

func (s *Spool) sealInto(ctx context.Context, l *log) error {
	s.mu.Lock()
	bound, bounded := s.ends[l.id]
	if !bounded {
		bound = end{offset: l.written.Load()}
	}
	s.mu.Unlock()
	scan, err := newScanner(l.file, l.written.Load())
	if err != nil {
		return err
	}
	var obj *objectWriter
	defer func() {
		if obj != nil {
			obj.abort()
		}
	}()
	written := 0
	for scan.Next() && scan.start <= bound.offset {
		if err := ctx.Err(); err != nil {
			return err
		}
		lines, first := scan.payload, int(scan.header.first)
		switch scan.header.kind {
		case kindRecords:
		case kindCarry:
			c, _ := parseCarry(scan.payload)
			lines = c.lines
		default:
			continue
		}
		if scan.start == bound.offset {
			lines = headLines(lines, int(bound.lines))
		}
		for len(lines) > 0 {
			if obj == nil {
				id := l.id
				if written > 0 { // a log beyond MaxRecords makes several objects
					id = uuid.NewSHA1(l.id, strconv.AppendInt(nil, int64(written), 10))
				}
				if obj, err = s.newObject(id); err != nil {
					return err
				}
				written++
			}
			part := lines
			if s.opt.MaxRecords > 0 {
				part = headLines(lines, s.opt.MaxRecords-obj.records)
			}
			n := bytes.Count(part, newline)
			s.sealer.text = appendStamped(s.sealer.text[:0], part, l.id, first)
			if err := obj.add(s.sealer.text, n); err != nil {
				return err
			}
			lines, first = lines[len(part):], first+n
			if s.opt.MaxRecords > 0 && obj.records >= s.opt.MaxRecords {
				if err := obj.finish(l); err != nil {
					return err
				}
				obj = nil
			}
		}
	}
	if scan.err != nil {
		return scan.err
	}
	for _, d := range scan.damaged {
		if d.offset <= bound.offset {
			if err := s.keepDamage(l, d); err != nil {
				return err
			}
		}
	}
	if obj != nil {
		err := obj.finish(l)
		obj = nil
		if err != nil {
			return err
		}
	}
	if written > 0 {
		return s.syncDir(s.path(sealingDir))
	}
	return nil
}

// keepDamage copies bytes of a log that are no frame to damaged/.
func (s *Spool) keepDamage(l *log, d damage) error {
	b := make([]byte, d.length)
	if _, err := l.file.ReadAt(b, d.offset); err != nil {
		return err
	}
	suffix, what := ".bin", "damaged bytes in the spool: kept aside, the whole frames around them are delivered"
	if d.torn {
		suffix, what = ".torn", "a write was cut off by a crash before it was acknowledged: kept aside"
	}
	name := fmt.Sprintf("%s-%d%s", l.id, d.offset, suffix)
	if err := s.Damaged(name, b); err != nil {
		return err
	}
	s.opt.Log.Error(what, "file", l.name(), "offset", d.offset, "bytes", d.length, "kept", damagedDir+"/"+name)
	return nil
}

// unseal removes what a seal that did not finish left in sealing/.
func (s *Spool) unseal(id uuid.UUID) error {
	return s.eachSealed(func(name string) error {
		if strings.HasPrefix(name, id.String()) {
			return os.Remove(s.path(sealingDir, name))
		}
		return nil
	})
}

// publishAll moves the objects whose log is gone from sealing/ to the outbox.
func (s *Spool) publishAll() error {
	return s.eachSealed(func(name string) error {
		id, _, _ := strings.Cut(name, "=")
		if _, err := os.Stat(s.path(openDir, id+".log")); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return s.publish(name)
	})
}

func (s *Spool) eachSealed(do func(name string) error) error {
	entries, err := os.ReadDir(s.path(sealingDir))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		errs = append(errs, do(e.Name()))
	}
	return errors.Join(errs...)
}

// objectWriter writes one object: lines -> (JSON array) -> (gzip) -> (hash) -> file.
type objectWriter struct {
	s       *Spool
	id      uuid.UUID
	file    *os.File
	sum     hash.Hash
	buf     *bufio.Writer
	out     io.Writer
	records int
}

func (s *Spool) newObject(id uuid.UUID) (*objectWriter, error) {
	f, err := os.OpenFile(s.path(sealingDir, id.String()+".tmp"), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	w := &objectWriter{s: s, id: id, file: f, sum: sha256.New()}
	w.buf = bufio.NewWriterSize(io.MultiWriter(w.sum, writerFunc(func(b []byte) (int, error) { return s.write(f, b) })), 64<<10)
	w.out = w.buf
	if s.opt.GzipLevel > 0 {
		if s.sealer.gz == nil {
			if s.sealer.gz, err = gzip.NewWriterLevel(nil, s.opt.GzipLevel); err != nil {
				_ = f.Close()
				return nil, err
			}
		}
		// The header keeps its zero time: equal records make equal bytes. One member: readers exist
		// that stop behind the first.
		s.sealer.gz.Reset(w.buf)
		w.out = s.sealer.gz
	}
	return w, nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

var newline = []byte{'\n'}

// add takes n whole lines and may change them.
func (w *objectWriter) add(lines []byte, n int) error {
	if w.s.opt.JSONArray {
		lead := byte(',')
		if w.records == 0 {
			lead = '['
		}
		if _, err := w.out.Write([]byte{lead}); err != nil {
			return err
		}
		lines = bytes.TrimSuffix(lines, newline)
		for i, c := range lines {
			if c == '\n' {
				lines[i] = ','
			}
		}
	}
	w.records += n
	_, err := w.out.Write(lines)
	return err
}

// finish makes the object whole, durable and named.
func (w *objectWriter) finish(l *log) error {
	var err error
	if w.s.opt.JSONArray {
		_, err = w.out.Write([]byte{']'})
	}
	if c, ok := w.out.(io.Closer); ok && err == nil {
		err = c.Close()
	}
	if err == nil {
		err = w.buf.Flush()
	}
	if err == nil {
		err = w.s.sync(w.file)
	}
	if cerr := w.file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write the object: %w", err)
	}
	crash("object-written")
	key := w.s.opt.Key(Sealed{ID: w.id, Opened: l.opened.UTC(), Sum: [32]byte(w.sum.Sum(nil))})
	// The log's id leads the name, so that a start knows whether the log was removed.
	name := l.id.String() + "=" + url.PathEscape(key)
	return os.Rename(w.file.Name(), w.s.path(sealingDir, name))
}

func (w *objectWriter) abort() {
	_ = w.file.Close()
	_ = os.Remove(w.file.Name())
}

// keyOf reads the object key back from a name in sealing/.
func keyOf(name string) (string, error) {
	_, escaped, ok := strings.Cut(name, "=")
	key, err := url.PathUnescape(escaped)
	if !ok || err != nil || !filepath.IsLocal(key) {
		return "", fmt.Errorf("%s/%s: want <uuid>=<object key>: not a file of this plugin, left alone", sealingDir, name)
	}
	return key, nil
}

// appendStamped appends lines with each NUL replaced by the unique id of its record; the first line is
// record number first.
func appendStamped(dst, lines []byte, id uuid.UUID, first int) []byte {
	var stamp [64]byte
	prefix := append(append(stamp[:0], id.String()...), '-')
	for n := first; len(lines) > 0; n++ {
		i := bytes.IndexByte(lines, '\n') + 1
		if i == 0 {
			i = len(lines)
		}
		if at := bytes.IndexByte(lines[:i], 0); at >= 0 {
			dst = append(dst, lines[:at]...)
			dst = append(dst, strconv.AppendInt(prefix, int64(n), 10)...)
			dst = append(dst, lines[at+1:i]...)
		} else {
			dst = append(dst, lines[:i]...)
		}
		lines = lines[i:]
	}
	return dst
}

// headLines gives the first n lines of b, or all.
func headLines(b []byte, n int) []byte {
	at := 0
	for ; n > 0 && at < len(b); n-- {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return b
		}
		at += i + 1
	}
	return b[:at]
}

// tailLines gives the last n lines of b.
func tailLines(b []byte, n int) []byte {
	return b[len(headLines(b, bytes.Count(b, newline)-n)):]
}

func appendInt64(b []byte, v int64) []byte { return binary.LittleEndian.AppendUint64(b, uint64(v)) }
