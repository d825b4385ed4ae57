package s3server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// TestMain lets the test's own program be the parent that is killed.
func TestMain(m *testing.M) {
	if os.Getenv("S3SERVER_TEST_PARENT") == "" {
		os.Exit(m.Run())
	}
	s, err := Start(context.Background(), Options{Dir: os.Getenv("S3SERVER_TEST_PARENT")})
	if err != nil {
		panic(err)
	}
	fmt.Println(s.process.Process.Pid)
	select {}
}

func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if errors.Is(err, ErrNotBuilt) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// status is the HTTP status of an answer.
func status(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return http.StatusOK
	}
	answer := (*awshttp.ResponseError)(nil)
	if !errors.As(err, &answer) {
		t.Fatal(err)
	}
	return answer.HTTPStatusCode()
}

func put(ctx context.Context, client *s3.Client, bucket, key string, acl types.ObjectCannedACL) error {
	_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader("body of " + key), ACL: acl})
	return err
}

const fullControl = types.ObjectCannedACLBucketOwnerFullControl

func TestTheWriterMayOnlyPutForTheOwner(t *testing.T) {
	s := start(t, Options{})
	forged := s.Writer
	forged.SecretKey += "x"
	elsewhere := *s
	elsewhere.Region = "eu-central-1"
	get := func(client *s3.Client, key string) error {
		_, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &s.Bucket, Key: &key})
		return err
	}
	list := func(client *s3.Client, prefix string) error {
		_, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &s.Bucket, Prefix: &prefix})
		return err
	}
	writer := s.Client(s.Writer)
	for _, test := range []struct {
		name string
		do   func() error
		want int
	}{
		{"with the ACL it may", func() error { return put(t.Context(), writer, s.Bucket, "a/with", fullControl) }, 200},
		{"without an ACL it may not", func() error { return put(t.Context(), writer, s.Bucket, "a/without", "") }, 403},
		{"with another ACL it may not", func() error {
			return put(t.Context(), writer, s.Bucket, "a/other", types.ObjectCannedACLPublicRead)
		}, 403},
		{"with a wrong secret it may not", func() error { return put(t.Context(), s.Client(forged), s.Bucket, "a/forged", fullControl) }, 403},
		{"with a wrong region it may not", func() error {
			return put(t.Context(), elsewhere.Client(s.Writer), s.Bucket, "a/elsewhere", fullControl)
		}, 400},
		{"into no bucket it may not", func() error { return put(t.Context(), writer, "no-such-bucket", "a/b", fullControl) }, 404},
		{"it may not read what it wrote", func() error { return get(writer, "a/with") }, 403},
		{"it may not list", func() error { return list(writer, "failed-requests/") }, 403},
		{"the owner may read it", func() error { return get(s.Client(s.Owner), "a/with") }, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := status(t, test.do()); got != test.want {
				t.Errorf("status %d, want %d", got, test.want)
			}
		})
	}
	objects, err := s.Objects(t.Context())
	if err != nil || len(objects) != 1 || objects[0].Key != "a/with" || objects[0].Size != int64(len("body of a/with")) {
		t.Errorf("objects %v, %v; want a/with alone", objects, err)
	}

	t.Run("it may read reports where the policy says so", func(t *testing.T) {
		if err := s.SetPolicy(t.Context(), s.PutAndReportsPolicy()); err != nil {
			t.Fatal(err)
		}
		if err := put(t.Context(), s.Client(s.Owner), s.Bucket, "failed-requests/x.reason.txt", ""); err != nil {
			t.Fatal(err)
		}
		for what, test := range map[string]struct {
			err  error
			want int
		}{
			"list reports":       {list(writer, "failed-requests/"), 200},
			"list the rest":      {list(writer, "ingest/"), 403},
			"get a report":       {get(writer, "failed-requests/x.reason.txt"), 200},
			"get an object":      {get(writer, "a/with"), 403},
			"put with the ACL":   {put(t.Context(), writer, s.Bucket, "a/again", fullControl), 200},
			"put without an ACL": {put(t.Context(), writer, s.Bucket, "a/again", ""), 403},
		} {
			if got := status(t, test.err); got != test.want {
				t.Errorf("%s: status %d, want %d", what, got, test.want)
			}
		}
	})
	t.Run("without a policy it may nothing", func(t *testing.T) {
		if err := s.SetPolicy(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		if got := status(t, put(t.Context(), writer, s.Bucket, "a/with", fullControl)); got != 403 {
			t.Errorf("status %d, want 403", got)
		}
	})
}

