package bucket_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"out_amberflo/plugin/bucket"
	"out_amberflo/plugin/ship/failure"
)

func TestCheckOrOpenSaysWhatCannotWork(t *testing.T) {
	environment(t)
	good := bucket.Options{Bucket: "b", Region: "us-west-2"}
	for _, tt := range []struct {
		name   string
		change func(*bucket.Options)
		option string
		got    string
	}{
		{"no bucket", func(o *bucket.Options) { o.Bucket = "" }, "bucket", ""},
		{"no region anywhere", func(o *bucket.Options) { o.Region = "" }, "region", ""},
		{"an endpoint without a scheme", func(o *bucket.Options) { o.Endpoint = "127.0.0.1:9000" }, "endpoint", "127.0.0.1:9000"},
		{"an endpoint that holds a password", func(o *bucket.Options) { o.Endpoint = "http://u:pw@127.0.0.1" }, "endpoint", "…@127.0.0.1"},
		{"a password in what is no URL", func(o *bucket.Options) { o.Endpoint = "http://user:hush%ss@127.0.0.1" }, "endpoint", "…@127.0.0.1"},
		{"a password without a scheme", func(o *bucket.Options) { o.Endpoint = "user:hush@127.0.0.1:9000" }, "endpoint", "…@127.0.0.1:9000"},
		{"an endpoint with a query", func(o *bucket.Options) { o.Endpoint = "https://127.0.0.1/?sig=hush" }, "endpoint", "https://127.0.0.1/?…"},
		{"a bucket's URL", func(o *bucket.Options) { o.Bucket = "s3://b" }, "bucket", "s3://b"},
		{"a bucket's ARN", func(o *bucket.Options) { o.Bucket = "arn:aws:s3:::b" }, "bucket", "arn:aws:s3:::b"},
		{"a region that is none", func(o *bucket.Options) { o.Region = "us_west_2" }, "region", "us_west_2"},
		{"an external id without its role", func(o *bucket.Options) { o.ExternalID = "e" }, "external_id", "…"},
		{"a KMS key without encryption", func(o *bucket.Options) { o.KMSKeyID = "k" }, "ssekms_key_id", "k"},
		{"tags that are no query", func(o *bucket.Options) { o.Tagging = "team" }, "tagging", "team"},
		{"an STS endpoint that is no URL", func(o *bucket.Options) { o.STSEndpoint, o.RoleARN = "http://", "arn:aws:iam::1:role/r" }, "sts_endpoint", "http://"},
		{"a profile that is not there", func(o *bucket.Options) { o.Profile = "nobody" }, "profile", "nobody"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := good
			tt.change(&o)
			var e *bucket.OptionError
			if wrong := o.Check(); len(wrong) > 0 {
				e = wrong[0]
			} else if _, err := bucket.Open(t.Context(), o); !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			if e.Option != tt.option || e.Got != tt.got || e.Want == "" || e.Example == "" {
				t.Errorf("got %v", e)
			}
		})
	}
}

func TestASettingThatCannotBeReadIsNamed(t *testing.T) {
	bundle := t.TempDir() + "/ca.pem"
	write(t, bundle, "root:x:0:0")
	for _, tt := range []struct {
		name, file string
		env        map[string]string
		option     string
		got        string
	}{
		{"a profile of the environment that is not there", "", map[string]string{"AWS_PROFILE": "billing"}, "AWS_PROFILE", "billing"},
		{"a profile that another one needs", "[profile r]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = nope\n", map[string]string{"AWS_PROFILE": "r"}, "source_profile of the profile r", "nope"},
		{"certificates that are none", "", map[string]string{"AWS_CA_BUNDLE": bundle}, "AWS_CA_BUNDLE", bundle},
		{"certificates that are not there", "", map[string]string{"AWS_CA_BUNDLE": "/nope/ca.pem"}, "AWS_CA_BUNDLE", "/nope/ca.pem"},
		{"certificates of a profile that are not there", "[default]\nca_bundle = /nope/ca.pem\n", nil, "ca_bundle of the profile default", "/nope/ca.pem"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			environment(t)
			write(t, os.Getenv("AWS_CONFIG_FILE"), tt.file)
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			_, err := bucket.Open(t.Context(), bucket.Options{Bucket: "b", Region: "us-west-2"})
			var e *bucket.OptionError
			if !errors.As(err, &e) || e.Option != tt.option || e.Got != tt.got {
				t.Errorf("got %v, want %s: … %q", err, tt.option, tt.got)
			}
		})
	}
}

