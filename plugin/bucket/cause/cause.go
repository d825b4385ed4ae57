package cause

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"out_amberflo/plugin/bucket/creds"
	"out_amberflo/plugin/bucket/wire"
	"out_amberflo/plugin/ship/failure"
)

// row is one row of the specification of whose fault an answer is: the first row that fits gives kind and hint. A hint may
// have {words} that stand for what is known of the bucket, see hint.go.
type row struct {
	// The answer. An empty field fits any.
	from   creds.Provider // of credentials, empty for S3
	status int
	code   string
	says   string // in the message, small letters
	// when is what has to be so besides; nil: nothing.
	when func(*fault) bool

	kind failure.Kind
	hint string
}

// fault is an answer, and what it was an answer to.
type fault struct {
	*Error
	config Config
	header http.Header
	from   creds.Provider // of credentials that answered; empty: S3
	text   string         // what was said, in small letters
}

func withACL(f *fault) bool    { return puts(f) && f.config.ACL != "" }
func withKMSKey(f *fault) bool { return f.config.KMSKeyID != "" }
func withExtras(f *fault) bool { return f.extras() != "" }
func lists(f *fault) bool      { return f.Op == "list" }
func gets(f *fault) bool       { return f.Op == "get" }
func puts(f *fault) bool       { return f.Op == "put" || f.Op == "probe" }

// hasNoCode: the answer has no words of S3; the SDK then makes a code of the status.
func hasNoCode(f *fault) bool {
	return f.Code == "" || f.Code == "UnknownError" || f.Code == strings.ReplaceAll(http.StatusText(f.Status), " ", "")
}

// isOfProxy: a proxy's own words, such as Squid's.
func isOfProxy(f *fault) bool { return hasNoCode(f) && f.header.Get("X-Squid-Error") != "" }

func isBare4xx(f *fault) bool { return f.Status >= 400 && f.Status < 500 && hasNoCode(f) }

// leadsElsewhere: a redirect that is not S3's, which is a 307, or names a region or leads to a host of AWS.
func leadsElsewhere(f *fault) bool {
	location, err := url.Parse(f.header.Get("Location"))
	return f.Status >= 300 && f.Status < 400 && f.Status != 307 && hasNoCode(f) && f.header.Get("X-Amz-Bucket-Region") == "" &&
		err == nil && location.Host != "" && !IsAWS(location.Hostname())
}

// samePlace: the redirect leads to the region that is set already.
func samePlace(f *fault) bool {
	location := f.header.Get("Location")
	return f.header.Get("X-Amz-Bucket-Region") == f.config.Region || strings.Contains(location, "."+f.config.Region+".") || strings.Contains(location, "-"+f.config.Region+".")
}

