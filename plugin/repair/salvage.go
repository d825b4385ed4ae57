package repair

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

	"out_amberflo/plugin/object"
)

// Of an object that the disk has changed, its whole blocks can still be read: a compressed one is made of blocks that refer to
// nothing before them and end at a byte (package object). A block counts if it can be inflated to its end and is made of whole
// records. Of an object that is not compressed, each line is a block.
//
// A block has no checksum of its own. What spoils neither the compression nor the JSON, such as a digit that is another digit,
// cannot be placed: if all blocks look whole, one of them is not, and nobody can say which; unless gzip's own checksum of all
// lines says that only its frame is damaged.

// salvaged is what can be read of a damaged object.
type salvaged struct {
	whole   [][]byte // the records of the whole blocks, a line each
	records int
	lost    []stretch // what is not whole
	proven  bool      // all records are there, and what they were
}

type stretch struct{ from, to int64 }

// located tells if it is known which part is damaged.
func (s *salvaged) located() bool { return len(s.lost) > 0 || s.proven }

func (s *salvaged) problems(path string) (all []Problem) {
	what := "all %d records can be read, and in at least one of them something is wrong"
	if s.proven {
		what = "all %d records can be read, and are right by gzip's own checksum"
	}
	if len(s.lost) == 0 {
		return []Problem{{File: path, What: fmt.Sprintf(what, s.records)}}
	}
	for _, l := range s.lost {
		if l.to == 0 {
			return []Problem{{File: path, What: "want at least one record, got none"}}
		}
		all = append(all, Problem{File: path, Offset: l.from, What: fmt.Sprintf("%d bytes of the file that hold no whole records", l.to-l.from)})
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

func salvage(path string) (*salvaged, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &salvaged{}
	switch {
	case len(b) == 0:
		s.add(0, 0, nil, false)
	case object.IsGzip(b):
		s.blocks(b)
	case b[0] == '[':
		s.array(b)
	default:
		for at := 0; at < len(b); {
			line := object.Head(b[at:], 1)
			s.add(at, at+len(line), line, object.IsRecord(line))
			at += len(line)
		}
	}
	return s, nil
}

func (s *salvaged) blocks(b []byte) {
	const trailer = 8
	sum := uint32(0)
	for at := len(object.GzipHeader); at < len(b); {
		if rest, last := bytes.CutPrefix(b[at:], []byte(object.LastBlock)); last && len(rest) == trailer {
			s.proven = len(s.lost) == 0 && sum == binary.LittleEndian.Uint32(rest)
			return
		}
		next := len(b)
		if i := bytes.Index(b[at:], []byte(object.BlockEnd)); i >= 0 {
			next = at + i + len(object.BlockEnd)
		}
		content, lines, ok := inflated(b[at:next])
		sum = crc32.Update(sum, crc32.IEEETable, content)
		s.add(at, next, lines, ok)
		at = next
	}
}

// inflated gives what is in a block and the records of that, or false if it is not whole.
func inflated(block []byte) (content, lines []byte, ok bool) {
	in := bytes.NewReader(append(block[:len(block):len(block)], object.LastBlock...))
	content, err := io.ReadAll(flate.NewReader(in))
	if err != nil || in.Len() > 0 {
		return nil, nil, false
	}
	if len(content) > 0 && (content[0] == '[' || content[0] == ',' || content[0] == ']') {
		lines, ok = ofArray(content)
		return content, lines, ok
	}
	for line := range bytes.Lines(content) {
		if !object.IsRecord(line) || line[0] != '{' {
			return nil, nil, false
		}
	}
	return content, content, true
}

// ofArray makes lines of a part of a JSON array that begins and ends at a record.
func ofArray(part []byte) (lines []byte, ok bool) {
	part = bytes.TrimSuffix(bytes.TrimLeft(part, "[,"), []byte("]"))
	var records []json.RawMessage
	if !utf8.Valid(part) || json.Unmarshal(append(append([]byte("["), part...), ']'), &records) != nil {
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

// array reads an array that is not compressed up to where it is damaged: after that, nobody knows where a record begins.
func (s *salvaged) array(b []byte) {
	_, bad, _ := object.Records(bytes.NewReader(b), func(line []byte) error {
		s.add(0, 0, append(bytes.Clone(line), '\n'), true)
		return nil
	})
	if len(bad) > 0 {
		s.add(int(bad[0].Offset), len(b), nil, false)
	}
}
