// Package host tests amberflo-host, the C program of this directory, against a plugin in C
// (testdata/plugin.c) that writes down every call it gets.
package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"out_amberflo/test/encode"
	"out_amberflo/test/fluentbit"
)

var hostProgram, toyPlugin, offeringPlugin, roundingAllocator, prefixedAllocator string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "amberflo-host")
	if err != nil {
		panic(err)
	}
	hostProgram, toyPlugin, offeringPlugin = filepath.Join(dir, "amberflo-host"), filepath.Join(dir, "toy.so"), filepath.Join(dir, "offers.so")
	roundingAllocator, prefixedAllocator = filepath.Join(dir, "rounding.so"), filepath.Join(dir, "prefixed.so")
	sources, _ := filepath.Glob("*.c")
	strict := []string{"-O2", "-Wall", "-Wextra", "-Werror"}
	build := func(args ...string) {
		if out, err := exec.Command("gcc", append(slices.Clone(strict), args...)...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "gcc %s: %v\n%s", strings.Join(args, " "), err, out)
			os.Exit(1)
		}
	}
	build(append(append([]string{"-o", hostProgram}, sources...), "-ldl", "-pthread", "-Wl,--export-dynamic-symbol=flb_*")...)
	build("-shared", "-fPIC", "-o", toyPlugin, "testdata/plugin.c")
	build("-shared", "-fPIC", "-o", offeringPlugin, "testdata/offers.c", "../../out_amberflo/options.c", "../../out_amberflo/host.c")
	build("-shared", "-fPIC", "-o", roundingAllocator, "testdata/allocator.c", "-ldl")
	build("-shared", "-fPIC", "-DPREFIXED", "-o", prefixedAllocator, "testdata/allocator.c", "-ldl")
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

type result struct {
	exit    int
	summary map[string]float64 // nil without a summary line
	calls   []string           // what the plugin wrote down
	stderr  string
}

// bench is a directory with a configuration and chunks, for runs of the host that share them.
type bench struct {
	t     *testing.T
	dir   string
	env   []string
	stdin []byte
}

func newBench(t *testing.T, env ...string) *bench {
	t.Helper()
	return &bench{t: t, dir: t.TempDir(), env: env}
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) write(name, content string) string {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return b.path(name)
}

