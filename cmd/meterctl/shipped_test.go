package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"out_amberflo/cmd/meterctl/pipeline"
	"out_amberflo/cmd/meterctl/preflight"
)

// justified are warnings that a file may give: what they say is so, and stands in the file's comments.
var justified = []string{"numbers below 2^31"}

// shipped are the whole configurations of conf/ and docker/, by file.
func shipped(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	root := filepath.Join("..", "..")
	for _, pattern := range []string{"conf/*.conf", "conf/*.yaml", "docker/trial/*.conf"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if text := readFile(t, file); strings.Contains(strings.ToLower(text), "amberflo\n") {
				all[file] = text
			}
		}
	}
	for _, file := range []string{"daemonset.yaml", "helm-values.yaml"} {
		file = filepath.Join(root, "docker/kubernetes", file)
		documents := yaml.NewDecoder(strings.NewReader(readFile(t, file)))
		for {
			var document struct {
				Data   map[string]string
				Config struct{ Service, Inputs, Filters, Outputs string }
			}
			if documents.Decode(&document) != nil {
				break
			}
			c := document.Config
			if text := document.Data["fluent-bit.conf"] + c.Service + c.Inputs + c.Filters + c.Outputs; text != "" {
				all[file] = strings.ReplaceAll(text, "{{ .Values.metricsPort }}", "2020")
			}
		}
	}
	return all
}

func readFile(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestShippedConfigurationsHaveNoFault(t *testing.T) {
	dir := write(t, map[string]string{"parsers.conf": "[PARSER]\n    Name json\n    Format json\n"}) // Fluent Bit's own, in its image
	files, err := filepath.Glob(filepath.Join("..", "..", "conf", "*pars*.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), []byte(readFile(t, file)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"BUCKET", "REGION", "LOG_PATH", "STORE_DIR"} {
		t.Setenv("AMBERFLO_"+name, "/x")
	}
	t.Setenv("AMBERFLO_BUCKET", "183-amberflo")
	t.Setenv("AMBERFLO_REGION", "us-west-2")
	t.Setenv("AMBERFLO_ENDPOINT", "http://127.0.0.1:9")
	t.Setenv("FLUENT_BIT_STATE_DIR", "/x")
	t.Setenv("HIGH_MOBILITY_APP_ID", "9FBBEDED80595912588FF4FF")
	all := shipped(t)
	if len(all) < 9 {
		t.Errorf("got %d configurations, want those of conf/ and docker/", len(all))
	}
	for name, text := range all {
		file := filepath.Join(dir, "main"+filepath.Ext(name))
		if strings.Contains(name, "kubernetes") {
			file = filepath.Join(dir, "main.conf")
		}
		text = strings.ReplaceAll(text, "/fluent-bit/etc/", dir+"/") // as in the image
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := pipeline.Read(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
	findings:
		for _, f := range preflight.All(p) {
			for _, text := range justified {
				if !f.Error && strings.Contains(f.Text, text) {
					continue findings
				}
			}
			t.Errorf("%s: %s", name, f)
		}
	}
}
