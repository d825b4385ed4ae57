package bucket_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"out_amberflo/plugin/bucket"
)

// net/http reads the proxies of the environment once in a process: each of these tests is one of its own, which puts through
// the endpoint of IN_CHILD and prints what came of it.
func TestMain(m *testing.M) {
	endpoint := os.Getenv("IN_CHILD")
	if endpoint == "" {
		os.Exit(m.Run())
	}
	bucket.SetLookupTimeout(nil, time.Second)
	if os.Getenv("NO_FILES") != "" {
		if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil { // so that the runtime has the files that it needs itself
			_ = l.Close()
		}
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 64, Max: 64})
		for err := error(nil); err == nil; {
			_, err = syscall.Open(os.DevNull, syscall.O_RDONLY, 0)
		}
	}
	b, err := bucket.Open(context.Background(), bucket.Options{Bucket: "b", Region: "us-west-2", Endpoint: endpoint, PathStyle: true})
	if err == nil {
		err = b.Put(context.Background(), "k", strings.NewReader("x"), 1, "")
	}
	fmt.Print(err)
}

func child(t *testing.T, endpoint string, env ...string) string {
	t.Helper()
	environment(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), append(env, "IN_CHILD="+endpoint, "NO_PROXY=")...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestAProxyThatDoesNotLetItThroughIsNamed(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Proxy-Authenticate", "Basic")
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	defer proxy.Close()
	for _, endpoint := range []string{"http://s3.test", "https://s3.test"} {
		got := child(t, endpoint, "HTTP_PROXY="+proxy.URL, "HTTPS_PROXY="+proxy.URL)
		if !strings.Contains(got, "proxy") || !strings.Contains(got, "407") || !strings.Contains(got, "except s3.test with NO_PROXY") {
			t.Errorf("%s: got %s", endpoint, got)
		}
	}
}

func TestAProxyThatIsNotThereIsNamed(t *testing.T) {
	if got := child(t, "https://s3.test", "HTTPS_PROXY=http://127.0.0.1:1"); !strings.Contains(got, "proxyconnect") || !strings.Contains(got, "HTTPS_PROXY is set") {
		t.Errorf("got %s", got)
	}
}

func TestTooManyOpenFilesAreNotTheNetworksFault(t *testing.T) {
	if got := child(t, "http://127.0.0.1:1", "NO_FILES=1"); !strings.Contains(got, "too many open files") || !strings.Contains(got, "LimitNOFILE") || strings.Contains(got, "can be reached") {
		t.Errorf("got %s", got)
	}
}

func TestAMetadataServiceIsNotAskedThroughAProxy(t *testing.T) {
	asked := make(chan string, 10)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked <- r.URL.String() }))
	defer proxy.Close()
	got := child(t, "http://s3.test", "HTTP_PROXY="+proxy.URL, "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://169.254.170.23/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN=token")
	if len(asked) > 0 {
		t.Errorf("the proxy was asked for %s; %s", <-asked, got)
	}
}
