package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"out_amberflo/plugin"
)

// verbs are all commands that help lists, and help.
func verbs() (list []*cobra.Command) {
	root := (&app{}).root()
	for _, cmd := range root.Commands() {
		if cmd.IsAvailableCommand() {
			list = append(list, cmd)
		}
	}
	return list
}

func flagsOf(cmd *cobra.Command) (names []string) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

func TestHelpIsThereWhereverItIsAskedFor(t *testing.T) {
	said := func(args ...string) string {
		t.Helper()
		out, err := meterctl(t, args...)
		if err != nil {
			t.Errorf("%v: %v", args, err)
		}
		return out
	}
	all := said("--help")
	if all != said("-h") || all != said("help") || !strings.Contains(all, "Exit status:\n  0  ") {
		t.Errorf("-h, help and --help differ, or do not tell the exit statuses:\n%s", all)
	}
	for _, cmd := range verbs() {
		if !regexp.MustCompile(`(?m)^  ` + cmd.Name() + ` `).MatchString(all) {
			t.Errorf("help does not list %s", cmd.Name())
		}
		if cmd.Name() == "help" {
			continue
		}
		text := said("help", cmd.Name())
		if text != said(cmd.Name(), "--help") || text != said("-h", cmd.Name()) || text != said(cmd.Name(), "x", "y", "-h") {
			t.Errorf("%s: help differs with the place of -h", cmd.Name())
		}
		for _, flag := range flagsOf(cmd) {
			if !strings.Contains(text, "--"+flag+" ") {
				t.Errorf("help %s does not name --%s", cmd.Name(), flag)
			}
		}
		if cmd.GroupID != others && !strings.Contains(text, "Exit status:") {
			t.Errorf("help %s does not tell the exit status", cmd.Name())
		}
	}
}

