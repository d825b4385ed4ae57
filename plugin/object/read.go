package object

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
)

// The MD5 of an object is made when the object is, and stands in the name of its file, before the last part of its key:
//
//	key     ingest/amberdata/11-28-2026/0199f1b2-….gz
//	file    ingest/amberdata/11-28-2026/9e107d9d372bb6826bd81d3542a419d6=0199f1b2-….gz
//
// A name comes and goes with the file: the rename that makes an object count makes its digest count, and no second file can be
// missing, old or another's. It goes along where extended attributes do not (NFS, rsync -a), survives a file that is written
// anew, and md5sum checks it. In the object itself it cannot be. An object without one, of an earlier version, is delivered
// once all of it could be read.

// DigestSize is what the digest takes in a name.
const DigestSize = 2*md5.Size + len("=")

// FileOf is the path, below a directory, of an object; sum is its MD5, nil if that is not known.
func FileOf(key string, sum []byte) string {
	if sum == nil {
		return key
	}
	dir, name := path.Split(key)
	return dir + hex.EncodeToString(sum) + "=" + name
}

// ParseFile reads what FileOf made; sum is nil if there is no digest.
func ParseFile(file string) (key string, sum []byte) {
	dir, name := path.Split(file)
	if len(name) <= DigestSize || name[DigestSize-1] != '=' {
		return file, nil
	}
	sum, err := hex.DecodeString(name[:DigestSize-1])
	if err != nil {
		return file, nil
	}
	return dir + name[DigestSize:], sum
}

// ErrDamaged says that the bytes of an object are not those that it was sealed with.
var ErrDamaged = errors.New("the object is damaged: it is not what was sealed")

// Body is an object's bytes, compared with their MD5 as they are read from their start: where they differ, the end is
// [ErrDamaged] instead of [io.EOF]. It hides what else a file can do: io.Copy would go past Read.
type Body struct {
	file *os.File
	sum  []byte
	seen hash.Hash // nil once it was equal to sum
	// partly: what is being read did not begin at the start.
	partly bool
	pace   Pace
}

// OpenBody opens the object at path. Its MD5 is sum; an object that came without is read to its end first.
func OpenBody(path string, sum []byte, pace Pace) (*Body, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if sum == nil {
		if sum, err = sumOf(f); err != nil {
			_ = f.Close()
			return nil, err
		}
	}
	return &Body{file: f, sum: sum, seen: md5.New(), pace: pace}, nil
}

// sumOf gives the digest of an object that came without, if all of it can be read.
func sumOf(f *os.File) ([]byte, error) {
	sum := md5.New()
	n, bad, err := Records(io.TeeReader(f, sum), func([]byte) error { return nil })
	switch {
	case err != nil:
		return nil, err
	case len(bad) > 0:
		return nil, fmt.Errorf("%w (%s)", ErrDamaged, bad[0].What)
	case n == 0:
		return nil, fmt.Errorf("%w: it is empty", ErrDamaged)
	}
	if _, err = io.Copy(sum, f); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	return sum.Sum(nil), err
}

// MD5 is that of the bytes as they were sealed.
func (b *Body) MD5() []byte { return b.sum }

// Read implements [io.Reader].
func (b *Body) Read(p []byte) (int, error) {
	n, err := b.file.Read(p)
	b.pace.Worked(n)
	if b.seen == nil {
		return n, err
	}
	b.seen.Write(p[:n])
	if err == io.EOF && !b.partly {
		if sum := b.seen.Sum(nil); !bytes.Equal(sum, b.sum) {
			return n, fmt.Errorf("%w: want the MD5 %x, got %x", ErrDamaged, b.sum, sum)
		}
		b.seen = nil
	}
	return n, err
}

// Seek implements [io.Seeker].
func (b *Body) Seek(offset int64, whence int) (int64, error) {
	at, err := b.file.Seek(offset, whence)
	if b.seen != nil && (offset != 0 || whence != io.SeekCurrent) {
		b.seen.Reset()
		b.partly = at != 0
	}
	return at, err
}

// Close implements [io.Closer].
func (b *Body) Close() error { return b.file.Close() }

// Problem is something in a file that is not as it should be.
type Problem struct {
	File   string // below store_dir; Records does not know it
	Offset int64  // in bytes; for a compressed object, in what it holds
	What   string
}

func (p Problem) String() string { return fmt.Sprintf("%s: offset %d: %s", p.File, p.Offset, p.What) }

// Records calls each with every record of an object, or of lines that are none yet: a line of JSON, valid during the call. It
// reads from the start to the first byte that cannot be decompressed; a line that is no record does not end the reading. With
// nil it counts the records of an object that is known to be whole. err is that of each.
func Records(in io.Reader, each func(line []byte) error) (n int, bad []Problem, err error) {
	buffered := bufio.NewReaderSize(in, 1<<20)
	if magic, _ := buffered.Peek(2); string(magic) == GzipHeader[:2] {
		gz, err := gzip.NewReader(buffered)
		if err != nil {
			return 0, []Problem{{What: err.Error()}}, nil
		}
		buffered = bufio.NewReaderSize(gz, 1<<20)
	}
	if lead, _ := buffered.Peek(1); len(lead) == 1 && lead[0] == '[' {
		return arrayRecords(buffered, each)
	}
	for offset := int64(0); ; {
		line, err := buffered.ReadBytes('\n')
		switch {
		case len(line) == 0:
		case each == nil:
			n++
		case !IsRecord(line):
			bad = append(bad, Problem{"", offset, fmt.Sprintf("want a line of JSON in UTF-8, got %.60q", line)})
		default:
			n++
			if err := each(bytes.TrimSuffix(line, newline)); err != nil {
				return n, nil, err
			}
		}
		offset += int64(len(line))
		if err == io.EOF {
			return n, bad, nil
		}
		if err != nil {
			return n, append(bad, Problem{"", offset, err.Error()}), nil
		}
	}
}

func arrayRecords(in io.Reader, each func([]byte) error) (n int, bad []Problem, err error) {
	dec := json.NewDecoder(in)
	_, err = dec.Token()
	for err == nil && dec.More() {
		var raw json.RawMessage
		if err = dec.Decode(&raw); err != nil {
			break
		}
		n++
		if each != nil {
			if err := each(raw); err != nil {
				return n, nil, err
			}
		}
	}
	if err == nil {
		_, err = dec.Token()
	}
	if err == nil {
		if _, end := in.Read(make([]byte, 1)); end != io.EOF { // gzip has compared its checksum by then
			err = fmt.Errorf("want nothing after the array, got more (%v)", end)
		}
	}
	if err != nil {
		bad = []Problem{{"", dec.InputOffset(), err.Error()}}
	}
	return n, bad, nil
}

// IsRecord tells if a line, with its line feed, is one.
func IsRecord(line []byte) bool {
	return line[len(line)-1] == '\n' && json.Valid(line) && utf8.Valid(line)
}

// Begins tells if an object begins so, and not a file that somebody else has put beside.
func Begins(head []byte) bool {
	return IsGzip(head) || len(head) > 0 && (head[0] == '{' || head[0] == '[')
}

// IsGzip tells if most of a gzip header is there: one byte of it may be what is damaged.
func IsGzip(b []byte) bool {
	equal := 0
	for i := range min(len(b), len(GzipHeader)) {
		if b[i] == GzipHeader[i] {
			equal++
		}
	}
	return equal >= len(GzipHeader)-2
}
