package conf

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/encode"
	"out_amberflo/test/fluentbit"
)

// block gives the text of a YAML block scalar (key: |), without its indentation.
func block(t *testing.T, yaml, key string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^( *)` + regexp.QuoteMeta(key) + `: \|\n`).FindStringSubmatchIndex(yaml)
	if m == nil {
		t.Fatalf("no %s: | in it", key)
	}
	indent := yaml[m[2]:m[3]] + "  "
	var text strings.Builder
	for line := range strings.Lines(yaml[m[1]:]) {
		rest, inside := strings.CutPrefix(line, indent)
		if !inside && strings.TrimSpace(line) != "" {
			break
		}
		text.WriteString(rest)
	}
	return text.String()
}

// settings are the lines of a classic configuration without comments and with single blanks.
func settings(text string) (list []string) {
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0][0] != '#' {
			list = append(list, strings.Join(fields, " "))
		}
	}
	return list
}

func TestTheHelmValuesDoWhatTheDaemonSetDoes(t *testing.T) {
	daemonset := string(read(t, root, "docker/kubernetes/daemonset.yaml"))
	values := string(read(t, root, "docker/kubernetes/helm-values.yaml"))
	var helm string
	for _, key := range []string{"service", "inputs", "filters", "outputs"} {
		helm += block(t, values, key)
	}
	helm = strings.ReplaceAll(helm, "{{ .Values.metricsPort }}", "2020")
	if got, want := settings(helm), settings(block(t, daemonset, "fluent-bit.conf")); !slices.Equal(got, want) {
		t.Errorf("configuration of the values\n%s\nand of the DaemonSet\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, want := range []string{
		"terminationGracePeriodSeconds: 60", "readOnlyRootFilesystem: true", "allowPrivilegeEscalation: false", "drop: [ALL]",
		"path: /var/lib/fluent-bit-amberflo", "mountPath: /var/lib/fluent-bit\n", "operator: Exists", "eks.amazonaws.com/role-arn: ",
	} {
		for name, text := range map[string]string{"the DaemonSet": daemonset, "the values": values} {
			if !strings.Contains(text, want) {
				t.Errorf("want %q in %s", want, name)
			}
		}
	}
}

// podLine is what the kubernetes filter makes of a container's line.
const podLine = `{"time":"2026-11-20T10:00:00Z","stream":"stdout","kubernetes":{"pod_name":"api-0","namespace_name":"shop","labels":{"app":"api","tenant":"acme"}}`

func TestTheDaemonSetMetersThePodsThatLogMeterRecords(t *testing.T) {
	s := newSite(t)
	s.adapt("daemonset.conf", block(t, string(read(t, root, "docker/kubernetes/daemonset.yaml")), "fluent-bit.conf"))
	var chunk []byte
	for _, line := range []string{
		podLine + `,"customerId":"customer-123","meterApiName":"ComputeHours","meterValue":5,"meterTimeInMillis":1619445706909}`,
		podLine + `,"log":"GET / 200"}`,
		podLine + `,"level":"info","msg":"ready"}`,
	} {
		chunk = encode.Event(chunk, time.Now(), nil, decode(t, []byte(line)))
	}
	if _, err := s.viaHost("daemonset.conf", "kube.var.log.containers.api-0_shop_api-0123.log", chunk); err != nil {
		t.Fatal(err)
	}
	got := s.records()
	want := `{"customerId":"customer-123","meterApiName":"ComputeHours","dimensions":{"namespace":"shop","app":"api"},"meterValue":5,"meterTimeInMillis":1619445706909,"uniqueId":"(generated)"}`
	if len(got) != 1 || got[0] != want {
		t.Errorf("records\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	if rejected := s.rejected(); len(rejected) != 0 {
		t.Errorf("rejected %q, want what is no meter record ignored", rejected)
	}
}

// The whole way of a container's line: the runtime's format, the kubernetes filter, which asks the API server for the
// pod's labels, and the mapping.
func TestAPodsLinesAreMeteredWithItsLabels(t *testing.T) {
	fluentbit.Needed(t)
	s := newSite(t)
	asked := make(chan string, 100)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header.Get("Authorization")
		if r.URL.Path != "/api/v1/namespaces/shop/pods/api-0" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"api-0","namespace":"shop","uid":"0123","labels":{"app":"api","tenant":"acme"}},
			"spec":{"nodeName":"node-1","containers":[{"name":"api","image":"registry.example.com/api:1"}]},"status":{"phase":"Running"}}`)
	}))
	defer api.Close()

	conf := block(t, string(read(t, root, "docker/kubernetes/daemonset.yaml")), "fluent-bit.conf")
	containers := s.path("containers")
	conf = strings.ReplaceAll(conf, "/var/log/containers", containers)
	const filter = "Name                      kubernetes\n"
	if !strings.Contains(conf, filter) {
		t.Fatalf("no %q in the configuration", filter)
	}
	conf = strings.Replace(conf, filter, filter+fmt.Sprintf("    Kube_URL %s\n    Kube_Token_File %s\n    Kube_Tag_Prefix kube%s.\n",
		api.URL, s.path("token"), strings.ReplaceAll(containers, "/", ".")), 1)
	s.adapt("daemonset.conf", conf)
	s.write("parsers.conf", "[PARSER]\n    Name json\n    Format json\n")
	s.write("token", "token-of-the-service-account")
	if err := os.Mkdir(containers, 0o700); err != nil {
		t.Fatal(err)
	}
	const at = "2026-11-20T10:00:00.123456789Z stdout "
	s.write("containers/api-0_shop_api-"+strings.Repeat("0123456789abcdef", 4)+".log", at+
		`F {"customerId":"customer-123","meterApiName":"ComputeHours","meterValue":5}`+"\n"+at+
		`P {"customerId":"customer-456","meterApiName":"Compu`+"\n"+at+ // the runtime cuts long lines
		`F teHours","meterValue":7,"uniqueId":"u-7"}`+"\n"+at+
		"F GET / 200\n"+at+
		`F {"level":"info","msg":"ready"}`+"\n")
	s.viaFluentBit("daemonset.conf", 2, nil)

	const line = `{"customerId":"customer-%s","meterApiName":"ComputeHours","dimensions":{"namespace":"shop","app":"api"},"meterValue":%s,"meterTimeInMillis":1795168800123,"uniqueId":"%s"}`
	want := []string{fmt.Sprintf(line, "123", "5", "(generated)"), fmt.Sprintf(line, "456", "7", "u-7")}
	if got := s.records(); !slices.Equal(got, want) {
		t.Errorf("records\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if rejected := s.rejected(); len(rejected) != 0 {
		t.Errorf("rejected %q, want what is no meter record ignored", rejected)
	}
	if got := <-asked; got != "Bearer token-of-the-service-account" {
		t.Errorf("the API server was asked with %q, want the token", got)
	}
}

