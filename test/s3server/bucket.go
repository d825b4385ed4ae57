package s3server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Client is an S3 client of the server for an account.
func (s *Server) Client(c Credentials) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.Endpoint),
		Region:       s.Region,
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey, ""),
	})
}

// Env is the environment in which AWS's SDKs act as an account, and take nothing from the
// machine's own AWS configuration. The caller appends it to os.Environ().
func (s *Server) Env(c Credentials) []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + c.AccessKey,
		"AWS_SECRET_ACCESS_KEY=" + c.SecretKey,
		"AWS_SESSION_TOKEN=",
		"AWS_PROFILE=",
		"AWS_REGION=" + s.Region,
		"AWS_CONFIG_FILE=" + os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
		"AWS_CA_BUNDLE=",
		"AWS_EC2_METADATA_DISABLED=true",
	}
}

// CreateBucket makes a bucket of the owner, without a policy; one that is there is kept.
func (s *Server) CreateBucket(ctx context.Context, name string) error {
	_, err := s.Client(s.Owner).CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket:                    &name,
		CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(s.Region)},
	})
	if there := (*types.BucketAlreadyOwnedByYou)(nil); err != nil && !errors.As(err, &there) {
		return fmt.Errorf("create bucket %s: %w", name, err)
	}
	return nil
}

// SetPolicy replaces the policy of the server's bucket; an empty one leaves the bucket to its owner alone.
func (s *Server) SetPolicy(ctx context.Context, policy string) error {
	var err error
	if policy == "" {
		_, err = s.Client(s.Owner).DeleteBucketPolicy(ctx, &s3.DeleteBucketPolicyInput{Bucket: &s.Bucket})
	} else {
		_, err = s.Client(s.Owner).PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &s.Bucket, Policy: &policy})
	}
	if err != nil {
		return fmt.Errorf("set the policy of bucket %s: %w", s.Bucket, err)
	}
	return nil
}

// PutPolicy lets the writer put objects that it leaves to the bucket's owner, and nothing else.
func (s *Server) PutPolicy() string {
	return `{"Version": "2012-10-17", "Statement": [` + s.putStatement() + `]}`
}

// PutAndReportsPolicy is PutPolicy and the right to list and get below failed-requests/.
func (s *Server) PutAndReportsPolicy() string {
	return `{"Version": "2012-10-17", "Statement": [` + s.putStatement() + fmt.Sprintf(`,
{"Effect": "Allow", "Principal": {"AWS": [%[1]q]}, "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::%[2]s",
 "Condition": {"StringLike": {"s3:prefix": "failed-requests/*"}}},
{"Effect": "Allow", "Principal": {"AWS": [%[1]q]}, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::%[2]s/failed-requests/*"}]}`,
		s.Writer.AccessKey, s.Bucket)
}

func (s *Server) putStatement() string {
	return fmt.Sprintf(`
{"Effect": "Allow", "Principal": {"AWS": [%q]}, "Action": ["s3:PutObject", "s3:PutObjectAcl"], "Resource": "arn:aws:s3:::%s/*",
 "Condition": {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}}`, s.Writer.AccessKey, s.Bucket)
}

// Object is an entry of the bucket's listing.
type Object struct {
	Key      string
	Size     int64 // bytes
	Modified time.Time
}

// Objects lists the server's bucket as its owner, in the order of the keys.
func (s *Server) Objects(ctx context.Context) ([]Object, error) {
	var objects []Object
	pages := s3.NewListObjectsV2Paginator(s.Client(s.Owner), &s3.ListObjectsV2Input{Bucket: &s.Bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list bucket %s: %w", s.Bucket, err)
		}
		for _, o := range page.Contents {
			objects = append(objects, Object{aws.ToString(o.Key), aws.ToInt64(o.Size), aws.ToTime(o.LastModified)})
		}
	}
	return objects, nil
}

// Get reads an object as the bucket's owner. The caller owns the bytes.
func (s *Server) Get(ctx context.Context, key string) ([]byte, error) {
	out, err := s.Client(s.Owner).GetObject(ctx, &s3.GetObjectInput{Bucket: &s.Bucket, Key: &key})
	if err != nil {
		return nil, fmt.Errorf("get %s from bucket %s: %w", key, s.Bucket, err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		return nil, fmt.Errorf("read %s from bucket %s: %w", key, s.Bucket, err)
	}
	return body, nil
}
