package plugin

// Option is an option as help shows it.
type Option struct {
	Key     string
	Kind    string // text, integer, boolean, size or time
	Default string // "" for none
	Help    string // a sentence
}

// Options returns all options, in the order of the README.
func Options() []Option { return help }

var help = []Option{
	{"bucket", "text", "", "The bucket that Amberflo supplied. Required."},
	{"region", "text", "", "The bucket's region. By default that of AWS_REGION or the profile."},
	{"endpoint", "text", "", "URL of an S3-compatible server."},
	{"force_path_style", "boolean", "", "The bucket's name in the path instead of the host name. By default on with endpoint."},
	{"role_arn", "text", "", "A role to assume for S3."},
	{"external_id", "text", "", "The external id that goes with role_arn."},
	{"sts_endpoint", "text", "", "URL for assuming the role."},
	{"profile", "text", "", "A profile of the shared AWS files."},
	{"s3_key_format", "text", "ingest/amberdata/%m-%d-%Y/$UUID.gz", "The keys of objects: strftime verbs, $UUID, $HASH."},
	{"canned_acl", "text", "bucket-owner-full-control", "The ACL of each object; none sends none."},
	{"storage_class", "text", "", "The storage class of objects."},
	{"server_side_encryption", "text", "", "The server-side encryption of objects."},
	{"ssekms_key_id", "text", "", "The KMS key of server_side_encryption aws:kms."},
	{"tagging", "text", "", "Tags of objects: team=billing&env=prod."},
	{"startup_check", "text", "probe", "How the start looks whether uploads would work: probe, put or off."},
	{"format", "text", "ndjson", "What an object is: ndjson or json_array."},
	{"compression", "text", "gzip", "gzip or none."},
	{"compression_level", "integer", "1", "1 (fast) to 9 (small)."},
	{"total_file_size", "size", "50M", "An object ends at this many bytes before compression."},
	{"max_records", "integer", "0", "An object has at most this many records; 0 sets no bound."},
	{"upload_timeout", "time", "1m", "An object ends this long after its first record."},
	{"upload_concurrency", "integer", "2", "Uploads at once."},
	{"store_dir", "text", DefaultStoreDir, "The directory in which accepted records wait: on a disk that outlives restarts, and Fluent Bit's user's alone."},
	{"store_dir_limit_size", "size", "10G", "How much may wait in store_dir; then chunks stay with Fluent Bit."},
	{"rejected_limit_size", "size", "1G", "How much rejected/ may hold, with what open/ has of it."},
	{"rejected_overflow", "text", "retry", "What happens then: retry or drop."},
	{"shutdown_timeout", "time", "10s", "How long a stop may take for last uploads."},
	{"customer_id", "text", "$customerId", "Who pays: a list of accessors such as $tenant, or one text."},
	{"meter_api_name", "text", "$meterApiName", "The meter: a list of accessors, or one text."},
	{"meter_value", "text", "$meterValue", "The value: a number, or an expression such as $bytes, $in+$out or ms($latency)."},
	{"meters", "text", "", "Several meters from one record: ApiCalls=1, BytesOut=$bytes."},
	{"negative_values", "text", "reject", "Records with a negative value: reject or accept."},
	{"absent", "text", "-", "Texts that say that there is no value."},
	{"only_if", "text", "", "A condition that decides what is metered: $status < 400 and $user is present."},
	{"meter_time", "text", "$meterTimeInMillis, event", "When it happened: a list of accessors; event is the event's own time."},
	{"meter_time_window", "text", "60d, 1d", "How far back and ahead of now Amberflo takes a time."},
	{"meter_time_outside", "text", "warn", "Records with a time outside of that: warn or reject."},
	{"meter_time_format", "text", "auto", "auto, unix, unix_ms, unix_us, unix_ns, rfc3339 or a strptime layout."},
	{"unique_id", "text", "$uniqueId, generate", "A list of accessors, hash($path, $offset), or generate."},
	{"dimensions", "text", "$dimensions", "A list of name, name=$field and name=text, or one accessor to a map."},
	{"long_dimensions", "text", "reject", "Dimensions of more than 200 characters: reject or cut."},
	{"aggregate", "text", "", "Meters of type sum whose records are added up before they are sent: ApiCalls, BytesOut, or * for all."},
	{"aggregate_bucket", "time", "15m", "How wide in time the records of one event may lie: 1s to 1h, has to divide an hour."},
	{"payload", "text", "meter", "meter makes meter records, record ships the log record as it is."},
	{"unmatched", "text", "reject", "Records without customer, meter or value: reject, ignore, ignore_any or ignore_all."},
	{"failure_reports", "boolean", "on", "Look for what Amberflo refused."},
	{"failure_reports_prefix", "text", "failed-requests/", "Where Amberflo puts its reports."},
	{"failure_reports_window", "time", "1h", "How long a sent object is kept for its verdict."},
}
