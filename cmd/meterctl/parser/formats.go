package parser

import (
	"strings"
	"time"
)

// json reads one object; a line with another one after it, or with a number that no double holds, is none (flb_parser_json.c).
func (p *Parser) json(line string) (Map, time.Time, bool) {
	record, err := lineObject([]byte(line))
	if err != nil {
		return nil, time.Time{}, false
	}
	if p.times == nil {
		return record, time.Time{}, true
	}
	for i := 0; i < len(record); i += 2 {
		if record[i] != any(p.timeKey) {
			continue
		}
		text, isText := record[i+1].(string)
		if !isText {
			break
		}
		at, ok := p.time(text)
		if ok && !p.timeKeep {
			record = append(record[:i:i], record[i+2:]...)
		}
		return record, at, true
	}
	return record, time.Time{}, true
}

// ltsv reads label:value pairs that a tab parts (flb_parser_ltsv.c).
func (p *Parser) ltsv(line string) (Map, time.Time, bool) {
	record, at := Map{}, time.Time{}
	rest := line
	for rest != "" {
		end := strings.IndexFunc(rest, func(r rune) bool {
			return r != '.' && r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
		})
		if end < 0 || rest[end] != ':' {
			break
		}
		label, value := rest[:end], rest[end+1:]
		rest = ""
		if end = strings.IndexAny(value, "\t\r\n\x00"); end >= 0 {
			value, rest = value[:end], value[end:]
		}
		if label != "" {
			var ok bool
			if record, at, ok = p.pair(record, at, label, value, typed(p.types[label], value)); !ok {
				return nil, time.Time{}, false
			}
		}
		var more bool
		if rest, more = strings.CutPrefix(rest, "\t"); !more {
			break
		}
	}
	return record, at, len(record) > 0
}

// pair appends a pair, or takes the time from it. It is false if the value is no time, on which logfmt and ltsv give up.
func (p *Parser) pair(record Map, at time.Time, key, text string, value any) (Map, time.Time, bool) {
	if p.times != nil && key == p.timeKey && text != "" {
		var ok bool
		if at, ok = p.time(text); !ok {
			return nil, at, false
		}
		if !p.timeKeep {
			return record, at, true
		}
	}
	return append(record, key, value), at, true
}

// logfmt reads key=value, key="value" and key (flb_parser_logfmt.c).
func (p *Parser) logfmt(line string) (Map, time.Time, bool) {
	record, at := Map{}, time.Time{}
	for i := 0; i < len(line); {
		if !isIdent(line[i]) {
			i++
			continue
		}
		from := i
		for i < len(line) && isIdent(line[i]) {
			i++
		}
		key, text := line[from:i], ""
		var set, quoted, escaped bool
		if set = i < len(line) && line[i] == '='; set {
			i++
			text, quoted, escaped, i = logfmtValue(line, i)
		}
		if p.noBare && !set {
			return nil, time.Time{}, false
		}
		var ok bool
		if record, at, ok = p.pair(record, at, key, text, p.logfmtTyped(key, text, quoted, escaped)); !ok {
			return nil, time.Time{}, false
		}
	}
	return record, at, len(record) > 0
}

// logfmtTyped is what a value becomes: with Types, no string is unescaped, and a bare key has none.
func (p *Parser) logfmtTyped(key, text string, quoted, escaped bool) any {
	switch {
	case len(p.types) > 0:
		return typed(p.types[key], text)
	case text == "" && !quoted:
		return true
	case escaped:
		return unescape(text)
	}
	return text
}

func logfmtValue(line string, i int) (text string, quoted, escaped bool, end int) {
	if i < len(line) && line[i] == '"' {
		from := i + 1
		for i = from; i < len(line) && line[i] != '"'; i++ {
			if line[i] == '\\' {
				escaped = true
				i++
			}
		}
		i = min(i, len(line))
		return line[from:i], true, escaped, min(i+1, len(line))
	}
	from := i
	for i < len(line) && isIdent(line[i]) {
		i++
	}
	return line[from:i], false, false, i
}

func isIdent(c byte) bool { return c > ' ' && c != '=' && c != '"' }
