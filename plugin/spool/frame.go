package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/google/uuid"
)

// A log file is a file header and then frames; all numbers are little-endian.
//
//	file header, 32 bytes            frame header, 52 bytes
//	 0  8 magic "amberlog"            0 4 magic "AFRM"
//	 8  4 version (3)                 4 4 kind, and withAside
//	12 16 uuid, as in the name        8 4 payload length in bytes
//	28  4 CRC-32C of the above       12 4 records in the payload
//	                                 16 4 bytes of their lines, in a carry 0
//	                                 20 4 in a segment CRC-32 (IEEE, as gzip has it) of them
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
	fileVersion     = 3
	readsVersion    = 2 // too: it knows no frame with rejects or damage
	fileHeaderSize  = 32
	frameMagic      = "AFRM"
	frameHeaderSize = 52
)

// Kinds of frame.
const (
	// kindRecords holds the records of one chunk, a line each.
	kindRecords = 1
	// kindCarry opens a log with what must outlive the logs before it; see carry.
	kindCarry = 2
	// kindAgain notes that a chunk came again and was recognised. Its payload is the time at which
	// the chunk was first accepted.
	kindAgain = 3
	// kindSegment holds the records of one chunk as a segment of an object, see deflate.go.
	kindSegment = 4

	// withAside is added to the kind of a frame that holds rejects or damage of its chunk as well. They stand behind the
	// records, and their two lengths, of 4 bytes each, at the end of the payload.
	withAside      = 1 << 8
	asideSizesSize = 8
)

func asideSizes(c *content) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(c.rejects)))
	return binary.LittleEndian.AppendUint32(b, uint32(len(c.damage)))
}

