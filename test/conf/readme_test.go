package conf

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"out_amberflo/plugin"
)

// optionRow is a row of the README's option tables.
type optionRow struct{ key, byDefault string }

func optionRows(t *testing.T) (rows []optionRow) {
	t.Helper()
	text := string(read(t, root, "README.md"))
	configure := text[strings.Index(text, "\n## Configure\n"):strings.Index(text, "\n## Mapping\n")]
	inTable := false
	for line := range strings.Lines(configure) {
		cells := strings.Split(line, "|")
		switch {
		case len(cells) < 5:
			inTable = false
		case strings.TrimSpace(cells[1]) == "option":
			inTable = true
		case inTable && !strings.Contains(cells[1], "---"):
			rows = append(rows, optionRow{strings.Trim(cells[1], " `"), strings.TrimSpace(cells[2])})
		}
	}
	return rows
}

func TestReadmeNamesEveryOption(t *testing.T) {
	delivery, mapping := plugin.Keys()
	want := map[string]bool{}
	for _, key := range append(delivery, mapping...) {
		want[key] = true
	}
	got := map[string]bool{}
	for _, row := range optionRows(t) {
		if got[row.key] {
			t.Errorf("README.md has %s twice", row.key)
		}
		got[row.key] = true
		if !want[row.key] {
			t.Errorf("README.md has %s, which is no option", row.key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if !got[key] {
			t.Errorf("README.md has no row for the option %s", key)
		}
	}
}

// A default in code in the README, when set, has to give what it gives when it is not set.
func TestReadmeNamesTheDefaults(t *testing.T) {
	literal := regexp.MustCompile("^`([^`]+)`$")
	load := func(options map[string]string) *plugin.Config {
		t.Helper()
		c, b, err := plugin.Load(t.Context(), plugin.Host{Option: func(key string) string { return options[key] }})
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
		return c
	}
	required := map[string]string{"bucket": "b", "region": "us-west-2"}
	want := load(required)
	tried := 0
	for _, row := range optionRows(t) {
		m := literal.FindStringSubmatch(row.byDefault)
		if m == nil {
			continue
		}
		tried++
		options := maps.Clone(required)
		options[row.key] = m[1]
		got := reflect.ValueOf(*load(options))
		for i := range got.NumField() {
			if field := got.Type().Field(i); field.IsExported() &&
				!reflect.DeepEqual(got.Field(i).Interface(), reflect.ValueOf(*want).Field(i).Interface()) {
				t.Errorf("%s %s, the default of README.md, gives another %s than no %s", row.key, m[1], field.Name, row.key)
			}
		}
	}
	if tried < 20 {
		t.Errorf("%d rows have a default in code, want at least 20: is the table read rightly?", tried)
	}
}

func TestReadmeNamesEveryCounter(t *testing.T) {
	text := string(read(t, root, "README.md"))
	table := text[strings.Index(text, "\n## What the counters say\n"):strings.Index(text, "\n## The disk\n")]
	var got, want []string
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
				got = append(got, m[1])
			}
		}
	}
	for _, m := range plugin.Metrics {
		want = append(want, m.Name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("counters\n of README.md %q\nof the plugin %q", got, want)
	}
}

// loggers are the methods of loggers and alarms, with the place of the message among their arguments.
var loggers = map[string]int{"Info": 0, "Warn": 0, "Error": 0, "failed": 1, "succeeded": 1}

// TestReadmeExplainsEveryLogLine finds the messages in the source: the text of a message up to its first verb.
func TestReadmeExplainsEveryLogLine(t *testing.T) {
	text := string(read(t, root, "README.md"))
	lines := text[strings.Index(text, "\n## What each log line asks of you\n"):strings.Index(text, "\n## The disk\n")]
	found := 0
	for _, dir := range []string{"plugin", "out_amberflo"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(name string, entry fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, name, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				method, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				arg, ok := loggers[method.Sel.Name]
				if !ok || len(call.Args) <= arg {
					return true
				}
				message := strings.TrimSpace(firstText(call.Args[arg]))
				if message == "" {
					return true
				}
				found++
				if !strings.Contains(lines, "`"+message) && !explained(lines, message) {
					t.Errorf("%s: README.md has no row for the log line %q", files.Position(call.Pos()), message)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 20 {
		t.Errorf("%d log lines found in the source, want at least 20: is it read rightly?", found)
	}
}

// explained tells whether a row has the beginning of a message.
func explained(lines, message string) bool {
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(lines, -1) {
		if strings.HasPrefix(message, m[1]) {
			return true
		}
	}
	return false
}

// firstText is the first string literal in an expression, up to its first verb.
func firstText(e ast.Expr) (text string) {
	ast.Inspect(e, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && text == "" {
			text, _ = strconv.Unquote(lit.Value)
			text, _, _ = strings.Cut(text, "%")
		}
		return text == ""
	})
	return text
}
