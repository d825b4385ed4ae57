package conf

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"out_amberflo/test/encode"
	"out_amberflo/test/fluentbit"
)

// example is a configuration with an input and what must come of it, in testdata: NAME.want, a meter
// record a line. "(now)" there stands for a time during the test, "(generated)" for a unique id, "(hash)" for one made of
// the line.
type example struct {
	conf       string
	tag        string
	log        string   // for the tail input
	post       string   // for the input at to
	to         string   // port and path; default: httpInput
	events     string   // for the host: [time, record] or [[time, metadata], record] lines; default: those of log or post
	want       string   // file of testdata
	rejected   []string // reasons
	unfiltered []string // reasons through the host, which has no filters; default: rejected
}

var examples = []example{
	{conf: "fluent-bit.conf", tag: "app.log", log: "fluent-bit.log", want: "fluent-bit.want", rejected: []string{"no_customer"}},
	{conf: "fluent-bit.yaml", log: "fluent-bit.log", want: "fluent-bit.want", rejected: []string{"no_customer"}},
	{conf: "meter-records.conf", tag: "app.meters", log: "meter-records.log", want: "meter-records.want"},
	{conf: "access-log.conf", tag: "api.access", log: "access-log.log", want: "access-log.want", rejected: []string{"no_customer", "no_customer"}}, // CASES A1, A2
	{conf: "access-log-ids.conf", tag: "api.access", log: "access-log-ids.log", events: "access-log-ids.events", want: "access-log-ids.want",
		rejected: []string{"bad_time", "no_customer"}},
	{conf: "alb.conf", tag: "alb.access", log: "alb.log", events: "alb.events", want: "alb.want", rejected: []string{"no_customer"}}, // CASES A3
	{conf: "aws-api-gateway.conf", tag: "apigw.access", log: "aws-api-gateway.log", want: "aws-api-gateway.want", rejected: []string{"no_customer"}, // CASES A1, A2
		unfiltered: []string{"no_customer", "no_customer"}},
	{conf: "envoy.conf", tag: "envoy.access", log: "envoy.log", events: "envoy.events", want: "envoy.want", rejected: []string{"no_customer"}},
	{conf: "kong.conf", tag: "kong.access", log: "kong.log", want: "kong.want", rejected: []string{"no_customer", "no_customer"}, // CASES A10
		unfiltered: []string{"no_customer", "no_customer", "no_customer"}},
	{conf: "llm-gateway.conf", tag: "llm.calls", post: "llm-gateway.json", want: "llm-gateway.want", rejected: []string{"no_customer"}}, // CASES A6
	{conf: "nginx.conf", tag: "nginx.access", log: "nginx.log", events: "nginx.events", want: "nginx.want", rejected: []string{"no_customer", "bad_time"}},
	{conf: "opentelemetry.conf", tag: "otlp.logs", post: "opentelemetry.json", to: "4318/v1/logs", events: "opentelemetry.events", want: "opentelemetry.want",
		rejected: []string{"no_customer"}},
	{conf: "traefik.conf", tag: "traefik.access", log: "traefik.log", want: "traefik.want", rejected: []string{"no_customer"}, // CASES A1
		unfiltered: []string{"no_customer", "no_customer"}},
	{conf: "high-mobility-metering.conf", tag: "vehicle.data", post: "vehicle-data.json", want: "high-mobility-metering.want"},
}

// tested elsewhere in this package.
var otherFiles = []string{"amberflo-parsers.conf", "high-mobility-delivery.conf"}

func TestEveryConfigurationHasATest(t *testing.T) {
	known := slices.Clone(otherFiles)
	for _, e := range examples {
		known = append(known, e.conf)
	}
	files, err := os.ReadDir(filepath.Join(root, "conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if ext := filepath.Ext(f.Name()); (ext == ".conf" || ext == ".yaml") && !slices.Contains(known, f.Name()) {
			t.Errorf("conf/%s is loaded by no test: add it to examples", f.Name())
		}
	}
}

// Fluent Bit hangs in its daemon mode with any Go plugin, and drops chunks without a Retry_Limit.
func TestNoConfigurationFallsIntoATrap(t *testing.T) {
	for _, e := range append(slices.Clone(examples), example{conf: "high-mobility-delivery.conf"}) {
		text := strings.ToLower(string(read(t, root, "conf", e.conf)))
		for what, pattern := range map[string]string{
			"Daemon Off":             `(?m)^ *daemon:? +off$`,
			"Workers 1":              `(?m)^ *workers:? +1$`,
			"Retry_Limit no_limits":  `(?m)^ *retry_limit:? +no_limits$`,
			"filesystem storage":     `(?m)^ *storage.type:? +filesystem$`,
			"a path for the storage": `(?m)^ *storage.path:? +\$\{fluent_bit_state_dir\}/chunks$`,
		} {
			if !regexp.MustCompile(pattern).MatchString(text) {
				t.Errorf("conf/%s: want %s", e.conf, what)
			}
		}
	}
}

func TestExamplesThroughTheHost(t *testing.T) {
	for _, e := range examples {
		if filepath.Ext(e.conf) != ".conf" {
			continue
		}
		t.Run(e.conf, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			s := newSite(t)
			if _, err := s.viaHost(e.conf, e.tag, e.chunk(t)); err != nil {
				t.Fatal(err)
			}
			if e.unfiltered != nil {
				e.rejected = e.unfiltered
			}
			e.check(s, began)
		})
	}
}

