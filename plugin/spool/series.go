package spool

import (
	"bytes"
	"context"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// series makes objects of one origin, one after the other, none with more than Options.MaxRecords.
type series struct {
	s      *Spool
	from   origin
	id     uuid.UUID // of the first object
	opened time.Time
	most   int64 // ends an object that has so many bytes of lines, 0: none
	pace   pace

	obj   *objectWriter // nil: the next record begins one
	bytes int64         // of the lines that add put into obj
	begun int
	made  int
}

// object gives the one that takes the next record.
func (w *series) object() (*objectWriter, error) {
	if w.obj != nil && (w.most > 0 && w.bytes >= w.most || w.s.opt.MaxRecords > 0 && w.obj.records >= w.s.opt.MaxRecords) {
		if err := w.finish(); err != nil {
			return nil, err
		}
	}
	if w.obj == nil {
		id := w.id
		if w.begun > 0 {
			id = uuid.NewSHA1(w.id, strconv.AppendInt(nil, int64(w.begun), 10))
		}
		// Equal objects in one nanosecond would have one key, if it holds no uuid.
		obj, err := w.s.newObject(id, w.opened.Add(time.Duration(w.begun)))
		if err != nil {
			return nil, err
		}
		w.obj, w.bytes = obj, 0
		w.begun++
	}
	return w.obj, nil
}

// addSegment takes a segment if all of it has room in an object.
func (w *series) addSegment(segment []byte, t text, records int) (taken bool, err error) {
	w.pace.worked(len(segment))
	obj, err := w.object()
	if err != nil || w.s.opt.MaxRecords > 0 && obj.records+records > w.s.opt.MaxRecords {
		return false, err
	}
	return true, obj.addSegment(segment, t, records)
}

// add takes whole lines and may change them. It ends with ctx: of one frame come many objects, if they are small.
func (w *series) add(ctx context.Context, lines []byte) error {
	for len(lines) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		obj, err := w.object()
		if err != nil {
			return err
		}
		part := piece(lines, pieceSize)
		if w.s.opt.MaxRecords > 0 {
			part = headLines(part, w.s.opt.MaxRecords-obj.records)
		}
		lines = lines[len(part):]
		w.bytes += int64(len(part))
		w.pace.worked(len(part))
		if err := obj.add(part, bytes.Count(part, newline)); err != nil {
			return err
		}
	}
	return nil
}

// finish ends the object at hand, if that has records.
func (w *series) finish() error {
	if w.obj == nil || w.obj.records == 0 {
		return nil
	}
	if err := w.obj.finish(w.from); err != nil {
		return err
	}
	w.obj = nil
	w.made++
	return nil
}

// abort gives up the object at hand.
func (w *series) abort() {
	if w.obj != nil {
		w.obj.abort()
		w.obj = nil
	}
}
