package ledger

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/cmd/meterctl/store"
	"out_amberflo/plugin/disk"
)

// Bill is what records come to, by columns.
type Bill struct {
	columns      []column
	Since, Until time.Time // the first instant of it, and that after it; zero: no bound

	rows     *Rows
	meters   map[string]*Row
	from     Sums[string]   // by directory, "" of a user's file
	objects  map[string]int // likewise
	outside  int64          // records of other times
	others   int64          // lines that are no meter records
	damaged  int            // files
	rejected []*Rejects
	found    []store.Found
	present  map[string]bool // the dimensions that a record has, of columns
	key      []byte
}

// column is one of those by which a bill is parted.
type column struct {
	name      string
	layout    string // of a time
	dimension bool
}

var timeColumns = map[string]string{"month": "2006-01", "day": time.DateOnly, "hour": "2006-01-02T15:00:00Z"}

// SetColumns says by what it is parted: names of columns, as meterctl bill explains them.
func (b *Bill) SetColumns(by []string) error {
	for _, name := range by {
		dimension, marked := strings.CutPrefix(name, "dimensions.")
		c := column{name: name, layout: timeColumns[name]}
		if marked {
			c.name = dimension
		}
		c.dimension = marked || c.layout == "" && name != "customer" && name != "meter"
		if c.name == "" || slices.Contains(b.columns, c) {
			return fmt.Errorf("want --by with customer, meter, month, day, hour or names of dimensions, each once, got %q", strings.Join(by, ","))
		}
		b.columns = append(b.columns, c)
	}
	if meter := (column{name: "meter"}); !slices.Contains(b.columns, meter) {
		b.columns = append(b.columns, meter)
	}
	return nil
}

// NewBill returns an empty bill. The caller closes it.
func NewBill() *Bill { return &Bill{rows: NewRows()} }

// Close lets go of what it keeps on disk.
func (b *Bill) Close() { b.rows.Close() }

// Read adds up what a ledger reads.
func (b *Bill) Read(l *Ledger) error {
	l.Begin, l.Record, l.End = b.begin, b.add, b.end
	if err := l.Read(); err != nil || len(l.Paths) > 0 {
		return err
	}
	if l.Missed > 0 {
		b.found = append(b.found, store.Found{File: l.Dir, What: "want files that stay while they are read, got some that move each time: ask again"})
	}
	b.damaged = len(slices.DeleteFunc(store.In(l.Files, disk.Damaged), store.IsRescued))
	var err error
	b.rejected, _, _, err = ReadRejects(l.Dir, l.Files, l.Notes)
	return err
}

// Found are the problems.
func (b *Bill) Found() []store.Found { return b.found }

func (b *Bill) begin() {
	b.rows.Close()
	b.meters, b.from, b.objects = map[string]*Row{}, Sums[string]{}, map[string]int{}
	b.outside, b.others, b.found, b.present = 0, 0, nil, map[string]bool{}
}

// Absent are the columns that are a dimension which no record has: a name may be mistyped.
func (b *Bill) Absent() (names []string) {
	for _, c := range b.columns {
		if c.dimension && len(b.meters) > 0 && !b.present[c.name] {
			names = append(names, c.name)
		}
	}
	return names
}

func (b *Bill) add(of *Source, r *Record) error {
	at := time.UnixMilli(r.Millis).UTC()
	if at.Before(b.Since) || !b.Until.IsZero() && !at.Before(b.Until) {
		b.outside += r.Records
		return nil
	}
	b.key = b.key[:0]
	for _, c := range b.columns {
		switch {
		case c.layout != "":
			var text [32]byte
			b.key = appendPart(b.key, at.AppendFormat(text[:0], c.layout))
		case c.dimension:
			value := r.dimension(c.name)
			if value != nil && !b.present[c.name] {
				b.present[c.name] = true
			}
			b.key = appendPart(b.key, value)
		case c.name == "meter":
			b.key = appendPart(b.key, r.Meter)
		default:
			b.key = appendPart(b.key, r.Customer)
		}
	}
	if b.meters[string(r.Meter)] == nil {
		b.meters[string(r.Meter)] = &Row{}
	}
	in, err := b.rows.Of(b.key)
	if err != nil {
		return err
	}
	for _, in := range []*Row{in, b.meters[string(r.Meter)]} {
		if of.Directory == disk.Failed {
			in.Failed.Add(r)
		} else {
			in.Billed.Add(r)
		}
	}
	b.from.Add(of.Directory, r)
	return nil
}

