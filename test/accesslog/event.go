package accesslog

import (
	"encoding/binary"
	"math"
	"strconv"
	"time"
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

// appendMsgpack appends the event as Fluent Bit 2.1 and later pass it to an output:
// [[time, metadata], record], the time as extension type 0. The spelling of msgpack is the shortest,
// as that of Fluent Bit's own encoder.
func (e *event) appendMsgpack(b []byte) []byte {
	b = append(b, 0x92, 0x92, 0xd7, 0x00)
	b = binary.BigEndian.AppendUint32(b, uint32(e.at.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(e.at.Nanosecond()))
	b = append(b, 0x80)
	if e.plain {
		b = append(b, 0x81)
		b = appendStr(b, []byte("log"))
		return appendStr(b, e.line)
	}
	at := len(b)
	b = append(b, 0x80)
	for i, v := range e.fields {
		if v.kind == absent {
			continue
		}
		b[at]++
		b = append(b, 0xa0|byte(len(fieldNames[i])))
		b = append(b, fieldNames[i]...)
		switch v.kind {
		case null:
			b = append(b, 0xc0)
		case str:
			b = appendStr(b, v.s)
		case whole:
			b = appendUint(b, uint64(v.n))
		case float:
			b = binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(v.real()))
		case listOfText:
			b = appendStr(append(b, 0x91), v.s)
		case listOfInts:
			b = append(b, 0x92, 1, 2)
		}
	}
	return b
}

func appendStr(b, s []byte) []byte {
	switch n := len(s); {
	case n < 32:
		b = append(b, 0xa0|byte(n))
	case n < 1<<8:
		b = append(b, 0xd9, byte(n))
	default:
		b = binary.BigEndian.AppendUint16(append(b, 0xda), uint16(n))
	}
	return append(b, s...)
}

func appendUint(b []byte, n uint64) []byte {
	switch {
	case n < 1<<7:
		return append(b, byte(n))
	case n < 1<<8:
		return append(b, 0xcc, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(n))
	default:
		return binary.BigEndian.AppendUint64(append(b, 0xcf), n)
	}
}
