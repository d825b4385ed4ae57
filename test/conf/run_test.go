// Package conf loads everything that a user copies from conf/ and docker/, and the README's tables, and
// compares it with what the plugin does: each configuration runs in Fluent Bit where it is installed and,
// in the classic form, through the bundled host, into a real S3 server.
package conf

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/tinylib/msgp/msgp"

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

// fluentBit is the program to run, or the test is skipped.
func fluentBit(t *testing.T) string {
	t.Helper()
	path, err := fluentbit.Program()
	if err != nil {
		t.Fatal(err)
	}
	if path == "" {
		t.Skip(fluentbit.Missing)
	}
	return path
}

// built is the path of something that make builds.
func built(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(root, name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is not built: run make test, which builds it first", name)
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
	server, err := s3server.Start(t.Context(), s3server.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, server: server, dir: t.TempDir(), ports: map[string]string{"2020": freePort(t), "4318": freePort(t), "9880": freePort(t)}}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := os.Mkdir(s.path("state"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.env = append(append(os.Environ(), server.Env(server.Writer)...),
		"AMBERFLO_BUCKET="+server.Bucket, "AMBERFLO_REGION="+server.Region,
		"FLUENT_BIT_STATE_DIR="+s.path("state"), "AMBERFLO_STORE_DIR="+s.path("state/amberflo"), "AMBERFLO_LOG_PATH="+s.path("input.log"),
		"HIGH_MOBILITY_APP_ID="+appID)
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func freePort(t *testing.T) string {
	t.Helper()
	port, err := fluentbit.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

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

// start starts a program whose end is waited for at the end of the test at the latest.
func (s *site) start(said *bytes.Buffer, program string, args ...string) *exec.Cmd {
	s.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Dir = s.env, s.dir
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd
}

// viaFluentBit runs a configuration until it has accepted that many lines, and stops it. feed is called
// until it succeeds, once there is something to feed.
func (s *site) viaFluentBit(conf string, lines int, feed func() error) (said string) {
	s.t.Helper()
	var out bytes.Buffer
	cmd := s.start(&out, fluentBit(s.t), "-e", built(s.t, "out_amberflo.so"), "-c", s.conf(conf))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	s.until("Fluent Bit accepts "+fmt.Sprint(lines)+" lines", ended, &out, func() bool {
		if feed != nil {
			if feed() != nil {
				return false
			}
			feed = nil
		}
		return s.accepted()+s.delivered() >= lines
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if err := <-ended; err != nil {
		s.t.Fatalf("Fluent Bit: %v\n%s", err, out.String())
	}
	return out.String()
}

func (s *site) until(what string, ended chan error, said *bytes.Buffer, done func() bool) {
	s.t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case err := <-ended:
			s.t.Fatalf("wait until %s: it ended: %v\n%s", what, err, said.String())
		case <-deadline:
			s.t.Fatalf("wait until %s: not within a minute", what)
		}
	}
}

// accepted counts the records in the open logs of the spool.
func (s *site) accepted() (records int) {
	dir := s.path("state/amberflo")
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
	var out bytes.Buffer
	err = s.start(&out, built(s.t, "bin/amberflo-host"), args...).Wait()
	return out.String(), err
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
	entries, err := s.server.Objects(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Key == startupCheckKey {
			continue
		}
		body, err := s.server.Get(s.t.Context(), e.Key)
		if err != nil {
			s.t.Fatal(err)
		}
		o := object{key: e.Key}
		if strings.HasSuffix(e.Key, ".gz") {
			zipped, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				s.t.Fatalf("%s: %v", e.Key, err)
			}
			if body, err = io.ReadAll(zipped); err != nil {
				s.t.Fatalf("%s: %v", e.Key, err)
			}
		}
		if body[0] == '[' {
			if err := json.Unmarshal(body, &o.records); err != nil {
				s.t.Fatalf("%s: %v", e.Key, err)
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
	standin := amberflo.New(amberflo.Options{
		Endpoint: s.server.Endpoint, Region: s.server.Region, Bucket: s.server.Bucket, Prefix: "ingest/", Dimensions: dimensions,
		Credentials: credentials.NewStaticCredentialsProvider(s.server.Owner.AccessKey, s.server.Owner.SecretKey, ""),
	})
	if _, err := standin.Read(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	return standin.Bill()
}

// appendEvent encodes an event as Fluent Bit does: [[time, metadata], record].
func appendEvent(b []byte, at time.Time, record any) []byte {
	return appendEventWith(b, at, map[string]any{}, record)
}

func appendEventWith(b []byte, at time.Time, metadata, record any) []byte {
	b = append(b, 0x92, 0x92, 0xd7, 0x00)
	b = append(b, byte(at.Unix()>>24), byte(at.Unix()>>16), byte(at.Unix()>>8), byte(at.Unix()))
	b = append(b, byte(at.Nanosecond()>>24), byte(at.Nanosecond()>>16), byte(at.Nanosecond()>>8), byte(at.Nanosecond()))
	return appendValue(appendValue(b, metadata), record)
}

// appendValue encodes what json.Decoder.UseNumber gives.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		b = msgp.AppendMapHeader(b, uint32(len(v)))
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			b = appendValue(msgp.AppendString(b, k), v[k])
		}
		return b
	case []any:
		b = msgp.AppendArrayHeader(b, uint32(len(v)))
		for _, e := range v {
			b = appendValue(b, e)
		}
		return b
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return msgp.AppendInt64(b, n)
		}
		f, err := v.Float64()
		if err != nil {
			panic(err)
		}
		return msgp.AppendFloat64(b, f)
	case string:
		return msgp.AppendString(b, v)
	case bool:
		return msgp.AppendBool(b, v)
	case nil:
		return msgp.AppendNil(b)
	}
	panic(fmt.Sprintf("a JSON value of type %T", v))
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
