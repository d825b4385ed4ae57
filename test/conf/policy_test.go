package conf

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"out_amberflo/test/s3server"
)

// policy joins files of docker/iam into one bucket policy of the server: the writer stands for the role,
// and a statement without a principal, as those of roles are, gets it.
func policy(t *testing.T, server *s3server.Server, files ...string) string {
	t.Helper()
	joined := struct {
		Version   string
		Statement []map[string]any
	}{Version: "2012-10-17"}
	for _, file := range files {
		one := joined
		one.Statement = nil
		d := json.NewDecoder(bytes.NewReader(read(t, root, "docker/iam", file)))
		d.DisallowUnknownFields()
		if err := d.Decode(&one); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if one.Version != joined.Version {
			t.Errorf("%s: Version %q, want %q", file, one.Version, joined.Version)
		}
		for _, statement := range one.Statement {
			delete(statement, "Sid")
			statement["Principal"] = map[string]any{"AWS": []string{server.Writer.AccessKey}}
			joined.Statement = append(joined.Statement, statement)
		}
	}
	text, err := json.Marshal(joined)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "183-amberflo", server.Bucket)
}

func TestPoliciesAllowWhatTheySayAndNothingElse(t *testing.T) {
	server := s3server.ForTest(t, s3server.Options{})
	owner, writer := server.Client(server.Owner), server.Client(server.Writer)
	const (
		record  = "ingest/amberdata/11-21-2026/0000a2e4-e6ad-11ec-8293-6a8da1c4f9f0.gz"
		report  = "failed-requests/11-21-2026/x.gz.reason.txt"
		outside = "elsewhere/x.gz"
		control = types.ObjectCannedACLBucketOwnerFullControl
	)
	put := func(client *s3.Client, key string, acl types.ObjectCannedACL) error {
		_, err := client.PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: &server.Bucket, Key: aws.String(key), ACL: acl, Body: strings.NewReader("x")})
		return err
	}
	for _, key := range []string{record, report, outside} {
		if err := put(owner, key, ""); err != nil {
			t.Fatal(err)
		}
	}
	actions := map[string]func() error{
		"put a record with the ACL":    func() error { return put(writer, record, control) },
		"put a record without ACL":     func() error { return put(writer, record, "") },
		"put a record, public":         func() error { return put(writer, record, types.ObjectCannedACLPublicRead) },
		"put outside of the prefix":    func() error { return put(writer, outside, control) },
		"put a failure report":         func() error { return put(writer, report, control) },
		"put the test object":          func() error { return put(writer, startupCheckKey, control) },
		"get a record":                 func() error { return get(t, writer, server.Bucket, record) },
		"get a failure report":         func() error { return get(t, writer, server.Bucket, report) },
		"list all":                     func() error { return list(t, writer, server.Bucket, "") },
		"list the records":             func() error { return list(t, writer, server.Bucket, "ingest/amberdata/") },
		"list the failure reports":     func() error { return list(t, writer, server.Bucket, "failed-requests/") },
		"list failure reports of days": func() error { return list(t, writer, server.Bucket, "failed-requests/11-21-2026/") },
		"delete a record": func() error {
			_, err := writer.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &server.Bucket, Key: aws.String(record)})
			return err
		},
	}
	for _, test := range []struct {
		name  string
		files []string
		may   []string
	}{
		{"the bucket owner's lets the writer put records with the ACL", []string{"bucket-owner.json"}, []string{"put a record with the ACL"}},
		// Without the owner's policy on the other side nothing asks for the ACL.
		{"the writer's lets it put records", []string{"writer.json"},
			[]string{"put a record with the ACL", "put a record without ACL", "put a record, public"}},
		{"that of failure reports lets them be found and read", []string{"bucket-owner.json", "failure-reports.json"},
			[]string{"put a record with the ACL", "get a failure report", "list the failure reports", "list failure reports of days"}},
		{"the bucket owner's of failure reports does the same on the other side", []string{"bucket-owner.json", "bucket-owner-failure-reports.json"},
			[]string{"put a record with the ACL", "get a failure report", "list the failure reports", "list failure reports of days"}},
		{"that of startup_check put lets the test object be put", []string{"bucket-owner.json", "startup-check-put.json"},
			[]string{"put a record with the ACL", "put the test object"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := server.SetPolicy(t.Context(), policy(t, server, test.files...)); err != nil {
				t.Fatal(err)
			}
			may := map[string]bool{}
			for _, name := range test.may {
				if actions[name] == nil {
					t.Fatalf("no action %q", name)
				}
				may[name] = true
			}
			for name, act := range actions {
				err := act()
				var api smithy.APIError
				denied := errors.As(err, &api) && api.ErrorCode() == "AccessDenied"
				switch {
				case may[name] && err != nil:
					t.Errorf("%s: %v, want it allowed", name, err)
				case !may[name] && !denied:
					t.Errorf("%s: %v, want AccessDenied", name, err)
				}
			}
		})
	}
}

func get(t *testing.T, client *s3.Client, bucket, key string) error {
	out, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err == nil {
		err = out.Body.Close()
	}
	return err
}

func list(t *testing.T, client *s3.Client, bucket, prefix string) error {
	_, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	return err
}
