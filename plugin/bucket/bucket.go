// Package bucket puts objects into one bucket of S3, and reads what Amberflo answers there. What holds:
//
//   - it alone knows of the AWS SDK, with the packages below it: wire is HTTP under the SDK, creds finds credentials, cause
//     says whose fault an answer is;
//   - stored means that the answer proves it, see proof.go;
//   - one call is one attempt, with one key and the same bytes: to make another is ship's;
//   - what cannot work is said by [Options.Check] or [Open], which make no request: a server that is missing today does not keep
//     the host from starting;
//   - an error is a [*cause.Error].
package bucket

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"out_amberflo/plugin/bucket/cause"
	"out_amberflo/plugin/bucket/creds"
	"out_amberflo/plugin/bucket/wire"
	"out_amberflo/plugin/ship/failure"
)

// Options say which bucket, as whom, and what every object put there carries. The empty value of a field
// leaves its header or setting out.
type Options struct {
	Bucket    string
	Region    string // empty: what the SDK finds in the environment or the profile
	Endpoint  string // URL of an S3-compatible server
	PathStyle bool   // http://endpoint/bucket/key instead of http://bucket.endpoint/key

	Profile     string // of the shared configuration files
	RoleARN     string // assumed with the credentials that the SDK's chain finds
	ExternalID  string // asked for by some roles; goes with RoleARN
	STSEndpoint string // URL; goes with RoleARN

	ContentType  string
	ACL          string // canned, e.g. bucket-owner-full-control
	StorageClass string // e.g. STANDARD_IA
	SSE          string // AES256 or aws:kms
	KMSKeyID     string // goes with SSE aws:kms
	Tagging      string // as in a query: a=1&b=2
}

// requestTimeout is for a listing's page and a report, from the look-up of the name to the last byte. Tests shorten it, and the
// next three.
var requestTimeout = time.Minute

// deniedAge is the age from which credentials are read again when S3 denies something.
var deniedAge = time.Minute

var attemptLimits = wire.Limits{Stall: 30 * time.Second, Alive: 3 * time.Second}

var credentialLimits = creds.Limits{Answer: 20 * time.Second, Helper: 30 * time.Second, Lookup: 45 * time.Second}

// Bucket is one bucket under one set of options. It is safe for concurrent use.
type Bucket struct {
	opts        Options
	client      *s3.Client
	endpoint    string // in effect, without the bucket's name where that is in the path
	warnings    []string
	credentials *creds.Chain
	wire        *wire.Wire
	noExpect    atomic.Bool // the server answered 417
	// The ETag does not prove what is stored: a checksum is sent too, which S3 then gives back.
	checksums atomic.Bool
}

// Open reads the SDK's environment and files for options that Check has passed; it makes no request, so that a server or
// credentials which are missing today do not keep the host from starting. The error is an [*OptionError] where an option
// is at fault, or a variable of the environment.
func Open(ctx context.Context, opts Options) (*Bucket, error) {
	cfg, err := creds.Load(ctx, opts.whom(), credentialLimits)
	if wrong := (*creds.SettingError)(nil); errors.As(err, &wrong) {
		return nil, (*OptionError)(wrong)
	}
	if err != nil {
		return nil, err
	}
	if cfg.Region == "" {
		return nil, &OptionError{Option: "region", Want: "the bucket's region, here or as AWS_REGION or in the profile", Example: "us-west-2"}
	}
	b := &Bucket{opts: opts, credentials: creds.New(opts.whom(), credentialLimits), wire: wire.New(cfg, attemptLimits)}
	b.client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.Credentials = b.credentials
		o.HTTPClient = b.wire
		o.Retryer = aws.NopRetryer{}
		o.UsePathStyle = opts.PathStyle
		o.ContinueHeaderThresholdBytes = wire.ExpectFrom
		// Content-MD5 and the signed SHA-256 of the body protect it; a trailer would need aws-chunked framing,
		// which some S3-compatible servers store as part of the object.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.APIOptions = append(o.APIOptions, wire.Unsigned)
		if opts.Endpoint != "" {
			o.BaseEndpoint = &opts.Endpoint
		}
	})
	if b.endpoint, err = opts.place(ctx, b.client.Options()); err != nil {
		b.credentials.Close()
		return nil, err
	}
	b.checksums.Store(opts.isKMS(&s3.PutObjectOutput{}))
	b.warnings = opts.warnings()
	return b, nil
}

// whom are the options that say as whom.
func (o Options) whom() creds.Options {
	return creds.Options{Region: o.Region, Profile: o.Profile, RoleARN: o.RoleARN, ExternalID: o.ExternalID, STSEndpoint: o.STSEndpoint}
}

