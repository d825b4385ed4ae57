package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/fluentbit"
)

// Two resources, as a public client sends them in OTLP/HTTP JSON (opentelemetry.io/docs/specs/otlp).
const otlpLogs = `{"resourceLogs":[
 {"resource":{"attributes":[{"key":"tenant.id","value":{"stringValue":"acme"}}]},"scopeLogs":[{"scope":{"name":"lib"},"logRecords":[
  {"timeUnixNano":"1795291200000000000","severityText":"INFO","body":{"stringValue":"hello"},"attributes":[{"key":"bytes","value":{"intValue":"512"}}]},
  {"timeUnixNano":"1795291201000000000","severityText":"WARN","body":{"stringValue":"again"},"attributes":[{"key":"bytes","value":{"intValue":"9007199254740993"}}]}]}]},
 {"resource":{"attributes":[{"key":"tenant.id","value":{"stringValue":"birch"}}]},"scopeLogs":[{"scope":{"name":"lib"},"logRecords":[
  {"timeUnixNano":"1795291202000000000","severityText":"INFO","body":{"stringValue":"other"},"attributes":[{"key":"bytes","value":{"intValue":"7"}}]}]}]}]}`

func TestOpenTelemetryLogsAreMeteredByResourceAndAttributes(t *testing.T) {
	t.Parallel()
	b := newBench(t, realFluentBit)
	port := fluentbit.Port(t)
	b.inputs = []string{"Name opentelemetry", "Listen 127.0.0.1", "Port " + port, "Tag otel"}
	p := b.start(input{}, b.section("customer_id $group['resource']['attributes']['tenant.id']", "meter_api_name $metadata['otlp']['severity_text']",
		"meter_value $metadata['otlp']['attributes']['bytes']", "upload_timeout 500ms"))
	b.until("the logs to be taken", func() bool {
		answer, err := http.Post("http://127.0.0.1:"+port+"/v1/logs", "application/json", strings.NewReader(otlpLogs))
		if err != nil {
			time.Sleep(50 * time.Millisecond) // the input does not listen yet
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode < 300
	})
	b.untilBilled(3)
	p.stop()
	b.wantBill([]accesslog.Line{
		{Customer: "acme", Meter: "INFO", Events: 1, Usage: "512"},
		{Customer: "acme", Meter: "WARN", Events: 1, Usage: "9007199254740993"},
		{Customer: "birch", Meter: "INFO", Events: 1, Usage: "7"},
	})
	if rejected := b.spool("rejected"); len(rejected) > 0 {
		t.Errorf("group markers were taken for records: %q", rejected)
	}
}