// s3Rows are those of S3's answers, https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, and of servers that are
// like it.
var s3Rows = []row{
	// The clock and the credentials.
	{code: "RequestTimeTooSkewed", kind: failure.ClockSkew, hint: "{clock}"},
	{code: "RequestExpired", kind: failure.ClockSkew, hint: "{clock}"},
	{code: "SignatureDoesNotMatch", kind: failure.Credentials, hint: "the secret key is not the access key's, or something between here and S3 changes requests"},
	{code: "ExpiredToken", kind: failure.Credentials, hint: renew},
	{code: "ExpiredTokenException", kind: failure.Credentials, hint: renew},
	{code: "InvalidToken", kind: failure.Credentials, hint: renew},
	{code: "TokenRefreshRequired", kind: failure.Credentials, hint: renew},
	{code: "InvalidAccessKeyId", kind: failure.Credentials, hint: renew},
	{code: "InvalidClientTokenId", kind: failure.Credentials, hint: renew},
	{code: "NotSignedUp", kind: failure.Denied, hint: "the account of these credentials is not open for S3"},
	{code: "AccountProblem", kind: failure.Denied, hint: "AWS has closed something for an account: its owner has to ask AWS"},
	{code: "AllAccessDisabled", kind: failure.Denied, hint: "AWS has closed something for an account: its owner has to ask AWS"},

	// Throttling.
	{code: "SlowDown", kind: failure.Throttled}, {code: "Throttling", kind: failure.Throttled}, {code: "ThrottlingException", kind: failure.Throttled},
	{code: "RequestLimitExceeded", kind: failure.Throttled}, {code: "TooManyRequests", kind: failure.Throttled},
	{code: "KMS.ThrottlingException", kind: failure.Throttled}, {code: "KMS.RequestLimitExceeded", kind: failure.Throttled},
	{code: "TooManyRequestsException", kind: failure.Throttled}, {code: "BandwidthLimitExceeded", kind: failure.Throttled},
	{status: 429, kind: failure.Throttled},

	// Bucket and region.
	{status: 307, when: samePlace, kind: failure.Unavailable, hint: "nothing to do: the bucket is new, and its name is still on its way through the DNS"},
	{when: leadsElsewhere, kind: failure.NoBucket, hint: "it redirects to {location}, as S3 does not: check endpoint, and what stands between here and it"},
	{code: "AuthorizationHeaderMalformed", kind: failure.WrongRegion, hint: "{region}"},
	{code: "PermanentRedirect", kind: failure.WrongRegion, hint: "{region}"},
	{code: "TemporaryRedirect", kind: failure.WrongRegion, hint: "{region}"},
	{code: "IllegalLocationConstraintException", kind: failure.WrongRegion, hint: "{region}"},
	{code: "IncorrectEndpoint", kind: failure.WrongRegion, hint: "{region}"},
	{code: "NoSuchBucket", kind: failure.NoBucket, hint: noBucket},
	{code: "InvalidBucketName", kind: failure.NoBucket, hint: noBucket},
	{code: "NoSuchKey", kind: failure.Object},

	// What the configuration asks for is not to be had: no object will fare better.
	{code: "AccessControlListNotSupported", kind: failure.Denied, hint: "the bucket takes no ACL: set canned_acl none"},
	{status: 403, says: "blockpublicacls", kind: failure.Denied, hint: "the bucket takes no public ACL: set canned_acl bucket-owner-full-control, or none"},
	{status: 501, says: "x-amz-acl", kind: failure.Denied, hint: "the server has no ACLs: set canned_acl none"},
	{status: 501, says: "acl", when: withACL, kind: failure.Denied, hint: "the server has no ACLs: set canned_acl none"},
	{status: 501, when: withACL, kind: failure.Denied, hint: "the server does not know something that is asked of it: set canned_acl none{extras}"},
	{status: 501, when: withExtras, kind: failure.Denied, hint: "the server does not know something that is asked of it: leave out{extras}"},
	{status: 501, kind: failure.Denied, hint: "the server does not know this request: check endpoint, is it S3?"},
	{code: "InvalidStorageClass", kind: failure.Denied, hint: "change storage_class"},
	{code: "KMS.KeyUnavailableException", kind: failure.Unavailable}, {code: "KMS.InternalException", kind: failure.Unavailable},
	{code: "KMS.KMSInternalException", kind: failure.Unavailable}, {code: "KMS.DependencyTimeoutException", kind: failure.Unavailable},
	{code: "KMS.NotFoundException", when: withKMSKey, kind: failure.Denied, hint: kmsOfOurs},
	{code: "KMS.DisabledException", when: withKMSKey, kind: failure.Denied, hint: kmsOfOurs},
	{code: "KMS.KMSInvalidStateException", when: withKMSKey, kind: failure.Denied, hint: kmsOfOurs},
	{code: "KMS.NotFoundException", kind: failure.Denied, hint: kmsOfTheirs},
	{code: "KMS.DisabledException", kind: failure.Denied, hint: kmsOfTheirs},
	{code: "KMS.KMSInvalidStateException", kind: failure.Denied, hint: kmsOfTheirs},

	// Space.
	{code: "QuotaExceeded", kind: failure.Quota, hint: quota}, {code: "BucketQuotaExceeded", kind: failure.Quota, hint: quota},
	{code: "XMinioAdminBucketQuotaExceeded", kind: failure.Quota, hint: quota}, {code: "ServiceQuotaExceededException", kind: failure.Quota, hint: quota},
	{code: "XMinioStorageFull", kind: failure.Quota, hint: quota}, {code: "StorageFull", kind: failure.Quota, hint: quota},
	{code: "InsufficientCapacity", kind: failure.Quota, hint: quota}, {code: "TotalStorageLimitExceeded", kind: failure.Quota, hint: quota},
	{status: 507, kind: failure.Quota, hint: quota},
	{status: 403, says: "quota", kind: failure.Quota, hint: quota},
	{status: 403, says: "cap exceeded", kind: failure.Quota, hint: quota},

	// Whose policy. S3 says so at the end of its message.
	{status: 403, says: "service control policy", kind: failure.Denied, hint: "a service control policy of the AWS organisation denies it: ask who runs the organisation, no grant in an account helps"},
	{status: 403, says: "resource control policy", kind: failure.Denied, hint: "a resource control policy of the bucket owner's AWS organisation denies it: its owner has to ask who runs the organisation"},
	{status: 403, says: "vpc endpoint policy", kind: failure.Denied, hint: "the policy of the VPC endpoint that requests go through has to allow {grants}"},
	{status: 403, says: "permissions boundary", kind: failure.Denied, hint: "the permissions boundary of these credentials' user or role has to allow {grants}"},
	{status: 403, says: "session policy", kind: failure.Denied, hint: "the policy that these credentials' session was begun with has to allow {grants}"},
	{status: 403, says: "customer master key", kind: failure.Denied, hint: "{kms} is not there, is in another region, or may not be used: grant kms:GenerateDataKey on it"},
	{status: 403, says: "kms:", kind: failure.Denied, hint: "grant kms:GenerateDataKey on {kms}, in the key's own policy too if it belongs to another account; what S3 is granted does not matter here"},
	{status: 403, says: "explicit deny in a resource-based policy", kind: failure.Denied, hint: "the bucket's policy denies it, and no grant helps: its owner has to say on which condition it does (ACL, encryption, network, TLS){acl}"},
	{status: 403, says: "explicit deny in an identity-based policy", kind: failure.Denied, hint: "a policy of these credentials' own user or role denies it: take that out"},
	{status: 403, says: "no resource-based policy allows", kind: failure.Denied, hint: "the bucket's policy, its owner's, has to allow these credentials {grants}{acl}"},
	{status: 403, says: "no identity-based policy allows", when: puts, kind: failure.Denied, hint: "a policy of these credentials' user or role has to allow {grants}{acl}"},

	// Not S3's words: a proxy, a firewall or a web server denies it.
	{status: 502, when: isOfProxy, kind: failure.Unavailable, hint: ofProxy},
	{status: 503, when: isOfProxy, kind: failure.Unavailable, hint: ofProxy},
	{status: 504, when: isOfProxy, kind: failure.Unavailable, hint: ofProxy},
	{when: isOfProxy, kind: failure.Proxy, hint: ofProxy},
	{status: 401, when: hasNoCode, kind: failure.Denied, hint: notS3},
	{status: 403, when: hasNoCode, kind: failure.Denied, hint: notS3},

	// Reading.
	{status: 403, when: lists, kind: failure.Denied, hint: "grant s3:ListBucket on {container}"},
	{status: 401, when: lists, kind: failure.Denied, hint: "grant s3:ListBucket on {container}"},
	{status: 403, when: gets, kind: failure.Denied, hint: "grant s3:GetObject on {objects}"},
	{status: 401, when: gets, kind: failure.Denied, hint: "grant s3:GetObject on {objects}"},

	// On the way.
	{status: 407, kind: failure.Proxy, hint: proxyHint},
	{code: "BadDigest", kind: failure.Unproven, hint: changed}, {code: "InvalidDigest", kind: failure.Unproven, hint: changed},
	{code: "XAmzContentSHA256Mismatch", kind: failure.Unproven, hint: changed},
	{code: "RequestTimeout", kind: failure.Unreachable, hint: reach}, {code: "IncompleteBody", kind: failure.Unreachable, hint: reach},
	{code: "OperationAborted", kind: failure.Unavailable},

	// One object.
	{status: 413, says: "quota", kind: failure.Quota, hint: quota},
	{status: 413, kind: failure.Object, hint: tooLarge}, {code: "EntityTooLarge", kind: failure.Object, hint: tooLarge},
	{code: "KeyTooLongError", kind: failure.Object, hint: "shorten s3_key_format for new objects"},

	// By the status alone.
	{status: 408, kind: failure.Unavailable}, {status: 409, kind: failure.Unavailable}, {status: 425, kind: failure.Unavailable},
	{status: 401, kind: failure.Denied, hint: "grant {grants}{acl}"},
	{status: 403, kind: failure.Denied, hint: "grant {grants}{acl}"},
	{status: 404, kind: failure.NoBucket, hint: noBucket},
	{status: 405, when: hasNoCode, kind: failure.NoBucket, hint: "check endpoint: what answers there takes no objects"},
	{when: isBare4xx, kind: failure.Object, hint: "these are not S3's words: check endpoint (http or https?), and what stands between here and it"},
}

