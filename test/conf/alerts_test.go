package conf

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"out_amberflo/plugin"
	"out_amberflo/plugin/ship/failure"
)

// bin/rulescheck parses and evaluates both files; here it is what they ask for.
func TestAlertsAndDashboardAskForCountersThatAreThere(t *testing.T) {
	name := regexp.MustCompile(`fluentbit_amberflo_(\w+)(?:\{(\w+)=~"([^"]*)"\})?`)
	asked := map[string]bool{}
	for _, file := range []string{"conf/alerts.yml", "conf/grafana-dashboard.json"} {
		for _, m := range name.FindAllStringSubmatch(string(read(t, root, file)), -1) {
			i := slices.IndexFunc(plugin.Metrics, func(p plugin.Metric) bool { return p.Name == m[1] })
			if i < 0 {
				t.Errorf("%s: there is no counter %s", file, m[1])
				continue
			}
			asked[m[1]] = true
			for _, value := range strings.FieldsFunc(m[3], func(r rune) bool { return r == '|' }) {
				if p := plugin.Metrics[i]; m[2] != p.Label || !slices.Contains(p.Values, value) {
					t.Errorf("%s: %s has no series with %s %q", file, p.Name, m[2], value)
				}
			}
		}
	}
	for _, p := range plugin.Metrics {
		if !asked[p.Name] {
			t.Errorf("neither shows %s", p.Name)
		}
	}
}

func TestEachAlertHasItsPlaceInTheOperationsPage(t *testing.T) {
	page := string(read(t, root, "docs/operations.md"))
	for _, m := range regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(string(read(t, root, "conf/alerts.yml")), -1) {
		if !strings.Contains(page, "| `"+m[1]+"` |") {
			t.Errorf("docs/operations.md has no row for %s", m[1])
		}
	}
}

func TestEachKindThatNeedsSomebodyRaisesItsAlert(t *testing.T) {
	text := string(read(t, root, "conf/alerts.yml"))
	m := regexp.MustCompile(`alert: AmberfloUploadsNeedYou\n(?:.*\n)*?.*kind=~"([^"]*)"`).FindStringSubmatch(text)
	if m == nil {
		t.Fatal("conf/alerts.yml has no AmberfloUploadsNeedYou by kind")
	}
	asks := strings.Split(m[1], "|")
	page := string(read(t, root, "docs/operations.md"))
	for k := failure.Object; k < failure.Canceled; k++ {
		if k.NeedsYou() != slices.Contains(asks, k.String()) {
			t.Errorf("%s needs somebody: %v; in the alert: %v", k, k.NeedsYou(), slices.Contains(asks, k.String()))
		}
		if !strings.Contains(page, "`"+k.String()+"`") {
			t.Errorf("docs/operations.md does not explain the kind %s", k)
		}
	}
}
