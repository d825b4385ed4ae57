package bucket_test

import (
	"crypto/md5"
	"errors"
	"strings"
	"testing"

	"out_amberflo/plugin/bucket"
	"out_amberflo/plugin/ship/failure"
	"out_amberflo/test/fault"
	"out_amberflo/test/s3server"
)

// TestARealServer needs versitygw, which checks signatures, hashes, regions, clocks and the ACL that the policy demands.
func TestARealServer(t *testing.T) {
	environment(t)
	server, err := s3server.Start(t.Context(), s3server.Options{Dir: t.TempDir()})
	if errors.Is(err, s3server.ErrNotBuilt) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	proxy, err := fault.Start(fault.Options{Target: server.Endpoint})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	t.Run("itself", func(t *testing.T) { realServer(t, server, server.Endpoint) })
	t.Run("behind a proxy", func(t *testing.T) { realServer(t, server, proxy.URL) })
}

func realServer(t *testing.T, server *s3server.Server, endpoint string) {
	const acl = "bucket-owner-full-control"
	body := strings.NewReader(strings.Repeat("a line\n", 50_000))
	as := func(t *testing.T, o bucket.Options, who s3server.Credentials) *bucket.Bucket {
		t.Helper()
		t.Setenv("AWS_ACCESS_KEY_ID", who.AccessKey)
		t.Setenv("AWS_SECRET_ACCESS_KEY", who.SecretKey)
		o.Endpoint, o.PathStyle, o.ContentType = endpoint, true, "application/gzip"
		b, err := bucket.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		return b
	}
	key := "ingest/a=b/ö 1.gz of " + t.Name()
	attempt := func(b *bucket.Bucket) (put, probe error) {
		return b.Put(t.Context(), key, body, body.Size(), 0), b.Probe(t.Context(), "ingest/probe.gz")
	}
	good := bucket.Options{Bucket: server.Bucket, Region: server.Region, ACL: acl}
	for _, tt := range []struct {
		name   string
		change func(*bucket.Options)
		secret string
		kind   failure.Kind
		hint   string
	}{
		{"without the ACL", func(o *bucket.Options) { o.ACL = "" }, "", failure.Denied, "canned_acl"},
		{"with another ACL", func(o *bucket.Options) { o.ACL = "private" }, "", failure.Denied, "s3:PutObjectAcl"},
		{"with a wrong secret", func(*bucket.Options) {}, "wrong", failure.Credentials, "secret key"},
		{"to a bucket that is not there", func(o *bucket.Options) { o.Bucket = "nowhere" }, "", failure.NoBucket, "nowhere"},
		{"for a wrong region", func(o *bucket.Options) { o.Region = "eu-south-2" }, "", failure.WrongRegion, "set region " + server.Region},
	} {
		t.Run("denies a put "+tt.name, func(t *testing.T) {
			o, who := good, server.Writer
			tt.change(&o)
			if tt.secret != "" {
				who.SecretKey = tt.secret
			}
			put, probe := attempt(as(t, o, who))
			for _, err := range []error{put, probe} {
				if e := failed(t, err); e.Kind != tt.kind || !strings.Contains(e.Hint, tt.hint) {
					t.Errorf("got %v, want %s", e, tt.kind)
				}
			}
		})
	}
	stored := func() (n int) {
		t.Helper()
		got, err := server.Objects(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(got)
	}
	before := stored()
	t.Run("takes the object byte for byte, and nothing of the probe", func(t *testing.T) {
		put, probe := attempt(as(t, good, server.Writer))
		if put != nil || probe != nil {
			t.Fatalf("put: %v, probe: %v", put, probe)
		}
		if got := stored() - before; got != 1 {
			t.Errorf("it holds %d objects more, want 1", got)
		}
		got, err := server.Get(t.Context(), key)
		if err != nil || string(got) != strings.Repeat("a line\n", 50_000) {
			t.Errorf("got %d bytes back, %v", len(got), err)
		}
	})
	t.Run("does not take what is not what was sealed", func(t *testing.T) {
		before := stored()
		sealed := md5.Sum([]byte("as it was sealed"))
		changed := summed{strings.NewReader("as the disk has it"), sealed[:]}
		e := failed(t, as(t, good, server.Writer).Put(t.Context(), "ingest/changed.gz", changed, changed.Size(), 0))
		if e.Kind != failure.Unproven || e.Code != "BadDigest" || stored() != before {
			t.Errorf("got %s: %v, %d objects more", e.Kind, e, stored()-before)
		}
	})
	t.Run("is listed and read as far as it allows", func(t *testing.T) {
		b := as(t, good, server.Owner)
		var listed []string
		if err := b.List(t.Context(), key, func(keys []string) error { listed = append(listed, keys...); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(listed) != 1 || listed[0] != key {
			t.Fatalf("got %+v", listed)
		}
		if got, err := b.Get(t.Context(), listed[0], 6); err != nil || string(got) != "a line" {
			t.Errorf("got %q, %v", got, err)
		}
		if e := failed(t, as(t, good, server.Writer).List(t.Context(), "ingest/", nil)); e.Kind != failure.Denied {
			t.Errorf("got %v", e)
		}
	})
}
