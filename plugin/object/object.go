// Package object makes objects of meter records, and reads them back. It knows no S3 and no state of a store_dir.
//
//   - An object is one gzip member, or a JSON array, or both, or lines as they are: readers exist that stop after the first
//     member. None holds more than Options.MaxRecords, nor a record of more than one series.
//   - Its records are compressed once, in the flush that brings them, as a block (block.go); what makes an object puts blocks
//     one after the other. Only what cannot stay as it is goes through [Series.Add].
//   - The same blocks and lines, under the same uuid, make the same bytes and the same key.
//   - The MD5 of an object is made with it and stands in the name of its file (read.go). What is read is compared with it.
//
// There are no locks: a Maker and its Series belong to one goroutine.
package object

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/flate"

	"out_amberflo/plugin/disk"
)

// Options say what objects are.
type Options struct {
	// Key names an object; it is called once per object, from one goroutine. The result is a relative, clean, slash-separated
	// path that no other object ever has, no longer than spool.MaxKey allows.
	Key func(Sealed) string
	// Hash: Key wants Sealed.Sum.
	Hash bool
	// JSONArray makes an object a JSON array of its lines instead of NDJSON.
	JSONArray bool
	// GzipLevel is 1 to 9, or 0 for objects that are not compressed.
	GzipLevel int
	// MaxRecords is the most in one object; 0: no bound.
	MaxRecords int
}

// Blocks tells if whole blocks make an object: a JSON array is not what one line after the other makes.
func (o *Options) Blocks() bool { return o.GzipLevel > 0 && !o.JSONArray }

// Sealed is what an object key may be made of.
type Sealed struct {
	ID     uuid.UUID
	Opened time.Time // when the first record was accepted, UTC
	Sum    [32]byte  // SHA-256 of the object's bytes, with Options.Hash
}

// Maker makes objects in the sealing/ of a directory, one at a time.
type Maker struct {
	Options
	Dir *disk.Dir

	deflate *flate.Writer // compresses lines that are no block yet; made on first use
}

// writer writes one object: lines -> (JSON array) -> (gzip) -> (hash) -> file.
type writer struct {
	m       *Maker
	id      uuid.UUID
	opened  time.Time
	file    *disk.File
	md5     hash.Hash
	sha256  hash.Hash // nil unless Options.Hash
	buf     *bufio.Writer
	records int

	// Of a gzip member.
	sum   Sum  // of all lines so far
	amid  bool // Maker.deflate is amid a block
	since int  // bytes of lines in it
}

// longestBlock is how many bytes of lines a Maker compresses at a stretch: damage spoils no more than a block.
const longestBlock = 1 << 20

func (w *writer) write(b []byte) error {
	if w.m.GzipLevel == 0 {
		_, err := w.buf.Write(b)
		return err
	}
	if w.m.deflate == nil {
		var err error
		if w.m.deflate, err = flate.NewWriter(w.buf, w.m.GzipLevel); err != nil {
			return err
		}
	} else if !w.amid {
		w.m.deflate.Reset(w.buf)
	}
	w.amid = true
	w.since += len(b)
	w.sum.add(b)
	_, err := w.m.deflate.Write(b)
	return err
}

func (w *writer) endBlock() error {
	if !w.amid {
		return nil
	}
	w.amid, w.since = false, 0
	return w.m.deflate.Flush()
}

var newline = []byte{'\n'}

