package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// readClassic reads the classic form by the rules of Fluent Bit's own reader (flb_cf_fluentbit.c):
//
//   - Sections, @SET, @INCLUDE and comments begin in the first column, keys do not. Of a file's first
//     indented line all others have the indentation; twice as much is a group's, which no output has.
//   - The first space ends the key. What follows is the value up to the line's end, comments included.
func (r *reader) readClassic(file string) error {
	content, err := r.open(file)
	if err != nil {
		return err
	}
	var indent string
	var current *Section
	inGroup := false
	at := Place{File: file}
	for line := range strings.Lines(string(content)) {
		at.Line++
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		switch {
		case line == "" || line[0] == '#':
			continue
		case len(line) > 9 && strings.EqualFold(line[:9], "@INCLUDE "):
			if err := r.includeClassic(at, line[9:]); err != nil {
				return err
			}
			continue
		case line[0] == '@':
			if err := r.meta(at, line); err != nil {
				return err
			}
			continue
		case line[0] == '[':
			name, _, closed := strings.Cut(line[1:], "]")
			if !closed {
				return fmt.Errorf("%s: want [SECTION], got %q", at, line)
			}
			inGroup, current = false, r.classicSection(at, name)
			continue
		}
		text := strings.TrimLeft(line, " \t")
		lead := line[:len(line)-len(text)]
		if lead == "" {
			return fmt.Errorf("%s: want [SECTION], or an indented key and value, got %q", at, line)
		}
		if indent == "" {
			indent = lead
		}
		extra, same := strings.CutPrefix(lead, indent)
		switch {
		case !same:
			return fmt.Errorf("%s: want the indentation of the file's first key, got another (spaces and tabs differ)", at)
		case extra != "" && len(extra) != len(indent):
			return fmt.Errorf("%s: want the indentation of the file's first key, got a deeper one", at)
		case extra == "":
			inGroup = false
		}
		if text == "" || text[0] == '#' {
			continue
		}
		key, value, found := strings.Cut(text, " ")
		value = strings.TrimSpace(value)
		switch {
		case !found || value == "" && text[0] != '[':
			return fmt.Errorf("%s: want a key, a space and a value, got %q", at, text)
		case current == nil:
			return fmt.Errorf("%s: want a [SECTION] before the first key, got %q", at, text)
		case text[0] == '[':
			name, _, closed := strings.Cut(text[1:], "]")
			if !closed {
				return fmt.Errorf("%s: want [GROUP], got %q", at, text)
			}
			inGroup = true
			current.Groups = append(current.Groups, Group{at, name})
			continue
		}
		if inGroup {
			continue
		}
		current.Properties = append(current.Properties, Property{Place: at, Key: strings.ToLower(strings.TrimSpace(key)), Value: value})
		r.comment(at, current, key, value)
	}
	return nil
}

// comment looks for one after a value. In an expression of another section it may be meant.
func (r *reader) comment(at Place, s *Section, key, value string) {
	const text = "want a comment on a line of its own, got one after a value: the value goes on to the end of the line, # and all"
	switch {
	case s.Kind == OutputKind && strings.Contains(value, " #"):
		r.fail(at, s, key, text)
	case strings.Contains(value, " # ") && slices.Contains([]string{"tag", "path", "db", "parser", "match", "storage.type", "storage.path", "parsers_file", "key_name"}, strings.ToLower(key)):
		r.fail(at, s, key, text)
	}
}

// classicSection begins a section, or goes on with SERVICE, of which Fluent Bit makes one.
func (r *reader) classicSection(at Place, name string) *Section {
	kind, known := classicKind(name)
	s := &Section{Place: at, Kind: kind}
	switch {
	case s.Kind == Service && !r.parsers && len(r.Service.Properties) > 0:
		return r.Service
	case !known:
		r.fail(at, nil, "["+name+"]", "want SERVICE, INPUT, FILTER, OUTPUT or another section that Fluent Bit has, got one that it skips, with all that is in it")
	case (s.Kind == Parser || s.Kind == MultilineParser) && !r.parsers:
		r.fail(at, nil, strings.ToLower(name), "want parsers in a file that Parsers_File of [SERVICE] names, got one in the main configuration, with which Fluent Bit does not start")
	}
	r.add(s)
	return s
}

// sections are those of the classic form, as Fluent Bit names them (flb_config_format.c).
var sections = []struct {
	name string
	kind Kind
}{
	{"service", Service}, {"parser", Parser}, {"multiline_parser", MultilineParser}, {"stream_processor", StreamProcessor},
	{"plugins", Other}, {"upstream_servers", Other}, {"customs", Other}, {"inputs", Input}, {"filters", Filter}, {"outputs", OutputKind},
}

// classicKind compares names as Fluent Bit does: what begins one is enough. It is false if Fluent Bit has none of that name.
func classicKind(name string) (kind Kind, known bool) {
	for _, s := range sections {
		if name != "" && strings.HasPrefix(s.name, strings.ToLower(name)) {
			return s.kind, true
		}
	}
	return Other, false
}

// meta runs @SET NAME=value, with spaces around the = belonging to name and value; Fluent Bit has no other.
func (r *reader) meta(at Place, line string) error {
	command, arguments, spaced := strings.Cut(line, " ")
	name, value, ok := strings.Cut(strings.TrimSpace(arguments), "=")
	switch {
	case !spaced:
		return fmt.Errorf("%s: want @SET NAME=value or @INCLUDE file, got %q", at, line)
	case !strings.EqualFold(command, "@SET") || !ok:
		r.fail(at, nil, command, "want @SET NAME=value or @INCLUDE file, got %q, which Fluent Bit skips", line)
		return nil
	}
	return r.setVariable(at, name, value)
}

// includeClassic reads a file, or those that a pattern with * matches. Relative paths of patterns begin
// at the first file's directory; those of single files are tried from the working directory before.
func (r *reader) includeClassic(at Place, path string) error {
	files := []string{path}
	if strings.Contains(path, "*") {
		var err error
		if files, err = glob(below(r.root, path)); err != nil || len(files) == 0 {
			return fmt.Errorf("%s: want a file that %q matches, got none", at, path)
		}
	} else if _, err := os.Stat(path); err != nil {
		files[0] = below(r.root, path)
	}
	for _, file := range files {
		if err := r.readClassic(file); err != nil {
			return fmt.Errorf("%w\n    included at %s", err, at)
		}
	}
	return nil
}

func below(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// glob is glob(3), as Fluent Bit calls it: a wildcard matches no point at the beginning of a name. What it matches of
// directories, Fluent Bit reads as empty files.
func glob(pattern string) (files []string, err error) {
	all, err := filepath.Glob(pattern)
	want := strings.Split(filepath.Clean(pattern), "/")
	for _, file := range all {
		hidden := false
		for i, name := range strings.Split(file, "/") {
			hidden = hidden || strings.HasPrefix(name, ".") && i < len(want) && !strings.HasPrefix(want[i], ".")
		}
		if st, err := os.Stat(file); !hidden && err == nil && !st.IsDir() {
			files = append(files, file)
		}
	}
	return files, err
}
