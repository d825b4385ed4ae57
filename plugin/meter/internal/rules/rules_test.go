package rules

import (
	"strings"
	"testing"
)

func TestEveryMistakeInTheOptionsIsExplained(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options Options
		want    string
	}{
		{"an accessor without its end", Options{CustomerID: "$a['b'"}, `customer_id: want a closing ], got the end, for example: customer_id $tenant
    $a['b'
          ^`},
		{"a string without its end", Options{CustomerID: "$a['b]"}, `customer_id: want a closing ', got the end, for example: customer_id $tenant
    $a['b]
          ^`},
		{"nested keys by a dot", Options{CustomerID: "$account.id"}, `customer_id: want no dot: a nested key is written $account['key'], a key with a dot $['account.key'], got ".id", for example: customer_id $tenant
    $account.id
            ^`},
		{"double quotes", Options{CustomerID: `$a["b"]`}, `customer_id: want a key in single quotes, an index or a $field, got "\"b\"]", for example: customer_id $tenant
    $a["b"]
       ^`},
		{"an index with a leading zero", Options{CustomerID: "$a[01]"}, `customer_id: want an index such as 0 or 12, got "01]", for example: customer_id $tenant
    $a[01]
       ^`},
		{"a negative index", Options{CustomerID: "$a[-1]"}, `customer_id: want a key in single quotes, an index or a $field, got "-1]", for example: customer_id $tenant
    $a[-1]
       ^`},
		{"an index beyond 31 bits", Options{CustomerID: "$a[4294967296]"}, `customer_id: want an index such as 0 or 12, got "4294967296]", for example: customer_id $tenant
    $a[4294967296]
       ^`},
		{"a $ alone", Options{CustomerID: "$"}, `customer_id: want a key after the $, got the end, for example: customer_id $tenant
    $
     ^`},
		{"a capture of a regular expression", Options{CustomerID: "$1"}, `customer_id: want a key: there are no captures of a regular expression here, got "1", for example: customer_id $tenant
    $1
     ^`},
		{"an index as the first key", Options{CustomerID: "$[0]"}, `customer_id: want a key in single quotes, such as $['my key'], got "0]", for example: customer_id $tenant
    $[0]
      ^`},
		{"a key of the tag", Options{CustomerID: "$TAG['a']"}, `customer_id: want $TAG or one part of it, such as $TAG[1], got "['a']", for example: customer_id $tenant
    $TAG['a']
        ^`},
		{"a template", Options{CustomerID: "acct-$id"}, `customer_id: want no $ inside a literal: a value is one accessor, or a literal in quotes, got "$id", for example: customer_id $tenant
    acct-$id
         ^`},
		{"string after an accessor", Options{CustomerID: "$a-b c"}, `customer_id: want one literal, or accessors separated by commas (a literal after them needs quotes if it has spaces or commas), got "c", for example: customer_id $tenant
    $a-b c
         ^`},
		{"a position after letters of several bytes", Options{CustomerID: "Zürich $a"}, `customer_id: want no $ inside a literal: a value is one accessor, or a literal in quotes, got "$a", for example: customer_id $tenant
    Zürich $a
           ^`},
		{"an empty literal", Options{CustomerID: `""`}, `customer_id: want a string that is not empty, got "\"\"", for example: customer_id $tenant
    ""
    ^`},
		{"a literal that is no UTF-8", Options{CustomerID: "a\xff"}, `customer_id: want UTF-8, got "a\xff", for example: customer_id $tenant
    a�
    ^`},
		{"a value that is no number", Options{MeterValue: "one"}, `meter_value: want a number, an accessor such as $bytes, or a function of one such as ms($latency), got "one", for example: meter_value $bytes
    one
    ^`},
		{"meters without a value", Options{Meters: "ApiCalls=1, Bytes"}, `meters: want name=value, got "Bytes", for example: meters ApiCalls=1, BytesOut=$bytes
    ApiCalls=1, Bytes
                ^`},
		{"meters with a value that is no number", Options{Meters: "ApiCalls=1, Bytes=many"}, `meters: want a number, an accessor such as $bytes, or a function of one such as ms($latency), got "many", for example: meters ApiCalls=1, BytesOut=$bytes
    ApiCalls=1, Bytes=many
                      ^`},
		{"meters with one name twice", Options{Meters: "a=1, a=2"}, `meters: want each name once, got "a=2", for example: meters ApiCalls=1, BytesOut=$bytes
    a=1, a=2
         ^`},
		{"meters without a comma", Options{Meters: "a=1 b=2"}, `meters: want a comma, or quotes around a string with spaces, got "b=2", for example: meters ApiCalls=1, BytesOut=$bytes
    a=1 b=2
        ^`},
		{"meters and a name", Options{Meters: "a=1", MeterAPIName: "b"}, `meter_api_name: want nothing beside meters, which replaces it, got "b", for example: meter_api_name (leave it out)`},
		{"meters and a value", Options{Meters: "a=1", MeterValue: "1"}, `meter_value: want nothing beside meters, which replaces it, got "1", for example: meter_value (leave it out)`},
		{"a time that is a literal", Options{MeterTime: "1795291200"}, `meter_time: want an accessor such as $key, or the word event, got "1795291200", for example: meter_time $time, event
    1795291200
    ^`},
		{"a word after event", Options{MeterTime: "$a, event, $b"}, `meter_time: want the end after event, got ", $b", for example: meter_time $time, event
    $a, event, $b
             ^`},
		{"times without a comma", Options{MeterTime: "$a $b"}, `meter_time: want a comma or the end, got "$b", for example: meter_time $time, event
    $a $b
       ^`},
		{"an unknown format of time", Options{MeterTimeFormat: "unixms"}, `meter_time_format: want auto, unix, unix_ms, unix_us, unix_ns, rfc3339 or a strptime layout, got "unixms", for example: meter_time_format %d/%b/%Y:%H:%M:%S %z`},
		{"a layout with an unknown verb", Options{MeterTimeFormat: "%Y-%m-%d %Q"}, `meter_time_format: want a strptime layout (unexpected format "%Q"), got "%Y-%m-%d %Q", for example: meter_time_format %d/%b/%Y:%H:%M:%S %z`},
		{"a layout without a year", Options{MeterTimeFormat: "%d/%b %H:%M"}, `meter_time_format: want a strptime layout that holds year, month and day, got "%d/%b %H:%M", for example: meter_time_format %d/%b/%Y:%H:%M:%S %z`},
		{"a layout with hours of half a day", Options{MeterTimeFormat: "%Y-%m-%d %I:%M"}, `meter_time_format: want a strptime layout with %p beside %I, or with %H, got "%Y-%m-%d %I:%M", for example: meter_time_format %d/%b/%Y:%H:%M:%S %z`},
		{"a layout with the month for the minutes", Options{MeterTimeFormat: "%F %H:%m"}, `meter_time_format: want a strptime layout with the month once (%m is the month, %M the minute), got "%F %H:%m", for example: meter_time_format %d/%b/%Y:%H:%M:%S %z`},
		{"a layout with month and minute in each other's place", Options{MeterTimeFormat: "%Y-%M-%d %H:%m:%S"}, `meter_time_format: want a strptime layout with the minute, %M, after the hour (%m is the month), got "%Y-%M-%d %H:%m:%S", for example: meter_time_format %d/%b/%Y:%H:%M:%S %z`},
		{"a layout with seconds for the minutes", Options{MeterTimeFormat: "%F %H:%S"}, `meter_time_format: want a strptime layout with %M, the minute, beside %S, got "%F %H:%S", for example: meter_time_format %d/%b/%Y:%H:%M:%S %z`},
		{"a layout with two days", Options{MeterTimeFormat: "%-d %e.%m.%Y"}, `meter_time_format: want a strptime layout with the day once (%m is the month, %M the minute), got "%-d %e.%m.%Y", for example: meter_time_format %d/%b/%Y:%H:%M:%S %z`},
		{"a line break in a literal", Options{CustomerID: "acme\n-eu"}, `customer_id: want a string without line breaks and other control characters, got "acme\n-eu", for example: customer_id $tenant
    acme -eu
    ^`},
		{"a line break in a quoted name", Options{Dimensions: "'a\nb'=c"}, `dimensions: want a string without line breaks and other control characters, got "'a\nb'=c", for example: dimensions region, plan=$account['plan'], source=edge
    'a b'=c
    ^`},
		{"a comment after a name with a #", Options{CustomerID: "C#corp   # the payer"}, `customer_id: want no comment after a value, or quotes around a string with a #, got "# the payer", for example: customer_id $tenant
    C#corp   # the payer
             ^`},
		{"a comment", Options{MeterAPIName: "ApiCalls # one per request"}, `meter_api_name: want no comment after a value, or quotes around a string with a #, got "# one per request", for example: meter_api_name ApiCalls
    ApiCalls # one per request
             ^`},
		{"a mistake in the second of two lines", Options{Meters: "a=1,\nb=x"}, `meters: want a number, an accessor such as $bytes, or a function of one such as ms($latency), got "x", for example: meters ApiCalls=1, BytesOut=$bytes
    a=1, b=x
           ^`},
		{"a layout with the name of a zone", Options{MeterTimeFormat: "%Y-%m-%d %Z"}, `meter_time_format: want a layout with %z instead of %Z, because the name of a zone does not tell its offset (UTC can stand in the layout as it is), got "%Y-%m-%d %Z", for example: meter_time_format %d/%b/%Y:%H:%M:%S %z`},
		{"a layout with a fraction of nothing", Options{MeterTimeFormat: "%Y-%m-%d %S%L"}, `meter_time_format: want the fraction of a second once and after a point or comma, such as %S.%L, got "%Y-%m-%d %S%L", for example: meter_time_format %d/%b/%Y:%H:%M:%S %z`},
		{"an id that is a literal", Options{UniqueID: "abc"}, `unique_id: want an accessor such as $key, hash($key, $other), or the word generate, got "abc", for example: unique_id $request_id, generate
    abc
    ^`},
		{"a dimension as an accessor in a list", Options{Dimensions: "region, $plan"}, `dimensions: want a name: write key for the field $key, or name=$key, got "$plan", for example: dimensions region, plan=$account['plan'], source=edge
    region, $plan
            ^`},
		{"several accessors", Options{Dimensions: "$region, $plan"}, `dimensions: want one accessor to a map, or a list of name and name=$accessor, got ", $plan", for example: dimensions region, plan=$account['plan'], source=edge
    $region, $plan
           ^`},
		{"a nested key as a name", Options{Dimensions: "account['plan']"}, `dimensions: want name=$account['key'] for a nested key, got "['plan']", for example: dimensions region, plan=$account['plan'], source=edge
    account['plan']
           ^`},
		{"a dimension twice", Options{Dimensions: "region, region=eu"}, `dimensions: want each name once, got "region=eu", for example: dimensions region, plan=$account['plan'], source=edge
    region, region=eu
            ^`},
		{"an empty item", Options{Dimensions: "a,,b"}, `dimensions: want a name, got ",b", for example: dimensions region, plan=$account['plan'], source=edge
    a,,b
      ^`},
		{"a comma at the end", Options{Dimensions: "a,"}, `dimensions: want a name, got the end, for example: dimensions region, plan=$account['plan'], source=edge
    a,
      ^`},
		{"a dimension without its value", Options{Dimensions: "a=, b"}, `dimensions: want a value, got ", b", for example: dimensions region, plan=$account['plan'], source=edge
    a=, b
      ^`},
		{"a dimension with an empty value", Options{Dimensions: "a=''"}, `dimensions: want a string that is not empty, got "''", for example: dimensions region, plan=$account['plan'], source=edge
    a=''
      ^`},
		{"a forgotten comma", Options{Dimensions: "region plan"}, `dimensions: want a comma, or quotes around a string with spaces, got "plan", for example: dimensions region, plan=$account['plan'], source=edge
    region plan
           ^`},
		{"the tag as a map", Options{Dimensions: "$TAG"}, `dimensions: want an accessor to a map; the tag is a string, such as in tag=$TAG, got "$TAG", for example: dimensions region, plan=$account['plan'], source=edge
    $TAG
    ^`},
		{"an unknown payload", Options{Payload: "records"}, `payload: want meter or record, got "records", for example: payload record`},
		{"an unknown way with the unmatched", Options{Unmatched: "drop"}, `unmatched: want reject, ignore, ignore_any or ignore_all, got "drop", for example: unmatched ignore`},
		{"a mapping of what is shipped as it is", Options{Payload: "record", CustomerID: "$a"}, `customer_id: want nothing, because payload record ships the log record as it is, got "$a", for example: customer_id (leave it out, or set payload meter)`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rules, errs := Compile(tt.options)
			if rules != nil || len(errs) != 1 || errs[0].Error() != tt.want {
				t.Errorf("got\n%v\nwant\n%s", errs, tt.want)
			}
		})
	}
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	_, errs := Compile(Options{CustomerID: "$", MeterAPIName: "$a.b", MeterValue: "x", MeterTime: "now", MeterTimeFormat: "iso", UniqueID: "1", Dimensions: ",", Unmatched: "?", Payload: "meter"})
	var keys []string
	for _, err := range errs {
		keys = append(keys, err.Key)
	}
	if got, want := strings.Join(keys, " "), "unmatched customer_id meter_api_name meter_value meter_time meter_time_format unique_id dimensions"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEveryFormHasAnErrorWithACaret(t *testing.T) {
	const noQuotes = "no quotes around an accessor: in quotes it is a string, the same for all records"
	const function = "sum(…), or one of the units s, ms, us, ns, B, KB, MB, GB, TB, KiB, MiB, GiB and TiB as a function, such as ms($latency)"
	for _, tt := range []struct {
		name    string
		options Options
		key     string
		want    string
		at      int // the caret's column; -1 for none
	}{
		{"an accessor in double quotes", Options{CustomerID: `"$tenant"`}, "customer_id", noQuotes, 0},
		{"an accessor in single quotes", Options{CustomerID: `'$tenant'`}, "customer_id", noQuotes, 0},
		{"quotes in quotes", Options{CustomerID: `"'$tenant'"`}, "customer_id", noQuotes, 0},
		{"a variable that was not replaced", Options{CustomerID: `"${TENANT}"`}, "customer_id", noQuotes, 0},
		{"a quoted accessor after another", Options{MeterAPIName: `$m, '$n'`}, "meter_api_name", noQuotes, 4},
		{"a quoted accessor as a value", Options{MeterValue: `"$bytes"`}, "meter_value", noQuotes, 0},
		{"a quoted accessor as a value of meters", Options{Meters: `A=1, B='$bytes'`}, "meters", noQuotes, 7},
		{"a quoted accessor as a dimension", Options{Dimensions: `a, b="$b"`}, "dimensions", noQuotes, 5},
		{"a quoted accessor to compare with", Options{OnlyIf: `$a == "$b"`}, "only_if", noQuotes, 6},
		{"the null of YAML", Options{CustomerID: "null"}, "customer_id", "a name, or a field such as $tenant", 0},
		{"the other null of YAML", Options{MeterAPIName: "~"}, "meter_api_name", "a name, or a field such as ApiCalls", 0},
		{"a template of another program", Options{CustomerID: "%{tenant}"}, "customer_id", "no template of another program: a field is written $key", 0},
		{"a template after an accessor", Options{CustomerID: "$a, {{b}}"}, "customer_id", "no template of another program: a field is written $key", 4},
		{"customers without a comma", Options{CustomerID: "$a $b"}, "customer_id", wantOne, 3},
		{"a comma at the end", Options{CustomerID: "$a,"}, "customer_id", "a value", 3},
		{"an accessor after a literal", Options{CustomerID: "acme, $b"}, "customer_id", "one string, or quotes around one with a comma", 4},
		{"two meters in the place of one", Options{MeterAPIName: "calls, bytes"}, "meter_api_name", "one string, or quotes around one with a comma", 5},
		{"a division", Options{Meters: "A=1, Kb=$bytes/1000"}, "meters", "no calculation but + (a field with a / in its name is written $['a/b'])", 14},
		{"a range to compare with", Options{OnlyIf: "$status not in (400-499)"}, "only_if", "a number; a range is >= 400 and <= 499 (quotes make a string of it)", 16},
		{"a class to compare with", Options{OnlyIf: "$status != 4xx"}, "only_if", "a number; a range is >= 400 and <= 499 (quotes make a string of it)", 11},
		{"null to compare with", Options{OnlyIf: "$error != null"}, "only_if", "is present or is absent: nothing is no string (quotes make one of it)", 10},
		{"words for nothing without a comma", Options{Absent: "- N/A"}, "absent", "a comma, or quotes around a string with spaces", 2},
		{"words for nothing with another sign", Options{Absent: "-;N/A"}, "absent", "a comma, or quotes around a string with spaces", 1},
		{"a format of no time", Options{MeterTimeFormat: "rfc3339"}, "meter_time_format", "meter_time beside it, which names the field that has this format", -1},
		{"something after the literal", Options{CustomerID: "$a, b, $c"}, "customer_id", wantOne, 5},
		{"a customer that says nothing", Options{CustomerID: "-"}, "customer_id", "a string that is none of absent", 0},
		{"an unknown function", Options{MeterValue: "hours($a)"}, "meter_value", function, 0},
		{"a function twice", Options{MeterValue: "ms(s($a))"}, "meter_value", function, 3},
		{"a unit of another kind", Options{MeterValue: "ms($a KB)"}, "meter_value", "a unit that ms can be made of, or a closing )", 6},
		{"a function of a number", Options{Meters: "A=ms(5)"}, "meters", "an accessor such as $bytes, or a function of one such as ms($latency)", 5},
		{"a function without its end", Options{Meters: "A=ms($a, B=1"}, "meters", "a closing )", 7},
		{"a sum without its second part", Options{MeterValue: "$a+"}, "meter_value", "an accessor such as $bytes, or a function of one such as ms($latency)", 3},
		{"a difference", Options{MeterValue: "$a -$b"}, "meter_value", "one number, or accessors joined by +", 3},
		{"a negative number", Options{MeterValue: "-1"}, "meter_value", WantNoNegative, 0},
		{"a negative number of meters", Options{Meters: "A=1, B=-2"}, "meters", WantNoNegative, 7},
		{"one =", Options{OnlyIf: "$a = 1"}, "only_if", "==, !=, <, <=, >, >=, in (…), not in (…), is present or is absent", 3},
		{"no field", Options{OnlyIf: "status == 200"}, "only_if", "an accessor such as $status", 0},
		{"a field to compare with", Options{OnlyIf: "$a == $b"}, "only_if", "a string or a number, not a field", 6},
		{"a string that has no order", Options{OnlyIf: "$a < ten"}, "only_if", "a number after <", 5},
		{"or", Options{OnlyIf: "$a == 1 or $a == 2"}, "only_if", "and, or the end (for or, write in (…))", 8},
		{"a list without parentheses", Options{OnlyIf: "$a in 1, 2"}, "only_if", "a list in parentheses, such as (200, 201)", 6},
		{"a list without its end", Options{OnlyIf: "$a in (1, 2"}, "only_if", "a comma or a closing )", 11},
		{"is and something else", Options{OnlyIf: "$a is null"}, "only_if", "is present or is absent", 3},
		{"a hash of a string", Options{UniqueID: "hash(a)"}, "unique_id", "an accessor such as $path", 5},
		{"a hash without its end", Options{UniqueID: "hash($a, $b"}, "unique_id", "a comma or a closing )", 11},
		{"a hash as a time", Options{MeterTime: "hash($a)"}, "meter_time", "an accessor such as $key, or the word event", 0},
		{"a field as a string for nothing", Options{Absent: "-, $a"}, "absent", "strings, not fields", 3},
		{"no string for nothing", Options{Absent: "-,,x"}, "absent", `a string such as -, or "" for none`, 2},
		{"a window of one end", Options{MeterTimeWindow: "60d"}, "meter_time_window", "how far back and how far ahead of now, with a comma between", -1},
		{"a window without a unit", Options{MeterTimeWindow: "60, 1"}, "meter_time_window", "how far back and how far ahead of now, with a comma between", -1},
		{"an unknown way with negative values", Options{NegativeValues: "ignore"}, "negative_values", "reject or accept", -1},
		{"an unknown way with long dimensions", Options{LongDimensions: "trim"}, "long_dimensions", "reject or cut", -1},
		{"an unknown way with times outside", Options{MeterTimeOutside: "drop"}, "meter_time_outside", "warn or reject", -1},
		{"a long literal", Options{Dimensions: "a=" + strings.Repeat("x", 201)}, "dimensions", "a string of at most 200 characters", 2},
		{"a meter that there is not", Options{Meters: "ApiCalls=1, BytesOut=$b", Aggregate: "ApiCalls, Bytes"}, "aggregate", `the name of a meter, which is one of "ApiCalls", "BytesOut"`, 10},
		{"another meter than the one", Options{MeterAPIName: "ApiCalls", Aggregate: "Calls"}, "aggregate", `the name of a meter, which is one of "ApiCalls"`, 0},
		{"a meter twice", Options{Aggregate: "a, b, a"}, "aggregate", "each name once", 6},
		{"all meters and one of them", Options{Aggregate: "*, a"}, "aggregate", "names, or * alone for all meters", 0},
		{"a field as the name of a meter", Options{Aggregate: "a, $api"}, "aggregate", "names of meters, not fields", 3},
		{"a field in quotes", Options{Aggregate: "'$api'"}, "aggregate", noQuotes, 0},
		{"a value of a meter to add up", Options{Aggregate: "a=1"}, "aggregate", "names of meters alone, or *", 0},
		{"meters without a comma", Options{Aggregate: "a b"}, "aggregate", "a comma, or quotes around a string with spaces", 2},
		{"adding up what has ids of its own", Options{Aggregate: "*", UniqueID: "$id, hash($a)"}, "unique_id",
			"generate at its end, because aggregate adds up no records that have an id of their own", -1},
		{"buckets that do not divide an hour", Options{Aggregate: "*", AggregateBucket: "7m"}, "aggregate_bucket", wantBucket, -1},
		{"buckets of nothing that is added up", Options{AggregateBucket: "1m"}, "aggregate_bucket", "aggregate beside it, which says for which meters it is", -1},
		{"buckets above an hour", Options{AggregateBucket: "2h"}, "aggregate_bucket", wantBucket, -1},
		{"buckets below a second", Options{AggregateBucket: "500ms"}, "aggregate_bucket", wantBucket, -1},
		{"buckets of no whole milliseconds", Options{AggregateBucket: "1757.8125ms"}, "aggregate_bucket", wantBucket, -1},
		{"buckets without a unit", Options{AggregateBucket: "15"}, "aggregate_bucket", wantBucket, -1},
		{"adding up what is shipped as it is", Options{Payload: "record", Aggregate: "*"}, "aggregate", "nothing, because payload record ships the log record as it is", -1},
		{"buckets of what is shipped as it is", Options{Payload: "record", AggregateBucket: "1m"}, "aggregate_bucket", "nothing, because payload record ships the log record as it is", -1},
		{"a wrong meter is told alone", Options{Meters: "A", Aggregate: "A"}, "meters", "name=value", 0},
		{"a wrong id is told alone", Options{UniqueID: "1", Aggregate: "*"}, "unique_id", "an accessor such as $key, hash($key, $other), or the word generate", 0},
		{"values of what is shipped as it is", Options{Payload: "record", NegativeValues: "accept"}, "negative_values", "nothing, because payload record ships the log record as it is", -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rules, errs := Compile(tt.options)
			if rules != nil || len(errs) != 1 {
				t.Fatalf("got %v, want one error", errs)
			}
			caret := -1
			if at := strings.LastIndexByte(errs[0].Caret, '\n'); at >= 0 {
				caret = len(errs[0].Caret) - at - len("\n^")
			}
			if e := errs[0]; e.Key != tt.key || e.Want != tt.want || caret != tt.at || e.Example == "" {
				t.Errorf("got\n%v\nwant %s: %s, the caret at %d", e, tt.key, tt.want, tt.at)
			}
		})
	}
}
