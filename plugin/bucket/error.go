package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Kind is what went wrong, as far as a caller acts on it.
type Kind uint8

// The kinds. None of them proves that nothing was stored.
const (
	Refused     Kind = iota // S3 does not take this object: any 4xx that is none of the below
	Unreachable             // no answer: name, network, TLS, reset, time-out
	Unavailable             // 5xx, and 4xx that pass by themselves
	Throttled               // 429, SlowDown
	Denied                  // 403: the credentials are good, the permission is missing
	Credentials             // none found, expired, or not the ones S3 knows
	ClockSkew               // this machine's clock is off by more than S3 tolerates; the next request corrects for it
	NoBucket                // 404
	WrongRegion             // the bucket is in another region
	Unreadable              // the body could not be read: nothing to do with S3
	Canceled                // the caller's context was canceled
)

var kindNames = [...]string{"refused", "unreachable", "unavailable", "throttled", "denied", "credentials",
	"clock_skew", "no_bucket", "wrong_region", "unreadable", "canceled"}

// String is one word for logs and metric labels.
func (k Kind) String() string { return kindNames[k] }

// ConcernsAll tells whether the next object would meet the same, so that trying it now is pointless.
func (k Kind) ConcernsAll() bool {
	return k != Refused && k != Unreadable && k != Canceled
}

// Error is what came of one request. It holds no secret.
type Error struct {
	Kind       Kind
	Op         string // put, probe, list or get
	Bucket     string
	Key        string        // of list: the prefix
	Status     int           // of HTTP; 0 if there was no answer
	Code       string        // S3's, e.g. AccessDenied; may be empty
	RequestID  string        // S3's, for its support; may be empty
	RetryAfter time.Duration // as the server asked; 0 if it did not
	Hint       string        // what an operator can do; may be empty
	Err        error
}

// Error is one line: what was wanted, what the answer was, what to do.
func (e *Error) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s s3://%s/%s: ", e.Op, e.Bucket, e.Key)
	switch {
	case e.Status == 0:
		s.WriteString(e.Kind.String())
	case e.Code == "":
		fmt.Fprintf(&s, "%s (%d)", e.Kind, e.Status)
	default:
		fmt.Fprintf(&s, "%s (%d)", e.Code, e.Status)
	}
	s.WriteString(": " + e.said())
	if e.RequestID != "" {
		s.WriteString(" [request " + e.RequestID + "]")
	}
	if e.Hint != "" {
		s.WriteString("; " + e.Hint)
	}
	return s.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

const saidMax = 300 // bytes

// queries of URLs may be secrets, such as that of AWS_CONTAINER_CREDENTIALS_FULL_URI.
var queries = regexp.MustCompile(`(https?://[^\s"?]+)\?[^\s"]+`)

func withoutQueries(text string) string { return queries.ReplaceAllString(text, "$1?…") }

// said is the useful part of Err in one line: the SDK wraps it in up to six layers that repeat what Error says.
func (e *Error) said() string {
	var (
		api         smithy.APIError
		send        *smithyhttp.RequestSendError
		canceled    *smithy.CanceledError
		credentials credentialsError
		body        bodyError
		process     *processcreds.ProviderError
		text        string
	)
	isAPI := errors.As(e.Err, &api)
	switch {
	case errors.As(e.Err, &process): // its error may hold the whole output, and that the secret
		text = "credential_process: " + process.Err.Error()
		if strings.HasPrefix(process.Err.Error(), "parse failed") {
			text = "the output of credential_process is not what the AWS SDK reads"
			if cause := errors.Unwrap(process.Err); cause != nil {
				text += ": " + cause.Error()
			}
		}
	case errors.As(e.Err, &credentials) && isAPI && api.ErrorCode() == "": // an endpoint's page, which may hold anything
		text = "whoever hands out the credentials answered in words that are no error of AWS"
	case errors.As(e.Err, &credentials) && isAPI:
		text = api.ErrorCode() + ": " + api.ErrorMessage()
	case errors.As(e.Err, &credentials):
		text = credentials.Error()
	case errors.As(e.Err, &body):
		text = body.Error()
	case isAPI:
		text = api.ErrorMessage()
	case cutOff(e.Err):
		text = http.StatusText(e.Status) + ", and then the connection broke: the next answer may say why"
	case e.Status != 0:
		text = http.StatusText(e.Status) + ", in words that are not S3's"
	case errors.As(e.Err, &canceled):
		text = canceled.Err.Error()
	case errors.As(e.Err, &send):
		text = send.Err.Error()
	default:
		text = e.Err.Error()
	}
	text = withoutQueries(strings.Join(strings.Fields(text), " "))
	if len(text) > saidMax {
		text = strings.ToValidUTF8(text[:saidMax], "") + "…"
	}
	return text
}

