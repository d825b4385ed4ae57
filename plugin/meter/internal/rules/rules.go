package rules

import (
	"cmp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"out_amberflo/plugin/meter/internal/absent"
	"out_amberflo/plugin/meter/internal/grammar"
	"out_amberflo/plugin/meter/internal/packed"
	"out_amberflo/plugin/meter/internal/timeformat"
)

// Rules are compiled options. They are immutable and safe for concurrent use.
type Rules struct {
	PayloadRecord bool
	Unmatched     Unmatched
	Absent        absent.Set
	Conditions    []Condition // of only_if, all of which have to hold
	Fields        grammar.Fields

	Customer       Source
	Meters         []Meter
	ValueOption    string // where the meters' values come from
	NegativeValues bool   // they are accepted

	Times      []*grammar.Accessor // the first one that is there
	EventTime  bool                // and else the event's own time
	TimeFormat timeformat.Format
	Window     Window

	IDs         []ID // the first one that is there
	GenerateIDs bool // and else a generated one

	Dimensions    []Dimension
	DimensionMap  *grammar.Accessor // instead of Dimensions
	CutDimensions bool              // long_dimensions cut

	Aggregate Aggregation
	Uses      []Use
}

// Source is where a string comes from: what the first accessor finds that finds anything, or else the literal.
type Source struct {
	From    []*grammar.Accessor
	Literal []byte // JSON; nil where there is none
}

// Meter is one meter record per event.
type Meter struct {
	Name  Source
	Value Value
	Adds  bool // its records are added up, or those of some names that it finds
}

// Dimension is one of a list.
type Dimension struct {
	Key     []byte // JSON, with its colon
	From    *grammar.Accessor
	Literal []byte // JSON, where From is nil
}

// ID is one alternative of unique_id: a field, or a hash of several.
type ID struct {
	From   *grammar.Accessor
	Hash   []*grammar.Accessor
	Source string // as the user wrote it
}

// Window says how far a meter time may be from now.
type Window struct {
	Back, Ahead time.Duration
	Phrase      string // both, for people
	Reject      bool   // what is outside
}

// Unmatched says which events that cannot be metered are skipped.
type Unmatched uint8

// The values of unmatched, in their order in Compile.
const (
	RejectUnmatched Unmatched = iota // none
	IgnoreNoValue                    // where the value finds nothing; where it is a literal, where customer or meter does
	IgnoreAny                        // where customer, meter or value finds nothing
	IgnoreAll                        // where none of them finds anything
)

// LongestDimension is how many characters Amberflo takes in the value of a dimension.
const LongestDimension = 200

const (
	defaultCustomer = "$customerId"
	defaultMeter    = "$meterApiName"
	defaultTime     = "$meterTimeInMillis, event"
	defaultID       = "$uniqueId, generate"
)

// Compile checks all options and returns the rules, or every mistake there is.
func Compile(o Options) (*Rules, []*OptionError) {
	r := &Rules{}
	c := &compiler{rules: r}
	r.PayloadRecord = c.choice("payload", o.Payload, "meter", "record") == 1
	r.Unmatched = Unmatched(c.choice("unmatched", o.Unmatched, "reject", "ignore", "ignore_any", "ignore_all"))
	c.absent(cmp.Or(o.Absent, "-"))
	c.conditions(o.OnlyIf)
	if r.PayloadRecord {
		c.noMapping(o)
	} else {
		r.NegativeValues = c.choice("negative_values", o.NegativeValues, "reject", "accept") == 1
		r.CutDimensions = c.choice("long_dimensions", o.LongDimensions, "reject", "cut") == 1
		r.Customer = c.source("customer_id", cmp.Or(o.CustomerID, defaultCustomer), "$tenant")
		c.meters(o)
		c.time(o.MeterTime, o.MeterTimeFormat)
		c.window(cmp.Or(o.MeterTimeWindow, "60d, 1d"), o.MeterTimeOutside)
		c.ids(cmp.Or(o.UniqueID, defaultID))
		c.dimensions(cmp.Or(o.Dimensions, "$dimensions"))
		c.aggregate(o)
	}
	if len(c.errs) > 0 {
		return nil, c.errs
	}
	c.uses(o)
	return r, nil
}

