package bucket_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"out_amberflo/plugin/bucket"
	"out_amberflo/plugin/ship/failure"
)

// nobody takes the credentials out of the environment.
func nobody(t *testing.T) {
	t.Helper()
	environment(t)
	os.Unsetenv("AWS_ACCESS_KEY_ID")
	os.Unsetenv("AWS_SECRET_ACCESS_KEY")
}

// process makes a script the credential_process.
func process(t *testing.T, script string) {
	t.Helper()
	nobody(t)
	file := filepath.Join(t.TempDir(), "helper")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, os.Getenv("AWS_CONFIG_FILE"), "[default]\ncredential_process = "+file+"\n")
}

// ended waits until a process is gone, or is one that nobody has waited for yet.
func ended(t *testing.T, pidFile string) {
	t.Helper()
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	fmt.Sscan(string(text), &pid)
	for range 500 {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if syscall.Kill(pid, 0) != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d is still there", pid)
}

func TestAHelperThatHangsIsEndedAndAskedAnew(t *testing.T) {
	dir := t.TempDir()
	process(t, `if [ ! -e `+dir+`/asked ]; then
  touch `+dir+`/asked
  sleep 1000 & echo $! >`+dir+`/pid
  echo waiting for somebody >&2
  wait
fi
echo '{"Version":1,"AccessKeyId":"HELPED","SecretAccessKey":"s"}'
`)
	bucket.SetHelperTimeout(t, time.Second)
	s := newStore(t, nil, (*httptest.Server).Start)
	b := open(t, bucket.Options{Endpoint: s.URL})
	e := failed(t, put(b, t.Context(), "x"))
	if e.Kind != failure.Credentials || !strings.Contains(e.Error(), "credential_process: it was ended after 1s") || !strings.Contains(e.Error(), "waiting for somebody") {
		t.Errorf("got %s: %v", e.Kind, e)
	}
	ended(t, dir+"/pid")
	if err := put(b, t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if got := signer(s.requests()[0]); got != "HELPED" {
		t.Errorf("signed by %s", got)
	}
}

func TestAHelperThatIsNotWaitedForIsNamed(t *testing.T) {
	process(t, "sleep 1000\n")
	b := open(t, bucket.Options{Endpoint: "http://127.0.0.1:1"})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	e := failed(t, b.Probe(ctx, "ingest/p.gz"))
	if e.Kind != failure.Credentials || !strings.Contains(e.Error(), "credential_process: no answer yet, it is given 30s") || !strings.Contains(e.Hint, "by hand") {
		t.Errorf("got %s: %v", e.Kind, e)
	}
}

func TestTheHelperOfASourceProfileIsEndedToo(t *testing.T) {
	dir := t.TempDir()
	process(t, "sleep 1000 & echo $! >"+dir+"/pid; wait\n")
	config, err := os.ReadFile(os.Getenv("AWS_CONFIG_FILE"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, os.Getenv("AWS_CONFIG_FILE"), strings.Replace(string(config), "[default]", "[profile base]", 1)+
		"[default]\nrole_arn = arn:aws:iam::123456789012:role/put\nsource_profile = base\n")
	bucket.SetHelperTimeout(t, 300*time.Millisecond)
	e := failed(t, put(open(t, bucket.Options{Endpoint: "http://127.0.0.1:1"}), t.Context(), "x"))
	if e.Kind != failure.Credentials || !strings.Contains(e.Error(), "credential_process: it was ended after 300ms") {
		t.Errorf("got %s: %v", e.Kind, e)
	}
	ended(t, dir+"/pid")
}

func TestAHelperDoesNotOutliveThePlugin(t *testing.T) {
	dir := t.TempDir()
	process(t, "sleep 1000 & echo $! >"+dir+"/pid.tmp; mv "+dir+"/pid.tmp "+dir+"/pid; wait\n")
	b := open(t, bucket.Options{Endpoint: "http://127.0.0.1:1"})
	done := make(chan error)
	go func() { done <- put(b, t.Context(), "x") }()
	for {
		if _, err := os.Stat(dir + "/pid"); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	b.Close()
	ended(t, dir+"/pid")
	if err := <-done; err == nil {
		t.Error("want an error of the put under way")
	}
}

// setsid leaves the group and the session of the helper; twice, with the parent gone, it is a daemon that init has.
func TestAHelperThatLeavesItsGroupIsEndedToo(t *testing.T) {
	for _, tt := range []struct{ name, script string }{
		{"in a session of its own", "setsid sh -c 'echo $$ >DIR/pid; exec sleep 1000' & wait\n"},
		{"as a daemon that holds the output", "(setsid sh -c 'echo $$ >DIR/pid; exec sleep 1000' &)\nsleep 1000\n"},
		{"in a session of its own, with nothing in its environment", "setsid env -i /bin/sh -c 'echo $$ >DIR/pid; exec sleep 1000' & wait\n"},
		{"as a daemon of a helper that fails", "(setsid sh -c 'echo $$ >DIR/pid; exec sleep 1000' >/dev/null 2>&1 &)\nwhile [ ! -s DIR/pid ]; do sleep 0.01; done; exit 1\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			process(t, strings.ReplaceAll(tt.script, "DIR", dir))
			bucket.SetHelperTimeout(t, time.Second)
			b := open(t, bucket.Options{Endpoint: "http://127.0.0.1:1"})
			began := time.Now()
			e := failed(t, put(b, t.Context(), "x"))
			if took := time.Since(began); e.Kind != failure.Credentials || took > 5*time.Second {
				t.Errorf("got %s after %s: %v", e.Kind, took, e)
			}
			ended(t, dir+"/pid")
		})
	}
}

func TestADaemonOfAHelperThatAnsweredDoesNotOutliveThePlugin(t *testing.T) {
	dir := t.TempDir()
	process(t, "(setsid sh -c 'echo $$ >"+dir+"/pid; exec sleep 1000' >/dev/null 2>&1 &)\nwhile [ ! -s "+dir+"/pid ]; do sleep 0.01; done\n"+
		`echo '{"Version":1,"AccessKeyId":"HELPED","SecretAccessKey":"s"}'`+"\n")
	s := newStore(t, nil, (*httptest.Server).Start)
	b := open(t, bucket.Options{Endpoint: s.URL})
	if err := put(b, t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	b.Close()
	ended(t, dir+"/pid")
}

// Nothing shows any more whose it was. It is not waited for.
func TestADaemonThatHidesIsNotWaitedFor(t *testing.T) {
	dir := t.TempDir()
	process(t, "(setsid env -i /bin/sh -c 'echo $$ >"+dir+"/pid; exec sleep 20' &)\nsleep 1000\n")
	bucket.SetHelperTimeout(t, time.Second)
	b := open(t, bucket.Options{Endpoint: "http://127.0.0.1:1"})
	began := time.Now()
	if e := failed(t, put(b, t.Context(), "x")); e.Kind != failure.Credentials || time.Since(began) > 5*time.Second {
		t.Errorf("got %s after %s: %v", e.Kind, time.Since(began), e)
	}
}

func TestAHelperThatFailsIsQuoted(t *testing.T) {
	process(t, "echo 'no ticket for'\necho 'ticket has ended, run kinit' >&2\nexit 3\n")
	e := failed(t, put(open(t, bucket.Options{Endpoint: "http://127.0.0.1:1"}), t.Context(), "x"))
	if e.Kind != failure.Credentials || !strings.Contains(e.Error(), "exit status 3; it said: ticket has ended, run kinit") || strings.Contains(e.Error(), "no ticket") {
		t.Errorf("got %s: %v", e.Kind, e)
	}
}

func TestAMetadataServiceThatHangsIsAskedAnew(t *testing.T) {
	nobody(t)
	bucket.SetLookupTimeout(t, time.Second)
	stop := make(chan struct{})
	asked := make(chan bool, 10)
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- true
		if len(asked) == 1 {
			<-stop
			return
		}
		fmt.Fprintf(w, `{"AccessKeyId":"AGENT","SecretAccessKey":"s","Token":"t","Expiration":%q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer agent.Close()
	defer close(stop)
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.URL)
	s := newStore(t, nil, (*httptest.Server).Start)
	b := open(t, bucket.Options{Endpoint: s.URL})
	if e := failed(t, put(b, t.Context(), "x")); e.Kind != failure.Unreachable || !strings.Contains(e.Error(), "nobody handed out credentials within 1s") {
		t.Errorf("got %s: %v", e.Kind, e)
	}
	if err := put(b, t.Context(), "x"); err != nil {
		t.Error(err)
	}
}

func TestWhatAnAgentAnswersIsSaid(t *testing.T) {
	for _, tt := range []struct {
		status int
		words  string
		kind   failure.Kind
	}{
		{404, "no service account association", failure.Credentials},
		{401, "token is for somebody else", failure.Credentials},
		{429, "too many", failure.Throttled},
		{500, "internal trouble", failure.Unavailable},
	} {
		t.Run(fmt.Sprint(tt.status), func(t *testing.T) {
			nobody(t)
			agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, tt.words, tt.status) }))
			defer agent.Close()
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.URL+"/v1/credentials")
			e := failed(t, put(open(t, bucket.Options{Endpoint: "http://127.0.0.1:1"}), t.Context(), "x"))
			host := strings.TrimPrefix(agent.URL, "http://")
			if e.Kind != tt.kind || !strings.Contains(e.Error(), fmt.Sprintf("%s answered %d: %s", host, tt.status, tt.words)) {
				t.Errorf("got %s: %v", e.Kind, e)
			}
		})
	}
}

func TestWebIdentityIsAboutTheTrustPolicyAndAskedInItsRegion(t *testing.T) {
	for _, tt := range []struct {
		name, code, message string
		kind                failure.Kind
		hint                string
	}{
		{"another audience", "InvalidIdentityToken", "Incorrect token audience", failure.Credentials, "for another audience (aud)"},
		{"not trusted", "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", failure.Credentials, "the trust policy of arn:aws:iam::1:role/pod"},
		{"no provider", "InvalidIdentityToken", "No OpenIDConnect provider found in your account for https://oidc.eks", failure.Credentials, "OIDC provider"},
		{"too old", "ExpiredTokenException", "Token expired: current date/time 1 must be before the expiration date/time 0", failure.Credentials, "who renews that file"},
		{"too fast", "Throttling", "Rate exceeded", failure.Throttled, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nobody(t)
			sts := newStore(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(400)
				fmt.Fprintf(w, `<ErrorResponse><Error><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>`, tt.code, tt.message)
			}, (*httptest.Server).Start)
			token := filepath.Join(t.TempDir(), "token")
			write(t, token, "jwt")
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", token)
			t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod")
			e := failed(t, put(open(t, bucket.Options{Endpoint: "http://127.0.0.1:1", STSEndpoint: sts.URL}), t.Context(), "x"))
			if e.Kind != tt.kind || !strings.Contains(e.Hint, tt.hint) || strings.Contains(e.Hint, "AWS_ACCESS_KEY_ID") {
				t.Errorf("got %s: %v", e.Kind, e)
			}
		})
	}
}

// A pod's STS is in the region of the pod, which AWS_REGION names, and not in that of the bucket.
func TestSTSHasARegionOfItsOwn(t *testing.T) {
	for name, tt := range map[string]struct{ env, endpoint, want string }{
		"that of the environment":     {"eu-central-1", "", "eu-central-1"},
		"the bucket's if none is set": {"", "", "us-west-2"},
	} {
		t.Run(name, func(t *testing.T) {
			environment(t)
			t.Setenv("AWS_REGION", tt.env)
			sts := newStore(t, func(w http.ResponseWriter, _ *http.Request) { assumed(w, "ROLE", time.Hour) }, (*httptest.Server).Start)
			s := newStore(t, nil, (*httptest.Server).Start)
			t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
			if err := put(open(t, bucket.Options{Endpoint: s.URL, RoleARN: "arn:aws:iam::123456789012:role/put"}), t.Context(), "x"); err != nil {
				t.Fatal(err)
			}
			if got := sts.requests()[0].Header.Get("Authorization"); !strings.Contains(got, "/"+tt.want+"/sts/") {
				t.Errorf("asked %s, want region %s", got, tt.want)
			}
			if got := s.requests()[0].Header.Get("Authorization"); !strings.Contains(got, "/us-west-2/s3/") {
				t.Errorf("put %s", got)
			}
		})
	}
}

func TestWhyARoleIsNotAssumedIsTold(t *testing.T) {
	environment(t)
	for _, tt := range []struct {
		name, code, message, hint string
	}{
		{"not allowed", "AccessDenied", "is not authorized to perform: sts:AssumeRole", "may assume arn:aws:iam::1:role/r"},
		{"keys that are gone", "InvalidClientTokenId", "The security token included in the request is invalid.", "renew the credentials"},
		{"keys that have ended", "ExpiredToken", "The security token included in the request is expired", "renew the credentials"},
		{"a region without STS", "RegionDisabledException", "STS is not activated in this region", "set sts_endpoint"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sts := newStore(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(403)
				fmt.Fprintf(w, `<ErrorResponse><Error><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>`, tt.code, tt.message)
			}, (*httptest.Server).Start)
			e := failed(t, put(open(t, bucket.Options{Endpoint: "http://127.0.0.1:1", STSEndpoint: sts.URL, RoleARN: "arn:aws:iam::1:role/r"}), t.Context(), "x"))
			if e.Kind != failure.Credentials || !strings.Contains(e.Hint, tt.hint) {
				t.Errorf("got %s: %v", e.Kind, e)
			}
		})
	}
}

// What answers in the place of who hands out credentials is told: a captive portal, a proxy, a page, a download.
func TestWhatIsNotInTheWordsOfWhoWasAskedIsToldFromIt(t *testing.T) {
	const page = "<html><body>Please sign in"
	text := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); fmt.Fprint(w, text) }
	}
	endless := func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(unhurried)
		for err := error(nil); err == nil; {
			_, err = fmt.Fprint(w, strings.Repeat(" ", 64<<10))
		}
	}
	for _, tt := range []struct {
		name   string
		reply  http.HandlerFunc
		kind   failure.Kind
		says   string
		unsaid string
	}{
		{"a page", text(200, page), failure.Credentials, " answered 200 OK, in words that are not its own: " + page, "trust policy"},
		{"a page that says no", text(403, page), failure.Credentials, "403", "trust policy"},
		{"an outage of a proxy", text(502, page), failure.Unavailable, "502", "trust policy"},
		{"an answer of another form, which may be secret", text(200, "{'AccessKeyId': 'hush'"), failure.Credentials, "what answered is not", "hush"},
		{"one that does not end", endless, failure.Credentials, "its answer goes on after 4 MiB", "trust policy"},
		{"one that breaks off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, "<AssumeRole")
		}, failure.Unreachable, "can be reached", "trust policy"},
	} {
		agent := newStore(t, tt.reply, (*httptest.Server).Start)
		for who, setenv := range map[string]func(*testing.T) bucket.Options{
			"the container's credentials endpoint": func(t *testing.T) bucket.Options {
				t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.URL+"/v1/credentials?key=hush")
				return bucket.Options{}
			},
			"STS (AssumeRoleWithWebIdentity)": func(t *testing.T) bucket.Options {
				token := filepath.Join(t.TempDir(), "token")
				write(t, token, "jwt")
				t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", token)
				t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod")
				return bucket.Options{STSEndpoint: agent.URL}
			},
			"STS (AssumeRole)": func(t *testing.T) bucket.Options {
				t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
				t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
				return bucket.Options{STSEndpoint: agent.URL, RoleARN: "arn:aws:iam::1:role/r"}
			},
		} {
			t.Run(who+" gives "+tt.name, func(t *testing.T) {
				nobody(t)
				o := setenv(t)
				o.Endpoint = "http://127.0.0.1:1"
				e := failed(t, put(open(t, o), t.Context(), "x"))
				if text := e.Error(); e.Kind != tt.kind || !strings.Contains(text, tt.says) || strings.Contains(text, tt.unsaid) {
					t.Errorf("got %s: %v", e.Kind, e)
				}
			})
		}
	}
}

func TestALoginThatHasEndedIsToldFromMissingCredentials(t *testing.T) {
	nobody(t)
	t.Setenv("HOME", t.TempDir())
	write(t, os.Getenv("AWS_CONFIG_FILE"), "[default]\nsso_account_id = 123456789012\nsso_role_name = r\nsso_region = us-west-2\nsso_start_url = https://127.0.0.1:1/start\n")
	e := failed(t, put(open(t, bucket.Options{Endpoint: "http://127.0.0.1:1"}), t.Context(), "x"))
	if e.Kind != failure.Credentials || !strings.Contains(e.Hint, "aws sso login") {
		t.Errorf("got %s: %v", e.Kind, e)
	}
}

func TestWhereNoCredentialsAreFoundEachSourceIsNamed(t *testing.T) {
	nobody(t)
	dir := t.TempDir()
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", dir+"/secret/credentials")
	if err := os.WriteFile(dir+"/secret", nil, 0o600); err != nil { // no directory: as unreadable for root as for others
		t.Fatal(err)
	}
	e := failed(t, put(open(t, bucket.Options{Endpoint: "http://127.0.0.1:1"}), t.Context(), "x"))
	for _, want := range []string{"AWS_ACCESS_KEY_ID is not set", dir + "/secret/credentials: not a directory", "no web identity", "the instance metadata service:", "hop limit"} {
		if !strings.Contains(e.Error(), want) {
			t.Errorf("want %q in %v", want, e)
		}
	}
}

func TestAKeyWithALineFeedIsNoNetworkTrouble(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
		t.Run(name, func(t *testing.T) {
			environment(t)
			t.Setenv(name, secret+"\n")
			s := newStore(t, nil, (*httptest.Server).Start)
			e := failed(t, put(open(t, bucket.Options{Endpoint: s.URL}), t.Context(), "x"))
			if e.Kind != failure.Credentials || !strings.Contains(e.Error(), name+" holds a space or a line feed") || len(s.requests()) > 0 {
				t.Errorf("got %s: %v", e.Kind, e)
			}
		})
	}
}
