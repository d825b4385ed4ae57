package meter

import (
	"cmp"
	"strings"
	"testing"
)

func TestLiteralsMayBeQuoted(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"a word", "acme", `"acme"`},
		{"a string with spaces", "Acme Inc.", `"Acme Inc."`},
		{"a string with a comma", "'Acme, Inc.'", `"Acme, Inc."`},
		{"an apostrophe inside", "O'Brien", `"O'Brien"`},
		{"a number", "42", `"42"`},
		{"in single quotes", "'$5 plan'", `"$5 plan"`},
		{"in double quotes", `"say ""hi"""`, `"say \"hi\""`},
		{"outer spaces are dropped", " acme ", `"acme"`},
		{"outer spaces in quotes stay", "' acme '", `" acme "`},
	} {
		got := mapRecord(t, with(func(o *Options) { o.CustomerID = tt.value }), `{}`)
		if want := strings.Replace(counted, `"acme"`, tt.want, 1) + "}"; got != want {
			t.Errorf("%s: got %s, want %s", tt.name, got, want)
		}
	}
}

func TestALiteralValueKeepsItsDigits(t *testing.T) {
	for value, want := range map[string]string{"1": "1", "0.10": "0.10", "+2": "2", "1e3": "1e3", "'7'": "7"} {
		got := mapRecord(t, with(func(o *Options) { o.MeterValue = value }), `{}`)
		if want := strings.Replace(counted, `"meterValue":1`, `"meterValue":`+want, 1) + "}"; got != want {
			t.Errorf("%s: got %s, want %s", value, got, want)
		}
	}
}

// As a block of YAML has them, and a secret that a shell wrote.
func TestAnOptionMayHaveSeveralLines(t *testing.T) {
	o := Options{CustomerID: "$c\n", Meters: "\nApiCalls=1,\r\n  BytesOut=$n\n", MeterTime: "$t,\nevent\n", UniqueID: "$u,\n generate",
		Dimensions: "region,\nplan=$account[\n'plan' ]\n, source=edge\n"}
	want := `{"customerId":"acme","meterApiName":"ApiCalls","dimensions":{"region":"eu","plan":"pro","source":"edge"},"meterValue":1,"meterTimeInMillis":` + atMillis + `,"uniqueId":"<id>"}
{"customerId":"acme","meterApiName":"BytesOut","dimensions":{"region":"eu","plan":"pro","source":"edge"},"meterValue":7,"meterTimeInMillis":` + atMillis + `,"uniqueId":"<id>"}`
	if got := mapRecord(t, o, `{"c":"acme","n":7,"region":"eu","account":{"plan":"pro"}}`); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAQuotedStringIsTakenAsItStands(t *testing.T) {
	o := Options{CustomerID: "'Team #1 # a'", MeterAPIName: "Calls#2", MeterValue: "1", MeterTime: "$t", MeterTimeFormat: "'%Y-%m-%d'"}
	want := `{"customerId":"Team #1 # a","meterApiName":"Calls#2","meterValue":1,"meterTimeInMillis":1795219200000,"uniqueId":"<id>"}`
	if got := mapRecord(t, o, `{"t":"2026-11-21"}`); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// CASES B2, and the mistakes that each new form invites.
func TestBucketsDivideAnHour(t *testing.T) {
	for _, width := range []string{"", "1s", "1500ms", "90s", "1m", "5m", "15m", "20m", "30m", "1h", "60m"} {
		rules := compile(t, Options{Aggregate: "*", AggregateBucket: width})
		want, _ := ParseDuration(cmp.Or(width, "15m"))
		if names, bucket := rules.Aggregate(); names != "*" || bucket != want {
			t.Errorf("%s: got %s, %s", width, names, bucket)
		}
	}
	if names, bucket := compile(t, Options{}).Aggregate(); names != "" || bucket != 0 {
		t.Errorf("got %s, %s", names, bucket)
	}
	if names, _ := compile(t, Options{Meters: "A=1, 'b c'=2", Aggregate: "'b c',A"}).Aggregate(); names != `"b c", "A"` {
		t.Errorf("got %s", names)
	}
}
