// Command summary reads what go test -json prints and shows it as go test without -v does: a line for each package, and what
// failed. At its end it says which tests were skipped and why, which go test alone keeps to itself. It exits with 1 if
// anything failed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

func main() {
	ok, err := summarise(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// event is a line of go test -json (go doc test2json).
type event struct {
	Action, Package, ImportPath, Test, Output string
}

type test struct{ of, name string }

// skipLine is what testing prints of a skipped test: file, line and reason.
var skipLine = regexp.MustCompile(`^ +\w+\.go:\d+: `)

func summarise(from io.Reader, to io.Writer) (ok bool, err error) {
	ok = true
	said := map[test][]string{}      // by tests that have not ended
	skipped := map[string][]string{} // by reason
	passed, failed := 0, 0
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(to, lines.Text()) // of go itself
			continue
		}
		t := test{e.Package, e.Test}
		switch e.Action {
		case "build-output":
			fmt.Fprint(to, e.Output)
		case "build-fail":
			ok = false
		case "output":
			if e.Test != "" {
				said[t] = append(said[t], e.Output)
			} else if e.Output != "PASS\n" && !strings.HasSuffix(e.Output, "[no test files]\n") {
				fmt.Fprint(to, e.Output)
			}
		case "pass", "fail", "skip":
			if e.Test == "" {
				ok = ok && e.Action != "fail"
				continue
			}
			switch e.Action {
			case "pass":
				passed++
			case "skip":
				reason := reasonOf(said[t])
				skipped[reason] = append(skipped[reason], e.Test)
			case "fail":
				failed++
				ok = false
				fmt.Fprint(to, strings.Join(said[t], ""))
			}
			delete(said, t)
		}
	}
	// A test that a panic or a time limit ended has no end of its own.
	for _, output := range said {
		if !ok {
			fmt.Fprint(to, strings.Join(output, ""))
		}
	}
	n := 0
	for _, names := range skipped {
		n += len(names)
	}
	fmt.Fprintf(to, "\n%d tests passed, %d failed, %d skipped\n", passed, failed, n)
	for _, reason := range slices.Sorted(maps.Keys(skipped)) {
		names := skipped[reason]
		const most = 5
		list := strings.Join(names[:min(len(names), most)], ", ")
		if len(names) > most {
			list += fmt.Sprintf(" and %d more", len(names)-most)
		}
		fmt.Fprintf(to, "  skipped, %s: %s\n", reason, list)
	}
	return ok, lines.Err()
}

func reasonOf(said []string) string {
	for i, line := range said {
		if where := skipLine.FindString(line); where != "" {
			return strings.Join(strings.Fields(strings.Join(append([]string{line[len(where):]}, said[i+1:max(i+1, len(said)-1)]...), " ")), " ")
		}
	}
	return "without a reason"
}
