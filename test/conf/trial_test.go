package conf

import (
	"bufio"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/fluentbit"
)

// trial is go run ./test/s3server/cmd/s3server, as the README has it.
type trial struct {
	cmd  *exec.Cmd
	env  map[string]string // what it exports
	said string            // on standard error, until it was ready
}

func startTrial(t *testing.T, log string) *trial {
	t.Helper()
	r := &trial{cmd: exec.Command("go", "run", "./test/s3server/cmd/s3server", "-log", log), env: map[string]string{}}
	r.cmd.Dir = root
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	out, err := os.Create(filepath.Join(t.TempDir(), "trial.env"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	r.cmd.Stdout = out
	said, err := r.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL) })
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		r.said += lines.Text() + "\n"
		if strings.HasSuffix(lines.Text(), " -once") { // its last line
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, said) }()
	for line := range strings.Lines(string(read(t, out.Name()))) {
		m := regexp.MustCompile(`^export (\w+)='(.*)'\n$`).FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("it prints %q, want a line of a shell's exports", line)
		}
		r.env[m[1]] = m[2]
	}
	return r
}

func (r *trial) environ() []string {
	env := os.Environ()
	for name, value := range r.env {
		env = append(env, name+"="+value)
	}
	return env
}

// servers are the S3 servers of a trial that still run.
func (r *trial) servers(t *testing.T) (pids []string) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range lines {
		if line, err := os.ReadFile(name); err == nil && strings.Contains(string(line), filepath.Dir(r.env["FLUENT_BIT_STATE_DIR"])+"/") && strings.Contains(string(line), "versitygw") {
			pids = append(pids, filepath.Base(filepath.Dir(name)))
		}
	}
	return pids
}

func TestTheTrialExportsWhatConfigurationsRead(t *testing.T) {
	want := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(root, "conf/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		for _, m := range regexp.MustCompile(`\$\{([A-Z_]+)\}`).FindAllStringSubmatch(string(read(t, file)), -1) {
			want[m[1]] = true
		}
	}
	r := startTrial(t, "some.log")
	got := maps.Clone(r.env)
	maps.DeleteFunc(got, func(name, _ string) bool { return strings.HasPrefix(name, "AWS_") }) // the SDK's own
	for name := range want {
		if r.env[name] == "" {
			t.Errorf("%s is in conf/, and s3server does not export it", name)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("s3server exports %s, which is not in conf/", name)
	}
	if got, want := r.env["AMBERFLO_LOG_PATH"], filepath.Join(root, "some.log"); got != want {
		t.Errorf("the log is %s, want %s", got, want)
	}
}

func TestTheTrialEndsWhatItStarted(t *testing.T) {
	for _, end := range []struct {
		name   string
		signal func(pid int) error
	}{
		{"SIGTERM to go run, which does not hand it on", func(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) }},
		{"Ctrl-C", func(pid int) error { return syscall.Kill(-pid, syscall.SIGINT) }},
	} {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			r := startTrial(t, "some.log")
			if n := len(r.servers(t)); n != 1 {
				t.Fatalf("%d servers run, want 1", n)
			}
			if err := end.signal(r.cmd.Process.Pid); err != nil {
				t.Fatal(err)
			}
			_ = r.cmd.Wait() // by the signal
			var err error
			if !fluentbit.Until(patience, func() bool {
				_, err = os.Stat(r.env["FLUENT_BIT_STATE_DIR"])
				return os.IsNotExist(err) && len(r.servers(t)) == 0
			}) {
				t.Fatalf("after %s: the directory %v, servers %q, want neither", patience, err, r.servers(t))
			}
		})
	}
}

// The README's way for a log of one's own, but for the port on which Fluent Bit serves its metrics.
func TestTheTrialMetersALogOfOnesOwn(t *testing.T) {
	program := fluentbit.Needed(t)
	s := newSite(t)
	log, err := os.Create(s.path("own.log"))
	if err != nil {
		t.Fatal(err)
	}
	truth, err := accesslog.WriteLines(log, accesslog.Options{Lines: 300, Seed: 5, Start: time.Now().Add(-time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	r := startTrial(t, s.path("own.log"))
	conf := strings.Replace(string(read(t, root, "conf/access-log.conf")), " 2020\n", " "+s.ports["2020"]+"\n", 1)
	s.write("access-log.conf", conf)
	s.write("amberflo-parsers.conf", string(read(t, root, "conf/amberflo-parsers.conf")))

	s.env = r.environ()
	p := s.start(program, "-e", built(t, "out_amberflo.so"), "-c", s.path("access-log.conf"))
	s.must(p.Until(patience, "600 records accepted", func() bool { return acceptedIn(r.env["AMBERFLO_STORE_DIR"]) >= 600 }))
	s.must(p.Stop(patience)) // shutdown uploads what is open

	// The last two lines of what it says are the command that shows the bill.
	_, bill, found := strings.Cut(r.said, "makes:\n")
	if !found {
		t.Fatalf("it does not say how to see the bill:\n%s", r.said)
	}
	show := exec.Command("sh", "-c", bill)
	show.Dir, show.Env = root, r.environ()
	shown, err := show.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", bill, err, shown)
	}
	if want := regexp.MustCompile(`\b600 records in the bucket: 600 billed`); !want.Match(shown) {
		t.Errorf("of %d lines with two meters each the bill says\n%s\nFluent Bit said\n%s", truth.Metered, shown, p.Log)
	}
}
