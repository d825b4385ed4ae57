// Package packages installs, starts and removes what make release has made in dist/.
package packages

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"out_amberflo/test/fluentbit"
)

const root = "../.."

// built gives the one file in dist/ that a pattern names, or skips.
func built(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "dist", pattern))
	if err != nil || len(files) != 1 {
		t.Skipf("want one dist/%s, got %d: make release makes it, on Linux", pattern, len(files))
	}
	file, err := filepath.Abs(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s on PATH", name)
	}
	return path
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// The files of both packages; a directory ends with a slash.
var wanted = []string{
	"/etc/fluent-bit/amberflo/amberflo-parsers.conf", "/etc/fluent-bit/amberflo/environment",
	"/etc/fluent-bit/amberflo/fluent-bit.conf", "/etc/fluent-bit/amberflo/plugins.conf",
	"/usr/bin/meterctl", "/usr/lib/fluent-bit-amberflo/out_amberflo.so",
	"/usr/lib/systemd/system/fluent-bit.service.d/amberflo.conf",
	"/usr/share/bash-completion/completions/meterctl",
	"/usr/share/doc/fluent-bit-amberflo/LICENSE", "/usr/share/doc/fluent-bit-amberflo/README.md", "/usr/share/doc/fluent-bit-amberflo/copyright",
	"/usr/share/doc/fluent-bit-amberflo/meterctl.cdx.json", "/usr/share/doc/fluent-bit-amberflo/out_amberflo.so.cdx.json",
	"/usr/share/fish/vendor_completions.d/meterctl.fish", "/usr/share/man/man1/meterctl.1.gz",
}

// Where zsh looks for completions.
const (
	zshOfDebian = "/usr/share/zsh/vendor-completions/_meterctl"
	zshOfOthers = "/usr/share/zsh/site-functions/_meterctl"
)

func wantFiles(t *testing.T, found []string, more ...string) {
	t.Helper()
	wanted := append(slices.Clone(wanted), more...)
	slices.Sort(wanted)
	found = slices.DeleteFunc(found, func(f string) bool { return strings.Contains(f, "/examples/") })
	slices.Sort(found)
	if !slices.Equal(found, wanted) {
		t.Errorf("files\n%s\nwant\n%s", strings.Join(found, "\n"), strings.Join(wanted, "\n"))
	}
}

// below lists the files of a root file system but dpkg's own.
func below(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, dir)
		if err == nil && !d.IsDir() && !strings.HasPrefix(name, "/var/lib/dpkg/") {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestTheDebIsInstalledStartedAndRemoved(t *testing.T) {
	deb := built(t, "*_"+runtime.GOARCH+".deb")
	dpkg := tool(t, "dpkg")
	dir := t.TempDir()
	for _, d := range []string{"info", "updates", "triggers"} {
		if err := os.MkdirAll(filepath.Join(dir, "var/lib/dpkg", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "var/lib/dpkg/status"), "")
	// There is no C library to depend on in that root, and no shell to run scripts with.
	options := []string{"--root=" + dir, "--force-not-root", "--force-depends", "--force-script-chrootless"}
	install := func() { run(t, dpkg, append(options, "--install", deb)...) }

	install()
	wantFiles(t, below(t, dir), zshOfDebian)
	environment := filepath.Join(dir, "etc/fluent-bit/amberflo/environment")
	if info, err := os.Stat(environment); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v: want the file that may hold credentials for root alone", info.Mode(), err)
	}
	if said := run(t, filepath.Join(dir, "usr/bin/meterctl"), "-h"); !strings.Contains(said, "retry-rejected") {
		t.Errorf("meterctl -h says %q", said)
	}
	t.Run("started", func(t *testing.T) { start(t, dir) })

	const mine = "AMBERFLO_BUCKET=mine\n"
	write(t, environment, mine)
	install()
	if got, err := os.ReadFile(environment); err != nil || string(got) != mine {
		t.Errorf("after an upgrade the configuration is %q, %v", got, err)
	}
	run(t, dpkg, append(options, "--remove", "fluent-bit-amberflo")...)
	if files := below(t, dir); !slices.ContainsFunc(files, func(f string) bool { return f == "/etc/fluent-bit/amberflo/environment" }) || len(files) != 4 {
		t.Errorf("want the configuration kept when the package is removed, got %q", files)
	}
	run(t, dpkg, append(options, "--purge", "fluent-bit-amberflo")...)
	if files := below(t, dir); len(files) > 0 {
		t.Errorf("want nothing left after a purge, got %q", files)
	}
}

// start runs Fluent Bit with what is installed below dir.
func start(t *testing.T, dir string) {
	program, port := fluentbit.Needed(t), fluentbit.Port(t)
	work := t.TempDir()
	if err := os.Mkdir(filepath.Join(work, "amberflo"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fluent-bit.conf", "plugins.conf", "amberflo-parsers.conf"} {
		text, err := os.ReadFile(filepath.Join(dir, "etc/fluent-bit/amberflo", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(work, "amberflo", name), strings.NewReplacer("/etc/fluent-bit/", work+"/", "/usr/lib/", dir+"/usr/lib/", " 2020", " "+port,
			"    region  ", "    startup_check off\n    endpoint http://127.0.0.1:1\n    region  ", "0.0.0.0", "127.0.0.1").Replace(string(text)))
	}
	// As docker/packages/README.md has it.
	write(t, filepath.Join(work, "fluent-bit.conf"), "@INCLUDE amberflo/fluent-bit.conf\n")
	cmd := exec.Command(program, "-c", filepath.Join(work, "fluent-bit.conf"))
	cmd.Env = append(os.Environ(), "AMBERFLO_BUCKET=b", "AMBERFLO_REGION=us-west-2", "AMBERFLO_LOG_PATH="+work+"/*.log", "FLUENT_BIT_STATE_DIR="+work,
		"AMBERFLO_STORE_DIR="+work+"/spool", "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b")
	p, err := fluentbit.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Until(30*time.Second, "its metrics", func() bool {
		all, err := fluentbit.Metrics(fluentbit.MetricsURL(port))
		return err == nil && len(all) > 0
	}), p.Stop(30*time.Second)); err != nil {
		t.Error(err)
	}
}

func TestTheRpmHoldsTheSame(t *testing.T) {
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	file := built(t, "*."+arch+".rpm")
	rpm := tool(t, "rpm")
	query := func(args ...string) string {
		return run(t, rpm, append([]string{"--query", "--package", file}, args...)...)
	}
	wantFiles(t, strings.Fields(query("--list")), zshOfOthers)
	if got, want := strings.Fields(query("--configfiles")), wanted[:4]; !slices.Equal(got, want) {
		t.Errorf("configuration %q, want %q", got, want)
	}
	if got := query("--queryformat", "%{NAME} %{ARCH} %{BUILDHOST}"); got != "fluent-bit-amberflo "+arch+" localhost" {
		t.Errorf("it is %q", got)
	}
	if got := query("--requires"); !strings.Contains(got, "glibc >= 2.17") {
		t.Errorf("it requires %q", got)
	}
	run(t, rpm, "--checksig", "--nosignature", file)
	dir := t.TempDir()
	unpack := exec.Command("/bin/sh", "-c", fmt.Sprintf("rpm2cpio %s | cpio --quiet --no-absolute-filenames -id 2>/dev/null", file))
	unpack.Dir = dir
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Skipf("want rpm2cpio and cpio to look further: %v %s", err, out)
	}
	wantFiles(t, below(t, dir), zshOfOthers)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