// explain turns what the SDK returns into a *cause.Error, and does what may help the next attempt; nil stays nil. ctx is the
// caller's.
func (b *Bucket) explain(ctx context.Context, op, key string, err error) error {
	if err == nil {
		return nil
	}
	e := cause.Explain(ctx, cause.Config{
		Bucket: b.opts.Bucket, Region: b.Region(), Endpoint: b.endpoint, Given: b.opts.Endpoint != "", PathStyle: b.opts.PathStyle, RoleARN: b.opts.RoleARN,
		ACL: b.opts.ACL, StorageClass: b.opts.StorageClass, SSE: b.opts.SSE, KMSKeyID: b.opts.KMSKeyID, Tagging: b.opts.Tagging,
	}, op, key, err)
	switch {
	case errors.As(err, new(*tls.CertificateVerificationError)): // somebody may have replaced certificates
		b.credentials.Forget(0)
		if cfg, err := creds.Load(ctx, b.opts.whom(), credentialLimits); err == nil {
			b.wire.Renew(cfg)
		}
	case e.Kind == failure.Credentials:
		b.credentials.Forget(0)
	case e.Kind == failure.Denied: // an operator may have replaced them by now
		b.credentials.Forget(deniedAge)
	}
	return e
}

// ARN names the bucket, or the access point to it, and what in it begins with a prefix, as policies do.
func (b *Bucket) ARN(prefix string) (container, objects string) {
	return cause.ARN(b.opts.Bucket, b.Region(), prefix)
}

// Region is the one in effect, wherever Open found it.
func (b *Bucket) Region() string { return b.client.Options().Region }

// Endpoint is the URL in effect, wherever Open found it.
func (b *Bucket) Endpoint() string { return b.endpoint }

// Warnings are sentences about options that work, and hardly do what was wanted.
func (b *Bucket) Warnings() []string { return b.warnings }

// Close closes idle connections and ends helpers that are asked for credentials. Requests under way go on.
func (b *Bucket) Close() {
	b.credentials.Close()
	b.wire.CloseIdle()
}

// Put makes one attempt to store size bytes of body, read from its start, under key: one PutObject, never multipart. It
// ends when nothing moves any more, however long it takes in all; for an answer, it waits twice as long as usual, patience
// times over, five minutes at most. It reads body twice, once to know its digests (see digestOf), and never after it has
// returned. Nil means that S3 has proved to hold these bytes. The error is always an [*cause.Error]; after any of them the
// object may nevertheless be there, and the same Put again is harmless.
func (b *Bucket) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, patience int) error {
	return b.put(wire.Patient(ctx, patience), key, body, size, b.opts.ContentType)
}

// PutText stores a small text; the rest is as with Put.
func (b *Bucket) PutText(ctx context.Context, key, text string) error {
	return b.put(ctx, key, strings.NewReader(text), int64(len(text)), "text/plain")
}

func (b *Bucket) put(ctx context.Context, key string, body io.ReadSeeker, size int64, contentType string) error {
	sum, err := digestOf(body, size)
	if err != nil {
		return b.explain(ctx, "put", key, cause.Unread{Err: err})
	}
	in := b.object(key, source{body})
	in.ContentLength, in.ContentType, in.ContentMD5 = &size, &contentType, base64Of(sum.md5)
	err = b.try(ctx, size, true, func(ctx context.Context) error {
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return cause.Unread{Err: err}
		}
		expects := !b.noExpect.Load()
		err := b.putObject(ctx, in, sum)
		if cause.Status(err) == http.StatusExpectationFailed && expects {
			b.noExpect.Store(true)
			if _, seek := body.Seek(0, io.SeekStart); seek == nil {
				err = b.putObject(ctx, in, sum)
			}
		}
		return err
	})
	return b.explain(ctx, "put", key, err)
}

// try makes a request, and a second time on a fresh connection where the first was on one that is dead: that is no failure of
// the server's.
func (b *Bucket) try(ctx context.Context, size int64, stalls bool, request func(context.Context) error) error {
	for again := true; ; again = false {
		a := &wire.Attempt{Wire: b.wire, Size: size, Stalls: stalls}
		watched, done := a.Watch(ctx)
		err := request(watched)
		done()
		ended := context.Cause(watched)
		dead := errors.Is(ended, wire.ErrDead)
		if err == nil || cause.Status(err) >= 300 || !dead && !errors.Is(ended, failure.ErrStalled) {
			return err
		}
		if a.Reused() {
			b.wire.Distrust()
		} else {
			b.wire.CloseIdle() // which may be as dead
		}
		if !dead || !again {
			return &smithyhttp.RequestSendError{Err: ended}
		}
	}
}

// putObject is one request. Its answer counts as one only if it proves that sum is stored.
func (b *Bucket) putObject(ctx context.Context, in *s3.PutObjectInput, sum digest) error {
	if b.checksums.Load() && in.ContentLength != nil {
		in.ChecksumSHA256 = base64Of(sum.sha256)
	}
	out, err := b.client.PutObject(ctx, in, func(o *s3.Options) {
		o.APIOptions = append(o.APIOptions, signed(sum.sha256))
		if b.noExpect.Load() {
			o.ContinueHeaderThresholdBytes = -1
		}
	})
	if err == nil {
		err = b.opts.prove(out, sum)
		if err != nil || b.opts.isKMS(out) {
			b.checksums.Store(true)
		}
	}
	return err
}