// kindOfCode sorts what the status alone would sort wrongly or too coarsely.
// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
var kindOfCode = map[string]Kind{
	"SlowDown": Throttled, "Throttling": Throttled, "ThrottlingException": Throttled, "RequestLimitExceeded": Throttled,
	"TooManyRequests": Throttled, "TooManyRequestsException": Throttled, "BandwidthLimitExceeded": Throttled,

	"ExpiredToken": Credentials, "ExpiredTokenException": Credentials, "InvalidToken": Credentials, "TokenRefreshRequired": Credentials,
	"InvalidAccessKeyId": Credentials, "SignatureDoesNotMatch": Credentials, "InvalidClientTokenId": Credentials,

	"RequestTimeTooSkewed": ClockSkew,

	"AuthorizationHeaderMalformed": WrongRegion, "PermanentRedirect": WrongRegion, "TemporaryRedirect": WrongRegion,
	"IllegalLocationConstraintException": WrongRegion, "IncorrectEndpoint": WrongRegion,

	"NoSuchBucket": NoBucket, "InvalidBucketName": NoBucket, "NoSuchKey": Refused,

	// What the configuration asks for is not allowed here: no object will fare better.
	"AccessControlListNotSupported": Denied, "InvalidStorageClass": Denied, "KMS.NotFoundException": Denied,
	"KMS.DisabledException": Denied, "KMS.KMSInvalidStateException": Denied,

	"RequestTimeout": Unreachable, "IncompleteBody": Unreachable, "OperationAborted": Unavailable,
}

func kindOfStatus(status int) Kind {
	switch {
	case status == http.StatusTooManyRequests:
		return Throttled
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusConflict:
		return Unavailable
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return Denied
	case status == http.StatusNotFound:
		return NoBucket
	case status >= 300 && status < 400:
		return WrongRegion
	}
	return Refused
}

// explain turns what the SDK returns into an *Error; nil stays nil.
func (b *Bucket) explain(ctx context.Context, op, key string, err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op, Bucket: b.opts.Bucket, Key: key, Err: err}
	var (
		credentials credentialsError
		answer      *awshttp.ResponseError
		api         smithy.APIError
		header      http.Header
	)
	// Status and Code are S3's, not those of whoever hands out credentials. When nothing was answered the SDK
	// makes up a response of status 0.
	ours := !errors.As(err, &credentials)
	if ours && errors.As(err, &answer) && answer.Response.StatusCode != 0 {
		header = answer.Response.Header
		e.Status, e.RequestID = answer.Response.StatusCode, answer.RequestID
		e.RetryAfter = retryAfter(header.Get("Retry-After"))
	}
	if ours && errors.As(err, &api) {
		e.Code = api.ErrorCode()
	}
	e.Kind = kindOf(ctx, e)
	e.Hint = b.hint(e, header)
	switch e.Kind {
	case Credentials:
		b.credentials.forget(0)
	case Denied: // an operator may have replaced them by now
		b.credentials.forget(deniedAge)
	}
	return e
}

func kindOf(ctx context.Context, e *Error) Kind {
	var (
		credentials credentialsError
		body        bodyError
		send        *smithyhttp.RequestSendError
	)
	switch {
	case e.Status == 0 && errors.Is(ctx.Err(), context.Canceled):
		return Canceled
	case errors.As(e.Err, &credentials):
		return kindOfCredentials(ctx, e.Err)
	case errors.As(e.Err, &body):
		return Unreadable
	}
	if kind, ok := kindOfCode[e.Code]; ok {
		return kind
	}
	switch {
	case e.Status >= 300:
		return kindOfStatus(e.Status)
	case e.Status != 0, ctx.Err() != nil, errors.As(e.Err, &send): // of an answer that all is well, the rest did not come
		return Unreachable
	}
	return Refused
}

// kindOfCredentials sorts what came of asking for credentials: an outage of who hands them out passes by itself, and
// is no reason to begin the chain anew, which would also forget how far this machine's clock is off.
func kindOfCredentials(ctx context.Context, err error) Kind {
	var (
		answer interface{ HTTPStatusCode() int } // of STS and SSO, or of the endpoint of a container
		api    smithy.APIError
		send   *smithyhttp.RequestSendError
	)
	switch {
	case ctx.Err() != nil:
		return Unreachable
	case errors.As(err, &api) && strings.HasPrefix(api.ErrorMessage(), "Signature "): // expired, or not yet current
		return ClockSkew
	case errors.As(err, &api) && kindOfCode[api.ErrorCode()] == Throttled:
		return Throttled
	case errors.As(err, &answer) && answer.HTTPStatusCode() >= 500:
		return Unavailable
	case errors.As(err, &answer) && answer.HTTPStatusCode() == 0 && errors.As(err, &send):
		return Unreachable
	}
	return Credentials
}

