package main

import (
	"debug/buildinfo"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// sources says where the source of each module is, and of the standard library, as std.
type sources map[string]string

// modulesOf finds the sources of what the go.mod in dir names; with an empty directory for those that no build has needed.
func modulesOf(dir string) (sources, error) {
	run := func(args ...string) (string, error) {
		cmd := exec.Command("go", args...)
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	list, err := run("list", "-m", "-f", "{{.Path}}\t{{.Dir}}", "all")
	if err != nil {
		return nil, fmt.Errorf("list the modules of %s: %w", dir, err)
	}
	goroot, err := run("env", "GOROOT")
	if err != nil {
		return nil, err
	}
	all := sources{"std": goroot}
	for line := range strings.Lines(list) {
		path, dir, _ := strings.Cut(strings.TrimSpace(line), "\t")
		all[path] = dir
	}
	return all, nil
}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice)([.-].*)?$`)

// text is a file that comes with a module and has to go where the module goes.
type text struct{ name, content string }

// texts gives a module's licence and notices. A module without a licence is an error: nobody may pass it on.
func (s sources) texts(module string) (all []text, err error) {
	dir := s[module]
	if dir == "" {
		return nil, fmt.Errorf("want the source of %s, got none: build what it is part of first", module)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	licensed := false
	for _, f := range files {
		if f.IsDir() || !licenceFile.MatchString(f.Name()) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, text{f.Name(), string(content)})
		licensed = licensed || len(identify(string(content))) > 0
	}
	if !licensed {
		return nil, fmt.Errorf("%s: want a licence that this program knows, got none in %s", module, dir)
	}
	return all, nil
}

// What only the licence of an SPDX identifier says.
var marks = []struct {
	id       string
	has, not []string
}{
	{"Apache-2.0", []string{"Apache License", "Version 2.0"}, nil},
	{"MIT", []string{"Permission is hereby granted, free of charge"}, nil},
	{"BSD-3-Clause", []string{"Redistribution and use in source and binary forms", "either the name"}, nil},
	{"BSD-2-Clause", []string{"Redistribution and use in source and binary forms"}, []string{"either the name"}},
	{"ISC", []string{"Permission to use, copy, modify, and/or distribute"}, nil},
	{"MPL-2.0", []string{"Mozilla Public License", "2.0"}, nil},
}

// identify gives the SPDX identifiers of the licences that a text holds.
func identify(content string) (ids []string) {
	content = strings.Join(strings.Fields(content), " ")
	in := func(s string) bool { return strings.Contains(content, s) }
	for _, m := range marks {
		if !slices.ContainsFunc(m.has, func(s string) bool { return !in(s) }) && !slices.ContainsFunc(m.not, in) {
			ids = append(ids, m.id)
		}
	}
	return ids
}

// licences gives those of a module for an SBOM.
func (s sources) licences(module string) (*cdx.Licenses, error) {
	all, err := s.texts(module)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, t := range all {
		ids = append(ids, identify(t.content)...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) == 1 {
		return &cdx.Licenses{{License: &cdx.License{ID: ids[0]}}}, nil
	}
	return &cdx.Licenses{{Expression: strings.Join(ids, " AND ")}}, nil
}

// ours gives the licence of the file itself: that of the repository which its module lies in.
func (s sources) ours(file string) (*cdx.Licenses, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for dir := s[info.Main.Path]; ; dir = filepath.Dir(dir) {
		content, err := os.ReadFile(filepath.Join(dir, "LICENSE"))
		if ids := identify(string(content)); err == nil && len(ids) == 1 {
			return &cdx.Licenses{{License: &cdx.License{ID: ids[0]}}}, nil
		}
		if dir == filepath.Dir(dir) {
			return nil, fmt.Errorf("want a LICENSE of %s that is known, got none", info.Main.Path)
		}
	}
}

// printTexts prints the licences of all that is linked into some files, each text once, over the modules that have it.
func printTexts(to io.Writer, s sources, files []string) error {
	var order []string
	having := map[string][]string{}
	linked := map[string]bool{}
	for _, file := range files {
		parts, err := partsOf(file)
		if err != nil {
			return err
		}
		for _, p := range parts {
			linked[p.Path+" "+p.Version] = true
		}
	}
	for _, part := range slices.Sorted(maps.Keys(linked)) {
		path, _, _ := strings.Cut(part, " ")
		all, err := s.texts(path)
		if err != nil {
			return err
		}
		for _, t := range all {
			if having[t.content] == nil {
				order = append(order, t.content)
			}
			having[t.content] = append(having[t.content], part+" ("+t.name+")")
		}
	}
	for _, content := range order {
		if _, err := fmt.Fprintf(to, "%s\n%s\n\n%s\n\n", strings.Repeat("=", 80), strings.Join(having[content], "\n"), strings.TrimSpace(content)); err != nil {
			return err
		}
	}
	return nil
}