func TestTheVersionIsTold(t *testing.T) {
	defer func(was string) { plugin.Version = was }(plugin.Version)
	plugin.Version = "v0.1.0"
	for _, args := range [][]string{{"version"}, {"--version"}, {"-v"}} {
		if out, err := meterctl(t, args...); err != nil || !strings.HasPrefix(out, "meterctl v0.1.0 (out_amberflo), go") {
			t.Errorf("%v: got %q, %v", args, out, err)
		}
	}
	if out, err := meterctl(t, "version", "--json"); err != nil || !strings.Contains(out, `"version": "v0.1.0"`) {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestFlagsMayStandAnywhere(t *testing.T) {
	dir, _ := filled(t)
	want, err := meterctl(t, "ls", "--long", "--no-count", "--json", "--store-dir", dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--json", "--store-dir", dir, "-n", "ls", "-l"}, {"-ln", "ls", "--json", "--store-dir=" + dir}, {"--store-dir", dir, "-nl", "--json", "ls"},
	} {
		if out, err := meterctl(t, args...); err != nil || out != want {
			t.Errorf("%v: got %v\n%swant\n%s", args, err, out, want)
		}
	}
	// A value may be the name of a command.
	if _, err := meterctl(t, "--store-dir", "check", "ls"); err == nil || !strings.Contains(err.Error(), "check/open") {
		t.Errorf("got %v", err)
	}
}

func TestAWrongCommandLineNamesWhatIsMeant(t *testing.T) {
	dir, _ := filled(t)
	for line, want := range map[string]string{
		"":                                     "want a command, got none",
		"lss":                                  `want a command, got "lss"; did you mean ls? meterctl --help lists them`,
		"retry-rejcted":                        "did you mean retry-rejected?",
		"help chek":                            "did you mean check?",
		"frobnicate":                           `want a command, got "frobnicate"; meterctl --help lists them`,
		"ls -store-dir " + dir:                 "want --store-dir, got -store-dir; meterctl ls --help explains the flags",
		"drop k -why x":                        "want --why, got -why",
		"ls --stor-dir " + dir:                 "ls: unknown flag: --stor-dir; meterctl ls --help explains the flags",
		"drop k --store-dir " + dir:            "set --why TEXT",
		"drop k --why":                         "drop: flag needs an argument: --why",
		"drop k --why x --store-dir /nowhere":  "drop: want a store_dir of this plugin: stat /nowhere/open: no such file or directory; Fluent Bit makes it",
		"split k --size x --store-dir " + dir:  "want a size such as 500K, 50M or 10G",
		"ls --output x":                        "want -c CONF beside --output",
		"retry-rejected":                       "want -c CONF",
		"retry-rejected -c /nowhere.conf":      "/nowhere.conf",
		"retry-rejected --since x -c /nowhere": "want a day such as 2026-11-20",
		"resend --store-dir " + dir:            "want keys or --all",
		"resend --all k --store-dir " + dir:    "want keys or --all, got both",
		"completion":                           "want one of bash, zsh, fish, got none",
		"completion tcsh":                      `want one of bash, zsh, fish, got "tcsh"`,
		"status -c /nowhere.conf":              "want -c CONF with a configuration of Fluent Bit: stat /nowhere.conf: ",
		"resend k --store-dir " + dir:          "want the key of an object in failed/, got \"k\": file does not exist; meterctl ls --long lists them",
		"ls --store-dir /nowhere":              "Fluent Bit makes it when it first starts; set --store-dir DIR or -c CONF if it is another one",
	} {
		out, err := meterctl(t, strings.Fields(line)...)
		if err == nil || errors.Is(err, errProblems) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q\n%s", line, err, want, out)
		}
	}
	t.Setenv(storeDirVariable, "/nowhere")
	if _, err := meterctl(t, "ls"); err == nil || !strings.Contains(err.Error(), "/nowhere, which $AMBERFLO_STORE_DIR names") {
		t.Errorf("with a variable that names none: got %v", err)
	}
	t.Setenv(storeDirVariable, "")
	if _, err := meterctl(t, "ls"); err == nil || !strings.Contains(err.Error(), "set --store-dir DIR, -c CONF or $AMBERFLO_STORE_DIR") {
		t.Errorf("without a spool: got %v", err)
	}
}

func TestTheConfigurationNamesTheSpool(t *testing.T) {
	dir, _ := filled(t)
	other, _ := filled(t)
	output := func(dir, more string) string {
		return "[OUTPUT]\n  Name amberflo\n  bucket b\n  store_dir " + dir + "\n" + more
	}
	conf := write(t, map[string]string{
		"one.conf": output(dir, ""), "two.conf": output(dir, "") + output(dir, "  alias second\n"),
		"several.conf": output(dir, "") + output(other, "  alias second\n"),
		"unset.conf":   output("${AMBERFLO_TEST_UNSET}", ""), "none.conf": "[OUTPUT]\n  Name stdout\n",
	})
	t.Setenv(storeDirVariable, "/nonexistent")
	for line, want := range map[string]string{
		"-c one.conf": dir, "-c two.conf": dir, "--config several.conf --output second": other,
		"-c several.conf --store-dir " + dir: dir, "-c unset.conf --store-dir " + dir: dir, "-c one.conf --store-dir " + other: other,
		"-c several.conf": "want --output NAME or --store-dir DIR", "-c unset.conf": "give --store-dir DIR", "-c none.conf": "want a configuration with an output whose name is amberflo",
		"-c several.conf --output third": "--output: want one of",
	} {
		args := strings.Fields(strings.NewReplacer("-c ", "-c "+conf+"/", "--config ", "--config "+conf+"/").Replace(line))
		out, err := meterctl(t, append([]string{"ls", "--json"}, args...)...)
		if !strings.Contains(fmt.Sprint(out, err), want) || (err == nil) != strings.HasPrefix(want, "/") {
			t.Errorf("%s: got %v\n%s\nwant %s", line, err, out, want)
		}
	}
}

// tree is what a directory holds, down to the times of its files.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var content []byte
		if !d.IsDir() {
			content, err = os.ReadFile(path)
		}
		fmt.Fprintf(&b, "%s %v %v %q\n", path, info.Mode(), info.ModTime(), content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// failed is a spool with an object that Amberflo did not take.
func failed(t *testing.T) (dir, key string) {
	t.Helper()
	dir, s := filled(t)
	obj, err := s.Take(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	s.KeepSent(true)
	if err := errors.Join(s.Sent(obj), s.KeepFailed(obj, []byte("unknown meter\nmore"))); err != nil {
		t.Fatal(err)
	}
	return dir, obj.Key
}

func TestADryRunSaysWhatWouldBeDoneAndChangesNothing(t *testing.T) {
	dir, key := failed(t)
	for _, args := range [][]string{{"resend", key}, {"resend", "failed/" + key}, {"resend", "--all"}, {"drop", key, "--why", "a test"}} {
		before := tree(t, dir)
		out, err := meterctl(t, append(args, "--dry-run", "--store-dir", dir)...)
		if err != nil || !strings.Contains(out, key+" would be ") || !strings.Contains(out, "2 records, ") || !strings.Contains(out, "Amberflo's reason: unknown meter\n") ||
			!strings.Contains(out, "nothing was changed; 1 object, 2 records\n") {
			t.Errorf("%v: got %v\n%s", args, err, out)
		}
		if after := tree(t, dir); after != before {
			t.Errorf("%v: was\n%s\nis\n%s", args, before, after)
		}
	}
	for _, args := range [][]string{{"resend", "nothing"}, {"drop", "nothing", "--why", "x"}, {"resend", "failed/audit.ndjson"}} {
		if out, err := meterctl(t, append(args, "--dry-run", "--store-dir", dir)...); err == nil || !strings.Contains(err.Error(), "want the key of an object in failed/") {
			t.Errorf("%v: got %v, %s", args, err, out)
		}
	}
	if out, err := meterctl(t, "resend", "--all", "--store-dir", dir); err != nil || !strings.Contains(out, key+" is sent again as ") {
		t.Errorf("got %v\n%s", err, out)
	}
}

func TestADryRunOfRetryRejectedCountsWhatARunDoes(t *testing.T) {
	for _, more := range []string{"", "\ntotal_file_size 1", "\nmax_records 1"} {
		dir := refusing(t, `{"tenant":"a","bytes":5}
{"tenant":"b","bytes":"12abc"}
{"tenant":"c","bytes":7}
`, "amberflo.0", "other")
		before := tree(t, dir)
		mapping := "customer_id $tenant\nmeters A=1, B=$bytes" + more
		would, records, err := retriedWith(t, dir, mapping, "--dry-run")
		if !errors.Is(err, errProblems) || len(records) > 0 || !strings.Contains(would, "would be sent") || !strings.Contains(would, "dry run: nothing was changed\n") {
			t.Errorf("%q: got %v, %q\n%s", more, err, records, would)
		}
		if after := tree(t, dir); after != before {
			t.Errorf("%q: was\n%s\nis\n%s", more, before, after)
		}
		did, records, err := retriedWith(t, dir, mapping)
		first := func(text string) string { line, _, _ := strings.Cut(text, "\n"); return line }
		if want := strings.Replace(first(would), "would be sent", "are on their way", 1); !errors.Is(err, errProblems) || len(records) != 4 || first(did) != want {
			t.Errorf("%q: the dry run said\n%s\nand the run\n%s", more, want, did)
		}
	}
}

func TestWhatIsReadIsToldInJSONToo(t *testing.T) {
	dir, _ := failed(t)
	conf := filepath.Join(write(t, map[string]string{"c.conf": "[OUTPUT]\n  Name amberflo\n  bucket b\n  store_dir " + dir + "\n  customer_id c\n  meter_api_name M\n  meter_value $v\n"}), "c.conf")
	sample := filepath.Join(write(t, map[string]string{"log": `{"v":1}` + "\n" + `{"v":2}` + "\n{}\n"}), "log")
	for line, want := range map[string]string{
		"ls -c CONF":                                `"directory": "failed",`,
		"ls -l -c CONF":                             `"path": "failed/ingest/`,
		"ls -n -c CONF":                             `"records": null`,
		"check -c CONF":                             `"records": 7,`,
		"map -c CONF SAMPLE":                        `"meter_records": 2,`,
		"check-config -c CONF":                      `"severity": "warning"`,
		"check-config -c CONF --sample SAMPLE":      `"no_value": 1`,
		"check-config -c CONF.none --sample SAMPLE": "",
		"version":                                   `"go": "go1`,
	} {
		out, err := meterctl(t, append(strings.Fields(strings.NewReplacer("CONF", conf, "SAMPLE", sample).Replace(line)), "--json")...)
		if err != nil && !errors.Is(err, errProblems) {
			if want != "" {
				t.Errorf("%s: %v", line, err)
			}
			continue
		}
		if !json.Valid([]byte(out)) || !strings.Contains(out, want) {
			t.Errorf("%s: got\n%s\nwant %s", line, out, want)
		}
	}
	var lines []string
	files, _ := filepath.Glob(filepath.Join(dir, "open", "*.log"))
	out, err := meterctl(t, "cat", "--json", "--store-dir", dir, files[0])
	for line := range strings.Lines(out) {
		var is struct {
			File   string
			Record map[string]any
		}
		if err := json.Unmarshal([]byte(line), &is); err != nil || !strings.HasPrefix(is.File, "open/") || is.Record["name"] == nil {
			t.Errorf("got %s, %v", line, err)
		}
		lines = append(lines, line)
	}
	if err != nil || len(lines) != 3 {
		t.Errorf("got %v, %q", err, lines)
	}
}

func TestTheManualNamesEveryCommandAndFlag(t *testing.T) {
	page, err := meterctl(t, "man")
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range verbs() {
		_, section, found := strings.Cut(page, "\n.SS meterctl "+roff(cmd.Name()))
		section, _, _ = strings.Cut(section, "\n.S")
		if !found {
			t.Errorf("no section of %s", cmd.Name())
		}
		for _, flag := range flagsOf(cmd) {
			if !strings.Contains(section, roff("--"+flag)) {
				t.Errorf("%s: no --%s", cmd.Name(), flag)
			}
		}
	}
	if man, err := exec.LookPath("man"); err == nil {
		file := filepath.Join(write(t, map[string]string{"meterctl.1": page}), "meterctl.1")
		cmd := exec.Command(man, "--warnings", "-l", file)
		cmd.Env = append(os.Environ(), "MANWIDTH=120", "LC_ALL=C")
		var said strings.Builder
		cmd.Stderr = &said
		if out, err := cmd.Output(); err != nil || said.Len() > 0 || !strings.Contains(string(out), "--dry-run") {
			t.Errorf("man: %v %s\n%s", err, said.String(), out)
		}
	}
}

func TestShellsCompleteCommandsFlagsAndFiles(t *testing.T) {
	offered := func(words ...string) []string {
		t.Helper()
		out, err := meterctl(t, append([]string{"__complete"}, words...)...)
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for line := range strings.Lines(out) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
			list = append(list, word)
		}
		return list
	}
	commands := offered("")
	for _, cmd := range verbs() {
		if !slices.Contains(commands, cmd.Name()) {
			t.Errorf("%s is not offered, but %q", cmd.Name(), commands)
		}
		flags := offered(cmd.Name(), "--")
		for _, flag := range flagsOf(cmd) {
			if !slices.Contains(flags, "--"+flag) {
				t.Errorf("%s: --%s is not offered", cmd.Name(), flag)
			}
		}
	}
	dir, key := failed(t)
	if got := offered("resend", "--store-dir", dir, ""); !slices.ContainsFunc(got, func(s string) bool { return strings.HasSuffix(s, filepath.Base(key)) }) || len(got) > 3 {
		t.Errorf("resend: got %q, want the object %s", got, key)
	}
	for _, shell := range shells {
		script, err := meterctl(t, "completion", shell)
		if err != nil || !strings.Contains(script, "__complete") {
			t.Errorf("%s: %v", shell, err)
		}
		if path, err := exec.LookPath(shell); err == nil {
			cmd := exec.Command(path, "-n")
			cmd.Stdin = strings.NewReader(script)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s -n: %v\n%s", shell, err, out)
			}
		}
	}
}

func TestTheExitStatusIsWhatHelpSays(t *testing.T) {
	dir, key := damagedOutbox(t)
	for line, want := range map[string]error{"check": errProblems, "ls": errProblems, "ls -n": nil, "cat " + key: errProblems} {
		if err := run(append(strings.Fields(line), "--store-dir", dir), nil, io.Discard, io.Discard); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", line, err, want)
		}
	}
}
