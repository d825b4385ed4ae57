// Package pipeline reads a configuration of Fluent Bit, classic or YAML, as Fluent Bit 5.1.1 does: includes and variables
// resolved, parsers files read, each key and section with its place.
package pipeline

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Output is the name of the plugin that this is all about.
const Output = "amberflo"

// Place is where something stands in a configuration.
type Place struct {
	File string
	Line int
}

func (p Place) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Form is what a property was written as.
type Form int

// A classic property is always Text.
const (
	Text   Form = iota
	List        // of YAML: its items are a property each
	Empty       // a YAML list without items
	Map         // of YAML; there is no value
	Spaces      // a YAML string of spaces alone
	Null        // of YAML, which Fluent Bit takes for the string that stands there, ~ or null
)

// Property is one key and value of a section.
type Property struct {
	Place
	Key   string // as Fluent Bit understands it, in lower case
	Value string // variables replaced
	Form  Form
}

// Kind says what a section is.
type Kind string

// The kinds that matter here.
const (
	Service         Kind = "service"
	Input           Kind = "input"
	Filter          Kind = "filter"
	OutputKind      Kind = "output"
	Parser          Kind = "parser"
	MultilineParser Kind = "multiline_parser"
	StreamProcessor Kind = "stream_processor"
	Processor       Kind = "processor"
	Other           Kind = "other"
)

// Section is one section of a configuration.
type Section struct {
	Place
	Kind       Kind
	Name       string // of the plugin or the parser
	ID         string // of inputs and outputs, as Fluent Bit calls them: amberflo.0
	Properties []Property
	Groups     []Group
	Processors []*Section // for logs; those of YAML only
	Routes     []string   // outputs that the input's own routes name; YAML only

	processors, rules *yaml.Node // as YAML has them, for Write
}

// Group is a [GROUP] inside of a classic section.
type Group struct {
	Place
	Name string
}

// Get gives the value of a key, "" if there is none.
func (s *Section) Get(key string) string {
	if p := s.Find(key); p != nil {
		return p.Value
	}
	return ""
}

// PlaceOf is where a key stands, or else the section.
func (s *Section) PlaceOf(key string) Place {
	if p := s.Find(key); p != nil {
		return p.Place
	}
	return s.Place
}

// Each gives the properties of a key that may stand several times, but for those without a value.
func (s *Section) Each(key string) (list []Property) {
	for _, p := range s.Properties {
		if p.Key == key && p.Value != "" {
			list = append(list, p)
		}
	}
	return list
}

// All gives the values of Each.
func (s *Section) All(key string) (values []string) {
	for _, p := range s.Each(key) {
		values = append(values, p.Value)
	}
	return values
}

// Find gives the property that counts, nil if there is none. Of several, Fluent Bit gives a Go plugin the first, and itself
// takes the last; of a parser it takes the first.
func (s *Section) Find(key string) *Property {
	var found *Property
	for i := range s.Properties {
		if s.Properties[i].Key == key {
			if found = &s.Properties[i]; !s.LastCounts(key) {
				break
			}
		}
	}
	return found
}

// LastCounts tells which one counts of a key that stands twice.
func (s *Section) LastCounts(key string) bool {
	switch s.Kind {
	case OutputKind:
		return key != "name" && IsHostKey(key)
	case Parser, MultilineParser:
		return false
	}
	return key != "name"
}

// hostKeys are the properties that Fluent Bit keeps for itself in any [OUTPUT] (flb_output.c). Those
// that begin with net. are its own as well.
var hostKeys = []string{
	"name", "match", "match_regex", "alias", "log_level", "log_suppress_interval", "host", "port", "ipv6", "retry_limit", "workers",
	"storage.total_limit_size", "tls", "tls.verify", "tls.verify_hostname", "tls.debug", "tls.vhost", "tls.ca_path", "tls.ca_file",
	"tls.crt_file", "tls.key_file", "tls.key_passwd", "tls.min_version", "tls.max_version", "tls.ciphers", "tls.proxy.verify",
	"tls.proxy.verify_hostname", "tls.proxy.ca_path", "tls.proxy.ca_file", "tls.windows.certstore_name",
	"tls.windows.use_enterprise_store", "tls.windows.client_thumbprints",
}

// IsOn tells if Fluent Bit takes a value for true (flb_utils_bool).
func IsOn(value string) bool {
	return slices.Contains([]string{"on", "true", "yes"}, strings.ToLower(value))
}

// IsOff tells if Fluent Bit takes a value for false. One that is neither may be an error, or a default.
func IsOff(value string) bool {
	return slices.Contains([]string{"off", "false", "no"}, strings.ToLower(value))
}

