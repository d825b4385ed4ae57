package spool_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/disk/disktest"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/spool"
)

// gunzipped reads an object with the standard library, which did not write it. It must be one member and nothing else.
func gunzipped(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	in := bytes.NewReader(raw)
	gz, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	gz.Multistream(false)
	b, err := io.ReadAll(gz)
	if err != nil {
		t.Fatal(err)
	}
	if in.Len() > 0 || !gz.ModTime.IsZero() || gz.Name != "" || gz.Comment != "" || len(gz.Extra) > 0 {
		t.Errorf("%d bytes behind the first member, header %+v", in.Len(), gz.Header)
	}
	return string(b)
}

// Segments, lines, and segments that are divided stand in one object.
func TestAnObjectIsOneGzipMemberWhateverItIsMadeOf(t *testing.T) {
	for _, most := range []int{0, 7, 100} {
		t.Run(fmt.Sprintf("max_records %d", most), func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.Object.MaxRecords = most
			s := mustOpen(t, o)
			want := map[string]int{}
			for i := range 40 {
				var names []string
				for k := range i % 13 {
					names = append(names, fmt.Sprintf("%d.%d.%s", i, k, strings.Repeat("x", i*k)))
					want[names[k]] = 1
				}
				mustAppend(t, s, batchOf(uint64(i), names...))
			}
			drained(t, s)
			objects := map[string]string{}
			paths, err := filepath.Glob(filepath.Join(o.Dir, disk.Outbox, "*", "*", "*.gz"))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range paths {
				objects[path] = gunzipped(t, path)
			}
			if got := namesIn(t, objects); !maps.Equal(got, want) {
				t.Errorf("got %d records, want %d", len(got), len(want))
			}
		})
	}
}

func TestALogOfAnotherConfigurationIsSealedAsThisOneWants(t *testing.T) {
	shapes := map[string]func(*spool.Options){
		"gzip":            func(*spool.Options) {},
		"another level":   func(o *spool.Options) { o.Object.GzipLevel = 1 },
		"not compressed":  func(o *spool.Options) { o.Object.GzipLevel = 0 },
		"array":           func(o *spool.Options) { o.Object.JSONArray = true },
		"array, as it is": func(o *spool.Options) { o.Object.JSONArray, o.Object.GzipLevel = true, 0 },
		"few records":     func(o *spool.Options) { o.Object.MaxRecords = 2 },
	}
	for _, from := range slices.Sorted(maps.Keys(shapes)) {
		for _, to := range slices.Sorted(maps.Keys(shapes)) {
			t.Run(from+" to "+to, func(t *testing.T) {
				o := testOptions(disktest.MemoryDir(t))
				shapes[from](&o)
				s := openUnsynced(t, o)
				mustAppend(t, s, batchOf(1, "a", "b", "c"))
				mustAppend(t, s, batchOf(2))
				mustAppend(t, s, batchOf(3, "d"))
				crashed(t, s)
				o = testOptions(o.Dir)
				shapes[to](&o)
				o.Object.Key = func(s object.Sealed) string { return s.ID.String() }
				if o.Object.GzipLevel > 0 {
					o.Object.Key = func(s object.Sealed) string { return s.ID.String() + ".gz" }
				}
				s = openUnsynced(t, o)
				mustAppend(t, s, batchOf(4, "e"))
				names, ids := map[string]int{}, map[string]int{}
				for key, content := range drained(t, s) {
					content, isArray := strings.CutPrefix(content, "[")
					if isArray != o.Object.JSONArray {
						t.Errorf("%s is a JSON array: %v, want %v", key, isArray, o.Object.JSONArray)
					}
					if isArray {
						content = strings.ReplaceAll(strings.TrimSuffix(content, "]"), "},", "}\n")
					}
					for line := range strings.Lines(content) {
						var r struct{ Name, UniqueID string }
						if err := json.Unmarshal([]byte(line), &r); err != nil {
							t.Errorf("%s: %q: %v", key, line, err)
						}
						names[r.Name]++
						ids[r.UniqueID]++
					}
				}
				if want := map[string]int{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}; !maps.Equal(names, want) || len(ids) != 5 {
					t.Errorf("got %v with %d ids, want %v with an id each", names, len(ids), want)
				}
			})
		}
	}
}

// A record alone in a segment would take many times as much as among others.
func TestRecordsThatComeOneByOneAreCompressedTogether(t *testing.T) {
	size := func(batches, records int) (bytes int64) {
		o := testOptions(disktest.MemoryDir(t))
		o.MinBlock = 0 // the package's own
		s := openUnsynced(t, o)
		for i := range batches {
			var names []string
			for k := range records {
				names = append(names, fmt.Sprintf("customer-%d", i*records+k))
			}
			mustAppend(t, s, begun(t, s, uint64(i), names...))
		}
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		obj, err := s.Take(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return obj.Size
	}
	one, some, all := size(8000, 1), size(80, 100), size(2, 4000)
	if one > all*11/10 || some > all*11/10 {
		t.Errorf("8,000 records take %d bytes one by one, %d in hundreds and %d in two batches, want no tenth more", one, some, all)
	}
}
