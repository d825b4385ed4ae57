package parser

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/dlclark/regexp2/v2"
	"github.com/dlclark/regexp2/v2/syntax"

	"out_amberflo/cmd/meterctl/pipeline"
)

// Wrong tells what is wrong with a parser with which Fluent Bit does not start, and in which option (flb_parser.c); "" if
// nothing is, as far as can be known here.
func Wrong(s *pipeline.Section) (key, want string) {
	format, zone, offset := strings.ToLower(s.Get("format")), s.Get("time_zone"), s.Get("time_offset")
	system := pipeline.IsOn(s.Get("time_system_timezone"))
	switch {
	case !slices.Contains([]string{"regex", "json", "logfmt", "ltsv"}, format):
		return "format", "want regex, json, logfmt or ltsv"
	case format == "regex" && s.Get("regex") == "":
		return "regex", "want an expression, since Format is regex"
	case format == "regex" && Unclosed(s.Get("regex")):
		return "regex", "want an expression whose brackets all close"
	case zone != "" && s.Get("time_format") == "":
		return "time_zone", "want a Time_Format beside it"
	case s.Get("time_format") == "":
		return "", ""
	case zone != "" && (system || offset != ""):
		return "time_zone", "want one of Time_Zone, Time_Offset and Time_System_Timezone"
	case zone != "" && !isZone(zone):
		return "time_zone", "want a zone that is known here, such as Europe/Berlin"
	case zone == "" && !system && offset != "" && !isOffset(offset):
		return "time_offset", "want +hhmm, such as +0200"
	}
	return "", ""
}

// Unclosed tells if an expression has a bracket too many or too few, which no syntax takes.
func Unclosed(pattern string) bool {
	if inner, _, ok := Slashes(pattern); ok {
		pattern = inner
	}
	translated, err := fromRuby(pattern)
	if err != nil {
		return false
	}
	var wrong *syntax.Error
	_, err = regexp2.Compile(translated, regexp2.ExplicitCapture)
	return errors.As(err, &wrong) && slices.Contains([]syntax.ErrorCode{syntax.ErrMissingParen, syntax.ErrUnexpectedParen, syntax.ErrUnterminatedBracket}, wrong.Code)
}

func isZone(name string) bool {
	_, err := time.LoadLocation(name)
	return err == nil
}

// isOffset tells if flb_parser_tzone_offset takes a string: Z, or a sign, two digits of hours and two of minutes.
func isOffset(text string) bool {
	if strings.HasPrefix(text, "Z") {
		return true
	}
	if len(text) < 5 || text[0] != '+' && text[0] != '-' {
		return false
	}
	digits := strings.Replace(text[1:], ":", "", 1)
	return len(digits) >= 4 && strings.Trim(digits[:4], "0123456789") == "" && digits[:2] < "60" && digits[2:4] < "60"
}
