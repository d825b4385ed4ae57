package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/ugorji/go/codec"
)

// orderedMap is a map as its keys and values in turn: Fluent Bit keeps the order and the duplicates of a
// JSON object, and so do the samples.
type orderedMap []any

// MapBySlice tells ugorji's codec to write it as a map.
func (orderedMap) MapBySlice() {}

// parseObject reads one JSON object. Integers become int64 or uint64, all other numbers float64.
func parseObject(text []byte) (orderedMap, error) {
	if !utf8.Valid(text) { // encoding/json would replace what the plugin refuses
		return nil, errors.New("want a JSON object on one line, got bytes that are no UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	v, err := parseValue(dec)
	if err == nil {
		if _, behind := dec.Token(); behind != io.EOF {
			err = errors.New("something behind it")
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("one that breaks off")
	}
	if err != nil {
		return nil, fmt.Errorf("want a JSON object on one line, got %w", err)
	}
	object, ok := v.(orderedMap)
	if !ok {
		return nil, fmt.Errorf("want a JSON object on one line, got %.60s", bytes.TrimSpace(text))
	}
	return object, nil
}

func parseValue(dec *json.Decoder) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(t.String(), 10, 64); err == nil {
			return n, nil
		}
		if n, err := strconv.ParseUint(t.String(), 10, 64); err == nil {
			return n, nil
		}
		return t.Float64()
	case json.Delim:
		items := []any{} // not nil, which msgpack has too
		for dec.More() {
			v, err := parseValue(dec)
			if err != nil {
				return nil, err
			}
			items = append(items, v)
		}
		_, err := dec.Token()
		if t == '{' {
			return orderedMap(items), err
		}
		return items, err
	}
	return token, nil
}

// groupStart is the time of the event that opens an OpenTelemetry group (flb_log_event.h).
const groupStart = 0xFFFFFFFF

var msgpackHandle = &codec.MsgpackHandle{WriteExt: true}

// appendEvent appends an event as Fluent Bit hands it to an output: [[time, metadata], record].
func appendEvent(dst []byte, seconds, nanos uint32, metadata, record orderedMap) ([]byte, error) {
	dst = append(dst, 0x92, 0x92, 0xd7, 0x00) // two arrays of two; eight bytes of extension type 0
	dst = binary.BigEndian.AppendUint32(dst, seconds)
	dst = binary.BigEndian.AppendUint32(dst, nanos)
	for _, m := range []orderedMap{metadata, record} {
		var b []byte
		if err := codec.NewEncoderBytes(&b, msgpackHandle).Encode(m); err != nil {
			return dst, err
		}
		dst = append(dst, b...)
	}
	return dst, nil
}

// appendSample appends a chunk of one event, behind the start of its group if it has one.
func appendSample(dst []byte, at time.Time, metadata, group, record orderedMap) ([]byte, error) {
	var err error
	if group != nil {
		if dst, err = appendEvent(dst, groupStart, 0, orderedMap{}, group); err != nil {
			return dst, err
		}
	}
	if metadata == nil {
		metadata = orderedMap{}
	}
	return appendEvent(dst, uint32(at.Unix()), uint32(at.Nanosecond()), metadata, record)
}
