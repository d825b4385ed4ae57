// Package creds finds the credentials that requests are signed with, by the AWS SDK's chain. What holds:
//
//   - a start needs no network: who hands out credentials is asked when they are wanted, and a name may not resolve yet;
//   - who hangs is given up after its limit and asked anew, and the processes of a helper do not outlive the [Chain];
//   - what an operator replaces is read again, as soon as S3 has denied the old;
//   - an [Error] says who was asked and what they answered, and no secret.
package creds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	"github.com/google/uuid"

	"out_amberflo/plugin/bucket/wire"
)

// renewBefore is how long before their end credentials are renewed.
const renewBefore = time.Minute

// Options say as whom. The empty value of a field leaves its setting to environment and profile.
type Options struct {
	Region      string // the bucket's
	Profile     string // of the shared configuration files
	RoleARN     string // assumed with the credentials that the SDK's chain finds
	ExternalID  string // asked for by some roles; goes with RoleARN
	STSEndpoint string // URL
}

// Limits are how long things may take.
type Limits struct {
	Answer time.Duration // one server's
	Helper time.Duration // a credential_process
	Lookup time.Duration // all that is asked: longer than any one of them takes to give up
}

// SettingError is a setting of the environment or of a profile that cannot be read.
type SettingError struct {
	Option  string // the setting, and where it is
	Want    string
	Got     string
	Example string
}

// Error says what was wanted and found.
func (e *SettingError) Error() string {
	return fmt.Sprintf("%s: want %s, got %q", e.Option, e.Want, e.Got)
}

// Load reads environment and files as the SDK does, without traffic: neither the region nor the defaults mode may be asked of
// the instance metadata service, and who hands out credentials is looked for when they are wanted. The error is a
// [*SettingError] where one setting is at fault.
func Load(ctx context.Context, o Options, l Limits) (aws.Config, error) {
	ignoreUnused()
	return o.read(ctx, l, config.WithRegion(o.Region), config.WithCredentialsProvider(aws.AnonymousCredentials{}))
}

