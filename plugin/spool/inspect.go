package spool

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/klauspost/compress/gzip"
)

// Rooms are the folders of a spool in the order in which a record passes through them.
var Rooms = []string{openDir, sealingDir, outboxDir, sentDir, failedDir, rejectedDir, damagedDir}

// File is one file of a spool.
type File struct {
	Room     string // one of Rooms
	Path     string // below the spool's directory
	Bytes    int64
	Modified time.Time
}

// HasRecords tells a file of records from what says something of them, and from what is being written.
func (f File) HasRecords() bool {
	return f.Path != journal && !strings.HasSuffix(f.Path, ReasonSuffix) && !strings.HasPrefix(path.Base(f.Path), ".")
}

// isObject tells objects that are whole, or were, from other files.
func (f File) isObject() bool {
	switch f.Room {
	case outboxDir, sentDir, failedDir:
		return f.HasRecords()
	case sealingDir:
		return isSealed(path.Base(f.Path))
	}
	return strings.HasPrefix(f.Path, asideDir+"/") && !strings.HasSuffix(f.Path, RescuedSuffix)
}

// Key is the key of an object's file, or else the path below the room.
func (f File) Key() string {
	key, _ := f.parse()
	return key
}

// parse gives the key and the digest in the name of an object's file.
func (f File) parse() (key string, sum []byte) {
	file := strings.TrimPrefix(strings.TrimPrefix(f.Path, asideDir+"/"), f.Room+"/")
	if f.Room == sealingDir {
		x, _ := parseSealed(path.Base(f.Path))
		file = x.file
	}
	return parseFile(file)
}

// holdsRejects tells files of rejected records.
func (f File) holdsRejects() bool {
	if f.Room == sealingDir {
		x, ok := parseSealed(path.Base(f.Path))
		return ok && x.room == rejectedDir
	}
	return f.Room == rejectedDir && f.HasRecords()
}

// rejectsOf ends what stands for the rejects in a log, as if they were a file of rejected/: Path is that of the log, and this.
const rejectsOf = ":" + rejectedDir

// Files lists what is in a spool. It only reads and needs no lock: beside a running plugin, files may
// be gone by the time they are read. What logs hold of rejects stands there as files of rejected/.
func Files(dir string) ([]File, error) {
	if _, err := os.Stat(filepath.Join(dir, openDir)); err != nil {
		return nil, fmt.Errorf("want a store_dir of this plugin: %w", err)
	}
	var files, logs []File
	for _, room := range Rooms {
		err := walk(filepath.Join(dir, room), func(path string, st fs.FileInfo) {
			f := File{room, room + "/" + path, st.Size(), st.ModTime()}
			files = append(files, f)
			if room == openDir {
				logs = append(logs, f)
			}
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	for _, f := range logs {
		f.Room, f.Path, f.Bytes = rejectedDir, f.Path+rejectsOf, 0
		if _, _, err := Records(dir, f, func(line []byte) error { f.Bytes += int64(len(line)) + 1; return nil }); err == nil && f.Bytes > 0 {
			files = append(files, f)
		}
	}
	return files, nil
}

// Problem is something in a spool that is not as it should be.
type Problem struct {
	File   string // below the spool's directory
	Offset int64  // in bytes; for a compressed object, in what it holds
	What   string
}

func (p Problem) String() string { return fmt.Sprintf("%s: offset %d: %s", p.File, p.Offset, p.What) }

// Records calls each with every record of a file as it will be, or was, delivered: a line of JSON, valid during the call;
// nil calls nothing. Of a log these are the meter records. What cannot be read is returned, and does not end the reading of what is around it: of a damaged object
// these are the records of its whole segments (see salvage.go). n is the same whatever each is. Files in damaged/ hold none,
// but for objects.
func Records(dir string, f File, each func(line []byte) error) (n int, problems []Problem, err error) {
	log, inLog := strings.CutSuffix(f.Path, rejectsOf)
	file, err := os.Open(filepath.Join(dir, log))
	if err != nil {
		return 0, nil, err
	}
	defer file.Close()
	count := func(line []byte) error {
		n++
		if each != nil {
			return each(line)
		}
		return nil
	}
	switch {
	case f.Room == openDir:
		problems, err = logRecords(dir, file, f, count)
	case inLog: // its problems are told of the log
		_, err = logRecords(dir, file, f, count)
	case f.isObject():
		n, problems, err = objectRecords(file, f, each)
		if n == 0 && err == nil && len(problems) == 0 {
			problems = append(problems, Problem{f.Path, 0, "want at least one record, got none"})
		}
	case f.holdsRejects():
		problems, err = textRecords(file, f, count)
	}
	return n, problems, err
}

// objectRecords reads an object that is whole, or else what is whole of it.
func objectRecords(file *os.File, f File, each func([]byte) error) (n int, problems []Problem, err error) {
	sum := md5.New()
	if _, err := io.Copy(sum, file); err != nil {
		return 0, nil, err
	}
	if _, err = file.Seek(0, io.SeekStart); err != nil {
		return 0, nil, err
	}
	_, want := f.parse()
	switch {
	case want == nil: // of an earlier version
		problems, err = textRecords(file, f, func([]byte) error { return nil })
		if err != nil || len(problems) > 0 {
			break
		}
		if _, err = file.Seek(0, io.SeekStart); err != nil {
			return 0, nil, err
		}
		fallthrough
	case bytes.Equal(sum.Sum(nil), want):
		if each == nil {
			return countRecords(file, f)
		}
		problems, err = textRecords(file, f, func(line []byte) error { n++; return each(line) })
		return n, problems, err
	}
	if err != nil {
		return 0, nil, err
	}
	found, err := salvage(filepath.Clean(file.Name()))
	if err != nil {
		return 0, nil, err
	}
	what := fmt.Sprintf("want the bytes that were sealed, with the MD5 %x, got %x", want, sum.Sum(nil))
	if want == nil {
		what = "want all of it to be readable: " + problems[0].What
	}
	problems = append([]Problem{{f.Path, 0, what}}, found.problems(f.Path)...)
	return found.records, problems, found.each(each)
}

func logRecords(dir string, file *os.File, f File, each func([]byte) error) ([]Problem, error) {
	name, rejects := strings.CutSuffix(path.Base(f.Path), rejectsOf)
	id, err := uuid.Parse(strings.TrimSuffix(name, ".log"))
	if err != nil {
		return []Problem{{f.Path, 0, "not a file of this plugin"}}, nil
	}
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	scan, err := newScanner(file, st.Size())
	if errors.Is(err, errVersion) {
		return []Problem{{f.Path, 0, err.Error()}}, nil
	}
	if err != nil {
		return nil, err
	}
	bound, err := endOf(dir, id)
	if err != nil {
		return nil, err
	}
	var problems []Problem
	for scan.Next() && scan.start <= bound.offset {
		var lines []byte
		if !rejects {
			lines, err = scan.lines(bound)
		} else if scan.start < bound.offset {
			lines = scan.rejects
		}
		if err != nil {
			problems = append(problems, Problem{f.Path, scan.start, err.Error()})
			continue
		}
		for line := range bytes.Lines(lines) {
			if err := each(bytes.TrimSuffix(line, newline)); err != nil {
				return nil, err
			}
		}
	}
	for _, d := range scan.damaged {
		what := "%d bytes that are no whole frame"
		if d.torn {
			what = "%d bytes of a write that is under way or was cut off"
			if time.Since(f.Modified) < 2*time.Second {
				continue // a running plugin writes
			}
		}
		problems = append(problems, Problem{f.Path, d.offset, fmt.Sprintf(what, d.length)})
	}
	return problems, scan.err
}

// endOf tells where a log ends, which a later log may know.
func endOf(dir string, id uuid.UUID) (end, error) {
	bound := end{offset: math.MaxInt64}
	entries, err := os.ReadDir(filepath.Join(dir, openDir))
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, openDir, e.Name()))
		if err != nil {
			continue // sealed meanwhile
		}
		if st, err := f.Stat(); err == nil {
			if scan, err := newScanner(f, st.Size()); err == nil && scan.Next() && scan.header.kind == kindCarry {
				if b, ok := parseCarry(scan.payload).ends[id]; ok {
					bound = b
				}
			}
		}
		_ = f.Close()
	}
	return bound, err
}

