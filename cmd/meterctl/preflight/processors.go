package preflight

import (
	"slices"
	"strings"

	"out_amberflo/cmd/meterctl/pipeline"
)

// Of processors of an output: those that make the same of the same record each time, those that do not, and those that change
// nothing. Fluent Bit runs them each time it hands a chunk over, so that a redelivered chunk must look as it did.
var (
	constant  = []string{"content_modifier", "modify", "grep", "nest", "parser", "type_converter", "checklist", "opentelemetry_envelope", "record_modifier"}
	changing  = []string{"lua", "wasm", "sampling", "throttle", "throttle_size", "sysinfo", "tensorflow", "nightfall"}
	unchanged = []string{"stdout", "expect", "metrics_selector", "labels", "cumulative_to_delta"}
)

// processors looks at those below the output.
func processors(v *view) {
	for _, s := range v.out.Processors {
		changes := slices.Contains(changing, s.Name) || s.Name == "record_modifier" && s.Get("uuid_key") != "" ||
			s.Name == "sql" && strings.Contains(strings.ToLower(s.Get("query")), "now(")
		switch {
		case slices.Contains(unchanged, s.Name):
		case changes:
			v.fail(s, "name", "want processors of an output that make the same of a record each time, got %s: a chunk that Fluent Bit hands over again then looks new, and is billed twice; put it below the input, or make it a filter", s.Name)
		case !slices.Contains(constant, s.Name):
			v.warn(s, "name", "want processors of an output that make the same of a record each time, got %s, of which that is not known: a redelivered chunk must look as it did, or it is billed twice", s.Name)
		default:
			v.warn(s, "name", "want samples as records are after %s: meterctl map does not apply processors, but with --through-fluent-bit", s.Name)
		}
	}
}

// NotApplied names the filters and processors between an input and the output, which a mapped sample has not gone through.
func NotApplied(p *pipeline.Pipeline, out *pipeline.Section) (names []string) {
	v := newView(p, out)
	for _, f := range v.filters {
		names = append(names, f.Name)
	}
	for _, s := range append(slices.Clone(v.inputs), out) {
		for _, processor := range s.Processors {
			names = append(names, "processor "+processor.Name)
		}
	}
	return names
}

// Inputs gives the inputs whose records may reach an output.
func Inputs(p *pipeline.Pipeline, out *pipeline.Section) []*pipeline.Section {
	return newView(p, out).inputs
}
