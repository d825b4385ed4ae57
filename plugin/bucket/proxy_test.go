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
		err = b.Put(context.Background(), "k", strings.NewReader("x"), 1, 0)
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
	cmd.Env = append(os.Environ(), append([]string{"IN_CHILD=" + endpoint, "NO_PROXY="}, env...)...)
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

// 0.0.0.0 is this machine, and unlike 127.0.0.1 no address that net/http asks no proxy for.
func TestAHintNamesTheProxyThatIsAsked(t *testing.T) {
	squid := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Squid-Error", "ERR_ACCESS_DENIED 0")
		w.WriteHeader(http.StatusForbidden)
	}))
	defer squid.Close()
	firewall := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer firewall.Close()
	const gone, http, https = "http://127.0.0.1:1", "http://0.0.0.0:1", "https://0.0.0.0:1"
	for _, tt := range []struct {
		name, endpoint string
		env            []string
		says, unsaid   string
	}{
		{"of an http endpoint", http, []string{"HTTP_PROXY=" + gone, "HTTPS_PROXY=" + gone}, "HTTP_PROXY is set: can its proxy be reached", "HTTPS_PROXY"},
		{"of an http endpoint, in small letters", http, []string{"http_proxy=" + gone}, "http_proxy is set", "https_proxy"},
		{"of an https endpoint", https, []string{"HTTP_PROXY=" + gone, "HTTPS_PROXY=" + gone}, "HTTPS_PROXY is set", "HTTP_PROXY"},
		{"but not the one for https of an http endpoint", http, []string{"HTTPS_PROXY=" + gone}, "connection refused", "HTTPS_PROXY"},
		{"but not the one for http of an https endpoint", https, []string{"HTTP_PROXY=" + gone}, "connection refused", "HTTP_PROXY"},
		{"but not if NO_PROXY excepts it", http, []string{"HTTP_PROXY=" + gone, "NO_PROXY=0.0.0.0"}, "connection refused", "HTTP_PROXY"},
		{"that answered by itself", http, []string{"HTTP_PROXY=" + squid.URL}, "a proxy (HTTP_PROXY is set) answered by itself, and not S3, it says ERR_ACCESS_DENIED 0", "grant"},
		{"that may have answered", http, []string{"HTTP_PROXY=" + firewall.URL}, "a proxy (HTTP_PROXY is set)", "HTTPS_PROXY"},
		{"that is none", http, []string{"HTTP_PROXY=http://proxy .example.com"}, "HTTP_PROXY is no URL of a proxy", "HTTPS_PROXY"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := child(t, tt.endpoint, tt.env...); !strings.Contains(got, tt.says) || strings.Contains(got, tt.unsaid) {
				t.Errorf("want %q and no %q, got %s", tt.says, tt.unsaid, got)
			}
		})
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
