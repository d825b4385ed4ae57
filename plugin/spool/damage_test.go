package spool_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/disk/disktest"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/spool"
)

// sample writes a spool with one log of several frames and leaves it as a crash does. It returns the
// log's path and the end of each frame of records.
func sample(t *testing.T, o spool.Options) (path string, ends []int64, names [][]string) {
	t.Helper()
	s := mustOpen(t, o)
	names = [][]string{{"a", "b"}, {"c"}, {"d", "e", "f"}}
	for i, n := range names {
		b := batchOf(uint64(i), n...)
		b.rejects, b.summed, b.damage = rejectOf(i), 100*i, fmt.Append(nil, "damage ", i)
		mustAppend(t, s, b)
		var end int64
		path, end = lastSegment(t, s)
		ends = append(ends, end)
	}
	crashed(t, s)
	return path, ends, names
}

func rejectOf(frame int) []byte { return fmt.Appendf(nil, "{\"reject\":%d}\n", frame) }

// recovered opens the spool over a log with that content, and gives what it delivers and keeps aside.
func recovered(t *testing.T, o spool.Options, name string, content []byte) (records map[string]int, objects map[string]string, aside []string) {
	t.Helper()
	o.Dir = disktest.MemoryDir(t)
	if err := os.MkdirAll(filepath.Join(o.Dir, disk.Open), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, disk.Open, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
	s := openUnsynced(t, o)
	objects = drained(t, s)
	records = namesIn(t, objects)
	for line := range strings.Lines(rejectedOf(t, o.Dir)) {
		records[line]++
	}
	err := disk.Walk(filepath.Join(o.Dir, disk.Damaged), func(file string, _ fs.FileInfo) {
		if !strings.HasPrefix(file, "chunk-") {
			aside = append(aside, file)
			return
		}
		b, err := os.ReadFile(filepath.Join(o.Dir, disk.Damaged, file))
		if err != nil {
			t.Fatal(err)
		}
		records[string(b)]++
	})
	if err != nil {
		t.Fatal(err)
	}
	return records, objects, aside
}

// checkRecords checks that the whole frames are there, unaltered, and nothing else is.
func checkRecords(t *testing.T, names [][]string, whole func(frame int) bool, got map[string]int, objects map[string]string) {
	t.Helper()
	lines := map[string]string{}
	for _, text := range objects {
		for line := range strings.Lines(text) {
			lines[line] = ""
		}
	}
	for i, frame := range names {
		for k, line := range slices.Collect(strings.Lines(string(batchOf(uint64(i), frame...).lines))) {
			name := frame[k]
			_, there := lines[line]
			if whole(i) && (got[name] != 1 || !there) {
				t.Errorf("record %s of the whole frame %d: want it once and unaltered, got %v", name, i, maps.Keys(lines))
			}
			delete(lines, line)
		}
		for _, beside := range []string{string(rejectOf(i)), fmt.Sprint("damage ", i)} {
			if n := got[beside]; n != 1 && whole(i) || n > 0 && !whole(i) {
				t.Errorf("%q is there %d times; the frame %d is whole: %v", beside, n, i, whole(i))
			}
			delete(got, beside)
		}
	}
	for name := range got {
		if !slices.ContainsFunc(names, func(frame []string) bool { return slices.Contains(frame, name) }) {
			t.Errorf("invented or altered: %q", name)
		}
	}
	for line := range lines {
		t.Errorf("invented or altered: %q", line)
	}
}

// asKept runs a test with frames of lines as they are, and with segments.
func asKept(t *testing.T, test func(t *testing.T, o spool.Options)) {
	for name, from := range map[string]int{"as it is": 1 << 20, "segments": 1} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.MinBlock = from
			test(t, o)
		})
	}
}

func TestASegmentCutOffAtAnyByteGivesEveryWholeFrameBefore(t *testing.T) { asKept(t, cutOff) }

func cutOff(t *testing.T, o spool.Options) {
	path, ends, names := sample(t, o)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(content) {
		got, objects, aside := recovered(t, o, filepath.Base(path), content[:cut])
		checkRecords(t, names, func(i int) bool { return ends[i] <= int64(cut) }, got, objects)
		boundary := cut == 0 || cut == fileHeaderSize || int64(cut) == firstFrame(content)
		for _, e := range ends {
			boundary = boundary || int64(cut) == e
		}
		if !boundary && len(aside) != 1 {
			t.Errorf("cut at %d: want the rest kept aside, got %v", cut, aside)
		}
		if t.Failed() {
			t.Fatalf("cut at byte %d of %d", cut, len(content))
		}
	}
}