// Each of them keeps the SDK by itself from reading the file.
func TestASettingOfAProfileThatIsNotUsedIsNotRead(t *testing.T) {
	const keys = "aws_access_key_id = PROFILE\naws_secret_access_key = s\n"
	for _, tt := range []struct{ name, config, credentials string }{
		{"max_attempts", "[default]\nmax_attempts = abc\n" + keys, ""},
		{"all at once", "[default]\nmax_attempts = abc\nretry_mode = often\ndefaults_mode = x\nrequest_checksum_calculation = maybe\nresponse_checksum_validation = maybe\n" +
			"account_id_endpoint_mode = x\ndisable_request_compression = maybe\nrequest_min_compression_size_bytes = abc\n" + keys, ""},
		{"in another form, with a line that goes on", "[default]\nMax_Attempts=abc\n  def\n" + keys, ""},
		{"in the file of credentials", "", "[default]\nretry_mode = often\n" + keys},
		{"of a profile that another one needs", "[default]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = base\n[profile base]\nmax_attempts = abc\n" + keys, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nobody(t)
			write(t, os.Getenv("AWS_CONFIG_FILE"), tt.config)
			write(t, os.Getenv("AWS_SHARED_CREDENTIALS_FILE"), tt.credentials)
			sts := newStore(t, func(w http.ResponseWriter, r *http.Request) { assumed(w, signer(seen{Request: r}), time.Hour) }, (*httptest.Server).Start)
			t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)
			s := newStore(t, nil, (*httptest.Server).Start)
			if err := put(open(t, bucket.Options{Endpoint: s.URL}), t.Context(), "x"); err != nil {
				t.Fatal(err)
			}
			if got := signer(s.requests()[0]); got != "PROFILE" {
				t.Errorf("signed by %s", got)
			}
		})
	}
}

func TestTheRegionComesFrom(t *testing.T) {
	for _, tt := range []struct {
		name, option, file string
		env                map[string]string
		want               string
	}{
		{"the option first", "eu-west-1", "", map[string]string{"AWS_REGION": "eu-west-2"}, "eu-west-1"},
		{"AWS_REGION", "", "", map[string]string{"AWS_REGION": "eu-west-2"}, "eu-west-2"},
		{"AWS_DEFAULT_REGION", "", "", map[string]string{"AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-3"},
		{"the profile", "", "[default]\nregion = eu-north-1\n", nil, "eu-north-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			environment(t)
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			write(t, os.Getenv("AWS_CONFIG_FILE"), tt.file)
			s := newStore(t, nil, (*httptest.Server).Start)
			b, err := bucket.Open(t.Context(), bucket.Options{Bucket: "b", Region: tt.option, Endpoint: s.URL, PathStyle: true})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if err := put(b, t.Context(), "x"); err != nil {
				t.Fatal(err)
			}
			if got := s.requests()[0].Header.Get("Authorization"); !strings.Contains(got, "/"+tt.want+"/s3/") {
				t.Errorf("signed %s, want region %s", got, tt.want)
			}
		})
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func signer(r seen) string {
	_, after, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	key, _, _ := strings.Cut(after, "/")
	return key
}

func TestCredentialsThatAreMissingAreFoundOnceTheyAreThere(t *testing.T) {
	environment(t)
	os.Unsetenv("AWS_ACCESS_KEY_ID")
	os.Unsetenv("AWS_SECRET_ACCESS_KEY")
	s := newStore(t, nil, (*httptest.Server).Start)
	b := open(t, bucket.Options{Endpoint: s.URL})
	begun := time.Now()
	e := failed(t, put(b, t.Context(), "x"))
	if e.Kind != failure.Credentials || !strings.Contains(e.Hint, "AWS_ACCESS_KEY_ID") || time.Since(begun) > 2*time.Second {
		t.Errorf("got %v after %v", e, time.Since(begun))
	}
	write(t, os.Getenv("AWS_SHARED_CREDENTIALS_FILE"), "[default]\naws_access_key_id = LATER\naws_secret_access_key = s\n")
	if err := put(b, t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if got := signer(s.requests()[0]); got != "LATER" {
		t.Errorf("signed by %s", got)
	}
}

func TestAMetadataServiceThatDoesNotAnswerIsGivenUpSoon(t *testing.T) {
	environment(t)
	os.Unsetenv("AWS_ACCESS_KEY_ID")
	os.Unsetenv("AWS_SECRET_ACCESS_KEY")
	os.Unsetenv("AWS_EC2_METADATA_DISABLED")
	done := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-done }))
	defer silent.Close()
	defer close(done)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", silent.URL)
	b := open(t, bucket.Options{Endpoint: "http://127.0.0.1:1"})
	begun := time.Now()
	if e := failed(t, put(b, t.Context(), "x")); e.Kind != failure.Credentials || time.Since(begun) > 5*time.Second {
		t.Errorf("got %v after %v", e, time.Since(begun))
	}
}

