package bucket_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"out_amberflo/plugin/bucket"
	"out_amberflo/plugin/ship/failure"
)

// TestWhoseFaultAnAnswerIs is the specification in examples: what S3 answers, under which options, and what an operator is told.
func TestWhoseFaultAnAnswerIs(t *testing.T) {
	environment(t)
	var (
		plain = bucket.Options{ACL: "bucket-owner-full-control"}
		noACL = bucket.Options{}
		kms   = bucket.Options{ACL: "bucket-owner-full-control", SSE: "aws:kms", KMSKeyID: "alias/bill"}
		class = bucket.Options{StorageClass: "STANDARD_IA", Tagging: "a=b"}
	)
	who := "User: arn:aws:sts::111111111111:assumed-role/metering/i-0123456789abcdef0 is not authorized to perform: "
	object := `on resource: "arn:aws:s3:::b/ingest/amberdata/11-28-2026/0199f1b2-7c1e-7b1a-9c55-4a8e7f6f0a11.gz" `
	for _, tt := range []struct {
		name          string
		o             bucket.Options
		status        int
		code, message string
		kind          failure.Kind
		hint          string
	}{
		{"the put may not", plain, 403, "AccessDenied", "Access Denied", failure.Denied, "grant s3:PutObject, s3:PutObjectAcl on arn:aws:s3:::b/ingest/*"},
		{"the put may not, and sends no ACL", noACL, 403, "AccessDenied", "Access Denied", failure.Denied, "or set canned_acl bucket-owner-full-control"},
		{"no policy of the role", plain, 403, "AccessDenied", who + "s3:PutObject " + object + "because no identity-based policy allows the s3:PutObject action", failure.Denied, "a policy of these credentials' user or role has to allow s3:PutObject"},
		{"no policy of the bucket", plain, 403, "AccessDenied", who + "s3:PutObject " + object + "because no resource-based policy allows the s3:PutObject action", failure.Denied, "the bucket's policy, its owner's, has to allow"},
		{"the bucket denies it", plain, 403, "AccessDenied", who + "s3:PutObject " + object + "with an explicit deny in a resource-based policy", failure.Denied, "no grant helps"},
		{"the organisation denies it", plain, 403, "AccessDenied", who + "s3:PutObject " + object + "with an explicit deny in a service control policy", failure.Denied, "who runs the organisation"},
		{"the VPC endpoint denies it", plain, 403, "AccessDenied", who + "s3:PutObject " + object + "because no VPC endpoint policy allows the s3:PutObject action", failure.Denied, "the policy of the VPC endpoint"},
		{"the boundary denies it", plain, 403, "AccessDenied", who + "s3:PutObject " + object + "because no permissions boundary allows the s3:PutObject action", failure.Denied, "permissions boundary"},
		{"the key's policy denies it", kms, 403, "AccessDenied", who + "kms:GenerateDataKey on resource: arn:aws:kms:us-west-2:222222222222:key/1a because no resource-based policy allows", failure.Denied, "grant kms:GenerateDataKey on arn:aws:kms:us-west-2:222222222222:key/1a"},
		{"the key is not there", kms, 400, "KMS.NotFoundException", "Key does not exist", failure.Denied, "change ssekms_key_id: the key alias/bill"},
		{"the bucket's own key is disabled", plain, 400, "KMS.DisabledException", "is disabled", failure.Denied, "its owner has to fix that"},
		{"KMS is asked too often", kms, 400, "KMS.ThrottlingException", "Rate exceeded", failure.Throttled, ""},
		{"KMS is out of order", kms, 400, "KMS.KeyUnavailableException", "try later", failure.Unavailable, ""},
		{"a proxy that wants a length", plain, 411, "", "", failure.Object, "these are not S3's words"},
		{"a quota", plain, 403, "QuotaExceeded", "The bucket quota is exceeded", failure.Quota, "no permission is missing"},
		{"a quota in words", plain, 403, "AccessDenied", "Bucket quota exceeded", failure.Quota, "no permission is missing"},
		{"a quota by the status of what is too large", plain, 413, "EntityTooLarge", "Upload exceeds quota.", failure.Quota, "used up"},
		{"a key of KMS that is not there", kms, 403, "AccessDenied", "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.", failure.Denied, "the key alias/bill is not there"},
		{"a full server", plain, 507, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold", failure.Quota, "used up"},
		{"a server without ACLs", plain, 501, "NotImplemented", "A header you provided implies functionality that is not implemented: x-amz-acl", failure.Denied, "canned_acl none"},
		{"a server that does not say what it lacks", plain, 501, "NotImplemented", "A header you provided implies functionality that is not implemented", failure.Denied, "canned_acl none"},
		{"a server without what was asked for", class, 501, "NotImplemented", "A header you provided implies functionality that is not implemented", failure.Denied, "leave out, storage_class, tagging"},
		{"a server that is none", noACL, 501, "", "", failure.Denied, "is it S3?"},
		{"a bucket without ACLs", plain, 400, "AccessControlListNotSupported", "The bucket does not allow ACLs", failure.Denied, "canned_acl none"},
		{"a proxy that wants a password", plain, 407, "", "", failure.Proxy, "the proxy of HTTPS_PROXY or HTTP_PROXY"},
		{"too large", plain, 413, "", "", failure.Object, "meterctl split"},
		{"too large, in S3's words", plain, 400, "EntityTooLarge", "too large", failure.Object, "total_file_size"},
		{"changed on the way", plain, 400, "BadDigest", "The Content-MD5 you specified did not match what we received", failure.Unproven, "what changes requests on the way"},
		{"something that takes no PUT", plain, 405, "", "", failure.NoBucket, "check endpoint"},
		{"the https port, spoken to in http", plain, 400, "", "", failure.Object, "http or https"},
		{"a wrong secret", plain, 403, "SignatureDoesNotMatch", "no", failure.Credentials, "the secret key is not the access key's"},
		{"an old token", plain, 400, "ExpiredToken", "The provided token has expired.", failure.Credentials, "renew"},
		{"too fast", plain, 503, "SlowDown", "Please reduce your request rate.", failure.Throttled, ""},
		{"an outage", plain, 500, "InternalError", "We encountered an internal error.", failure.Unavailable, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reply := xml(tt.status, tt.code, tt.message)
			if tt.code == "" {
				reply = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(tt.status) }
			}
			s := newStore(t, reply, (*httptest.Server).Start)
			tt.o.Endpoint = s.URL
			e := failed(t, put(open(t, tt.o), t.Context(), "x"))
			if e.Kind != tt.kind || !strings.Contains(e.Hint, tt.hint) || tt.hint == "" && e.Hint != "" {
				t.Errorf("got %s %q, want %s %q", e.Kind, e.Hint, tt.kind, tt.hint)
			}
			if text := e.Error(); !strings.Contains(text, "endpoint "+s.URL) || strings.Contains(text, "{") {
				t.Errorf("want the endpoint, and no word in braces: %s", text)
			}
			if tail := tt.message[max(0, len(tt.message)-40):]; !strings.Contains(e.Error(), tail) {
				t.Errorf("want the end of what S3 said, %q, got %s", tail, e)
			}
			if !tt.kind.NeedsYou() && tt.hint != "" {
				t.Errorf("%s passes by itself, and asks for something", tt.kind)
			}
		})
	}
}