// As package journal writes them.
const (
	fileHeaderSize  = 32
	frameHeaderSize = 52
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// firstFrame is the end of the frame that every segment begins with.
func firstFrame(content []byte) int64 {
	return fileHeaderSize + frameHeaderSize + int64(binary.LittleEndian.Uint32(content[fileHeaderSize+8:]))
}

// anotherSum gives a frame another checksum of its lines, under headers that are right.
func anotherSum(frame []byte) {
	frame[20]++
	binary.LittleEndian.PutUint32(frame[48:], crc32.Checksum(frame[:48], castagnoli))
}

func TestASegmentWithAnyByteFlippedGivesEveryOtherFrame(t *testing.T) { asKept(t, flipped) }

func flipped(t *testing.T, o spool.Options) {
	path, ends, names := sample(t, o)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range content {
		bad := append([]byte(nil), content...)
		bad[at] ^= 0xff
		got, objects, aside := recovered(t, o, filepath.Base(path), bad)
		start := firstFrame(content)
		whole := make([]bool, len(ends))
		for i, e := range ends {
			whole[i] = int64(at) < start || int64(at) >= e
			start = e
		}
		checkRecords(t, names, func(i int) bool { return whole[i] }, got, objects)
		if len(aside) != 1 {
			t.Errorf("want the damaged bytes kept aside, got %v", aside)
		}
		if t.Failed() {
			t.Fatalf("flipped byte %d of %d", at, len(content))
		}
	}
}

// A frame whose checksums hold and that still does not say what it should is bytes that cannot be read like others.
func TestABlockThatDoesNotInflateIsKeptAsideWhereItHasToBeRead(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MinBlock = 1
	s := mustOpen(t, o)
	var starts []int64
	path, start := lastSegment(t, s)
	for i, name := range []string{"a", "b", "c"} {
		starts = append(starts, start)
		mustAppend(t, s, batchOf(uint64(i), name))
		_, start = lastSegment(t, s)
	}
	crashed(t, s)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[starts[0]+frameHeaderSize] ^= 1 // plain damage
	anotherSum(content[starts[1]:])
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	n, problems, err := repair.Records(o.Dir, repair.File{Dir: disk.Open, Path: disk.Open + "/" + filepath.Base(path)}, nil)
	if n != 1 || len(problems) != 2 || err != nil {
		t.Errorf("got %d records, problems %v, %v, want the good one and two problems", n, problems, err)
	}
	o.Object.JSONArray = true // so that the sealer has to read it
	o.Object.Key = func(s object.Sealed) string { return s.ID.String() }
	o.Object.GzipLevel = 0
	s = mustOpen(t, o)
	for _, text := range drained(t, s) {
		if !strings.HasPrefix(text, `[{"name":"c"`) || strings.Count(text, "name") != 1 {
			t.Errorf("got %s, want c", text)
		}
	}
	if aside, _ := filepath.Glob(filepath.Join(o.Dir, disk.Damaged, "*")); len(aside) != 2 {
		t.Errorf("got %v kept aside, want the two", aside)
	}
}

func TestNoObjectIsMadeOfNothing(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MinBlock = 1
	s := mustOpen(t, o)
	path, start := lastSegment(t, s)
	mustAppend(t, s, batchOf(1, "a", "b"))
	crashed(t, s)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	anotherSum(content[start:])
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	o.Object.MaxRecords = 1 // so that an object is begun, and the segment split
	s = mustOpen(t, o)
	if objects := drained(t, s); len(objects) > 0 {
		t.Errorf("got %q, want no object", objects)
	}
	if left, _ := filepath.Glob(filepath.Join(o.Dir, disk.Sealing, "*")); len(left) > 0 {
		t.Errorf("left in sealing/: %v", left)
	}
}

func TestAFileThatIsNoSegmentHasItsAnswer(t *testing.T) {
	id := "0190a6e0-0000-7000-8000-000000000001.log"
	s := mustOpen(t, testOptions(t.TempDir()))
	path, _ := lastSegment(t, s)
	crashed(t, s)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	future := content[:fileHeaderSize]
	future[8]++
	for _, c := range []struct {
		what, name string
		content    []byte
		aside      int
		stays      bool
	}{
		{"an empty file is removed", id, nil, 0, false},
		{"zeros are kept aside", id, make([]byte, 5000), 1, false},
		{"text is kept aside", id, []byte("not a log\n"), 1, false},
		{"a log of another version is left alone", id, sealHeader(future), 0, true},
		{"a stray file is left alone", "notes.txt", []byte("x"), 0, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			o := testOptions(t.TempDir())
			if err := os.MkdirAll(filepath.Join(o.Dir, disk.Open), 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(o.Dir, disk.Open, c.name)
			if err := os.WriteFile(path, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			s := mustOpen(t, o)
			mustAppend(t, s, batchOf(1, "a"))
			if got := namesIn(t, drained(t, s)); got["a"] != 1 || len(got) != 1 {
				t.Errorf("got %v, want a once", got)
			}
			aside, _ := filepath.Glob(filepath.Join(o.Dir, disk.Damaged, "*"))
			if len(aside) != c.aside {
				t.Errorf("got %v aside, want %d files", aside, c.aside)
			}
			if _, err := os.Stat(path); (err == nil) != c.stays {
				t.Errorf("the file is there: %v, want %v", err == nil, c.stays)
			}
		})
	}
}

// sealHeader puts the right checksum under an altered file header.
func sealHeader(h []byte) []byte {
	binary.LittleEndian.PutUint32(h[28:], crc32.Checksum(h[:28], castagnoli))
	return h
}
