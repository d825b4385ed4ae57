package fault_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"out_amberflo/test/fault"
)

// origin remembers what reached the server behind the proxy.
type origin struct {
	*httptest.Server
	mu     sync.Mutex
	hosts  []string
	bodies []string
}

func newOrigin(t *testing.T) *origin {
	t.Helper()
	o := &origin{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.hosts = append(o.hosts, r.Host)
		o.bodies = append(o.bodies, string(body))
		w.Header().Set("ETag", `"x"`)
	}))
	t.Cleanup(o.Close)
	return o
}

func (o *origin) got() (hosts, bodies []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.hosts), slices.Clone(o.bodies)
}

func start(t *testing.T, options fault.Options) *fault.Proxy {
	t.Helper()
	p, err := fault.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{ExpectContinueTimeout: 5 * time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func put(t *testing.T, c *http.Client, url, body string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.GetBody = nil
	r.Header.Set("Expect", "100-continue")
	answer, err := c.Do(r)
	if err == nil {
		t.Cleanup(func() { answer.Body.Close() })
	}
	return answer, err
}

func sum(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

func TestEachMode(t *testing.T) {
	const body = "twelve bytes"
	for _, tt := range []struct {
		name   string
		mode   fault.Mode
		status int // 0: connection reset
		code   string
		stored bool
		read   int64
	}{
		{"a request passes unharmed", fault.Pass, 200, "", true, 12},
		{"a slow body arrives whole", fault.SlowBody, 200, "", true, 12},
		{"500", fault.InternalError, 500, "InternalError", false, 12},
		{"503", fault.Unavailable, 503, "ServiceUnavailable", false, 12},
		{"SlowDown", fault.SlowDown, 503, "SlowDown", false, 12},
		{"429", fault.TooManyRequests, 429, "TooManyRequests", false, 12},
		{"denied before the body is sent", fault.AccessDenied, 403, "AccessDenied", false, 0},
		{"expired token before the body is sent", fault.ExpiredToken, 400, "ExpiredToken", false, 0},
		{"clock skew before the body is sent", fault.TimeTooSkewed, 403, "RequestTimeTooSkewed", false, 0},
		{"redirect before the body is sent", fault.WrongRegion, 301, "PermanentRedirect", false, 0},
		{"no bucket before the body is sent", fault.NoSuchBucket, 404, "NoSuchBucket", false, 0},
		{"reset before the body", fault.ResetBefore, 0, "", false, 0},
		{"reset in the middle of the body", fault.ResetMiddle, 0, "", false, 6},
		{"a part taken for all", fault.Truncate, 200, "", false, 6},
		{"an answer without anything stored", fault.Lie, 200, "", false, 12},
		{"stored and the answer lost", fault.LostAnswer, 0, "", true, 12},
	} {
		t.Run(tt.name, func(t *testing.T) {
			behind := newOrigin(t)
			p := start(t, fault.Options{Target: behind.URL, Pause: time.Millisecond})
			p.Script(tt.mode)
			answer, err := put(t, client(t), p.URL+"/b/a%3Db/k.gz?x-id=PutObject", body)
			if tt.status == 0 {
				if !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("got %v, want connection reset", err)
				}
			} else {
				if err != nil {
					t.Fatal(err)
				}
				text, _ := io.ReadAll(answer.Body)
				if answer.StatusCode != tt.status || !strings.Contains(string(text), tt.code) {
					t.Errorf("got %d %s, want %d %s", answer.StatusCode, text, tt.status, tt.code)
				}
			}
			hosts, bodies := behind.got()
			if tt.stored != slices.Equal(bodies, []string{body}) {
				t.Errorf("stored %q, want stored %v", bodies, tt.stored)
			}
			if tt.stored && hosts[0] != strings.TrimPrefix(p.URL, "http://") {
				t.Errorf("host behind the proxy: got %s, want the proxy's own", hosts[0])
			}
			seen := requests(t, p, 1)[0]
			if seen.Method != "PUT" || seen.Path != "/b/a=b/k.gz" || seen.Query != "x-id=PutObject" || seen.Mode != tt.mode ||
				seen.Forwarded != tt.stored || seen.Size != tt.read || seen.SHA256 != sum(body[:tt.read]) {
				t.Errorf("recorded %+v", seen)
			}
		})
	}
}

// requests waits for the record, which is written after the client has its answer.
func requests(t *testing.T, p *fault.Proxy, n int) []fault.Request {
	t.Helper()
	for len(p.Requests()) < n {
		select {
		case <-t.Context().Done():
			t.Fatal("the request was not recorded")
		case <-time.After(time.Millisecond):
		}
	}
	return p.Requests()
}

func TestAFaultEndsItsConnectionWhereAsked(t *testing.T) {
	for _, ends := range []bool{true, false} {
		p := start(t, fault.Options{Target: newOrigin(t).URL, Close: ends})
		for _, mode := range []fault.Mode{fault.InternalError, fault.Lie} {
			p.Script(mode)
			answer, err := put(t, client(t), p.URL+"/b/k", "x")
			if err != nil {
				t.Fatal(err)
			}
			if answer.Close != ends {
				t.Errorf("Close %v: %v ends its connection: %v", ends, mode, answer.Close)
			}
		}
	}
}

func TestAHangEndsWhenTheProxyCloses(t *testing.T) {
	arrived := make(chan struct{})
	p, err := fault.Start(fault.Options{
		Target: newOrigin(t).URL,
		Match:  func(*http.Request) bool { close(arrived); return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Script(fault.Hang)
	go func() {
		<-arrived
		p.Close()
	}()
	if answer, err := put(t, client(t), p.URL+"/b/k", "x"); err == nil {
		t.Errorf("got %s, want no answer", answer.Status)
	}
}

func TestTheSameSeedGivesTheSameFaults(t *testing.T) {
	faults := func(seed uint64) []fault.Mode {
		p := start(t, fault.Options{Target: newOrigin(t).URL, Rate: 0.5, Seed: seed})
		c := client(t)
		for range 40 {
			put(t, c, p.URL+"/b/k", "x")
		}
		var modes []fault.Mode
		for _, r := range requests(t, p, 40) {
			modes = append(modes, r.Mode)
		}
		return modes
	}
	first := faults(7)
	if again := faults(7); !slices.Equal(first, again) {
		t.Errorf("got %v and %v", first, again)
	}
	if other := faults(8); slices.Equal(first, other) {
		t.Errorf("two seeds gave the same %v", first)
	}
	passed := len(first) - len(slices.DeleteFunc(first, func(m fault.Mode) bool { return m == fault.Pass }))
	if passed < 10 || passed > 30 {
		t.Errorf("at a rate of one half %d of 40 passed", passed)
	}
}

func TestRetryAfterRegionAndDate(t *testing.T) {
	p := start(t, fault.Options{Target: newOrigin(t).URL, RetryAfter: 3 * time.Second, Region: "eu-central-1", Skew: time.Hour})
	p.Script(fault.SlowDown, fault.WrongRegion, fault.TimeTooSkewed)
	c := client(t)
	var headers []http.Header
	for range 3 {
		answer, err := put(t, c, p.URL+"/b/k", "x")
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, answer.Header)
	}
	if got := headers[0].Get("Retry-After"); got != "3" {
		t.Errorf("Retry-After: got %q", got)
	}
	if got := headers[1].Get("X-Amz-Bucket-Region"); got != "eu-central-1" {
		t.Errorf("region: got %q", got)
	}
	date, err := http.ParseTime(headers[2].Get("Date"))
	if ahead := time.Until(date); err != nil || ahead < 59*time.Minute || ahead > 61*time.Minute {
		t.Errorf("Date is %v ahead, want an hour (%v)", ahead, err)
	}
}

func TestControl(t *testing.T) {
	p := start(t, fault.Options{Target: newOrigin(t).URL})
	c := client(t)
	for _, tt := range []struct {
		query  string
		status int
	}{
		{"rate=1&modes=500", 200}, {"rate=1&modes=bang", 400}, {"rate=much", 400}, {"script=denied,pass", 200},
	} {
		answer, err := put(t, c, p.URL+"/-/faults?"+tt.query, "")
		if err != nil || answer.StatusCode != tt.status {
			t.Errorf("%s: got %v, %v", tt.query, answer, err)
		}
	}
	var got []int
	for range 3 {
		answer, err := put(t, c, p.URL+"/b/k", "x")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, answer.StatusCode)
	}
	if want := []int{403, 200, 500}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAServerBehindThatIsGoneIsAReset(t *testing.T) {
	behind := newOrigin(t)
	behind.Close()
	p := start(t, fault.Options{Target: behind.URL})
	for _, mode := range []fault.Mode{fault.Pass, fault.LostAnswer} {
		p.Script(mode)
		if answer, err := put(t, client(t), p.URL+"/b/k", "x"); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: got %v, %v, want connection reset", mode, answer, err)
		}
	}
	for _, r := range requests(t, p, 2) {
		if r.Forwarded || r.Status != 0 {
			t.Errorf("recorded %+v", r)
		}
	}
}

func TestAServerBehindThatDoesNotAnswerIsAReset(t *testing.T) {
	stop := make(chan struct{})
	behind := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	defer behind.Close()
	defer close(stop)
	p := start(t, fault.Options{Target: behind.URL, Patience: 100 * time.Millisecond})
	if answer, err := put(t, client(t), p.URL+"/b/k", "x"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, %v, want connection reset", answer, err)
	}
	if r := requests(t, p, 1)[0]; r.Forwarded || r.Err == nil || !strings.Contains(r.Err.Error(), "timeout") {
		t.Errorf("recorded %+v, want why", r)
	}
}

// What does not pass by itself, or does not end at once, is asked for by name.
func TestFaultsAreAllThatPassByThemselves(t *testing.T) {
	named := []fault.Mode{fault.Pass, fault.AccessDenied, fault.ExpiredToken, fault.TimeTooSkewed, fault.WrongRegion, fault.NoSuchBucket, fault.Hang, fault.SlowBody}
	for _, mode := range fault.Modes {
		if slices.Contains(fault.Faults, mode) == slices.Contains(named, mode) {
			t.Errorf("%s: drawn and not, or neither", mode)
		}
	}
}

func TestOnlyMatchingRequestsFail(t *testing.T) {
	p := start(t, fault.Options{Target: newOrigin(t).URL, Rate: 1, Modes: []fault.Mode{fault.InternalError},
		Match: func(r *http.Request) bool { return r.Method == http.MethodPut }})
	c := client(t)
	if answer, err := put(t, c, p.URL+"/b/k", "x"); err != nil || answer.StatusCode != 500 {
		t.Errorf("PUT: got %v, %v", answer, err)
	}
	answer, err := c.Get(p.URL + "/b/k")
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("GET: got %v, %v", answer, err)
	}
	answer.Body.Close()
}
