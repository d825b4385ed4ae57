package conf

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
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
// fails because they are not any more, the file and the README's limits can say so.
func TestQuantitiesOverProtobufHaveToBeTexts(t *testing.T) {
	fluentBit(t)
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