func TestARedirectOfANewBucketPassesByItself(t *testing.T) {
	environment(t)
	for name, header := range map[string][]string{
		"to the region that is set":          {"X-Amz-Bucket-Region", "us-west-2"},
		"to the bucket's host in the region": {"Location", "https://b.s3.us-west-2.amazonaws.com/ingest/k.gz"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, xml(307, "TemporaryRedirect", "no", header...), (*httptest.Server).Start)
			if e := failed(t, put(open(t, bucket.Options{Endpoint: s.URL}), t.Context(), "x")); e.Kind != failure.Unavailable || !strings.Contains(e.Hint, "nothing to do") {
				t.Errorf("got %s: %v", e.Kind, e)
			}
		})
	}
}

func TestARedirectSaysWhither(t *testing.T) {
	environment(t)
	for _, tt := range []struct {
		name  string
		reply http.HandlerFunc
		kind  failure.Kind
		hint  string
	}{
		{"to a login", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://login.example.com/sso?token=secret")
			w.WriteHeader(302)
		}, failure.NoBucket, "it redirects to https://login.example.com/sso"},
		{"to another region, by its host", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://b.s3-eu-west-1.amazonaws.com/")
			w.WriteHeader(307)
		}, failure.WrongRegion, "the bucket is in eu-west-1: set region eu-west-1"},
	} {
		s := newStore(t, tt.reply, (*httptest.Server).Start)
		e := failed(t, put(open(t, bucket.Options{Endpoint: s.URL}), t.Context(), "x"))
		if e.Kind != tt.kind || !strings.Contains(e.Hint, tt.hint) || strings.Contains(e.Error(), "secret") {
			t.Errorf("%s: got %s: %v", tt.name, e.Kind, e)
		}
	}
}

