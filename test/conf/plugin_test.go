package conf

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"out_amberflo/test/fluentbit"
)

// dryRun has Fluent Bit check a configuration, with the names and values of the environment that containers have.
func dryRun(t *testing.T, conf string, args ...string) {
	t.Helper()
	cmd := exec.Command(fluentbit.Needed(t), append(args, "--dry-run", "-c", conf)...)
	cmd.Env = append(os.Environ(), "AMBERFLO_BUCKET=b", "AMBERFLO_REGION=us-west-2", "AMBERFLO_STORE_DIR=/d", "STORAGE_PATH=/d", "FLUENT_BIT_STATE_DIR=/d")
	if said, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(said), "configuration test is successful") {
		t.Errorf("%v\n%s", err, said)
	}
}

// The stage build puts together what the plugin-only image has; here in a directory, from which an init container's program
// copies it, and Fluent Bit loads it as FireLens has it do.
func TestWhatThePluginOnlyImageHoldsIsLoadedByFireLens(t *testing.T) {
	out, target := t.TempDir(), t.TempDir()
	var assemble string
	for _, run := range parseDockerfile(t, "docker/Dockerfile")[0].all("RUN") {
		if strings.Contains(run, "/out/plugin") {
			assemble = strings.ReplaceAll(run, "/out/", out+"/")
		}
	}
	if err := os.Mkdir(filepath.Join(out, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	for to, from := range map[string]string{"out_amberflo.so": "out_amberflo.so", "meterctl": "bin/meterctl"} {
		if err := os.Link(built(t, from), filepath.Join(out, "bin", to)); err != nil {
			copyFile(t, built(t, from), filepath.Join(out, "bin", to))
		}
	}
	cmd := exec.Command("/bin/sh", "-c", assemble)
	cmd.Dir = root
	if said, err := cmd.CombinedOutput(); err != nil || assemble == "" {
		t.Fatalf("%q: %v\n%s", assemble, err, said)
	}
	if said, err := exec.Command(filepath.Join(out, "plugin", "meterctl"), "install", target).CombinedOutput(); err != nil || strings.Count(string(said), "installed ") != 5 {
		t.Fatalf("want five files installed: %v\n%s", err, said)
	}
	for _, name := range []string{"firelens.conf", "plugins.conf"} {
		file := filepath.Join(target, name)
		text := strings.ReplaceAll(string(read(t, file)), "/amberflo/", target+"/")
		if strings.Contains(text, "/fluent-bit/etc/") {
			t.Errorf("%s names a file of the image with Fluent Bit:\n%s", name, text)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	conf := filepath.Join(target, "generated.conf")
	if err := os.WriteFile(conf, []byte("[INPUT]\n    Name forward\n@INCLUDE "+target+"/firelens.conf\n[OUTPUT]\n    Name amberflo\n    Match app-firelens*\n    bucket b\n    region us-west-2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dryRun(t, conf)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, read(t, from), info.Mode()); err != nil {
		t.Fatal(err)
	}
}

func TestBothTaskDefinitionsAreTheSameButForTheImage(t *testing.T) {
	same := string(read(t, root, "docker/ecs/task-definition.json"))
	plugin := string(read(t, root, "docker/ecs/task-definition-plugin.json"))
	_, ours, found := strings.Cut(same, `"name": "app",`)
	_, theirs, also := strings.Cut(plugin, `"name": "app",`)
	theirs = strings.Replace(theirs, `{"name": "amberflo"}, `, "", 1)
	if !found || !also || ours != theirs {
		t.Errorf("the application\n%s\nand with the plugin-only image\n%s", ours, theirs)
	}
}

// pipelineOf is the part of the DaemonSet's configuration that follows [SERVICE], as other forms of it have it: by section.
func pipelineOf(t *testing.T) (sections [][]string) {
	t.Helper()
	for _, line := range settings(block(t, string(read(t, root, "docker/kubernetes/daemonset.yaml")), "fluent-bit.conf")) {
		line = strings.NewReplacer("${FLUENT_BIT_STATE_DIR}", "/var/lib/fluent-bit", "${AMBERFLO_STORE_DIR}", "/var/lib/fluent-bit/amberflo").Replace(line)
		if line[0] == '[' {
			sections = append(sections, nil)
			continue
		}
		last := &sections[len(sections)-1]
		*last = append(*last, line)
	}
	return sections[1:]
}

func TestTheOperatorRunsThePipelineOfTheDaemonSet(t *testing.T) {
	want := pipelineOf(t)
	got := map[string][]string{}
	for _, document := range strings.Split(string(read(t, root, "docker/kubernetes/fluent-operator.yaml")), "\n---\n") {
		var d struct {
			Kind string
			Spec struct {
				CustomPlugin struct{ Config string } `yaml:"customPlugin"`
				Match        string
				Filters      []map[string]map[string]any
			}
		}
		if err := yaml.Unmarshal([]byte(document), &d); err != nil {
			t.Fatal(err)
		}
		got[d.Kind] = settings(d.Spec.CustomPlugin.Config)
		if d.Kind == "ClusterFilter" {
			k := d.Spec.Filters[0]["kubernetes"]
			onOff := map[any]string{true: "On", false: "Off"}
			got[d.Kind] = []string{"Name kubernetes", "Match " + d.Spec.Match, "Merge_Log " + onOff[k["mergeLog"]], "Keep_Log " + onOff[k["keepLog"]],
				"Labels " + onOff[k["labels"]], "Annotations " + onOff[k["annotations"]]}
		}
	}
	for i, kind := range []string{"ClusterInput", "ClusterFilter", "ClusterOutput"} {
		if !slices.Equal(got[kind], want[i]) {
			t.Errorf("%s has\n%s\nthe DaemonSet\n%s", kind, strings.Join(got[kind], "\n"), strings.Join(want[i], "\n"))
		}
	}
}

func TestTheCollectorRunsThePipelineOfTheDaemonSet(t *testing.T) {
	var values struct {
		Config struct {
			Service  map[string]any
			Pipeline struct{ Inputs, Filters, Outputs []map[string]any }
			Plugins  []string
		}
	}
	text := string(read(t, root, "docker/kubernetes/collector-values.yaml"))
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	p := values.Config.Pipeline
	for i, section := range []map[string]any{p.Inputs[0], p.Filters[0], p.Outputs[0]} {
		var got, want []string
		for key, value := range section {
			got = append(got, strings.ToLower(key)+" "+strings.NewReplacer("true", "On", "false", "Off", "${STORAGE_PATH}", "/var/lib/fluent-bit").Replace(fmt.Sprint(value)))
		}
		for _, line := range pipelineOf(t)[i] {
			key, value, _ := strings.Cut(line, " ")
			want = append(want, strings.ToLower(key)+" "+value)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("the chart has\n%s\nthe DaemonSet\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	// As the chart writes it.
	conf, err := yaml.Marshal(map[string]any{"service": values.Config.Service, "pipeline": map[string]any{"inputs": p.Inputs, "filters": p.Filters, "outputs": p.Outputs}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "fluent-bit.yaml")
	if err := os.WriteFile(file, conf, 0o600); err != nil {
		t.Fatal(err)
	}
	dryRun(t, file, "-e", built(t, "out_amberflo.so"))
}
