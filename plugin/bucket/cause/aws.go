package cause

import "strings"

// ARN gives the ARN of a bucket or of an access point, and that of the objects in it whose key begins with prefix.
func ARN(bucket, region, prefix string) (container, objects string) {
	if strings.HasPrefix(bucket, "arn:") {
		return bucket, bucket + "/object/" + prefix + "*"
	}
	container = "arn:" + Partition(region) + ":s3:::" + bucket
	return container, container + "/" + prefix + "*"
}

// IsAWS tells if a host is one of AWS.
func IsAWS(host string) bool {
	host = strings.ToLower(host)
	return strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn") || strings.HasSuffix(host, ".aws.amazon.com")
}

// Partition is the one of AWS that a region is in.
func Partition(region string) string {
	for prefix, name := range map[string]string{"cn-": "aws-cn", "us-gov-": "aws-us-gov", "us-iso-": "aws-iso", "us-isob-": "aws-iso-b", "eusc-": "aws-eusc"} {
		if strings.HasPrefix(region, prefix) {
			return name
		}
	}
	return "aws"
}
