package amberflo

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// content is an object's body taken apart; the records share one buffer.
type content struct {
	members int
	format  string
	records [][]byte
}

const space = " \t\r\n" // as JSON has it

// unpack undoes gzip if, and only if, the key says so, and cuts the body into records. An error
// refuses the object as a whole.
func unpack(key string, body []byte) (content, error) {
	var c content
	gz := bytes.HasPrefix(body, []byte{0x1f, 0x8b})
	switch {
	case strings.HasSuffix(key, ".gz"):
		if !gz {
			return c, errors.New("key ends in .gz: want a gzip body, got another")
		}
		var err error
		if body, c.members, err = gunzip(body); err != nil {
			return c, err
		}
	case gz:
		return c, errors.New("key does not end in .gz: want a plain body, got gzip")
	}

	var err error
	if trimmed := bytes.TrimLeft(body, space); len(trimmed) > 0 && trimmed[0] == '[' {
		c.format = "json_array"
		c.records, err = cutArray(body)
	} else {
		c.format = "ndjson"
		c.records = cutLines(body)
	}
	if err == nil && len(c.records) == 0 {
		err = errors.New("want records, got none")
	}
	return c, err
}

// gunzip reads all members. Anything behind the last one, padding included, is an error.
func gunzip(body []byte) (plain []byte, members int, err error) {
	in := bufio.NewReader(bytes.NewReader(body)) // an io.ByteReader, so that no member reads ahead
	zr, err := gzip.NewReader(in)
	var out bytes.Buffer
	for err == nil {
		zr.Multistream(false)
		if _, err = io.Copy(&out, zr); err != nil {
			break
		}
		members++
		err = zr.Reset(in)
	}
	if err != io.EOF {
		return nil, members, fmt.Errorf("gunzip behind %d members: %w", members, err)
	}
	return out.Bytes(), members, nil
}

func cutLines(body []byte) [][]byte {
	var records [][]byte
	for line := range bytes.Lines(body) {
		if line = bytes.Trim(line, space); len(line) > 0 {
			records = append(records, line)
		}
	}
	return records
}

func cutArray(body []byte) ([][]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("read JSON array: %w", err)
	}
	var records [][]byte
	for dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return records, fmt.Errorf("read JSON array behind %d records: %w", len(records), err)
		}
		records = append(records, raw)
	}
	if _, err := dec.Token(); err != nil {
		return records, fmt.Errorf("read JSON array behind %d records: %w", len(records), err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return records, errors.New("want nothing behind the JSON array, got more")
	}
	return records, nil
}
