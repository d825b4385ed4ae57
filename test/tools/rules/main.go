// Command rules checks what an operator copies into Prometheus and Grafana: that the alert rules parse, that they
// fire when alerts_test.yml says so and not otherwise, and that every query of the dashboard is PromQL.
//
// alerts_test.yml has the form of "promtool test rules"; annotations are not compared. Promtool itself is a build of
// minutes, because of the services that it can discover.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"gopkg.in/yaml.v3"
)

func main() {
	tests := flag.String("tests", "test/tools/rules/alerts_test.yml", "what shall fire when")
	dashboard := flag.String("dashboard", "conf/grafana-dashboard.json", "a dashboard of Grafana")
	flag.Parse()
	if err := errors.Join(checkRules(*tests), checkDashboard(*dashboard)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type suite struct {
	RuleFiles []string       `yaml:"rule_files"`
	Interval  model.Duration `yaml:"evaluation_interval"`
	Tests     []scenario
}

type scenario struct {
	Name     string
	Interval model.Duration
	Series   []struct{ Series, Values string } `yaml:"input_series"`
	Cases    []struct {
		At     model.Duration `yaml:"eval_time"`
		Alert  string         `yaml:"alertname"`
		Alerts []struct {
			Labels map[string]string `yaml:"exp_labels"`
		} `yaml:"exp_alerts"`
	} `yaml:"alert_rule_test"`
}

func checkRules(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var s suite
	if err := yaml.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	rules := map[string]rulefmt.Rule{}
	for _, name := range s.RuleFiles {
		groups, errs := rulefmt.ParseFile(filepath.Join(filepath.Dir(file), name), false)
		if len(errs) > 0 {
			return errors.Join(errs...)
		}
		for _, g := range groups.Groups {
			for _, r := range g.Rules {
				rules[r.Alert] = r
			}
		}
	}
	var failed []error
	tested := map[string]bool{}
	for _, sc := range s.Tests {
		for _, c := range sc.Cases {
			rule, known := rules[c.Alert]
			if !known {
				failed = append(failed, fmt.Errorf("%s: there is no alert %s", sc.Name, c.Alert))
				continue
			}
			got, err := sc.firing(rule, time.Duration(s.Interval), time.Duration(c.At))
			var want []string
			for _, a := range c.Alerts {
				want = append(want, labels.FromMap(a.Labels).String())
			}
			slices.Sort(want)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", sc.Name, c.Alert, err)
			}
			if !slices.Equal(got, want) {
				failed = append(failed, fmt.Errorf("%s: %s after %s: fires for %v, want %v", sc.Name, c.Alert, c.At, got, want))
			}
			tested[c.Alert] = tested[c.Alert] || len(want) > 0
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		if !tested[name] {
			failed = append(failed, fmt.Errorf("no test in which %s fires", name))
		}
	}
	return errors.Join(failed...)
}

// firing gives the label sets for which a rule has been true for as long as it wants at a time.
func (sc scenario) firing(rule rulefmt.Rule, interval, at time.Duration) ([]string, error) {
	var load strings.Builder
	fmt.Fprintf(&load, "load %s\n", sc.Interval)
	for _, s := range sc.Series {
		fmt.Fprintf(&load, "  %s %s\n", s.Series, s.Values)
	}
	data, err := promqltest.NewLazyLoader(load.String(), promqltest.LazyLoaderOpts{})
	if err != nil {
		return nil, err
	}
	defer data.Close()
	start := time.Unix(0, 0).UTC()
	data.WithSamplesTill(start.Add(at), func(e error) { err = e })
	if err != nil {
		return nil, err
	}
	since := map[string]time.Duration{}
	for t := time.Duration(0); t <= at; t += interval {
		query, err := data.QueryEngine().NewInstantQuery(context.Background(), data.Queryable(), nil, rule.Expr, start.Add(t))
		if err != nil {
			return nil, err
		}
		result := query.Exec(context.Background())
		vector, err := result.Vector()
		if err != nil {
			return nil, err
		}
		now := alerts(rule, vector)
		maps.DeleteFunc(since, func(name string, _ time.Duration) bool { return !slices.Contains(now, name) })
		for _, name := range now {
			if _, active := since[name]; !active {
				since[name] = t
			}
		}
		query.Close()
	}
	maps.DeleteFunc(since, func(_ string, t time.Duration) bool { return at-t < time.Duration(rule.For) })
	return slices.Sorted(maps.Keys(since)), nil
}

func alerts(rule rulefmt.Rule, vector promql.Vector) (names []string) {
	for _, sample := range vector {
		b := labels.NewBuilder(sample.Metric).Del(labels.MetricName)
		for name, value := range rule.Labels {
			b.Set(name, value)
		}
		names = append(names, b.Labels().String())
	}
	return names
}
