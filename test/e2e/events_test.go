package e2e

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"
	"time"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/encode"
)

// event is one log event; record is its body, with its fields in order.
type event struct {
	at     time.Time
	record record
}

type record = encode.Record

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
			in.lines = append(appendJSON(in.lines, append(record{"time", e.at.UTC().Format("2006-01-02T15:04:05.000Z")}, e.record...)), '\n')
		}
		in.chunks = encode.Frame(in.chunks, tag, chunkOf(events...))
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

// chunkOf spells what msgpack lets one spell in several ways as long as it may be: package accesslog has the shortest.
func chunkOf(events ...event) (chunk []byte) {
	for _, e := range events {
		chunk = encode.Event(chunk, e.at, nil, encode.Wide{Value: e.record})
	}
	return chunk
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
		for i, item := range v {
			if i > 0 {
				b = append(b, ",:"[i%2])
			}
			b = appendJSON(b, item)
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
	r := record{"customerId", m.customer, "meterApiName", m.meter}
	if m.dimensions != nil {
		r = append(r, "dimensions", m.dimensions)
	}
	r = append(r, "meterValue", json.Number(m.value), "meterTimeInMillis", m.millis, "uniqueId", m.id)
	return string(appendJSON(nil, r))
}
