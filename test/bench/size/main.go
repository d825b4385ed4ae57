// Command size tells what the bytes of out_amberflo.so are: it builds one as the Makefile does, but with its symbols, and
// adds these up by the module that they come from.
//
//	go run ./test/bench/size
package main

import (
	"cmp"
	"debug/elf"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "size:", err)
		os.Exit(1)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "amberflo-size-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "out_amberflo.so")
	build := exec.Command("go", "build", "-tags", "codec.notfastpath,netgo", "-trimpath", "-buildmode=c-shared", "-o", file, "./out_amberflo")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return err
	}
	f, err := elf.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		return err
	}

	// What stays in the stripped file is what is loaded.
	parts := map[string]uint64{}
	rest := map[elf.SectionIndex]uint64{}
	for i, s := range f.Sections {
		if s.Flags&elf.SHF_ALLOC != 0 && s.Type != elf.SHT_NOBITS {
			rest[elf.SectionIndex(i)] = s.Size
		}
	}
	seen := map[uint64]bool{}
	for _, s := range symbols {
		left, loaded := rest[s.Section]
		kind := elf.ST_TYPE(s.Info)
		if !loaded || kind != elf.STT_FUNC && kind != elf.STT_OBJECT || s.Size == 0 || s.Size > left || seen[s.Value] {
			continue
		}
		if f.Sections[s.Section].Name == ".gopclntab" || strings.HasPrefix(s.Name, "type:") || strings.HasPrefix(s.Name, "runtime.") && f.Sections[s.Section].Flags&elf.SHF_EXECINSTR == 0 {
			continue // of all modules
		}
		seen[s.Value] = true
		parts[module(s.Name)] += s.Size
		rest[s.Section] -= s.Size
	}
	for i, left := range rest {
		switch name := f.Sections[i].Name; name {
		case ".gopclntab":
			parts["tables of all functions, for stacks and panics ("+name+")"] += left
		case ".rela.dyn", ".dynsym", ".dynstr", ".gnu.hash", ".hash":
			parts["relocations and symbols for the loader"] += left
		case ".data.rel.ro", ".rodata", ".typelink", ".itablink":
			parts["types, method tables and constants of all modules"] += left
		default:
			parts["other"] += left
		}
	}
	total := uint64(0)
	for _, n := range parts {
		total += n
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	for _, name := range slices.SortedFunc(maps.Keys(parts), func(a, b string) int { return cmp.Compare(parts[b], parts[a]) }) {
		fmt.Fprintf(t, "%.2f MB\t%.1f %%\t  %s\n", float64(parts[name])/1e6, 100*float64(parts[name])/float64(total), name)
	}
	fmt.Fprintf(t, "%.2f MB\t\t  all that is loaded\n", float64(total)/1e6)
	return t.Flush()
}

// module names the module, or the larger part of the standard library, that a symbol is of.
func module(symbol string) string {
	name := strings.TrimPrefix(strings.TrimPrefix(symbol, "go:itab.*"), "go:itab.")
	path, _, _ := strings.Cut(name, "[") // of a generic function, its types
	if dot := strings.IndexByte(path[strings.LastIndexByte(path, '/')+1:], '.'); dot >= 0 {
		path = path[:strings.LastIndexByte(path, '/')+1+dot]
	}
	elements := strings.Split(path, "/")
	switch {
	case strings.HasPrefix(path, "github.com/aws/aws-sdk-go-v2/service/s3"):
		return "aws-sdk-go-v2/service/s3"
	case strings.HasPrefix(path, "github.com/aws/"):
		return "aws-sdk-go-v2, the rest, and smithy-go"
	case strings.Contains(elements[0], ".") && len(elements) >= 3:
		return strings.Join(elements[1:3], "/")
	case elements[0] == "out_amberflo":
		return "out_amberflo itself"
	case elements[0] == "crypto" || elements[0] == "vendor" && strings.Contains(path, "crypto"):
		return "Go: crypto and TLS"
	case elements[0] == "net" || elements[0] == "vendor" && strings.Contains(path, "net"):
		return "Go: net and HTTP"
	case elements[0] == "runtime" || elements[0] == "internal":
		return "Go: runtime"
	}
	return "Go: the rest of the library, and C"
}