func TestExamplesThroughFluentBit(t *testing.T) {
	fluentbit.Needed(t)
	for _, e := range examples {
		t.Run(e.conf, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			s := newSite(t)
			var feed func() error
			if e.post != "" {
				body := read(t, "testdata", e.post)
				feed = func() error { return s.post(cmp.Or(e.to, httpInput), body) }
			} else {
				s.write("input.log", string(read(t, "testdata", e.log)))
			}
			s.viaFluentBit(e.conf, len(e.wanted(t)), feed)
			e.check(s, began)
		})
	}
}

// Fluent Bit itself never tells that an option is unknown to an output written in Go, or that records may be lost; meterctl does.
func TestNoConfigurationHasAnUnknownOption(t *testing.T) {
	for _, e := range append(slices.Clone(examples), example{conf: "high-mobility-delivery.conf"}) {
		cmd := exec.Command(built(t, "bin/meterctl"), "check-config", "-c", filepath.Join(root, "conf", e.conf))
		cmd.Env = append(os.Environ(), "AMBERFLO_BUCKET=183-amberflo", "AMBERFLO_REGION=us-west-2", "AMBERFLO_STORE_DIR=/spool",
			"AMBERFLO_LOG_PATH=/log", "FLUENT_BIT_STATE_DIR=/state", "HIGH_MOBILITY_APP_ID="+appID)
		said, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("meterctl check-config -c conf/%s: %v\n%s", e.conf, err, said)
		}
	}
}

// chunk is the input as Fluent Bit hands it to the output.
func (e example) chunk(t *testing.T) (chunk []byte) {
	t.Helper()
	switch {
	case e.events != "":
		for line := range strings.Lines(string(read(t, "testdata", e.events))) {
			pair := decode(t, []byte(line)).([]any)
			header, ok := pair[0].([]any)
			if !ok {
				header = []any{pair[0], map[string]any{}}
			}
			since, err := time.ParseDuration(header[0].(json.Number).String() + "s")
			if err != nil {
				t.Fatal(err)
			}
			chunk = encode.Event(chunk, time.Unix(0, int64(since)), header[1], pair[1])
		}
	case e.post != "":
		for _, record := range decode(t, read(t, "testdata", e.post)).([]any) {
			chunk = encode.Event(chunk, time.Now(), nil, record)
		}
	default:
		for line := range strings.Lines(string(read(t, "testdata", e.log))) {
			var record any = map[string]any{"log": strings.TrimSuffix(line, "\n")}
			if json.Valid([]byte(line)) {
				record = decode(t, []byte(line))
			}
			chunk = encode.Event(chunk, time.Now(), nil, record)
		}
	}
	return chunk
}

func (e example) wanted(t *testing.T) (records []map[string]any) {
	t.Helper()
	for line := range strings.Lines(string(read(t, "testdata", e.want))) {
		records = append(records, decode(t, []byte(line)).(map[string]any))
	}
	return records
}

var (
	ingestKey   = regexp.MustCompile(`^ingest/amberdata/\d\d-\d\d-\d{4}/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\.gz$`)
	generatedID = regexp.MustCompile(`^([0-9a-f-]{36})-\d+$`)
	hashID      = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

func (e example) check(s *site, began time.Time) {
	t := s.t
	t.Helper()
	var got []map[string]any
	objects := s.objects()
	for _, o := range objects {
		m := ingestKey.FindStringSubmatch(o.key)
		if m == nil {
			t.Errorf("key %s, want one like %s", o.key, ingestKey)
			continue
		}
		for _, raw := range o.records {
			r := decode(t, raw).(map[string]any)
			if id, ok := r["uniqueId"].(string); ok {
				if g := generatedID.FindStringSubmatch(id); g != nil && g[1] == m[1] {
					r["uniqueId"] = "(generated)"
				} else if hashID.MatchString(id) {
					r["uniqueId"] = "(hash)"
				}
			}
			if n, ok := r["meterTimeInMillis"].(json.Number); ok {
				if ms, err := n.Int64(); err == nil && ms >= began.UnixMilli() && ms <= time.Now().UnixMilli() {
					r["meterTimeInMillis"] = "(now)"
				}
			}
			got = append(got, r)
		}
	}
	want := e.wanted(t)
	if len(objects) != 1 {
		t.Errorf("%d objects, want 1", len(objects))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("records\n got %s\nwant %s", lines(got), lines(want))
	}
	if rejected := s.rejected(); !slices.Equal(rejected, e.rejected) {
		t.Errorf("rejected %q, want %q", rejected, e.rejected)
	}
}

func lines(records []map[string]any) string {
	var b strings.Builder
	for _, r := range records {
		text, err := json.Marshal(r)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(&b, "\n  %s", text)
	}
	return b.String()
}

// rejected gives the reasons of the records that were rejected.
func (s *site) rejected() (reasons []string) {
	s.t.Helper()
	files, err := filepath.Glob(s.path("state/amberflo/rejected/*/*.ndjson"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, file := range files {
		for line := range strings.Lines(string(read(s.t, file))) {
			reasons = append(reasons, decode(s.t, []byte(line)).(map[string]any)["reason"].(string))
		}
	}
	return reasons
}