// add takes n whole lines and may change them.
func (w *writer) add(lines []byte, n int) error {
	if w.since >= longestBlock {
		if err := w.endBlock(); err != nil {
			return err
		}
	}
	if w.m.JSONArray {
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

// finish makes the object whole and durable, and gives it the name that place says for its file.
func (w *writer) finish(place func(file string) string) error {
	var err error
	if w.m.JSONArray {
		err = w.write([]byte{']'})
	}
	if w.m.GzipLevel > 0 && err == nil {
		if err = w.endBlock(); err == nil {
			_, err = w.buf.Write(append([]byte(LastBlock), w.sum.trailer()...))
		}
	}
	if err == nil {
		err = w.buf.Flush()
	}
	if err == nil {
		err = w.file.Close()
	}
	if err != nil {
		return fmt.Errorf("write the object: %w", err)
	}
	disk.Crash("object-written")
	s := Sealed{ID: w.id, Opened: w.opened.UTC()}
	if w.sha256 != nil {
		s.Sum = [32]byte(w.sha256.Sum(nil))
	}
	return w.file.Rename(place(FileOf(w.m.Key(s), w.md5.Sum(nil))))
}

// Series makes objects of one origin, one after the other. The caller ends it with Finish or Abort.
type Series struct {
	Maker *Maker
	// Place gives the path that the file of a whole object gets.
	Place  func(file string) string
	ID     uuid.UUID // of the first object
	Opened time.Time
	// MaxBytes of lines put in by Add end an object; 0: no bound.
	MaxBytes int64
	Pace     Pace
	Made     int // objects that are whole
	Records  int // lines in them

	obj   *writer // nil: the next record begins one
	bytes int64   // of the lines that Add put into obj
	begun int
}

// object gives the one that takes the next record.
func (s *Series) object() (*writer, error) {
	most := s.Maker.MaxRecords
	if s.obj != nil && (s.MaxBytes > 0 && s.bytes >= s.MaxBytes || most > 0 && s.obj.records >= most) {
		if err := s.Finish(); err != nil {
			return nil, err
		}
	}
	if s.obj == nil {
		f, err := s.Maker.Dir.Create()
		if err != nil {
			return nil, err
		}
		// Equal objects in one nanosecond would have one key, if it holds no uuid.
		w := &writer{m: s.Maker, id: s.ID, opened: s.Opened.Add(time.Duration(s.begun)), file: f, md5: md5.New()}
		if s.begun > 0 {
			w.id = uuid.NewSHA1(s.ID, strconv.AppendInt(nil, int64(s.begun), 10))
		}
		to := io.MultiWriter(w.md5, f)
		if s.Maker.Hash {
			w.sha256 = sha256.New()
			to = io.MultiWriter(w.sha256, to)
		}
		w.buf = bufio.NewWriterSize(to, 64<<10)
		if s.Maker.GzipLevel > 0 {
			_, _ = w.buf.WriteString(GzipHeader) // fits into it
		}
		s.obj, s.bytes = w, 0
		s.begun++
	}
	return s.obj, nil
}

// AddBlock takes a block if all of it fits into an object.
func (s *Series) AddBlock(block []byte, sum Sum, records int) (taken bool, err error) {
	s.Pace.Worked(len(block))
	w, err := s.object()
	if most := s.Maker.MaxRecords; err != nil || most > 0 && w.records+records > most {
		return false, err
	}
	if err = w.endBlock(); err == nil {
		w.sum.join(sum)
		w.records += records
		_, err = w.buf.Write(block)
	}
	return true, err
}

// Add takes whole lines and may change them. It ends with ctx: many objects come of one chunk, if they are small.
func (s *Series) Add(ctx context.Context, lines []byte) error {
	for len(lines) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		obj, err := s.object()
		if err != nil {
			return err
		}
		part := piece(lines, pieceSize)
		if most := s.Maker.MaxRecords; most > 0 {
			part = Head(part, most-obj.records)
		}
		lines = lines[len(part):]
		s.bytes += int64(len(part))
		s.Pace.Worked(len(part))
		if err := obj.add(part, bytes.Count(part, newline)); err != nil {
			return err
		}
	}
	return nil
}

// Finish ends the object at hand, if that has records.
func (s *Series) Finish() error {
	if s.obj == nil || s.obj.records == 0 {
		return nil
	}
	if err := s.obj.finish(s.Place); err != nil {
		return err
	}
	s.Made++
	s.Records += s.obj.records
	s.obj = nil
	return nil
}

// Abort gives up the object at hand.
func (s *Series) Abort() {
	if s.obj != nil {
		s.obj.file.Abort()
		s.obj = nil
	}
}

// pieceSize is how many bytes of lines are handled at a time: what a processor's cache holds.
const pieceSize = 64 << 10

// piece gives as many whole lines of b as fit into size bytes, at least one.
func piece(b []byte, size int) []byte {
	if len(b) <= size {
		return b
	}
	if end := bytes.LastIndexByte(b[:size], '\n') + 1; end > 0 {
		return b[:end]
	}
	return Head(b, 1)
}

// Head gives the first n lines of b, or all.
func Head(b []byte, n int) []byte {
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

const (
	// pause is how long work that can wait gives way to flushes (an idle process may sleep for 1 ms), and paceBytes how much is
	// done between two pauses. On one core an object that is sealed and uploaded at a stretch makes the flush beside it last
	// twice as long; with pauses, 38 flushes take it in turn. It goes on at 60 MB/s and more all the same.
	pause     = 300 * time.Microsecond
	paceBytes = 64 << 10
)

// Pace is that of one piece of work; it is not safe for concurrent use. The zero value knows no pauses.
type Pace struct {
	Busy func() bool // do chunks come in?
	done int         // bytes since the last pause
}

// Worked counts bytes that were handled, and pauses if they are many and chunks come in.
func (p *Pace) Worked(bytes int) {
	if p.done += bytes; p.Busy == nil || p.done < paceBytes {
		return
	}
	p.done = 0
	if p.Busy() {
		time.Sleep(pause)
	}
}
