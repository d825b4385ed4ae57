package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"out_amberflo/cmd/meterctl/show"
)

// bill adds up what was metered.
func (a *app) bill() *cobra.Command {
	var at place
	b := &bill{rows: newRows()}
	var by []string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "bill [flags] [FILE...]", Short: "what was metered, added up exactly: to hold against an invoice", GroupID: looks, DisableFlagsInUseLine: true,
		Long: `bill adds up the meter records that lie in open/, sealing/, outbox/, sent/ and failed/ of a spool: how many events there are,
how many records these stand for, and their usage, in exact decimals. What Amberflo did not take, and what was rejected, stands
beside it. With FILE it adds up files instead, such as objects copied back from the bucket: lines or a JSON array, compressed or
not, - for standard input; of a directory, all files in it.

--by names columns, the first the one by which rows are in order: customer, meter, month, day, hour (in UTC), or the name of a
dimension; dimensions.day is a dimension of that name. The usage of two meters is no sum: meter is always among them.`,
		Example:     "  meterctl bill -c fluent-bit.conf --since 2026-11-01 --until 2026-11-30\n  meterctl bill --by meter,day,region --json copies/ | jq .rows",
		Annotations: looked("a file is damaged, a line is no meter record, or a file was given twice"),
		RunE: func(_ *cobra.Command, files []string) error {
			if err := b.setColumns(by); err != nil {
				return err
			}
			if !b.since.IsZero() && !b.until.IsZero() && !b.since.Before(b.until) {
				return errors.New("want --until on the day of --since or later, got an earlier one")
			}
			return a.addUp(&at, files, b, asJSON)
		},
	}
	at.flags(cmd)
	cmd.Flags().StringSliceVar(&by, "by", []string{"customer", "meter"}, "`COLUMNS`, with commas between them")
	cmd.Flags().Func("since", "leave out records of times before that `DAY` in UTC, YYYY-MM-DD", func(v string) (err error) { b.since, err = day(v); return })
	cmd.Flags().Func("until", "leave out records of times after that `DAY`", func(v string) (err error) {
		b.until, err = day(v)
		b.until = b.until.AddDate(0, 0, 1)
		return
	})
	jsonFlag(cmd, &asJSON)
	return cmd
}

func day(v string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, v)
	if err != nil {
		err = errors.New("want a day such as 2026-11-20")
	}
	return t, err
}

// bill is what records come to, by columns.
type bill struct {
	columns      []column
	since, until time.Time // zero: no bound

	rows    *rows
	meters  map[string]*row
	from    sums[string]   // by directory, "" of a user's file
	objects map[string]int // likewise
	outside int64          // records of other times
	others  int64          // lines that are no meter records
	damaged int            // files
	found   []foundProblem
	key     []byte
}

// column is one of those by which a bill is parted.
type column struct {
	name      string
	layout    string // of a time
	dimension bool
}

var timeColumns = map[string]string{"month": "2006-01", "day": time.DateOnly, "hour": "2006-01-02T15:04:05Z"}

func (b *bill) setColumns(by []string) error {
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

func (b *bill) begin() {
	b.rows.close()
	b.meters, b.from, b.objects = map[string]*row{}, sums[string]{}, map[string]int{}
	b.outside, b.others, b.found = 0, 0, nil
}

func (b *bill) add(of *source, r *meterRecord) error {
	at := time.UnixMilli(r.Millis).UTC()
	if at.Before(b.since) || !b.until.IsZero() && !at.Before(b.until) {
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
			b.key = appendPart(b.key, r.dimension(c.name))
		case c.name == "meter":
			b.key = appendPart(b.key, r.Meter)
		default:
			b.key = appendPart(b.key, r.Customer)
		}
	}
	if b.meters[string(r.Meter)] == nil {
		b.meters[string(r.Meter)] = &row{}
	}
	in, err := b.rows.of(b.key)
	if err != nil {
		return err
	}
	for _, in := range []*row{in, b.meters[string(r.Meter)]} {
		if of.Directory == failedDir {
			in.failed.add(r)
		} else {
			in.billed.add(r)
		}
	}
	b.from.add(of.Directory, r)
	return nil
}