// Probe asks whether Put to key would be allowed, with a PutObject whose Content-MD5 is deliberately that of
// other bytes. S3 weighs permission first, so BadDigest means yes, and nothing is stored. A server that ignores
// Content-MD5 does store the probe, a JSON array of no records, and that is a yes too if its answer proves it, as that to a
// real put has to. The error is always an [*cause.Error].
func (b *Bucket) Probe(ctx context.Context, key string) error {
	sum, err := digestOf(strings.NewReader("[]\n"), 3)
	for range 3 { // an answer that is cut off does not tell why
		err = b.try(ctx, 0, false, func(ctx context.Context) error {
			in := b.object(key, strings.NewReader("[]\n"))
			in.ContentMD5 = aws.String("1B2M2Y8AsgTpgAmY7PhCfg==") // of no bytes at all
			return b.putObject(ctx, in, sum)
		})
		if !cause.CutOff(err) || ctx.Err() != nil {
			break
		}
	}
	if api := (smithy.APIError)(nil); errors.As(err, &api) && api.ErrorCode() == "BadDigest" {
		return nil
	}
	return b.explain(ctx, "probe", key, err)
}

// List calls page with every page (up to 1,000) of the keys that the bucket holds under prefix, in their order, with one
// request each. An error of page ends the listing and is returned as it is; others are an [*cause.Error].
func (b *Bucket) List(ctx context.Context, prefix string, page func(keys []string) error) error {
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.opts.Bucket, Prefix: &prefix})
	token, barren := "", 0
	for pages.HasMorePages() {
		once, cancel := context.WithTimeout(ctx, requestTimeout)
		var out *s3.ListObjectsV2Output
		err := b.try(once, 0, false, func(ctx context.Context) (err error) {
			out, err = pages.NextPage(ctx)
			return err
		})
		err = b.explain(once, "list", prefix, err)
		cancel()
		if err != nil {
			return err
		}
		if barren++; len(out.Contents) > 0 {
			barren = 0
		}
		next := aws.ToString(out.NextContinuationToken)
		if out.Name == nil && out.IsTruncated == nil || next != "" && next == token || barren > mostBarren {
			return b.explain(ctx, "list", prefix, cause.ErrNotS3) // or one that would be listed for ever
		}
		token = next
		keys := make([]string, len(out.Contents))
		for i, o := range out.Contents {
			keys[i] = aws.ToString(o.Key)
		}
		if err := page(keys); err != nil {
			return err
		}
	}
	return nil
}

// mostBarren is how many pages of a listing may come without a key, one after the other.
const mostBarren = 100

// Get returns the first limit bytes of an object, all of it if it is shorter. The error is always an [*cause.Error].
func (b *Bucket) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var data []byte
	err := b.try(ctx, 0, false, func(ctx context.Context) error {
		out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.opts.Bucket, Key: &key})
		if err != nil {
			return err
		}
		defer out.Body.Close()
		if data, err = io.ReadAll(io.LimitReader(out.Body, limit)); err != nil {
			return &smithyhttp.RequestSendError{Err: err}
		}
		return nil
	})
	return data, b.explain(ctx, "get", key, err)
}

func (b *Bucket) object(key string, body io.Reader) *s3.PutObjectInput {
	in := &s3.PutObjectInput{
		Bucket: &b.opts.Bucket, Key: &key, Body: body,
		ACL:                  types.ObjectCannedACL(b.opts.ACL),
		StorageClass:         types.StorageClass(b.opts.StorageClass),
		ServerSideEncryption: types.ServerSideEncryption(b.opts.SSE),
	}
	if b.opts.KMSKeyID != "" {
		in.SSEKMSKeyId = &b.opts.KMSKeyID
	}
	if b.opts.Tagging != "" {
		in.Tagging = &b.opts.Tagging
	}
	return in
}

// signed makes the signature cover the body's SHA-256 over https too, where the SDK would sign UNSIGNED-PAYLOAD.
func signed(sha256 []byte) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		id := (&v4.ComputePayloadSHA256{}).ID()
		_, err := stack.Finalize.Swap(id, middleware.FinalizeMiddlewareFunc(id,
			func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
				return next.HandleFinalize(v4.SetPayloadHash(ctx, hex.EncodeToString(sha256)), in)
			}))
		return err
	}
}

// source marks the errors of a body, which otherwise look like those of the network.
type source struct{ io.ReadSeeker }

func (s source) Read(p []byte) (int, error) {
	n, err := s.ReadSeeker.Read(p)
	if err != nil && err != io.EOF {
		err = cause.Unread{Err: err}
	}
	return n, err
}
