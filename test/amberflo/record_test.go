package amberflo

import (
	"math/big"
	"slices"
	"strings"
	"testing"
)

func TestParseRecord(t *testing.T) {
	const good = `{"customerId":"acme","meterApiName":"ApiCalls","meterValue":1,"meterTimeInMillis":1654611288000,"uniqueId":"u-1","dimensions":{"method":"GET"}}`
	with := func(old, new string) string {
		s := strings.Replace(good, old, new, 1)
		if s == good {
			t.Fatalf("%s is not in the record", old)
		}
		return s
	}
	for _, tc := range []struct {
		name, in, why string // why is a part of the only problem; empty if there must be none
	}{
		{"a full record counts", good, ""},
		{"a record without uniqueId counts", with(`"uniqueId":"u-1",`, ``), ""},
		{"a record without dimensions counts", with(`,"dimensions":{"method":"GET"}`, ``), ""},
		{"empty dimensions count", with(`{"method":"GET"}`, `{}`), ""},
		{"unknown keys are ignored", with(`{"cust`, `{"x":[{"y":null}],"cust`), ""},
		{"a negative fraction is a value", with(`:1,`, `:-0.25,`), ""},
		{"an exponent is a value", with(`:1,`, `:1.5e3,`), ""},
		{"values replace the one meter", with(`"meterApiName":"ApiCalls","meterValue":1`, `"values":{"ApiCalls":1,"BytesOut":2.5}`), ""},

		{"no customer", with(`"customerId":"acme",`, ``), "customerId: want a non-empty string, got nothing"},
		{"an empty customer", with(`"acme"`, `""`), `customerId: want a non-empty string, got ""`},
		{"a number as customer", with(`"acme"`, `7`), "customerId: want a non-empty string, got 7"},
		{"a key in another case is another key", with(`"customerId"`, `"customerID"`), "customerId: want"},
		{"no meter", with(`"meterApiName":"ApiCalls",`, ``), "meterApiName: want a non-empty string, got nothing"},
		{"an empty meter", with(`"ApiCalls"`, `""`), "meterApiName: want"},
		{"a null meter", with(`"ApiCalls"`, `null`), "meterApiName: want a non-empty string, got null"},
		{"no value", with(`"meterValue":1,`, ``), "meterValue: want a number that is finite as a double, got nothing"},
		{"a numeric string is no value", with(`:1,`, `:"1",`), "meterValue: want"},
		{"true is no value", with(`:1,`, `:true,`), "meterValue: want"},
		{"a value beyond a double", with(`:1,`, `:1e309,`), "meterValue: want"},
		{"a value with an endless exponent", with(`:1,`, `:1e-999999999,`), "meterValue: want"},
		{"NaN is no JSON", with(`:1,`, `:NaN,`), "want a JSON object: invalid character"},
		{"no time", with(`"meterTimeInMillis":1654611288000,`, ``), "meterTimeInMillis: want a positive integer of epoch milliseconds, got nothing"},
		{"the time zero", with(`1654611288000`, `0`), "meterTimeInMillis: want"},
		{"a time before 1970", with(`1654611288000`, `-5`), "meterTimeInMillis: want"},
		{"a fractional time", with(`1654611288000`, `1654611288000.5`), "meterTimeInMillis: want"},
		{"a time as text", with(`1654611288000`, `"1654611288000"`), "meterTimeInMillis: want"},
		{"a number as uniqueId", with(`"u-1"`, `1`), "uniqueId: want a string, got 1"},
		{"dimensions as a list", with(`{"method":"GET"}`, `["GET"]`), "dimensions: want a map of string to string"},
		{"null dimensions", with(`{"method":"GET"}`, `null`), "dimensions: want"},
		{"a number in dimensions", with(`"GET"`, `200`), `dimensions["method"]: want a non-empty name and a non-empty string, got 200`},
		{"an empty dimension", with(`"GET"`, `""`), `dimensions["method"]: want`},
		{"a dimension without name", with(`"method"`, `""`), `dimensions[""]: want`},
		{"values beside a meter", with(`{"cust`, `{"values":{"A":1},"cust`), "meterApiName: want none beside values"},
		{"values that are empty", with(`"meterApiName":"ApiCalls","meterValue":1`, `"values":{}`), "values: want a map of meter to number"},
		{"text among values", with(`"meterApiName":"ApiCalls","meterValue":1`, `"values":{"A":"1"}`), `values["A"]: want a number`},

		{"a key that comes twice", with(`{"cust`, `{"meterValue":1,"cust`), `key "meterValue" comes twice`},
		{"a dimension that comes twice", with(`{"method":"GET"`, `{"method":"GET","method":"GET"`), `key "method" comes twice`},
		{"bytes that are not UTF-8", with(`acme`, "ac\xffme"), "want UTF-8"},
		{"an array", `[` + good + `]`, "want a JSON object, got ["},
		{"a string", `"x"`, `want a JSON object, got "x"`},
		{"a record that breaks off", good[:len(good)-5], "want a JSON object: "},
		{"nothing", ``, "want a JSON object: unexpected EOF"},
		{"two records on one line", good + good, "want one JSON object, got more"},
		{"a record without end of nesting", strings.Repeat(`{"a":`, 5000), "nested deeper"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, why := parseRecord([]byte(tc.in))
			if tc.why == "" {
				if len(why) > 0 {
					t.Fatalf("got problems %q, want none", why)
				}
				return
			}
			found := slices.ContainsFunc(why, func(w string) bool { return strings.Contains(w, tc.why) })
			if !found {
				t.Fatalf("got problems %q, want %q", why, tc.why)
			}
		})
	}
}

