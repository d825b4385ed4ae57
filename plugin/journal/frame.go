package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"out_amberflo/plugin/object"
)

// A segment is a file header and then frames, which are a header and a payload; all numbers are little-endian. The checksums are
// CRC-32C. A header's own makes its length trustworthy when only the payload is damaged, and tells a write that was cut off
// (header whole, payload beyond the end of the file) from damage.

type fileHeader struct {
	Magic   [8]byte   // "amberlog"
	Version uint32    // 4
	ID      uuid.UUID // as in the name
	Check   uint32    // checksum of the above
}

type frameHeader struct {
	Magic    [4]byte // "AFRM"
	Kind     uint32  // and withAside, withSum
	Length   uint32  // of the payload
	Lines    uint32  // in the payload
	Size     uint32  // of them, in a checkpoint 0
	CRC      uint32  // in a block CRC-32 (IEEE, as gzip has it) of them
	Source   Source  // the chunk that it came from
	Accepted int64   // when, Unix nanoseconds
	Sum      uint32  // checksum of the payload
	Check    uint32  // checksum of the above
}

const (
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
)

func numbers(x, y int) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, uint32(x)), uint32(y))
}

// cutNumbers takes two numbers off the end of a payload.
func cutNumbers(payload []byte) (rest []byte, x, y int64, ok bool) {
	at := len(payload) - 8
	if at < 0 {
		return payload, 0, 0, false
	}
	return payload[:at], int64(binary.LittleEndian.Uint32(payload[at:])), int64(binary.LittleEndian.Uint32(payload[at+4:])), true
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// check is the checksum at the end of a header.
func check(header []byte) uint32 { return crc32.Checksum(header[:len(header)-4], castagnoli) }

// put writes h into the first frameHeaderSize bytes of frame, whose rest is the payload.
func (h frameHeader) put(frame []byte) {
	head, payload := frame[:frameHeaderSize], frame[frameHeaderSize:]
	copy(h.Magic[:], frameMagic)
	h.Length, h.Sum = uint32(len(payload)), crc32.Checksum(payload, castagnoli)
	_, _ = binary.Encode(head, binary.LittleEndian, &h) // it fits
	binary.LittleEndian.PutUint32(head[frameHeaderSize-4:], check(head))
}

// parse reads the header that b begins with, if one does.
func (h *frameHeader) parse(b []byte) bool {
	if len(b) < frameHeaderSize || string(b[:4]) != frameMagic {
		return false
	}
	_, err := binary.Decode(b, binary.LittleEndian, h)
	return err == nil && h.Check == check(b[:frameHeaderSize])
}

// content is what the payload of a block is decoded to.
func (h frameHeader) content() object.Sum { return object.Sum{Size: int64(h.Size), CRC: h.CRC} }

func newFileHeader(id uuid.UUID) []byte {
	b, _ := binary.Append(nil, binary.LittleEndian, fileHeader{[8]byte([]byte("amberlog")), fileVersion, id, 0}) // of fixed size
	binary.LittleEndian.PutUint32(b[fileHeaderSize-4:], check(b))
	return b
}

// ErrVersion says that a segment is whole but written by another version of this package.
var ErrVersion = errors.New("another version of the segment format")

// checkFileHeader returns ErrVersion, another error if b is no file header, or nil.
func checkFileHeader(b []byte) error {
	var h fileHeader
	if _, err := binary.Decode(b, binary.LittleEndian, &h); err != nil || string(h.Magic[:]) != "amberlog" || h.Check != check(b) {
		return errors.New("no header of a segment")
	}
	if v := h.Version; v < oldestVersion || v > fileVersion {
		return fmt.Errorf("%w: want %d to %d, got %d", ErrVersion, oldestVersion, fileVersion, v)
	}
	return nil
}

// encoder makes frames of chunks; what it returns is valid until the next call.
type encoder struct {
	blocks object.Encoder
	frame  bytes.Buffer
	slack  slack
}

// trim lets go of memory that is too large.
func (e *encoder) trim() {
	if e.slack.keep(e.frame.Bytes()) == nil {
		e.frame = bytes.Buffer{}
	}
}

// frameOf makes the frame of a chunk: its records as a block of a gzip level, or with level 0 the lines as they are, and after
// them its rejects and its damage. The header is not complete yet.
func (e *encoder) frameOf(c *chunk, level int) (h frameHeader, frame []byte, err error) {
	e.frame.Reset()
	e.frame.Write(make([]byte, frameHeaderSize))
	h = frameHeader{Kind: kindRecords, Lines: uint32(c.records), Size: uint32(len(c.lines)), Source: c.source}
	if level == 0 {
		e.frame.Write(c.lines)
	} else {
		var sum object.Sum
		sum, err = e.blocks.Encode(&e.frame, c.lines, level)
		h.Kind, h.CRC = kindBlock, sum.CRC
	}
	if len(c.rejects)+len(c.damage) > 0 {
		h.Kind |= withAside
		e.frame.Write(c.rejects)
		e.frame.Write(c.damage)
		e.frame.Write(numbers(len(c.rejects), len(c.damage)))
	}
	if c.bucket > 0 {
		h.Kind |= withSum
		e.frame.Write(numbers(int(c.bucket/time.Millisecond), c.summed))
	}
	if err == nil && max(len(c.lines), e.frame.Len()) > math.MaxUint32 {
		err = fmt.Errorf("want at most 4 GiB of one chunk, got %d bytes of records and %d in all", len(c.lines), e.frame.Len())
	}
	return h, e.frame.Bytes(), err
}

// checkpoint is the payload of the frame that opens a segment: what is still needed of those before it once they are sealed and
// removed. One frame, hence one checksum: all of it holds or none.
type checkpoint struct {
	// recent are chunks accepted shortly before, which Fluent Bit may deliver again after a crash, and expected those that are
	// still to come again after an earlier one. On a start, only the newest checkpoint counts.
	recent, expected []accepted
	// ends say where the valid part of an earlier segment ends.
	ends map[uuid.UUID]end
	// lines are records of the segment before, which version 2 moved here where it had more than Options.MaxRecords.
	lines []byte
}

// end bounds what counts in a segment: the frames that start before Offset. Frames after a failed fsync were never
// acknowledged. Of the frame that starts there the first Lines count, in a segment of version 2 whose other records moved on.
type end struct {
	Of            uuid.UUID
	Offset, Lines int64
}

// append writes three lists, each with its length before it.
func (c checkpoint) append(b []byte) []byte {
	b = appendList(b, c.recent)
	b = appendList(b, c.expected)
	return appendList(b, slices.Collect(maps.Values(c.ends)))
}

func appendList[T any](b []byte, list []T) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(list)))
	b, _ = binary.Append(b, binary.LittleEndian, list) // of fixed size: it cannot fail
	return b
}

// parseCheckpoint reads what append wrote; lines aliases b. The frame's checksum vouches for b: of what this package did not
// write it reads as far as it goes.
func parseCheckpoint(b []byte) (c checkpoint) {
	var ends []end
	if cutList(&b, &c.recent) && cutList(&b, &c.expected) && cutList(&b, &ends) {
		c.lines = b
	}
	c.ends = make(map[uuid.UUID]end, len(ends))
	for _, e := range ends {
		c.ends[e.Of] = e
	}
	return c
}

func cutList[T any](b *[]byte, list *[]T) bool {
	if len(*b) < 4 {
		return false
	}
	n, size := int64(binary.LittleEndian.Uint32(*b)), int64(binary.Size(*new(T)))
	if 4+n*size > int64(len(*b)) {
		return false
	}
	*list = make([]T, n)
	_, err := binary.Decode((*b)[4:], binary.LittleEndian, *list)
	*b = (*b)[4+n*size:]
	return err == nil
}