func TestWhoStandsBetweenIsTold(t *testing.T) {
	page := func(status int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			fmt.Fprint(w, "<html><h1>Access denied</h1>")
		}
	}
	for _, tt := range []struct {
		name   string
		reply  http.HandlerFunc
		proxy  string
		kind   failure.Kind
		hint   string
		unsaid string
	}{
		{"Squid does not let it through", page(403, "X-Squid-Error", "ERR_ACCESS_DENIED 0"), "", failure.Proxy, "a proxy answered by itself, and not S3, it says ERR_ACCESS_DENIED 0", "grant"},
		{"Squid finds no name", page(503, "X-Squid-Error", "ERR_DNS_FAIL 0"), "", failure.Unavailable, "it says ERR_DNS_FAIL 0", "grant"},
		{"a firewall", page(403), "", failure.Denied, "these are not S3's words: check endpoint", "HTTP_PROXY"},
		{"a firewall, and a proxy that is not asked for this machine", page(403), "http://127.0.0.1:1", failure.Denied, "such as a firewall or a proxy;", "HTTP_PROXY"},
		{"a web server that wants a login", page(401), "", failure.Denied, "these are not S3's words: check endpoint", "HTTP_PROXY"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			environment(t)
			t.Setenv("HTTP_PROXY", tt.proxy)
			s := newStore(t, tt.reply, (*httptest.Server).Start)
			e := failed(t, put(open(t, bucket.Options{Endpoint: s.URL}), t.Context(), "x"))
			if e.Kind != tt.kind || !strings.Contains(e.Hint, tt.hint) || strings.Contains(e.Hint, tt.unsaid) {
				t.Errorf("got %s: %v", e.Kind, e)
			}
		})
	}
}

func TestAHintNamesTheResourceInItsPartition(t *testing.T) {
	environment(t)
	s := newStore(t, xml(403, "AccessDenied", "Access Denied"), (*httptest.Server).Start)
	b, err := bucket.Open(t.Context(), bucket.Options{Bucket: "b", Region: "cn-north-1", Endpoint: s.URL, PathStyle: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if e := failed(t, put(b, t.Context(), "x")); !strings.Contains(e.Hint, "arn:aws-cn:s3:::b/ingest/*") {
		t.Errorf("got %s", e.Hint)
	}
	if e := failed(t, b.List(t.Context(), "f/", nil)); !strings.Contains(e.Hint, "s3:ListBucket on arn:aws-cn:s3:::b") {
		t.Errorf("got %s", e.Hint)
	}
}

func TestWhatIsSaidIsCutInTheMiddleAndIsOneLine(t *testing.T) {
	environment(t)
	message := "User: me " + strings.Repeat("ä", 300) + " with an explicit deny in the policy p"
	s := newStore(t, xml(403, "AccessDenied", message), (*httptest.Server).Start)
	e := failed(t, put(open(t, bucket.Options{Endpoint: s.URL}), t.Context(), "x"))
	if text := e.Error(); !strings.Contains(text, "User: me ä") || !strings.Contains(text, "ä with an explicit deny in the policy p") || len(text) > 700 {
		t.Errorf("got %s", text)
	}
	s = newStore(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amz-Request-Id", "R\x1b[31m")
		w.WriteHeader(403)
		fmt.Fprint(w, "<Error><Code>Access\u009bDenied</Code><Message>no\u009b31m\u202e</Message></Error>")
	}, (*httptest.Server).Start)
	e = failed(t, put(open(t, bucket.Options{Endpoint: s.URL}), t.Context(), "x"))
	if strings.ContainsFunc(e.Error(), func(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 || r == '\u202e' }) {
		t.Errorf("got %q", e)
	}
}
