package meter

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"out_amberflo/plugin/chunk"
)

const (
	at       = "\xd7\x00\x6b\x01\xf8\x40\x07\x5b\xcd\x15" // 1795291200.123456789
	atMillis = "1795291200123"
)

// pack turns JSON into msgpack as Fluent Bit does: keys in their order, integers as integers. A text that begins with
// "msgpack:" stands for the bytes behind it, which JSON cannot say.
func pack(t testing.TB, text string) []byte {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	return packNext(t, d, nil)
}

func packNext(t testing.TB, d *json.Decoder, out []byte) []byte {
	t.Helper()
	token, err := d.Token()
	if err != nil {
		t.Fatal(err)
	}
	switch v := token.(type) {
	case json.Delim:
		n := uint32(0)
		var inner []byte
		for ; d.More(); n++ {
			inner = packNext(t, d, inner)
		}
		if _, err := d.Token(); err != nil {
			t.Fatal(err)
		}
		if v == '{' {
			return append(msgp.AppendMapHeader(out, n/2), inner...)
		}
		return append(msgp.AppendArrayHeader(out, n), inner...)
	case json.Number:
		if u, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return msgp.AppendUint64(out, u)
		}
		if i, err := v.Int64(); err == nil {
			return msgp.AppendInt64(out, i)
		}
		f, err := v.Float64()
		if err != nil {
			t.Fatal(err)
		}
		return msgp.AppendFloat64(out, f)
	case string:
		if hexed, ok := strings.CutPrefix(v, "msgpack:"); ok {
			raw, err := strconv.Unquote(`"` + hexed + `"`)
			if err != nil {
				t.Fatal(err)
			}
			return append(out, raw...)
		}
		return msgp.AppendString(out, v)
	case bool:
		return msgp.AppendBool(out, v)
	}
	return msgp.AppendNil(out)
}

// eventOf packs an event of the new format.
func eventOf(metadata, record []byte) []byte {
	b := append([]byte("\x92\x92"+at), metadata...)
	return append(b, record...)
}

// inGroup packs a group's start marker in front of an event.
func inGroup(group, event []byte) []byte {
	b := append([]byte("\x92\x92\xd7\x00\xff\xff\xff\xff\x00\x00\x00\x00\x80"), group...)
	return append(b, event...)
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

// mapChunk maps all events of a chunk and gives lines and refusals in turn, with <id> where an id is to be made.
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
		lines, n, refusal := m.Append([]byte(before), tag, reader.Event())
		got, ok := strings.CutPrefix(string(lines), before)
		if !ok || strings.Count(got, "\n") != n || refusal != nil && len(got) > 0 {
			t.Errorf("%d records, refusal %v, but %q was appended", n, refusal, lines)
		}
		for line := range strings.Lines(got) {
			if !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %q", line)
			}
		}
		switch {
		case refusal != nil:
			out.WriteString(refusal.Reason + ": " + refusal.Detail + "\n")
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
