package bucket

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"out_amberflo/plugin/bucket/cause"
	"out_amberflo/plugin/bucket/wire"
)

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
	isARN := strings.HasPrefix(o.Bucket, "arn:")
	switch point := strings.Contains(o.Bucket, ":accesspoint/") || strings.Contains(o.Bucket, ":accesspoint:"); {
	case isARN && !point:
		fail("bucket", "the name of the bucket that Amberflo supplied, or the ARN of an access point to it", o.Bucket, "183-amberflo")
	case o.Bucket == "", !isARN && !bucketName.MatchString(o.Bucket):
		fail("bucket", "the name of the bucket that Amberflo supplied", o.Bucket, "183-amberflo")
	case !isARN && o.Endpoint == "" && strings.ToLower(o.Bucket) != o.Bucket:
		fail("bucket", "a name in small letters, as those of S3 are", o.Bucket, strings.ToLower(o.Bucket))
	case strings.HasSuffix(o.Bucket, "--x-s3"):
		fail("bucket", "no directory bucket, whose answers do not prove what it holds", o.Bucket, "183-amberflo")
	}
	if zone.MatchString(o.Region) {
		fail("region", "a region's code, without the letter of a zone", o.Region, o.Region[:len(o.Region)-1])
	}
	if strings.ContainsFunc(o.Region, func(c rune) bool { return c != '-' && !('a' <= c|0x20 && c|0x20 <= 'z') && !('0' <= c && c <= '9') }) {
		fail("region", "a region's code", o.Region, "us-west-2")
	}
	for _, alone := range []struct{ option, got, needs, need string }{
		{"external_id", secret(o.ExternalID), "role_arn", o.RoleARN},
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
		if wrong := o.checkURL(e.option, e.got, e.example); wrong != nil {
			errs = append(errs, wrong)
		}
	}
	return errs
}

// checkURL says what is wrong with a URL, without the secrets that may be in it.
func (o Options) checkURL(option, given, example string) *OptionError {
	fail := func(want string) *OptionError {
		got := wire.WithoutQueries(given)
		if at := strings.LastIndexByte(got, '@'); at >= 0 { // what stands before it may be a password
			got = "…" + got[at:]
		}
		return &OptionError{Option: option, Want: want, Got: got, Example: example}
	}
	u, err := url.Parse(given)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return fail("a URL that begins with http:// or https://")
	case u.Port() != "" && !isPort(u.Port()):
		return fail("a port from 1 to 65535")
	case u.User != nil:
		return fail("a URL without credentials in it")
	case u.RawQuery != "":
		return fail("a URL without a query")
	case option != "sts_endpoint":
		return o.namesBucket(option, u)
	}
	return nil
}

