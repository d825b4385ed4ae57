package pipeline

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Replay says how a pipeline is run once more over a sample.
type Replay struct {
	Input  *Section // whose place the sample takes
	Output *Section // whose place a file takes
	Tag    string   // "": the input's own
	Sample string   // the file to read
	Dir    string   // for what the output gets (out/TAG), and for chunks
}

// networked are filters that ask somebody else.
var networked = []string{"kubernetes", "aws", "ecs", "nightfall"}

// kept are the options of SERVICE that change what becomes of a record.
var kept = []string{"storage.type", "storage.inherit", "multiline_buffer_limit"}

// Write gives p as a YAML configuration in which the tail input reads a sample, and the chunks of the output go to a file,
// byte for byte. It names the filters that it leaves out because they would ask the network.
func (p *Pipeline) Write(r Replay) (text []byte, left []string, err error) {
	service := &writer{}
	service.add("flush", "0.2")
	service.add("grace", "2")
	service.add("log_level", "info")
	service.add("storage.path", filepath.Join(r.Dir, "chunks"))
	for _, property := range p.Service.Properties {
		switch {
		case slices.Contains(kept, property.Key):
			service.add(property.Key, property.Value)
		case property.Key == "parsers_file" || property.Key == "streams_file":
			service.add(property.Key, p.path(property.Value))
		}
	}
	parsers, multiline := &yaml.Node{Kind: yaml.SequenceNode}, &yaml.Node{Kind: yaml.SequenceNode}
	for _, s := range p.inline {
		parsers.Content = append(parsers.Content, p.section(s).node())
	}
	for _, s := range p.multiline {
		parser := p.section(s)
		parser.addNode("rules", s.rules)
		multiline.Content = append(multiline.Content, parser.node())
	}
	json := &writer{}
	json.add("name", recordsParser)
	json.add("format", "json")
	parsers.Content = append(parsers.Content, json.node())

	filters := &yaml.Node{Kind: yaml.SequenceNode}
	for _, s := range p.Filters {
		if slices.Contains(networked, s.Name) {
			left = append(left, s.Name)
			continue
		}
		filters.Content = append(filters.Content, p.section(s).node())
	}
	variables, pipeline, root := &writer{}, &writer{}, &writer{} // processors have theirs as they were written
	for _, name := range slices.Sorted(maps.Keys(p.env)) {
		variables.add(name, p.env[name])
	}
	if len(variables.content) > 0 {
		root.addNode("env", variables.node())
	}
	pipeline.addNode("inputs", list(r.input()))
	pipeline.addNode("filters", filters)
	pipeline.addNode("outputs", list(r.output()))
	root.addNode("service", service.node())
	root.addNode("parsers", parsers)
	if len(multiline.Content) > 0 {
		root.addNode("multiline_parsers", multiline)
	}
	root.addNode("pipeline", pipeline.node())
	text, err = yaml.Marshal(root.node())
	return text, left, err
}

// recordsParser reads samples of an input other than tail, which are records.
const recordsParser = "meterctl_records"

func (r Replay) input() *yaml.Node {
	w := &writer{}
	w.add("name", "tail")
	if r.Input.Name == "tail" {
		for _, p := range r.Input.Properties {
			own := strings.HasPrefix(p.Key, "db") || slices.Contains([]string{"name", "path", "exclude_path", "tag", "read_from_head", "ignore_older", "exit_on_eof", "threaded"}, p.Key)
			if !own && p.Value != "" {
				w.add(p.Key, p.Value)
			}
		}
	} else {
		w.add("parser", recordsParser)
		w.add("storage.type", r.Input.Get("storage.type"))
	}
	w.add("path", r.Sample)
	w.add("tag", cmp.Or(r.Tag, r.Input.Get("tag"), r.Input.ID))
	w.add("read_from_head", "on")
	w.addNode("processors", r.Input.processors)
	return w.node()
}

func (r Replay) output() *yaml.Node {
	w := &writer{}
	w.add("name", "file")
	w.add("format", "msgpack")
	w.add("path", filepath.Join(r.Dir, "out"))
	w.add("mkdir", "on")
	w.add("match", r.Output.Get("match"))
	w.add("match_regex", r.Output.Get("match_regex"))
	w.addNode("processors", r.Output.processors)
	return w.node()
}

// section is a section as it stands, with paths that do not depend on where it stands.
func (p *Pipeline) section(s *Section) *writer {
	w := &writer{}
	for _, property := range s.Properties {
		value := property.Value
		if s.Kind == Filter && slices.Contains(files, property.Key) {
			value = p.path(value)
		}
		w.add(property.Key, value)
	}
	return w
}

// files are options of filters that name one.
var files = []string{"script", "wasm_path", "database", "file"}

// path makes a path absolute, as Fluent Bit finds it: from where it runs, else from its configuration.
func (p *Pipeline) path(value string) string {
	if filepath.IsAbs(value) {
		return value
	}
	for _, path := range []string{value, filepath.Join(p.root, value)} {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if abs, err := filepath.Abs(path); err == nil {
			return abs
		}
	}
	return value
}

// writer is a map of YAML. A key may stand several times, as Fluent Bit has it.
type writer struct{ content []*yaml.Node }

// add adds a string, unless it is empty.
func (w *writer) add(key, value string) {
	if value != "" {
		w.addNode(key, text(value))
	}
}

func (w *writer) addNode(key string, value *yaml.Node) {
	if value != nil {
		w.content = append(w.content, text(key), value)
	}
}

func (w *writer) node() *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Content: w.content}
}

func text(value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: value}
}

func list(items ...*yaml.Node) *yaml.Node { return &yaml.Node{Kind: yaml.SequenceNode, Content: items} }
