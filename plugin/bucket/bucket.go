// Package bucket is the only room that speaks to S3. It makes one attempt at one request and says what came
// of it: an [Error] with a [Kind], the server's own words and what an operator can do. Retrying is ship's.
package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

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
	credentials *chain
	transport   *http.Transport
}

// Open reads the SDK's environment and files for options that Check has passed; it makes no request, so that a server or
// credentials which are missing today do not keep the host from starting. The error is an [*OptionError] where region or
// profile is at fault.
func Open(ctx context.Context, opts Options) (*Bucket, error) {
	cfg, err := opts.load(ctx)
	if err != nil {
		return nil, err
	}
	if cfg.Region == "" {
		return nil, &OptionError{Option: "region", Want: "the bucket's region, here or as AWS_REGION or in the profile", Example: "us-west-2"}
	}
	b := &Bucket{opts: opts, credentials: &chain{opts: opts, current: opts.provider(cfg)}, transport: newTransport(cfg)}
	b.client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.Credentials = b.credentials
		o.HTTPClient = wire{b.transport}
		o.Retryer = aws.NopRetryer{}
		o.UsePathStyle = opts.PathStyle
		o.ContinueHeaderThresholdBytes = expectFrom
		// The signed SHA-256 of the body already protects it; a trailer would need aws-chunked framing,
		// which some S3-compatible servers store as part of the object.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		if opts.Endpoint != "" {
			o.BaseEndpoint = &opts.Endpoint
		}
	})
	return b, nil
}

// Name is the bucket's name.
func (b *Bucket) Name() string { return b.opts.Bucket }

// Region is the one in effect, wherever Open found it.
func (b *Bucket) Region() string { return b.client.Options().Region }

// Close closes idle connections. Requests under way go on.
func (b *Bucket) Close() { b.transport.CloseIdleConnections() }

// Put makes one attempt to store size bytes of body, read from its start, under key: one PutObject, never
// multipart. It may read body twice, and never after it has returned. The error is always an [*Error]; after
// any of them the object may nevertheless be there, and the same Put again is harmless.
func (b *Bucket) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, contentType string) error {
	end, err := body.Seek(0, io.SeekEnd)
	if err == nil && end != size {
		err = fmt.Errorf("it has %d bytes, not the expected %d", end, size)
	}
	if err == nil {
		_, err = body.Seek(0, io.SeekStart)
	}
	if err != nil {
		return b.explain(ctx, "put", key, bodyError{err})
	}
	in := b.object(key, source{body})
	in.ContentLength, in.ContentType = &size, &contentType
	return b.explain(ctx, "put", key, b.putObject(ctx, in))
}

// putObject takes only S3's own answer for one: a web server, a proxy or a captive portal may say that all is well and
// store nothing.
func (b *Bucket) putObject(ctx context.Context, in *s3.PutObjectInput) error {
	out, err := b.client.PutObject(ctx, in, signBody)
	if err == nil && aws.ToString(out.ETag) == "" {
		err = &smithyhttp.RequestSendError{Err: errNotS3}
	}
	return err
}

var errNotS3 = errors.New("something says that all is well and is not S3: want an answer with an ETag, or a listing")

// Probe asks whether Put to key would be allowed, with a PutObject whose Content-MD5 is deliberately that of
// other bytes. S3 weighs permission first, so BadDigest means yes, and nothing is stored. A server that ignores
// Content-MD5 does store the probe, a JSON array of no records, and that is a yes too. The error is always an [*Error].
func (b *Bucket) Probe(ctx context.Context, key string) error {
	var err error
	for range 3 { // an answer that is cut off does not tell why
		in := b.object(key, strings.NewReader("[]\n"))
		in.ContentMD5 = aws.String("1B2M2Y8AsgTpgAmY7PhCfg==") // of no bytes at all
		if err = b.putObject(ctx, in); !cutOff(err) {
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
	for pages.HasMorePages() {
		bounded, cancel := context.WithTimeout(ctx, requestTimeout)
		out, err := pages.NextPage(bounded)
		if err != nil {
			err = b.explain(bounded, "list", prefix, err)
			cancel()
			return err
		}
		cancel()
		if out.Name == nil && out.IsTruncated == nil {
			return b.explain(ctx, "list", prefix, &smithyhttp.RequestSendError{Err: errNotS3})
		}
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

// Get returns the first limit bytes of an object, all of it if it is shorter. The error is always an [*Error].
func (b *Bucket) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.opts.Bucket, Key: &key})
	if err != nil {
		return nil, b.explain(ctx, "get", key, err)
	}
	defer out.Body.Close()
	data, err := io.ReadAll(io.LimitReader(out.Body, limit))
	if err != nil {
		return nil, b.explain(ctx, "get", key, &smithyhttp.RequestSendError{Err: err})
	}
	return data, nil
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

// signBody makes the signature cover the body's SHA-256 over https too, where the SDK would sign UNSIGNED-PAYLOAD.
func signBody(o *s3.Options) {
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		hash := &v4.ComputePayloadSHA256{}
		_, err := stack.Finalize.Swap(hash.ID(), hash)
		return err
	})
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