func (c *compiler) absent(value string) {
	set, err := absent.Compile(value)
	c.rules.Absent = set
	c.failAt("absent", value, "-, N/A, null", err)
}

// source compiles a list of accessors of which the first that finds something counts, a literal, or a list that ends with one.
func (c *compiler) source(key, value, example string) (from Source) {
	s := c.scan(value)
	for more := true; more; {
		s.Spaces()
		at := s.At
		o, err := s.Operand(len(from.From) > 0)
		more = err == nil && o.From != nil && s.Accept(',')
		switch {
		case err != nil:
		case !more && !s.Done():
			err = s.Fail(wantOne)
		case o.From != nil:
			from.From = append(from.From, o.From)
		default:
			from.Literal, err = c.literal(o.Plain, at)
			if err == nil && len(from.From) == 0 && absent.IsNoName([]byte(o.Plain)) { // such as the null of YAML
				err = &grammar.Error{Want: "a name, or a field such as " + example, At: at}
			}
		}
		if err != nil {
			c.failAt(key, value, example, err)
			return Source{}
		}
	}
	return from
}

const (
	wantOne              = "one literal, or accessors separated by commas (a literal after them needs quotes if it has spaces or commas)"
	wantNoQuotedAccessor = "no quotes around an accessor: in quotes it is a string, the same for all records"
)

// literal renders a literal that begins at byte at of its option.
func (c *compiler) literal(plain string, at int) ([]byte, *grammar.Error) {
	b, ok := packed.AppendString(nil, []byte(plain))
	want := ""
	switch {
	case strings.TrimSpace(plain) == "":
		want = "a string that is not empty"
	case !ok:
		want = "UTF-8"
	case strings.ContainsFunc(plain, unicode.IsControl): // such as the line break after a secret that echo wrote
		want = "a string without line breaks and other control characters"
	case grammar.LooksLikeAccessor(plain):
		want = wantNoQuotedAccessor
	case isTemplate(plain):
		want = "no template of another program: a field is written $key"
	case c.rules.Absent.HasString([]byte(plain)):
		want = "a string that is none of absent"
	default:
		return b, nil
	}
	return nil, &grammar.Error{Want: want, At: at}
}

// isTemplate tells if a literal is a place to fill in, as other programs have them: %{x}, {{x}}, %x%, <x>.
func isTemplate(s string) bool {
	s = strings.TrimSpace(s)
	for _, ends := range []string{"%{}", "{}", "%%", "<>"} {
		begin, end := ends[:len(ends)-1], ends[len(ends)-1:]
		if len(s) > len(ends) && strings.HasPrefix(s, begin) && strings.HasSuffix(s, end) {
			return true
		}
	}
	return false
}

func (c *compiler) time(value, format string) {
	c.rules.EventTime = c.alternatives(alternatives{key: "meter_time", value: cmp.Or(value, defaultTime), example: "$time, event", fallback: "event",
		take: func(a *grammar.Accessor, _ *grammar.Scanner) (bool, *grammar.Error) {
			if a != nil {
				c.rules.Times = append(c.rules.Times, a)
			}
			return a != nil, nil
		}})
	if s := c.scan(format); s.AtQuote() {
		if unquoted, err := s.Quoted(); err == nil && s.Done() {
			format = unquoted
		}
	}
	f, want := timeformat.Compile(format)
	if want == "" && !strings.EqualFold(f.Name, "auto") && value == "" {
		want = "meter_time beside it, which names the field that has this format"
	}
	if want != "" {
		c.fail("meter_time_format", format, want, "%d/%b/%Y:%H:%M:%S %z")
	}
	c.rules.TimeFormat = f
}

func (c *compiler) window(value, outside string) {
	back, ahead, both := strings.Cut(value, ",")
	back, ahead = strings.TrimSpace(back), strings.TrimSpace(ahead)
	w := Window{Phrase: back + " back and " + ahead + " ahead of now", Reject: c.choice("meter_time_outside", outside, "warn", "reject") == 1}
	var ok, okAhead bool
	w.Back, ok = ParseDuration(back)
	w.Ahead, okAhead = ParseDuration(ahead)
	if !both || !ok || !okAhead {
		c.fail("meter_time_window", value, "how far back and how far ahead of now, with a comma between", "60d, 1d")
	}
	c.rules.Window = w
}