// end takes note of a file.
func (b *Bill) end(of *Source) error {
	b.objects[of.Directory]++
	b.found = append(b.found, of.Problems...)
	if of.Unusable > 0 {
		b.others += of.Unusable
		b.found = append(b.found, store.Found{File: of.Name, What: fmt.Sprintf("%s no meter record and not in the bill: %s", show.Number(int(of.Unusable), "line", " is", " are"), of.Unlike)})
	}
	return nil
}

// appendPart appends a part of a key, so that keys are in the order of their parts; nil is before all others.
func appendPart(key, part []byte) []byte {
	if part == nil {
		return append(key, 0, 0)
	}
	key = append(key, 1)
	for _, c := range part {
		if key = append(key, c); c == 0 {
			key = append(key, 1)
		}
	}
	return append(key, 0, 0)
}

// cutPart takes the first part off a key.
func cutPart(key string) (part *string, rest string) {
	part = new(string)
	if key[0] == 0 {
		return nil, key[2:]
	}
	for i := 1; ; i++ {
		if key[i] == 0 && key[i+1] == 0 {
			*part = strings.ReplaceAll(key[1:i], "\x00\x01", "\x00")
			return part, key[i+2:]
		} else if key[i] == 0 {
			i++
		}
	}
}

// dimension is the value of one, nil where the record has none.
func (r *Record) dimension(name string) (value []byte) {
	var d Reader
	Members(r.Dimensions, func(key, v []byte) {
		if string(d.text(key)) != name {
			return
		}
		if value = d.text(v); value == nil {
			value = v // not a text
		}
	})
	return value
}

// Table shows the bill to people: names to the left, numbers to the right.
func (b *Bill) Table(w io.Writer) error {
	anyFailed := b.from[disk.Failed] != nil
	names := len(b.columns)
	head := []string{}
	for _, c := range b.columns {
		head = append(head, strings.ToUpper(show.Plain(c.name))+map[bool]string{true: " (UTC)"}[c.layout != ""])
	}
	head = append(head, "EVENTS", "RECORDS", "USAGE")
	if anyFailed {
		head = append(head, "FAILED RECORDS", "FAILED USAGE")
	}
	numbers := func(r *Row) []string {
		cells := []string{show.Count(int(r.Billed.Events)), show.Count(int(r.Billed.Records)), show.Thousands(ValueText(r.Billed.Value))}
		if anyFailed {
			cells = append(cells, show.Count(int(r.Failed.Records)), show.Thousands(ValueText(r.Failed.Value)))
		}
		return cells
	}
	n := 0
	all := func(do func(cells []string) error) error {
		n = 0
		if err := do(head); err != nil {
			return err
		}
		if err := b.rows.Each(func(key string, r *Row) error {
			n++
			cells := make([]string, 0, len(head))
			for _, c := range b.columns {
				var part *string
				part, key = cutPart(key)
				switch {
				case part == nil:
					cells = append(cells, "–")
				case c.layout == timeColumns["hour"]:
					cells = append(cells, (*part)[:10]+" "+(*part)[11:16])
				default:
					cells = append(cells, show.Short(*part))
				}
			}
			return do(append(cells, numbers(r)...))
		}); err != nil || n == len(b.meters) {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(b.meters)) {
			cells := make([]string, names, len(head))
			cells[0] = "total"
			i := slices.Index(b.columns, column{name: "meter"})
			cells[i] = strings.TrimSpace(cells[i] + " " + show.Short(name))
			if err := do(append(cells, numbers(b.meters[name])...)); err != nil {
				return err
			}
		}
		return nil
	}
	widths := make([]int, len(head))
	if err := all(func(cells []string) error {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
		return nil
	}); err != nil {
		return err
	}
	return all(func(cells []string) error {
		var line strings.Builder
		for i, cell := range cells {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i < names {
				cell += space
			} else {
				cell = space + cell
			}
			if i > 0 {
				line.WriteString("  ")
			}
			line.WriteString(cell)
		}
		_, err := fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
		return err
	})
}