// textOf opens the text of an object or a file of rejected records.
func textOf(file *os.File, f File) (*bufio.Reader, error) {
	buffered := bufio.NewReaderSize(file, 1<<20)
	var in io.Reader = buffered
	if magic, _ := buffered.Peek(2); !f.holdsRejects() && bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		gz, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, err
		}
		in = gz
	}
	return bufio.NewReaderSize(in, 1<<20), nil
}

// countRecords counts those of an object that is known to be whole.
func countRecords(file *os.File, f File) (n int, problems []Problem, err error) {
	text, err := textOf(file, f)
	if err != nil {
		return 0, []Problem{{f.Path, 0, err.Error()}}, nil
	}
	if lead, _ := text.Peek(1); len(lead) == 1 && lead[0] == '[' {
		problems, err = arrayRecords(text, f, func([]byte) error { n++; return nil })
		return n, problems, err
	}
	buf := make([]byte, 256<<10)
	for {
		k, err := text.Read(buf)
		n += bytes.Count(buf[:k], newline)
		if err == io.EOF {
			return n, nil, nil
		}
		if err != nil {
			return n, nil, err
		}
	}
}

// textRecords reads an object from its start to the first byte that cannot be decompressed, or a file of rejected records. A
// line that is none does not end the reading.
func textRecords(file *os.File, f File, each func([]byte) error) (problems []Problem, err error) {
	text, err := textOf(file, f)
	if err != nil {
		return []Problem{{f.Path, 0, err.Error()}}, nil
	}
	if lead, _ := text.Peek(1); len(lead) == 1 && lead[0] == '[' {
		return arrayRecords(text, f, each)
	}
	var offset int64
	for {
		line, err := text.ReadBytes('\n')
		switch {
		case len(line) == 0:
		case !isRecord(line):
			problems = append(problems, Problem{f.Path, offset, fmt.Sprintf("want a line of JSON in UTF-8, got %.60q", line)})
		default:
			if err := each(bytes.TrimSuffix(line, newline)); err != nil {
				return nil, err
			}
		}
		offset += int64(len(line))
		if err == io.EOF {
			return problems, nil
		}
		if err != nil {
			return append(problems, Problem{f.Path, offset, err.Error()}), nil
		}
	}
}

// isRecord tells if a line, with its line feed, is one.
func isRecord(line []byte) bool {
	return line[len(line)-1] == '\n' && json.Valid(line) && utf8.Valid(line)
}

func arrayRecords(text io.Reader, f File, each func([]byte) error) ([]Problem, error) {
	dec := json.NewDecoder(text)
	broken := func(err error) ([]Problem, error) { return []Problem{{f.Path, dec.InputOffset(), err.Error()}}, nil }
	if _, err := dec.Token(); err != nil {
		return broken(err)
	}
	for dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return broken(err)
		}
		if err := each(raw); err != nil {
			return nil, err
		}
	}
	if _, err := dec.Token(); err != nil {
		return broken(err)
	}
	if _, err := text.Read(make([]byte, 1)); err != io.EOF { // gzip has compared its checksum by then
		return broken(fmt.Errorf("want nothing behind the array, got more (%v)", err))
	}
	return nil, nil
}
