package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// commandLine is what follows the program's name in a document, up to where a shell, Markdown or a sentence goes on.
var commandLine = regexp.MustCompile("(?:^|[\\s`/])meterctl((?: +[^\\s`|;#&]+)*)")

// Every command that a document shows has a verb and flags that there are.
func TestTheCommandsOfTheDocumentsAreThere(t *testing.T) {
	root := filepath.Join("..", "..")
	found := 0
	for _, pattern := range []string{"README.md", "docs/*.md", "docker/*.md", "docker/*/*.md", "docker/*.yaml"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for line := range strings.Lines(readFile(t, file)) {
				for _, code := range codeIn(line) {
					for _, m := range commandLine.FindAllStringSubmatch(code, -1) {
						if words := strings.Fields(m[1]); len(words) > 0 {
							found++
							knownCommand(t, file+": meterctl"+m[1], words)
						}
					}
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("%d commands found, want at least 20: are the documents read rightly?", found)
	}
}

// codeIn is what of a line is code: all of it if it is indented, or what stands between backticks.
func codeIn(line string) (list []string) {
	if strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "#") && strings.Contains(line, "exec ") {
		return []string{line}
	}
	for i, part := range strings.Split(line, "`") {
		if i%2 == 1 {
			list = append(list, part)
		}
	}
	return list
}

func knownCommand(t *testing.T, name string, words []string) {
	t.Helper()
	root := (&app{}).root()
	words = verbFirst(root, words)
	cmd, _, err := root.Find(words[:1])
	if strings.HasPrefix(words[0], "-") {
		cmd, err = root, nil
		root.InitDefaultHelpFlag()
		root.InitDefaultVersionFlag()
	}
	if err != nil || cmd == root && !strings.HasPrefix(words[0], "-") {
		t.Errorf("%s: no such command", name)
		return
	}
	for _, word := range words {
		if !isFlagOf(cmd, word) {
			t.Errorf("%s: no flag %s", name, word)
		}
	}
}

// isFlagOf is true of all that does not look like a flag.
func isFlagOf(cmd *cobra.Command, word string) bool {
	flag, _, _ := strings.Cut(word, "=")
	flag = strings.TrimRight(flag, ".,:)]")
	switch {
	case strings.HasPrefix(flag, "--") && len(flag) > 2:
		return cmd.Flags().Lookup(flag[2:]) != nil || flag == "--help"
	case strings.HasPrefix(flag, "-") && len(flag) > 1:
		for _, letter := range flag[1:] {
			if cmd.Flags().ShorthandLookup(string(letter)) == nil && letter != 'h' {
				return false
			}
		}
	}
	return true
}
