package parser

import (
	"strconv"
	"strings"
	"time"

	"out_amberflo/cmd/meterctl/pipeline"
)

// timeFormat is Time_Format and what goes with it (flb_parser_time_lookup, flb_strptime.c).
type timeFormat struct {
	before, after string // of %L
	fraction      bool
	withYear      bool
	zone          *time.Location // of times that say none
	lenient       bool           // Time_Strict Off
}

// newTimeFormat returns nil where the parser has none. The parser must not be Wrong.
func newTimeFormat(s *pipeline.Section) *timeFormat {
	format := s.Get("time_format")
	if format == "" {
		return nil
	}
	f := &timeFormat{zone: time.UTC, lenient: pipeline.IsOff(s.Get("time_strict"))}
	f.before, f.after, f.fraction = strings.Cut(format, "%L")
	f.withYear = strings.Contains(format, "%Y") || strings.Contains(format, "%y") || strings.Contains(format, "%s")
	if !f.withYear {
		f.before = "%Y " + f.before
	}
	offset := s.Get("time_offset")
	says := false // its own zone
	for _, verb := range []string{"%z", "%Z", "%SZ", "%S.%LZ"} {
		says = says || strings.Contains(format, verb)
	}
	switch {
	case pipeline.IsOn(s.Get("time_system_timezone")):
		f.zone = time.Local
	case says:
	case s.Get("time_zone") != "":
		if zone, err := time.LoadLocation(s.Get("time_zone")); err == nil {
			f.zone = zone
		}
	case offset != "":
		if r := (&timeReader{rest: offset}); r.offset() {
			f.zone = r.zone
		}
	}
	return f
}

// read gives the time that a string says. It is false if it says none.
func (f *timeFormat) read(text string, now time.Time) (time.Time, bool) {
	now = now.In(f.zone)
	r := &timeReader{rest: text, year: 1900, month: 1, day: 0}
	if !f.withYear {
		r.rest = strconv.Itoa(now.Year()) + " " + text
		r.month, r.day = int(now.Month()), now.Day()
	}
	ok := r.run(f.before)
	if ok && f.fraction {
		digits := 0
		for digits < min(9, len(r.rest)) && isDigit(r.rest[digits]) {
			digits++
		}
		ok = digits > 0
		nanos, _ := strconv.Atoi((r.rest[:digits] + "000000000")[:9])
		r.nanos, r.rest = nanos, r.rest[digits:]
		ok = ok && r.run(f.after)
	}
	if !ok && !f.lenient {
		return time.Time{}, false
	}
	if r.epoch != nil {
		return time.Unix(*r.epoch, int64(r.nanos)), true
	}
	zone := f.zone
	if r.zone != nil && zone != time.Local {
		zone = r.zone
	}
	if r.yday > 0 && r.day == 0 {
		r.month, r.day = 1, r.yday
	}
	return time.Date(r.year, time.Month(r.month), r.day, r.hour, r.minute, r.second, r.nanos, zone), true
}

