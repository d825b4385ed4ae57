package s3server

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"out_amberflo/test/amberflo"
)

// ForTest starts a server that ends with the test.
func ForTest(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Standin reads the bucket as its owner, as Amberflo does. The server's own values take the place of those of the options.
func (s *Server) Standin(o amberflo.Options) *amberflo.Standin {
	o.Endpoint, o.Region, o.Bucket = s.Endpoint, s.Region, s.Bucket
	o.Credentials = credentials.NewStaticCredentialsProvider(s.Owner.AccessKey, s.Owner.SecretKey, "")
	return amberflo.New(o)
}

// Contents reads the whole bucket: the bytes by key.
func (s *Server) Contents(t testing.TB) map[string]string {
	t.Helper()
	listed, err := s.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	contents := map[string]string{}
	for _, o := range listed {
		content, err := s.Get(t.Context(), o.Key)
		if err != nil {
			t.Fatal(err)
		}
		contents[o.Key] = string(content)
	}
	return contents
}
