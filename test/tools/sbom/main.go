// Command sbom prints what is inside a Go program or shared object: a software bill of materials in the format
// CycloneDX (https://cyclonedx.org/docs/latest/json/), read from what the Go linker writes into every binary.
//
//	sbom ROOT VERSION FILE >FILE.cdx.json
//	sbom -licences ROOT FILE... >THIRD-PARTY-LICENCES
//
// ROOT has the go.mod of what FILE was built from. With -licences it prints the texts that have to go where the files go:
// the licence and the notices of each module that is linked, and of Go itself.
//
// The SBOM holds neither a time nor a serial number, so that the same file gives the same bytes.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func main() {
	texts := flag.Bool("licences", false, "print the texts of the licences")
	flag.Usage = func() { fmt.Fprintln(os.Stderr, "want: sbom ROOT VERSION FILE, or sbom -licences ROOT FILE...") }
	flag.Parse()
	if args := flag.Args(); len(args) < 2 || !*texts && len(args) != 3 {
		flag.Usage()
		os.Exit(2)
	}
	s, err := modulesOf(flag.Arg(0))
	if err == nil && *texts {
		err = printTexts(os.Stdout, s, flag.Args()[1:])
	} else if err == nil {
		err = run(os.Stdout, s, flag.Arg(1), flag.Arg(2))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// partsOf gives what a file was linked from: Go itself, as std, and the modules.
func partsOf(file string) ([]*debug.Module, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return nil, err
	}
	parts := []*debug.Module{{Path: "std", Version: strings.TrimPrefix(info.GoVersion, "go")}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		parts = append(parts, m)
	}
	return parts, nil
}

func run(to io.Writer, s sources, version, file string) error {
	parts, err := partsOf(file)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	name := filepath.Base(file)
	ours, err := s.ours(file)
	if err != nil {
		return err
	}
	root := cdx.Component{
		BOMRef: name, Type: cdx.ComponentTypeApplication, Name: name, Version: version, Licenses: ours,
		Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
	}
	var components []cdx.Component
	for _, m := range parts {
		c := component(m)
		if c.Licenses, err = s.licences(m.Path); err != nil {
			return err
		}
		components = append(components, c)
	}
	refs := make([]string, len(components))
	for i, c := range components {
		refs[i] = c.BOMRef
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Component: &root}
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: name, Dependencies: &refs}}
	return cdx.NewBOMEncoder(to, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
}

// component names a module by its package URL (https://github.com/package-url/purl-spec).
func component(m *debug.Module) cdx.Component {
	purl := "pkg:golang/" + m.Path + "@" + m.Version
	c := cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: purl}
	if m.Sum != "" { // of go.sum: a hash of the module's files, which no algorithm of CycloneDX names
		c.Properties = &[]cdx.Property{{Name: "go.sum", Value: m.Sum}}
	}
	return c
}
