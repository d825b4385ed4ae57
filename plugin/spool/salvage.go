package spool

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"
)

// Of an object that the disk has changed, its whole segments can still be read: a compressed one is made of segments that
// refer to nothing before them and end at a byte (see deflate.go). A segment counts if it can be inflated to its end and is
// made of whole records. Of an object that is not compressed, each line is a segment.
//
// A segment has no checksum of its own. What spoils neither the compression nor the JSON, such as a digit that is another
// digit, cannot be placed: if all segments look whole, one of them is not, and nobody can say which; unless gzip's own checksum
// of the text says that only its frame is damaged.

// salvaged is what can be read of a damaged object.
type salvaged struct {
	whole   [][]byte // the records of the whole segments, a line each
	records int
	lost    []stretch // what is not whole
	proven  bool      // all records are there, and what they were
}

// stretch is a part of an object's file.
type stretch struct{ from, to int64 }

// located tells if it is known which part is damaged.
func (s *salvaged) located() bool { return len(s.lost) > 0 || s.proven }

func (s *salvaged) problems(path string) (all []Problem) {
	if s.proven {
		return []Problem{{path, 0, fmt.Sprintf("all %d records can be read, and are right by gzip's own checksum", s.records)}}
	}
	if !s.located() {
		return []Problem{{path, 0, fmt.Sprintf("all %d records can be read, and in at least one of them something is wrong", s.records)}}
	}
	for _, l := range s.lost {
		if l.to == 0 {
			return []Problem{{path, 0, "want at least one record, got none"}}
		}
		all = append(all, Problem{path, l.from, fmt.Sprintf("%d bytes of the file that hold no whole records", l.to-l.from)})
	}
	return all
}

func (s *salvaged) each(do func(line []byte) error) error {
	if do == nil {
		return nil
	}
	for _, lines := range s.whole {
		for line := range bytes.Lines(lines) {
			if err := do(bytes.TrimSuffix(line, newline)); err != nil {
				return err
			}
		}
	}
	return nil
}

// add notes a part of the file: its records, or none if it is not whole.
func (s *salvaged) add(from, to int, lines []byte, ok bool) {
	switch last := len(s.lost) - 1; {
	case ok && len(lines) == 0:
	case ok:
		s.whole = append(s.whole, lines)
		s.records += bytes.Count(lines, newline)
	case last >= 0 && s.lost[last].to == int64(from):
		s.lost[last].to = int64(to)
	default:
		s.lost = append(s.lost, stretch{int64(from), int64(to)})
	}
}

// salvage reads what it can.
func salvage(path string) (*salvaged, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &salvaged{}
	switch {
	case len(b) == 0:
		s.add(0, 0, nil, false)
	case isGzip(b):
		s.segments(b)
	case b[0] == '[':
		s.array(b)
	default:
		for at := 0; at < len(b); {
			line := headLines(b[at:], 1)
			s.add(at, at+len(line), line, isRecord(line))
			at += len(line)
		}
	}
	return s, nil
}

// isGzip tells if most of a gzip header is there: one byte of it may be what is damaged.
func isGzip(b []byte) bool {
	equal := 0
	for i := range min(len(b), len(gzipHeader)) {
		if b[i] == gzipHeader[i] {
			equal++
		}
	}
	return equal >= len(gzipHeader)-2
}

// flushed ends a segment: an empty stored block.
var flushed = []byte{0, 0, 0xff, 0xff}

func (s *salvaged) segments(b []byte) {
	const trailer = 8
	sum := uint32(0)
	for at := len(gzipHeader); at < len(b); {
		if rest := b[at:]; len(rest) == len(lastBlock)+trailer && bytes.HasPrefix(rest, lastBlock) {
			s.proven = len(s.lost) == 0 && sum == binary.LittleEndian.Uint32(rest[len(lastBlock):])
			return
		}
		next := len(b)
		if i := bytes.Index(b[at:], flushed); i >= 0 {
			next = at + i + len(flushed)
		}
		text, lines, ok := inflated(b[at:next])
		sum = crc32.Update(sum, crc32.IEEETable, text)
		s.add(at, next, lines, ok)
		at = next
	}
}

// inflated gives the text of a segment and the records in it, or false if it is not whole.
func inflated(segment []byte) (text, lines []byte, ok bool) {
	in := bytes.NewReader(append(segment[:len(segment):len(segment)], lastBlock...))
	text, err := io.ReadAll(flate.NewReader(in))
	if err != nil || in.Len() > 0 {
		return nil, nil, false
	}
	if len(text) > 0 && (text[0] == '[' || text[0] == ',' || text[0] == ']') {
		lines, ok = ofArray(text)
		return text, lines, ok
	}
	for line := range bytes.Lines(text) {
		if !isRecord(line) || line[0] != '{' {
			return nil, nil, false
		}
	}
	return text, text, true
}

// ofArray makes lines of a part of a JSON array that begins and ends at a record.
func ofArray(text []byte) (lines []byte, ok bool) {
	text = bytes.TrimSuffix(bytes.TrimLeft(text, "[,"), []byte("]"))
	var records []json.RawMessage
	if !utf8.Valid(text) || json.Unmarshal(append(append([]byte("["), text...), ']'), &records) != nil {
		return nil, false
	}
	for _, r := range records {
		if bytes.Contains(r, newline) {
			return nil, false
		}
		lines = append(append(lines, r...), '\n')
	}
	return lines, true
}

// array reads an array that is not compressed up to where it is damaged: behind that, nobody knows where a record begins.
func (s *salvaged) array(b []byte) {
	dec := json.NewDecoder(bytes.NewReader(b))
	_, err := dec.Token()
	end := dec.InputOffset()
	for err == nil && dec.More() {
		var r json.RawMessage
		if err = dec.Decode(&r); err == nil {
			end = dec.InputOffset()
			s.add(0, 0, append(r, '\n'), true)
		}
	}
	if err == nil {
		_, err = dec.Token()
	}
	if err != nil {
		s.add(int(end), len(b), nil, false)
	}
}
