package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"out_amberflo/test/accesslog"
)

// event is one log event; record is its body, with its fields in order.
type event struct {
	at     time.Time
	record record
}

type record []field

type field struct {
	key   string
	value any // string, int, int64, uint64, float64, bool, nil, []any or record
}

// input is the same events in the forms that the two programs read.
type input struct {
	lines  []byte // JSON, for Fluent Bit's tail
	chunks []byte // framed chunks, for the bundled host
}

// eventTime is what the parser of the tests makes of it: tail knows milliseconds.
var eventTime = time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.UTC)

const tag = "app.access"

// logged makes input of events, one chunk per list.
func logged(chunks ...[]event) input {
	var in input
	for _, events := range chunks {
		for _, e := range events {
			in.lines = append(appendJSON(in.lines, append(record{{"time", e.at.UTC().Format("2006-01-02T15:04:05.000Z")}}, e.record...)), '\n')
		}
		in.chunks = appendFrame(in.chunks, tag, chunkOf(events...))
	}
	return in
}

// accessLog makes input of an access log, and the bill that follows from it.
func accessLog(t *testing.T, o accesslog.Options, c accesslog.Chunks) (input, accesslog.Truth) {
	t.Helper()
	var lines, chunks bytes.Buffer
	truth, err := accesslog.WriteLines(&lines, o)
	if err == nil {
		_, err = accesslog.WriteChunks(&chunks, o, c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return input{lines.Bytes(), chunks.Bytes()}, truth
}

// accessMapping is how the bill of accessLog comes about.
var accessMapping = []string{"customer_id $tenant", "meter_api_name $api", "meter_value $bytes", "dimensions method, status"}

func appendFrame(b []byte, tag string, chunk []byte) []byte {
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(tag))), tag...)
	return append(binary.BigEndian.AppendUint32(b, uint32(len(chunk))), chunk...)
}

// chunkOf is what Fluent Bit 2.1 and later hand to an output: [[time, metadata], record] each.
func chunkOf(events ...event) []byte {
	var b []byte
	for _, e := range events {
		b = append(b, 0x92, 0x92, 0xd7, 0)
		b = binary.BigEndian.AppendUint32(b, uint32(e.at.Unix()))
		b = binary.BigEndian.AppendUint32(b, uint32(e.at.Nanosecond()))
		b = append(b, 0x80)
		b = appendMsgpack(b, e.record)
	}
	return b
}

func appendMsgpack(b []byte, value any) []byte {
	switch v := value.(type) {
	case nil:
		return append(b, 0xc0)
	case bool:
		if v {
			return append(b, 0xc3)
		}
		return append(b, 0xc2)
	case int:
		return appendMsgpack(b, int64(v))
	case int64:
		return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(v))
	case uint64:
		return binary.BigEndian.AppendUint64(append(b, 0xcf), v)
	case float64:
		return binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(v))
	case string:
		return append(binary.BigEndian.AppendUint32(append(b, 0xdb), uint32(len(v))), v...)
	case []any:
		b = binary.BigEndian.AppendUint32(append(b, 0xdd), uint32(len(v)))
		for _, e := range v {
			b = appendMsgpack(b, e)
		}
		return b
	case record:
		b = binary.BigEndian.AppendUint32(append(b, 0xdf), uint32(len(v)))
		for _, f := range v {
			b = appendMsgpack(appendMsgpack(b, f.key), f.value)
		}
		return b
	}
	panic(fmt.Sprintf("no msgpack for %T", value))
}

func appendJSON(b []byte, value any) []byte {
	switch v := value.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return append(b, "null"...)
		}
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, e)
		}
		return append(b, ']')
	case record:
		b = append(b, '{')
		for i, f := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(append(appendJSON(b, f.key), ':'), f.value)
		}
		return append(b, '}')
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		panic(err)
	}
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte{'\n'})...)
}

// metered is a meter record as it must stand in an object. value is a JSON number.
type metered struct {
	customer, meter, value string
	millis                 int64
	id                     string
	dimensions             record
}

func (m metered) json() string {
	r := record{{"customerId", m.customer}, {"meterApiName", m.meter}}
	if m.dimensions != nil {
		r = append(r, field{"dimensions", m.dimensions})
	}
	r = append(r, field{"meterValue", json.Number(m.value)}, field{"meterTimeInMillis", m.millis}, field{"uniqueId", m.id})
	return string(appendJSON(nil, r))
}
