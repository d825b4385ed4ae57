package object

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
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
	in := bytes.NewReader(block)
	if d.inflate == nil {
		d.inflate = flate.NewReader(in)
	} else if err := d.inflate.(flate.Resetter).Reset(in, nil); err != nil {
		return nil, err
	}
	if int64(cap(d.lines)) < sum.Size {
		d.lines = make([]byte, sum.Size)
	}
	d.lines = d.lines[:sum.Size]
	if _, err := io.ReadFull(d.inflate, d.lines); err != nil {
		return nil, fmt.Errorf("inflate %d bytes to %d: %w", len(block), sum.Size, err)
	}
	if crc := crc32.ChecksumIEEE(d.lines); crc != sum.CRC {
		return nil, fmt.Errorf("inflate %d bytes to %d: want the checksum %08x, got %08x", len(block), sum.Size, sum.CRC, crc)
	}
	return d.lines, nil
}