func (c *compiler) ids(value string) {
	c.rules.GenerateIDs = c.alternatives(alternatives{key: "unique_id", value: value, example: "$request_id, generate", fallback: "generate", or: "hash($key, $other), ",
		take: func(a *grammar.Accessor, s *grammar.Scanner) (taken bool, err *grammar.Error) {
			id, at := ID{From: a}, s.At
			if a != nil {
				id.Source = a.Source
			} else if !s.AcceptAll("hash(") {
				return false, nil
			} else if err = s.Parenthesized(func() *grammar.Error {
				if s.Spaces(); s.Peek() != '$' {
					return s.Fail("an accessor such as $path")
				}
				field, err := s.Accessor()
				id.Hash = append(id.Hash, field)
				return err
			}); err == nil {
				id.Source = s.S[at:s.At]
			}
			c.rules.IDs = append(c.rules.IDs, id)
			return true, err
		}})
}

// alternatives is an option that lists what the first counts of that finds something. The word fallback may stand at its end.
type alternatives struct {
	key, value, example, fallback string

	or string // what may stand there beside an accessor, for people
	// take takes an accessor, or where that is nil what else may stand there. It returns false where nothing does.
	take func(a *grammar.Accessor, s *grammar.Scanner) (taken bool, err *grammar.Error)
}

func (c *compiler) alternatives(of alternatives) (hasFallback bool) {
	s := c.scan(of.value)
	hasFallback, err := of.scan(s)
	c.failAt(of.key, of.value, of.example, err)
	return hasFallback
}

func (of *alternatives) scan(s *grammar.Scanner) (hasFallback bool, err *grammar.Error) {
	for {
		s.Spaces()
		at := s.At
		var a *grammar.Accessor
		if s.Peek() == '$' {
			if a, err = s.Accessor(); err != nil {
				return false, err
			}
		}
		taken, err := of.take(a, s)
		switch {
		case err != nil:
			return false, err
		case !taken:
			if !strings.EqualFold(s.Word(), of.fallback) {
				return false, &grammar.Error{Want: "an accessor such as $key, " + of.or + "or the word " + of.fallback, At: at}
			}
			if s.Spaces(); !s.Done() {
				return false, s.Fail("the end after " + of.fallback)
			}
			return true, nil
		}
		if s.Spaces(); s.Done() {
			return false, nil
		}
		if !s.Accept(',') {
			return false, s.Fail("a comma or the end")
		}
	}
}

const dimensionsExample = "region, plan=$account['plan'], source=edge"

func (c *compiler) dimensions(value string) {
	s := c.scan(value)
	var err *grammar.Error
	if s.Peek() == '$' {
		err = c.dimensionMap(s)
	} else {
		err = s.Pairs(func(p grammar.Pair) (err *grammar.Error) {
			d := Dimension{}
			if d.Key, err = c.literal(p.Name, p.At); err != nil {
				return err
			}
			d.Key = append(d.Key, ':')
			if p.HasValue {
				err = c.dimensionValue(s, &d)
			} else {
				d.From = c.rules.Fields.Field(p.Name)
			}
			c.rules.Dimensions = append(c.rules.Dimensions, d)
			return err
		})
	}
	c.failAt("dimensions", value, dimensionsExample, err)
}

func (c *compiler) dimensionMap(s *grammar.Scanner) *grammar.Error {
	a, err := s.Accessor()
	if err != nil {
		return err
	}
	c.rules.DimensionMap = a
	if s.Spaces(); !s.Done() {
		return s.Fail("one accessor to a map, or a list of name and name=$accessor")
	}
	if a.Root == grammar.FromTag {
		return &grammar.Error{Want: "an accessor to a map; the tag is a string, such as in tag=$TAG"}
	}
	return nil
}

func (c *compiler) dimensionValue(s *grammar.Scanner, d *Dimension) *grammar.Error {
	at := s.At
	o, err := s.Operand(true)
	switch {
	case err != nil:
		return err
	case o.From != nil:
		d.From = o.From
	case utf8.RuneCountInString(o.Plain) > LongestDimension:
		return &grammar.Error{Want: "a string of at most 200 characters", At: at}
	default:
		d.Literal, err = c.literal(o.Plain, at)
	}
	return err
}
