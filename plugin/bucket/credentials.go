package bucket

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
)

// renewBefore is how long before their end credentials are renewed.
const renewBefore = time.Minute

// deniedAge is the age from which credentials are read again when S3 denies something. Tests shorten it.
var deniedAge = time.Minute

// OptionError is an option that Open cannot work with.
type OptionError struct {
	Option  string // as in the configuration: region, endpoint, …
	Want    string
	Got     string // empty if the option is missing
	Example string
}

func (e *OptionError) Error() string {
	got := "nothing"
	if e.Got != "" {
		got = fmt.Sprintf("%q", e.Got)
	}
	return fmt.Sprintf("%s: want %s, got %s, for example %s", e.Option, e.Want, got, e.Example)
}

// Check returns what is wrong with the options by themselves. It reads nothing and makes no request.
func (o Options) Check() (errs []*OptionError) {
	fail := func(option, want, got, example string) {
		errs = append(errs, &OptionError{Option: option, Want: want, Got: got, Example: example})
	}
	if o.Bucket == "" || strings.HasPrefix(o.Bucket, "arn:aws:s3:::") || !strings.HasPrefix(o.Bucket, "arn:") && strings.ContainsAny(o.Bucket, "/: \t") {
		fail("bucket", "the name of the bucket that Amberflo supplied", o.Bucket, "183-amberflo")
	}
	if strings.ContainsFunc(o.Region, func(c rune) bool { return c != '-' && !('a' <= c|0x20 && c|0x20 <= 'z') && !('0' <= c && c <= '9') }) {
		fail("region", "a region's code", o.Region, "us-west-2")
	}
	for _, alone := range []struct{ option, got, needs, need string }{
		{"external_id", secret(o.ExternalID), "role_arn", o.RoleARN},
		{"sts_endpoint", o.STSEndpoint, "role_arn", o.RoleARN},
		{"ssekms_key_id", o.KMSKeyID, "server_side_encryption", o.SSE},
	} {
		if alone.got != "" && alone.need == "" {
			fail(alone.option, alone.needs+" beside it, without which it does nothing", alone.got, "(leave it out, or set "+alone.needs+")")
		}
	}
	if _, err := url.ParseQuery(o.Tagging); err != nil || o.Tagging != "" && !strings.Contains(o.Tagging, "=") {
		fail("tagging", "pairs as in a URL's query", o.Tagging, "team=billing&env=prod")
	}
	if acl := types.ObjectCannedACL(o.ACL); o.ACL != "" && !slices.Contains(acl.Values(), acl) {
		fail("canned_acl", "none or a canned ACL of S3", o.ACL, "bucket-owner-full-control")
	}
	if class := types.StorageClass(o.StorageClass); o.StorageClass != "" && !slices.Contains(class.Values(), class) {
		fail("storage_class", "a storage class of S3", o.StorageClass, "STANDARD_IA")
	}
	if sse := types.ServerSideEncryption(o.SSE); o.SSE != "" && !slices.Contains(sse.Values(), sse) {
		fail("server_side_encryption", "AES256 or aws:kms", o.SSE, "aws:kms")
	}
	for _, e := range []struct{ option, got, example string }{
		{"endpoint", o.Endpoint, "https://s3.example.com"},
		{"sts_endpoint", o.STSEndpoint, "https://sts.us-west-2.amazonaws.com"},
	} {
		if e.got == "" {
			continue
		}
		u, err := url.Parse(e.got)
		if at := strings.LastIndexByte(e.got, '@'); at >= 0 { // what stands before it may be a password
			e.got = "…" + e.got[at:]
		}
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
			fail(e.option, "a URL that begins with http:// or https://", e.got, e.example)
		case u.User != nil:
			fail(e.option, "a URL without credentials in it", e.got, e.example)
		case u.RawQuery != "":
			fail(e.option, "a URL without a query", withoutQueries(e.got), e.example)
		}
	}
	return errs
}

// secret stands for a text that is not to be said.
func secret(s string) string {
	if s == "" {
		return ""
	}
	return "…"
}

// load reads environment and files as the SDK does, without traffic: neither the region nor the defaults mode
// may be asked of the instance metadata service.
func (o Options) load(ctx context.Context) (aws.Config, error) {
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(newClient()),
		config.WithLogger(logging.Nop{}),
		config.WithDefaultsMode(aws.DefaultsModeStandard),
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
		config.WithCredentialsCacheOptions(func(c *aws.CredentialsCacheOptions) { c.ExpiryWindow = renewBefore }),
	}
	if o.Region != "" {
		options = append(options, config.WithRegion(o.Region))
	}
	if o.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(o.Profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if missing := (config.SharedConfigProfileNotExistError{}); errors.As(err, &missing) {
		return cfg, &OptionError{Option: "profile", Want: "a profile of the shared AWS configuration files", Got: missing.Profile, Example: "default"}
	}
	if err != nil {
		return cfg, fmt.Errorf("read the AWS configuration from environment and files: %s", withoutQueries(err.Error()))
	}
	return cfg, nil
}

// provider is the chain's, or that of a role assumed with it.
func (o Options) provider(cfg aws.Config) aws.CredentialsProvider {
	if o.RoleARN == "" {
		return cfg.Credentials
	}
	client := sts.NewFromConfig(cfg, func(s *sts.Options) {
		if o.STSEndpoint != "" {
			s.BaseEndpoint = &o.STSEndpoint
		}
	})
	role := stscreds.NewAssumeRoleProvider(client, o.RoleARN, func(r *stscreds.AssumeRoleOptions) {
		r.RoleSessionName = "out_amberflo"
		if o.ExternalID != "" {
			r.ExternalID = &o.ExternalID
		}
	})
	return aws.NewCredentialsCache(role, func(c *aws.CredentialsCacheOptions) { c.ExpiryWindow = renewBefore })
}

// chain is the SDK's chain of credentials, begun anew after S3 or the chain itself has refused: the SDK reads
// files and environment once, and would go on for ever with a token that an operator has since replaced.
type chain struct {
	opts Options

	mu      sync.Mutex
	current aws.CredentialsProvider // nil: to be loaded; guarded by mu
	loaded  time.Time               // guarded by mu
}

// Retrieve implements [aws.CredentialsProvider].
func (c *chain) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c.mu.Lock()
	if c.current == nil {
		cfg, err := c.opts.load(ctx)
		if err != nil {
			c.mu.Unlock()
			return aws.Credentials{}, credentialsError{err}
		}
		c.current, c.loaded = c.opts.provider(cfg), time.Now()
	}
	current := c.current
	c.mu.Unlock()
	found, err := current.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, credentialsError{err}
	}
	return found, nil
}

// forget begins the chain anew, unless it is younger than that.
func (c *chain) forget(younger time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.loaded) >= younger {
		c.current = nil
	}
}
