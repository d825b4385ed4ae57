package object

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"slices"

	"github.com/klauspost/compress/flate"
)

// A block is a run of records as part of an object: blocks of deflate (RFC 1951), none of them the last, that refer to nothing
// before them and end at a byte. Blocks one after the other, an empty last one and the frame of gzip (RFC 1952) are an object.
// So each record is compressed once, in the flush that brings it, and the ten times larger lines are neither written nor read
// again, unless a block has to be split (Options.MaxRecords) or the configuration has changed; and a block that is damaged
// spoils no other.

const (
	// GzipHeader begins an object: deflate, nothing optional, no time stamp, any system.
	GzipHeader = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
	// BlockEnd ends a block: an empty stored block of deflate.
	BlockEnd = "\x00\x00\xff\xff"
	// LastBlock is an empty block of fixed codes, marked as the last. The CRC-32 and the length of all lines come after it.
	LastBlock = "\x03\x00"
)

// Sum is what a gzip trailer says of the lines in a block, or of several: their length and CRC-32.
type Sum struct {
	Size int64
	CRC  uint32
}

func (s *Sum) add(b []byte) {
	s.Size += int64(len(b))
	s.CRC = crc32.Update(s.CRC, crc32.IEEETable, b)
}

// join puts other after s.
func (s *Sum) join(other Sum) {
	// A CRC is linear, and n zero bytes after a string multiply its CRC, taken as a polynomial, by x^8n.
	power := uint32(1) << (31 - 8) // the highest bit is x^0
	for n := other.Size; n > 0; n >>= 1 {
		if n&1 != 0 {
			s.CRC = product(s.CRC, power)
		}
		power = product(power, power)
	}
	s.CRC ^= other.CRC
	s.Size += other.Size
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

func (s *Sum) trailer() []byte {
	b := binary.LittleEndian.AppendUint32(nil, s.CRC)
	return binary.LittleEndian.AppendUint32(b, uint32(s.Size))
}

// Encoder makes blocks. It keeps the memory for the next one.
type Encoder struct{ deflate *flate.Writer }

// Encode writes lines as a block.
func (e *Encoder) Encode(to io.Writer, lines []byte, level int) (sum Sum, err error) {
	if e.deflate == nil {
		if e.deflate, err = flate.NewWriter(to, level); err != nil {
			return sum, err
		}
	} else {
		e.deflate.Reset(to)
	}
	for part := range slices.Chunk(lines, pieceSize) {
		sum.add(part)
		if _, err = e.deflate.Write(part); err != nil {
			return sum, err
		}
	}
	return sum, e.deflate.Flush()
}

// Decoder reads blocks; what it returns is valid until the next call.
type Decoder struct {
	inflate io.ReadCloser
	lines   []byte
}

// Decode gives the lines in a block.
func (d *Decoder) Decode(block []byte, sum Sum) ([]byte, error) {
	if int64(cap(d.lines)) < sum.Size {
		d.lines = make([]byte, sum.Size, (sum.Size+pieceSize-1)/pieceSize*pieceSize) // the next may be a little longer
	}
	d.lines = d.lines[:sum.Size]
	err := d.reset(block)
	if err == nil {
		_, err = io.ReadFull(d.inflate, d.lines)
	}
	var got Sum
	got.add(d.lines)
	if err = sum.compare(block, got, err); err != nil {
		return nil, err
	}
	return d.lines, nil
}

// longestWhole is how many bytes of lines are worth their memory, where it would take as much time again to do without.
const longestWhole = 2 << 20

// Pieces gives the lines in a block in pieces of any size: all of them, or an error before the first. A large block is read
// twice, once to see if it is whole.
func (d *Decoder) Pieces(block []byte, sum Sum) (iter.Seq2[[]byte, error], error) {
	if sum.Size <= longestWhole {
		lines, err := d.Decode(block, sum)
		return Whole(lines), err
	}
	var got Sum
	for piece, err := range d.inflated(block, sum.Size) {
		if err != nil {
			return nil, sum.compare(block, got, err)
		}
		got.add(piece)
	}
	if err := sum.compare(block, got, nil); err != nil {
		return nil, err
	}
	return d.inflated(block, sum.Size), nil
}

// Whole gives lines in one piece.
func Whole(lines []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) { yield(lines, nil) }
}

// inflated gives so many bytes of what is in a block.
func (d *Decoder) inflated(block []byte, size int64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		err := d.reset(block)
		d.lines = slices.Grow(d.lines[:0], pieceSize)[:pieceSize]
		for size > 0 && err == nil {
			piece := d.lines[:min(size, pieceSize)]
			if _, err = io.ReadFull(d.inflate, piece); err == nil && !yield(piece, nil) {
				return
			}
			size -= int64(len(piece))
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

func (d *Decoder) reset(block []byte) error {
	in := bytes.NewReader(block)
	if d.inflate == nil {
		d.inflate = flate.NewReader(in)
		return nil
	}
	return d.inflate.(flate.Resetter).Reset(in, nil)
}

// compare returns an error unless a block could be read and has what it should.
func (s Sum) compare(block []byte, got Sum, err error) error {
	if err == nil && got != s {
		err = fmt.Errorf("want the checksum %08x, got %08x", s.CRC, got.CRC)
	}
	if err != nil {
		return fmt.Errorf("inflate %d bytes to %d: %w", len(block), s.Size, err)
	}
	return nil
}
