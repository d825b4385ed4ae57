// Package ledger reads meter records, of a spool or of files, and adds them up exactly.
package ledger

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/zeebo/xxh3"

	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/cmd/meterctl/store"
	"out_amberflo/plugin/decimal"
	"out_amberflo/plugin/disk"
)

// Record is a record as Amberflo gets it. It and its slices are valid during a call.
type Record struct {
	Customer, Meter []byte
	Value           decimal.Number
	Millis          int64  // since 1970
	Records         int64  // that were added up to this one, 1 where nothing says so
	Dimensions      []byte // an object in JSON, nil where there is none
	Line            []byte
}

// Sum is what some records come to.
type Sum struct {
	Value           decimal.Number
	Events, Records int64 // lines, and records that they stand for
}

func (s *Sum) Add(r *Record) {
	s.Value = s.Value.Add(r.Value)
	s.Events++
	s.Records += r.Records
}

func (s *Sum) AddSum(of *Sum) {
	s.Value = s.Value.Add(of.Value)
	s.Events += of.Events
	s.Records += of.Records
}

// Sums adds records up exactly, by any key.
type Sums[K comparable] map[K]*Sum

func (s Sums[K]) Add(key K, r *Record) {
	of := s[key]
	if of == nil {
		of = &Sum{}
		s[key] = of
	}
	of.Add(r)
}

// ValueText is a number as JSON writes it, without an exponent, whatever it takes.
func ValueText(n decimal.Number) string {
	if text, ok := n.Append(nil); ok {
		return string(text)
	}
	text, one := []byte(nil), int64(1)
	if n.Sign() < 0 {
		text, one = append(text, '-'), -1
	}
	// More than package decimal writes: digit by digit, from the first on.
	at := 0
	for n.Mul(one, 0).Cmp(decimal.Of(1, at+1)) >= 0 {
		at++
	}
	for ; at >= 0 || n.Sign() != 0; at-- {
		if at == -1 {
			text = append(text, '.')
		}
		digit, less := byte('0'), decimal.Of(-one, at)
		for ; n.Mul(one, 0).Cmp(decimal.Of(1, at)) >= 0; digit++ {
			n = n.Add(less)
		}
		text = append(text, digit)
	}
	return string(text)
}

// Source is what a record was read from: a file of a spool, or one of the user's.
type Source struct {
	Name, Key, Directory string // Directory is "" of a user's file
	Bytes                int64
	Since                time.Time
	Events, Records      int64  // so far
	Unusable             int64  // lines that are no meter record, so far
	Unlike               string // what the first of them lacks
	Reason               string
	Problems             []store.Found
}

// Ledger reads the meter records of a spool, or of files: compressed or not, lines or a JSON array.
type Ledger struct {
	// Dir is that of a spool, whose files List lists, also again while it is read.
	Dir  string
	List func() ([]store.File, error)
	// Paths are the user's files, or directories of them, instead; - is In.
	Paths []string
	In    io.Reader
	Notes io.Writer // for progress
	What  string    // likewise

	// Begin is called before the first record, again where the reading begins anew. Record is called for each meter record, End
	// after the last of each source. Any of them may be nil.
	Begin  func()
	Record func(of *Source, r *Record) error
	End    func(of *Source) error

	// Missed are files of which nobody can say what has become of them since the listing, in the last of some readings.
	Missed int
	Files  []store.File // of the spool, as they were listed last

	contents map[xxh3.Uint128]string
	reader   Reader
}

// tries are how often a spool is read in which files move from where they were listed.
const tries = 5

// Read calls record and end for all that there is. What lies in a log still, and in what is being made of it, comes once, and so
// does what moves meanwhile.
func (l *Ledger) Read() (err error) {
	if len(l.Paths) > 0 {
		return l.readPaths()
	}
	for try := 1; ; try++ {
		if l.Files, err = l.List(); err != nil {
			return err
		}
		l.start()
		if err := l.readSpool(try < tries); err != nil || l.Missed == 0 || try == tries {
			return err
		}
	}
}

func (l *Ledger) start() {
	l.Missed = 0
	if l.Begin != nil {
		l.Begin()
	}
}

