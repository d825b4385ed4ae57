package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// write makes files below a new directory and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// shown is an output as one text: its line, then its keys and values.
func shown(s *Section) string {
	lines := []string{filepath.Base(s.File)}
	for _, p := range s.Properties {
		lines = append(lines, p.Key+"="+p.Value)
	}
	return strings.Join(lines, "|")
}

func TestOutputsAreReadAsFluentBitReadsThem(t *testing.T) {
	t.Setenv("AMBERFLO_TEST_TENANT", "$tenant")
	t.Setenv("AMBERFLO_TEST_EMPTY", "")
	for name, test := range map[string]struct {
		files map[string]string // main.conf or main.yaml begins
		want  []string
	}{
		"keys are lower case, values go on to the end of the line": {
			files: map[string]string{"main.conf": "# a comment\n\n[SERVICE]\n    Flush 1\n\n[OUTPUT]\n    NAME   AmberFlo \n    # one of its own\n    Customer_ID  $a['b c']  \n"},
			want:  []string{"main.conf|name=AmberFlo|customer_id=$a['b c']"},
		},
		"a comment after a value is part of it": {
			files: map[string]string{"main.conf": "[OUTPUT]\n  Name amberflo\n  dimensions a # b\n"},
			want:  []string{"main.conf|name=amberflo|dimensions=a # b"},
		},
		"tabs, carriage returns and a last line without an end": {
			files: map[string]string{"main.conf": "[output]\r\n\tName amberflo\r\n\tMatch *"},
			want:  []string{"main.conf|name=amberflo|match=*"},
		},
		"other outputs and their groups do not count": {
			files: map[string]string{"main.conf": "[OUTPUT]\n  Name s3\n  bucket x\n[OUTPUT]\n  Name amberflo\n  [PROCESSORS x]\n    name y\n  alias z\n"},
			want:  []string{"main.conf|name=amberflo|alias=z"},
		},
		"variables of the environment and of @SET, which may stand after": {
			files: map[string]string{"main.conf": "[OUTPUT]\n  Name ${OUT}\n  customer_id ${AMBERFLO_TEST_TENANT}\n  dimensions a=${AMBERFLO_TEST_EMPTY:-x}${AMBERFLO_TEST_EMPTY},b=${OUT}\n@SET OUT=amberflo\n"},
			want:  []string{"main.conf|name=amberflo|customer_id=$tenant|dimensions=a=x,b=amberflo"},
		},
		"@SET goes before the environment": {
			files: map[string]string{"main.conf": "@set AMBERFLO_TEST_TENANT=$other\n[OUTPUT]\n  Name amberflo\n  customer_id ${AMBERFLO_TEST_TENANT}\n"},
			want:  []string{"main.conf|name=amberflo|customer_id=$other"},
		},
		"included files and patterns, from the first file's directory": {
			files: map[string]string{
				"main.conf":  "@INCLUDE sub/a.conf\n@include sub/more-*.conf\n",
				"sub/a.conf": "[OUTPUT]\n\tName amberflo\n\talias a\n@INCLUDE sub/b.conf\n", "sub/b.conf": "[OUTPUT]\n Name amberflo\n alias b\n",
				"sub/more-1.conf": "[OUTPUT]\n Name amberflo\n alias one\n", "sub/more-2.conf": "[INPUT]\n Name dummy\n",
			},
			want: []string{"a.conf|name=amberflo|alias=a", "b.conf|name=amberflo|alias=b", "more-1.conf|name=amberflo|alias=one"},
		},
		"YAML: scalars are the text that stands there": {
			files: map[string]string{"main.yaml": "pipeline:\n  inputs:\n    - name: dummy\n  outputs:\n    - name: amberflo\n      match: '*'\n      meter_value: 1\n      meterTime: 010\n      dimensions: \"a=$b['c'], d\"\n      payload: ~\n"},
			want:  []string{"main.yaml|name=amberflo|match=*|meter_value=1|meter_time=010|dimensions=a=$b['c'], d|payload=~"},
		},
		"YAML: a map of variables": {
			files: map[string]string{"main.yaml": "env:\n  out: amberflo\n  n: 7\npipeline:\n  outputs:\n    - name: ${out}\n      meter_value: ${n}\n"},
			want:  []string{"main.yaml|name=amberflo|meter_value=7"},
		},
		"YAML: a list of variables": {
			files: map[string]string{"main.yml": "env:\n  - name: a\n    value: 1\n  - b: 2\npipeline:\n  outputs:\n    - name: amberflo\n      meter_value: ${a}${b}\n"},
			want:  []string{"main.yml|name=amberflo|meter_value=12"},
		},
		"YAML: included files, from the including file's directory": {
			files: map[string]string{
				"main.yaml": "includes:\n  - sub/a.yaml\n", "sub/a.yaml": "includes:\n  - out-*.yaml\n",
				"sub/out-1.yaml": "pipeline:\n  outputs:\n    - Name: amberflo\n      alias: x\n",
			},
			want: []string{"out-1.yaml|name=amberflo|alias=x"},
		},
		"YAML: a list is as many properties, processors are none": {
			files: map[string]string{"main.yaml": "pipeline:\n  outputs:\n    - name: amberflo\n      processors:\n        logs: []\n      dimensions: [a, b]\n"},
			want:  []string{"main.yaml|name=amberflo|dimensions=a|dimensions=b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, test.files)
			main, _ := filepath.Glob(filepath.Join(dir, "main.*"))
			c, err := Read(main[0])
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range c.Mine() {
				got = append(got, shown(s))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("\ngot  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestAVariableMayStandForAFile(t *testing.T) {
	dir := write(t, map[string]string{"tenant": "$tenant\n"})
	conf := filepath.Join(dir, "main.conf")
	text := "@SET T=file://" + filepath.Join(dir, "tenant") + "\n[OUTPUT]\n  Name amberflo\n  customer_id ${T}\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Read(conf)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Mine()[0].Get("customer_id"); got != "$tenant" {
		t.Errorf("got %q, want $tenant", got)
	}
}

func TestAMistakeInAConfigurationIsNamedWithItsPlace(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no separator":                     {map[string]string{"main.conf": "[OUTPUT]\n    Name\n"}, "main.conf:2: want a key, a space and a value"},
		"a tab as a separator":             {map[string]string{"main.conf": "[OUTPUT]\n    Name\tamberflo\n"}, "main.conf:2: want a key, a space"},
		"a key without a section":          {map[string]string{"main.conf": "    Name amberflo\n"}, "main.conf:1: want a [SECTION]"},
		"a key in the first column":        {map[string]string{"main.conf": "[OUTPUT]\nName amberflo\n"}, "main.conf:2: want [SECTION], or an indented"},
		"another indentation":              {map[string]string{"main.conf": "[OUTPUT]\n    Name amberflo\n  Match *\n"}, "main.conf:3: want the indentation"},
		"a tab among spaces":               {map[string]string{"main.conf": "[OUTPUT]\n    Name amberflo\n\tMatch *\n"}, "main.conf:3: want the indentation"},
		"a deeper indentation":             {map[string]string{"main.conf": "[OUTPUT]\n    Name amberflo\n       Match *\n"}, "main.conf:3: want the indentation"},
		"an open header":                   {map[string]string{"main.conf": "[OUTPUT\n"}, "main.conf:1: want [SECTION]"},
		"a command without a space":        {map[string]string{"main.conf": "@FOO\n"}, "main.conf:1: want @SET"},
		"an output without a name":         {map[string]string{"main.conf": "[OUTPUT]\n    Match *\n"}, "main.conf:1: want an output with a name"},
		"a variable that is not closed":    {map[string]string{"main.conf": "[OUTPUT]\n    Name amberflo\n    bucket ${A\n"}, "main.conf:3: bucket: want ${NAME}"},
		"a pattern that matches nothing":   {map[string]string{"main.conf": "\n@INCLUDE x*.conf\n"}, "main.conf:2: want a file"},
		"a file that is not there":         {map[string]string{"main.conf": "@INCLUDE x.conf\n"}, "included at"},
		"a file that includes itself":      {map[string]string{"main.conf": "@INCLUDE main.conf\n"}, "want each file included once"},
		"a mistake in an included file":    {map[string]string{"main.conf": "@INCLUDE a.conf\n", "a.conf": "[X\n"}, "a.conf:1: want [SECTION]"},
		"YAML: no YAML":                    {map[string]string{"main.yaml": "a: [\n"}, "main.yaml: yaml:"},
		"YAML: outputs that are no list":   {map[string]string{"main.yaml": "pipeline:\n  outputs:\n    name: amberflo\n"}, "main.yaml:3: want a list of outputs, got a map"},
		"YAML: an alias":                   {map[string]string{"main.yaml": "x: {a: &a 1}\npipeline:\n  outputs:\n    - name: amberflo\n      meter_value: *a\n"}, "main.yaml:5: want a string, got an alias"},
		"YAML: a list where a map belongs": {map[string]string{"main.yaml": "- a\n"}, "main.yaml:1: want a map, got a list"},
		"YAML: a file that is not there":   {map[string]string{"main.yaml": "includes:\n  - x.yaml\n"}, "included at"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, test.files)
			main, _ := filepath.Glob(filepath.Join(dir, "main.*"))
			if _, err := Read(main[0]); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestAnOutputIsChosenByNumberNameOrAlias(t *testing.T) {
	dir := write(t, map[string]string{
		"two.conf": "[OUTPUT]\n Name amberflo\n[OUTPUT]\n Name null\n[OUTPUT]\n Name amberflo\n alias bytes\n",
		"one.conf": "[OUTPUT]\n Name amberflo\n", "none.conf": "[OUTPUT]\n Name null\n",
	})
	for _, test := range []struct{ file, choice, want, wantErr string }{
		{"one.conf", "", "amberflo.0", ""},
		{"two.conf", "0", "amberflo.0", ""},
		{"two.conf", "1", "amberflo.2", ""},
		{"two.conf", "amberflo.2", "amberflo.2", ""},
		{"two.conf", "amberflo.1", "", `got "amberflo.1"`},
		{"two.conf", "bytes", "amberflo.2", ""},
		{"two.conf", "", "", "1 amberflo.2 bytes ("},
		{"two.conf", "2", "", `got "2"`},
		{"none.conf", "", "", "want a configuration with an output whose name is amberflo"},
	} {
		c, err := Read(filepath.Join(dir, test.file))
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Choose(test.choice)
		switch {
		case test.wantErr != "":
			if err == nil || !strings.Contains(err.Error(), test.wantErr) {
				t.Errorf("%s, %q: got %v, want %q in it", test.file, test.choice, err, test.wantErr)
			}
		case err != nil || s.ID != test.want:
			t.Errorf("%s, %q: got %v, %v, want %s", test.file, test.choice, s, err, test.want)
		}
	}
}

// A ConfigMap is mounted as links into a directory whose name begins with two points.
func TestIncludesAreFoundAsFluentBitFindsThem(t *testing.T) {
	output := "[OUTPUT]\n Name amberflo\n alias %s\n"
	dir := write(t, map[string]string{
		"real/main.conf": "@INCLUDE conf.d/*\n", "real/conf.d/a.conf": fmt.Sprintf(output, "a"), "real/conf.d/.a.conf.swp": fmt.Sprintf(output, "stale"),
		"real/conf.d/..2026/b.conf": fmt.Sprintf(output, "hidden"), "real/conf.d/more/c.conf": fmt.Sprintf(output, "deeper"),
	})
	link := filepath.Join(dir, "main.conf")
	if err := os.Symlink("real/main.conf", link); err != nil {
		t.Fatal(err)
	}
	c, err := Read(link)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Mine()) != 1 || c.Mine()[0].Get("alias") != "a" {
		t.Errorf("got %d outputs, the first with alias %q", len(c.Mine()), c.Mine()[0].Get("alias"))
	}
}

func TestOfAKeyThatStandsTwiceTheOneCountsThatFluentBitTakes(t *testing.T) {
	dir := write(t, map[string]string{"c.conf": "[OUTPUTS]\n Name amberflo\n Name null\n alias one\n alias two\n customer_id $a\n customer_id $b\n"})
	c, err := Read(filepath.Join(dir, "c.conf"))
	if err != nil || len(c.Mine()) != 1 {
		t.Fatalf("got %v, want one output", err)
	}
	if s := c.Mine()[0]; s.Get("alias") != "two" || s.Get("customer_id") != "$a" {
		t.Errorf("alias %q, customer_id %q", s.Get("alias"), s.Get("customer_id"))
	}
}
