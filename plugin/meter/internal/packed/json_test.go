package packed

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

func TestAppendJSONRendersEveryKindOfValue(t *testing.T) {
	for _, tt := range []struct{ name, msgpack, want string }{
		{"nil", "\xc0", `null`},
		{"booleans", "\x92\xc2\xc3", `[false,true]`},
		{"the largest uint64", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", `18446744073709551615`},
		{"the smallest int64", "\xd3\x80\x00\x00\x00\x00\x00\x00\x00", `-9223372036854775808`},
		{"an integer beyond 2^53", "\xcf\x00\x20\x00\x00\x00\x00\x00\x01", `9007199254740993`},
		{"a float", string(msgp.AppendFloat64(nil, 0.1)), `0.1`},
		{"a float without a fraction", string(msgp.AppendFloat64(nil, 12)), `12.0`},
		{"a small float", string(msgp.AppendFloat64(nil, 5e-324)), `5e-324`},
		{"a large float", string(msgp.AppendFloat64(nil, math.MaxFloat64)), `1.7976931348623157e+308`},
		{"NaN becomes null", string(msgp.AppendFloat64(nil, math.NaN())), `null`},
		{"infinity becomes null", string(msgp.AppendFloat64(nil, math.Inf(-1))), `null`},
		{"a map keeps order and duplicates", "\x83\xa1b\x01\xa1a\x02\xa1b\x03", `{"b":1,"a":2,"b":3}`},
		{"nested and empty containers", "\x82\xa1a\x92\x90\x80\xa1b\x81\xa1c\xc0", `{"a":[[],{}],"b":{"c":null}}`},
		{"control characters are escaped", "\xa6a\x00\x1f\n\"\\", `"a\u0000\u001f\n\"\\"`},
		{"no HTML escaping", "\xa3<&>", `"<&>"`},
		{"UTF-8 stays", "\xa5Z\xc3\xbcri", `"Züri"`},
		{"bytes that are no UTF-8 become U+FFFD", "\xa3a\xffb", `"a\uFFFDb"`},
		{"bin that is UTF-8 becomes a string", "\xc4\x02hi", `"hi"`},
		{"bin that is no UTF-8 becomes hex", "\xc4\x02\xff\x00", `"ff00"`},
		{"empty bin", "\xc4\x00", `""`},
		{"an event time", "\xd7\x00\x6b\x01\xf8\x40\x07\x5b\xcd\x15", `"2026-11-21T20:00:00.123456789Z"`},
		{"a msgpack time", "\xd6\xff\x6b\x01\xf8\x40", `"2026-11-21T20:00:00Z"`},
		{"a float32 as its own shortest string", string(msgp.AppendFloat32(nil, 0.1)), `0.1`},
		{"a msgpack time of a wrong size", "\xc7\x03\xffabc", `{"type":-1,"data":"YWJj"}`},
		{"a msgpack time of a far year", "\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff", `{"type":-1,"data":"AAAAAH//////////"}`},
		{"another extension", "\xd5\x05ab", `{"type":5,"data":"YWI="}`},
		{"an extension without bytes", "\xc7\x00\x05", `{"type":5,"data":""}`},
		{"maps as keys of maps", strings.Repeat("\x81", 3) + "\x01\x02\x03\x04", `{"gYEBAgM=":4}`},
		{"keys that are no strings", "\x87\x01\x01\xc0\x02\xc3\x03\x91\x05\x04\xc4\x01k\x05\xc4\x01\xff\x06" + string(msgp.AppendFloat64(nil, math.NaN())) + "\x07",
			`{"1":1,"null":2,"true":3,"kQU=":4,"k":5,"ff":6,"null":7}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := AppendJSON([]byte("x"), []byte(tt.msgpack))
			if err != nil || string(got) != "x"+tt.want {
				t.Errorf("got %s, %v; want x%s", got, err, tt.want)
			}
			if !json.Valid(got[1:]) {
				t.Errorf("%s is no JSON", got[1:])
			}
		})
	}
}

func TestAppendJSONFailsForWhatIsNotOneValue(t *testing.T) {
	for _, tt := range []struct{ name, msgpack string }{
		{"nothing", ""},
		{"two values", "\x01\x02"},
		{"a value that breaks off", "\x92\x01"},
		{"a byte that begins nothing", "\xc1"},
		{"a map that promises billions", "\xdf\xff\xff\xff\xff"},
		{"nesting beyond the bound", strings.Repeat("\x91", 600) + "\x01"},
		{"nesting far beyond the bound", strings.Repeat("\x91", 1<<20) + "\x01"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := AppendJSON([]byte("x"), []byte(tt.msgpack)); err == nil || string(got) != "x" {
				t.Errorf("got %.80s, %v; want x and an error", got, err)
			}
		})
	}
}

func TestPlainAndEscapedTextsReadBack(t *testing.T) {
	var all strings.Builder
	for r := rune(0); r < 0x300; r++ {
		all.WriteRune(r)
	}
	for _, s := range []string{"", "plain", "\x00", `"`, "日本語 \u2028 \U0001f600", all.String(), strings.Repeat("a", 100) + "\x7f\\"} {
		got, ok := AppendString(nil, []byte(s))
		var back string
		if err := json.Unmarshal(got, &back); !ok || err != nil || back != s {
			t.Errorf("%q: got %s, %v", s, got, err)
		}
		if bytes.IndexByte(got, 0) >= 0 {
			t.Errorf("%q: a raw NUL in %q", s, got)
		}
	}
	if got, ok := AppendString([]byte("x"), []byte("a\xff")); ok || string(got) != "x" {
		t.Errorf("no UTF-8: got %q, %v", got, ok)
	}
}

func FuzzAppendJSON(f *testing.F) {
	for _, s := range []string{"\xc0", "\x82\xa1a\x01\xa1b\x93\xc3\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\xa3x\xffy", "\xd7\xff\x00\x00\x00\x00\x00\x00\x00\x01", "\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := AppendJSON([]byte{'x'}, b)
		if got[0] != 'x' {
			t.Fatal("dst was not kept")
		}
		if got = got[1:]; err != nil {
			if len(got) != 0 {
				t.Fatalf("%v, but %q was appended", err, got)
			}
			return
		}
		if !json.Valid(got) || bytes.ContainsAny(got, "\x00\n") {
			t.Fatalf("%x gives %q", b, got)
		}
		// Another renderer has to read the same numbers and strings, where both can say the value at all.
		if msgp.NextType(b) == msgp.IntType || msgp.NextType(b) == msgp.UintType {
			n, _, _ := msgp.ReadJSONNumberBytes(b)
			if u, _, err := msgp.ReadUint64Bytes(b); err == nil && u > math.MaxInt64 {
				return
			}
			if string(n) != string(got) {
				t.Fatalf("%x gives %s, want %s", b, got, n)
			}
		}
	})
}
