package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func TestEveryModuleOfABinaryIsListed(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	modules, err := modulesOf(".")
	if err != nil {
		t.Fatal(err)
	}
	var text, again bytes.Buffer
	if err := run(&text, modules, "1.2.3", self); err != nil {
		t.Fatal(err)
	}
	if err := run(&again, modules, "1.2.3", self); err != nil || !bytes.Equal(text.Bytes(), again.Bytes()) {
		t.Errorf("%v; want the same bytes of the same file", err)
	}
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(&text, cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if got := bom.Metadata.Component.Version; got != "1.2.3" {
		t.Errorf("version %s, want 1.2.3", got)
	}
	if got := bom.Metadata.Component.Licenses; got == nil || len(*got) != 1 || (*got)[0].License.ID != "Apache-2.0" {
		t.Errorf("licence of the file itself %v, want that of LICENSE, Apache-2.0", got)
	}
	listed := map[string]string{}
	for _, c := range *bom.Components {
		listed[c.Name] = c.Version
		if c.Licenses == nil || len(*c.Licenses) == 0 {
			t.Errorf("%s has no licence", c.Name)
		}
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || len(info.Deps) == 0 {
		t.Fatal("this test was built without modules")
	}
	for _, m := range info.Deps {
		if listed[m.Path] != m.Version {
			t.Errorf("%s: got %q, want %s", m.Path, listed[m.Path], m.Version)
		}
	}
	if "go"+listed["std"] != info.GoVersion {
		t.Errorf("Go itself: got %q, want %s", listed["std"], info.GoVersion)
	}
}

func TestTheTextsOfAllLicencesArePrinted(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	modules, err := modulesOf(".")
	if err != nil {
		t.Fatal(err)
	}
	var texts bytes.Buffer
	if err := printTexts(&texts, modules, []string{self, self}); err != nil {
		t.Fatal(err)
	}
	parts, err := partsOf(self)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		if n := strings.Count(texts.String(), p.Path+" "+p.Version+" (LICENSE)"); n != 1 {
			t.Errorf("%s stands there %d times, want once", p.Path, n)
		}
	}
}

func TestAModuleWithoutALicenceIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "NOTICE"), []byte("all is ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (sources{"m": dir}).licences("m"); err == nil || !strings.Contains(err.Error(), "want a licence") {
		t.Errorf("got %v, want an error that says so", err)
	}
	if _, err := (sources{}).licences("m"); err == nil || !strings.Contains(err.Error(), "want the source of m") {
		t.Errorf("got %v, want an error that says so", err)
	}
}

func TestLicencesAreKnownByWhatTheySay(t *testing.T) {
	const bsd = "Redistribution and use in source and\nbinary forms, with or without"
	for content, want := range map[string]string{
		"Apache License\n  Version 2.0, January 2004":          "Apache-2.0",
		"Permission is hereby granted, free of charge, to any": "MIT",
		bsd + " ... Neither the name of":                       "BSD-3-Clause",
		bsd:                                                    "BSD-2-Clause",
		"Permission is hereby granted, free of charge\n...\n" + bsd: "MIT BSD-2-Clause",
		"All rights reserved.": "",
	} {
		if got := strings.Join(identify(content), " "); got != want {
			t.Errorf("%q: got %q, want %q", content, got, want)
		}
	}
}
