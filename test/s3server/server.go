// Package s3server runs versitygw, a real S3 server that checks signatures and bucket
// policies, as a child process for tests and the demo.
//
// It plays the bucket as Amberflo grants it: the root account owns the bucket, and a second
// user, the writer, may only put, and only with the ACL bucket-owner-full-control. Objects,
// users and policy lie in one directory and survive a restart on it. Linux only.
package s3server

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// ErrNotBuilt says that there is no versitygw to start; the error around it says how to get it.
var ErrNotBuilt = errors.New("versitygw is not built")

// Credentials are an S3 access key.
type Credentials struct{ AccessKey, SecretKey string }

// The accounts are the same on every server, so that a restart finds its own.
var (
	owner  = Credentials{"AKIDBUCKETOWNER00001", "secret-of-the-bucket-owner"}
	writer = Credentials{"AKIDMETERWRITER00001", "secret-of-the-meter-writer"}
)

// Options say how to start a server; the zero value is a fresh one on a port of the kernel's choice.
type Options struct {
	Binary      string // default: $VERSITYGW, then bin/versitygw in this directory or one above it
	Dir         string // default: a temporary directory that Stop removes
	Bucket      string // default: 183-amberflo
	Region      string // default: us-west-2
	Listen      string // IPv4 host:port; default: 127.0.0.1:0
	AccessLog   string // file for one line per request in AWS's format; default: none
	ReadReports bool   // the policy is PutAndReportsPolicy instead of PutPolicy
}

// Server is a running server. Its methods are safe for concurrent use.
type Server struct {
	Endpoint string // http://host:port
	Addr     string // host:port, fit for Options.Listen of a restart
	Region   string
	Bucket   string
	Dir      string
	Owner    Credentials // may do everything
	Writer   Credentials // may do what the bucket's policy says

	binary  string
	process *exec.Cmd
	done    chan struct{} // closed when the process has ended
	stop    func() error
}

// Start starts the server with its bucket, writer and policy, and returns once it answers.
// ctx bounds the start only. The caller calls Stop; if the caller's process dies, the kernel
// kills the server.
func Start(ctx context.Context, o Options) (*Server, error) {
	binary, err := findBinary(o.Binary)
	if err != nil {
		return nil, err
	}
	dir, temporary := o.Dir, o.Dir == ""
	if temporary {
		if dir, err = os.MkdirTemp("", "s3server"); err != nil {
			return nil, err
		}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	s := &Server{
		Region: cmp.Or(o.Region, "us-west-2"),
		Bucket: cmp.Or(o.Bucket, "183-amberflo"),
		Dir:    dir,
		Owner:  owner,
		Writer: writer,
		binary: binary,
		done:   make(chan struct{}),
	}
	s.stop = sync.OnceValue(func() error {
		err := s.end()
		if temporary {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		return err
	})
	if err := s.launch(cmp.Or(o.Listen, "127.0.0.1:0"), o.AccessLog); err != nil {
		if temporary {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		return nil, err
	}
	if err := s.setUp(ctx, o); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// findBinary looks upwards because tests run in their package's directory.
func findBinary(given string) (string, error) {
	if given = cmp.Or(given, os.Getenv("VERSITYGW")); given != "" {
		return exec.LookPath(given)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if found, err := exec.LookPath(filepath.Join(dir, "bin", "versitygw")); err == nil {
			return found, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("%w: at the top of the repository run go build -C test/tools/versitygw -o ../../../bin/versitygw github.com/versity/versitygw/cmd/versitygw, or name one in VERSITYGW", ErrNotBuilt)
		}
		dir = parent
	}
}

func (s *Server) path(name string) string { return filepath.Join(s.Dir, name) }

func (s *Server) launch(listen, accessLog string) error {
	for _, name := range []string{"data", "meta", "iam"} {
		if err := os.MkdirAll(s.path(name), 0o755); err != nil {
			return err
		}
	}
	log, err := os.Create(s.path("server.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("listen address: %w", err)
	}
	args := []string{"--quiet", "--port", listen, "--region", s.Region, "--iam-dir", s.path("iam"), "--health", "/healthz", "--keep-alive"}
	if accessLog != "" {
		if accessLog, err = filepath.Abs(accessLog); err != nil {
			return err
		}
		args = append(args, "--access-log", accessLog)
	}
	// A sidecar, because not every file system of a test machine has extended attributes.
	s.process = exec.Command(s.binary, append(args, "posix", "--sidecar", s.path("meta"), s.path("data"))...)
	s.process.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.Owner.AccessKey, "ROOT_SECRET_KEY="+s.Owner.SecretKey)
	s.process.Stdout, s.process.Stderr = log, log
	// A group of its own, so that Ctrl-C reaches it through Stop only.
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := s.process.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.binary, err)
	}
	go func() {
		_ = s.process.Wait() // its state tells the rest
		close(s.done)
	}()
	s.Addr = net.JoinHostPort(host, port)
	return nil
}

func (s *Server) setUp(ctx context.Context, o Options) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := s.waitReady(ctx); err != nil {
		return err
	}
	if err := s.createWriter(ctx); err != nil {
		return err
	}
	if err := s.CreateBucket(ctx, s.Bucket); err != nil {
		return err
	}
	policy := s.PutPolicy()
	if o.ReadReports {
		policy = s.PutAndReportsPolicy()
	}
	return s.SetPolicy(ctx, policy)
}

// waitReady waits until the server has a port and answers on it.
func (s *Server) waitReady(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.done:
			return s.died()
		case <-ctx.Done():
			return fmt.Errorf("wait until versitygw answers: %w (last: %w)", ctx.Err(), err)
		}
	}
}

func (s *Server) probe(ctx context.Context) error {
	port, err := listeningPort(s.process.Process.Pid)
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	addr := net.JoinHostPort(host, fmt.Sprint(port))
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	endpoint := "http://" + net.JoinHostPort(host, fmt.Sprint(port))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/healthz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", req.URL, resp.Status)
	}
	s.Addr, s.Endpoint = addr, endpoint
	return nil
}

func (s *Server) createWriter(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, s.binary, "admin", "--region", s.Region, "--endpoint-url", s.Endpoint,
		"create-user", "--access", s.Writer.AccessKey, "--secret", s.Writer.SecretKey, "--role", "user")
	cmd.Env = append(os.Environ(), "ADMIN_ACCESS_KEY="+s.Owner.AccessKey, "ADMIN_SECRET_KEY="+s.Owner.SecretKey)
	out, err := cmd.CombinedOutput()
	if err != nil && !bytes.Contains(out, []byte("XAdminUserExists")) {
		return fmt.Errorf("create user %s: %w: %s", s.Writer.AccessKey, err, out)
	}
	return nil
}

// Stop ends the server and waits for its end; further calls give the same answer. It is an
// error if the server had ended before.
func (s *Server) Stop() error { return s.stop() }

// Done is closed when the server has ended, by Stop or by itself.
func (s *Server) Done() <-chan struct{} { return s.done }

func (s *Server) end() error {
	select {
	case <-s.done:
		return s.died()
	default:
	}
	_ = s.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(3 * time.Second):
		_ = s.process.Process.Kill()
		<-s.done
	}
	return nil
}

func (s *Server) died() error {
	log, _ := os.ReadFile(s.path("server.log"))
	return fmt.Errorf("versitygw ended by itself (%s): %s", s.process.ProcessState, bytes.TrimSpace(log))
}