// readSpool reads all files. With anew, it ends where one is missed: open logs, which move most, are read first.
func (l *Ledger) readSpool(anew bool) error {
	var total int64
	for _, f := range l.Files {
		if l.isRead(f) {
			total += f.Bytes
		}
	}
	p := show.NewProgress(l.Notes, l.What, total)
	defer p.End()
	for _, f := range l.Files {
		if !l.isRead(f) {
			continue
		}
		gone, err := l.readFile(f, p)
		if p.Add(f.Bytes); err != nil {
			return err
		}
		if !gone {
			continue
		}
		now, found := store.File{}, false
		if f.Dir != disk.Open {
			now, found = l.moved(f)
		}
		switch {
		case found:
			if _, err := l.readFile(now, p); err != nil {
				return err
			}
		case f.Dir == disk.Open || f.Dir == disk.Failed: // sealed, or sent again: under a name that is not known
			if l.Missed++; anew {
				return nil
			}
		}
	}
	return nil
}

// readFile reads a file of the spool. gone: it is not there any more, and nothing of it was counted.
func (l *Ledger) readFile(f store.File, p *show.Progress) (gone bool, err error) {
	of := &Source{Name: f.Path, Key: f.Key(), Directory: f.Dir, Bytes: f.Bytes, Since: store.Began(f)}
	_, problems, gone, err := store.Records(l.Dir, f, func(line []byte) error {
		p.Tick()
		return l.line(of, line)
	})
	if gone || err != nil {
		return gone, err
	}
	for _, problem := range problems {
		of.Problems = append(of.Problems, store.Found(problem))
	}
	if of.Directory == disk.Failed {
		of.Reason = store.ReasonOf(l.Dir, f)
	}
	if l.End == nil {
		return false, nil
	}
	return false, l.End(of)
}

// moved finds an object in the directory to which it has gone since the spool was listed. One that is nowhere was taken for good.
func (l *Ledger) moved(f store.File) (store.File, bool) {
	files, err := l.List()
	if err != nil {
		return store.File{}, false
	}
	for _, now := range files {
		listed := func(of store.File) bool { return of.Path == now.Path }
		if now.Key() == f.Key() && now.Path != f.Path && l.isRead(now) && !slices.ContainsFunc(l.Files, listed) {
			return now, true
		}
	}
	return store.File{}, false
}

// isRead tells files of meter records from others.
func (l *Ledger) isRead(f store.File) bool {
	in, _ := f.Place()
	return f.HasRecords() && slices.Contains([]string{disk.Open, disk.Outbox, disk.Sent, disk.Failed}, in) && store.Counts(f, l.Files)
}

func (l *Ledger) line(of *Source, line []byte) error {
	r, unlike := l.reader.Parse(line)
	if unlike != "" {
		if of.Unusable++; of.Unlike == "" {
			of.Unlike = unlike
		}
		return nil
	}
	of.Events++
	of.Records += r.Records
	if l.Record == nil {
		return nil
	}
	return l.Record(of, r)
}

// readPaths reads the user's files, and those in directories.
func (l *Ledger) readPaths() error {
	l.start()
	l.contents = map[xxh3.Uint128]string{}
	for _, path := range l.Paths {
		if st, err := os.Stat(path); err != nil || !st.IsDir() {
			if err := l.readPath(path); err != nil {
				return err
			}
			continue
		}
		if err := filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			return l.readPath(path)
		}); err != nil {
			return err
		}
	}
	return nil
}

// readPath reads a file of the user's.
func (l *Ledger) readPath(path string) error {
	of := &Source{Name: path}
	in := l.In
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
	p := show.NewProgress(l.Notes, l.What, of.Bytes)
	defer p.End()
	content := xxh3.New()
	var own error // that of record
	err := eachLine(&counted{in, p}, func(line []byte) error {
		p.Tick()
		_, _ = content.Write(line)
		_, _ = content.Write([]byte{'\n'})
		if !json.Valid(line) {
			of.Unusable++
			of.Unlike = cmp.Or(of.Unlike, "want a meter record in JSON, got something else")
			return nil
		}
		own = l.line(of, line)
		return own
	})
	if own != nil {
		return own
	}
	if err != nil {
		of.Problems = append(of.Problems, store.Found{File: path, What: "want a file of meter records that can be read to its end: " + err.Error()})
	}
	if before, again := l.contents[content.Sum128()]; again && of.Events > 0 {
		of.Problems = append(of.Problems, store.Found{File: path, What: "want each object once, got the records of " + before + " again: they count twice"})
	}
	l.contents[content.Sum128()] = path
	if l.End != nil {
		return l.End(of)
	}
	return nil
}

