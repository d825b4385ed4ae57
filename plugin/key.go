package plugin

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/itchyny/timefmt-go"

	"out_amberflo/plugin/spool"
)

// keyFormat is a parsed s3_key_format: literal text and strftime verbs, %N, $UUID and $HASH.
type keyFormat []keyPart

type keyPart struct {
	verb byte   // 'N' nanoseconds, 'U' uuid, 'H' hash; 0: strftime
	text string // for strftime
}

// Verbs of strftime that make sense in a key: no white space, no zone (keys are in UTC).
const keyVerbs = "YyCGgmBbhAawuVUWdjHIMSspFTRD%"

var errNoGz = errors.New("no ending .gz with compression none: Amberflo decides by it")

// parseKeyFormat returns what was wanted as its error. gzip says how objects are compressed: Amberflo
// decides by the extension of the key.
func parseKeyFormat(format string, gzip bool) (keyFormat, error) {
	rest := strings.TrimPrefix(format, "/") // the s3 output's formats begin with a slash
	var k keyFormat
	text := ""
	flush := func() {
		if text != "" {
			k = append(k, keyPart{text: text})
			text = ""
		}
	}
	has := map[byte]bool{}
	special := func(verb byte, n int) {
		flush()
		k = append(k, keyPart{verb: verb})
		has[verb] = true
		rest = rest[n:]
	}
	for rest != "" {
		switch {
		case strings.HasPrefix(rest, "$UUID"):
			special('U', 5)
		case strings.HasPrefix(rest, "$HASH"):
			special('H', 5)
		case strings.HasPrefix(rest, "%N"):
			special('N', 2)
		case rest[0] == '$':
			return nil, fmt.Errorf("only $UUID and $HASH, an object holds records of many tags (at %q)", rest)
		case rest[0] == '%' && (len(rest) < 2 || !strings.Contains(keyVerbs, rest[1:2])):
			return nil, fmt.Errorf("strftime verbs of %%%s and %%N (at %q)", strings.Join(strings.Split(keyVerbs, ""), " %"), rest)
		case rest[0] == '%':
			text += rest[:2]
			rest = rest[2:]
		case rest[0] < ' ' || rest[0] == 0x7f || rest[0] == '\\':
			return nil, fmt.Errorf("no control characters and no backslash (at %q)", rest)
		default:
			text += rest[:1]
			rest = rest[1:]
		}
	}
	flush()
	if !has['U'] && (!has['N'] || !has['H']) {
		return nil, errors.New("$UUID, or both %N and $HASH, so that no object overwrites another")
	}
	example := k.key(spool.Sealed{ID: uuid.Nil, Opened: time.Date(2022, 9, 28, 23, 59, 59, 999999999, time.UTC)})
	most := spool.MaxKey
	if !has['U'] {
		most -= len("-") + len(uuid.Nil.String()) // which meterctl resend adds
	}
	switch {
	case path.Clean(example) != example || !filepath.IsLocal(example):
		return nil, errors.New("a path without empty, . and .. parts")
	case len(url.PathEscape(example)) > most:
		return nil, fmt.Errorf("at most %d bytes in a key, escaped as in a URL, this makes %d", most, len(url.PathEscape(example)))
	case strings.HasSuffix(example, spool.ReasonSuffix) || strings.HasPrefix(path.Base(example), "."):
		return nil, errors.New("a name that does not end in " + spool.ReasonSuffix + " and begins with no point: such files have a meaning of their own")
	case gzip && !strings.HasSuffix(example, ".gz"):
		return nil, errors.New("the ending .gz with compression gzip: Amberflo decides by it")
	case !gzip && strings.HasSuffix(example, ".gz"):
		return nil, errNoGz
	}
	return k, nil
}

// hashed tells if the key holds $HASH.
func (k keyFormat) hashed() bool {
	return slices.ContainsFunc(k, func(p keyPart) bool { return p.verb == 'H' })
}

// key is safe for concurrent use.
func (k keyFormat) key(o spool.Sealed) string {
	var b []byte
	for _, p := range k {
		switch p.verb {
		case 'N':
			b = fmt.Appendf(b, "%09d", o.Opened.Nanosecond())
		case 'U':
			b = append(b, o.ID.String()...)
		case 'H':
			b = hex.AppendEncode(b, o.Sum[:4])
		default:
			b = timefmt.AppendFormat(b, o.Opened.UTC(), p.text)
		}
	}
	return string(b)
}
