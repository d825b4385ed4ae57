package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// readClassic reads the classic form by the rules of Fluent Bit's own reader (flb_cf_fluentbit.c):
//
//   - Sections, @SET, @INCLUDE and comments begin in the first column, keys do not. Of a file's first
//     indented line all others have the indentation; twice as much is a group's, which no output has.
//   - The first blank ends the key. What follows is the value up to the line's end, comments included.
func (c *configuration) readClassic(file string) error {
	content, err := c.open(file)
	if err != nil {
		return err
	}
	var indent string
	var current *section
	inSection, inGroup := false, false
	at := place{file: file}
	for line := range strings.Lines(string(content)) {
		at.line++
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		switch {
		case line == "" || line[0] == '#':
			continue
		case len(line) > 9 && strings.EqualFold(line[:9], "@INCLUDE "):
			if err := c.includeClassic(at, line[9:]); err != nil {
				return err
			}
			continue
		case line[0] == '@':
			if err := c.meta(at, line); err != nil {
				return err
			}
			continue
		case line[0] == '[':
			name, _, closed := strings.Cut(line[1:], "]")
			if !closed {
				return fmt.Errorf("%s: want [SECTION], got %q", at, line)
			}
			inSection, inGroup, current = true, false, nil
			if name != "" && strings.HasPrefix("outputs", strings.ToLower(name)) { // as Fluent Bit compares them
				current = &section{place: at}
				c.all = append(c.all, current)
			}
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
			return fmt.Errorf("%s: want the indentation of the file's first key, got another (blanks and tabs differ)", at)
		case extra != "" && len(extra) != len(indent):
			return fmt.Errorf("%s: want the indentation of the file's first key, got a deeper one", at)
		case extra == "":
			inGroup = false
		}
		if text == "" || text[0] == '#' {
			continue
		}
		if text[0] == '[' {
			inGroup = true
			continue
		}
		key, value, found := strings.Cut(text, " ")
		value = strings.TrimSpace(value)
		switch {
		case !found || value == "":
			return fmt.Errorf("%s: want a key, a blank and a value, got %q", at, text)
		case !inSection:
			return fmt.Errorf("%s: want a [SECTION] before the first key, got %q", at, text)
		}
		if current != nil && !inGroup {
			current.properties = append(current.properties, property{at, strings.ToLower(strings.TrimSpace(key)), value})
			if strings.Contains(value, " #") {
				c.warn(at, "%s: the value goes on to the end of the line, # and all: a comment needs a line of its own", key)
			}
		}
	}
	return nil
}

// meta runs @SET NAME=value, with blanks around the = belonging to name and value; Fluent Bit has no other.
func (c *configuration) meta(at place, line string) error {
	command, arguments, _ := strings.Cut(line, " ")
	name, value, ok := strings.Cut(strings.TrimSpace(arguments), "=")
	if !strings.EqualFold(command, "@SET") || !ok {
		return fmt.Errorf("%s: want @SET NAME=value or @INCLUDE file, got %q", at, line)
	}
	return c.setVariable(at, name, value)
}

// includeClassic reads a file, or those that a pattern with * matches. Relative paths of patterns begin
// at the first file's directory; those of single files are tried from the working directory before.
func (c *configuration) includeClassic(at place, path string) error {
	files := []string{path}
	if strings.Contains(path, "*") {
		var err error
		if files, err = glob(c.below(c.root, path)); err != nil || len(files) == 0 {
			return fmt.Errorf("%s: want a file that %q matches, got none", at, path)
		}
	} else if _, err := os.Stat(path); err != nil {
		files[0] = c.below(c.root, path)
	}
	for _, file := range files {
		if err := c.readClassic(file); err != nil {
			return fmt.Errorf("%w\n    included at %s", err, at)
		}
	}
	return nil
}

func (c *configuration) below(dir, path string) string {
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
