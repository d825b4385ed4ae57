package journal

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"math"
	"os"
	"time"

	"github.com/google/uuid"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/object"
)

// Frame is what came of one chunk, or what is left of it where a segment ends early. It is valid until the next call of Next.
type Frame struct {
	Offset  int64 // of the frame in the file
	Source  Source
	Rejects []byte // whole lines
	Damage  []byte // bytes that could not be decoded
	// Bucket is the width of the buckets by which records were added up to lines, and Summed how many; 0 if they were not.
	Bucket time.Duration
	Summed int
}

// Stretch is a part of a segment that holds no whole frame.
type Stretch struct {
	Offset, Length int64
	// Torn: the header is whole and promises more than the file has, or the file ends within a header: a last write that was
	// cut off, and so never acknowledged.
	Torn bool
}

// Reader gives the frames of a segment that count, past damage: Next until false, then Err. It is the only reader of the
// format.
type Reader struct {
	Frame
	Damaged []Stretch // so far

	file    *os.File
	size    int64
	end     end
	next    int64 // offset of the next frame
	head    [frameHeaderSize]byte
	header  frameHeader // what that says
	buffer  []byte      // of the whole payload
	payload []byte      // but for rejects, damage and numbers
	blocks  object.Decoder
	err     error
}

// Read opens a segment to be sealed, once all that was written to it is durable or given up. The error is [fs.ErrNotExist] if
// somebody removed the file.
func (j *Journal) Read(s *Segment) (*Reader, error) {
	s.pending.Wait()
	s.close()
	j.mu.Lock()
	bound, bounded := j.ends[s.ID]
	j.mu.Unlock()
	if !bounded {
		bound = end{Offset: s.Size()}
	}
	return open(s.path(j.opt.Dir), os.O_RDONLY, s.Size(), bound)
}

// ReadFile opens a segment as it is at the moment, beside a process that may write to it.
func ReadFile(d *disk.Dir, id uuid.UUID) (*Reader, error) {
	bound := end{Offset: math.MaxInt64}
	entries, err := os.ReadDir(d.Path(disk.Open)) // a later segment may know where this one ends
	for _, e := range entries {
		r, err := open(d.Path(disk.Open, e.Name()), os.O_RDONLY, -1, bound)
		if err != nil {
			continue // sealed meanwhile, or no segment
		}
		if r.Next() && r.header.Kind == kindCheckpoint {
			if b, ok := parseCheckpoint(r.payload).ends[id]; ok {
				bound = b
			}
		}
		r.Close()
	}
	if err != nil {
		return nil, err
	}
	return open(d.Path(NameOf(id)), os.O_RDONLY, -1, bound)
}