// Beside says what the bill was made of, and what is not in it.
func (b *Bill) Beside(w io.Writer) error {
	var of []string
	for _, name := range append([]string{""}, disk.Dirs...) {
		if s := b.from[name]; s != nil && name != disk.Failed {
			of = append(of, strings.TrimSpace(fmt.Sprintf("%s %s records in %s", name, show.Count(int(s.Records)), show.Number(b.objects[name], "file"))))
		}
	}
	text := "\nin the bill: " + cmp.Or(strings.Join(of, ", "), "no record") + "\n"
	var not []string
	if s := b.from[disk.Failed]; s != nil {
		not = append(not, fmt.Sprintf("%s that Amberflo did not take (failed/)", show.Number(int(s.Records), "record")))
	}
	if len(b.rejected) > 0 {
		n := 0
		var reasons []string
		for _, r := range b.rejected {
			n += r.Records
			reasons = append(reasons, fmt.Sprintf("%s %d", show.Cut(r.Reason, 40), r.Records))
		}
		not = append(not, fmt.Sprintf("%s of the log that could not be metered, of any time (rejected/: %s)", show.Number(n, "record"), strings.Join(reasons, ", ")))
	}
	if b.damaged > 0 {
		not = append(not, show.Number(b.damaged, "file")+" that the disk has damaged, or Fluent Bit (damaged/)")
	}
	if b.outside > 0 {
		not = append(not, show.Number(int(b.outside), "record")+" of other days")
	}
	if b.others > 0 {
		not = append(not, show.Number(int(b.others), "line", " that is no meter record", " that are no meter records"))
	}
	if len(not) > 0 {
		text += "not in it:   " + strings.Join(not, ", ") + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// billed is a sum, in JSON.
type billed struct {
	Events  int64  `json:"events"`
	Records int64  `json:"records"`
	Usage   string `json:"usage"` // a text: a number of JSON is a double to most readers
}

func inJSONSum(s *Sum) billed { return billed{s.Events, s.Records, ValueText(s.Value)} }

// billedRow is a row of a bill, in JSON; without columns it is the sum of a meter.
type billedRow struct {
	Customer   *string            `json:"customer,omitempty"`
	Meter      *string            `json:"meter"`
	Month      *string            `json:"month,omitempty"`
	Day        *string            `json:"day,omitempty"`
	Hour       *string            `json:"hour,omitempty"`
	Dimensions map[string]*string `json:"dimensions,omitempty"`
	billed
	Failed *billed `json:"failed,omitempty"`
}

func newBilledRow(r *Row) *billedRow {
	line := &billedRow{billed: inJSONSum(&r.Billed)}
	if r.Failed.Events > 0 {
		failed := inJSONSum(&r.Failed)
		line.Failed = &failed
	}
	return line
}

// JSON writes the bill for programs.
func (b *Bill) JSON(w io.Writer, dir string) error {
	if _, err := io.WriteString(w, "{\"rows\": ["); err != nil {
		return err
	}
	array := &show.Array{W: w}
	if err := b.rows.Each(func(key string, r *Row) error {
		line := newBilledRow(r)
		for _, c := range b.columns {
			var part *string
			part, key = cutPart(key)
			switch {
			case c.dimension:
				if line.Dimensions == nil {
					line.Dimensions = map[string]*string{}
				}
				line.Dimensions[c.name] = part
			default:
				*map[string]**string{"customer": &line.Customer, "meter": &line.Meter, "month": &line.Month, "day": &line.Day, "hour": &line.Hour}[c.name] = part
			}
		}
		text, err := json.Marshal(line)
		if err == nil {
			_, err = array.Write(text)
		}
		return err
	}); err != nil {
		return err
	}
	total := []*billedRow{}
	for _, name := range slices.Sorted(maps.Keys(b.meters)) {
		line := newBilledRow(b.meters[name])
		line.Meter = &name
		total = append(total, line)
	}
	reasons := map[string]int{}
	for _, r := range b.rejected {
		reasons[r.Reason] = r.Records
	}
	from := map[string]billedFrom{}
	for name, n := range b.objects {
		from[cmp.Or(name, "files")] = billedFrom{n, cmp.Or(b.from[name], &Sum{}).Events, cmp.Or(b.from[name], &Sum{}).Records}
	}
	rest, err := json.Marshal(struct {
		Totals   []*billedRow          `json:"totals"`
		From     map[string]billedFrom `json:"from"`     // by directory
		Rejected map[string]int        `json:"rejected"` // records, by reason
		Damaged  int                   `json:"damaged_files"`
		Outside  int64                 `json:"records_of_other_days"`
		Others   int64                 `json:"lines_that_are_no_meter_records"`
		Problems []store.Found         `json:"problems"`
		StoreDir string                `json:"store_dir,omitempty"`
	}{total, from, reasons, b.damaged, b.outside, b.others, append([]store.Found{}, b.found...), dir})
	if err == nil {
		_, err = fmt.Fprintf(w, "],\n%s\n", rest[1:])
	}
	return err
}

// billedFrom is what was read in one directory, in JSON.
type billedFrom struct {
	Files   int   `json:"files"`
	Events  int64 `json:"events"`
	Records int64 `json:"records"`
}