const (
	renew       = "renew the credentials: files and roles are read again, environment variables at a restart only"
	noBucket    = "check bucket and endpoint: there is no bucket {bucket} there"
	quota       = "no permission is missing: the space in the bucket is used up, and its owner has to add some"
	kmsOfOurs   = "change ssekms_key_id: {kms} cannot be used"
	kmsOfTheirs = "the key that the bucket encrypts with cannot be used: its owner has to fix that"
	changed     = "what arrived is not what was sent, which was checked here: look for what changes requests on the way, such as a proxy"
	tooLarge    = "it is larger than this server takes: set a smaller total_file_size for new objects, and raise the server's bound for this one, or divide it with meterctl split while Fluent Bit is stopped"
	proxyHint   = "the proxy of {variable} does not let it through: give it name and password in that URL, or except {host} with NO_PROXY"
	ofProxy     = "a proxy{proxy} answered by itself, and not S3, it says {squid}: have it let requests to {host} through, or except {host} with NO_PROXY"
	notS3       = "these are not S3's words: check endpoint, and what stands between here and it, such as a firewall or a proxy{proxy}; if it is S3 after all, grant {grants}{acl}"
	reach       = "check that {endpoint} can be reached from here"
)

func (c *row) fits(f *fault) bool {
	return (c.from == "" || c.from == f.from) && (c.status == 0 || c.status == f.Status) && (c.code == "" || c.code == f.Code) &&
		(c.says == "" || strings.Contains(f.text, c.says)) && (c.when == nil || c.when(f))
}

