package conf

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"out_amberflo/test/encode"
	"out_amberflo/test/fluentbit"
)

type taskDefinition struct {
	ContainerDefinitions []struct {
		Name                  string
		StopTimeout           int
		FirelensConfiguration struct {
			Type    string
			Options map[string]string
		}
		MountPoints      []struct{ ContainerPath string }
		LogConfiguration struct {
			LogDriver string
			Options   map[string]string
		}
	}
}

// stateVolume is where the task definition mounts the volume for all state.
const stateVolume = "/var/lib/fluent-bit"

// firelens writes the configuration that FireLens makes of the task definition: its own inputs and outputs around the file
// that is named (the ECS developer guide, "Specifying a custom Fluent Bit configuration"). more are options of the output.
func firelens(t *testing.T, s *site, more string) (conf string) {
	t.Helper()
	var task taskDefinition
	if err := json.Unmarshal(read(t, root, "docker/ecs/task-definition.json"), &task); err != nil {
		t.Fatal(err)
	}
	router, app := task.ContainerDefinitions[0], task.ContainerDefinitions[1]
	if app.LogConfiguration.LogDriver != "awsfirelens" || router.FirelensConfiguration.Type != "fluentbit" {
		t.Fatalf("want the application's lines to go to Fluent Bit, got %+v and %+v", app, router)
	}
	options := app.LogConfiguration.Options
	stop, err := time.ParseDuration(options["shutdown_timeout"])
	if err != nil || stop >= time.Duration(router.StopTimeout)*time.Second {
		t.Errorf("shutdown_timeout %s, want it below stopTimeout %ds", stop, router.StopTimeout)
	}
	if len(router.MountPoints) != 1 || router.MountPoints[0].ContainerPath != stateVolume {
		t.Errorf("mount points %+v, want %s", router.MountPoints, stateVolume)
	}

	inState := func(text string) string { return strings.ReplaceAll(text, stateVolume+"/", s.path("state")+"/") }
	included := filepath.Base(router.FirelensConfiguration.Options["config-file-value"])
	s.adapt(included, inState(string(read(t, root, "docker/ecs", included))))
	s.adapt("amberflo-parsers.conf", string(read(t, root, "conf/amberflo-parsers.conf")))
	var text strings.Builder
	fmt.Fprintf(&text, "[INPUT]\n    Name forward\n    unix_path %s\n@INCLUDE %s\n[OUTPUT]\n    Match app-firelens*\n%s",
		s.path("fluent.sock"), s.path(included), more)
	for _, key := range []string{"Name", "bucket", "region", "store_dir", "upload_timeout", "shutdown_timeout", "unmatched", "Workers", "Retry_Limit"} {
		if options[key] == "" {
			t.Errorf("no option %s", key)
		}
		fmt.Fprintf(&text, "    %s %s\n", key, options[key])
	}
	s.adapt("firelens-generated.conf", inState(text.String()))
	return "firelens-generated.conf"
}

// dockerLine is what Docker's fluentd log driver sends for a line, with what it adds to a part of one.
func dockerLine(line string, part map[string]any) []byte {
	record := map[string]any{
		"log": line, "source": "stdout", "container_id": strings.Repeat("0123456789abcdef", 4), "container_name": "/ecs-app-1",
		"ecs_cluster": "shop", "ecs_task_definition": "app-with-metering:1",
	}
	for key, value := range part {
		record[key] = value
	}
	return forwardMessage("app-firelens-0123456789abcdef", record)
}

func forwardMessage(tag string, record map[string]any) []byte {
	return encode.Value(nil, []any{tag, time.Now().Unix(), record})
}

// dockerParts cuts a line as Docker does.
func dockerParts(line, id string) (messages [][]byte) {
	parts := slices.Collect(slices.Chunk([]byte(line), 16<<10))
	for i, part := range parts {
		messages = append(messages, dockerLine(string(part), map[string]any{
			"partial_message": "true", "partial_id": id, "partial_ordinal": fmt.Sprint(i + 1), "partial_last": fmt.Sprint(i == len(parts)-1),
		}))
	}
	return messages
}

