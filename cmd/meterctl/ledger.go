package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"

	"out_amberflo/plugin/decimal"
)

// meterRecord is a record as Amberflo gets it. It is valid during a call; its strings stay.
type meterRecord struct {
	Customer, Meter string
	Value           decimal.Number
	Millis          int64  // since 1970
	Records         int64  // that were added up to this one, 1 where nothing says so
	Dimensions      []byte // an object in JSON, nil where there is none
	Line            []byte
}

// sum is what some records come to.
type sum struct {
	Value           decimal.Number
	Events, Records int64 // lines, and records that they stand for
}

func (s *sum) add(r *meterRecord) {
	s.Value = s.Value.Add(r.Value)
	s.Events++
	s.Records += r.Records
}

func (s *sum) addSum(of *sum) {
	s.Value = s.Value.Add(of.Value)
	s.Events += of.Events
	s.Records += of.Records
}

// sums adds records up exactly, by any key.
type sums[K comparable] map[K]*sum

func (s sums[K]) add(key K, r *meterRecord) {
	of := s[key]
	if of == nil {
		of = &sum{}
		s[key] = of
	}
	of.add(r)
}

// valueText is a number as JSON writes it.
func valueText(n decimal.Number) string {
	text, ok := n.Append(nil)
	if !ok {
		return "more than 100 digits"
	}
	return string(text)
}

// source is what a record was read from: a file of a spool, or one of the user's.
type source struct {
	Name, Key, Directory string // Directory is "" of a user's file
	Bytes                int64
	Since                time.Time
	Events, Records      int64 // so far
	Unusable             int64 // lines that are no meter record, so far
	Reason               string
	Problems             []foundProblem
}

// ledger reads the meter records of a spool, or of files: compressed or not, lines or a JSON array.
type ledger struct {
	app   *app
	at    *spoolPlace
	files []spoolFile // of the spool
	paths []string    // of the user's files, instead; - is standard input
	what  string      // for progress

	// record is called for each meter record, end after the last of each source. Both may be nil.
	record func(of *source, r *meterRecord) error
	end    func(of *source) error

	// missed are logs that were sealed between the listing and the reading: nobody can say what has become of them.
	missed int

	reader recordReader
}