// first is the first row that fits, nil if none does.
func (f *fault) first(rows []row) *row {
	for i := range rows {
		if rows[i].fits(f) {
			return &rows[i]
		}
	}
	return nil
}

// judge gives kind and hint of an answer of S3.
func (f *fault) judge() (failure.Kind, string) {
	c := f.first(s3Rows)
	switch {
	case c != nil:
		return c.kind, f.fill(c.hint)
	case f.Status >= 500:
		return failure.Unavailable, ""
	case f.Status >= 300 && f.Status < 400:
		return failure.WrongRegion, f.fill("{region}")
	}
	return failure.Object, ""
}

// Config is what requests are made with, and what hints speak of.
type Config struct {
	Bucket    string
	Region    string // in effect, as is the endpoint
	Endpoint  string
	Given     bool // the endpoint is an option's
	PathStyle bool
	RoleARN   string

	ACL, StorageClass, SSE, KMSKeyID, Tagging string
}

// Explain says what came of a request. The error is one that the AWS SDK has returned, ctx the caller's.
func Explain(ctx context.Context, c Config, op, key string, err error) *Error {
	e := &Error{Op: op, Bucket: c.Bucket, Key: key, Endpoint: c.Endpoint, Err: err}
	var (
		asked     creds.Error
		answer    *awshttp.ResponseError
		api       smithy.APIError
		body      Unread
		proof     NoProof
		send      *smithyhttp.RequestSendError
		proxy     wire.ProxyError
		untrusted *tls.CertificateVerificationError
	)
	f := &fault{Error: e, config: c, header: http.Header{}}
	// Status and Code are S3's, not those of whoever hands out credentials. When nothing was answered the SDK
	// makes up a response of status 0.
	ours := !errors.As(err, &asked)
	if ours && errors.As(err, &answer) && answer.Response.StatusCode != 0 {
		f.header = answer.Response.Header
		e.Status, e.RequestID = answer.Response.StatusCode, answer.RequestID
		e.RetryAfter = retryAfter(f.header.Get("Retry-After"))
	}
	if ours && errors.As(err, &api) {
		e.Code, f.text = api.ErrorCode(), strings.ToLower(api.ErrorMessage())
	}
	switch {
	case e.Status == 0 && errors.Is(ctx.Err(), context.Canceled):
		e.Kind = failure.Canceled
	case !ours:
		e.Kind, e.Hint = f.judgeCredentials(ctx, asked)
	case errors.As(err, &body):
		e.Kind, e.Hint = failure.Unreadable, "check the disk that holds it"
	case errors.As(err, &proof), errors.Is(err, ErrNotS3), errors.Is(err, wire.ErrTooLong) && e.Status < 300:
		e.Kind, e.Hint = failure.Unproven, f.fill("check endpoint, {endpoint}, and what stands between here and it, such as a proxy or a gateway")
	case errors.As(err, &proxy):
		e.Kind, e.Hint = failure.Proxy, f.fill(proxyHint)
	case errors.As(err, &untrusted):
		e.Kind, e.Hint = failure.Unreachable, f.fill(untrustedHint(untrusted.Err))
	case e.Status >= 300 && CutOff(err):
		e.Kind, _ = f.judge()
	case e.Status >= 300:
		e.Kind, e.Hint = f.judge()
	case e.Status != 0, ctx.Err() != nil, errors.As(err, &send): // of an answer that all is well, the rest did not come
		e.Kind, e.Hint = failure.Unreachable, f.unreachable(err)
	default:
		e.Kind = failure.Object
	}
	if failure.OutOfFiles(err) {
		e.Hint = failure.RaiseFiles
	}
	return e
}

