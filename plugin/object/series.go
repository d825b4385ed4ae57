package object

import (
	"bytes"
	"context"
	"strconv"
	"time"

	"github.com/google/uuid"
)

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
		id := s.ID
		if s.begun > 0 {
			id = uuid.NewSHA1(s.ID, strconv.AppendInt(nil, int64(s.begun), 10))
		}
		// Equal objects in one nanosecond would have one key, if it holds no uuid.
		obj, err := s.Maker.begin(id, s.Opened.Add(time.Duration(s.begun)))
		if err != nil {
			return nil, err
		}
		s.obj, s.bytes = obj, 0
		s.begun++
	}
	return s.obj, nil
}

// AddBlock takes a block if all of it fits into an object.
func (s *Series) AddBlock(block []byte, sum Sum, records int) (taken bool, err error) {
	s.Pace.Worked(len(block))
	obj, err := s.object()
	if most := s.Maker.MaxRecords; err != nil || most > 0 && obj.records+records > most {
		return false, err
	}
	return true, obj.addBlock(block, sum, records)
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
	s.obj = nil
	s.Made++
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
