package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// readYAML reads the YAML form (flb_cf_yaml.c), its sections in their order. Fluent Bit takes each scalar as the string that
// stands there, whatever YAML says of its type.
func (r *reader) readYAML(file string) error {
	content, err := r.open(file)
	if err != nil {
		return err
	}
	documents := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var document yaml.Node
		err := documents.Decode(&document)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		y := yamlFile{r, file}
		if err := y.each(document.Content[0], y.top); err != nil {
			return err
		}
	}
}

type yamlFile struct {
	*reader
	file string
}

func (y yamlFile) top(key, value *yaml.Node) error {
	switch strings.ToLower(key.Value) {
	case "env":
		return y.variables(value)
	case "includes":
		return y.includes(value)
	case "service":
		s := y.Service
		if len(s.Properties) == 0 {
			s.Place = y.at(key)
		}
		return y.properties(s, value)
	case "parsers":
		return y.sections(value, Parser)
	case "multiline_parsers":
		return y.sections(value, MultilineParser)
	case "stream_processor":
		return y.sections(value, StreamProcessor)
	case "pipeline":
		return y.each(value, func(key, value *yaml.Node) error {
			switch strings.ToLower(key.Value) {
			case "inputs":
				return y.sections(value, Input)
			case "filters":
				return y.sections(value, Filter)
			case "outputs":
				return y.sections(value, OutputKind)
			}
			return nil
		})
	case "plugins", "upstream_servers", "customs", "extensions":
	default:
		if value.Kind != yaml.MappingNode {
			return y.want(value, "a map below "+key.Value)
		}
	}
	return nil
}

func (y yamlFile) at(n *yaml.Node) Place { return Place{y.file, n.Line} }

func (y yamlFile) want(n *yaml.Node, want string) error {
	got := map[yaml.Kind]string{yaml.MappingNode: "a map", yaml.SequenceNode: "a list", yaml.ScalarNode: fmt.Sprintf("%q", n.Value),
		yaml.AliasNode: "an alias, which Fluent Bit does not know"}[n.Kind]
	return fmt.Errorf("%s: want %s, got %s", y.at(n), want, got)
}

func (y yamlFile) each(m *yaml.Node, do func(key, value *yaml.Node) error) error {
	if m.Kind != yaml.MappingNode {
		return y.want(m, "a map")
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if err := do(m.Content[i], m.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// variables reads env: a map, or a list of maps with name and value (or uri), or of one name each.
func (y yamlFile) variables(env *yaml.Node) error {
	if env.Kind == yaml.MappingNode {
		return y.each(env, func(key, value *yaml.Node) error {
			if value.Kind != yaml.ScalarNode {
				return y.want(value, "a string for the variable "+key.Value)
			}
			return y.setVariable(y.at(key), key.Value, value.Value)
		})
	}
	if env.Kind != yaml.SequenceNode {
		return y.want(env, "a map or a list of variables")
	}
	for _, entry := range env.Content {
		var name, text string
		err := y.each(entry, func(key, value *yaml.Node) error {
			switch strings.ToLower(key.Value) {
			case "name":
				name = value.Value
			case "value", "uri":
				text = value.Value
			case "refresh_interval":
			default:
				if name == "" {
					name, text = key.Value, value.Value
				}
			}
			return nil
		})
		if err == nil && name != "" {
			err = y.setVariable(y.at(entry), name, text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// includes reads further files, relative to the directory of this one.
func (y yamlFile) includes(list *yaml.Node) error {
	if list.Kind != yaml.SequenceNode {
		return y.want(list, "a list of files")
	}
	for _, n := range list.Content {
		files := []string{below(filepath.Dir(y.file), n.Value)}
		if strings.Contains(n.Value, "*") {
			files, _ = glob(files[0])
		}
		if n.Value == "" || len(files) == 0 {
			return y.want(n, "a file or a pattern that matches some")
		}
		for _, file := range files {
			if err := y.readYAML(file); err != nil {
				return fmt.Errorf("%w\n    included at %s", err, y.at(n))
			}
		}
	}
	return nil
}

func (y yamlFile) sections(list *yaml.Node, kind Kind) error {
	if list.Kind != yaml.SequenceNode {
		return y.want(list, "a list of "+string(kind)+"s")
	}
	for _, n := range list.Content {
		s := &Section{Place: y.at(n), Kind: kind}
		if err := y.properties(s, n); err != nil {
			return err
		}
		y.add(s)
	}
	return nil
}

// properties reads what a section holds.
func (y yamlFile) properties(s *Section, n *yaml.Node) error {
	return y.each(n, func(key, value *yaml.Node) error {
		p := Property{Place: y.at(key), Key: snakeCase(strings.TrimSpace(key.Value)), Value: strings.TrimSpace(value.Value)}
		switch {
		case p.Key == "processors" && (s.Kind == Input || s.Kind == OutputKind):
			s.processors = value
			return y.processors(s, value)
		case p.Key == "routes" && s.Kind == Input:
			s.Routes = routes(value)
		case s.Kind == MultilineParser && p.Key == "rules":
			s.rules = value
		case value.Kind == yaml.ScalarNode:
			if value.Value != "" && p.Value == "" {
				p.Form = Spaces
			}
			if value.Tag == "!!null" && value.Value != "" {
				p.Form = Null
			}
			s.Properties = append(s.Properties, p)
		case value.Kind == yaml.SequenceNode:
			if p.Form = List; len(value.Content) == 0 {
				p.Form = Empty
				s.Properties = append(s.Properties, p)
			}
			for _, item := range value.Content {
				p.Value = strings.TrimSpace(item.Value)
				s.Properties = append(s.Properties, p)
			}
		case value.Kind == yaml.MappingNode:
			p.Form = Map
			s.Properties = append(s.Properties, p)
		default:
			return y.want(value, "a string")
		}
		return nil
	})
}

// processors reads those that logs go through.
func (y yamlFile) processors(s *Section, n *yaml.Node) error {
	return y.each(n, func(key, list *yaml.Node) error {
		if !strings.EqualFold(key.Value, "logs") {
			return nil
		}
		if list.Kind != yaml.SequenceNode {
			return y.want(list, "a list of processors")
		}
		for _, item := range list.Content {
			sub := &Section{Place: y.at(item), Kind: Processor}
			if err := y.properties(sub, item); err != nil {
				return err
			}
			s.Processors = append(s.Processors, sub)
		}
		return nil
	})
}

// routes gives the outputs that conditional routes of an input name.
func routes(n *yaml.Node) (outputs []string) {
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if strings.EqualFold(n.Content[i].Value, "outputs") {
				for _, output := range n.Content[i+1].Content {
					outputs = append(outputs, routeName(output))
				}
				continue
			}
			outputs = append(outputs, routes(n.Content[i+1])...)
		}
	}
	for _, item := range n.Content {
		if n.Kind == yaml.SequenceNode {
			outputs = append(outputs, routes(item)...)
		}
	}
	return outputs
}

// routeName is an output's name or alias, or that of a map with name.
func routeName(n *yaml.Node) string {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if strings.EqualFold(n.Content[i].Value, "name") {
			return n.Content[i+1].Value
		}
	}
	return n.Value
}

// snakeCase turns customerId into customer_id, as Fluent Bit does with keys that begin in lower case and
// have no underscore. It compares keys without regard to case.
func snakeCase(key string) string {
	if key == "" || !unicode.IsLower(rune(key[0])) || strings.Contains(key, "_") {
		return strings.ToLower(key)
	}
	var b strings.Builder
	for _, r := range key {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
