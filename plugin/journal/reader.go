package journal

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
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
	// Torn: the header is whole and promises more than the file has, or the file ends within a
	// header: a last write that was cut off, and so never acknowledged.
	Torn bool
}

// Reader gives the frames of a segment that count, past damage: Next until false, then Err. It is the only reader of the format.
type Reader struct {
	Frame
	Damaged []Stretch // so far

	file    *os.File
	size    int64
	end     end
	next    int64 // offset of the next frame
	header  frameHeader
	buffer  []byte // of the whole payload
	payload []byte // but for rejects, damage and numbers
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
		bound = end{offset: s.Size()}
	}
	return open(s.path(j.opt.Dir), s.Size(), bound)
}

// ReadFile opens a segment as it is at the moment, beside a process that may write to it.
func ReadFile(d *disk.Dir, id uuid.UUID) (*Reader, error) {
	bound := end{offset: math.MaxInt64}
	entries, err := os.ReadDir(d.Path(disk.Open)) // a later segment may know where this one ends
	for _, e := range entries {
		r, err := open(d.Path(disk.Open, e.Name()), -1, bound)
		if err != nil {
			continue // sealed meanwhile, or no segment
		}
		if r.Next() && r.header.kind == kindCheckpoint {
			if b, ok := parseCheckpoint(r.payload).ends[id]; ok {
				bound = b
			}
		}
		r.Close()
	}
	if err != nil {
		return nil, err
	}
	return open(d.Path(NameOf(id)), -1, bound)
}

func open(path string, size int64, bound end) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := newReader(f, size, bound)
	if err != nil {
		_ = f.Close()
	}
	return r, err
}

// newReader starts after the file header, or at the first byte if that header is no good. A size below 0 is the file's.
func newReader(f *os.File, size int64, bound end) (*Reader, error) {
	if size < 0 {
		st, err := f.Stat()
		if err != nil {
			return nil, err
		}
		size = st.Size()
	}
	r := &Reader{file: f, size: size, end: bound}
	head := make([]byte, min(r.size, fileHeaderSize))
	if _, err := f.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, err
	}
	switch err := checkFileHeader(head); {
	case err == nil:
		r.next = fileHeaderSize
	case errors.Is(err, ErrVersion):
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
	var head [frameHeaderSize]byte
	for r.err == nil && r.next < r.size && r.next <= r.end.offset {
		b := head[:min(frameHeaderSize, r.size-r.next)]
		if !r.read(b, r.next) {
			return false
		}
		h, ok := parseFrameHeader(b)
		if !ok {
			r.skip(b)
			continue
		}
		at, whole := r.next, frameHeaderSize+int64(h.length)
		if at+whole > r.size {
			r.Damaged = append(r.Damaged, Stretch{at, r.size - at, true})
			r.next = r.size
			return false
		}
		if cap(r.buffer) < int(h.length) {
			r.buffer = make([]byte, h.length)
		}
		r.header, r.payload, r.Frame = h, r.buffer[:h.length], Frame{Offset: at, Source: h.source}
		if !r.read(r.payload, at+frameHeaderSize) {
			return false
		}
		r.next += whole
		if crc32.Checksum(r.payload, castagnoli) == h.sum && r.parse() {
			return true
		}
		r.Spoiled()
	}
	return false
}

// parse takes off the payload what is no record; false if it does not say what it should.
func (r *Reader) parse() bool {
	if r.header.kind&withSum != 0 {
		rest, bucket, records, ok := cutNumbers(r.payload)
		if !ok {
			return false
		}
		r.payload, r.Bucket, r.Summed = rest, time.Duration(bucket)*time.Millisecond, int(records)
	}
	if r.header.kind&withAside != 0 {
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
	r.header.kind &^= withSum | withAside
	return true
}

// partly tells if the segment ends at the frame: then only the first lines of it count, or none.
func (r *Reader) partly() bool { return r.Offset == r.end.offset }

// Block gives the records of the frame as a block, if they are one; the memory is valid as that of the frame.
func (r *Reader) Block() (block []byte, sum object.Sum, records int, ok bool) {
	return r.payload, r.header.text, int(r.header.lines), r.header.kind == kindBlock && r.header.lines > 0 && !r.partly()
}

// Lines gives the records of the frame, a line each. An error says that a block cannot be read.
func (r *Reader) Lines() (lines []byte, err error) {
	switch r.header.kind {
	case kindRecords:
		lines = r.payload
	case kindBlock:
		if lines, err = r.blocks.Decode(r.payload, r.header.text); err != nil {
			return nil, err
		}
	case kindCheckpoint:
		lines = parseCheckpoint(r.payload).lines
	}
	if r.partly() {
		lines = object.Head(lines, int(r.end.lines))
	}
	return lines, nil
}

// content counts what is in the frame.
func (r *Reader) content() content {
	records := int(r.header.lines)
	return content{
		records: records, accepted: max(records, r.Summed), lineBytes: r.header.text.Size,
		rejects: bytes.Count(r.Rejects, []byte{'\n'}), rejectBytes: int64(len(r.Rejects)), damage: int64(len(r.Damage)),
	}
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
			if _, ok := parseFrameHeader(w[i:]); ok {
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
