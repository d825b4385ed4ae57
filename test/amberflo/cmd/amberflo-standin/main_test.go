package main

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/s3server"
)

// TestMain lets the test binary be the command.
func TestMain(m *testing.M) {
	if os.Getenv("BE_AMBERFLO_STANDIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func start(t *testing.T) *s3server.Server {
	t.Helper()
	srv, err := s3server.Start(t.Context(), s3server.Options{})
	if errors.Is(err, s3server.ErrNotBuilt) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Stop(); err != nil {
			t.Error(err)
		}
	})
	return srv
}

func standin(t *testing.T, srv *s3server.Server, args ...string) *exec.Cmd {
	t.Helper()
	args = append([]string{"-endpoint", srv.Endpoint, "-region", srv.Region, "-bucket", srv.Bucket}, args...)
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), "BE_AMBERFLO_STANDIN=1"), srv.Env(srv.Owner)...)
	return cmd
}

// deliver puts an object as the plugin must: as the writer, with the ACL.
func deliver(t *testing.T, srv *s3server.Server, key string, records []byte) {
	t.Helper()
	var body bytes.Buffer
	zw := gzip.NewWriter(&body)
	_, err := zw.Write(records)
	if err := cmp.Or(err, zw.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = srv.Client(srv.Writer).PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(srv.Bucket), Key: aws.String(key), Body: bytes.NewReader(body.Bytes()),
		ACL: types.ObjectCannedACLBucketOwnerFullControl,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// meter maps the lines of an access log without bad ones.
func meter(t *testing.T, log []byte) []byte {
	t.Helper()
	var out []byte
	n := 0
	for line := range bytes.Lines(log) {
		var in struct {
			Time        time.Time
			Tenant, API string
			Bytes       json.Number
		}
		if err := json.Unmarshal(line, &in); err != nil {
			t.Fatal(err)
		}
		out = fmt.Appendf(out, `{"customerId":%q,"meterApiName":%q,"meterValue":%s,"meterTimeInMillis":%d,"uniqueId":"u-%d"}`+"\n",
			in.Tenant, in.API, in.Bytes, in.Time.UnixMilli(), n)
		n++
	}
	return out
}

func TestTheCommandOnARealBucket(t *testing.T) {
	srv := start(t)
	const key = "ingest/amberdata/01-02-2026/0b8f1a52-6b0e-4d4e-9a0e-3f1f0f6c2d11.gz"
	var log bytes.Buffer
	truth, err := accesslog.WriteLines(&log, accesslog.Options{Lines: 500, Odd: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	records := meter(t, log.Bytes())
	deliver(t, srv, key, records)
	expect := filepath.Join(t.TempDir(), "truth.json")
	writeTruth := func() {
		data, err := json.Marshal(truth)
		if err := cmp.Or(err, os.WriteFile(expect, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	writeTruth()

	out, err := standin(t, srv, "-once", "-record", "-expect", expect).Output()
	if err != nil {
		t.Fatalf("the bill should be the truth: %v\n%s", err, stderr(err))
	}
	first, _, _ := strings.Cut(string(records), "\n")
	for _, want := range []string{key, first, "500 records in the bucket: 500 billed, 0 rejected"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("got\n%s\nwant %s in it", out, want)
		}
	}

	truth.Bill[0].Events++
	writeTruth()
	_, err = standin(t, srv, "-once", "-expect", expect).Output()
	if err == nil || !strings.Contains(stderr(err), "bill differs: ") {
		t.Errorf("another truth: got error %v %s, want the difference", err, stderr(err))
	}

	t.Run("runs until SIGTERM and reports what it refuses", func(t *testing.T) {
		cmd := standin(t, srv, "-every", "20ms", "-meters", truth.Bill[0].Meter, "-json")
		said, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		report := "/" + key + ".reason.txt"
		for lines := bufio.NewScanner(said); lines.Scan(); {
			if strings.Contains(lines.Text(), "wrote failed-requests/") && strings.HasSuffix(lines.Text(), report) {
				break
			}
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, said); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		var printed struct {
			Objects []struct{ Key, Reason, Report string }
			Refused int
		}
		if err := json.Unmarshal(out.Bytes(), &printed); err != nil {
			t.Fatal(err)
		}
		if len(printed.Objects) != 1 || printed.Refused == 0 || !strings.Contains(printed.Objects[0].Reason, "unknown meter") ||
			!strings.HasSuffix(printed.Objects[0].Report, report) {
			t.Errorf("got %+v", printed)
		}
	})
}

func TestTheCommandSaysWhatItWants(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-bucket", "b")
	cmd.Env = []string{"BE_AMBERFLO_STANDIN=1"}
	_, err := cmd.Output()
	if !strings.Contains(stderr(err), "want -endpoint and -bucket") {
		t.Errorf("got %v %s", err, stderr(err))
	}
}

func stderr(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(exit.Stderr)
	}
	return ""
}
