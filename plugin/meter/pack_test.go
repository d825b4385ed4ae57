package meter

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"out_amberflo/plugin/chunk"
	"out_amberflo/test/encode"
)

// at is the time of every event of these tests.
var at = time.Unix(1795291200, 123456789)

const atMillis = "1795291200123"

// pack turns JSON into msgpack as Fluent Bit does, with what encode.JSON adds.
func pack(t testing.TB, text string) []byte {
	t.Helper()
	value, err := encode.JSON(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return encode.Value(nil, value)
}

// eventOf packs an event of the new format.
func eventOf(metadata, record []byte) []byte {
	return encode.Event(nil, at, encode.Raw(metadata), encode.Raw(record))
}

// inGroup packs a group's start marker in front of an event.
func inGroup(group, event []byte) []byte {
	return append(encode.Event(nil, encode.GroupStart, nil, encode.Raw(group)), event...)
}

func compile(t testing.TB, o Options) *Rules {
	t.Helper()
	r, errs := Compile(o)
	for _, err := range errs {
		t.Error(err)
	}
	if r == nil {
		t.FailNow()
	}
	return r
}

// mapChunk maps all events of a chunk and gives lines and rejections in turn, with <id> where an id is to be made.
func mapChunk(t testing.TB, o Options, tag string, b []byte) string {
	t.Helper()
	r := compile(t, o)
	m := r.NewMapper()
	m.StartIDs("<id>", 0)
	number := 0
	reader := chunk.NewReader(b, r.Keys())
	var out strings.Builder
	for reader.Next() {
		const before = "before"
		lines, n, rejection := m.Append([]byte(before), tag, reader.Event())
		got, ok := strings.CutPrefix(string(lines), before)
		if !ok || strings.Count(got, "\n") != n || rejection != nil && len(got) > 0 {
			t.Errorf("%d records, rejection %v, but %q was appended", n, rejection, lines)
		}
		for line := range strings.Lines(got) {
			if !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %q", line)
			}
		}
		switch {
		case rejection != nil:
			out.WriteString(rejection.Reason + ": " + rejection.Detail + "\n")
		case n == 0:
			out.WriteString("ignored\n")
		default:
			for line := range strings.Lines(got) {
				out.WriteString(strings.Replace(line, fmt.Sprintf("<id>%d\"", number), "<id>\"", 1))
				number++
			}
		}
	}
	if reader.Err() != nil {
		t.Fatal(reader.Err())
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// mapRecord maps one record that is written as JSON.
func mapRecord(t testing.TB, o Options, record string) string {
	t.Helper()
	return mapChunk(t, o, "app.web.eu", eventOf([]byte{0x80}, pack(t, record)))
}
