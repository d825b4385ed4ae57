package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"

	"github.com/prometheus/prometheus/promql/parser"
)

// panel has what is checked here of a panel in Grafana's dashboard JSON.
type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ H, W, X, Y int }
	Datasource  struct{ Type, UID string }
	FieldConfig struct {
		Defaults struct{ Unit string }
	}
	Targets []struct{ Expr, RefID string }
}

func checkDashboard(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var d struct {
		Title, UID    string
		SchemaVersion int
		Panels        []panel
		Templating    struct{ List []struct{ Name, Type string } }
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	var failed []error
	fail := func(format string, args ...any) {
		failed = append(failed, fmt.Errorf("%s: %w", file, fmt.Errorf(format, args...)))
	}
	variables := map[string]bool{"__rate_interval": true, "__range": true}
	for _, v := range d.Templating.List {
		variables[v.Name] = true
	}
	if d.Title == "" || d.UID == "" || d.SchemaVersion == 0 || !variables["datasource"] || len(d.Panels) == 0 {
		fail("want a title, a uid, a schemaVersion, panels and the variable datasource")
	}
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" {
			fail("panel %d %q: want an id of its own and a title", p.ID, p.Title)
		}
		ids[p.ID] = true
		for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
					fail("panel %q: want room of its own in 24 columns, at %d,%d is %q", p.Title, x, y, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Datasource.UID != "${datasource}" || p.Datasource.Type != "prometheus" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			fail("panel %q: want the datasource ${datasource}, a unit and a target", p.Title)
		}
		for _, t := range p.Targets {
			if err := checkQuery(t.Expr, variables); err != nil {
				fail("panel %q: %w", p.Title, err)
			}
		}
	}
	return errors.Join(failed...)
}

var variable = regexp.MustCompile(`\$(\w+)`)

// checkQuery parses a query as Grafana sends it, its variables replaced.
func checkQuery(expr string, known map[string]bool) error {
	var unknown error
	expr = variable.ReplaceAllStringFunc(expr, func(v string) string {
		if !known[v[1:]] {
			unknown = fmt.Errorf("%s: want a variable of the dashboard", v)
		}
		return "5m" // fits durations and, as text, matchers
	})
	if _, err := parser.ParseExpr(expr); err != nil {
		return fmt.Errorf("%s: %w", expr, err)
	}
	return unknown
}
