// Package bucket is the only room that speaks to S3. It makes one attempt at one request and says what came
// of it: an [Error] with a [Kind], the server's own words and what an operator can do. Retrying is ship's.
//
// What counts as stored is in proof.go, what one attempt is in attempt.go, and whose fault an error is in the tables of
// cause.go.
package bucket

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
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

	ACL          string // canned, e.g. bucket-owner-full-control
	StorageClass string // e.g. STANDARD_IA
	SSE          string // AES256 or aws:kms
	KMSKeyID     string // goes with SSE aws:kms
	Tagging      string // as in a query: a=1&b=2
}

// Bucket is one bucket under one set of options. It is safe for concurrent use.
type Bucket struct {
	opts        Options
	client      *s3.Client
	endpoint    string // in effect, without the bucket's name where that is in the path
	warnings    []string
	credentials *chain
	wire        *wire
	noExpect    atomic.Bool // the server answered 417
	// The ETag does not prove what is stored: a checksum is sent too, which S3 then gives back.
	checksums atomic.Bool
}

// Open reads the SDK's environment and files for options that Check has passed; it makes no request, so that a server or
// credentials which are missing today do not keep the host from starting. The error is an [*OptionError] where an option
// is at fault, or a variable of the environment.
func Open(ctx context.Context, opts Options) (*Bucket, error) {
	ignoreUnused()
	cfg, err := opts.load(ctx)
	if err != nil {
		return nil, err
	}
	if cfg.Region == "" {
		return nil, &OptionError{Option: "region", Want: "the bucket's region, here or as AWS_REGION or in the profile", Example: "us-west-2"}
	}
	b := &Bucket{opts: opts, credentials: newChain(opts), wire: &wire{}}
	b.wire.use(newTransport(cfg))
	b.client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.Credentials = b.credentials
		o.HTTPClient = b.wire
		o.Retryer = aws.NopRetryer{}
		o.UsePathStyle = opts.PathStyle
		o.ContinueHeaderThresholdBytes = expectFrom
		// Content-MD5 and the signed SHA-256 of the body protect it; a trailer would need aws-chunked framing,
		// which some S3-compatible servers store as part of the object.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.APIOptions = append(o.APIOptions, unsigned)
		if opts.Endpoint != "" {
			o.BaseEndpoint = &opts.Endpoint
		}
	})
	if b.endpoint, err = opts.place(ctx, b.client.Options()); err != nil {
		b.credentials.close()
		return nil, err
	}
	b.checksums.Store(opts.isKMS(&s3.PutObjectOutput{}))
	b.warnings = opts.warnings()
	return b, nil
}

// ARN names the bucket, or the access point to it, and what in it begins with a prefix, as policies do.
func (b *Bucket) ARN(prefix string) (container, objects string) {
	return arnOf(b.opts.Bucket, b.Region(), prefix)
}

// Region is the one in effect, wherever Open found it.
func (b *Bucket) Region() string { return b.client.Options().Region }

// Endpoint is the URL in effect, wherever Open found it.
func (b *Bucket) Endpoint() string { return b.endpoint }

// Warnings are sentences about options that work, and hardly do what was wanted.
func (b *Bucket) Warnings() []string { return b.warnings }

// Close closes idle connections and ends helpers that are asked for credentials. Requests under way go on.
func (b *Bucket) Close() {
	b.credentials.close()
	b.wire.transport.Load().CloseIdleConnections()
}

// Put makes one attempt to store size bytes of body, read from its start, under key: one PutObject, never multipart. It
// ends when nothing moves any more, however long it takes in all. It reads body twice, once to know its digests (see
// digestOf), and never after it has returned. Nil means that S3 has proved to hold these bytes. The error is always an
// [*Error]; after any of them the object may nevertheless be there, and the same Put again is harmless.
func (b *Bucket) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, contentType string) error {
	sum, err := digestOf(body, size)
	if err != nil {
		return b.explain(ctx, "put", key, bodyError{err})
	}
	in := b.object(key, source{body})
	in.ContentLength, in.ContentType, in.ContentMD5 = &size, &contentType, base64Of(sum.md5)
	err = b.try(ctx, size, true, func(ctx context.Context) error {
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			return bodyError{err}
		}
		expects := !b.noExpect.Load()
		err := b.putObject(ctx, in, sum)
		if statusOf(err) == http.StatusExpectationFailed && expects {
			b.noExpect.Store(true)
			if _, seek := body.Seek(0, io.SeekStart); seek == nil {
				err = b.putObject(ctx, in, sum)
			}
		}
		return err
	})
	return b.explain(ctx, "put", key, err)
}

// try makes a request, and a second time on a fresh connection where the first was on one that is dead.
func (b *Bucket) try(ctx context.Context, size int64, stalls bool, request func(context.Context) error) error {
	for again := true; ; again = false {
		a := &attempt{wire: b.wire, size: size, stalls: stalls}
		watched, done := a.watch(ctx)
		err := request(watched)
		done()
		ended := context.Cause(watched)
		answered := err == nil || statusOf(err) >= 300
		if !answered && a.before.Load() != nil && (errors.Is(ended, errDead) || errors.Is(ended, ErrStalled)) {
			b.wire.distrust()
		}
		switch {
		case !answered && errors.Is(ended, errDead) && again:
			continue
		case !answered && errors.Is(ended, ErrStalled):
			err = &smithyhttp.RequestSendError{Err: ended}
			b.wire.transport.Load().CloseIdleConnections() // which may be as dead
		}
		return err
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
// real put has to. The error is always an [*Error].
func (b *Bucket) Probe(ctx context.Context, key string) error {
	sum, err := digestOf(strings.NewReader("[]\n"), 3)
	for range 3 { // an answer that is cut off does not tell why
		in := b.object(key, strings.NewReader("[]\n"))
		in.ContentMD5 = aws.String("1B2M2Y8AsgTpgAmY7PhCfg==") // of no bytes at all
		if err = b.putObject(ctx, in, sum); !cutOff(err) || ctx.Err() != nil {
			break
		}
	}
	if api := (smithy.APIError)(nil); errors.As(err, &api) && api.ErrorCode() == "BadDigest" {
		return nil
	}
	return b.explain(ctx, "probe", key, err)
}

// List calls page with every page (up to 1,000) of the keys that the bucket holds under prefix, in their order, with one
// request each. An error of page ends the listing and is returned as it is; others are an [*Error].
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
			return b.explain(ctx, "list", prefix, errNotS3) // or one that would be listed for ever
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

// Get returns the first limit bytes of an object, all of it if it is shorter. The error is always an [*Error].
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

// unsigned leaves out of a request what S3 has no use for and proxies like to change, so that its signature does not cover
// it.
func unsigned(stack *middleware.Stack) error {
	const signing = "Signing"
	if _, signs := stack.Finalize.Get(signing); !signs {
		return nil
	}
	return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("Unsigned",
		func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			if r, ok := in.Request.(*smithyhttp.Request); ok {
				for _, name := range []string{"Accept-Encoding", "Amz-Sdk-Invocation-Id", "Amz-Sdk-Request"} {
					r.Header.Del(name)
				}
			}
			return next.HandleFinalize(ctx, in)
		}), signing, middleware.Before)
}

// source marks the errors of a body, which otherwise look like those of the network.
type source struct{ io.ReadSeeker }

func (s source) Read(p []byte) (int, error) {
	n, err := s.ReadSeeker.Read(p)
	if err != nil && err != io.EOF {
		err = bodyError{err}
	}
	return n, err
}
