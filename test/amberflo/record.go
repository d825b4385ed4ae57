package amberflo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Record is one meter record that passed every check.
type Record struct {
	Customer   string
	Usage      []Quantity // one, or as many as the record's values have, sorted by meter
	Time       int64      // epoch milliseconds
	UniqueID   string     // empty if the record has none
	Dimensions map[string]string
}

// Quantity is a meter and the exact decimal that a record adds to it.
type Quantity struct {
	Meter string
	Value *big.Rat
}

// parseRecord checks one record and returns everything that is wrong with it. A record with
// problems carries no more than its uniqueId. Keys outside the schema are ignored, as Amberflo does.
func parseRecord(raw []byte) (Record, []string) {
	fields, err := parseObject(raw)
	if err != nil {
		return Record{}, []string{err.Error()}
	}
	var r Record
	var why []string
	wrong := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }

	if s, ok := fields["customerId"].(string); ok && s != "" {
		r.Customer = s
	} else {
		wrong("customerId: want a non-empty string, got %s", show(fields, "customerId"))
	}

	if values, ok := fields["values"]; ok {
		r.Usage, why = parseValues(values, why)
		for _, key := range []string{"meterApiName", "meterValue"} {
			if _, both := fields[key]; both {
				wrong("%s: want none beside values, got %s", key, show(fields, key))
			}
		}
	} else {
		meter, ok := fields["meterApiName"].(string)
		if !ok || meter == "" {
			wrong("meterApiName: want a non-empty string, got %s", show(fields, "meterApiName"))
		}
		value, err := parseNumber(fields["meterValue"])
		if err != nil {
			wrong("meterValue: %v, got %s", err, show(fields, "meterValue"))
		}
		r.Usage = []Quantity{{meter, value}}
	}

	if n, ok := fields["meterTimeInMillis"].(json.Number); ok {
		r.Time, _ = strconv.ParseInt(n.String(), 10, 64)
	}
	if r.Time <= 0 {
		wrong("meterTimeInMillis: want a positive integer of epoch milliseconds, got %s", show(fields, "meterTimeInMillis"))
	}

	if id, ok := fields["uniqueId"]; ok {
		if r.UniqueID, ok = id.(string); !ok {
			wrong("uniqueId: want a string, got %s", show(fields, "uniqueId"))
		}
	}
	if d, ok := fields["dimensions"]; ok {
		r.Dimensions, why = parseDimensions(d, why)
	}
	if len(why) > 0 {
		return Record{UniqueID: r.UniqueID}, why
	}
	return r, nil
}

func parseValues(v any, why []string) ([]Quantity, []string) {
	values, ok := v.(map[string]any)
	if !ok || len(values) == 0 {
		return nil, append(why, fmt.Sprintf("values: want a map of meter to number, got %s", text(v)))
	}
	var usage []Quantity
	for _, meter := range slices.Sorted(maps.Keys(values)) {
		value, err := parseNumber(values[meter])
		if err != nil {
			why = append(why, fmt.Sprintf("values[%q]: %v, got %s", meter, err, text(values[meter])))
		}
		if meter == "" {
			why = append(why, "values: want non-empty meter names, got \"\"")
		}
		usage = append(usage, Quantity{meter, value})
	}
	return usage, why
}

func parseDimensions(v any, why []string) (map[string]string, []string) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, append(why, fmt.Sprintf("dimensions: want a map of string to string, got %s", text(v)))
	}
	dims := make(map[string]string, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		value, ok := m[name].(string)
		if !ok || value == "" || name == "" {
			why = append(why, fmt.Sprintf("dimensions[%q]: want a non-empty name and a non-empty string, got %s", name, text(m[name])))
		}
		dims[name] = value
	}
	return dims, why
}

var errNumber = errors.New("want a number that is finite as a double")

// parseNumber keeps every digit. The bounds keep 1e999999999 from being written out; Amberflo holds
// values in doubles, which end well within them.
func parseNumber(v any) (*big.Rat, error) {
	n, ok := v.(json.Number)
	if !ok {
		return nil, errNumber
	}
	if i, err := n.Int64(); err == nil {
		return new(big.Rat).SetInt64(i), nil
	}
	s := n.String()
	_, err := n.Float64()
	if err != nil || len(s) > 1000 {
		return nil, errNumber
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		if exp, err := strconv.Atoi(s[i+1:]); err != nil || exp < -1000 || exp > 1000 {
			return nil, errNumber
		}
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil, errNumber
	}
	return r, nil
}

// parseObject reads exactly one JSON object, and unlike encoding/json refuses bytes that are not
// UTF-8, keys that come twice, and takes keys only in their exact spelling.
func parseObject(raw []byte) (map[string]any, error) {
	if !utf8.Valid(raw) {
		return nil, errors.New("want UTF-8, got other bytes")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	v, err := parseValue(dec, 0)
	if err != nil {
		return nil, fmt.Errorf("want a JSON object: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("want one JSON object, got more behind it")
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("want a JSON object, got %s", text(v))
	}
	return m, nil
}

const maxDepth = 100

func parseValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	t, err := dec.Token()
	if err == io.EOF {
		return nil, io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		m := map[string]any{}
		for dec.More() {
			k, err := dec.Token()
			if err != nil {
				return nil, err
			}
			key := k.(string)
			if _, twice := m[key]; twice {
				return nil, fmt.Errorf("key %q comes twice", key)
			}
			if m[key], err = parseValue(dec, depth+1); err != nil {
				return nil, err
			}
		}
		_, err = dec.Token()
		return m, err
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			v, err := parseValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = dec.Token()
		return list, err
	default:
		return t, nil
	}
}

func show(fields map[string]any, key string) string {
	v, ok := fields[key]
	if !ok {
		return "nothing"
	}
	return text(v)
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%v", v)
	}
	if len(b) > 80 {
		return strings.ToValidUTF8(string(b[:80]), "") + "…"
	}
	return string(b)
}
