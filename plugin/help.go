package plugin

// Option is an option as help shows it.
type Option struct {
	Key     string
	Kind    string // string, integer, boolean, size or time
	Default string // "" for none
	Help    string // a sentence
}

// Options returns all options, in the order of the README.
func Options() []Option { return help }

var help = []Option{
	{"bucket", "string", "", "The bucket that Amberflo supplied. Required."},
	{"region", "string", "", "The bucket's region. By default that of AWS_REGION or the profile."},
	{"endpoint", "string", "", "URL of an S3-compatible server."},
	{"force_path_style", "boolean", "", "The bucket's name in the path instead of the host name. By default on with endpoint."},
	{"role_arn", "string", "", "A role to assume for S3."},
	{"external_id", "string", "", "The external id that goes with role_arn."},
	{"sts_endpoint", "string", "", "URL for assuming the role."},
	{"profile", "string", "", "A profile of the shared AWS files."},
	{"s3_key_format", "string", "ingest/amberdata/%m-%d-%Y/$UUID.gz", "The keys of objects: strftime verbs, $UUID, $HASH."},
	{"canned_acl", "string", "bucket-owner-full-control", "The ACL of each object; none sends none."},
	{"storage_class", "string", "", "The storage class of objects."},
	{"server_side_encryption", "string", "", "The server-side encryption of objects."},
	{"ssekms_key_id", "string", "", "The KMS key of server_side_encryption aws:kms."},
	{"tagging", "string", "", "Tags of objects: team=billing&env=prod."},
	{"startup_check", "string", "probe", "How the start looks whether uploads would work: probe, put or off."},
	{"format", "string", "ndjson", "What an object is: ndjson or json_array."},
	{"compression", "string", "gzip", "gzip or none."},
	{"compression_level", "integer", "1", "1 (fast) to 9 (small)."},
	{"total_file_size", "size", "50M", "An object ends at this many bytes before compression."},
	{"max_records", "integer", "0", "An object has at most this many records; 0 sets no bound."},
	{"upload_timeout", "time", "1m", "An object ends this long after its first record."},
	{"upload_concurrency", "integer", "2", "Uploads at once."},
	{"store_dir", "string", DefaultStoreDir, "The directory in which accepted records wait: on a disk that outlives restarts, and Fluent Bit's user's alone."},
	{"store_dir_limit_size", "size", "10G", "How much may wait in store_dir; then chunks stay with Fluent Bit."},
	{"rejected_limit_size", "size", "1G", "How much rejected/ may hold, with what open/ has of it."},
	{"rejected_overflow", "string", "retry", "What happens then: retry or drop."},
	{"shutdown_timeout", "time", "10s", "A shutdown takes at most this long for last uploads."},
	{"customer_id", "string", "$customerId", "Who pays: a list of accessors such as $tenant, or one string."},
	{"meter_api_name", "string", "$meterApiName", "The meter: a list of accessors, or one string."},
	{"meter_value", "string", "$meterValue", "The value: a number, or an expression such as $bytes, $in+$out or ms($latency)."},
	{"meters", "string", "", "Several meters from one record: ApiCalls=1, BytesOut=$bytes."},
	{"negative_values", "string", "reject", "Records with a negative value: reject or accept."},
	{"absent", "string", "-", "Strings that mean that there is no value."},
	{"only_if", "string", "", "A condition that decides what is metered: $status < 400 and $user is present."},
	{"meter_time", "string", "$meterTimeInMillis, event", "When it happened: a list of accessors; event is the event's own time."},
	{"meter_time_window", "string", "60d, 1d", "How far back and ahead of now Amberflo takes a time."},
	{"meter_time_outside", "string", "warn", "Records with a time outside of that: warn or reject."},
	{"meter_time_format", "string", "auto", "auto, unix, unix_ms, unix_us, unix_ns, rfc3339 or a strptime layout."},
	{"unique_id", "string", "$uniqueId, generate", "A list of accessors, hash($path, $offset), or generate."},
	{"dimensions", "string", "$dimensions", "A list of name, name=$field and name=string, or one accessor to a map."},
	{"long_dimensions", "string", "reject", "Dimensions of more than 200 characters: reject or cut."},
	{"payload", "string", "meter", "meter makes meter records, record ships the log record as it is."},
	{"unmatched", "string", "reject", "Records without customer, meter or value: reject, ignore, ignore_any or ignore_all."},
	{"aggregate", "string", "", "Meters of type sum whose records are added up before they are sent: ApiCalls, BytesOut, or * for all."},
	{"aggregate_bucket", "time", "15m", "How wide in time the records of one event may lie: 1s to 1h, has to divide an hour."},
	{"failure_reports", "boolean", "on", "Look for objects that Amberflo did not take."},
	{"failure_reports_prefix", "string", "failed-requests/", "Where Amberflo puts its reports."},
	{"failure_reports_window", "time", "1h", "How long a sent object is kept for its verdict."},
	{"sent_retention", "time", "", "How long a sent object is kept for an audit, if store_dir has the space. By default until its verdict."},
	{"events_per_hour_limit", "integer", "1000000", "Events of a meter in an hour that Amberflo takes, to be warned before; 0 for none."},
}