// end takes note of a file.
func (b *bill) end(of *source) error {
	b.objects[of.Directory]++
	b.found = append(b.found, of.Problems...)
	if of.Unusable > 0 {
		b.others += of.Unusable
		b.found = append(b.found, foundProblem{File: of.Name, What: fmt.Sprintf("%s no meter record and not in the bill: %s", show.Number(int(of.Unusable), "line", " is", " are"), of.Unlike)})
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
func (r *meterRecord) dimension(name string) (value []byte) {
	var d recordReader
	members(r.Dimensions, func(key, v []byte) {
		if string(d.text(key)) != name {
			return
		}
		if value = d.text(v); value == nil {
			value = v // not a text
		}
	})
	return value
}

// addUp writes the bill of a spool, or of files.
func (a *app) addUp(where *place, paths []string, b *bill, asJSON bool) error {
	l, err := a.ledgerOf(where, paths, "bill")
	if err != nil {
		return err
	}
	defer b.rows.close()
	l.begin, l.record, l.end = b.begin, b.add, b.end
	if err := l.read(); err != nil {
		return err
	}
	var beside []*rejectsOf
	if l.at != nil {
		if l.missed > 0 {
			b.found = append(b.found, foundProblem{File: l.at.dir, What: "want files that stay while they are read, got some that move each time: ask again"})
		}
		if beside, _, _, err = a.readRejects(l.at, l.files); err != nil {
			return err
		}
		b.damaged = len(slices.DeleteFunc(inDirectory(l.files, damagedDir), isRescued))
	}
	for _, p := range b.found {
		fmt.Fprintf(a.notes, "meterctl: %s\n", show.Plain(p.String()))
	}
	if asJSON {
		err = b.inJSON(a.out, l.at, beside)
	} else {
		err = errors.Join(b.table(a.out), b.beside(a.out, beside))
	}
	if len(b.found) > 0 {
		return errors.Join(err, errProblems)
	}
	return err
}

// table shows the bill to people: names to the left, numbers to the right.
func (b *bill) table(w io.Writer) error {
	anyFailed := b.from[failedDir] != nil
	names := len(b.columns)
	head := []string{}
	for _, c := range b.columns {
		head = append(head, strings.ToUpper(show.Plain(c.name))+map[bool]string{true: " (UTC)"}[c.layout != ""])
	}
	head = append(head, "EVENTS", "RECORDS", "USAGE")
	if anyFailed {
		head = append(head, "FAILED RECORDS", "FAILED USAGE")
	}
	numbers := func(r *row) []string {
		cells := []string{show.Count(int(r.billed.Events)), show.Count(int(r.billed.Records)), show.Thousands(valueText(r.billed.Value))}
		if anyFailed {
			cells = append(cells, show.Count(int(r.failed.Records)), show.Thousands(valueText(r.failed.Value)))
		}
		return cells
	}
	n := 0
	all := func(do func(cells []string) error) error {
		n = 0
		if err := do(head); err != nil {
			return err
		}
		if err := b.rows.each(func(key string, r *row) error {
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

// beside says what the bill was made of, and what is not in it.
func (b *bill) beside(w io.Writer, rejected []*rejectsOf) error {
	var of []string
	for _, name := range append([]string{""}, directories()...) {
		if s := b.from[name]; s != nil && name != failedDir {
			of = append(of, strings.TrimSpace(fmt.Sprintf("%s %s records in %s", name, show.Count(int(s.Records)), show.Number(b.objects[name], "file"))))
		}
	}
	text := "\nin the bill: " + cmp.Or(strings.Join(of, ", "), "no record") + "\n"
	var not []string
	if s := b.from[failedDir]; s != nil {
		not = append(not, fmt.Sprintf("%s that Amberflo did not take (failed/)", show.Number(int(s.Records), "record")))
	}
	if len(rejected) > 0 {
		n := 0
		var reasons []string
		for _, r := range rejected {
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

func inJSONSum(s *sum) billed { return billed{s.Events, s.Records, valueText(s.Value)} }

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

func newBilledRow(r *row) *billedRow {
	line := &billedRow{billed: inJSONSum(&r.billed)}
	if r.failed.Events > 0 {
		failed := inJSONSum(&r.failed)
		line.Failed = &failed
	}
	return line
}

// inJSON writes the bill for programs.
func (b *bill) inJSON(w io.Writer, at *spoolPlace, rejected []*rejectsOf) error {
	if _, err := io.WriteString(w, "{\"rows\": ["); err != nil {
		return err
	}
	array := &show.Array{W: w}
	if err := b.rows.each(func(key string, r *row) error {
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
	for _, r := range rejected {
		reasons[r.Reason] = r.Records
	}
	from := map[string]billedFrom{}
	for name, n := range b.objects {
		from[cmp.Or(name, "files")] = billedFrom{n, cmp.Or(b.from[name], &sum{}).Events, cmp.Or(b.from[name], &sum{}).Records}
	}
	dir := ""
	if at != nil {
		dir = at.dir
	}
	rest, err := json.Marshal(struct {
		Totals   []*billedRow          `json:"totals"`
		From     map[string]billedFrom `json:"from"`     // by directory
		Rejected map[string]int        `json:"rejected"` // records, by reason
		Damaged  int                   `json:"damaged_files"`
		Outside  int64                 `json:"records_of_other_days"`
		Others   int64                 `json:"lines_that_are_no_meter_records"`
		Problems []foundProblem        `json:"problems"`
		StoreDir string                `json:"store_dir,omitempty"`
	}{total, from, reasons, b.damaged, b.outside, b.others, append([]foundProblem{}, b.found...), dir})
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
