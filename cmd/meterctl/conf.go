package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// place is where something stands in a configuration.
type place struct {
	file string
	line int
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

// property is one key and value of a section.
type property struct {
	place
	key   string // as Fluent Bit understands it, in lower case
	value string // variables replaced, where it belongs to an output of amberflo
}

// section is one output of a Fluent Bit configuration.
type section struct {
	place
	name       string // as Fluent Bit calls it: amberflo.0
	mistakes   int    // that were warned of, but for want of a variable, which may be set where Fluent Bit runs
	properties []property
}

// get gives the value of a key, "" if there is none. Of several, Fluent Bit gives the plugin the first, and itself takes the
// last.
func (s *section) get(key string) string {
	if p := s.find(key); p != nil {
		return p.value
	}
	return ""
}

// placeOf is where a key stands, or else the section.
func (s *section) placeOf(key string) place {
	if p := s.find(key); p != nil {
		return p.place
	}
	return s.place
}

func (s *section) find(key string) *property {
	var found *property
	for i := range s.properties {
		if s.properties[i].key == key {
			if found = &s.properties[i]; !lastCounts(key) {
				break
			}
		}
	}
	return found
}

func lastCounts(key string) bool { return key != "name" && slices.Contains(hostKeys, key) }

// variable is one that is used and has no value.
type variable struct {
	place
	key, name string
}

func (v variable) String() string {
	return fmt.Sprintf("%s: %s: variable ${%s} is not set here: empty, as Fluent Bit would take it", v.place, v.key, v.name)
}

// configuration is what Fluent Bit reads out of its file, as far as it concerns outputs.
type configuration struct {
	outputs  []*section // of amberflo
	warnings []string   // what Fluent Bit takes without a word, but not as it was meant
	unset    []variable

	all  []*section
	env  map[string]string
	root string        // the directory of the first file
	read []os.FileInfo // the files so far: none may be included twice
}

// readConfiguration reads a file of either form and what it includes.
func readConfiguration(file string) (*configuration, error) {
	c := &configuration{env: map[string]string{}, root: filepath.Dir(file)}
	if host, err := os.Hostname(); err == nil && os.Getenv("HOSTNAME") == "" {
		c.env["HOSTNAME"] = host
	}
	if real, err := filepath.EvalSymlinks(file); err == nil {
		c.root = filepath.Dir(real) // as realpath(3) gives it
	}
	read := c.readClassic
	if ext := strings.ToLower(filepath.Ext(file)); ext == ".yaml" || ext == ".yml" {
		read = c.readYAML
	}
	if err := read(file); err != nil {
		return nil, err
	}
	for i, s := range c.all {
		p := s.find("name")
		if p == nil {
			return nil, fmt.Errorf("%s: want an output with a name, got none", s.place)
		}
		name, err := c.expand(p)
		if err != nil {
			return nil, err
		}
		if !strings.EqualFold(name, "amberflo") {
			continue
		}
		for k := range s.properties {
			if s.properties[k].value, err = c.expand(&s.properties[k]); err != nil {
				return nil, err
			}
		}
		s.name = fmt.Sprintf("amberflo.%d", i) // Fluent Bit counts the outputs of all kinds together (flb_output.c)
		c.outputs = append(c.outputs, s)
	}
	return c, nil
}

// output chooses an output of amberflo: by its number among those of amberflo, from 0, by its name in Fluent Bit such as
// amberflo.0, or by its alias. "" is the only one.
func (c *configuration) output(choice string) (*section, error) {
	if choice == "" && len(c.outputs) == 1 {
		return c.outputs[0], nil
	}
	var have []string
	for i, s := range c.outputs {
		alias := s.get("alias")
		if choice != "" && (choice == strconv.Itoa(i) || choice == s.name || choice == alias) {
			return s, nil
		}
		have = append(have, strings.TrimSpace(fmt.Sprintf("%d %s %s", i, s.name, alias))+" ("+s.place.String()+")")
	}
	switch {
	case len(have) == 0:
		return nil, errors.New("want a configuration with an output whose name is amberflo, got none")
	case choice == "":
		return nil, fmt.Errorf("want -output with one of %s, got none", strings.Join(have, ", "))
	}
	return nil, fmt.Errorf("-output: want one of %s, got %q", strings.Join(have, ", "), choice)
}

// open opens a file that was not read before.
func (c *configuration) open(file string) ([]byte, error) {
	st, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	for _, read := range c.read {
		if os.SameFile(read, st) {
			return nil, fmt.Errorf("%s: want each file included once, got it twice", file)
		}
	}
	c.read = append(c.read, st)
	return os.ReadFile(file)
}

// setVariable is @SET or an entry of env. A value file://path stands for what the file holds.
func (c *configuration) setVariable(at place, name, value string) error {
	if path, ok := strings.CutPrefix(value, "file://"); ok && path != "" {
		content, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("%s: variable %s: %w", at, name, err)
		}
		if value = string(content); value != "" && strings.ContainsAny(value[len(value)-1:], "\r\n") {
			value = value[:len(value)-1]
		}
	}
	c.env[name] = value
	return nil
}

// expand replaces ${NAME} and ${NAME:-default} (flb_env.c). The values put in are not looked into.
func (c *configuration) expand(p *property) (string, error) {
	var out strings.Builder
	rest := p.value
	for {
		at := strings.Index(rest, "${")
		if at < 0 {
			return out.String() + rest, nil
		}
		end := strings.IndexByte(rest, '}')
		if end < at+3 {
			// Fluent Bit would give up here, and lose text in some cases.
			return "", fmt.Errorf("%s: %s: want ${NAME} and no other } before it, got %q", p.place, p.key, rest)
		}
		name, byDefault, hasDefault := strings.Cut(rest[at+2:end], ":-")
		value := c.env[name]
		if _, set := c.env[name]; !set {
			value = os.Getenv(name)
		}
		if value == "" && !hasDefault {
			c.unset = append(c.unset, variable{p.place, p.key, name})
		}
		out.WriteString(rest[:at] + cmp.Or(value, byDefault))
		rest = rest[end+1:]
	}
}

func (c *configuration) warn(at place, text string, args ...any) {
	c.warnings = append(c.warnings, fmt.Sprintf("%s: %s", at, fmt.Sprintf(text, args...)))
}
