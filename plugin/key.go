package plugin

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/itchyny/timefmt-go"

	"out_amberflo/plugin/object"
	"out_amberflo/plugin/spool"
)

// keyFormat is an s3_key_format: literal strings, strftime verbs, %N, $UUID and $HASH.
type keyFormat string

// Verbs of strftime that make sense in a key: no white space, no zone (keys are in UTC).
const keyVerbs = "YyCGgmBbhAawuVUWdjHIMSspFTRD%"

var errNoGz = errors.New("no ending .gz with compression none: Amberflo decides by it")

// parseKeyFormat returns what was wanted as its error. gzip says how objects are compressed: Amberflo
// decides by the extension of the key.
func parseKeyFormat(format string, gzip bool) (keyFormat, error) {
	k := keyFormat(strings.TrimPrefix(format, "/")) // the s3 output's formats begin with a slash
	rest := k.with("-", "-", "-")
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '$':
			return "", fmt.Errorf("only $UUID and $HASH, an object holds records of many tags (at %q)", rest[i:])
		case c == '%' && (i+1 == len(rest) || !strings.Contains(keyVerbs, rest[i+1:i+2])):
			return "", fmt.Errorf("strftime verbs of %%%s and %%N (at %q)", strings.Join(strings.Split(keyVerbs, ""), " %"), rest[i:])
		case c == '%':
			i++
		case c < ' ' || c == 0x7f || c == '\\':
			return "", fmt.Errorf("no control characters and no backslash (at %q)", rest[i:])
		}
	}
	hasUUID := strings.Contains(string(k), "$UUID")
	if !hasUUID && (!k.hashed() || k.with("", "-", "-") == k.with("-", "-", "-")) {
		return "", errors.New("$UUID, or both %N and $HASH, so that no object overwrites another")
	}
	example := k.key(object.Sealed{ID: uuid.Nil, Opened: time.Date(2022, 9, 28, 23, 59, 59, 999999999, time.UTC)})
	most := spool.MaxKey
	if !hasUUID {
		most -= len("-") + len(uuid.Nil.String()) // which meterctl resend adds
	}
	switch {
	case path.Clean(example) != example || !filepath.IsLocal(example):
		return "", errors.New("a path without empty, . and .. parts")
	case len(url.PathEscape(example)) > most:
		return "", fmt.Errorf("at most %d bytes in a key, escaped as in a URL, this makes %d", most, len(url.PathEscape(example)))
	case strings.HasSuffix(example, spool.ReasonSuffix) || strings.HasPrefix(path.Base(example), "."):
		return "", errors.New("a name that does not end in " + spool.ReasonSuffix + " and begins with no point: such files have a meaning of their own")
	case gzip && !strings.HasSuffix(example, ".gz"):
		return "", errors.New("the ending .gz with compression gzip: Amberflo decides by it")
	case !gzip && strings.HasSuffix(example, ".gz"):
		return "", errNoGz
	}
	return k, nil
}

// hashed tells if the key holds $HASH.
func (k keyFormat) hashed() bool { return strings.Contains(string(k), "$HASH") }

// key is safe for concurrent use.
func (k keyFormat) key(o object.Sealed) string {
	return timefmt.Format(o.Opened.UTC(), k.with(fmt.Sprintf("%09d", o.Opened.Nanosecond()), o.ID.String(), hex.EncodeToString(o.Sum[:4])))
}

// with puts what strftime does not know into k.
func (k keyFormat) with(nanos, id, hash string) string {
	return strings.NewReplacer("%%", "%%", "%N", nanos, "$UUID", id, "$HASH", hash).Replace(string(k))
}
