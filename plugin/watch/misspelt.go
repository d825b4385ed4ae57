package watch

import (
	"cmp"
	"fmt"
	"slices"

	"out_amberflo/plugin/meter"
)

// foreign are keys of other outputs, and other words for ours, that people write for them.
var foreign = map[string]string{
	"customer": "customer_id", "customer_name": "customer_id", "customerid": "customer_id", "tenant": "customer_id", "tenant_id": "customer_id",
	"account_id": "customer_id", "meter": "meters", "meter_name": "meter_api_name", "metername": "meter_api_name", "meter_api": "meter_api_name",
	"meterapiname": "meter_api_name", "metervalue": "meter_value", "value": "meter_value", "quantity": "meter_value", "time": "meter_time",
	"timestamp": "meter_time", "time_key": "meter_time", "metertime": "meter_time", "meter_time_in_millis": "meter_time", "time_format": "meter_time_format",
	"uniqueid": "unique_id", "id": "unique_id", "dims": "dimensions", "labels": "dimensions", "bucket_name": "bucket", "s3_bucket": "bucket",
	"aws_region": "region", "s3_region": "region", "s3_endpoint": "endpoint", "acl": "canned_acl", "s3_key": "s3_key_format", "key_format": "s3_key_format",
	"prefix": "s3_key_format", "compress": "compression", "store_path": "store_dir", "storage_dir": "store_dir", "spool_dir": "store_dir",
	"buffer_dir": "store_dir", "sse": "server_side_encryption", "kms_key_id": "ssekms_key_id", "filter": "only_if", "condition": "only_if", "if": "only_if",
	"max_size": "total_file_size", "flush_interval": "upload_timeout",
}

// Misspelt finds keys that are set and are nearly one of the known options, with one letter missing, too many, wrong or in another place,
// or another word for one. Fluent Bit gives an output in Go the keys that it asks for, and tells of no others: without this,
// a key with a letter missing would be an option that is not set, and its bill would be wrong in silence.
func Misspelt(known []string, get func(key string) string) (wrong []*meter.OptionError) {
	asked := make(map[string]bool, 1<<15)
	for _, key := range known {
		asked[key] = true
	}
	ask := func(key, meant string) {
		if asked[key] {
			return
		}
		if asked[key] = true; get(key) != "" {
			wrong = append(wrong, &meter.OptionError{Key: key, Want: fmt.Sprintf("an option of amberflo (did you mean %s?)", meant), Got: "a key that is none"})
		}
	}
	for key, meant := range foreign {
		ask(key, meant)
	}
	const letters = "abcdefghijklmnopqrstuvwxyz_-"
	for _, meant := range known {
		for i := range len(meant) + 1 {
			for _, c := range letters {
				ask(meant[:i]+string(c)+meant[i:], meant)
				if i < len(meant) {
					ask(meant[:i]+string(c)+meant[i+1:], meant)
				}
			}
			if i < len(meant) {
				ask(meant[:i]+meant[i+1:], meant)
			}
			if i+1 < len(meant) {
				ask(meant[:i]+meant[i+1:i+2]+meant[i:i+1]+meant[i+2:], meant)
			}
		}
	}
	slices.SortFunc(wrong, func(a, b *meter.OptionError) int { return cmp.Compare(a.Key, b.Key) })
	return wrong
}