// read calls record and end for all that there is. What lies in a log still, and in what is being made of it, comes once.
func (l *ledger) read() error {
	if len(l.paths) > 0 {
		for _, path := range l.paths {
			if err := l.readPath(path); err != nil {
				return err
			}
		}
		return nil
	}
	var total int64
	for _, f := range l.files {
		if l.isRead(f) {
			total += f.Bytes
		}
	}
	p := l.app.progress(l.what, total)
	defer p.end()
	for _, f := range l.files {
		if !l.isRead(f) {
			continue
		}
		gone, err := l.readFile(f, p)
		if p.add(f.Bytes); err != nil {
			return err
		}
		if !gone {
			continue
		}
		if directoryOf(f) == openDir {
			l.missed++
		} else if now, found := l.moved(f); found {
			if _, err := l.readFile(now, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// readFile reads a file of the spool. gone: it is not there any more, and nothing of it was counted.
func (l *ledger) readFile(f spoolFile, p *progress) (gone bool, err error) {
	of := &source{Name: f.Path, Key: f.Key(), Directory: directoryOf(f), Bytes: f.Bytes, Since: began(f)}
	_, problems, gone, err := readRecords(l.at.dir, f, func(line []byte) error {
		p.tick()
		return l.line(of, line)
	})
	if gone || err != nil {
		return gone, err
	}
	for _, problem := range problems {
		of.Problems = append(of.Problems, foundProblem(problem))
	}
	if of.Directory == failedDir {
		of.Reason = reasonOf(l.at.dir, f)
	}
	if l.end == nil {
		return false, nil
	}
	return false, l.end(of)
}

// moved finds an object in the directory to which it has gone since the spool was listed. One that is nowhere was taken for good.
func (l *ledger) moved(f spoolFile) (spoolFile, bool) {
	files, err := spoolFiles(l.at)
	if err != nil {
		return spoolFile{}, false
	}
	for _, now := range files {
		listed := func(of spoolFile) bool { return of.Path == now.Path }
		if now.Key() == f.Key() && now.Path != f.Path && l.isRead(now) && !slices.ContainsFunc(l.files, listed) {
			return now, true
		}
	}
	return spoolFile{}, false
}

// isRead tells files of meter records from others.
func (l *ledger) isRead(f spoolFile) bool {
	switch directoryOf(f) {
	case openDir, outboxDir, sentDir, failedDir:
		return f.HasRecords()
	case sealingDir:
		return f.HasRecords() && !countsTwice(f, l.files)
	}
	return false
}

func (l *ledger) line(of *source, line []byte) error {
	r, ok := l.reader.parse(line)
	if !ok {
		of.Unusable++
		return nil
	}
	of.Events++
	of.Records += r.Records
	if l.record == nil {
		return nil
	}
	return l.record(of, r)
}

// readPath reads a file of the user's.
func (l *ledger) readPath(path string) error {
	of := &source{Name: path}
	in := l.app.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("want a file of meter records: %w", err)
		}
		defer f.Close()
		if st, err := f.Stat(); err == nil {
			of.Bytes, of.Since = st.Size(), st.ModTime()
		}
		in = f
	}
	p := l.app.progress(l.what, of.Bytes)
	defer p.end()
	if err := eachLine(&counted{in, p}, func(line []byte) error {
		p.tick()
		if !json.Valid(line) {
			of.Unusable++
			return nil
		}
		return l.line(of, line)
	}); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if l.end != nil {
		return l.end(of)
	}
	return nil
}

// counted tells how much of a file was read.
type counted struct {
	io.Reader
	*progress
}

// Read implements [io.Reader].
func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.add(int64(n))
	return n, err
}

// eachLine calls do for each line that is not empty, or for each item of a JSON array.
func eachLine(in io.Reader, do func(line []byte) error) error {
	text := bufio.NewReaderSize(in, 1<<20)
	if magic, _ := text.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		gz, err := gzip.NewReader(text)
		if err != nil {
			return err
		}
		text = bufio.NewReaderSize(gz, 1<<20)
	}
	if lead, _ := text.Peek(1); string(lead) == "[" {
		dec := json.NewDecoder(text)
		if _, err := dec.Token(); err != nil {
			return err
		}
		for dec.More() {
			var raw json.RawMessage
			if err := errors.Join(dec.Decode(&raw), do(raw)); err != nil {
				return err
			}
		}
		_, err := dec.Token()
		return err
	}
	for {
		line, err := text.ReadBytes('\n')
		if line = bytes.TrimSpace(line); len(line) > 0 {
			if err := do(line); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// recordReader reads records; it keeps each name once.
type recordReader struct {
	names map[string]string
	r     meterRecord
}

// parse reads a line of valid JSON. It is false if that is no meter record; the result is valid until the next call.
func (d *recordReader) parse(line []byte) (*meterRecord, bool) {
	d.r = meterRecord{Line: line, Records: 1}
	var value []byte
	ok := members(line, func(key, v []byte) {
		switch string(key) {
		case `"customerId"`:
			d.r.Customer = d.name(v)
		case `"meterApiName"`:
			d.r.Meter = d.name(v)
		case `"meterValue"`:
			value = v
		case `"meterTimeInMillis"`:
			d.r.Millis, _ = strconv.ParseInt(string(v), 10, 64)
		case `"records"`:
			if n, err := strconv.ParseInt(string(v), 10, 64); err == nil && n > 0 {
				d.r.Records = n
			}
		case `"dimensions"`:
			d.r.Dimensions = v
		}
	})
	if !ok || d.r.Customer == "" || d.r.Meter == "" {
		return nil, false
	}
	d.r.Value, ok = decimal.Parse(value)
	return &d.r, ok
}

// name gives the value of a JSON string, "" of anything else.
func (d *recordReader) name(quoted []byte) string {
	if name, seen := d.names[string(quoted)]; seen {
		return name
	}
	var name string
	if json.Unmarshal(quoted, &name) != nil {
		return ""
	}
	if d.names == nil {
		d.names = map[string]string{}
	}
	d.names[string(quoted)] = name
	return name
}

// members calls each with the members of an object, in a line of valid JSON. It is false if the line is another value.
func members(line []byte, each func(key, value []byte)) bool {
	i := space(line, 0)
	if i >= len(line) || line[i] != '{' {
		return false
	}
	for i = space(line, i+1); i < len(line) && line[i] == '"'; {
		end := endOfValue(line, i)
		key := line[i:end]
		i = space(line, end)
		if i >= len(line) || line[i] != ':' {
			return false
		}
		i = space(line, i+1)
		end = endOfValue(line, i)
		each(key, line[i:end])
		if i = space(line, end); i < len(line) && line[i] == ',' {
			i = space(line, i+1)
		}
	}
	return i < len(line) && line[i] == '}'
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// endOfValue is where a value ends that begins at i.
func endOfValue(b []byte, i int) int {
	depth := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return min(i+1, len(b))
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return i
			}
			if depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}
