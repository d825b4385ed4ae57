package conf

import (
	"cmp"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// instruction is one of a Dockerfile, with its continued lines joined and without comments.
type instruction struct{ name, args string }

// stage is what stands between two FROMs.
type stage struct {
	name, image  string
	instructions []instruction
}

func (s stage) all(name string) (args []string) {
	for _, i := range s.instructions {
		if i.name == name {
			args = append(args, i.args)
		}
	}
	return args
}

func (s stage) last(name string) string {
	return cmp.Or(append([]string{""}, s.all(name)...)[len(s.all(name))])
}

// parseDockerfile also replaces the arguments in front of the first FROM by their defaults.
func parseDockerfile(t *testing.T, file string) (stages []stage) {
	t.Helper()
	var text []string
	for line := range strings.Lines(string(read(t, root, file))) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			text = append(text, line)
		}
	}
	defaults := map[string]string{}
	for _, line := range strings.Split(strings.ReplaceAll(strings.Join(text, "\n"), "\\\n", " "), "\n") {
		name, args, _ := strings.Cut(line, " ")
		args = strings.TrimSpace(args)
		switch {
		case name == "FROM":
			from := strings.Fields(args)
			if strings.HasPrefix(from[0], "--platform=") {
				from = from[1:]
			}
			image := os.Expand(from[0], func(arg string) string { return defaults[arg] })
			s := stage{image: image}
			if len(from) == 3 && from[1] == "AS" {
				s.name = from[2]
			}
			stages = append(stages, s)
		case len(stages) == 0 && name == "ARG":
			arg, value, _ := strings.Cut(args, "=")
			defaults[arg] = value
		case len(stages) == 0:
			t.Errorf("%s: %s before the first FROM", file, name)
		default:
			s := &stages[len(stages)-1]
			s.instructions = append(s.instructions, instruction{name, args})
		}
	}
	return stages
}

// copied gives the sources of a COPY, and the stage they are from.
func copied(args string) (from string, sources []string) {
	for _, arg := range strings.Fields(args) {
		if stage, ok := strings.CutPrefix(arg, "--from="); ok {
			from = stage
		} else if !strings.HasPrefix(arg, "--") {
			sources = append(sources, arg)
		}
	}
	return from, sources[:len(sources)-1]
}

// Nothing here can run a registry's images, so that the files are checked by their stages.
func TestDockerfiles(t *testing.T) {
	pinned := regexp.MustCompile(`^[a-z/-]+:\d+\.\d+\.\d+(-[a-z]+)?$`)
	for _, file := range []string{"docker/Dockerfile", "docker/trial.Dockerfile"} {
		t.Run(file, func(t *testing.T) {
			ignore := string(read(t, root, file+".dockerignore"))
			var names []string
			for _, s := range parseDockerfile(t, file) {
				if s.image != "scratch" && !slices.Contains(names, s.image) && !pinned.MatchString(s.image) {
					t.Errorf("FROM %s: want an image with a whole version", s.image)
				}
				for _, args := range append(s.all("COPY"), s.all("ADD")...) {
					from, sources := copied(args)
					if from != "" && !slices.Contains(names, from) {
						t.Errorf("COPY %s: want an earlier stage, got %s", args, from)
					}
					for _, source := range sources {
						if from != "" {
							continue
						}
						if _, err := os.Stat(filepath.Join(root, source)); err != nil {
							t.Errorf("COPY %s: %v", args, err)
						}
						if !strings.Contains(ignore, "\n!"+path.Clean(source)+"\n") {
							t.Errorf("COPY %s: %s.dockerignore hides %s", args, file, source)
						}
					}
				}
				if s.name != "build" {
					if user := s.last("USER"); user != "65532:65532" {
						t.Errorf("stage %q runs as %q, want 65532:65532", s.name, user)
					}
					// In the exec form, because no image has a shell.
					for _, name := range []string{"ENTRYPOINT", "CMD"} {
						if args := s.last(name); args != "" && args[0] != '[' {
							t.Errorf("stage %q: %s %s, want the exec form", s.name, name, args)
						}
					}
					if len(s.all("RUN")) > 0 {
						t.Errorf("stage %q has a RUN, which needs a shell", s.name)
					}
				}
				names = append(names, s.name)
			}
		})
	}
}

func TestTheImageIsFluentBitsWithThePluginLoaded(t *testing.T) {
	stages := parseDockerfile(t, "docker/Dockerfile")
	last := stages[len(stages)-1]
	if want := "fluent/fluent-bit:5.1.1"; last.image != want {
		t.Errorf("the last stage is from %s, want %s", last.image, want)
	}
	if got, want := last.last("ENTRYPOINT"), `["/fluent-bit/bin/fluent-bit", "-e", "/fluent-bit/bin/out_amberflo.so"]`; got != want {
		t.Errorf("ENTRYPOINT %s, want %s", got, want)
	}
	if got, want := stages[0].image, "golang:"+goLine.FindStringSubmatch(string(read(t, root, "go.mod")))[1]; !strings.HasPrefix(got, want) {
		t.Errorf("the first stage is from %s, want %s, the Go of go.mod", got, want)
	}
	// The image's own parsers are what a configuration from elsewhere counts on.
	if _, err := os.Stat(filepath.Join(root, "conf/parsers.conf")); err == nil {
		t.Error("conf/parsers.conf would replace Fluent Bit's own in the image")
	}
	if env := strings.Join(last.all("ENV"), " "); !strings.Contains(env, "AMBERFLO_STORE_DIR="+last.last("VOLUME")+"/") {
		t.Errorf("the spool is not on the volume %s: %s", last.last("VOLUME"), env)
	}
}

var goLine = regexp.MustCompile(`(?m)^go (\d+\.\d+)`)

// What the Dockerfile copies has to be enough for what it builds.
func TestTheImageBuildsFromWhatIsCopied(t *testing.T) {
	for _, test := range []struct {
		file  string
		build []string
		makes []string
	}{
		{"docker/Dockerfile", []string{"make", "VERSION=test", "out_amberflo.so", "bin/meterctl"}, []string{"out_amberflo.so", "bin/meterctl"}},
		{"docker/trial.Dockerfile", []string{"go", "build", "-trimpath", "-o", "bin/", "./test/s3server/cmd/s3server",
			"./test/amberflo/cmd/amberflo-standin", "./test/accesslog/cmd/accesslog"}, []string{"bin/s3server", "bin/amberflo-standin", "bin/accesslog"}},
	} {
		t.Run(test.file, func(t *testing.T) {
			dir := t.TempDir()
			for _, args := range parseDockerfile(t, test.file)[0].all("COPY") {
				_, sources := copied(args)
				for _, source := range sources {
					copyTree(t, filepath.Join(root, source), filepath.Join(dir, source))
				}
			}
			cmd := exec.Command(test.build[0], test.build[1:]...)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", strings.Join(test.build, " "), err, out)
			}
			for _, name := range test.makes {
				if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// copyTree leaves out what the .dockerignore files leave out of every directory.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(name string, entry os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == "testdata":
			return filepath.SkipDir
		case entry.IsDir() || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		target := filepath.Join(to, strings.TrimPrefix(name, from))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(target, read(t, name), info.Mode())
	})
	if err != nil {
		t.Fatal(err)
	}
}
