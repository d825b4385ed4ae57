package conf

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"out_amberflo/test/fluentbit"
)

// A message in protobuf's wire format, as far as OTLP's logs need it (opentelemetry-proto, logs.proto and common.proto).
func protoBytes(field int, content []byte) []byte {
	b := binary.AppendUvarint([]byte{byte(field<<3 | 2)}, uint64(len(content)))
	return append(b, content...)
}

func protoText(field int, text string) []byte { return protoBytes(field, []byte(text)) }

func protoAttribute(field int, key string, anyValue []byte) []byte {
	return protoBytes(field, append(protoText(1, key), protoBytes(2, anyValue)...))
}

func otlpLog(unixNano uint64, attributes ...[]byte) []byte {
	record := binary.LittleEndian.AppendUint64([]byte{1<<3 | 1}, unixNano)
	record = append(record, protoBytes(5, protoText(1, "request served"))...)
	return protoBytes(2, append(record, slices.Concat(attributes...)...))
}

// CASES A20: what conf/opentelemetry.conf says of protobuf. Texts arrive whole. Whole numbers are cut by Fluent Bit: when this
// fails because they are not any more, the file and docs/limits.md can say so.
func TestQuantitiesOverProtobufHaveToBeTexts(t *testing.T) {
	fluentbit.Needed(t)
	t.Parallel()
	s := newSite(t)
	const size, big = "http.response.body.size", 5368709120
	asInt := binary.AppendUvarint([]byte{3 << 3}, big)
	resource := protoBytes(1, protoAttribute(1, "tenant.id", protoText(1, "12345678901234567890")))
	body := protoBytes(1, append(resource, protoBytes(2, slices.Concat(
		otlpLog(1795168800_123000000, protoAttribute(6, size, protoText(1, "5368709120"))),
		otlpLog(1795168801_000000000, protoAttribute(6, size, asInt)),
	))...))
	s.viaFluentBit("opentelemetry.conf", 2, func() error { return s.postAs("application/x-protobuf", "4318/v1/logs", body) })
	const record = `{"customerId":"12345678901234567890","meterApiName":"BytesOut","meterValue":5368709120,"meterTimeInMillis":1795168800123,"uniqueId":"(generated)"}`
	cut := strings.NewReplacer("5368709120", "1073741824", "800123", "801000").Replace(record)
	if got, want := s.records(), []string{record, cut}; !slices.Equal(got, want) {
		t.Errorf("records\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// CASES A21: rewrite_tag takes one record out of each of two groups. Behind it, nobody can tell whose they are, nor whose those
// are that stay.
func TestRecordsOfTornGroupsAreBilledToNobody(t *testing.T) {
	fluentbit.Needed(t)
	t.Parallel()
	s := newSite(t)
	s.install("opentelemetry.conf")
	const filter = "[FILTER]\n    Name rewrite_tag\n    Match otlp.logs\n    Rule $kind ^move$ otlp.moved false\n    Emitter_Storage.type filesystem\n\n[OUTPUT]"
	s.adapt("torn.conf", strings.Replace(string(read(t, root, "conf/opentelemetry.conf")), "[OUTPUT]", filter, 1))
	log := func(kind string) string {
		return `{"timeUnixNano":"1795168800123000000","body":{"kvlistValue":{"values":[{"key":"kind","value":{"stringValue":"` + kind + `"}}]}},` +
			`"attributes":[{"key":"http.response.body.size","value":{"stringValue":"7"}}]}`
	}
	resource := func(tenant string, logs ...string) string {
		return `{"resource":{"attributes":[{"key":"tenant.id","value":{"stringValue":"` + tenant + `"}}]},"scopeLogs":[{"logRecords":[` + strings.Join(logs, ",") + `]}]}`
	}
	post := func(resources ...string) error {
		return s.post("4318/v1/logs", []byte(`{"resourceLogs":[`+strings.Join(resources, ",")+`]}`))
	}
	s.viaFluentBit("torn.conf", 1, func() error {
		if err := post(resource("whole", log("stay"))); err != nil {
			return err
		}
		return post(resource("a", log("move"), log("stay")), resource("b", log("stay"), log("move")))
	})
	want := []string{`{"customerId":"whole","meterApiName":"BytesOut","meterValue":7,"meterTimeInMillis":1795168800123,"uniqueId":"(generated)"}`}
	if got := s.records(); !slices.Equal(got, want) {
		t.Errorf("records\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	reasons := s.rejected()
	slices.Sort(reasons)
	if want := []string{"no_customer", "no_customer", "torn_group", "torn_group"}; !slices.Equal(reasons, want) {
		t.Errorf("rejected for %q, want %q", reasons, want)
	}
}
