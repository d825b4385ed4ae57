package accesslog

import (
	"strconv"
	"time"

	"out_amberflo/test/encode"
)

var fieldNames = [12]string{"time", "tenant", "api", "method", "path", "status", "bytes", "duration", "region", "request_id", "user_agent", "client_ip"}

const (
	fieldTime      = 0
	fieldTenant    = 1
	fieldBytes     = 6
	fieldUserAgent = 10
)

// event is one record and what the truth needs to know of it.
type event struct {
	at     time.Time
	fields [12]value
	plain  bool   // line stands instead of the fields
	line   []byte // text without quotes or backslashes

	customer, api int   // indexes
	bytes, micros int64 // the amounts, if they are not spoilt
	bad           Kind  // empty if the record is good
}

type kindOfValue byte

const (
	absent     kindOfValue = iota
	null                   // null
	str                    // s
	whole                  // n
	float                  // n millionths
	listOfText             // [s]
	listOfInts             // [1,2]
)

type value struct {
	kind kindOfValue
	s    []byte
	n    int64
}

func text(s []byte) value     { return value{kind: str, s: s} }
func integer(n int64) value   { return value{kind: whole, n: n} }
func (v value) real() float64 { return float64(v.n) / 1e6 }

// appendJSON appends the event as a line without its end. Bytes that are not UTF-8 stay what they are.
func (e *event) appendJSON(b []byte) []byte {
	if e.plain {
		return append(b, e.line...)
	}
	sep := byte('{')
	for i, v := range e.fields {
		if v.kind == absent {
			continue
		}
		b = append(b, sep, '"')
		b = append(b, fieldNames[i]...)
		b = append(b, '"', ':')
		switch v.kind {
		case null:
			b = append(b, "null"...)
		case str:
			b = appendQuoted(b, v.s)
		case whole:
			b = strconv.AppendInt(b, v.n, 10)
		case float:
			b = strconv.AppendFloat(b, v.real(), 'f', -1, 64)
		case listOfText:
			b = append(appendQuoted(append(b, '['), v.s), ']')
		case listOfInts:
			b = append(b, "[1,2]"...)
		}
		sep = ','
	}
	return append(b, '}')
}

func appendQuoted(b, s []byte) []byte {
	b = append(b, '"')
	for _, c := range s {
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// appendMsgpack appends the event as Fluent Bit 2.1 and later pass it to an output.
func (e *event) appendMsgpack(b []byte) []byte {
	b = append(encode.Head(b, e.at), 0x80)
	if e.plain {
		return encode.String(encode.String(append(b, 0x81), "log"), e.line)
	}
	at := len(b)
	b = append(b, 0x80)
	for i, v := range e.fields {
		if v.kind == absent {
			continue
		}
		b[at]++
		b = encode.String(b, fieldNames[i])
		switch v.kind {
		case null:
			b = append(b, 0xc0)
		case str:
			b = encode.String(b, v.s)
		case whole:
			b = encode.Uint(b, uint64(v.n))
		case float:
			b = encode.Float(b, v.real())
		case listOfText:
			b = encode.String(append(b, 0x91), v.s)
		case listOfInts:
			b = append(b, 0x92, 1, 2)
		}
	}
	return b
}