// HostKeys are the keys of any output that are Fluent Bit's own, but for those that begin with net.
func HostKeys() []string { return slices.Clone(hostKeys) }

// IsHostKey tells if a key of an output is Fluent Bit's own.
func IsHostKey(key string) bool {
	return slices.Contains(hostKeys, key) || strings.HasPrefix(key, "net.")
}

// Variable is one that is used and has no value.
type Variable struct {
	Place
	Section *Section
	Key     string
	Name    string
	Emptied bool // by @SET NAME= or env, which Fluent Bit does not bear
}

// Finding is something that is wrong, or may be.
type Finding struct {
	Place
	Error   bool     // records are lost, doubled or billed wrongly, or nothing starts; else a warning
	Section *Section // in which it stands; nil: all
	Key     string
	Text    string // want …, got …, for example: …
}

func (f Finding) String() string {
	severity := "warning"
	if f.Error {
		severity = "error"
	}
	return fmt.Sprintf("%s: %s: %s: %s", f.Place, severity, f.Key, f.Text)
}

// Pipeline is what Fluent Bit reads out of its files.
type Pipeline struct {
	Service  *Section // never nil
	Inputs   []*Section
	Filters  []*Section
	Outputs  []*Section // of all kinds
	Parsers  []*Section // those of parsers files too
	Streams  []*Section // stream processors, which make tags of their own
	Unset    []Variable
	Findings []Finding // what Fluent Bit takes without a word but not as it was meant, or does not start with
	Complete bool      // all parsers files could be read

	root              string     // the directory of the first file
	inline, multiline []*Section // parsers of the main files
	env               map[string]string
}

// Read reads a file of either form and what it includes. The error says what Fluent Bit cannot read.
func Read(file string) (*Pipeline, error) {
	p := &Pipeline{Service: &Section{Kind: Service, Place: Place{file, 1}}, env: map[string]string{}, Complete: true}
	if host, err := os.Hostname(); err == nil && os.Getenv("HOSTNAME") == "" {
		p.env["HOSTNAME"] = host
	}
	r := &reader{Pipeline: p, root: filepath.Dir(file)}
	if real, err := filepath.EvalSymlinks(file); err == nil {
		r.root = filepath.Dir(real) // as realpath(3) gives it
	}
	p.root = r.root
	if err := r.read(file); err != nil {
		return nil, err
	}
	r.parsersFiles()
	return p, r.resolve()
}

// reader reads one file and what it includes.
type reader struct {
	*Pipeline
	root    string        // the directory of the first file
	seen    []os.FileInfo // the files so far: none may be included twice
	parsers bool          // a parsers file, of which only parsers count
}

func isYAML(file string) bool {
	ext := strings.ToLower(filepath.Ext(file))
	return ext == ".yaml" || ext == ".yml"
}

func (r *reader) read(file string) error {
	if isYAML(file) {
		return r.readYAML(file)
	}
	return r.readClassic(file)
}

// add files a section where it belongs.
func (r *reader) add(s *Section) {
	switch {
	case s.Kind == Parser:
		r.Parsers = append(r.Parsers, s)
		if !r.parsers {
			r.inline = append(r.inline, s)
		}
	case s.Kind == MultilineParser && !r.parsers:
		r.multiline = append(r.multiline, s)
	case r.parsers:
	case s.Kind == Service:
		r.Service = s
	case s.Kind == Input:
		r.Inputs = append(r.Inputs, s)
	case s.Kind == Filter:
		r.Filters = append(r.Filters, s)
	case s.Kind == OutputKind:
		r.Outputs = append(r.Outputs, s)
	case s.Kind == StreamProcessor:
		r.Streams = append(r.Streams, s)
	}
}

// parsersFiles reads what SERVICE names.
func (r *reader) parsersFiles() {
	for i := range r.Service.Properties {
		p := &r.Service.Properties[i]
		if p.Key != "parsers_file" {
			continue
		}
		file, err := r.expand(r.Service, p)
		if err == nil && file != "" {
			if _, missing := os.Stat(file); missing != nil {
				file = below(r.root, file)
			}
			of := &reader{Pipeline: r.Pipeline, root: filepath.Dir(file), parsers: true}
			err = of.read(file)
		}
		if err != nil {
			r.Complete = false
			r.fail(p.Place, r.Service, p.Key, "want a file of parsers that Fluent Bit can read, got %v", err)
		}
	}
}

