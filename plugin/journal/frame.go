package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/google/uuid"

	"out_amberflo/plugin/object"
)

// A segment is a file header and then frames; all numbers are little-endian.
//
//	file header, 32 bytes            frame header, 52 bytes
//	 0  8 magic "amberlog"            0 4 magic "AFRM"
//	 8  4 version (4)                 4 4 kind, withAside, withSum
//	12 16 uuid, as in the name        8 4 payload length in bytes
//	28  4 CRC-32C of the above       12 4 lines in the payload
//	                                 16 4 their length in bytes, in a checkpoint 0
//	                                 20 4 in a block CRC-32 (IEEE, as gzip has it) of them
//	                                 24 4 length of the chunk it came from
//	                                 28 8 hash of that chunk (see Source)
//	                                 36 8 when it was accepted, Unix nanoseconds
//	                                 44 4 CRC-32C of the payload
//	                                 48 4 CRC-32C of the above
//
// The header's own checksum makes its length trustworthy when only the payload is damaged, and tells
// a write that was cut off (header whole, payload beyond the end of the file) from damage.
const (
	fileMagic       = "amberlog"
	fileVersion     = 4
	oldestVersion   = 2 // is read too, and 3: they know no withSum, and 2 no withAside
	fileHeaderSize  = 32
	frameMagic      = "AFRM"
	frameHeaderSize = 52
)

// Kinds of frame.
const (
	// kindRecords holds the records of one chunk, a line each.
	kindRecords = 1
	// kindCheckpoint opens a segment with what must outlive those before it; see checkpoint.
	kindCheckpoint = 2
	// kindRedelivered notes that a chunk came again and was recognised. Its payload is the time at which the chunk was first
	// accepted.
	kindRedelivered = 3
	// kindBlock holds the records of one chunk as a block, see package object.
	kindBlock = 4

	// These are added to the kind of a frame that holds more; what that is ends with two numbers of 4 bytes each.
	//
	// withAside: rejects and damage of the chunk come after its records, and then their lengths.
	withAside = 1 << 8
	// withSum: records were added up to lines. At the end of the payload are the width of a bucket in milliseconds, and how many
	// records were accepted.
	withSum = 1 << 9

	numbersSize = 8
)

func appendNumbers(b []byte, x, y int) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, uint32(x)), uint32(y))
}