var (
	bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	zone       = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-\d[a-z]$`)
	regionName = regexp.MustCompile(`[a-z]{2}(?:-[a-z]+)+-\d`)
)

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

// namesBucket is what is wrong with an endpoint that has the bucket's name in it: put in once more, all objects would be stored outside of
// their prefix, or in no bucket, and nobody would be told.
func (o Options) namesBucket(option string, endpoint *url.URL) *OptionError {
	without := *endpoint
	host, name := strings.ToLower(endpoint.Hostname()), strings.ToLower(o.Bucket) // names of hosts know no case
	example := ""
	switch elements := strings.Split(strings.Trim(endpoint.Path, "/"), "/"); {
	case name == "":
		return nil
	case host == name:
		example = "(the server's own name, or its address)"
	case strings.HasPrefix(host, name+"."):
		without.Host = endpoint.Host[len(name)+1:]
	default:
		at := slices.Index(elements, o.Bucket)
		if at < 0 {
			return nil
		}
		without.Path = strings.TrimSuffix("/"+strings.Join(elements[:at], "/"), "/")
	}
	if cause.IsAWS(host) {
		example = "(leave it out: the region says where S3 is)"
	}
	return &OptionError{Option: option, Want: "a URL without the bucket's name, which is put in by force_path_style or before the host (a server that is itself called so is reached by another of its names, or by its address)",
		Got: endpoint.String(), Example: cmp.Or(example, without.String())}
}

// ofAWS is what is wrong with an endpoint at AWS that is not the bucket's: with a path or another name in front it would be another bucket.
func (o Options) ofAWS(option string, endpoint *url.URL, region string) *OptionError {
	host := strings.ToLower(endpoint.Hostname())
	if !cause.IsAWS(host) || strings.Contains(host, ".vpce.") {
		return nil
	}
	fail := func(want string) *OptionError {
		return &OptionError{Option: option, Want: want, Got: endpoint.String(), Example: "(leave it out: the region says where S3 is)"}
	}
	switch named := regionName.FindString(host); {
	case strings.Trim(endpoint.Path, "/") != "":
		return fail("a URL of S3 without a path, which would be another bucket")
	case !strings.HasPrefix(host, "s3.") && !strings.HasPrefix(host, "s3-"):
		return fail("a URL of S3 without another bucket's name")
	case named != "" && named != region:
		return fail("S3 in " + region + ", the bucket's region")
	}
	return nil
}

// place is where requests go: the URL in effect, without the bucket's name where that is in the path. What cannot work
// together is an error, in words of the AWS SDK, which knows it without asking anybody.
func (o Options) place(ctx context.Context, client s3.Options) (string, error) {
	given := aws.ToString(client.BaseEndpoint)
	option := "endpoint"
	if given != o.Endpoint {
		option = "AWS_ENDPOINT_URL"
		if os.Getenv("AWS_ENDPOINT_URL_S3") == given {
			option = "AWS_ENDPOINT_URL_S3"
		} else if os.Getenv("AWS_ENDPOINT_URL") != given {
			option = "endpoint_url of the profile"
		}
		if wrong := o.checkURL(option, given, "https://s3.example.com"); given != "" && wrong != nil {
			return "", wrong
		}
	}
	if u, err := url.Parse(given); err == nil && given != "" {
		if wrong := o.ofAWS(option, u, client.Region); wrong != nil {
			return "", wrong
		}
	}
	if field := strings.SplitN(o.Bucket, ":", 6); len(field) == 6 {
		if own := cause.Partition(client.Region); field[1] != own {
			return "", &OptionError{Option: "bucket", Want: "an ARN of the partition " + own + ", which region " + client.Region + " is in", Got: o.Bucket, Example: "arn:" + own + ":s3:…"}
		}
		if field[3] != "" && field[3] != client.Region {
			return "", &OptionError{Option: "region", Want: field[3] + ", where the bucket's ARN is", Got: client.Region, Example: field[3]}
		}
	}
	found, err := s3.NewDefaultEndpointResolverV2().ResolveEndpoint(ctx, s3.EndpointParameters{
		Bucket: &o.Bucket, Region: &client.Region, Endpoint: client.BaseEndpoint, ForcePathStyle: &client.UsePathStyle,
		UseFIPS:      aws.Bool(client.EndpointOptions.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled),
		UseDualStack: aws.Bool(client.EndpointOptions.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled),
		UseArnRegion: &client.UseARNRegion, DisableMultiRegionAccessPoints: &client.DisableMultiRegionAccessPoints,
	})
	switch {
	case err != nil && given != "":
		return "", &OptionError{Option: option, Want: "one that goes with bucket and environment, but " + reason(err), Got: given,
			Example: "(none, or without AWS_USE_FIPS_ENDPOINT, AWS_USE_DUALSTACK_ENDPOINT and their like in the profile)"}
	case err != nil:
		return "", &OptionError{Option: "bucket", Want: "one that goes with region " + client.Region + " and the environment, but " + reason(err), Got: o.Bucket, Example: "183-amberflo"}
	case given != "" && client.UsePathStyle:
		return given, nil
	}
	found.URI.Path = strings.TrimSuffix(strings.TrimSuffix(found.URI.Path, o.Bucket), "/")
	return found.URI.String(), nil
}

// reason is what the SDK's resolver says, without the SDK's own words before it.
func reason(err error) string {
	_, after, found := strings.Cut(err.Error(), "endpoint rule error, ")
	if !found {
		return err.Error()
	}
	return after
}

// warnings are about what S3 takes and the bucket's owner, who has another account, cannot read; and about proxies.
func (o Options) warnings() (all []string) {
	if strings.HasPrefix(o.SSE, "aws:kms") && o.KMSKeyID == "" {
		all = append(all, "server_side_encryption "+o.SSE+" without ssekms_key_id: the key aws/s3 cannot be used by another account, so that Amberflo may not be able to read what is stored")
	}
	switch o.StorageClass {
	case "GLACIER", "DEEP_ARCHIVE":
		all = append(all, "storage_class "+o.StorageClass+": nobody can read an object of this class before it is restored, Amberflo neither")
	}
	for _, name := range slices.Concat(wire.ProxyVariables["https"], wire.ProxyVariables["http"]) {
		if v := os.Getenv(name); v != "" && !wire.IsProxy(v) {
			all = append(all, name+" is no URL of a proxy: want one such as http://proxy.example.com:3128")
		}
	}
	return all
}

// secret stands for a string that is not to be said.
func secret(s string) string {
	if s == "" {
		return ""
	}
	return "…"
}