func (o Options) read(ctx context.Context, l Limits, more ...func(*config.LoadOptions) error) (aws.Config, error) {
	options := append(more,
		config.WithHTTPClient(wire.NewClient(l.Answer)),
		config.WithLogger(logging.Nop{}),
		config.WithDefaultsMode(aws.DefaultsModeStandard),
		config.WithRetryer(noRetries),
		config.WithAPIOptions([]func(*middleware.Stack) error{wire.Bounded}),
	)
	if o.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(o.Profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil && ofUnused(err) {
		cfg, err = loadWithoutUnused(ctx, options)
	}
	if err != nil {
		return cfg, o.unread(err)
	}
	return cfg, nil
}

// unread names the setting that keeps the SDK from reading environment and files, where it is known.
func (o Options) unread(err error) error {
	var (
		source  config.SharedConfigAssumeRoleError
		missing config.SharedConfigProfileNotExistError
		path    = &fs.PathError{}
		bundle  = os.Getenv("AWS_CA_BUNDLE")
	)
	const certificates = "a file of certificates in PEM that Fluent Bit's user can read"
	badBundle := strings.Contains(err.Error(), "custom CA bundle")
	profile := func(option, name string) error {
		return &SettingError{Option: option, Want: "a profile of the shared AWS configuration files", Got: name, Example: "default"}
	}
	switch {
	case errors.As(err, &source):
		return &SettingError{Option: "source_profile of the profile " + o.profileInUse(), Want: "a profile with credentials in the shared AWS configuration files", Got: source.Profile, Example: "default"}
	case errors.As(err, &missing) && o.Profile != "":
		return profile("profile", missing.Profile)
	case errors.As(err, &missing):
		return profile("AWS_PROFILE", missing.Profile)
	case bundle != "" && (badBundle || errors.As(err, &path) && path.Path == bundle):
		return &SettingError{Option: "AWS_CA_BUNDLE", Want: certificates, Got: bundle, Example: "/etc/ssl/certs/own-ca.pem"}
	case badBundle, errors.As(err, &path) && !strings.Contains(err.Error(), "shared config"):
		return &SettingError{Option: "ca_bundle of the profile " + o.profileInUse(), Want: certificates, Got: path.Path, Example: "/etc/ssl/certs/own-ca.pem"}
	}
	return fmt.Errorf("read the AWS configuration from environment and files: %s", wire.WithoutQueries(err.Error()))
}

func (o Options) profileInUse() string {
	return cmp.Or(o.Profile, os.Getenv("AWS_PROFILE"), os.Getenv("AWS_DEFAULT_PROFILE"), "default")
}

func noRetries() aws.Retryer { return aws.NopRetryer{} }

func cacheFor(c *aws.CredentialsCacheOptions) { c.ExpiryWindow = renewBefore }

// provider is the SDK's chain, or the role assumed with it. The chain has a region of its own, which AWS_REGION or the profile
// gives: a pod's STS is there, and not where the bucket is.
func (c *Chain) provider(ctx context.Context) (aws.CredentialsProvider, error) {
	o, l := c.opts, c.limits
	cfg, err := o.read(ctx, l, config.WithDefaultRegion(o.Region), config.WithAPIOptions([]func(*middleware.Stack) error{wire.Quoted}),
		config.WithCredentialsCacheOptions(cacheFor),
		config.WithEndpointCredentialOptions(func(e *endpointcreds.Options) { e.HTTPClient = wire.NewClient(l.Answer) }),
		config.WithWebIdentityRoleCredentialOptions(func(w *stscreds.WebIdentityRoleOptions) {
			if o.STSEndpoint != "" {
				w.Client = sts.New(sts.Options{Region: o.stsRegion(o.Region), BaseEndpoint: &o.STSEndpoint, HTTPClient: wire.NewClient(l.Answer), Retryer: noRetries(),
					APIOptions: []func(*middleware.Stack) error{wire.Bounded, wire.Quoted}})
			}
		}))
	if err != nil {
		return nil, err
	}
	c.useHelper(&cfg)
	if o.RoleARN == "" {
		return cfg.Credentials, nil
	}
	client := sts.NewFromConfig(cfg, func(s *sts.Options) {
		s.APIOptions = append(s.APIOptions, wire.Unsigned)
		if o.STSEndpoint != "" {
			s.BaseEndpoint, s.Region = &o.STSEndpoint, o.stsRegion(cfg.Region)
		}
	})
	role := stscreds.NewAssumeRoleProvider(client, o.RoleARN, func(r *stscreds.AssumeRoleOptions) {
		r.RoleSessionName = "out_amberflo"
		if o.ExternalID != "" {
			r.ExternalID = &o.ExternalID
		}
	})
	return aws.NewCredentialsCache(role, cacheFor), nil
}

// useHelper puts a helper of this package in the place of the SDK's where the chain ends in a credential_process: that of the
// profile, or of the one that its role is assumed with.
func (c *Chain) useHelper(cfg *aws.Config) {
	cache, ok := cfg.Credentials.(*aws.CredentialsCache)
	if !ok {
		return
	}
	for _, source := range cfg.ConfigSources {
		profile, ok := source.(config.SharedConfig)
		switch {
		case !ok:
		case cache.IsCredentialsProvider((*processcreds.Provider)(nil)):
			cfg.Credentials = aws.NewCredentialsCache(&helper{profile.CredentialProcess, c}, cacheFor)
		case cache.IsCredentialsProvider((*stscreds.AssumeRoleProvider)(nil)) && profile.MFASerial == "" && isHelped(profile.Source):
			from := cfg.Copy()
			from.Credentials = aws.NewCredentialsCache(&helper{profile.Source.CredentialProcess, c}, cacheFor)
			role := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(from), profile.RoleARN, func(r *stscreds.AssumeRoleOptions) {
				r.RoleSessionName = cmp.Or(profile.RoleSessionName, "out_amberflo")
				if profile.ExternalID != "" {
					r.ExternalID = &profile.ExternalID
				}
			})
			cfg.Credentials = aws.NewCredentialsCache(role, cacheFor)
		}
	}
}

