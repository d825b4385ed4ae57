package main

import (
	"strings"
	"testing"
)

const passes = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- PASS: TestA (0.00s)\n"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0}
{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:7: no fluent-bit on PATH\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB","Elapsed":0}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.003s\n"}
{"Action":"pass","Package":"p","Elapsed":0.003}
`

const fails = `{"Action":"output","Package":"q","Test":"TestC","Output":"=== RUN   TestC\n"}
{"Action":"output","Package":"q","Test":"TestC","Output":"    c_test.go:9: got 1, want 2\n"}
{"Action":"output","Package":"q","Test":"TestC","Output":"--- FAIL: TestC (0.00s)\n"}
{"Action":"fail","Package":"q","Test":"TestC","Elapsed":0}
{"Action":"output","Package":"q","Output":"FAIL\tq\t0.004s\n"}
{"Action":"fail","Package":"q","Elapsed":0.004}
`

func TestSummary(t *testing.T) {
	for _, test := range []struct {
		name, in string
		ok       bool
		want     string
	}{
		{"what passes is a line, what is skipped stands at the end", passes, true,
			"ok  \tp\t0.003s\n\n1 tests passed, 0 failed, 1 skipped\n  skipped, no fluent-bit on PATH: TestB\n"},
		{"a failure is shown whole", passes + fails, false,
			"ok  \tp\t0.003s\n=== RUN   TestC\n    c_test.go:9: got 1, want 2\n--- FAIL: TestC (0.00s)\nFAIL\tq\t0.004s\n\n1 tests passed, 1 failed, 1 skipped\n  skipped, no fluent-bit on PATH: TestB\n"},
		{"what a panic ended is shown too", `{"Action":"output","Package":"q","Test":"TestD","Output":"panic: oh\n"}
{"Action":"output","Package":"q","Output":"FAIL\tq\t0.004s\n"}
{"Action":"fail","Package":"q","Elapsed":0.004}
`, false, "FAIL\tq\t0.004s\npanic: oh\n\n0 tests passed, 0 failed, 0 skipped\n"},
		{"code that does not compile is a failure", `{"ImportPath":"r","Action":"build-output","Output":"r.go:1: syntax error\n"}
{"ImportPath":"r","Action":"build-fail"}
`, false, "r.go:1: syntax error\n\n0 tests passed, 0 failed, 0 skipped\n"},
		{"what go itself says is handed on", "go: no such module\n", true, "go: no such module\n\n0 tests passed, 0 failed, 0 skipped\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			ok, err := summarise(strings.NewReader(test.in), &out)
			if err != nil || ok != test.ok || out.String() != test.want {
				t.Errorf("got %v, %v and\n%s\nwant %v and\n%s", ok, err, out.String(), test.ok, test.want)
			}
		})
	}
}
