package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"

	"github.com/klauspost/compress/flate"
)

// The records of a larger chunk lie in a log as a segment of the object that they will be in: blocks of deflate (RFC 1951),
// none of them the last, that refer to nothing before them and end at a byte. Segments behind each other, an empty last
// block and the frame of gzip (RFC 1952) are that object. So each record is compressed once, in the flush that brings it,
// and the ten times larger text is neither written nor read again, unless a frame has to be split (Options.MaxRecords) or
// the configuration has changed; and a segment that is damaged spoils no other. Small chunks lie as they are, and become
// segments together when they are sealed.

// gzipHeader begins an object: deflate, nothing optional, no time stamp, any system.
var gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}

// lastBlock is an empty block of fixed codes, marked as the last.
var lastBlock = []byte{3, 0}

// text is what a gzip trailer says: of which length and CRC-32 the text is.
type text struct {
	size int64
	sum  uint32
}

func (t *text) add(b []byte) {
	t.size += int64(len(b))
	t.sum = crc32.Update(t.sum, crc32.IEEETable, b)
}

// join puts other behind t.
func (t *text) join(other text) {
	// A CRC is linear, and n zero bytes behind a text multiply its CRC, taken as a polynomial, by x^8n.
	power := uint32(1) << (31 - 8) // the highest bit is x^0
	for n := other.size; n > 0; n >>= 1 {
		if n&1 != 0 {
			t.sum = product(t.sum, power)
		}
		power = product(power, power)
	}
	t.sum ^= other.sum
	t.size += other.size
}

// product multiplies polynomials modulo that of the CRC.
func product(a, b uint32) (p uint32) {
	for bit := uint32(1) << 31; bit != 0; bit >>= 1 {
		if a&bit != 0 {
			p ^= b
		}
		b = b>>1 ^ crc32.IEEE&-(b&1)
	}
	return p
}

func (t *text) trailer() []byte {
	b := binary.LittleEndian.AppendUint32(nil, t.sum)
	return binary.LittleEndian.AppendUint32(b, uint32(t.size))
}

// encoder makes frames of chunks; what it returns is valid until the next call.
type encoder struct {
	deflate *flate.Writer
	frame   bytes.Buffer
}

// pieceSize is how many bytes of lines are handled at a time: what a processor's cache holds.
const pieceSize = 64 << 10

// frameOf makes the frame of a chunk: its records as a segment of a gzip level, or with level 0 the lines as they are, and
// behind them its rejects and its damage. The header is not complete yet.
func (e *encoder) frameOf(c *content, level int) (h frameHeader, frame []byte, err error) {
	if e.frame.Cap() > 16<<20 { // one large chunk is no reason to keep as much
		*e = encoder{}
	}
	e.frame.Reset()
	e.frame.Write(make([]byte, frameHeaderSize))
	h = frameHeader{kind: kindRecords, records: uint32(c.records), source: c.source}
	if level == 0 {
		h.text.size = int64(len(c.lines))
		e.frame.Write(c.lines)
	} else {
		h.kind = kindSegment
		err = e.segment(&h.text, c.lines, level)
	}
	if len(c.rejects)+len(c.damage) > 0 {
		h.kind |= withAside
		e.frame.Write(c.rejects)
		e.frame.Write(c.damage)
		e.frame.Write(asideSizes(c))
	}
	if err == nil && max(h.text.size, int64(e.frame.Len())) > math.MaxUint32 {
		err = fmt.Errorf("want at most 4 GiB of one chunk, got %d bytes of records and %d in all", h.text.size, e.frame.Len())
	}
	return h, e.frame.Bytes(), err
}

// segment appends lines as a segment to the frame.
func (e *encoder) segment(t *text, lines []byte, level int) (err error) {
	if e.deflate == nil {
		if e.deflate, err = flate.NewWriter(&e.frame, level); err != nil {
			return err
		}
	} else {
		e.deflate.Reset(&e.frame)
	}
	for part := range slices.Chunk(lines, pieceSize) {
		t.add(part)
		if _, err = e.deflate.Write(part); err != nil {
			return err
		}
	}
	return e.deflate.Flush()
}

// inflater reads segments; what it returns is valid until the next call.
type inflater struct {
	inflate io.ReadCloser
	lines   []byte
}

// read gives the lines in a segment.
func (i *inflater) read(segment []byte, t text) ([]byte, error) {
	in := bytes.NewReader(segment)
	if i.inflate == nil {
		i.inflate = flate.NewReader(in)
	} else if err := i.inflate.(flate.Resetter).Reset(in, nil); err != nil {
		return nil, err
	}
	if int64(cap(i.lines)) < t.size {
		i.lines = make([]byte, t.size)
	}
	i.lines = i.lines[:t.size]
	if _, err := io.ReadFull(i.inflate, i.lines); err != nil {
		return nil, fmt.Errorf("inflate %d bytes to %d: %w", len(segment), t.size, err)
	}
	if sum := crc32.ChecksumIEEE(i.lines); sum != t.sum {
		return nil, fmt.Errorf("inflate %d bytes to %d: want the checksum %08x, got %08x", len(segment), t.size, t.sum, sum)
	}
	return i.lines, nil
}
