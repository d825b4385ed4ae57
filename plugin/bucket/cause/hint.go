package cause

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"time"

	"out_amberflo/plugin/bucket/wire"
)

// fill puts what is known into a hint.
func (f *fault) fill(hint string) string {
	if !strings.Contains(hint, "{") {
		return hint
	}
	return strings.NewReplacer(
		"{bucket}", f.config.Bucket, "{endpoint}", f.Endpoint, "{host}", f.host(),
		"{container}", f.container(), "{objects}", f.objects(), "{grants}", f.grants(), "{acl}", f.missingACL(),
		"{extras}", f.extras(), "{kms}", f.kms(), "{clock}", f.clock(), "{region}", f.wrongRegion(), "{location}", wire.WithoutQueries(wire.Printable(f.header.Get("Location"))),
		"{proxy}", f.proxy(), "{variable}", f.variable(), "{squid}", wire.FirstWords(f.header.Get("X-Squid-Error")), "{dots}", f.dots(),
	).Replace(hint)
}

func (f *fault) host() string {
	u, err := url.Parse(f.Endpoint)
	if err != nil {
		return f.Endpoint
	}
	return u.Hostname()
}

func (f *fault) container() string {
	container, _ := ARN(f.config.Bucket, f.config.Region, "")
	return container
}

// objects are all that have the first part of the key.
func (f *fault) objects() string {
	first, _, nested := strings.Cut(f.Key, "/")
	if first += "/"; !nested {
		first = ""
	}
	_, objects := ARN(f.config.Bucket, f.config.Region, first)
	return objects
}

func (f *fault) grants() string {
	if lists(f) {
		return "s3:ListBucket on " + f.container()
	}
	if gets(f) {
		return "s3:GetObject on " + f.objects()
	}
	actions := []string{"s3:PutObject"}
	if f.config.ACL != "" {
		actions = append(actions, "s3:PutObjectAcl")
	}
	if f.config.Tagging != "" {
		actions = append(actions, "s3:PutObjectTagging")
	}
	grants := strings.Join(actions, ", ") + " on " + f.objects()
	if f.config.KMSKeyID != "" {
		grants += ", and kms:GenerateDataKey on the key " + f.config.KMSKeyID
	}
	return grants
}

func (f *fault) missingACL() string {
	if f.config.ACL == "" && puts(f) {
		return ", or set canned_acl bucket-owner-full-control if the bucket's policy demands it"
	}
	return ""
}

// extras are the options besides canned_acl that ask something of a server.
func (f *fault) extras() (options string) {
	for _, o := range []struct{ name, value string }{
		{"storage_class", f.config.StorageClass}, {"server_side_encryption", f.config.SSE}, {"tagging", f.config.Tagging},
	} {
		if o.value != "" {
			options += ", " + o.name
		}
	}
	return options
}

var kmsKey = regexp.MustCompile(`arn:[a-z-]+:kms:[^\s",]+`)

// kms is the key at fault: that of the message, or the configured one.
func (f *fault) kms() string {
	switch named := kmsKey.FindString(f.said()); {
	case named != "":
		return named
	case f.config.KMSKeyID != "":
		return "the key " + f.config.KMSKeyID
	}
	return "the key that the bucket encrypts with"
}

func (f *fault) clock() string {
	server, err := http.ParseTime(f.header.Get("Date"))
	if err != nil {
		return "this machine's clock is off: set it (NTP)"
	}
	off, word := time.Since(server), "fast"
	if off < 0 {
		off, word = -off, "slow"
	}
	return fmt.Sprintf("this machine's clock is %d min %s: set it (NTP); the next try allows for it", off.Round(time.Minute)/time.Minute, word)
}

// expecting is how AuthorizationHeaderMalformed names the bucket's region; the quotes differ between servers.
var expecting = regexp.MustCompile(`expecting ['"]([a-z0-9-]+)['"]`)

// inHost is the region in a name of S3's hosts.
var inHost = regexp.MustCompile(`[./]s3[.-](?:dualstack\.)?([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com`)

func (f *fault) wrongRegion() string {
	region := f.header.Get("X-Amz-Bucket-Region")
	if m := expecting.FindStringSubmatch(f.said()); m != nil {
		region = m[1]
	}
	if m := inHost.FindStringSubmatch(f.header.Get("Location")); m != nil && region == "" {
		region = m[1]
	}
	if region != "" {
		return "the bucket is in " + region + ": set region " + region
	}
	if location := f.header.Get("Location"); location != "" {
		return "set region to the bucket's own; it redirects to " + wire.WithoutQueries(location)
	}
	return "set region to the bucket's own"
}

// proxy says which variable's proxy requests go through, if they go through one.
func (f *fault) proxy() string {
	if variable, _ := wire.ProxyOf(f.Endpoint); variable != "" {
		return " (" + variable + " is set)"
	}
	return ""
}

// variable is the one that names the proxy.
func (f *fault) variable() string {
	if variable, _ := wire.ProxyOf(f.Endpoint); variable != "" {
		return variable
	}
	return "HTTPS_PROXY or HTTP_PROXY"
}

// dots is about a bucket whose name makes more labels before the host than a certificate for *.host has.
func (f *fault) dots() string {
	if strings.Contains(f.config.Bucket, ".") && !f.config.PathStyle {
		return " (the bucket's name has dots: force_path_style on puts it into the path)"
	}
	return ""
}

// hungUp: somebody answered the connection and not the request, as a server does that wants TLS.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || strings.Contains(err.Error(), "malformed HTTP response")
}

func (f *fault) unreachable(err error) string {
	var plain tls.RecordHeaderError
	secure := strings.HasPrefix(f.Endpoint, "https:")
	switch {
	case secure && errors.As(err, &plain) && string(plain.RecordHeader[:]) == "HTTP/":
		return f.fill("what answers at {endpoint} speaks http, not https: write http:// in endpoint, or its https port")
	case secure && errors.As(err, &plain):
		return f.fill("what answers at {endpoint} does not speak https: check its port")
	}
	hint := "check network and DNS, and that bucket and region are right"
	if f.config.Given || !strings.Contains(f.Endpoint, ".amazonaws.com") {
		hint = f.fill(reach)
		if strings.HasPrefix(f.host(), f.config.Bucket+".") {
			hint += " (its name has the bucket's in front: force_path_style on puts that into the path)"
		}
		if !secure && hungUp(err) {
			hint += ", and whether it speaks https: then write https:// in endpoint"
		}
	}
	switch variable, valid := wire.ProxyOf(f.Endpoint); {
	case variable == "":
	case !valid:
		hint += "; " + variable + " is no URL of a proxy"
	default:
		hint += "; " + variable + " is set: can its proxy be reached, and reach that?"
	}
	return hint
}
