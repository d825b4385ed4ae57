package meter

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"out_amberflo/plugin/meter/internal/grammar"
	"out_amberflo/plugin/meter/internal/packed"
)

// Reasons of a rejection. They are stable: people and counters go by them.
const (
	NotAnEvent    = "not_an_event"        // well-formed msgpack that is no log event
	NoCustomer    = "no_customer"         // the customer is absent
	BadCustomer   = "bad_customer"        // neither a string nor a number
	NoMeter       = "no_meter"            // the meter's name is absent
	BadMeter      = "bad_meter"           // neither a string nor a number
	NoValue       = "no_value"            // the value (of meters: every value) is absent
	BadValue      = "bad_value"           // no finite number, or a negative one
	BadTime       = "bad_time"            // no time, not in the wanted format, not of the years 2000 to 2099, or absent
	BadUniqueID   = "bad_unique_id"       // absent, or neither a string nor a number
	BadDimensions = "bad_dimensions"      // the one accessor of dimensions finds something that is no map
	BadUTF8       = "bad_utf8"            // a string of the meter record is no UTF-8, or was none before it came here
	BadRecord     = "bad_record"          // payload record: JSON cannot say it
	BadCondition  = "bad_condition"       // only_if: what is there cannot be compared
	LongDimension = "long_dimension"      // the value of a dimension has more than 200 characters
	OutsideWindow = "time_outside_window" // meter_time_outside reject: a time that Amberflo does not take
	TornGroup     = "torn_group"          // $group: the markers of OpenTelemetry groups in the chunk do not belong together
)

// Reasons are all of them.
var Reasons = []string{
	NotAnEvent, NoCustomer, BadCustomer, NoMeter, BadMeter, NoValue, BadValue, BadTime,
	BadUniqueID, BadDimensions, BadUTF8, BadRecord, BadCondition, LongDimension, OutsideWindow, TornGroup,
}

// Rejection says why an event gives no meter record.
type Rejection struct {
	Reason string // one of the constants above
	Detail string // a sentence with what was wanted and what there was
}

// reject makes the rejection of the value v, which may be empty, that from found.
func reject(reason, option, want string, from *grammar.Accessor, v []byte) *Rejection {
	got := "nothing"
	if len(v) > 0 {
		got = shown(v)
	}
	return &Rejection{Reason: reason, Detail: fmt.Sprintf("%s: want %s at %s, got %s", option, want, from.Source, got)}
}

// shown renders a value for a sentence, cut where it gets long.
func shown(v []byte) string {
	const most = 120
	if f, _, err := msgp.ReadFloat64Bytes(v); err == nil {
		return strconv.FormatFloat(f, 'g', -1, 64) // NaN and infinities, which JSON cannot say
	}
	b, err := packed.AppendJSON(nil, v)
	if s, size := packed.ReadString(v); err == nil && size == len(v) && !utf8.Valid(s) { // the bytes, as they are
		b = fmt.Appendf(nil, "%q", s)
	}
	if err != nil {
		return fmt.Sprintf("%d bytes of msgpack", len(v))
	}
	if len(b) > most {
		return strings.ToValidUTF8(string(b[:most]), "") + "…"
	}
	return string(b)
}
