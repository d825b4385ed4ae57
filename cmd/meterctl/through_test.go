package main

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// CASES B12
func TestThroughFluentBitASampleGoesThroughFiltersAndProcessors(t *testing.T) {
	fluentBit(t)
	t.Parallel()
	dir := write(t, map[string]string{
		"main.yaml": `env: {customer: changed}
service: {parsers_file: parsers.yaml, storage.path: /nowhere/chunks, http_server: on, daemon: off}
multiline_parsers:
  - name: indented
    type: regex
    flush_timeout: 1000
    rules:
      - {state: start_state, regex: '/^tenant/', next_state: more}
      - {state: more, regex: '/^ /', next_state: more}
pipeline:
  inputs:
    - {name: dummy, tag: other}
    - {name: tail, path: /nowhere/*.log, tag: app.log, multiline.parser: indented, db: /nowhere/db, storage.type: filesystem, skip_long_lines: on, alias: lines}
  filters:
    - {name: parser, match: app.*, key_name: log, parser: pairs}
    - {name: kubernetes, match: app.*}
    - {name: grep, match: app.*, exclude: kind web}
    - {name: modify, match: app.*, set: n 1, rename: n m, add: n 2}
    - {name: rewrite_tag, match: app.*, rule: '$kind ^api$ billed.$TAG[1] false', emitter_storage.type: filesystem}
  outputs:
    - {name: "null", match: '*'}
    - name: amberflo
      match: billed.*
      bucket: b
      region: us-west-2
      customer_id: $tenant
      meters: Calls=1, N=$n, M=$m, Bytes=$bytes
      dimensions: TAG
      workers: 1
      retry_limit: no_limits
      processors:
        logs:
          - {name: content_modifier, action: upsert, key: tenant, value: "${customer}"}
`,
		"parsers.yaml": "parsers:\n  - {name: pairs, format: logfmt, types: bytes:integer}\n",
	})
	var out, notes strings.Builder
	sample := "tenant=acme kind=api bytes=512\n and more\ntenant=b kind=web\ntenant=c kind=batch\ntenant=d kind=api bytes=-"
	err := mapSamples(strings.NewReader(sample), &out, &notes, []string{"-c", filepath.Join(dir, "main.yaml"), "--through-fluent-bit", "--input", "lines"})
	if !errors.Is(err, errProblems) || !strings.Contains(notes.String(), "error: types: want no type for bytes") {
		t.Errorf("got %v, want the finding about the type\n%s", err, notes.String())
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		before, _, _ := strings.Cut(line, `,"meterTimeInMillis"`)
		got = append(got, before)
	}
	var want []string
	for _, bytes := range []string{"512", "0"} {
		for _, meter := range []string{`"Calls","dimensions":{"TAG":"billed.log"},"meterValue":1`, `"N","dimensions":{"TAG":"billed.log"},"meterValue":2`,
			`"M","dimensions":{"TAG":"billed.log"},"meterValue":1`, `"Bytes","dimensions":{"TAG":"billed.log"},"meterValue":` + bytes} {
			want = append(want, `{"customerId":"changed","meterApiName":`+meter)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"), notes.String())
	}
	for _, note := range []string{"the filter kubernetes is left out: it would ask the network\n", "2 samples: 8 meter records\n"} {
		if !strings.Contains(notes.String(), note) {
			t.Errorf("want %q in\n%s", note, notes.String())
		}
	}
}

func TestThroughFluentBitRecordsOfOtherInputsAreObjects(t *testing.T) {
	fluentBit(t)
	t.Parallel()
	conf := "[INPUT]\n    Name http\n    Tag web\n    Port 9\n[OUTPUT]\n    Name amberflo\n    bucket b\n    region r-1\n    payload record\n"
	file := filepath.Join(write(t, map[string]string{"main.conf": conf}), "main.conf")
	var out, notes strings.Builder
	_ = mapSamples(strings.NewReader(`{"b":1,"a":[18446744073709551615,null]}`+"\n"), &out, &notes, []string{"-c", file, "--through-fluent-bit"})
	if want := `{"b":1,"a":[18446744073709551615,null]}` + "\n"; out.String() != want {
		t.Errorf("got %q, want %q\n%s", out.String(), want, notes.String())
	}
}

func TestThroughFluentBitSaysWhereThereIsNone(t *testing.T) {
	t.Setenv("FLUENT_BIT", "/nowhere/fluent-bit")
	_, notes, err := ofLines(t, []string{"Parser json"}, []string{"payload record"}, "{}\n", "--through-fluent-bit")
	if err == nil || !strings.Contains(err.Error(), "want a program fluent-bit on the PATH or in FLUENT_BIT, got none") {
		t.Errorf("got %v, %s", err, notes)
	}
	if _, _, err := ofLines(t, []string{"Parser json"}, []string{"payload record"}, "{}\n", "--through-fluent-bit", "--records"); err == nil || !strings.Contains(err.Error(), "got --records") {
		t.Errorf("got %v, want it refused beside --records", err)
	}
}
