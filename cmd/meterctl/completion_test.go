package main

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What bash offers is what the usage names.
func TestTheCompletionKnowsEveryCommandAndFlag(t *testing.T) {
	const file = "../../docker/packages/meterctl.bash"
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	offered := func(words ...string) []string {
		t.Helper()
		script := `source "$1"; shift; COMP_WORDS=(meterctl "$@" ""); COMP_CWORD=$(($# + 1)); cd /; _meterctl; printf '%s\n' "${COMPREPLY[@]}"`
		out, err := exec.Command("bash", append([]string{"-c", script, "bash", file}, words...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return strings.Fields(string(out))
	}
	text, _, _ := strings.Cut(usage, "\nDIR is")
	starts := regexp.MustCompile(`(?m)^    meterctl (?:\[-store-dir DIR\] )?([a-z-]+)`).FindAllStringSubmatchIndex(text, -1)
	if len(starts) < 11 {
		t.Fatalf("%d commands in the usage, want 11: is it read rightly?", len(starts))
	}
	commands := offered()
	for i, at := range starts {
		verb, end := text[at[2]:at[3]], len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		if !slices.Contains(commands, verb) {
			t.Errorf("%s is not offered", verb)
		}
		flags := offered(verb)
		for _, m := range regexp.MustCompile(`[\s\[](-[a-z][a-z-]*)`).FindAllStringSubmatch(text[at[3]:end], -1) {
			if flag := m[1]; flag != "-store-dir" && !slices.Contains(flags, flag) {
				t.Errorf("%s: %s is not offered", verb, flag)
			}
		}
	}
	if strings.Contains(string(content), "\t") {
		t.Error("want blanks, got tabs")
	}
}
