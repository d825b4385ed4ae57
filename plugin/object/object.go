// Package object makes objects of meter records, and reads them back. It knows no S3 and no state of a store_dir.
//
//   - An object is one gzip member, or a JSON array, or both, or lines as they are: readers exist that stop after the first
//     member. None holds more than Options.MaxRecords, nor a record of more than one series.
//   - Its records are compressed once, in the flush that brings them, as a [Block]; what makes an object puts blocks one after the
//     other. Only what cannot stay as it is goes through [Series.Add].
//   - The same blocks and lines, under the same uuid, make the same bytes and the same key.
//   - The MD5 of an object is made with it and stands in the name of its file (name.go). What is read is compared with it.
//
// There are no locks: a Maker and its Series belong to one goroutine.
//
// Files: block.go is the compressed run of one chunk, object.go one object, series.go several of one origin, name.go the names
// of files, read.go the way back, pace.go gives way to flushes.
package object

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/flate"

	"out_amberflo/plugin/disk"
)

// Options say what objects are.
type Options struct {
	// Key names an object; it is called once per object, from one goroutine. The result is a relative,
	// clean, slash-separated path that no other object ever has, no longer than spool.MaxKey allows.
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
	text  Sum  // so far
	amid  bool // Maker.deflate is amid a block
	since int  // bytes of lines in it
}

// longestBlock is how many bytes of lines a Maker compresses at a stretch: damage spoils no more than a block.
const longestBlock = 1 << 20

func (m *Maker) begin(id uuid.UUID, opened time.Time) (*writer, error) {
	f, err := m.Dir.Create()
	if err != nil {
		return nil, err
	}
	w := &writer{m: m, id: id, opened: opened, file: f, md5: md5.New()}
	to := io.MultiWriter(w.md5, f)
	if m.Hash {
		w.sha256 = sha256.New()
		to = io.MultiWriter(w.sha256, to)
	}
	w.buf = bufio.NewWriterSize(to, 64<<10)
	if m.GzipLevel > 0 {
		_, _ = w.buf.WriteString(GzipHeader) // fits into it
	}
	return w, nil
}

// write puts bytes after what is there.
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
	w.text.add(b)
	_, err := w.m.deflate.Write(b)
	return err
}

// addBlock takes n records, compressed.
func (w *writer) addBlock(block []byte, sum Sum, n int) error {
	if err := w.endBlock(); err != nil {
		return err
	}
	w.text.join(sum)
	w.records += n
	_, err := w.buf.Write(block)
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
			_, err = w.buf.Write(append([]byte(LastBlock), w.text.trailer()...))
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