// untrustedHint tells a certificate that is another's or too old from one of an unknown issuer.
func untrustedHint(err error) string {
	var (
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &name):
		return "who answers for {endpoint} has a certificate for another name: write endpoint with a name that is in it{dots}, or check what stands between"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate of {endpoint} is too old or too new by this machine's clock: who runs that server has to renew it, or set the clock (NTP)"
	}
	return "who answers for {endpoint} has a certificate that is not trusted here: set AWS_CA_BUNDLE to a file with its issuer, which is read again after each such failure; or check what stands between"
}

// Status is that of S3's answer, 0 if there was none.
func Status(err error) int {
	var answer *awshttp.ResponseError
	if asked := (creds.Error{}); errors.As(err, &asked) || !errors.As(err, &answer) {
		return 0
	}
	return answer.Response.StatusCode
}

// CutOff tells if S3 answered with a status, and the reason did not come to its end. That happens where a server closes the
// connection with a body unread.
func CutOff(err error) bool {
	var read *smithy.DeserializationError
	var broke *net.OpError
	return errors.As(err, &read) && (errors.As(read, &broke) || errors.Is(read, io.ErrUnexpectedEOF) || errors.Is(read, failure.ErrStalled) || errors.Is(read, context.DeadlineExceeded))
}

// retryAfter reads seconds or an HTTP date, RFC 9110 section 10.2.3.
func retryAfter(text string) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// Unread is an error of the body that was to be put.
type Unread struct{ Err error }

func (e Unread) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e Unread) Unwrap() error { return e.Err }

// NoProof is an answer that all is well from which it does not follow that S3 holds the bytes.
type NoProof struct{ Why string }

func (e NoProof) Error() string {
	return "all is well, says the answer, but it does not prove that S3 has the object: " + e.Why
}

// ErrNotS3 is an answer that all is well, of something else.
var ErrNotS3 = errors.New("something says that all is well and is not S3: want an answer with an ETag, or a listing")