// isHelped tells if a profile has its credentials of a credential_process, by the order in which the SDK looks.
func isHelped(p *config.SharedConfig) bool {
	return p != nil && p.CredentialProcess != "" && p.Source == nil && !p.Credentials.HasKeys() && p.CredentialSource == "" &&
		p.WebIdentityTokenFile == "" && p.SSOSessionName == "" && p.SSOAccountID == "" && p.LoginSession == "" && p.RoleARN == ""
}

// stsHost is how AWS names its regional STS, also with a VPC endpoint.
var stsHost = regexp.MustCompile(`^https?://(?:[^/]*\.)?sts(?:-fips)?\.([a-z0-9-]+)\.(?:vpce\.)?(?:amazonaws\.com|api\.aws)`)

// stsRegion is the region that requests to sts_endpoint are signed for.
func (o Options) stsRegion(otherwise string) string {
	if m := stsHost.FindStringSubmatch(o.STSEndpoint); m != nil {
		return m[1]
	}
	return otherwise
}

var errNobody = errors.New("nobody handed out credentials")

// Chain is the SDK's chain of credentials, begun anew after S3 has denied something or the chain has failed: the SDK reads
// files and environment once, and would go on for ever with a token that an operator has since replaced.
type Chain struct {
	opts   Options
	limits Limits

	open    context.Context // until close
	shut    context.CancelFunc
	helpers sync.WaitGroup // that run
	running atomic.Int32   // as many
	begins  atomic.Int32   // as many have been started
	id      string         // of this chain, which marks what they start

	mu      sync.Mutex
	current aws.CredentialsProvider // nil: to be loaded; guarded by mu
	loaded  time.Time               // guarded by mu
}

// New gives a Chain that has asked nobody yet. The caller has to close it.
func New(o Options, l Limits) *Chain {
	c := &Chain{opts: o, limits: l, id: uuid.NewString()}
	c.open, c.shut = context.WithCancel(context.Background())
	return c
}

// Retrieve implements [aws.CredentialsProvider].
func (c *Chain) Retrieve(ctx context.Context) (aws.Credentials, error) {
	limited, cancel := context.WithTimeout(ctx, c.limits.Lookup)
	defer cancel()
	current, err := c.begin(limited)
	if err != nil {
		return aws.Credentials{}, Error{err}
	}
	found, err := current.Retrieve(limited)
	if err == nil {
		err = unfit(found)
	}
	if err == nil {
		return found, nil
	}
	if limited.Err() != nil && c.running.Load() > 0 { // whose own error goes to nobody then
		return aws.Credentials{}, Error{helperError{err: fmt.Errorf("no answer yet, it is given %s", c.limits.Helper)}}
	}
	if limited.Err() != nil && ctx.Err() == nil { // asked anew next time, and not joined to what hangs
		c.Forget(0)
		err = fmt.Errorf("%w within %s: %w", errNobody, c.limits.Lookup, err)
	}
	return aws.Credentials{}, Error{err}
}

func (c *Chain) begin(ctx context.Context) (aws.CredentialsProvider, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil {
		provider, err := c.provider(ctx)
		if err != nil {
			return nil, err
		}
		c.current, c.loaded = provider, time.Now()
	}
	return c.current, nil
}

// Forget begins the chain anew, unless it is younger than that.
func (c *Chain) Forget(younger time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.loaded) >= younger {
		c.current = nil
	}
}

// unfit says what is wrong with credentials that no header can hold, such as those that somebody read from a file with its
// line feed.
func unfit(found aws.Credentials) error {
	for _, part := range []struct{ variable, what, value string }{
		{"AWS_ACCESS_KEY_ID", "the access key", found.AccessKeyID},
		{"AWS_SECRET_ACCESS_KEY", "the secret key", found.SecretAccessKey},
		{"AWS_SESSION_TOKEN", "the session token", found.SessionToken},
	} {
		if strings.ContainsFunc(part.value, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			where := part.what + " of " + found.Source
			if found.Source == config.CredentialsSourceName {
				where = part.variable
			}
			return fmt.Errorf("%s holds a space or a line feed: want it without", where)
		}
	}
	return nil
}
