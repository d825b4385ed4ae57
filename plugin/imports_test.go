package plugin

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Who of the packages below may import whom of this module. Imports go one way.
var mayImport = map[string][]string{
	"alarm": {}, "ship/failure": {},
	"ship":   {"alarm", "ship/failure", "spool"}, // no bucket: it says what it needs of one
	"report": {"alarm", "ship/failure", "spool"},
	"watch":  {"chunk", "meter", "tally"},

	"disk":    {},
	"object":  {"disk"},
	"journal": {"disk", "object"},
	"sealing": {"disk", "journal", "object", "tally"},
	"spool":   {"alarm", "disk", "journal", "object", "sealing"},
	"repair":  {"disk", "journal", "object", "sealing", "spool"},
}

func list(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	return strings.Fields(string(out))
}

func TestImportsGoOneWay(t *testing.T) {
	for of, may := range mayImport {
		for _, path := range list(t, "-f", `{{join .Imports "\n"}}`, "./"+of) {
			if name, ours := strings.CutPrefix(path, "out_amberflo/plugin/"); ours && !slices.Contains(may, name) {
				t.Errorf("%s imports %s, want at most %v", of, name, may)
			}
		}
	}
}

func TestThePluginLinksNeitherRepairNorTests(t *testing.T) {
	for _, path := range list(t, "-deps", "../out_amberflo") {
		if path == "out_amberflo/plugin/repair" || path == "out_amberflo/plugin/disk/disktest" || path == "testing" {
			t.Errorf("out_amberflo links %s", path)
		}
	}
	for _, importer := range list(t, "-f", `{{range .Imports}}{{if eq . "out_amberflo/plugin/repair"}}{{$.ImportPath}}{{end}}{{end}}`, "../...") {
		if !strings.HasPrefix(importer, "out_amberflo/cmd/") {
			t.Errorf("%s imports repair, want only commands to", importer)
		}
	}
}