// forward sends messages to Fluent Bit, each by itself, once it listens.
func (s *site) forward(messages ...[]byte) func() error {
	return func() error {
		conn, err := net.Dial("unix", s.path("fluent.sock"))
		if err != nil {
			return err
		}
		for _, m := range messages {
			if _, err := conn.Write(m); err != nil {
				return err
			}
		}
		return conn.Close()
	}
}

func TestTheTaskDefinitionMetersWhatTheApplicationLogs(t *testing.T) {
	fluentbit.Needed(t)
	t.Parallel()
	s := newSite(t)
	conf := firelens(t, s, "")
	var messages [][]byte
	messages = append(messages, forwardMessage("app.own", map[string]any{"p": json.Number("1")})) // no log driver's
	for line := range strings.Lines(string(read(t, "testdata/meter-records.log")) + "ready\n" + `{"level":"info","msg":"ready"}` + "\n") {
		messages = append(messages, dockerLine(strings.TrimSuffix(line, "\n"), nil))
	}
	s.viaFluentBit(conf, 3, s.forward(messages...))
	want := strings.Split(strings.TrimSpace(string(read(t, "testdata/meter-records.want"))), "\n")
	if got := s.records(); !slices.Equal(got, want) {
		t.Errorf("records\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if rejected := s.rejected(); len(rejected) != 0 {
		t.Errorf("rejected %q, want what is no meter record ignored", rejected)
	}
}

// CASES A19: Docker sends a line over 16 KB in parts. Here those of two lines come in turn; Fluent Bit holds them while the
// plugin takes nothing, is killed, and delivers them after its next start.
func TestLinesInPartsAreJoinedAndOutliveACrash(t *testing.T) {
	fluentbit.Needed(t)
	t.Parallel()
	s := newSite(t)
	conf := firelens(t, s, "    store_dir_limit_size 1K\n")
	const line = `{"customerId":"%s","meterApiName":"ComputeHours","meterValue":%d,"meterTimeInMillis":1619445706909,"note":"%s"}`
	one := dockerParts(fmt.Sprintf(line, "customer-123", 5, strings.Repeat("é \\\"", 10_000)), "a1b2")
	two := dockerParts(fmt.Sprintf(line, "customer-321", 4, strings.Repeat("x", 20_000)), "a1b3")
	if len(one) != 4 || len(two) != 2 {
		t.Fatalf("%d and %d parts, want 4 and 2", len(one), len(two))
	}
	feed := s.forward(one[0], two[0], dockerLine("ready", nil), one[1], one[2], two[1], one[3])

	s.startFluentBit(conf, feed, "both lines in storage.path", func() bool {
		chunks := s.forwardChunks()
		return strings.Contains(chunks, "customer-123") && strings.Contains(chunks, "customer-321")
	}).Kill()
	if got := s.accepted() + s.delivered(); got != 0 {
		t.Fatalf("%d records accepted before the kill, want 0: the spool has no space", got)
	}

	s.viaFluentBit(firelens(t, s, ""), 2, nil)
	const record = `{"customerId":"customer-%s","meterApiName":"ComputeHours","meterValue":%s,"meterTimeInMillis":1619445706909,"uniqueId":"(generated)"}`
	want := []string{fmt.Sprintf(record, "123", "5"), fmt.Sprintf(record, "321", "4")}
	got := s.records()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("records\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if rejected := s.rejected(); len(rejected) != 0 {
		t.Errorf("rejected %q, want none", rejected)
	}
}

// forwardChunks is what the chunks of the forward input hold on disk.
func (s *site) forwardChunks() string {
	s.t.Helper()
	files, err := filepath.Glob(s.path("state/chunks/forward.*/*.flb"))
	if err != nil {
		s.t.Fatal(err)
	}
	var all []byte
	for _, file := range files {
		chunk, _ := os.ReadFile(file) // the one with the line that is no usage is gone once it is accepted
		all = append(all, chunk...)
	}
	return string(all)
}