// cutNumbers takes two numbers off the end of a payload.
func cutNumbers(payload []byte) (rest []byte, x, y int64, ok bool) {
	at := len(payload) - numbersSize
	if at < 0 {
		return payload, 0, 0, false
	}
	return payload[:at], int64(binary.LittleEndian.Uint32(payload[at:])), int64(binary.LittleEndian.Uint32(payload[at+4:])), true
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type frameHeader struct {
	kind     uint32
	length   uint32
	lines    uint32
	text     object.Sum
	source   Source
	accepted int64
	sum      uint32
}

// put writes h into the first frameHeaderSize bytes of frame, whose rest is the payload.
func (h frameHeader) put(frame []byte) {
	payload := frame[frameHeaderSize:]
	le := binary.LittleEndian
	copy(frame, frameMagic)
	le.PutUint32(frame[4:], h.kind)
	le.PutUint32(frame[8:], uint32(len(payload)))
	le.PutUint32(frame[12:], h.lines)
	le.PutUint32(frame[16:], uint32(h.text.Size))
	le.PutUint32(frame[20:], h.text.CRC)
	le.PutUint32(frame[24:], h.source.Length)
	le.PutUint64(frame[28:], h.source.Hash)
	le.PutUint64(frame[36:], uint64(h.accepted))
	le.PutUint32(frame[44:], crc32.Checksum(payload, castagnoli))
	le.PutUint32(frame[48:], crc32.Checksum(frame[:48], castagnoli))
}

func parseFrameHeader(b []byte) (h frameHeader, ok bool) {
	le := binary.LittleEndian
	if len(b) < frameHeaderSize || string(b[:4]) != frameMagic ||
		le.Uint32(b[48:]) != crc32.Checksum(b[:48], castagnoli) {
		return h, false
	}
	return frameHeader{
		kind:     le.Uint32(b[4:]),
		length:   le.Uint32(b[8:]),
		lines:    le.Uint32(b[12:]),
		text:     object.Sum{Size: int64(le.Uint32(b[16:])), CRC: le.Uint32(b[20:])},
		source:   Source{Length: le.Uint32(b[24:]), Hash: le.Uint64(b[28:])},
		accepted: int64(le.Uint64(b[36:])),
		sum:      le.Uint32(b[44:]),
	}, true
}

func newFileHeader(id uuid.UUID) []byte {
	b := make([]byte, fileHeaderSize)
	copy(b, fileMagic)
	binary.LittleEndian.PutUint32(b[8:], fileVersion)
	copy(b[12:], id[:])
	binary.LittleEndian.PutUint32(b[28:], crc32.Checksum(b[:28], castagnoli))
	return b
}

// ErrVersion says that a segment is whole but written by another version of this package.
var ErrVersion = errors.New("another version of the segment format")

// checkFileHeader returns ErrVersion, another error if b is no file header, or nil.
func checkFileHeader(b []byte) error {
	if len(b) < fileHeaderSize || string(b[:8]) != fileMagic ||
		binary.LittleEndian.Uint32(b[28:]) != crc32.Checksum(b[:28], castagnoli) {
		return errors.New("no header of a segment")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v < oldestVersion || v > fileVersion {
		return fmt.Errorf("%w: want %d to %d, got %d", ErrVersion, oldestVersion, fileVersion, v)
	}
	return nil
}

// encoder makes frames of chunks; what it returns is valid until the next call.
type encoder struct {
	blocks object.Encoder
	frame  bytes.Buffer
}

// frameOf makes the frame of a chunk: its records as a block of a gzip level, or with level 0 the lines as they are, and after
// them its rejects and its damage. The header is not complete yet.
func (e *encoder) frameOf(c *chunk, level int) (h frameHeader, frame []byte, err error) {
	if e.frame.Cap() > 16<<20 { // one large chunk is no reason to keep as much
		*e = encoder{}
	}
	e.frame.Reset()
	e.frame.Write(make([]byte, frameHeaderSize))
	h = frameHeader{kind: kindRecords, lines: uint32(c.records), source: c.source}
	if level == 0 {
		h.text.Size = int64(len(c.lines))
		e.frame.Write(c.lines)
	} else {
		h.kind = kindBlock
		h.text, err = e.blocks.Encode(&e.frame, c.lines, level)
	}
	if len(c.rejects)+len(c.damage) > 0 {
		h.kind |= withAside
		e.frame.Write(c.rejects)
		e.frame.Write(c.damage)
		e.frame.Write(appendNumbers(nil, len(c.rejects), len(c.damage)))
	}
	if c.bucket > 0 {
		h.kind |= withSum
		e.frame.Write(appendNumbers(nil, int(c.bucket/time.Millisecond), c.summed))
	}
	if err == nil && max(h.text.Size, int64(e.frame.Len())) > math.MaxUint32 {
		err = fmt.Errorf("want at most 4 GiB of one chunk, got %d bytes of records and %d in all", h.text.Size, e.frame.Len())
	}
	return h, e.frame.Bytes(), err
}

// checkpoint is the payload of the frame that opens a segment: what is still needed of those before it once they are sealed and
// removed. One frame, hence one checksum: all of it holds or none.
type checkpoint struct {
	// recent are chunks accepted shortly before, which Fluent Bit may deliver again after a crash, and
	// expected those that are still to come again after an earlier one. On a start, only the newest checkpoint counts.
	recent, expected []accepted
	// ends say where the valid part of an earlier segment ends.
	ends map[uuid.UUID]end
	// lines are records of the segment before, which version 2 moved here where it had more than Options.MaxRecords.
	lines []byte
}

// end bounds what counts in a segment: the frames that start before offset. Frames after a failed fsync were never
// acknowledged. Of the frame that starts at offset the first lines count, in a segment of version 2 whose other records moved on.
type end struct {
	offset int64
	lines  int64
}

func (c checkpoint) append(b []byte) []byte {
	le := binary.LittleEndian
	for _, list := range [][]accepted{c.recent, c.expected} {
		b = le.AppendUint32(b, uint32(len(list)))
		for _, a := range list {
			b = le.AppendUint32(b, a.source.Length)
			b = le.AppendUint64(b, a.source.Hash)
			b = le.AppendUint64(b, uint64(a.at))
		}
	}
	b = le.AppendUint32(b, uint32(len(c.ends)))
	for id, e := range c.ends {
		b = append(b, id[:]...)
		b = le.AppendUint64(b, uint64(e.offset))
		b = le.AppendUint64(b, uint64(e.lines))
	}
	return b
}

// parseCheckpoint reads what append wrote; lines aliases b. The frame's checksum vouches for b: of what this package did not
// write it reads as far as it goes.
func parseCheckpoint(b []byte) (c checkpoint) {
	le := binary.LittleEndian
	entries := func(size int) []byte {
		if len(b) < 4 {
			return nil
		}
		n := 4 + int64(le.Uint32(b))*int64(size)
		if n > int64(len(b)) {
			return nil
		}
		list := b[4:n:n]
		b = b[n:]
		return list
	}
	for _, to := range []*[]accepted{&c.recent, &c.expected} {
		list := entries(20)
		if list == nil {
			return c
		}
		for ; len(list) > 0; list = list[20:] {
			*to = append(*to, accepted{Source{le.Uint32(list), le.Uint64(list[4:])}, int64(le.Uint64(list[12:]))})
		}
	}
	list := entries(32)
	if list == nil {
		return c
	}
	c.ends = make(map[uuid.UUID]end)
	for ; len(list) > 0; list = list[32:] {
		c.ends[uuid.UUID(list[:16])] = end{int64(le.Uint64(list[16:])), int64(le.Uint64(list[24:]))}
	}
	c.lines = b
	return c
}
