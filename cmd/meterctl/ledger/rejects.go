package ledger

import (
	"cmp"
	"encoding/json"
	"io"
	"maps"
	"slices"

	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/cmd/meterctl/store"
	"out_amberflo/plugin"
	"out_amberflo/plugin/disk"
)

// Rejects is what was rejected for one reason.
type Rejects struct {
	Reason  string   `json:"reason"`
	Records int      `json:"records"`
	Outputs []string `json:"outputs"`
	Example []string `json:"example_keys"` // of one record; its values stay where they are
	Tag     string   `json:"example_tag"`
}

// mostKeys bounds an example.
const mostKeys = 24

// ReadRejects counts the records of rejected/ by reason, the most frequent first, and those on their way there. bytes is what they
// take.
func ReadRejects(dir string, files []store.File, notes io.Writer) (list []*Rejects, records int, bytes int64, err error) {
	all := files
	files = slices.DeleteFunc(slices.Clone(all), func(f store.File) bool {
		in, _ := f.Place()
		return in != disk.Rejected || !store.Counts(f, all)
	})
	p := show.NewProgress(notes, "read rejects", store.SizeOf(files))
	defer p.End()
	by := map[string]*Rejects{}
	outputs := map[*Rejects]map[string]bool{}
	for _, f := range files {
		bytes += f.Bytes
		if !f.HasRecords() {
			continue
		}
		_, _, _, err := store.Records(dir, f, func(line []byte) error {
			p.Tick()
			var r plugin.Reject
			if json.Unmarshal(line, &r) != nil {
				return nil
			}
			of := by[r.Reason]
			if of == nil {
				of = &Rejects{Reason: r.Reason, Example: []string{}}
				by[r.Reason], outputs[of] = of, map[string]bool{}
			}
			if len(of.Example) == 0 {
				of.Example, of.Tag = keysOf(r.Record), r.Tag
			}
			of.Records++
			outputs[of][r.Output] = true
			records++
			return nil
		})
		if p.Add(f.Bytes); err != nil {
			return nil, 0, 0, err
		}
	}
	for of, names := range outputs {
		of.Outputs = slices.Sorted(maps.Keys(names))
		list = append(list, of)
	}
	slices.SortFunc(list, func(a, b *Rejects) int { return cmp.Or(b.Records-a.Records, cmp.Compare(a.Reason, b.Reason)) })
	return list, records, bytes, nil
}

// keysOf are the keys of a record in JSON, those of the maps in it after a point.
func keysOf(record []byte) (keys []string) {
	var walk func(before string, object []byte)
	walk = func(before string, object []byte) {
		Members(object, func(quoted, value []byte) {
			var key string
			if len(keys) >= mostKeys || json.Unmarshal(quoted, &key) != nil {
				return
			}
			if len(value) > 2 && value[0] == '{' && before == "" {
				walk(key+".", value)
				return
			}
			keys = append(keys, before+key)
		})
	}
	walk("", record)
	return append([]string{}, keys...)
}