// timeReader takes a string apart by a format.
type timeReader struct {
	rest                                                         string
	year, month, day, yday, hour, minute, second, nanos, century int
	zone                                                         *time.Location
	epoch                                                        *int64
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func (r *timeReader) spaces() bool {
	for r.rest != "" && isSpace(r.rest[0]) {
		r.rest = r.rest[1:]
	}
	return true
}

// run goes through a format. A string that ends before its format does is no time.
func (r *timeReader) run(format string) bool {
	for i := 0; i < len(format); i++ {
		c := format[i]
		if isSpace(c) {
			r.spaces()
			continue
		}
		if r.rest == "" {
			return false
		}
		if c != '%' || i+1 == len(format) {
			if r.rest[0] != c {
				return false
			}
			r.rest = r.rest[1:]
			continue
		}
		i++
		for (format[i] == 'E' || format[i] == 'O') && i+1 < len(format) {
			i++
		}
		if !r.verb(format[i]) {
			return false
		}
	}
	return true
}

// nested are the verbs that stand for others.
var nested = map[byte]string{'D': "%m/%d/%y", 'F': "%Y-%m-%d", 'R': "%H:%M", 'r': "%I:%M:%S %p", 'T': "%H:%M:%S",
	'c': "%a %b %e %H:%M:%S %Y", 'X': "%H:%M:%S", 'x': "%m/%d/%y"}

func (r *timeReader) verb(c byte) bool {
	if format, ok := nested[c]; ok {
		return r.run(format)
	}
	ignored := 0
	switch c {
	case '%':
		found := r.rest[0] == '%'
		r.rest = r.rest[1:]
		return found
	case 'n', 't':
		return r.spaces()
	case 'a', 'A':
		return r.name(&ignored, "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
	case 'b', 'B', 'h':
		return r.name(&r.month, "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
	case 'C':
		return r.number(&r.century, 2, 0, 99)
	case 'd', 'e':
		if c == 'e' && isSpace(r.rest[0]) {
			r.rest = r.rest[1:]
		}
		return r.number(&r.day, 2, 1, 31)
	case 'H', 'k':
		return r.number(&r.hour, 2, 0, 23)
	case 'I', 'l':
		return r.number(&r.hour, 2, 1, 12)
	case 'j':
		return r.number(&r.yday, 3, 1, 366)
	case 'M':
		return r.number(&r.minute, 2, 0, 59)
	case 'm':
		return r.number(&r.month, 2, 1, 12)
	case 'p':
		return r.noon()
	case 'S':
		return r.number(&r.second, 2, 0, 60)
	case 's':
		return r.seconds()
	case 'U', 'W', 'V':
		return r.number(&ignored, 2, 0, 53)
	case 'w':
		return r.number(&ignored, 1, 0, 6)
	case 'u':
		return r.number(&ignored, 1, 1, 7)
	case 'g':
		return r.number(&ignored, 2, 0, 99)
	case 'G':
		return r.number(&ignored, 4, 0, 9999)
	case 'Y':
		return r.number(&r.year, 4, 0, 9999)
	case 'y':
		return r.shortYear()
	case 'Z':
		return r.abbreviation(len(zones))
	case 'z':
		return r.offset()
	}
	return false
}

// number reads as many digits as the largest value has.
func (r *timeReader) number(into *int, width, least, most int) bool {
	n, digits := 0, 0
	for digits < width && digits < len(r.rest) && isDigit(r.rest[digits]) && n*10 <= most {
		n = n*10 + int(r.rest[digits]-'0')
		digits++
	}
	if digits == 0 || n < least || n > most {
		return false
	}
	*into, r.rest = n, r.rest[digits:]
	return true
}

// name reads one of several names, in full or its first three letters; into is its number from 1.
func (r *timeReader) name(into *int, names ...string) bool {
	for i, name := range names {
		for _, form := range []string{name, name[:3]} {
			if len(r.rest) >= len(form) && strings.EqualFold(r.rest[:len(form)], form) {
				*into, r.rest = i+1, r.rest[len(form):]
				return true
			}
		}
	}
	return false
}

func (r *timeReader) noon() bool {
	if len(r.rest) < 2 {
		return false
	}
	half := strings.ToUpper(r.rest[:2])
	r.rest = r.rest[2:]
	switch {
	case half == "AM" && r.hour <= 12:
		r.hour %= 12
	case half == "PM" && r.hour <= 12:
		r.hour = r.hour%12 + 12
	default:
		return false
	}
	return true
}

func (r *timeReader) seconds() bool {
	digits := 0
	for digits < len(r.rest) && isDigit(r.rest[digits]) {
		digits++
	}
	n, err := strconv.ParseInt(r.rest[:digits], 10, 64)
	r.epoch, r.rest = &n, r.rest[digits:]
	return err == nil
}

func (r *timeReader) shortYear() bool {
	if !r.number(&r.year, 2, 0, 99) {
		return false
	}
	switch {
	case r.century != 0:
		r.year += r.century * 100
	case r.year <= 68:
		r.year += 2000
	default:
		r.year += 1900
	}
	return true
}

// zones are the abbreviations that %Z knows wherever it is read, in minutes; %z knows the first twelve.
var zones = []struct {
	name    string
	minutes int
}{
	{"GMT", 0}, {"UTC", 0}, {"UT", 0}, {"Z", 0}, {"EST", -300}, {"EDT", -240}, {"CST", -360}, {"CDT", -300}, {"MST", -420}, {"MDT", -360}, {"PST", -480}, {"PDT", -420},
	{"AKST", -540}, {"AKDT", -480}, {"HST", -600}, {"HADT", -540}, {"AST", -240}, {"ADT", -180}, {"NST", -210}, {"NDT", -150}, {"WET", 0}, {"WEST", 60},
	{"CET", 60}, {"CEST", 120}, {"EET", 120}, {"EEST", 180}, {"MSK", 180}, {"MSD", 240}, {"ART", -180}, {"BRT", -180}, {"BRST", -120}, {"CLT", -240}, {"CLST", -180},
	{"AEST", 600}, {"AEDT", 660}, {"ACST", 570}, {"ACDT", 630}, {"AWST", 480}, {"NZST", 720}, {"NZDT", 780}, {"JST", 540}, {"KST", 540}, {"SGT", 480}, {"IST", 330},
	{"GST", 240}, {"ICT", 420}, {"WIB", 420}, {"WITA", 480}, {"WIT", 540}, {"MYT", 480}, {"BDT", 360}, {"NPT", 345}, {"WAT", 60}, {"CAT", 120}, {"EAT", 180}, {"SAST", 120},
}

// abbreviation reads one of the first zones, or of all.
func (r *timeReader) abbreviation(most int) bool {
	letters := 0
	for letters < len(r.rest) && (r.rest[letters]|0x20 >= 'a' && r.rest[letters]|0x20 <= 'z') {
		letters++
	}
	for _, zone := range zones[:most] {
		if strings.EqualFold(zone.name, r.rest[:letters]) {
			r.zone, r.rest = time.FixedZone("", zone.minutes*60), r.rest[letters:]
			return true
		}
	}
	return false
}

// offset reads Z, +hh, +hhmm, +hh:mm and the abbreviations.
func (r *timeReader) offset() bool {
	r.spaces()
	if r.rest == "" || r.rest[0] != '+' && r.rest[0] != '-' {
		return r.rest != "" && r.abbreviation(12)
	}
	sign := 1
	if r.rest[0] == '-' {
		sign = -1
	}
	r.rest = r.rest[1:]
	hours, minutes := 0, 0
	if len(r.rest) < 2 || !r.number(&hours, 2, 0, 99) {
		return false
	}
	r.rest = strings.TrimPrefix(r.rest, ":")
	if r.rest != "" && isDigit(r.rest[0]) && !r.number(&minutes, 2, 0, 99) {
		return false
	}
	r.zone = time.FixedZone("", sign*(hours*3600+minutes*60))
	return true
}
