// Command s3server runs a local S3 server with a bucket as Amberflo grants it, to try the plugin by hand.
//
// It builds versitygw if that is missing, prints the environment of the configurations in conf/ as shell lines on standard
// output and what to type next on standard error, and runs until SIGINT or SIGTERM. Then it ends what it started.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"out_amberflo/test/s3server"
)

func main() {
	var o s3server.Options
	flag.StringVar(&o.Dir, "dir", "", "directory of the server, kept (default: a temporary one, removed at the end)")
	flag.StringVar(&o.Bucket, "bucket", "", "bucket (default 183-amberflo)")
	flag.StringVar(&o.Region, "region", "", "region (default us-west-2)")
	flag.StringVar(&o.Listen, "listen", "", "IPv4 address and port (default: a free port of 127.0.0.1)")
	flag.StringVar(&o.AccessLog, "access-log", "", "file for one line per request")
	flag.BoolVar(&o.ReadReports, "reports", true, "let the writer list and get below failed-requests/")
	log := flag.String("log", "access.log", "the log to meter, as AMBERFLO_LOG_PATH; may hold *")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "want flags only, got %q\n", flag.Args())
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if err := run(untilParentEnds(ctx), o, *log, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "s3server:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o s3server.Options, log string, stdout, stderr io.Writer) error {
	s, err := s3server.Start(ctx, o)
	if errors.Is(err, s3server.ErrNotBuilt) {
		if err = build(ctx, stderr); err != nil {
			return err
		}
		s, err = s3server.Start(ctx, o)
	}
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	err = tell(s, log, stdout, stderr)
	if err == nil {
		select {
		case <-ctx.Done():
		case <-s.Done():
		}
	}
	return errors.Join(err, s.Stop())
}

// tell prints the environment, and what to do with it.
func tell(s *s3server.Server, log string, stdout, stderr io.Writer) error {
	state := filepath.Join(s.Dir, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return err
	}
	log, err := filepath.Abs(log)
	if err != nil {
		return err
	}
	env := append(s.Env(s.Writer),
		"AWS_ENDPOINT_URL="+s.Endpoint,
		"AMBERFLO_BUCKET="+s.Bucket,
		"AMBERFLO_REGION="+s.Region,
		"AMBERFLO_STORE_DIR="+filepath.Join(state, "amberflo"),
		"AMBERFLO_LOG_PATH="+log,
		"FLUENT_BIT_STATE_DIR="+state,
		"HIGH_MOBILITY_APP_ID=9FBBEDED80595912588FF4FF")
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		fmt.Fprintf(stdout, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
	}
	_, err = fmt.Fprintf(stderr, `
The bucket %s is at %s, until Ctrl-C. In another terminal, with the variables that went to standard output, and after
make has built the plugin:

    fluent-bit -e ./out_amberflo.so -c conf/access-log.conf

meters %s. What reached the bucket, and the bill that it makes:

    AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=%s \
        go run ./test/amberflo/cmd/amberflo-standin -bucket %s -once
`, s.Bucket, s.Endpoint, log, s.Owner.AccessKey, s.Owner.SecretKey, s.Bucket)
	return err
}

// build runs make bin/versitygw at the top of the repository, which says what it does and shows that it is alive.
func build(ctx context.Context, stderr io.Writer) error {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("%w, and the repository that builds it is not found: %w", s3server.ErrNotBuilt, err)
	}
	cmd := exec.CommandContext(ctx, "make", "--no-print-directory", "-C", filepath.Dir(strings.TrimSpace(string(mod))), "bin/versitygw")
	cmd.Stdout, cmd.Stderr = stderr, stderr
	// A group of its own, because make does not end what its commands started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("build versitygw: %w", err)
	}
	return nil
}

// untilParentEnds also ends with go run, which does not hand SIGTERM on to the program that it runs.
func untilParentEnds(ctx context.Context) context.Context {
	parent := os.Getppid()
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", parent))
	if err != nil || strings.TrimSpace(string(name)) != "go" {
		return ctx
	}
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for os.Getppid() == parent {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return ctx
}