func (b *bench) read(name string) []string {
	b.t.Helper()
	content, err := os.ReadFile(b.path(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.t.Fatal(err)
	}
	return strings.FieldsFunc(string(content), func(r rune) bool { return r == '\n' })
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// start starts a program that gives its standard output there, or to its log.
func (b *bench) start(stdout io.Writer, program string, args ...string) *fluentbit.Process {
	b.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(append(os.Environ(), "TOY_LOG="+b.path("calls")), b.env...)
	cmd.Stdin, cmd.Stdout = bytes.NewReader(b.stdin), stdout
	p, err := fluentbit.Start(cmd)
	b.must(err)
	b.t.Cleanup(func() { p.Kill() })
	return p
}

// run runs the host to its end; each run starts a new list of calls.
func (b *bench) run(args ...string) result {
	b.t.Helper()
	os.Remove(b.path("calls"))
	var stdout bytes.Buffer
	p := b.start(&stdout, hostProgram, append([]string{"-e", toyPlugin, "--json"}, args...)...)
	b.must(p.Ended(time.Minute))
	r := result{exit: p.Cmd.ProcessState.ExitCode(), calls: b.read("calls"), stderr: p.Log.String()}
	if stdout.Len() > 0 {
		if err := json.Unmarshal(stdout.Bytes(), &r.summary); err != nil {
			b.t.Fatalf("summary %q: %v", stdout.String(), err)
		}
	}
	return r
}

func (r result) want(t *testing.T, exit int, figures map[string]float64) {
	t.Helper()
	if r.exit != exit {
		t.Errorf("exit status %d, want %d; stderr:\n%s", r.exit, exit, r.stderr)
	}
	for name, want := range figures {
		if got, ok := r.summary[name]; !ok || got != want {
			t.Errorf("%s = %v (known: %v), want %v", name, got, ok, want)
		}
	}
}

func (r result) count(prefix string) (n int) {
	for _, call := range r.calls {
		if strings.HasPrefix(call, prefix) {
			n++
		}
	}
	return n
}

func TestConfiguration(t *testing.T) {
	for _, test := range []struct {
		name, conf string
		args       []string
		want       []string
	}{
		{"keys and section names are known in any case", "[output]\n  NAME amberflo\n\tMaTcH *\n  SHOW Yes it does\n", nil,
			[]string{"init toy show=Yes it does match="}},
		{"other sections and other outputs are passed over",
			"[SERVICE]\n Flush 1\n[OUTPUT]\n Name stdout\n show no\n[OUTPUT]\n Name amberflo\n id a\n[FILTER]\n show no\n", nil,
			[]string{"init a show= match="}},
		{"several sections become several instances", "[OUTPUT]\n Name amberflo\n id a\n[OUTPUT]\n Name amberflo\n id b\n", nil,
			[]string{"init a show= match=", "init b show= match="}},
		{"comments and blank lines count for nothing", "# one\n\n[OUTPUT]\n   # two\n Name amberflo\n show a # b\n", nil,
			[]string{"init toy show=a # b match="}},
		{"a variable of the environment is put in", "[OUTPUT]\n Name amberflo\n show <${TOY_X}-${TOY_X}>\n", nil,
			[]string{"init toy show=<x y-x y> match="}},
		{"a variable that is not set is empty", "[OUTPUT]\n Name amberflo\n show ${TOY_UNSET}\n", nil,
			[]string{"init toy show= match="}},
		{"@SET comes before the environment", "@SET TOY_X = z\n[OUTPUT]\n Name amberflo\n show ${TOY_X}\n", nil,
			[]string{"init toy show=z match="}},
		{"the first of two equal keys counts", "[OUTPUT]\n Name amberflo\n show 1\n Show 2\n", nil,
			[]string{"init toy show=1 match="}},
		{"-p overrides, adds and takes away", "[OUTPUT]\n Name amberflo\n show 1\n id a\n", []string{"-p", "SHOW=a=b", "-p", "id="},
			[]string{"init toy show=a=b match="}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, "TOY_X=x y")
			r := b.run(append(test.args, "-c", b.write("conf", test.conf), b.write("chunk", "c"))...)
			r.want(t, 0, nil)
			got := slices.DeleteFunc(r.calls, func(s string) bool { return !strings.HasPrefix(s, "init") })
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestBadInputIsRefusedWithItsPlace(t *testing.T) {
	for _, test := range []struct {
		name, conf, want string
		args             []string
	}{
		{"a key without a value", "[OUTPUT]\n Name amberflo\n bucket\n", "conf:3: want a key and a value", nil},
		{"a key outside a section", "Name amberflo\n", "conf:1: want a section", nil},
		{"an include", "@INCLUDE other.conf\n", "conf:1: want @SET or a section", nil},
		{"no section for the plugin", "[OUTPUT]\n Name stdout\n", "want an [OUTPUT] section with Name amberflo", nil},
		{"an unknown time", "", `option retry-delay: got "soon"`, []string{"--retry-delay", "soon"}},
		{"an unknown version", "", `option abi: got "1.0"`, []string{"--abi", "1.0"}},
		{"a property without a key", "", `option p: got "=x"`, []string{"-p", "=x"}},
		{"a chunk file that is not there", "[OUTPUT]\n Name amberflo\n", "read chunk file none: No such file", []string{"none"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			r := b.run(append(test.args, "-c", b.write("conf", test.conf), b.write("chunk", "c"))...)
			r.want(t, 1, nil)
			if !strings.Contains(r.stderr, test.want) {
				t.Errorf("got %q, want it to hold %q", r.stderr, test.want)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		match, tag string
		want       bool
	}{
		{"*", "anything", true},
		{"app.*", "app.log", true},
		{"app.*", "app.", true},
		{"app.*", "app", false},
		{"app", "app", true},
		{"app", "app.log", false},
		{"*.log", "a.log.log", true},
		{"*.log", "a.log.txt", false},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "a-c-b", false},
		{"**x", "xyx", true},
	} {
		t.Run(test.match+" and "+test.tag, func(t *testing.T) {
			b := newBench(t)
			r := b.run("-p", "match="+test.match, "-t", test.tag, b.write("chunk", "c"))
			want := map[string]float64{"ok": 1, "unrouted": 0, "chunks": 1}
			if !test.want {
				want = map[string]float64{"ok": 0, "unrouted": 1, "chunks": 1}
			}
			r.want(t, 0, want)
		})
	}
}

func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		exit int
		want map[string]float64
	}{
		{"ok is counted with its bytes", nil, 0, map[string]float64{"ok": 2, "bytes": 5}},
		{"retry is tried again until it is ok", []string{"-p", "retries=5"}, 0, map[string]float64{"ok": 2, "retried": 5, "dropped": 0}},
		{"retry ends at the limit", []string{"-p", "answer=2", "--retry-limit", "3"}, 0, map[string]float64{"ok": 0, "retried": 8, "dropped": 2}},
		{"error drops at once", []string{"-p", "answer=0"}, 0, map[string]float64{"ok": 0, "retried": 0, "dropped": 2}},
		{"another answer is a broken plugin", []string{"-p", "answer=7"}, 2, map[string]float64{"bad_answers": 2, "dropped": 2}},
		{"what cannot be delivered in time is left", []string{"-p", "answer=2", "--seconds", "100ms"}, 0, map[string]float64{"left": 2}},
		{"every chunk is repeated", []string{"--repeat", "4", "--threads", "3", "--scribble"}, 0, map[string]float64{"ok": 8, "chunks": 8, "bytes": 20}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			args := append(test.args, "--retry-delay", "5ms", b.write("1", "abc"), b.write("2", "de"))
			b.run(args...).want(t, test.exit, test.want)
		})
	}
}

func TestThreadsFlushAtTheSameTime(t *testing.T) {
	for _, threads := range []string{"1", "4"} {
		t.Run(threads, func(t *testing.T) {
			b := newBench(t)
			r := b.run("--threads", threads, "--repeat", "40", "-p", "sleep=5", b.write("chunk", "c"))
			r.want(t, 0, map[string]float64{"ok": 40})
			if want := "exit toy running=0 most=" + threads; r.count(want) != 1 {
				t.Errorf("got %q, want %q", r.calls[len(r.calls)-2:], want)
			}
		})
	}
}

func TestTheSummaryHasEveryFigure(t *testing.T) {
	b := newBench(t)
	r := b.run("--wait", "10ms", b.write("chunk", "c"))
	r.want(t, 0, map[string]float64{"chunks": 1, "ok": 1, "retried": 0, "dropped": 0, "left": 0, "skipped": 0, "reloads": 0})
	for _, name := range []string{"flush_p50_ms", "flush_p99_ms", "flush_max_ms", "first_flush_s", "cpu_s", "read_cpu_s", "peak_rss_mib", "wall_s"} {
		if r.summary[name] <= 0 {
			t.Errorf("%s = %v, want more than 0", name, r.summary[name])
		}
	}
	if r.summary["wall_s"] < 0.01 {
		t.Errorf("wall_s = %v, want at least the 10 ms of --wait", r.summary["wall_s"])
	}
}

func TestFramesOnStdin(t *testing.T) {
	whole := encode.Frame(encode.Frame(nil, "app.a", []byte("one")), "b", nil)
	for _, test := range []struct {
		name  string
		stdin []byte
		exit  int
		ok    float64
	}{
		{"are chunks with tags", whole, 0, 2},
		{"may be none", nil, 0, 0},
		{"that break off in a length are an error after the whole ones", append(slices.Clone(whole), 0, 0), 1, 2},
		{"that break off in a tag are an error", whole[:6], 1, 0},
		{"that break off before the chunk are an error", whole[:9], 1, 0},
		{"that break off in a chunk are an error", whole[:14], 1, 0},
		{"with an unlikely length are an error", []byte("not a stream of frames"), 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.stdin = test.stdin
			r := b.run("-")
			r.want(t, test.exit, map[string]float64{"ok": test.ok})
			if (test.exit != 0) != strings.Contains(r.stderr, "read frames from stdin") {
				t.Errorf("stderr %q does not fit exit status %d", r.stderr, test.exit)
			}
		})
	}
}

func TestWritingWhereTheDefinitionHasNoRoomIsAnError(t *testing.T) {
	for _, test := range []struct {
		does, variable, wrote, abi string
		exit                       int
	}{
		{"sets event_type", "TOY_WIDE=1", "wrote at byte 32", "2.1", 2},
		{"sets event_type", "TOY_WIDE=1", "wrote at byte 32", "4.2.3", 0},
		{"sets event_type", "TOY_WIDE=1", "wrote at byte 32", "5.1.1", 0},
		{"sets a table", "TOY_TABLE=1", "wrote at byte 4", "2.1", 2},
		{"sets a table", "TOY_TABLE=1", "wrote at byte 4", "4.2.3", 2},
		{"sets a table", "TOY_TABLE=1", "wrote at byte 4", "5.1.1", 0},
	} {
		t.Run("a plugin that "+test.does+" on "+test.abi, func(t *testing.T) {
			b := newBench(t, test.variable)
			r := b.run("--abi", test.abi, b.write("chunk", "c"))
			r.want(t, test.exit, map[string]float64{"ok": 1})
			if got := strings.Contains(r.stderr, "FLBPluginRegister "+test.wrote); got != (test.exit == 2) {
				t.Errorf("stderr %q", r.stderr)
			}
		})
	}
	t.Run("a plugin that keeps to the short one on 2.1", func(t *testing.T) {
		b := newBench(t)
		b.run("--abi", "2.1", b.write("chunk", "c")).want(t, 0, map[string]float64{"ok": 1})
	})
}

func TestDaemon(t *testing.T) {
	b := newBench(t)
	chunk := b.write("chunk", "c")
	t.Run("a plugin without threads works after the fork", func(t *testing.T) {
		b.run("--daemon", chunk).want(t, 0, map[string]float64{"ok": 1})
	})
	t.Run("a plugin that hangs is ended", func(t *testing.T) {
		b.run("--daemon=1s", "-p", "fail=hang", chunk).want(t, 3, nil)
	})
}
