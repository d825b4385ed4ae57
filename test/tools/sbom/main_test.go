package main

import (
	"bytes"
	"os"
	"runtime/debug"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func TestEveryModuleOfABinaryIsListed(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var text, again bytes.Buffer
	if err := run(&text, "1.2.3", self); err != nil {
		t.Fatal(err)
	}
	if err := run(&again, "1.2.3", self); err != nil || !bytes.Equal(text.Bytes(), again.Bytes()) {
		t.Errorf("%v; want the same bytes of the same file", err)
	}
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(&text, cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if got := bom.Metadata.Component.Version; got != "1.2.3" {
		t.Errorf("version %s, want 1.2.3", got)
	}
	listed := map[string]string{}
	for _, c := range *bom.Components {
		listed[c.Name] = c.Version
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