func TestParseRecordKeepsWhatIsThere(t *testing.T) {
	r, why := parseRecord([]byte(`{"customerId":"é","values":{"B":9007199254740993,"A":0.1},"meterTimeInMillis":12,"uniqueId":"u","dimensions":{"k":"v"}}`))
	if why != nil {
		t.Fatal(why)
	}
	if r.Customer != "é" || r.Time != 12 || r.UniqueID != "u" || r.Dimensions["k"] != "v" {
		t.Errorf("got %+v", r)
	}
	var got []string
	for _, q := range r.Usage {
		got = append(got, q.Meter+"="+Decimal(q.Value))
	}
	if want := []string{"A=0.1", "B=9007199254740993"}; !slices.Equal(got, want) {
		t.Errorf("got usage %q, want %q", got, want)
	}
}

func TestParseRecordNamesEveryProblem(t *testing.T) {
	r, why := parseRecord([]byte(`{"uniqueId":"u-9","meterValue":"12abc"}`))
	if len(why) != 4 || r.UniqueID != "u-9" {
		t.Errorf("got %q of record %q, want 4 problems of record u-9", why, r.UniqueID)
	}
}

func TestDecimal(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "3": "3", "-1.50": "-1.5", "1e3": "1000", "0.1": "0.1", "1/3": "1/3",
		"123456789012345678901234567890.000001": "123456789012345678901234567890.000001",
	} {
		r, ok := new(big.Rat).SetString(in)
		if !ok {
			t.Fatalf("%s is no number", in)
		}
		if got := Decimal(r); got != want {
			t.Errorf("Decimal(%s) = %s, want %s", in, got, want)
		}
	}
}

func TestUnpack(t *testing.T) {
	const a, b = `{"a":1}`, `{"b":2}`
	gz := gzipped(t, a+"\n"+b+"\n")
	for _, tc := range []struct {
		name, key, body string
		records         []string
		members         int
		why             string
	}{
		{"lines", "k", a + "\n" + b + "\n", []string{a, b}, 0, ""},
		{"the last line needs no end", "k", a + "\n" + b, []string{a, b}, 0, ""},
		{"blank lines and CRLF", "k", a + "\r\n\n" + b + "\r\n", []string{a, b}, 0, ""},
		{"an array", "k", " [" + a + ",\n" + b + "]\n", []string{a, b}, 0, ""},
		{"gzip under .gz", "k.gz", gz, []string{a, b}, 1, ""},
		{"two members", "k.gz", gzipped(t, a+"\n", b+"\n"), []string{a, b}, 2, ""},
		{"an array in gzip", "k.json.gz", gzipped(t, "["+a+"]"), []string{a}, 1, ""},
		{"lines that are no records stay lines", "k", "x\n" + b, []string{"x", b}, 0, ""},

		{"gzip under another name", "k", gz, nil, 0, "key does not end in .gz"},
		{"plain under .gz", "k.gz", a, nil, 0, "key ends in .gz: want a gzip body"},
		{".GZ is another name", "k.GZ", gz, nil, 0, "key does not end in .gz"},
		{"garbage behind gzip", "k.gz", gz + "garbage behind it", nil, 1, "gunzip behind 1 members: gzip: invalid header"},
		{"padding behind gzip", "k.gz", gz + "\x00", nil, 1, "gunzip behind 1 members: unexpected EOF"},
		{"gzip that breaks off", "k.gz", gz[:len(gz)-3], nil, 0, "gunzip behind 0 members: unexpected EOF"},
		{"gzip with a wrong checksum", "k.gz", gz[:len(gz)-8] + "12345678", nil, 0, "gzip: invalid checksum"},
		{"an empty object", "k", "", nil, 0, "want records, got none"},
		{"an empty array", "k", "[]", nil, 0, "want records, got none"},
		{"an array that breaks off", "k", "[" + a + ",", []string{a}, 0, "read JSON array behind 1 records"},
		{"an array without end", "k", "[" + a, []string{a}, 0, "read JSON array behind 1 records"},
		{"something behind an array", "k", "[" + a + "]" + b, []string{a}, 0, "nothing behind the JSON array"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := unpack(tc.key, []byte(tc.body))
			var got []string
			for _, r := range c.records {
				got = append(got, string(r))
			}
			if !slices.Equal(got, tc.records) || c.members != tc.members {
				t.Errorf("got %q of %d members, want %q of %d", got, c.members, tc.records, tc.members)
			}
			if (err == nil) != (tc.why == "") || err != nil && !strings.Contains(err.Error(), tc.why) {
				t.Errorf("got error %v, want %q", err, tc.why)
			}
		})
	}
}
