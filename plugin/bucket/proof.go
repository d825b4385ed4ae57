package bucket

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"out_amberflo/plugin/bucket/cause"
)

// digest is what the bytes of an object are known by.
type digest struct {
	md5    []byte
	sha256 []byte
}

// digestOf reads body from its start to its end. A body that has a method MD5 knows what its bytes should be, and says so
// itself if they are not; of another one, they are whatever is read here.
func digestOf(body io.ReadSeeker, size int64) (d digest, err error) {
	sha, sum := sha256.New(), md5.New()
	to := io.MultiWriter(sha, sum)
	known, ok := body.(interface{ MD5() []byte })
	if ok {
		to = sha
	}
	if _, err = body.Seek(0, io.SeekStart); err != nil {
		return d, err
	}
	n, err := io.Copy(to, struct{ io.Reader }{body})
	if err == nil && n != size {
		err = fmt.Errorf("it has %d bytes, not the expected %d", n, size)
	}
	if err != nil {
		return d, err
	}
	d = digest{md5: sum.Sum(nil), sha256: sha.Sum(nil)}
	if ok {
		d.md5 = known.MD5()
	}
	_, err = body.Seek(0, io.SeekStart)
	return d, err
}

func base64Of(sum []byte) *string { return aws.String(base64.StdEncoding.EncodeToString(sum)) }

// prove tells whether an answer proves that S3 holds what was sent: a gateway may have read a part of it, a web application
// or a captive portal may say that all is well and store nothing. S3's ETag is the MD5 of a plain object, unless it is
// encrypted with KMS or with a customer's key.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
func (o Options) prove(out *s3.PutObjectOutput, sent digest) error {
	etag := aws.ToString(out.ETag)
	if sum := aws.ToString(out.ChecksumSHA256); sum != "" {
		if sum != *base64Of(sent.sha256) {
			return cause.NoProof{Why: "it has the checksum " + sum + ", what was sent has another"}
		}
		return nil
	}
	plain := strings.Trim(etag, `"`)
	switch {
	case plain == "":
		return cause.ErrNotS3
	case strings.HasPrefix(etag, "W/"):
		return cause.NoProof{Why: "its ETag " + etag + " is a weak one, which S3 never gives"}
	case o.isKMS(out), aws.ToString(out.SSECustomerAlgorithm) != "":
		return nil
	}
	if got, err := hex.DecodeString(plain); err != nil || !bytes.Equal(got, sent.md5) {
		return cause.NoProof{Why: fmt.Sprintf("its ETag %s is not the MD5 of what was sent, %x", etag, sent.md5)}
	}
	return nil
}

// isKMS tells if an object is encrypted with KMS, so that its ETag is not its MD5.
func (o Options) isKMS(out *s3.PutObjectOutput) bool {
	return strings.Contains(o.SSE+string(out.ServerSideEncryption), "aws:kms")
}