// counted tells how much of a file was read.
type counted struct {
	io.Reader
	*show.Progress
}

// Read implements [io.Reader].
func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.Add(int64(n))
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
		if _, err := dec.Token(); err != nil {
			return err
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return errors.New("want nothing after the array, got more")
		}
		return nil
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

// Reader reads records.
type Reader struct {
	r       Record
	unquote []byte // what names with escapes are written to
}

// Parse reads a line of valid JSON. If that is no meter record, unlike says why; the record is valid until the next call.
func (d *Reader) Parse(line []byte) (r *Record, unlike string) {
	d.r = Record{Line: line, Records: 1}
	d.unquote = d.unquote[:0]
	var value []byte
	hasTime := false
	if !Members(line, func(key, v []byte) {
		switch string(key) {
		case `"customerId"`:
			d.r.Customer = d.text(v)
		case `"meterApiName"`:
			d.r.Meter = d.text(v)
		case `"meterValue"`:
			value = v
		case `"meterTimeInMillis"`:
			var err error
			d.r.Millis, err = strconv.ParseInt(string(v), 10, 64)
			hasTime = err == nil
		case `"records"`:
			if n, err := strconv.ParseInt(string(v), 10, 64); err == nil && n > 0 {
				d.r.Records = n
			}
		case `"dimensions"`:
			d.r.Dimensions = v
		}
	}) {
		return nil, "want an object in JSON, got another value"
	}
	var ok bool
	d.r.Value, ok = decimal.Parse(value)
	switch {
	case len(d.r.Customer) == 0:
		return nil, "want a string in customerId, got none"
	case len(d.r.Meter) == 0:
		return nil, "want a string in meterApiName, got none"
	case !hasTime:
		return nil, "want whole milliseconds since 1970 in meterTimeInMillis, got none"
	case len(value) == 0:
		return nil, "want a number in meterValue, got none"
	case !ok:
		return nil, fmt.Sprintf("want a number of at most %d digits in meterValue, got %.60s", decimal.MaxDigits, value)
	}
	return &d.r, ""
}

// Members that say which records an event stands for.
var ofEvents = []string{"records", "firstMillis", "lastMillis"}

// Incoherent says what is wrong with an event that stands for several records, "" of a line that is right or says nothing of
// them.
func (d *Reader) Incoherent(line []byte) string {
	if !slices.ContainsFunc(ofEvents, func(name string) bool { return bytes.Contains(line, []byte(`"`+name+`"`)) }) {
		return ""
	}
	r, unlike := d.Parse(line)
	if unlike != "" {
		return "" // records of the user's own, which may have such fields
	}
	var of [3]int64
	there, whole := 0, 0
	Members(line, func(key, v []byte) {
		for i, name := range ofEvents {
			if string(d.text(key)) == name {
				there++
				if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
					of[i] = n
					whole++
				}
			}
		}
	})
	records, first, last := of[0], of[1], of[2]
	hour := time.Hour.Milliseconds()
	switch {
	case there == 0: // the names stand in a text
		return ""
	case whole != len(of):
		return fmt.Sprintf("want whole numbers in records, firstMillis and lastMillis, got %d such", whole)
	case records < 1:
		return fmt.Sprintf("want records of at least 1, got %d", records)
	case first > r.Millis || r.Millis > last:
		return fmt.Sprintf("want meterTimeInMillis from firstMillis to lastMillis, got %d, and %d to %d", r.Millis, first, last)
	case first/hour != last/hour:
		return fmt.Sprintf("want firstMillis and lastMillis in one hour, got %d and %d", first, last)
	}
	return ""
}

// text gives the value of a JSON string, nil of anything else. It is valid until the next call of Parse.
func (d *Reader) text(quoted []byte) []byte {
	if len(quoted) < 2 || quoted[0] != '"' {
		return nil
	}
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var text string
	if json.Unmarshal(quoted, &text) != nil {
		return nil
	}
	from := len(d.unquote)
	d.unquote = append(d.unquote, text...)
	return d.unquote[from:]
}

// Members calls each with the members of an object, in a line of valid JSON. It is false if the line is another value.
func Members(line []byte, each func(key, value []byte)) bool {
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