// open starts after the file header, or at the first byte if that header is no good. A size below 0 is the file's.
func open(path string, flag int, size int64, bound end) (r *Reader, err error) {
	r = &Reader{size: size, end: bound}
	if r.file, err = os.OpenFile(path, flag, 0); err != nil {
		return nil, err
	}
	st, err := r.file.Stat()
	if err == nil && size < 0 {
		r.size = st.Size()
	}
	head := make([]byte, min(max(r.size, 0), fileHeaderSize))
	if err == nil {
		_, err = r.file.ReadAt(head, 0)
	}
	if err == nil || err == io.EOF {
		if err = checkFileHeader(head); err == nil {
			r.next = fileHeaderSize
		} else if !errors.Is(err, ErrVersion) {
			err = nil
		}
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Close lets go of the file.
func (r *Reader) Close() { _ = r.file.Close() }

// Err is an error of reading, not of the content.
func (r *Reader) Err() error { return r.err }

// Next goes to the next frame.
func (r *Reader) Next() bool {
	for r.err == nil && r.next < r.size && r.next <= r.end.Offset {
		b := r.head[:min(frameHeaderSize, r.size-r.next)]
		if !r.read(b, r.next) {
			return false
		}
		if !r.header.parse(b) {
			r.skip(b)
			continue
		}
		h := &r.header
		at, whole := r.next, frameHeaderSize+int64(h.Length)
		if at+whole > r.size {
			r.Damaged = append(r.Damaged, Stretch{at, r.size - at, true})
			r.next = r.size
			return false
		}
		if cap(r.buffer) < int(h.Length) {
			r.buffer = make([]byte, h.Length)
		}
		r.payload, r.Frame = r.buffer[:h.Length], Frame{Offset: at, Source: h.Source}
		if !r.read(r.payload, at+frameHeaderSize) {
			return false
		}
		r.next += whole
		if crc32.Checksum(r.payload, castagnoli) == h.Sum && r.parse() {
			return true
		}
		r.Spoiled()
	}
	return false
}

// parse takes off the payload what is no record; false if it does not say what it should.
func (r *Reader) parse() bool {
	if r.header.Kind&withSum != 0 {
		rest, bucket, records, ok := cutNumbers(r.payload)
		if !ok {
			return false
		}
		r.payload, r.Bucket, r.Summed = rest, time.Duration(bucket)*time.Millisecond, int(records)
	}
	if r.header.Kind&withAside != 0 {
		rest, rejects, damage, ok := cutNumbers(r.payload)
		lines := int64(len(rest)) - rejects - damage
		if !ok || lines < 0 {
			return false
		}
		r.payload, r.Rejects, r.Damage = rest[:lines], rest[lines:lines+rejects], rest[lines+rejects:]
	}
	if r.partly() {
		r.Rejects, r.Damage = nil, nil
	}
	r.header.Kind &^= withSum | withAside
	return true
}

// partly tells if the segment ends at the frame: then only the first lines of it count, or none.
func (r *Reader) partly() bool { return r.Offset == r.end.Offset }

// Block gives the records of the frame as a block, if they are one; the memory is valid as that of the frame.
func (r *Reader) Block() (block []byte, sum object.Sum, records int, ok bool) {
	return r.payload, r.header.content(), int(r.header.Lines), r.header.Kind == kindBlock && r.header.Lines > 0 && !r.partly()
}

// Lines gives the records of the frame, a line each. An error says that a block cannot be read.
func (r *Reader) Lines() (lines []byte, err error) {
	switch r.header.Kind {
	case kindRecords:
		lines = r.payload
	case kindBlock:
		if lines, err = r.blocks.Decode(r.payload, r.header.content()); err != nil {
			return nil, err
		}
	case kindCheckpoint:
		lines = parseCheckpoint(r.payload).lines
	}
	if r.partly() {
		lines = object.Head(lines, int(r.end.Lines))
	}
	return lines, nil
}

// Pieces gives the same in pieces of any size, which take less memory where they are many. Where it returns no error, one that
// comes with a piece is none of the content.
func (r *Reader) Pieces() (iter.Seq2[[]byte, error], error) {
	if block, sum, _, ok := r.Block(); ok {
		return r.blocks.Pieces(block, sum)
	}
	lines, err := r.Lines()
	return object.Whole(lines), err
}

// Spoiled counts the frame among what is damaged.
func (r *Reader) Spoiled() {
	r.Damaged = append(r.Damaged, Stretch{r.Offset, r.next - r.Offset, false})
}

// Bytes reads a stretch.
func (r *Reader) Bytes(x Stretch) ([]byte, error) {
	b := make([]byte, x.Length)
	_, err := r.file.ReadAt(b, x.Offset)
	return b, err
}

// skip moves from a place where no frame header stands, whose first bytes are b, to the next one.
func (r *Reader) skip(b []byte) {
	from := r.next
	torn := len(b) < frameHeaderSize && bytes.HasPrefix(append([]byte(frameMagic), b[min(len(b), 4):]...), b)
	window := make([]byte, 64<<10)
	for r.next++; r.next+frameHeaderSize <= r.size; {
		w := window[:min(int64(len(window)), r.size-r.next)]
		if !r.read(w, r.next) {
			return
		}
		for i := 0; ; i++ {
			next := bytes.Index(w[i:], []byte(frameMagic))
			if next < 0 {
				break
			}
			i += next
			if r.header.parse(w[i:]) {
				r.next += int64(i)
				r.Damaged = append(r.Damaged, Stretch{from, r.next - from, false})
				return
			}
		}
		r.next += int64(len(w)) - (frameHeaderSize - 1) // a header may straddle two windows
	}
	r.next = r.size
	r.Damaged = append(r.Damaged, Stretch{from, r.size - from, torn})
}

func (r *Reader) read(b []byte, at int64) bool {
	if _, err := r.file.ReadAt(b, at); err != nil {
		r.err = fmt.Errorf("read %d bytes at offset %d: %w", len(b), at, err)
	}
	return r.err == nil
}
