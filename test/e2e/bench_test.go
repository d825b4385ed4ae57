package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"out_amberflo/plugin/repair"
	"out_amberflo/test/fault"
	"out_amberflo/test/fluentbit"
	"out_amberflo/test/s3server"
)

// The programs that load the plugin.
const (
	bundledHost   = "the bundled host"
	realFluentBit = "Fluent Bit"
)

// both runs a scenario under the bundled host and under Fluent Bit.
func both(t *testing.T, scenario func(t *testing.T, b *bench)) {
	t.Helper()
	t.Parallel()
	for _, program := range []string{bundledHost, realFluentBit} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			scenario(t, newBench(t, program))
		})
	}
}

// bench is a bucket on an S3 server of its own, a directory for everything else, and what the next
// start of the plugin shall be like.
type bench struct {
	*testing.T
	program string
	dir     string
	server  *s3server.Server
	runs    int

	endpoint    string
	credentials s3server.Credentials
	env         []string // beyond the credentials
	plugin      string
	fluentBit   string
	args        []string      // of the bundled host
	pace        time.Duration // between chunks that the bundled host has not acknowledged yet
	service     []string      // lines of Fluent Bit's [SERVICE]
	inputs      []string      // lines of Fluent Bit's [INPUT]; default: the tail of a file
}

func newBench(t *testing.T, program string) *bench {
	t.Helper()
	if program == realFluentBit && fluentBit == "" {
		t.Skip(fluentbit.Missing)
	}
	dir, err := os.MkdirTemp("", "amberflo-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("kept for a look: %s", dir)
		} else if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	server := s3server.ForTest(t, s3server.Options{Dir: filepath.Join(dir, "s3")})
	return &bench{T: t, program: program, dir: dir, server: server, endpoint: server.Endpoint, credentials: server.Writer, plugin: pluginFile, fluentBit: fluentBit}
}

func (b *bench) path(elem ...string) string {
	return filepath.Join(append([]string{b.dir}, elem...)...)
}

func (b *bench) write(name string, content []byte) string {
	b.Helper()
	if err := os.WriteFile(b.path(name), content, 0o600); err != nil {
		b.Fatal(err)
	}
	return b.path(name)
}

// behind puts a proxy before the server that lets requests fail.
func (b *bench) behind(o fault.Options) *fault.Proxy {
	b.Helper()
	o.Target = b.server.Endpoint
	proxy, err := fault.Start(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(proxy.Close)
	b.endpoint = proxy.URL
	return proxy
}

// section is an [OUTPUT] for the bench's bucket and the store_dir "spool". A line more replaces the line of
// the same key; a key alone takes it away.
func (b *bench) section(more ...string) string {
	lines := []string{"Name amberflo", "Match *", "bucket " + b.server.Bucket, "region " + b.server.Region,
		"endpoint " + b.endpoint, "store_dir " + b.path("spool"), "Workers 1", "Retry_Limit no_limits"}
	for _, line := range more {
		key, value, _ := strings.Cut(line, " ")
		if timeout, err := time.ParseDuration(value); key == "shutdown_timeout" && err == nil && timeout > longestShutdown {
			b.Fatalf("%s: want at most %s, or endWithin ends before the program does", line, longestShutdown)
		}
		lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, key+" ") })
		if value != "" {
			lines = append(lines, line)
		}
	}
	return fluentbit.Section("OUTPUT", lines...)
}

// start starts the plugin on some input. It goes on after the input's end, until the caller stops it.
func (b *bench) start(in input, sections ...string) *process {
	b.Helper()
	return b.launch(in, true, sections)
}

// run starts the plugin, waits for its end behind the end of the input, and returns its log.
func (b *bench) run(in input, sections ...string) string {
	b.Helper()
	return b.launch(in, false, sections).finish()
}

func (b *bench) launch(in input, stay bool, sections []string) *process {
	b.Helper()
	b.runs++
	name := func(what string) string { return fmt.Sprintf("run%d.%s", b.runs, what) }
	conf := strings.Join(sections, "\n")
	if b.program == bundledHost {
		args := []string{"-e", b.plugin, "-c", b.write(name("conf"), []byte(conf)), "--json"}
		if stay {
			args = append(args, "--wait", "10m")
		}
		var stdin io.Reader = bytes.NewReader(in.chunks)
		if b.pace > 0 {
			stdin = &paced{chunks: in.chunks, ahead: b.acked(), pause: b.pace}
		}
		return b.execute(name("log"), stdin, append([]string{hostProgram}, append(args, append(b.args, "-")...)...)...)
	}
	inputs := b.inputs
	if inputs == nil {
		inputs = fluentbit.Tail(b.write(name("input"), in.lines), tag)
		if !stay {
			inputs = append(inputs, "Exit_On_Eof on")
		}
	}
	service := append([]string{"Flush 0.2", "Grace 5", "Parsers_File " + b.write("parsers.conf", []byte(fluentbit.Parsers)),
		"scheduler.base 1", "scheduler.cap 1"}, b.service...)
	conf = fluentbit.Section("SERVICE", service...) + fluentbit.Section("INPUT", inputs...) + conf
	return b.execute(name("log"), nil, b.fluentBit, "-e", b.plugin, "-c", b.write(name("conf"), []byte(conf)))
}

// spool lists the files below a folder of store_dir, objects by their key, with their content.
func (b *bench) spool(folder string) map[string]string {
	b.Helper()
	found := map[string]string{}
	for path, content := range b.files(b.path("spool", folder)) {
		found[repair.File{Dir: folder, Path: folder + "/" + path}.Key()] = content
	}
	return found
}

func (b *bench) files(dir string) map[string]string {
	b.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		found[strings.TrimPrefix(path, dir+"/")] = string(content)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a file that moved on under the walk
		b.Fatal(err)
	}
	return found
}

func names(files map[string]string) []string { return slices.Sorted(maps.Keys(files)) }

// wantDelivered wants nothing left in the spool but, in open/, at most logs without a record.
func (b *bench) wantDelivered() {
	b.Helper()
	for _, folder := range []string{"outbox", "sealing"} {
		if left := names(b.spool(folder)); len(left) > 0 {
			b.Errorf("left in %s/: %q", folder, left)
		}
	}
	if n := b.opened(); n > 0 {
		b.Errorf("%d records left in open/", n)
	}
}

// opened counts the records that lie in open/, as meterctl does. A log may be sealed and gone by now.
func (b *bench) opened() (records int) {
	b.Helper()
	files, err := repair.Files(b.path("spool"))
	if err != nil {
		return 0 // no plugin has started yet
	}
	for _, f := range files {
		if f.Dir != "open" {
			continue
		}
		n, _, err := repair.Records(b.path("spool"), f, nil)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			b.Fatal(err)
		}
		records += n
	}
	return records
}
