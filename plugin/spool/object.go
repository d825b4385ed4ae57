package spool

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/flate"
)

// objectWriter writes one object: lines -> (JSON array) -> (gzip) -> (hash) -> file. It has one gzip member: readers
// exist that stop behind the first.
type objectWriter struct {
	s       *Spool
	id      uuid.UUID
	opened  time.Time
	file    *os.File
	md5     hash.Hash
	sum     hash.Hash // nil unless Options.Hash
	buf     *bufio.Writer
	records int

	// Of a gzip member.
	text    text // so far
	unended bool // the sealer's deflate is amid a segment
	since   int  // bytes of text in it
}

// longestSegment is how much text the sealer compresses at a stretch: damage spoils no more than a segment.
const longestSegment = 1 << 20

func (s *Spool) newObject(id uuid.UUID, opened time.Time) (*objectWriter, error) {
	f, err := os.CreateTemp(s.path(sealingDir), "*.tmp") // a start clears up what a crash leaves
	if err != nil {
		return nil, err
	}
	w := &objectWriter{s: s, id: id, opened: opened, file: f, md5: md5.New()}
	to := io.MultiWriter(w.md5, writerFunc(func(b []byte) (int, error) { return s.write(f, b) }))
	if s.opt.Hash {
		w.sum = sha256.New()
		to = io.MultiWriter(w.sum, to)
	}
	w.buf = bufio.NewWriterSize(to, 64<<10)
	if s.opt.GzipLevel > 0 {
		_, _ = w.buf.Write(gzipHeader) // fits into it
	}
	return w, nil
}

// write puts bytes of the text behind what is there.
func (w *objectWriter) write(b []byte) error {
	if w.s.opt.GzipLevel == 0 {
		_, err := w.buf.Write(b)
		return err
	}
	deflate := w.s.sealer.deflate
	if deflate == nil {
		var err error
		if deflate, err = flate.NewWriter(w.buf, w.s.opt.GzipLevel); err != nil {
			return err
		}
		w.s.sealer.deflate = deflate
	} else if !w.unended {
		deflate.Reset(w.buf)
	}
	w.unended = true
	w.since += len(b)
	w.text.add(b)
	_, err := deflate.Write(b)
	return err
}

// addSegment takes n records, compressed: see deflate.go.
func (w *objectWriter) addSegment(segment []byte, t text, n int) error {
	if err := w.endSegment(); err != nil {
		return err
	}
	w.text.join(t)
	w.records += n
	_, err := w.buf.Write(segment)
	return err
}

func (w *objectWriter) endSegment() error {
	if !w.unended {
		return nil
	}
	w.unended, w.since = false, 0
	return w.s.sealer.deflate.Flush()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

var newline = []byte{'\n'}

// add takes n whole lines and may change them.
func (w *objectWriter) add(lines []byte, n int) error {
	if w.since >= longestSegment {
		if err := w.endSegment(); err != nil {
			return err
		}
	}
	if w.s.opt.JSONArray {
		lead := byte(',')
		if w.records == 0 {
			lead = '['
		}
		if err := w.write([]byte{lead}); err != nil {
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
	return w.write(lines)
}

// finish makes the object whole, durable and named; it counts once what it is made of is gone.
func (w *objectWriter) finish(from origin) error {
	var err error
	if w.s.opt.JSONArray {
		err = w.write([]byte{']'})
	}
	if w.s.opt.GzipLevel > 0 && err == nil {
		if err = w.endSegment(); err == nil {
			_, err = w.buf.Write(slices.Concat(lastBlock, w.text.trailer()))
		}
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
	var sum [32]byte
	if w.sum != nil {
		sum = [32]byte(w.sum.Sum(nil))
	}
	key := w.s.opt.Key(Sealed{ID: w.id, Opened: w.opened.UTC(), Sum: sum})
	return w.s.rename(w.file.Name(), w.s.path(sealingDir, sealed{from, outboxDir, fileOf(key, w.md5.Sum(nil))}.name()))
}

func (w *objectWriter) abort() {
	_ = w.file.Close()
	_ = w.s.remove(w.file.Name())
}

// piece gives as many whole lines of b as fit into size bytes, at least one.
func piece(b []byte, size int) []byte {
	if len(b) <= size {
		return b
	}
	if end := bytes.LastIndexByte(b[:size], '\n') + 1; end > 0 {
		return b[:end]
	}
	return headLines(b, 1)
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