// records gives the records of all objects as they stand there, but for generated ids.
func (s *site) records() (list []string) {
	for _, o := range s.objects() {
		for _, r := range o.records {
			list = append(list, regexp.MustCompile(`"uniqueId":"[0-9a-f-]{36}-\d+"`).ReplaceAllString(string(r), `"uniqueId":"(generated)"`))
		}
	}
	return list
}

// docker/compose.yaml: the same services and settings, without containers.
func TestTheTrialOfComposeDeliversTheAccessLog(t *testing.T) {
	fluentbit.Needed(t)
	s := newSite(t)
	compose := string(read(t, root, "docker/compose.yaml"))
	for _, want := range []string{s.server.Owner.AccessKey, s.server.Owner.SecretKey, s.server.Writer.AccessKey, s.server.Writer.SecretKey,
		s.server.Bucket, s.server.Region} {
		if !strings.Contains(compose, " "+want) && !strings.Contains(compose, `"`+want+`"`) {
			t.Errorf("compose.yaml does not have %s, which the local bucket has", want)
		}
	}
	s.install("")
	text := string(read(t, root, "docker/trial/fluent-bit.conf"))
	s.adapt("trial.conf", strings.Replace(text, "endpoint ", "# endpoint ", 1)) // adapt gives its own
	log, err := os.Create(s.path("input.log"))
	if err != nil {
		t.Fatal(err)
	}
	truth, err := accesslog.WriteLines(log, accesslog.Options{Lines: 200, Seed: 3, Bad: 0.05, Start: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	s.viaFluentBit("trial.conf", truth.Metered, nil)
	if got := len(s.records()); got != truth.Metered {
		t.Errorf("%d records, want %d", got, truth.Metered)
	}
	if got := len(s.rejected()); got != truth.Rejected() {
		t.Errorf("%d rejected, want %d", got, truth.Rejected())
	}
}
