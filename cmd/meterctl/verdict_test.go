package main

import (
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"out_amberflo/cmd/meterctl/pipeline"
)

// CASES B11: where Fluent Bit does not start, check-config says so; where it starts although nothing of what was meant is in
// effect, check-config is an error of its own.
func TestWhereFluentBitRefusesToStartItIsSaid(t *testing.T) {
	fluentBit(t)
	plugin, err := filepath.Abs(filepath.Join("..", "..", "out_amberflo.so"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(plugin); err != nil {
		t.Skip("out_amberflo.so is not built: make builds it")
	}
	const (
		classic = "[INPUT]\n    Name dummy\n    Tag app.x\n[OUTPUT]\n    Name amberflo\n    Match app.*\n    bucket b\n    region us-west-2\n    store_dir /nowhere/amberflo\n    Workers 1\n    Retry_Limit no_limits\n"
		inYAML  = "pipeline:\n  inputs:\n    - {name: dummy, tag: app.x}\n  outputs:\n    - name: amberflo\n      match: app.*\n      bucket: b\n      region: us-west-2\n      store_dir: /nowhere/amberflo\n      workers: 1\n      retry_limit: no_limits\n"
		said    = "Fluent Bit does not start"
		said511 = "Fluent Bit 5.1.1 does not start"
	)
	for name, test := range map[string]struct {
		conf, want string
	}{
		"nothing wrong":                     {classic, "0 errors, 0 warnings"},
		"nothing wrong in YAML":             {inYAML, "0 errors, 0 warnings"},
		"a group without a space":           {classic + "    [X]\n        unmatched ignore\n", said},
		"a group":                           {classic + "    [X y]\n        unmatched ignore\n", "error: [X y]"},
		"a key without a value":             {classic + "    customer_id\n", said},
		"a key with spaces for a value":     {classic + "    customer_id   \n", said},
		"a YAML text of spaces":             {inYAML + "      customer_id: '  '\n", said},
		"a YAML text of nothing":            {inYAML + "      customer_id: ''\n", "error: customer_id"},
		"a YAML key without a value":        {inYAML + "      customer_id:\n", "error: customer_id"},
		"a YAML list of nothing":            {inYAML + "      dimensions: []\n", said},
		"a YAML map":                        {inYAML + "      dimensions: {a: $b}\n", said},
		"a YAML map of nothing":             {inYAML + "      dimensions: {}\n", said},
		"a YAML list":                       {inYAML + "      dimensions: [a, b]\n", said511},
		"a YAML list of one":                {inYAML + "      dimensions: [a]\n", "0 errors, 0 warnings"},
		"an option twice":                   {classic + "    bucket c\n", said511},
		"a key with a letter too few":       {classic + "    dimension a\n", said511},
		"a list of patterns":                {inYAML + "      match: [a, b]\n", "error: match"},
		"Match twice":                       {classic + "    Match other\n", "error: match"},
		"a variable that is not set":        {classic + "    customer_id ${AMBERFLO_TEST_UNSET}\n", "error: customer_id"},
		"a variable that is set to nothing": {"@SET X=\n" + classic + "    customer_id ${X}\n", "error: customer_id"},
		"a parser in the main file":         {"[PARSER]\n    Name x\n    Format json\n" + classic, said},
		"a file of parsers that is missing": {"[SERVICE]\n    Parsers_File nowhere.conf\n" + classic, "error: parsers_file"},
		"a text at the top of YAML":         {"x: 1\n" + inYAML, said},
		"a list at the top of YAML":         {"x: [a]\n" + inYAML, said},
		"a map at the top of YAML":          {"x: {a: b}\n" + inYAML, "0 errors, 0 warnings"},
		"another indentation":               {classic + "  customer_id $a\n", said},
		"a key in the first column":         {classic + "customer_id $a\n", said},
		"a command that is none":            {"@SETT X=1\n" + classic, "error: @SETT"},
		"a command without a space":         {"@SETX=1\n" + classic, said},
		"a section with a letter too few":   {"[OUPUT]\n    Name null\n" + classic, "error: [OUPUT]"},
		"an output without a name":          {classic + "[OUTPUT]\n    Match *\n", said},
	} {
		t.Run(name, func(t *testing.T) {
			file := "main.conf"
			if strings.Contains(test.conf, "pipeline:") {
				file = "main.yaml"
			}
			dir := write(t, map[string]string{file: test.conf})
			out, err := meterctl(t, "check-config", "-c", filepath.Join(dir, file))
			if !strings.Contains(out, test.want) || (err == nil) != strings.Contains(out, " 0 errors") {
				t.Errorf("got %v and\n%swant %q in it", err, out, test.want)
			}
			log, err := exec.Command(program(), "-e", plugin, "-c", filepath.Join(dir, file), "--dry-run").CombinedOutput()
			if starts := !strings.Contains(out, said) && !strings.Contains(out, said511) && !strings.Contains(out, "parsers_file"); starts != (err == nil) {
				t.Errorf("check-config says\n%sand Fluent Bit %v:\n%s", out, err, log)
			}
		})
	}
}

// What the findings say of Fluent Bit, seen in Fluent Bit.
func TestWhatIsSaidOfFluentBitIsSo(t *testing.T) {
	fluentBit(t)
	conf := strings.Replace(tailConf, "    Parser p\n", "", 1)
	parsers := "[PARSER]\n    Name p\n    Format json\n    Time_Formt x\n"
	for name, test := range map[string]struct {
		conf, sample string
		want         []string
	}{
		"a parser that nobody defines leaves the line a text":      {strings.Replace(conf, "DB", "Parser nope\n    DB", 1), `{"a":1}`, []string{`now {"log":"{\"a\":1}"}`}},
		"multiline.parser goes before Parser":                      {strings.Replace(conf, "DB", "Parser p\n    multiline.parser go\n    DB", 1), `{"a":1}`, []string{`now {"log":"{\"a\":1}\n"}`}},
		"an option that a parser does not have is never said":      {strings.Replace(conf, "DB", "Parser p\n    DB", 1), `{"a":1}`, []string{`now {"a":1}`}},
		"after a line that is too long the file is not read":       {strings.Replace(conf, "    Skip_Long_Lines On\n", "", 1), strings.Repeat("x", 40_000) + "\ny\n", nil},
		"a line that is too long is left out with Skip_Long_Lines": {conf, strings.Repeat("x", 40_000) + "\ny\n", []string{`now {"log":"y"}`}},
		"rewrite_tag with true gives a record under both tags":     {strings.Replace(conf, "[OUTPUT]", "[FILTER]\n    Name rewrite_tag\n    Match app.log\n    Rule $log . app.too true\n    Emitter_Storage.type filesystem\n[OUTPUT]", 1), "y", []string{`now {"log":"y"}`, `now {"log":"y"}`}},
		"a filter whose Match fits no tag does nothing":            {strings.Replace(conf, "[OUTPUT]", "[FILTER]\n    Name grep\n    Match nothing\n    Exclude log .\n[OUTPUT]", 1), "y", []string{`now {"log":"y"}`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := write(t, map[string]string{"main.conf": test.conf, "parsers.conf": parsers})
			p, err := pipeline.Read(filepath.Join(dir, "main.conf"))
			if err != nil {
				t.Fatal(err)
			}
			chunks, err := replay(p, pipeline.Replay{Input: p.Inputs[0], Output: p.Mine()[0]}, []byte(test.sample), io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, tag := range slices.Sorted(maps.Keys(chunks)) {
				got = append(got, events(t, chunks[tag])...)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWithoutThisFluentBitDoesNotStart(t *testing.T) {
	fluentBit(t)
	const conf = "[SERVICE]\n    Flush 1\n[INPUT]\n    Name dummy\n    Tag a\n[OUTPUT]\n    Name null\n    Match *\n"
	for name, test := range map[string]string{
		"a directory for chunks on disk": strings.Replace(conf, "Tag a", "Tag a\n    storage.type filesystem", 1),
		"the Match of a filter":          conf + "[FILTER]\n    Name grep\n    Regex a .\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(write(t, map[string]string{"main.conf": test}), "main.conf")
			err := runFluentBit(program(), file, t.TempDir(), 0)
			if err == nil || !strings.Contains(err.Error(), "got its end (exit status") {
				t.Errorf("got %v, want it not to start", err)
			}
		})
	}
}