// resolve replaces the variables, and names plugins as Fluent Bit does.
func (r *reader) resolve() error {
	for _, list := range [][]*Section{{r.Service}, r.Inputs, r.Filters, r.Outputs, r.Parsers, r.multiline, r.Streams} {
		for _, s := range list {
			if err := r.resolveSection(s); err != nil {
				return err
			}
		}
	}
	// storage.path adds an input of its own, storage_backlog.
	alone := len(r.Inputs) == 1 && len(r.Outputs) == 1 && r.Service.Get("storage.path") == ""
	if alone && r.Outputs[0].Find("match") == nil && r.Outputs[0].Find("match_regex") == nil {
		out := r.Outputs[0] // of one input and one output, Fluent Bit connects the two (flb_router.c)
		out.Properties = append(out.Properties, Property{Place: out.Place, Key: "match", Value: "*"})
	}
	for _, list := range [][]*Section{r.Inputs, r.Outputs} {
		for i, s := range list {
			// Fluent Bit counts the outputs of all kinds together, and so the inputs (flb_output.c, flb_input.c).
			s.ID = fmt.Sprintf("%s.%d", s.Name, i)
		}
	}
	return nil
}

func (r *reader) resolveSection(s *Section) error {
	mine := s.Kind == OutputKind
	if name := s.Find("name"); name != nil {
		unset := len(r.Unset)
		var err error
		if s.Name, err = r.expand(s, name); err != nil {
			return err
		}
		r.Unset = r.Unset[:unset] // told below
		mine = mine && strings.EqualFold(s.Name, Output)
		if s.Kind != Parser && s.Kind != MultilineParser {
			s.Name = strings.ToLower(s.Name)
		}
	} else if s.Kind == Input || s.Kind == Filter || s.Kind == OutputKind {
		return fmt.Errorf("%s: want an %s with a name, got none", s.Place, s.Kind)
	}
	for i := range s.Properties {
		p := &s.Properties[i]
		value, err := r.expand(s, p)
		switch {
		case err == nil:
			p.Value = value
		case mine:
			return err
		}
	}
	for _, sub := range s.Processors {
		if err := r.resolveSection(sub); err != nil {
			return err
		}
	}
	return nil
}

// Choose chooses an output of amberflo: by its number among those of amberflo, from 0, by its name in Fluent Bit such as
// amberflo.0, or by its alias. "" is the only one.
func (p *Pipeline) Choose(choice string) (*Section, error) {
	outputs := p.Mine()
	if choice == "" && len(outputs) == 1 {
		return outputs[0], nil
	}
	switch found := Pick(outputs, choice); {
	case found != nil:
		return found, nil
	case len(outputs) == 0:
		return nil, errors.New("want a configuration with an output whose name is amberflo, got none")
	case choice == "":
		return nil, fmt.Errorf("want --output with one of %s, got none", Names(outputs))
	}
	return nil, fmt.Errorf("--output: want one of %s, got %q", Names(outputs), choice)
}

// Pick gives the section that a user means: by its number in the list, from 0, by its name in Fluent Bit such as amberflo.0, or
// by its alias. It is nil if none is meant.
func Pick(list []*Section, choice string) *Section {
	for i, s := range list {
		if choice != "" && (choice == strconv.Itoa(i) || choice == s.ID || choice == s.Get("alias")) {
			return s
		}
	}
	return nil
}

// Names are those by which Pick finds sections, for an error.
func Names(list []*Section) string {
	var names []string
	for i, s := range list {
		names = append(names, strings.TrimSpace(fmt.Sprintf("%d %s %s", i, s.ID, s.Get("alias")))+" ("+s.Place.String()+")")
	}
	return strings.Join(names, ", ")
}

// Mine gives the outputs of amberflo.
func (p *Pipeline) Mine() (mine []*Section) {
	for _, s := range p.Outputs {
		if s.Name == Output {
			mine = append(mine, s)
		}
	}
	return mine
}

// ParserNamed gives the parser of that name, nil if there is none.
func (p *Pipeline) ParserNamed(name string) *Section {
	for _, s := range p.Parsers {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// open opens a file that was not read before.
func (r *reader) open(file string) ([]byte, error) {
	st, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	for _, read := range r.seen {
		if os.SameFile(read, st) {
			return nil, fmt.Errorf("%s: want each file included once, got it twice", file)
		}
	}
	r.seen = append(r.seen, st)
	return os.ReadFile(file)
}

func (p *Pipeline) fail(at Place, s *Section, key, text string, args ...any) {
	p.Findings = append(p.Findings, Finding{Place: at, Error: true, Section: s, Key: key, Text: fmt.Sprintf(text, args...)})
}
