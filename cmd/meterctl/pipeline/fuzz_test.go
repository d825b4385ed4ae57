package pipeline

import (
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"
)

// Whatever stands in a configuration, it is read, or there is an error.
func FuzzConfiguration(f *testing.F) {
	for _, seed := range []string{
		"[OUTPUT]\n    Name amberflo\n    [G x]\n        a b\n    dimensions ${A:-b}\n", "@SET A=b\n@INCLUDE x*\n", "[X\n", "\t\n \n", "[OUTPUT]\n a ${}\n",
		"env: {a: 1}\npipeline:\n  outputs:\n    - name: amberflo\n      dimensions: [a, *b]\n", "---\n---\n# nothing\n", "includes: [x]\n", "pipeline: {outputs: [{name: &a amberflo, ? [x] : y}]}",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, text string, yaml bool) {
		file := filepath.Join(t.TempDir(), map[bool]string{false: "a.conf", true: "a.yaml"}[yaml])
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := Read(file)
		if err != nil {
			return
		}
		if _, _, err := p.Write(Replay{Input: &Section{}, Output: &Section{}, Dir: t.TempDir()}); err != nil && utf8.ValidString(text) { // YAML has no other bytes
			t.Error(err)
		}
	})
}
