package ledger

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"out_amberflo/plugin/decimal"
)

// Row is what the records of one key come to: what is billed, and what lies in failed objects.
type Row struct{ Billed, Failed Sum }

// Rows adds records up by any key. Of more than most keys it keeps the others in files, in order, which have no name: its memory
// does not grow with them. The caller closes it.
type Rows struct {
	most  int
	stuck int // of those in memory, have too many digits for a file
	byKey map[string]*Row
	runs  []*os.File
}

// mostRows are those in memory, of some 200 bytes each.
const mostRows = 100_000

func NewRows() *Rows { return &Rows{most: mostRows, byKey: map[string]*Row{}} }

func (t *Rows) Close() {
	for _, run := range t.runs {
		_ = run.Close()
	}
	*t = *NewRows()
}

// Of gives the row to which a record with a key is added. It is valid until the next call.
func (t *Rows) Of(key []byte) (*Row, error) {
	if r := t.byKey[string(key)]; r != nil {
		return r, nil
	}
	if len(t.byKey) >= t.most+t.stuck {
		if err := t.spill(); err != nil {
			return nil, fmt.Errorf("want space in %s for the rows of a large bill, or fewer columns in --by: %w", os.TempDir(), err)
		}
	}
	r := &Row{}
	t.byKey[string(key)] = r
	return r, nil
}

// spill writes what is in memory to a file.
func (t *Rows) spill() error {
	f, err := os.CreateTemp("", "meterctl-bill-")
	if err != nil {
		return err
	}
	t.runs = append(t.runs, f)
	if err := os.Remove(f.Name()); err != nil { // it lives as long as it is open
		return err
	}
	w := bufio.NewWriterSize(f, 1<<16)
	var line []byte
	for _, key := range slices.Sorted(maps.Keys(t.byKey)) {
		var ok bool
		if line, ok = t.byKey[key].append(appendField(line[:0], []byte(key))); ok {
			_, _ = w.Write(line) // Flush has the error
			delete(t.byKey, key)
		}
	}
	t.stuck = len(t.byKey)
	return w.Flush()
}

// append appends the row, or returns ok false where a sum has more digits than can be read again.
func (r *Row) append(dst []byte) (out []byte, ok bool) {
	for _, s := range []*Sum{&r.Billed, &r.Failed} {
		text, ok := s.Value.Append(nil)
		if !ok {
			return dst, false
		}
		dst = appendField(dst, text)
		dst = binary.AppendVarint(binary.AppendVarint(dst, s.Events), s.Records)
	}
	return dst, true
}

func appendField(dst, field []byte) []byte {
	return append(binary.AppendVarint(dst, int64(len(field))), field...)
}

// cursor walks through the rows of a file, or of memory, in order.
type cursor struct {
	in     *bufio.Reader // nil: of memory
	memory map[string]*Row
	keys   []string // in memory, still to come

	key string
	row *Row // nil after the last
}

func (c *cursor) next() error {
	c.row = nil
	if c.in == nil {
		if len(c.keys) > 0 {
			c.key, c.row, c.keys = c.keys[0], c.memory[c.keys[0]], c.keys[1:]
		}
		return nil
	}
	key, err := c.field()
	if errors.Is(err, io.EOF) {
		return nil
	}
	r := &Row{}
	for _, s := range []*Sum{&r.Billed, &r.Failed} {
		var text []byte
		if err == nil {
			text, err = c.field()
		}
		s.Value, _ = decimal.Parse(text)
		for _, n := range []*int64{&s.Events, &s.Records} {
			if err == nil {
				*n, err = binary.ReadVarint(c.in)
			}
		}
	}
	c.key, c.row = string(key), r
	return err
}

func (c *cursor) field() ([]byte, error) {
	n, err := binary.ReadVarint(c.in)
	if err != nil {
		return nil, err
	}
	field := make([]byte, n)
	_, err = io.ReadFull(c.in, field)
	return field, err
}

// Each calls do for all keys in order. It may be called again.
func (t *Rows) Each(do func(key string, r *Row) error) error {
	cursors := []*cursor{{memory: t.byKey, keys: slices.Sorted(maps.Keys(t.byKey))}}
	for _, run := range t.runs {
		cursors = append(cursors, &cursor{in: bufio.NewReaderSize(io.NewSectionReader(run, 0, 1<<62), 1<<16)})
	}
	for _, c := range cursors {
		if err := c.next(); err != nil {
			return err
		}
	}
	for {
		cursors = slices.DeleteFunc(cursors, func(c *cursor) bool { return c.row == nil })
		if len(cursors) == 0 {
			return nil
		}
		key := slices.MinFunc(cursors, func(a, b *cursor) int { return cmp.Compare(a.key, b.key) }).key
		var r Row
		for _, c := range cursors {
			if c.key != key {
				continue
			}
			r.Billed.AddSum(&c.row.Billed)
			r.Failed.AddSum(&c.row.Failed)
			if err := c.next(); err != nil {
				return err
			}
		}
		if err := do(key, &r); err != nil {
			return err
		}
	}
}