// cutAside takes rejects and damage off a payload; what they do not fit into is left as it is.
func cutAside(payload []byte) (records, rejects, damage []byte, ok bool) {
	at := len(payload) - asideSizesSize
	if at < 0 {
		return payload, nil, nil, false
	}
	r, d := int64(binary.LittleEndian.Uint32(payload[at:])), int64(binary.LittleEndian.Uint32(payload[at+4:]))
	main := int64(at) - r - d
	if main < 0 {
		return payload, nil, nil, false
	}
	return payload[:main], payload[main : main+r], payload[main+r : at], true
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type frameHeader struct {
	kind     uint32
	length   uint32
	records  uint32
	text     text
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
	le.PutUint32(frame[12:], h.records)
	le.PutUint32(frame[16:], uint32(h.text.size))
	le.PutUint32(frame[20:], h.text.sum)
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
		records:  le.Uint32(b[12:]),
		text:     text{int64(le.Uint32(b[16:])), le.Uint32(b[20:])},
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

// errVersion says that a log is whole but written by another version of this package.
var errVersion = errors.New("another version of the log format")

// checkFileHeader returns errVersion, another error if b is no file header, or nil.
func checkFileHeader(b []byte) error {
	if len(b) < fileHeaderSize || string(b[:8]) != fileMagic ||
		binary.LittleEndian.Uint32(b[28:]) != crc32.Checksum(b[:28], castagnoli) {
		return errors.New("no log header")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != fileVersion && v != readsVersion {
		return fmt.Errorf("%w: want %d, got %d", errVersion, fileVersion, v)
	}
	return nil
}

// carry is the payload of the frame that opens a log: what is still needed of the logs before it once
// they are sealed and removed. One frame, hence one checksum: all of it holds or none.
type carry struct {
	// recent are chunks accepted shortly before, which Fluent Bit may deliver again after a crash, and
	// expected those that are still to come again after an earlier one. On a start, only the newest log's carry counts.
	recent, expected []accepted
	// ends say where the valid part of an earlier log ends.
	ends map[uuid.UUID]end
	// lines are records of the log before, which earlier versions moved here where it had more than Options.MaxRecords.
	lines []byte
}

// end bounds what counts in a log: the frames that start before offset. Frames behind a failed fsync were never acknowledged.
// Of the frame that starts at offset the first lines count, in a log of an earlier version whose other records moved on.
type end struct {
	offset int64
	lines  int64
}

func (c carry) append(b []byte) []byte {
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

// parseCarry reads what append wrote; lines aliases b. The frame's checksum vouches for b: of what this package did not
// write it reads as far as it goes.
func parseCarry(b []byte) (c carry) {
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

// damage is a stretch of a log that holds no whole frame.
type damage struct {
	offset, length int64
	// torn: the header is whole and promises more than the file has, or the file ends within a
	// header: a last write that was cut off, and so never acknowledged.
	torn bool
}

// scanner walks the frames of a log, past damage: Next until false, then Err. It is the only reader
// of the format.
type scanner struct {
	file    io.ReaderAt
	size    int64
	offset  int64 // of the next frame
	start   int64 // of this frame
	header  frameHeader
	buffer  []byte // of this frame: what follows is valid until the next call of Next
	payload []byte // but for rejects and damage
	rejects []byte // whole lines
	damage  []byte
	damaged []damage
	err     error // of reading, not of the content

	inflater inflater
}

// newScanner starts behind the file header, or at the first byte if that header is no good.
func newScanner(f *os.File, size int64) (*scanner, error) {
	s := &scanner{file: f, size: size}
	head := make([]byte, min(size, fileHeaderSize))
	if _, err := f.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, err
	}
	err := checkFileHeader(head)
	switch {
	case err == nil:
		s.offset = fileHeaderSize
	case errors.Is(err, errVersion):
		return nil, err
	}
	return s, nil
}

func (s *scanner) Next() bool {
	var head [frameHeaderSize]byte
	for s.err == nil && s.offset < s.size {
		b := head[:min(frameHeaderSize, s.size-s.offset)]
		if !s.read(b, s.offset) {
			return false
		}
		h, ok := parseFrameHeader(b)
		if !ok {
			s.skip(b)
			continue
		}
		whole := frameHeaderSize + int64(h.length)
		if s.offset+whole > s.size {
			s.damaged = append(s.damaged, damage{s.offset, s.size - s.offset, true})
			s.offset = s.size
			return false
		}
		if cap(s.buffer) < int(h.length) {
			s.buffer = make([]byte, h.length)
		}
		s.payload, s.rejects, s.damage = s.buffer[:h.length], nil, nil
		if !s.read(s.payload, s.offset+frameHeaderSize) {
			return false
		}
		s.start = s.offset
		s.offset += whole
		if crc32.Checksum(s.payload, castagnoli) != h.sum {
			s.damaged = append(s.damaged, damage{s.start, whole, false})
			continue
		}
		if h.kind&withAside != 0 {
			if s.payload, s.rejects, s.damage, ok = cutAside(s.payload); !ok {
				s.damaged = append(s.damaged, damage{s.start, whole, false})
				continue
			}
			h.kind &^= withAside
		}
		s.header = h
		return true
	}
	return false
}

// lines gives the records of the frame that count within a bound. They are valid until the next call of Next.
func (s *scanner) lines(bound end) (lines []byte, err error) {
	switch s.header.kind {
	case kindRecords:
		lines = s.payload
	case kindSegment:
		if lines, err = s.inflater.read(s.payload, s.header.text); err != nil {
			return nil, err
		}
	case kindCarry:
		c := parseCarry(s.payload)
		lines = c.lines
	}
	if s.start > bound.offset {
		lines = nil
	} else if s.start == bound.offset {
		lines = headLines(lines, int(bound.lines))
	}
	return lines, nil
}

// skip moves from a place where no frame header stands, whose first bytes are b, to the next one.
func (s *scanner) skip(b []byte) {
	from := s.offset
	torn := len(b) < frameHeaderSize && bytes.HasPrefix(append([]byte(frameMagic), b[min(len(b), 4):]...), b)
	window := make([]byte, 64<<10)
	for s.offset++; s.offset+frameHeaderSize <= s.size; {
		w := window[:min(int64(len(window)), s.size-s.offset)]
		if !s.read(w, s.offset) {
			return
		}
		for i := 0; ; i++ {
			next := bytes.Index(w[i:], []byte(frameMagic))
			if next < 0 {
				break
			}
			i += next
			if _, ok := parseFrameHeader(w[i:]); ok {
				s.offset += int64(i)
				s.damaged = append(s.damaged, damage{from, s.offset - from, false})
				return
			}
		}
		s.offset += int64(len(w)) - (frameHeaderSize - 1) // a header may straddle two windows
	}
	s.offset = s.size
	s.damaged = append(s.damaged, damage{from, s.size - from, torn})
}

func (s *scanner) read(b []byte, at int64) bool {
	if _, err := s.file.ReadAt(b, at); err != nil {
		s.err = fmt.Errorf("read %d bytes at offset %d: %w", len(b), at, err)
	}
	return s.err == nil
}
