package bucket_test

import (
	"errors"
	"strings"
	"testing"

	"out_amberflo/plugin/bucket"
)

func TestWhatCannotWorkIsAnErrorAtTheStart(t *testing.T) {
	for _, tt := range []struct {
		name          string
		o             bucket.Options
		env           map[string]string
		option, wants string
	}{
		{"an endpoint with the bucket in its host", bucket.Options{Endpoint: "http://b.s3.local:9000", PathStyle: true}, nil, "endpoint", "http://s3.local:9000"},
		{"an endpoint with the bucket in its host, put in there once more", bucket.Options{Endpoint: "https://b.s3.local"}, nil, "endpoint", "https://s3.local"},
		{"an endpoint with the bucket as its path", bucket.Options{Endpoint: "http://127.0.0.1:9000/b", PathStyle: true}, nil, "endpoint", "http://127.0.0.1:9000"},
		{"an endpoint with the bucket in its path", bucket.Options{Endpoint: "http://127.0.0.1:9000/s3/b/", PathStyle: true}, nil, "endpoint", "http://127.0.0.1:9000/s3"},
		{"the same of the environment", bucket.Options{PathStyle: true}, map[string]string{"AWS_ENDPOINT_URL": "http://b.s3.local:9000"}, "AWS_ENDPOINT_URL", "http://s3.local:9000"},
		{"the same of the environment, for S3 alone", bucket.Options{}, map[string]string{"AWS_ENDPOINT_URL_S3": "http://b.s3.local:9000"}, "AWS_ENDPOINT_URL_S3", "http://s3.local:9000"},
		{"the bucket in the host, in other letters", bucket.Options{Bucket: "183-amberflo", Endpoint: "http://183-Amberflo.s3.local:9000", PathStyle: true}, nil, "endpoint", "http://s3.local:9000"},
		{"the bucket as the host", bucket.Options{Bucket: "183.amberflo.test", Endpoint: "http://183.amberflo.test:9000", PathStyle: true}, nil, "endpoint", "(the server's own name, or its address)"},
		{"a page of AWS's console", bucket.Options{Endpoint: "https://s3.console.aws.amazon.com/s3/buckets/b", PathStyle: true}, nil, "endpoint", "(leave it out"},
		{"S3 with a path", bucket.Options{Endpoint: "https://s3.us-west-2.amazonaws.com/ingest", PathStyle: true}, nil, "endpoint", "another bucket"},
		{"S3 with another bucket", bucket.Options{Endpoint: "https://other.s3.us-west-2.amazonaws.com", PathStyle: true}, nil, "endpoint", "another bucket"},
		{"S3 in another region", bucket.Options{Endpoint: "https://s3.eu-west-1.amazonaws.com", PathStyle: true}, nil, "endpoint", "S3 in us-west-2"},
		{"a bucket in quotes", bucket.Options{Bucket: `"183-amberflo"`}, nil, "bucket", "the name of the bucket"},
		{"a bucket in capitals", bucket.Options{Bucket: "183-Amberflo"}, nil, "bucket", "183-amberflo"},
		{"a directory bucket", bucket.Options{Bucket: "x--usw2-az1--x-s3"}, nil, "bucket", "no directory bucket"},
		{"a port that is none", bucket.Options{Endpoint: "http://127.0.0.1:99999"}, nil, "endpoint", "a port from 1 to 65535"},
		{"an endpoint with FIPS", bucket.Options{Endpoint: "https://s3.local"}, map[string]string{"AWS_USE_FIPS_ENDPOINT": "true"}, "endpoint", "AWS_USE_FIPS_ENDPOINT"},
		{"an endpoint with dual-stack", bucket.Options{Endpoint: "https://s3.local"}, map[string]string{"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "endpoint", "AWS_USE_DUALSTACK_ENDPOINT"},
		{"an ARN that is no access point", bucket.Options{Bucket: "arn:aws:s3:us-west-2:1:bucket/b"}, nil, "bucket", "access point"},
		{"a bucket's ARN of another partition", bucket.Options{Bucket: "arn:aws-cn:s3:::b"}, nil, "bucket", "the name of the bucket"},
		{"an access point in another region", bucket.Options{Bucket: "arn:aws:s3:eu-west-1:123456789012:accesspoint/p"}, nil, "region", "eu-west-1"},
		{"an access point in another partition", bucket.Options{Bucket: "arn:aws-cn:s3:us-west-2:123456789012:accesspoint/p"}, nil, "bucket", "partition aws"},
		{"an access point with the bucket in the path", bucket.Options{Bucket: "arn:aws:s3:us-west-2:123456789012:accesspoint/p", PathStyle: true}, nil, "bucket", "Path-style"},
		{"an environment's endpoint with a password", bucket.Options{}, map[string]string{"AWS_ENDPOINT_URL_S3": "http://bob:hunter2@127.0.0.1:9000"}, "AWS_ENDPOINT_URL_S3", "…@127.0.0.1:9000"},
		{"an environment's endpoint with a token", bucket.Options{}, map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:9000/?token=hunter2"}, "AWS_ENDPOINT_URL", "http://127.0.0.1:9000/?…"},
		{"an environment's endpoint that is no URL", bucket.Options{}, map[string]string{"AWS_ENDPOINT_URL": "s3.local:9000"}, "AWS_ENDPOINT_URL", "http://"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			environment(t)
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			if tt.o.Region = "us-west-2"; tt.o.Bucket == "" {
				tt.o.Bucket = "b"
			}
			var e *bucket.OptionError
			if wrong := tt.o.Check(); len(wrong) > 0 {
				e = wrong[0]
			} else if _, err := bucket.Open(t.Context(), tt.o); !errors.As(err, &e) {
				t.Fatalf("got %v, want an error at the start", err)
			}
			if strings.Contains(e.Error(), "hunter2") {
				t.Errorf("a secret is said: %v", e)
			}
			if e.Option != tt.option || !strings.Contains(e.Error(), tt.wants) {
				t.Errorf("got %v, want %s: … %s", e, tt.option, tt.wants)
			}
		})
	}
}

func TestWhatWorksIsTaken(t *testing.T) {
	for _, tt := range []struct {
		name     string
		o        bucket.Options
		env      map[string]string
		endpoint string
	}{
		{"AWS", bucket.Options{Bucket: "bill"}, nil, "https://bill.s3.us-west-2.amazonaws.com"},
		{"AWS, in the path", bucket.Options{Bucket: "bill", PathStyle: true}, nil, "https://s3.us-west-2.amazonaws.com"},
		{"AWS with FIPS and dual-stack", bucket.Options{Bucket: "bill"}, map[string]string{"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"}, "https://bill.s3-fips.dualstack.us-west-2.amazonaws.com"},
		{"a server", bucket.Options{Bucket: "bill", Endpoint: "http://127.0.0.1:9000", PathStyle: true}, nil, "http://127.0.0.1:9000"},
		{"a server below a path", bucket.Options{Bucket: "bill", Endpoint: "http://127.0.0.1:9000/s3", PathStyle: true}, nil, "http://127.0.0.1:9000/s3"},
		{"a server with the bucket before its host", bucket.Options{Bucket: "bill", Endpoint: "https://s3.local"}, nil, "https://bill.s3.local"},
		{"S3 of the region by its name", bucket.Options{Bucket: "bill", Endpoint: "https://s3.us-west-2.amazonaws.com", PathStyle: true}, nil, "https://s3.us-west-2.amazonaws.com"},
		{"S3 in a VPC", bucket.Options{Bucket: "bill", Endpoint: "https://bucket.vpce-1a2b-5e6f.s3.us-west-2.vpce.amazonaws.com", PathStyle: true}, nil, "https://bucket.vpce-1a2b-5e6f.s3.us-west-2.vpce.amazonaws.com"},
		{"a server with capitals in its bucket", bucket.Options{Bucket: "Bill_2", Endpoint: "http://127.0.0.1:9000", PathStyle: true}, nil, "http://127.0.0.1:9000"},
		{"a bucket whose name begins like the host", bucket.Options{Bucket: "s3", Endpoint: "https://s3x.local", PathStyle: true}, nil, "https://s3x.local"},
		{"a server of the environment", bucket.Options{Bucket: "bill", PathStyle: true}, map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"}, "http://127.0.0.1:9000"},
		{"an access point", bucket.Options{Bucket: "arn:aws:s3:us-west-2:123456789012:accesspoint/p"}, nil, "https://p-123456789012.s3-accesspoint.us-west-2.amazonaws.com"},
		{"retry settings that are not used", bucket.Options{Bucket: "bill"}, map[string]string{"AWS_MAX_ATTEMPTS": "abc", "AWS_RETRY_MODE": "often"}, "https://bill.s3.us-west-2.amazonaws.com"},
		{"other settings that are not used", bucket.Options{Bucket: "bill"}, map[string]string{"AWS_DEFAULTS_MODE": "x", "AWS_REQUEST_CHECKSUM_CALCULATION": "maybe",
			"AWS_RESPONSE_CHECKSUM_VALIDATION": "maybe", "AWS_ACCOUNT_ID_ENDPOINT_MODE": "x", "AWS_ENABLE_ENDPOINT_DISCOVERY": "x", "AWS_DISABLE_REQUEST_COMPRESSION": "maybe",
			"AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES": "abc", "AWS_S3_DISABLE_EXPRESS_SESSION_AUTH": "maybe"}, "https://bill.s3.us-west-2.amazonaws.com"},
		{"a name that does not resolve yet", bucket.Options{Bucket: "bill"}, map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "",
			"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://agent.invalid/creds"}, "https://bill.s3.us-west-2.amazonaws.com"},
		{"an STS endpoint without a role, for web identity", bucket.Options{Bucket: "bill", STSEndpoint: "https://sts.eu-central-1.amazonaws.com"}, nil, "https://bill.s3.us-west-2.amazonaws.com"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			environment(t)
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			tt.o.Region = "us-west-2"
			if wrong := tt.o.Check(); len(wrong) > 0 {
				t.Fatal(wrong[0])
			}
			b, err := bucket.Open(t.Context(), tt.o)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if b.Endpoint() != tt.endpoint || len(b.Warnings()) > 0 {
				t.Errorf("got %s and warnings %q, want %s", b.Endpoint(), b.Warnings(), tt.endpoint)
			}
		})
	}
}

func TestWhatAnotherAccountCannotReadIsWarnedOf(t *testing.T) {
	for _, tt := range []struct {
		name, wants string
		o           bucket.Options
		proxy       string
	}{
		{"the key that is the account's own", "aws/s3", bucket.Options{SSE: "aws:kms"}, ""},
		{"an archive", "restored", bucket.Options{StorageClass: "DEEP_ARCHIVE"}, ""},
		{"a proxy that is no URL", "HTTPS_PROXY", bucket.Options{}, "http://proxy .example.com"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			environment(t)
			t.Setenv("HTTPS_PROXY", tt.proxy)
			tt.o.Bucket, tt.o.Region = "b", "us-west-2"
			b, err := bucket.Open(t.Context(), tt.o)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			if got := b.Warnings(); len(got) != 1 || !strings.Contains(got[0], tt.wants) {
				t.Errorf("got %q, want one about %s", got, tt.wants)
			}
		})
	}
}
