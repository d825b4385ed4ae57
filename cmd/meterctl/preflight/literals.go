package preflight

import (
	"slices"
	"strings"

	"out_amberflo/cmd/meterctl/pipeline"
)

// openTelemetry looks for numbers that Fluent Bit's own OTLP input cuts.
func openTelemetry(v *view) {
	for _, in := range v.inputs {
		i := slices.IndexFunc(v.fields, Field.Money)
		if in.Name == "opentelemetry" && i >= 0 {
			v.warn(in, "name", "want strings, or numbers below 2^31, for %s, which %s names: of integer attributes over protobuf Fluent Bit 5.1.1 keeps the last 32 bits, so that 5368709120 is billed as 1073741824",
				v.fields[i].Text, v.fields[i].Option)
		}
	}
}

// fieldNames are what fields for a customer or a meter are called, without _ and -.
var fieldNames = map[string][]string{
	"customer_id": {"tenant", "tenantid", "tenantname", "customer", "customerid", "customername", "user", "userid", "username", "remoteuser",
		"account", "accountid", "org", "orgid", "organization", "organizationid", "organisation", "client", "clientid", "clientusername",
		"consumer", "consumerid", "subscriber", "apikey", "workspace", "workspaceid"},
	"meter_api_name": {"meter", "metername", "meterapiname", "api", "apiname", "endpoint", "method", "operation"},
}

// literals looks for strings that were meant as fields: one string bills all records to one customer, or as one meter.
func literals(v *view) {
	texts := mapping(v.out.Get)
	for _, option := range []string{"customer_id", "meter_api_name"} {
		list := items(texts[option])
		text, ok := literal(list[0])
		switch {
		case !ok || len(list) > 1:
		case strings.ContainsAny(text, "{}<>"):
			v.fail(v.out, option, "want an accessor such as $tenant, or a name, got the string %q for all records, which reads as a template of another program", text)
		case v.fieldLike(option, text):
			v.warn(v.out, option, "want an accessor such as $%s if that is a field, got the string %q for all records, for example: %s $%s", text, text, option, text)
		}
	}
	for _, item := range items(texts["dimensions"]) {
		name, value, pair := strings.Cut(item, "=")
		if pair && strings.TrimSpace(name) == strings.TrimSpace(value) {
			v.warn(v.out, "dimensions", "want %[1]s, or %[1]s=$field, got %[2]q, which is the string %[1]q for all records", strings.TrimSpace(name), item)
		}
	}
}

// fieldLike tells if a string, or a part of it that points part, is what a field is called here, or often.
func (v *view) fieldLike(option, text string) bool {
	named := v.parsed()
	for _, f := range v.fields {
		named = append(named, f.Key)
	}
	return slices.Contains(named, text) || slices.ContainsFunc(strings.Split(text, "."), func(part string) bool {
		return slices.Contains(fieldNames[option], strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(part)))
	})
}

// parsed are the fields that the parsers' expressions make.
func (v *view) parsed() (names []string) {
	for _, u := range v.uses() {
		if u.parser != nil {
			names = append(names, groupsOf(u.parser)...)
		}
	}
	return names
}

// shared looks for ids of which all fields are those of the customer, the meter, the time and the dimensions, or of the place of
// the file: records that are alike in them have one id, and Amberflo keeps one of them.
func shared(v *view) {
	var id []Field
	var known []string
	for _, f := range v.fields {
		if f.Option != "unique_id" {
			known = append(known, f.Text)
			continue
		}
		id = append(id, f)
	}
	for _, in := range v.inputs {
		known = append(known, "$"+in.Get("path_key"))
	}
	if v.out.Get("unique_id") == "" || len(id) == 0 || slices.ContainsFunc(id, func(f Field) bool { return !slices.Contains(known, f.Text) && f.Root != "TAG" }) {
		return
	}
	v.warn(v.out, "unique_id", "want a field that differs from record to record, got %q, which many records share: Amberflo keeps one of those with the same id, customer, meter and time, for example: unique_id $request_id, generate", v.out.Get("unique_id"))
}

// secondReading looks for ids that a line keeps when it is read again, beside a time that it does not keep: Amberflo then sees
// two records.
func secondReading(v *view) {
	id := items(v.out.Get("unique_id"))[0]
	if id == "" || id == "generate" {
		return
	}
	times := items(mapping(v.out.Get)["meter_time"])
	if v.out.Get("meter_time") != "" && times[0] != "event" {
		return
	}
	for _, in := range v.inputs {
		if in.Name != "tail" || v.timed(in) {
			continue
		}
		v.warn(v.out, "meter_time", "want a field of the line, since unique_id names one, got %s, which is when the line was read: one that is read again has the same id and another time, and is billed twice, for example: meter_time $time",
			got(v.out.Get("meter_time")))
		return
	}
}

// timed tells if a parser on the way takes the time from the line.
func (v *view) timed(in *pipeline.Section) bool {
	return slices.ContainsFunc(v.uses(), func(u use) bool {
		return (u.by == in || u.by.Kind == pipeline.Filter) && (u.parser == nil || u.parser.Get("time_format") != "")
	})
}
