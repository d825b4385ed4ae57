package preflight

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"out_amberflo/cmd/meterctl/pipeline"
	"out_amberflo/plugin"
)

func TestAccessorsAreFoundInAnyGrammar(t *testing.T) {
	for text, want := range map[string][]string{
		"$tenant":                    {"tenant"},
		"$a['b'][0]":                 {"a"},
		"$['any key']['x']":          {"any key"},
		"$data[$capability]['time']": {"data", "capability"},
		"$metadata['otlp']['x'], $group['resource'], $TAG[1], $metadata": {"", "", "", "metadata"},
		"Calls=1, Bytes=$in+$out, T=sum(ms($upstream_response_time))":    {"in", "out", "upstream_response_time"},
		"hash($path, $offset, $log), generate":                           {"path", "offset", "log"},
		"$status in (200, 201) and $error is absent":                     {"status", "error"},
		"'$tenant', \"a $b\", plain":                                     nil,
		"$a['it''s']+$b":                                                 {"a", "b"},
		"$open['x":                                                       {"open"},
		"$":                                                              nil,
	} {
		var got []string
		for _, f := range accessors("meter_value", text) {
			got = append(got, f.Key)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestDefaultsOfTheMappingNameFields(t *testing.T) {
	for _, test := range []struct {
		options map[string]string
		want    []string
	}{
		{nil, []string{"customerId", "meterApiName", "meterValue", "meterTimeInMillis", "uniqueId", "dimensions"}},
		{map[string]string{"meters": "A=$n", "dimensions": "region, plan=$account['plan'], x=y, 'a b', TAG"}, []string{"customerId", "n", "meterTimeInMillis", "uniqueId", "account", "region", "a b"}},
		{map[string]string{"payload": "record"}, nil},
	} {
		var got []string
		for _, f := range Fields(func(key string) string { return test.options[key] }) {
			got = append(got, f.Key)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%v: got %q, want %q", test.options, got, test.want)
		}
	}
}

func TestPatternsMeet(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"*", "", true}, {"", "", true}, {"app.*", "app.log", true}, {"app.*", "app", false}, {"*.log", "app.*", true}, {"a*c", "ab*", true},
		{"kube.*.x", "kube.*.y", false}, {"*a*a*a*a*a*a*a*b", "*a*a*a*a*a*a*a*c", false}, {"app", "App", false},
	} {
		if intersect(test.a, test.b) != test.want || intersect(test.b, test.a) != test.want {
			t.Errorf("%q and %q: want %v", test.a, test.b, test.want)
		}
	}
}

// Whatever stands in a configuration, it is looked at.
func FuzzChecks(f *testing.F) {
	f.Add(classic, false)
	f.Add(inYAML, true)
	f.Add("[OUTPUT]\n Name amberflo\n dimensions $['\n customer_id hash(\n unique_id ,\n[INPUT]\n Name tail\n[FILTER]\n Name rewrite_tag\n Match *\n Rule \"$a\n Rule $a . $TAG true\n", false)
	f.Add("pipeline: {inputs: [{name: tail, routes: [{to: [x]}]}], outputs: [{name: amberflo, match_regex: '(', processors: {logs: [{name: a}]}}]}", true)
	f.Fuzz(func(t *testing.T, text string, yaml bool) {
		file := filepath.Join(t.TempDir(), map[bool]string{false: "a.conf", true: "a.yaml"}[yaml])
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := pipeline.Read(file)
		if err != nil {
			return
		}
		All(p)
		for _, out := range p.Mine() {
			NotApplied(p, out)
		}
	})
}

// What stands for an option that is not set has to be what the plugin takes for it.
func TestTheDefaultAccessorsAreThoseOfThePlugin(t *testing.T) {
	rules := func(options map[string]string) any {
		config, wrong := plugin.Check(func(key string) string { return options[key] })
		if len(wrong) > 0 || config.Rules == nil {
			t.Fatalf("%v: %v", options, wrong)
		}
		return config.Rules
	}
	tried := 0
	for option, text := range mapping(func(string) string { return "" }) {
		tried++
		if !reflect.DeepEqual(rules(map[string]string{"bucket": "b", option: text}), rules(map[string]string{"bucket": "b"})) {
			t.Errorf("%s %s gives other rules than no %s", option, text, option)
		}
	}
	if tried != 6 {
		t.Errorf("%d options have accessors by default, want 6", tried)
	}
}
