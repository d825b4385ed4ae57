// Package conf loads everything that a user copies from conf/ and docker/, and the tables of the documents, and
// compares it with what the plugin does: each configuration runs in Fluent Bit where it is installed and,
// in the classic form, through the bundled host, into a real S3 server.
package conf

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"out_amberflo/plugin/repair"
	"out_amberflo/test/amberflo"
	"out_amberflo/test/fluentbit"
	"out_amberflo/test/s3server"
)

var root = func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}()

// built is the path of something that make builds.
func built(t *testing.T, name string) string {
	t.Helper()
	path, err := fluentbit.Built(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// site is one run: a bucket and a directory that holds configuration, input and state.
type site struct {
	t      *testing.T
	server *s3server.Server
	dir    string
	ports  map[string]string // of the configuration -> of this run
	env    []string
}

func newSite(t *testing.T) *site {
	t.Helper()
	server := s3server.ForTest(t, s3server.Options{})
	s := &site{t: t, server: server, dir: t.TempDir(), ports: map[string]string{"2020": fluentbit.Port(t), "4318": fluentbit.Port(t), "9880": fluentbit.Port(t)}}
	s.must(os.Mkdir(s.path("state"), 0o700))
	s.env = append(append(os.Environ(), server.Env(server.Writer)...),
		"AMBERFLO_BUCKET="+server.Bucket, "AMBERFLO_REGION="+server.Region,
		"FLUENT_BIT_STATE_DIR="+s.path("state"), "AMBERFLO_STORE_DIR="+s.path("state/amberflo"), "AMBERFLO_LOG_PATH="+s.path("input.log"),
		"HIGH_MOBILITY_APP_ID="+appID)
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

var (
	bucketLine = regexp.MustCompile(`(?m)^( *)bucket(:?) .*$`)
	portLine   = regexp.MustCompile(`(?mi)^( *(?:http_)?port:? +)(\d+)$`)
	listenLine = regexp.MustCompile(`(?mi)^( *(?:http_)?listen:? +)0\.0\.0\.0$`)
)

// install copies conf/ and changes nothing but the network.
func (s *site) install(name string) string {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "conf", "*"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, file := range files {
		s.adapt(filepath.Base(file), string(read(s.t, file)))
	}
	return s.path(name)
}

// conf is the path of a configuration that adapt wrote, or of one of conf/.
func (s *site) conf(name string) string {
	s.t.Helper()
	if _, err := os.Stat(s.path(name)); err == nil {
		return s.path(name)
	}
	return s.install(name)
}

// adapt writes a configuration with the network of this run: S3, and the ports to listen on.
func (s *site) adapt(name, text string) {
	s.t.Helper()
	text = bucketLine.ReplaceAllString(text, "$0\n${1}endpoint$2 "+s.server.Endpoint)
	text = listenLine.ReplaceAllString(text, "${1}127.0.0.1")
	text = portLine.ReplaceAllStringFunc(text, func(line string) string {
		m := portLine.FindStringSubmatch(line)
		port, ok := s.ports[m[2]]
		if !ok {
			s.t.Fatalf("%s listens on port %s, which this test does not know: add it to newSite", name, m[2])
		}
		return m[1] + port
	})
	// The image has these where it looks for them.
	text = strings.ReplaceAll(text, "/fluent-bit/etc/", s.dir+"/")
	s.write(name, text)
}

func (s *site) write(name, content string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// patience is how long what Fluent Bit or the host has to do may take.
const patience = time.Minute

// start starts a program, which is killed if it outlives the test.
func (s *site) start(program string, args ...string) *fluentbit.Process {
	s.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Dir = s.env, s.dir
	p, err := fluentbit.Start(cmd)
	s.must(err)
	s.t.Cleanup(func() { p.Kill() })
	return p
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// startFluentBit starts a configuration, and feeds it: feed is called until it succeeds. Then it waits for a condition.
func (s *site) startFluentBit(conf string, feed func() error, what string, done func() bool) *fluentbit.Process {
	s.t.Helper()
	p := s.start(fluentbit.Needed(s.t), "-e", built(s.t, "out_amberflo.so"), "-c", s.conf(conf))
	if feed != nil {
		s.must(p.Until(patience, "an input that takes what it is fed", func() bool { return feed() == nil }))
	}
	s.must(p.Until(patience, what, done))
	return p
}

// viaFluentBit runs a configuration until it has accepted that many lines, and stops it.
func (s *site) viaFluentBit(conf string, lines int, feed func() error) {
	s.t.Helper()
	p := s.startFluentBit(conf, feed, fmt.Sprintf("%d lines accepted", lines), func() bool { return s.accepted()+s.delivered() >= lines })
	s.must(p.Stop(patience))
}

// accepted counts the records in the open logs of the spool.
func (s *site) accepted() (records int) { return acceptedIn(s.path("state/amberflo")) }

func acceptedIn(dir string) (records int) {
	files, _ := repair.Files(dir) // there is none before the start
	for _, f := range files {
		if f.Dir == "open" {
			n, _, _ := repair.Records(dir, f, nil) // it may be sealed and gone by now
			records += n
		}
	}
	return records
}

func (s *site) delivered() (lines int) {
	for _, o := range s.objects() {
		lines += len(o.records)
	}
	return lines
}

// viaHost hands events to the [OUTPUT] of a classic configuration.
func (s *site) viaHost(conf, tag string, chunks ...[]byte) (said string, err error) {
	s.t.Helper()
	args := []string{"-e", built(s.t, "out_amberflo.so"), "-c", s.conf(conf), "-t", tag}
	for i, chunk := range chunks {
		name := fmt.Sprintf("chunk%d", i)
		s.write(name, string(chunk))
		args = append(args, s.path(name))
	}
	p := s.start(built(s.t, "bin/amberflo-host"), args...)
	err = p.Succeeded(patience)
	return p.Log.String(), err
}

// httpInput is where the http input of an example listens.
const httpInput = "9880/"

// post sends JSON to an input, given its port in the configuration and the path.
func (s *site) post(to string, body []byte) error { return s.postAs("application/json", to, body) }

func (s *site) postAs(contentType, to string, body []byte) error {
	port, path, _ := strings.Cut(to, "/")
	resp, err := http.Post("http://127.0.0.1:"+s.ports[port]+"/"+path, contentType, bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("post %d bytes: want status 201, got %s", len(body), resp.Status)
	}
	return nil
}

type object struct {
	key     string
	records []json.RawMessage
}

const startupCheckKey = "out_amberflo-startup-check.txt"

// objects reads the bucket as its owner, but for the test object of startup_check.
func (s *site) objects() (list []object) {
	s.t.Helper()
	contents := s.server.Contents(s.t)
	delete(contents, startupCheckKey)
	for _, key := range slices.Sorted(maps.Keys(contents)) {
		o, body := object{key: key}, []byte(contents[key])
		if strings.HasSuffix(key, ".gz") {
			zipped, err := gzip.NewReader(bytes.NewReader(body))
			if err == nil {
				body, err = io.ReadAll(zipped)
			}
			if err != nil {
				s.t.Fatalf("%s: %v", key, err)
			}
		}
		if body[0] == '[' {
			if err := json.Unmarshal(body, &o.records); err != nil {
				s.t.Fatalf("%s: %v", key, err)
			}
		} else {
			for line := range bytes.Lines(body) {
				o.records = append(o.records, json.RawMessage(bytes.TrimSpace(line)))
			}
		}
		list = append(list, o)
	}
	return list
}

// bill is what Amberflo makes of the objects, by customer, meter and these dimensions.
func (s *site) bill(dimensions ...string) amberflo.Bill {
	s.t.Helper()
	standin := s.server.Standin(amberflo.Options{Prefix: "ingest/", Dimensions: dimensions})
	if _, err := standin.Read(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	return standin.Bill()
}

func decode(t *testing.T, text []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return content
}
