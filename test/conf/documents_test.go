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
	"out_amberflo/plugin/meter"
)

// document is a document below the top of the repository, from a heading up to another, which are part of what has to be in it.
func document(t *testing.T, file, from, to string) string {
	t.Helper()
	text := string(read(t, root, file))
	begin := strings.Index(text, "\n"+from+"\n")
	if begin < 0 {
		t.Fatalf("%s has no line %q", file, from)
	}
	text = text[begin:]
	if to == "" {
		return text
	}
	end := strings.Index(text, "\n"+to+"\n")
	if end < 0 {
		t.Fatalf("%s has no line %q after %q", file, to, from)
	}
	return text[:end]
}

// rows are the cells of the tables whose first heading is this one.
func rows(text, heading string) (list [][]string) {
	inTable := false
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) < 2 {
			inTable = false
			continue
		}
		cells[0] = strings.TrimPrefix(cells[0], "| ")
		cells[len(cells)-1] = strings.TrimSuffix(cells[len(cells)-1], " |")
		switch {
		case cells[0] == heading:
			inTable = true
		case inTable && cells[0] != "---":
			list = append(list, cells)
		}
	}
	return list
}

var inCode = regexp.MustCompile("`([^`]+)`")

// named are the words in code in a column of rows.
func named(rows [][]string, column int) (list []string) {
	for _, cells := range rows {
		for _, m := range inCode.FindAllStringSubmatch(cells[column], -1) {
			list = append(list, m[1])
		}
	}
	return list
}

// checkSame compares what a document names with what there is, in any order.
func checkSame(t *testing.T, document string, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s names\n%q, want\n%q", document, got, want)
	}
}

const configuration = "docs/configuration.md"

// optionRow is a row of the tables of options.
type optionRow struct{ key, byDefault string }

func optionRows(t *testing.T) (list []optionRow) {
	t.Helper()
	for _, cells := range rows(document(t, configuration, "## Where it goes", "## Mapping"), "option") {
		list = append(list, optionRow{strings.Trim(cells[0], "`"), cells[1]})
	}
	return list
}

func TestConfigurationNamesEveryOption(t *testing.T) {
	delivery, mapping := plugin.Keys()
	want := map[string]bool{}
	for _, key := range append(delivery, mapping...) {
		want[key] = true
	}
	got := map[string]bool{}
	for _, row := range optionRows(t) {
		if got[row.key] {
			t.Errorf("%s has %s twice", configuration, row.key)
		}
		got[row.key] = true
		if !want[row.key] {
			t.Errorf("%s has %s, which is no option", configuration, row.key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if !got[key] {
			t.Errorf("%s has no row for the option %s", configuration, key)
		}
	}
}

// A default in code, when set, has to give what it gives when it is not set.
func TestConfigurationNamesTheDefaults(t *testing.T) {
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
				t.Errorf("%s %s, the default of the document, gives another %s than no %s", row.key, m[1], field.Name, row.key)
			}
		}
	}
	if tried < 20 {
		t.Errorf("%d rows have a default in code, want at least 20: is the table read rightly?", tried)
	}
}

// The help of Fluent Bit and the document explain options in one order.
func TestConfigurationHasTheOrderOfTheHelp(t *testing.T) {
	var got, want []string
	for _, row := range optionRows(t) {
		got = append(got, row.key)
	}
	for _, o := range plugin.Options() {
		want = append(want, o.Key)
	}
	if !slices.Equal(got, want) {
		t.Errorf("options of %s\n%q, of the help\n%q", configuration, got, want)
	}
}

func TestTheReadmeSetsOptionsThatAreThere(t *testing.T) {
	delivery, mapping := plugin.Keys()
	got := named(rows(document(t, "README.md", "## Configure", "## Does it work?"), "option"), 0)
	if len(got) != 5 {
		t.Errorf("README.md names %q, want the five options that one sets", got)
	}
	for _, key := range got {
		if !slices.Contains(delivery, key) && !slices.Contains(mapping, key) {
			t.Errorf("README.md has %s, which is no option", key)
		}
	}
}

func TestConfigurationNamesEveryReason(t *testing.T) {
	checkSame(t, configuration, named(rows(document(t, configuration, "### Reasons for a rejected record", ""), "reason"), 0), meter.Reasons)
}

func TestMetricsNamesEveryMetric(t *testing.T) {
	table := rows(document(t, "docs/metrics.md", "| metric | says |", ""), "metric")
	var want []string
	for _, m := range plugin.Metrics {
		want = append(want, m.Name)
	}
	checkSame(t, "docs/metrics.md", named(table, 0), want)
	i := slices.IndexFunc(table, func(cells []string) bool { return cells[0] == "`doubtful_records_total`" })
	if i < 0 {
		t.Fatal("docs/metrics.md has no row for doubtful_records_total")
	}
	checkSame(t, "docs/metrics.md", named(table[i:i+1], 1), append([]string{"kind"}, meter.Doubts...))
}

// loggers are the methods of loggers and alarms, with the place of the message among their arguments.
var loggers = map[string]int{"Info": 0, "Warn": 0, "Error": 0, "failed": 1, "succeeded": 1}

const logMessages = "docs/log-messages.md"

// TestEachLogMessageIsExplained finds the messages in the source: the text of a message up to its first verb.
func TestEachLogMessageIsExplained(t *testing.T) {
	messages := make(map[string]bool) // of the document, and whether the source has it
	for _, cells := range rows(document(t, logMessages, "| line | what to do |", ""), "line") {
		messages[strings.Trim(cells[0], "`")] = false
	}
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
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					// A message may also be chosen before it is logged.
					text, _ := strconv.Unquote(lit.Value)
					for row := range messages {
						if strings.HasPrefix(text, row) {
							messages[row] = true
						}
					}
				}
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
				explained := false
				for row := range messages {
					if strings.HasPrefix(row, message) || strings.HasPrefix(message, row) {
						messages[row], explained = true, true
					}
				}
				if !explained {
					t.Errorf("%s: %s has no row for the log line %q", files.Position(call.Pos()), logMessages, message)
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
	for row, there := range messages {
		if !there {
			t.Errorf("%s explains %q, which nothing in the source says", logMessages, row)
		}
	}
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