// cutOff tells if S3 answered with a status, and the connection broke before the reason had come. That happens where a
// server closes it with a body unread.
func cutOff(err error) bool {
	var read *smithy.DeserializationError
	var broke *net.OpError
	return errors.As(err, &read) && (errors.As(read, &broke) || errors.Is(read, io.ErrUnexpectedEOF))
}

// expecting is how AuthorizationHeaderMalformed names the bucket's region; the quotes differ between servers.
var expecting = regexp.MustCompile(`expecting ['"]([a-z0-9-]+)['"]`)

func (b *Bucket) hint(e *Error, header http.Header) string {
	if cutOff(e.Err) {
		return ""
	}
	switch e.Kind {
	case Unreachable:
		if errors.Is(e.Err, errNotS3) {
			return "check endpoint, and what stands between here and it, such as a proxy"
		}
		if credentials := (credentialsError{}); errors.As(e.Err, &credentials) {
			return "check that whoever hands out the credentials (STS, SSO, metadata service) can be reached from here"
		}
		if b.opts.Endpoint != "" {
			return "check that " + b.opts.Endpoint + " can be reached from here"
		}
		return "check network, DNS and proxy, and that bucket and region are right"
	case Denied:
		return b.denied(e)
	case Credentials:
		switch {
		case e.Code == "SignatureDoesNotMatch":
			return "the secret key is not the access key's"
		case b.opts.RoleARN != "" && e.Status == 0:
			return "check that these credentials may assume " + b.opts.RoleARN + " (sts:AssumeRole, its trust policy, external_id)"
		case e.Status == 0:
			return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, profile or role_arn, or run where a role is attached"
		}
		return "renew the credentials: files and roles are read again, environment variables at a restart only"
	case ClockSkew:
		if server, err := http.ParseTime(header.Get("Date")); err == nil {
			off, word := time.Since(server), "fast"
			if off < 0 {
				off, word = -off, "slow"
			}
			return fmt.Sprintf("this machine's clock is %d min %s: set it (NTP); the next try allows for it", off.Round(time.Minute)/time.Minute, word)
		}
		return "this machine's clock is off: set it (NTP)"
	case NoBucket:
		return "check bucket and endpoint: there is no bucket " + b.opts.Bucket + " there"
	case WrongRegion:
		region := header.Get("X-Amz-Bucket-Region")
		if m := expecting.FindStringSubmatch(e.said()); m != nil {
			region = m[1]
		}
		if region != "" {
			return "the bucket is in " + region + ": set region " + region
		}
		return "set region to the bucket's own"
	case Unreadable:
		return "check the disk that holds it"
	}
	return ""
}

func (b *Bucket) denied(e *Error) string {
	first, _, nested := strings.Cut(e.Key, "/")
	objects := "arn:aws:s3:::" + b.opts.Bucket + "/*"
	if nested {
		objects = "arn:aws:s3:::" + b.opts.Bucket + "/" + first + "/*"
	}
	switch {
	case e.Code == "AccessControlListNotSupported":
		return "the bucket takes no ACL: set canned_acl none"
	case e.Code == "InvalidStorageClass":
		return "change storage_class"
	case strings.HasPrefix(e.Code, "KMS."):
		return "change ssekms_key_id"
	case e.Op == "list":
		return "grant s3:ListBucket on arn:aws:s3:::" + b.opts.Bucket
	case e.Op == "get":
		return "grant s3:GetObject on " + objects
	}
	actions := []string{"s3:PutObject"}
	if b.opts.ACL != "" {
		actions = append(actions, "s3:PutObjectAcl")
	}
	if b.opts.Tagging != "" {
		actions = append(actions, "s3:PutObjectTagging")
	}
	if b.opts.KMSKeyID != "" {
		actions = append(actions, "kms:GenerateDataKey")
	}
	hint := "grant " + strings.Join(actions, ", ") + " on " + objects
	if b.opts.ACL == "" {
		hint += ", or set canned_acl bucket-owner-full-control if the bucket's policy demands it"
	}
	return hint
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

type credentialsError struct{ error }

func (e credentialsError) Unwrap() error { return e.error }

type bodyError struct{ error }

func (e bodyError) Unwrap() error { return e.error }
