package meter

import (
	"math"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

func TestValuesAreExact(t *testing.T) {
	f64 := func(f float64) string { return string(msgp.AppendFloat64(nil, f)) }
	f32 := func(f float32) string { return string(msgp.AppendFloat32(nil, f)) }
	text := func(s string) string { return string(msgp.AppendString(nil, s)) }
	for _, tt := range []struct{ name, msgpack, want string }{
		{"zero", "\x00", "0"},
		{"a small negative integer", "\xff", "-1"},
		{"the largest uint64", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615"},
		{"the largest int64", "\xd3\x7f\xff\xff\xff\xff\xff\xff\xff", "9223372036854775807"},
		{"the smallest int64", "\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808"},
		{"an integer beyond 2^53", "\xcf\x00\x20\x00\x00\x00\x00\x00\x01", "9007199254740993"},
		{"0.1", f64(0.1), "0.1"},
		{"a third", f64(1.0 / 3), "0.3333333333333333"},
		{"a float without a fraction", f64(12), "12"},
		{"a float beyond 2^53", f64(1e20), "100000000000000000000"},
		{"the largest float", f64(math.MaxFloat64), "1.7976931348623157e+308"},
		{"the smallest float", f64(math.SmallestNonzeroFloat64), "5e-324"},
		{"negative zero", f64(math.Copysign(0, -1)), "-0"},
		{"0.1 in 32 bits", f32(0.1), "0.1"},
		{"the largest float in 32 bits", f32(math.MaxFloat32), "3.4028235e+38"},

		{"a string keeps its digits", text("0.10"), "0.10"},
		{"a string with many digits", text("123456789012345678901234567890.123456789"), "123456789012345678901234567890.123456789"},
		{"a string with an exponent", text("1.50E+05"), "1.50E+05"},
		{"a negative zero as a string", text("-0.0"), "-0.0"},
		{"a plus is dropped", text("+7"), "7"},
		{"leading zeros are dropped and not octal", text("007"), "7"},
		{"a string of zeros", text("000"), "0"},
		{"a bare point in front", text(".5"), "0.5"},
		{"a bare point in front of a negative", text("-.5"), "-0.5"},
		{"a bare point after", text("1."), "1"},
		{"spaces around it", text(" 12\r\n"), "12"},
		{"bytes that are digits", "\xc4\x0212", "12"},
		{"a string with the largest exponent", text("1e308"), "1e308"},
		{"a string with as many digits as are taken", text(strings.Repeat("9", 100)), strings.Repeat("9", 100)},

		{"a number with a unit", text("12abc"), ""},
		{"a word", text("abc"), ""},
		{"a sign alone", text("+"), ""},
		{"a point alone", text("."), ""},
		{"two signs", text("+-1"), ""},
		{"two points", text("1.2.3"), ""},
		{"an exponent without digits", text("1e"), ""},
		{"an exponent without a number", text("e5"), ""},
		{"a string beyond float64", text("1e999"), ""},
		{"a zero with an exponent that Java does not take", text("0e9999999999"), ""}, // CASES A13
		{"an exponent below any float64", text("1e-9999999999"), ""},
		{"more digits than other readers take", text("0." + strings.Repeat("1", 1000)), ""},
		{"an exponent that overflows", text("9e308"), ""},
		{"digits beyond float64", text(strings.Repeat("9", 400)), ""},
		{"hexadecimal", text("0x10"), ""},
		{"separators", text("1,000"), ""},
		{"underscores", text("1_000"), ""},
		{"digits of another script", text("١٢"), ""},
		{"a NUL", text("1\x00"), ""},
		{"the string NaN", text("NaN"), ""},
		{"the string Infinity", text("-Infinity"), ""},
		{"NaN", f64(math.NaN()), ""},
		{"infinity", f64(math.Inf(1)), ""},
		{"negative infinity in 32 bits", f32(float32(math.Inf(-1))), ""},
		{"true", "\xc3", ""},
		{"a list", "\x91\x01", ""},
		{"an empty list", "\x90", ""},
		{"a map", "\x81\xa1a\x01", ""},
		{"an extension", "\xd7\x00\x6b\x01\xf8\x40\x07\x5b\xcd\x15", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			record := append([]byte("\x81\xa1v"), tt.msgpack...)
			got := mapChunk(t, with(func(o *Options) { o.MeterValue, o.NegativeValues = "$v", "accept" }), "", eventOf([]byte{0x80}, record))
			want := strings.Replace(counted, `"meterValue":1`, `"meterValue":`+tt.want, 1) + "}"
			if tt.want == "" {
				if !strings.HasPrefix(got, "bad_value: meter_value: want a finite number at $v, got ") {
					t.Errorf("got %s, want a rejection", got)
				}
			} else if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestTimesAreReadInEveryFormat(t *testing.T) {
	const rejected = ""
	for _, tt := range []struct{ name, format, value, want string }{
		{"auto: seconds", "", `1795291200`, "1795291200000"},
		{"auto: milliseconds", "", `1795291200123`, "1795291200123"},
		{"auto: microseconds", "", `1795291200123456`, "1795291200123"},
		{"auto: nanoseconds", "", `1795291200123456789`, "1795291200123"},
		{"auto: seconds with a fraction", "auto", `1795291200.909`, "1795291200909"},
		{"auto: a fraction is cut off, not rounded", "auto", `1795291200.9099`, "1795291200909"},
		{"auto: milliseconds with a fraction", "AUTO", `1795291200123.9`, "1795291200123"},
		{"auto: a string of seconds", "", `"1795291200.1239"`, "1795291200123"},
		{"auto: a string of milliseconds", "", `"1795291200123"`, "1795291200123"},
		{"auto: a string with an exponent", "", `"1.795291200123e12"`, "1795291200123"},
		{"auto: RFC 3339", "", `"2026-11-21T20:00:00Z"`, "1795291200000"},
		{"auto: the first second that is accepted", "", `946684800`, "946684800000"},
		{"auto: one second before it", "", `946684799`, rejected},
		{"auto: the last millisecond that is accepted", "", `4102444799999`, "4102444799999"},
		{"auto: one millisecond after it", "", `4102444800000`, rejected},
		{"auto: zero", "", `0`, rejected},
		{"auto: a negative number", "", `-1795291200`, rejected},
		{"auto: the largest uint64", "", `18446744073709551615`, rejected},
		{"auto: a huge float", "", `1e300`, rejected},
		{"auto: NaN", "", `"msgpack:\\xca\\x7f\\xc0\\x00\\x00"`, rejected},
		{"auto: a huge string", "", `"1e300"`, rejected},
		{"auto: a word", "", `"yesterday"`, rejected},
		{"auto: a boolean", "", `true`, rejected},
		{"auto: a list", "", `[1795291200]`, rejected},
		{"unix", "unix", `1795291200.5`, "1795291200500"},
		{"unix does not guess", "unix", `1795291200123`, rejected},
		{"unix of a string", "unix", `"1795291200"`, "1795291200000"},
		{"unix is no RFC 3339", "unix", `"2026-11-21T20:00:00Z"`, rejected},
		{"unix_ms", "unix_ms", `1795291200123.7`, "1795291200123"},
		{"unix_ms does not guess", "unix_ms", `1795291200`, rejected},
		{"unix_us", "unix_us", `1795291200123456`, "1795291200123"},
		{"unix_ns", "unix_ns", `1795291200123456789`, "1795291200123"},
		{"unix_ns of a string keeps all digits", "unix_ns", `"1795291200123999999"`, "1795291200123"},
		{"rfc3339 with a zone", "rfc3339", `"2026-11-21T21:30:00.123456789+01:30"`, "1795291200123"},
		{"rfc3339 in lower case", "rfc3339", `"2026-11-21t20:00:00z"`, "1795291200000"},
		{"rfc3339 with a space", "rfc3339", `"2026-11-21 20:00:00-00:00"`, "1795291200000"},
		{"rfc3339 without a zone", "rfc3339", `"2026-11-21T20:00:00"`, rejected},
		{"rfc3339 of a day that does not exist", "rfc3339", `"2026-02-30T20:00:00Z"`, rejected},
		{"rfc3339 of a far year", "rfc3339", `"1969-12-31T23:59:59Z"`, rejected},
		{"rfc3339 is no number", "rfc3339", `1795291200`, rejected},
		{"nginx's layout", "%d/%b/%Y:%H:%M:%S %z", `"21/Nov/2026:21:00:00 +0100"`, "1795291200000"},
		{"a layout without a zone is UTC", "%Y-%m-%d %H:%M:%S", `"2026-11-21 20:00:00"`, "1795291200000"},
		{"a layout with a fraction", "%Y-%m-%dT%H:%M:%S.%L%z", `"2026-11-21T20:00:00.123456789+00:00"`, "1795291200123"},
		{"a layout with a short fraction", "%Y-%m-%dT%H:%M:%S.%L", `"2026-11-21T20:00:00.5"`, "1795291200500"},
		{"a layout with a fraction after a comma", "%Y-%m-%d %H:%M:%S,%f", `"2026-11-21 20:00:00,123"`, "1795291200123"},
		{"a layout with points everywhere", "%d.%m.%Y %H.%M.%S.%N v1.0", `"21.11.2026 20.00.00.123 v1.0"`, "1795291200123"},
		{"a layout with a fraction that is not there", "%Y-%m-%d %H:%M:%S.%L", `"2026-11-21 20:00:00"`, rejected},
		{"a layout of a number", "%Y%m%d", `20261121`, "1795219200000"},
		{"a layout that does not match", "%Y-%m-%d", `"21.11.2026"`, rejected},
		{"a layout of a day that does not exist", "%Y-%m-%d", `"2026-02-30"`, rejected},
		{"a layout of a day that does not exist, and an offset with a colon", "%Y-%m-%d %H:%M:%S%z", `"2026-02-30 10:00:00+01:00"`, rejected},
		{"a layout of a day that does not exist, and Z", "%Y%m%d%H%M%S%z", `"20260230100000Z"`, rejected},
		{"a layout of a day that does exist, and an offset with a colon", "%Y-%m-%d %H:%M:%S%z", `"2026-03-02 10:00:00+01:00"`, "1772442000000"},
		{"a layout of a day that does exist, and Z", "%Y%m%d%H%M%S%z", `"20260302100000Z"`, "1772445600000"},
		{"a layout with hours of half a day", "%Y-%m-%d %I:%M %p", `"2026-11-20 12:30 AM"`, "1795134600000"},
		{"a layout of a day that does not exist, with a day of the week", "%Y-%m-%d %u", `"2026-02-30 1"`, rejected},
		{"a layout with a day of the week", "%Y-%m-%d %u", `"2026-03-02 1"`, "1772409600000"},
		{"a layout of the 31st of a month of 30 days", "%d/%b/%Y:%H:%M:%S %z", `"31/Apr/2026:00:00:00 +0000"`, rejected},
		{"a layout of a day of the year that does not exist", "%Y %j", `"2026 366"`, rejected},
		{"a layout of a number with a day that does not exist", "%Y%m%d", `20250229`, rejected},
		{"a layout of the 29th of February", "%Y%m%d", `20240229`, "1709164800000"},
		{"a layout of a first of the month", "%A, %B %e, %Y", `"Thursday, January  1, 2026"`, "1767225600000"},
		{"a layout of a first of the month that is the day before in UTC", "%d/%b/%Y:%H:%M:%S %z", `"01/Mar/2026:00:30:00 +0100"`, "1772321400000"},
		{"a layout of a leap second at the end of a year", "%Y-%m-%d %H:%M:%S", `"2016-12-31 23:59:60"`, "1483228800000"},
		{"a layout of a leap second at the end of a first", "%Y-%m-%d %H:%M:%S", `"2026-03-01 23:59:60"`, "1772409600000"},
		{"a layout of one number whose last part is short", "%Y%m%d%H%M%S", `"2026030101023"`, "1772326923000"},
		{"a layout of one number with a day that does not exist", "%Y%m%d%H%M%S", `"20260230010203"`, rejected},
		{"a layout with an offset in front of a second", "%z %Y-%m-%d", `"+05:30 2026-03-02"`, "1772389800000"},
		{"a layout of a third without a leading zero", "%Y-%m-%dT%H:%M:%S%z", `"2026-3-3T00:00:00Z"`, "1772496000000"},
		{"a layout with something left over", "%Y-%m-%d", `"2026-11-21 20:00"`, rejected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := mapRecord(t, with(func(o *Options) { o.MeterTime, o.MeterTimeFormat = "$t", tt.format }), `{"t":`+tt.value+`}`)
			want := strings.Replace(counted, atMillis, tt.want, 1) + "}"
			if tt.want == rejected {
				if !strings.HasPrefix(got, "bad_time: meter_time: want a time of the years 2000 to 2099 in the format ") {
					t.Errorf("got %s, want a rejection", got)
				}
			} else if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestATimeThatIsAbsentIsRejectedUnlessTheEventsOwnMayStandIn(t *testing.T) {
	for _, tt := range []struct{ name, spec, record, want string }{
		{"absent", "$t", `{}`, "bad_time: meter_time: want a time at $t, got nothing"},
		{"null", "$t", `{"t":null}`, "bad_time: meter_time: want a time at $t, got nothing"},
		{"absent, but the event's own will do", "$t, event", `{}`, counted + "}"},
		{"there, although the event's own would do", "$t, event", `{"t":1619445706909}`, strings.Replace(counted, atMillis, "1619445706909", 1) + "}"},
		{"the second one is there", "$t, $u", `{"u":1619445706909}`, strings.Replace(counted, atMillis, "1619445706909", 1) + "}"},
		{"one that is no time is not skipped", "$t, event", `{"t":"now"}`, `bad_time: meter_time: want a time of the years 2000 to 2099 in the format auto at $t, got "now"`},
		{"one that says nothing is", "$t, event", `{"t":"-"}`, counted + "}"},
		{"nor is an empty one a time", "$t", `{"t":""}`, `bad_time: meter_time: want a time at $t, got ""`},
		{"always the event's own", "event", `{"meterTimeInMillis":1619445706909}`, counted + "}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := mapRecord(t, with(func(o *Options) { o.MeterTime = tt.spec }), tt.record); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}