func TestARestartKeepsObjectsUsersAndPort(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir, AccessLog: filepath.Join(dir, "access.log")})
	if err := put(t.Context(), s.Client(s.Writer), s.Bucket, "before", fullControl); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	again := start(t, Options{Dir: dir, Listen: s.Addr})
	if again.Endpoint != s.Endpoint {
		t.Errorf("endpoint %s, want that of before, %s", again.Endpoint, s.Endpoint)
	}
	if err := put(t.Context(), again.Client(again.Writer), again.Bucket, "after", fullControl); err != nil {
		t.Error(err)
	}
	for _, key := range []string{"before", "after"} {
		if body, err := again.Get(t.Context(), key); err != nil || string(body) != "body of "+key {
			t.Errorf("%s: %q, %v", key, body, err)
		}
	}
	log, err := os.ReadFile(filepath.Join(dir, "access.log"))
	if err != nil || !bytes.Contains(log, []byte("before")) {
		t.Errorf("access log %q, %v; want a line for the object", log, err)
	}
}

func TestServersRunSideBySide(t *testing.T) {
	a, b := start(t, Options{}), start(t, Options{Bucket: "another-bucket", Region: "eu-west-1"})
	if a.Endpoint == b.Endpoint || a.Dir == b.Dir {
		t.Fatalf("both on %s in %s", a.Endpoint, a.Dir)
	}
	if err := put(t.Context(), b.Client(b.Writer), b.Bucket, "x", fullControl); err != nil {
		t.Error(err)
	}
}

func TestATakenPortIsAnErrorWithTheServersReason(t *testing.T) {
	s := start(t, Options{})
	if other, err := Start(t.Context(), Options{Listen: s.Addr}); err == nil {
		_ = other.Stop()
		t.Error("two servers on one port")
	} else if !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v, want the reason", err)
	}
}

func TestStopLeavesNoDirectoryAndNoProcess(t *testing.T) {
	s := start(t, Options{})
	pid := s.process.Process.Pid
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", pid, err)
	}
	if _, err := os.Stat(s.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", s.Dir, err)
	}
}

func TestTheServerDiesWithItsParent(t *testing.T) {
	start(t, Options{}) // skips without the program
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(program)
	parent.Env = append(os.Environ(), "S3SERVER_TEST_PARENT="+t.TempDir())
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 32)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	running := func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err == nil && !bytes.Contains(stat, []byte(") Z ")) // a zombie waits only for init
	}
	for deadline := time.Now().Add(10 * time.Second); running(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("server %d outlived its parent", pid)
		}
	}
}

func TestEnvLeavesNothingToTheMachine(t *testing.T) {
	s := &Server{Region: "us-west-2", Endpoint: "http://127.0.0.1:1"}
	env := s.Env(Credentials{"id", "secret"})
	for _, want := range []string{"AWS_ACCESS_KEY_ID=id", "AWS_SECRET_ACCESS_KEY=secret", "AWS_REGION=us-west-2", "AWS_PROFILE=", "AWS_CA_BUNDLE="} {
		if !slices.Contains(env, want) {
			t.Errorf("%q lacks %q", env, want)
		}
	}
	if got := aws.ToString(s.Client(s.Owner).Options().BaseEndpoint); got != s.Endpoint {
		t.Errorf("client's endpoint %q, want %q", got, s.Endpoint)
	}
}
