package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
		classic = "[INPUT]\n    Name dummy\n    Tag app.x\n[OUTPUT]\n    Name amberflo\n    Match app.*\n    bucket b\n    region us-west-2\n    Workers 1\n    Retry_Limit no_limits\n"
		inYAML  = "pipeline:\n  inputs:\n    - {name: dummy, tag: app.x}\n  outputs:\n    - name: amberflo\n      match: app.*\n      bucket: b\n      region: us-west-2\n      workers: 1\n      retry_limit: no_limits\n"
		said    = "Fluent Bit does not start"
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
		"a YAML list":                       {inYAML + "      dimensions: [a, b]\n", "error: dimensions"},
		"a YAML list of one":                {inYAML + "      dimensions: [a]\n", "0 errors, 0 warnings"},
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
			program := os.Getenv("FLUENT_BIT")
			if program == "" {
				program = "fluent-bit"
			}
			log, err := exec.Command(program, "-e", plugin, "-c", filepath.Join(dir, file), "--dry-run").CombinedOutput()
			if starts := !strings.Contains(out, said) && !strings.Contains(out, "parsers_file"); starts != (err == nil) {
				t.Errorf("check-config says\n%sand Fluent Bit %v:\n%s", out, err, log)
			}
		})
	}
}