func TestCredentialsThatAreDeniedAreReadAgainFromTheFile(t *testing.T) {
	for code, want := range map[string]struct {
		status int
		kind   failure.Kind
	}{"ExpiredToken": {400, failure.Credentials}, "AccessDenied": {403, failure.Denied}} {
		t.Run(code, func(t *testing.T) { deniedThenReadAgain(t, code, want.status, want.kind) })
	}
}

func deniedThenReadAgain(t *testing.T, code string, status int, kind failure.Kind) {
	environment(t)
	bucket.SetDeniedAge(t, 0)
	os.Unsetenv("AWS_ACCESS_KEY_ID")
	os.Unsetenv("AWS_SECRET_ACCESS_KEY")
	session := func(key string) {
		write(t, os.Getenv("AWS_SHARED_CREDENTIALS_FILE"), "[metering]\naws_access_key_id = "+key+"\naws_secret_access_key = s\naws_session_token = t\n")
	}
	session("OLD")
	s := newStore(t, func(w http.ResponseWriter, r *http.Request) {
		if signer(seen{Request: r}) == "OLD" {
			xml(status, code, "denied")(w, r)
		}
	}, (*httptest.Server).Start)
	b := open(t, bucket.Options{Endpoint: s.URL, Profile: "metering"})
	if e := failed(t, put(b, t.Context(), "x")); e.Kind != kind {
		t.Fatalf("got %v", e)
	}
	session("NEW")
	if err := put(b, t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
}

// assumed is how STS hands out the credentials of a role.
func assumed(w http.ResponseWriter, key string, lasts time.Duration) {
	fmt.Fprintf(w, `<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
		<SessionToken>token</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
		key, time.Now().Add(lasts).UTC().Format(time.RFC3339))
}

func TestARoleIsAssumedOnceAndAgainBeforeItEnds(t *testing.T) {
	environment(t)
	n, lasts := 0, time.Hour
	sts := newStore(t, func(w http.ResponseWriter, _ *http.Request) {
		n++
		assumed(w, fmt.Sprintf("ROLE%d", n), lasts)
	}, (*httptest.Server).Start)
	s := newStore(t, nil, (*httptest.Server).Start)
	role := bucket.Options{Endpoint: s.URL, STSEndpoint: sts.URL, RoleARN: "arn:aws:iam::123456789012:role/put", ExternalID: "ext-1"}
	b := open(t, role)
	for range 2 {
		if err := put(b, t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if got := sts.requests(); len(got) != 1 || !strings.Contains(got[0].body, "ExternalId=ext-1") || signer(got[0]) != "AKIDEXAMPLE" {
		t.Fatalf("STS was asked %v", got)
	}
	for i, r := range s.requests() {
		if signer(r) != "ROLE1" || r.Header.Get("X-Amz-Security-Token") != "token" {
			t.Errorf("put %d is signed by %s", i, signer(r))
		}
	}

	lasts = 30 * time.Second
	short := open(t, role)
	for range 2 {
		if err := put(short, t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if n != 3 {
		t.Errorf("credentials that end in 30s: STS was asked %d times in all, want 3", n)
	}
}

func TestARoleThatMayNotBeAssumed(t *testing.T) {
	environment(t)
	sts := newStore(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(403)
		fmt.Fprint(w, `<ErrorResponse><Error><Code>AccessDenied</Code><Message>not authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>`)
	}, (*httptest.Server).Start)
	s := newStore(t, nil, (*httptest.Server).Start)
	b := open(t, bucket.Options{Endpoint: s.URL, STSEndpoint: sts.URL, RoleARN: "arn:aws:iam::123456789012:role/put"})
	e := failed(t, put(b, t.Context(), "x"))
	if e.Kind != failure.Credentials || !strings.Contains(e.Error(), "not authorized") || !strings.Contains(e.Hint, "role/put") || len(s.requests()) != 0 {
		t.Errorf("got %v", e)
	}
}

func TestWhatACredentialProcessPrintsIsNotInTheError(t *testing.T) {
	for name, output := range map[string]string{
		"a notice after it":    `{"Version":1,"AccessKeyId":"A","SecretAccessKey":"hush/secret","SessionToken":"hush"}` + "\nUpdate available: 2.1",
		"an end that is wrong": `{"Version":1,"AccessKeyId":"A","SecretAccessKey":"hush/secret","Expiration":"2026-11-21 10:00:00"}`,
	} {
		t.Run(name, func(t *testing.T) {
			environment(t)
			os.Unsetenv("AWS_ACCESS_KEY_ID")
			os.Unsetenv("AWS_SECRET_ACCESS_KEY")
			file := t.TempDir() + "/output"
			write(t, file, output)
			write(t, os.Getenv("AWS_CONFIG_FILE"), "[default]\ncredential_process = cat "+file+"\n")
			e := failed(t, put(open(t, bucket.Options{Endpoint: "http://127.0.0.1:1"}), t.Context(), "x"))
			if e.Kind != failure.Credentials || strings.Contains(e.Error(), "hush") || !strings.Contains(e.Error(), "credential_process") {
				t.Errorf("got %v", e)
			}
		})
	}
}

func TestAnOutageOfSTSIsNoFaultOfTheCredentials(t *testing.T) {
	environment(t)
	answer := func(status int, code, message string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprintf(w, `<ErrorResponse><Error><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>`, code, message)
		}
	}
	silent := httptest.NewServer(nil)
	silent.Close()
	for _, tt := range []struct {
		name string
		sts  string
		want failure.Kind
	}{
		{"unavailable", newStore(t, answer(503, "ServiceUnavailable", "later"), (*httptest.Server).Start).URL, failure.Unavailable},
		{"throttled", newStore(t, answer(400, "Throttling", "Rate exceeded"), (*httptest.Server).Start).URL, failure.Throttled},
		{"the clock", newStore(t, answer(403, "SignatureDoesNotMatch", "Signature expired: x is now earlier than y"), (*httptest.Server).Start).URL, failure.ClockSkew},
		{"a wrong secret", newStore(t, answer(403, "SignatureDoesNotMatch", "The request signature we calculated does not match"), (*httptest.Server).Start).URL, failure.Credentials},
		{"gone", silent.URL, failure.Unreachable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := open(t, bucket.Options{Endpoint: "http://127.0.0.1:1", STSEndpoint: tt.sts, RoleARN: "arn:aws:iam::123456789012:role/put"})
			if e := failed(t, put(b, t.Context(), "x")); e.Kind != tt.want || strings.Contains(e.Hint, "127.0.0.1:1 ") {
				t.Errorf("got %s: %v, want %s", e.Kind, e, tt.want)
			}
		})
	}
}

// The SDK finds out how far this machine's clock is off, for each of its clients; that must not be forgotten.
func TestAClockThatIsOffIsAllowedForAtSTSToo(t *testing.T) {
	environment(t)
	late := func(w http.ResponseWriter, r *http.Request) bool {
		now := time.Now().Add(time.Hour).UTC()
		w.Header().Set("Date", now.Format(http.TimeFormat))
		at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		return err != nil || now.Sub(at).Abs() > 15*time.Minute
	}
	sts := newStore(t, func(w http.ResponseWriter, r *http.Request) {
		if late(w, r) {
			w.WriteHeader(403)
			fmt.Fprint(w, `<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>Signature expired: x is now earlier than y</Message></Error></ErrorResponse>`)
			return
		}
		assumed(w, "ROLE", 2*time.Hour)
	}, (*httptest.Server).Start)
	s := newStore(t, func(w http.ResponseWriter, r *http.Request) {
		if late(w, r) {
			xml(403, "RequestTimeTooSkewed", "off")(w, r)
		}
	}, (*httptest.Server).Start)
	b := open(t, bucket.Options{Endpoint: s.URL, STSEndpoint: sts.URL, RoleARN: "arn:aws:iam::123456789012:role/put"})
	for try := 1; ; try++ {
		err := put(b, t.Context(), "x")
		if err == nil {
			break
		}
		if e := failed(t, err); e.Kind != failure.ClockSkew || try == 4 {
			t.Fatalf("try %d: got %v", try, err)
		}
	}
}

func TestTheQueryOfAnAddressIsNotSaid(t *testing.T) {
	environment(t)
	os.Unsetenv("AWS_ACCESS_KEY_ID")
	os.Unsetenv("AWS_SECRET_ACCESS_KEY")
	dead := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer dead.Close()
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", dead.URL+"/creds?key=urisecret&b=1")
	s := newStore(t, nil, (*httptest.Server).Start)
	b := open(t, bucket.Options{Endpoint: s.URL})
	e := failed(t, put(b, t.Context(), "x"))
	if text := e.Error(); strings.Contains(text, "urisecret") || !strings.Contains(text, "/creds?…") {
		t.Errorf("got %s", text)
	}
}
