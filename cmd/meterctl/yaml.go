package main

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

// readYAML reads the YAML form (flb_cf_yaml.c): env, includes and pipeline.outputs, in their order. Fluent
// Bit takes each scalar as the text that stands there, whatever YAML says of its type.
func (c *configuration) readYAML(file string) error {
	content, err := c.open(file)
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
		y := yamlFile{c, file}
		err = y.each(document.Content[0], func(key, value *yaml.Node) error {
			switch strings.ToLower(key.Value) {
			case "env":
				return y.variables(value)
			case "includes":
				return y.includes(value)
			case "pipeline":
				return y.each(value, func(key, value *yaml.Node) error {
					if strings.EqualFold(key.Value, "outputs") {
						return y.outputs(value)
					}
					return nil
				})
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

type yamlFile struct {
	*configuration
	file string
}

func (y yamlFile) at(n *yaml.Node) place { return place{y.file, n.Line} }

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
				return y.want(value, "a text for the variable "+key.Value)
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
		files := []string{y.below(filepath.Dir(y.file), n.Value)}
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

func (y yamlFile) outputs(list *yaml.Node) error {
	if list.Kind != yaml.SequenceNode {
		return y.want(list, "a list of outputs")
	}
	for _, output := range list.Content {
		s := &section{place: y.at(output)}
		y.all = append(y.all, s)
		err := y.each(output, func(key, value *yaml.Node) error {
			p := property{place: y.at(key), key: snakeCase(strings.TrimSpace(key.Value)), value: strings.TrimSpace(value.Value)}
			switch value.Kind {
			case yaml.ScalarNode:
				s.properties = append(s.properties, p)
			case yaml.SequenceNode:
				y.warn(p.place, "%s: a list, of which Fluent Bit gives the plugin the first item only: write one text, with commas", p.key)
				for _, item := range value.Content {
					p.value = strings.TrimSpace(item.Value)
					s.properties = append(s.properties, p)
				}
			case yaml.MappingNode:
				if p.key != "processors" && p.key != "routes" {
					y.warn(p.place, "%s: a map, of which Fluent Bit gives the plugin nothing: write one text", p.key)
				}
			default:
				return y.want(value, "a text")
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
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
