package preflight

import (
	"fmt"
	"slices"
	"strings"

	"out_amberflo/cmd/meterctl/pipeline"
)

// Survey compares a mapping with the fields of sample records.
type Survey struct {
	out    *pipeline.Section
	fields []Field
	seen   map[string]bool // top-level fields
	looked bool            // at a record
}

// NewSurvey is for the mapping of an output.
func NewSurvey(out *pipeline.Section) *Survey {
	return &Survey{out: out, fields: Fields(out.Get), seen: map[string]bool{}}
}

// Look takes the keys of one record.
func (s *Survey) Look(keys []string) {
	s.looked = true
	for _, key := range keys {
		s.seen[key] = true
	}
}

// Findings are texts that are the name of a field, and fields that no record has.
func (s *Survey) Findings(metadata bool) (found []pipeline.Finding) {
	if !s.looked || s.out.Get("payload") == "record" {
		return nil
	}
	report := func(isError bool, option, text string, args ...any) {
		found = append(found, pipeline.Finding{Place: s.out.PlaceOf(option), Error: isError, Section: s.out, Key: option, Text: fmt.Sprintf(text, args...)})
	}
	for _, option := range []string{"customer_id", "meter_api_name", "dimensions"} {
		for _, item := range items(s.out.Get(option)) {
			value := item
			if option == "dimensions" {
				var pair bool
				if _, value, pair = strings.Cut(item, "="); !pair {
					continue
				}
			}
			if text, ok := literal(strings.TrimSpace(value)); ok && s.seen[text] {
				report(option != "dimensions", option, "want $%s, since the records have a field of that name, got the text %q for all of them, for example: %s $%s", text, text, option, text)
			}
		}
	}
	for _, f := range s.fields {
		switch {
		case s.out.Get(f.Option) == "" || s.hasAlternative(f):
		case f.Root == "metadata" && !metadata && s.seen["metadata"]:
			report(false, f.Option, "want a field of the event's metadata, got %s, and records with a field metadata of their own, which is $metadata without a bracket or $['metadata']", f.Text)
		case f.Root == "record" && !s.seen[f.Key]:
			report(false, f.Option, "want a field that records have, got %s, which none of the samples has", f.Text)
		}
	}
	return found
}

// hasAlternative tells if something else counts where the field is absent.
func (s *Survey) hasAlternative(f Field) bool {
	if !slices.Contains([]string{"customer_id", "meter_api_name", "meter_time", "unique_id"}, f.Option) {
		return false
	}
	list := items(s.out.Get(f.Option))
	return slices.ContainsFunc(list, func(item string) bool {
		_, isLiteral := literal(item)
		return isLiteral
	}) || slices.ContainsFunc(s.fields, func(other Field) bool { return other.Option == f.Option && s.seen[other.Key] })
}
