package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"out_amberflo/plugin/bucket"
	"out_amberflo/plugin/meter"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/spool"
	"out_amberflo/plugin/watch"
)

// Config is one [OUTPUT] section, checked.
type Config struct {
	Bucket bucket.Options
	Key    keyFormat

	StartupCheck     string // probe, put or off
	JSONArray        bool
	GzipLevel        int // 0: not compressed
	TotalFileSize    int64
	MaxRecords       int
	UploadTimeout    time.Duration
	UploadConcurrent int

	StoreDir        string
	StoreDirLimit   int64
	RejectedLimit   int64
	DropRejects     bool // at RejectedLimit
	ShutdownTimeout time.Duration

	Reports       bool // look for Amberflo's failure reports
	ReportsPrefix string
	ReportsWindow time.Duration
	// SentRetention is how long sent objects are kept; 0: until their verdict.
	SentRetention time.Duration

	EventsLimit int64 // of a meter in an hour, to warn of; 0: none

	Rules *meter.Rules

	endpoint string // in effect, wherever it was found

	// delivery is the value of each of options, defaults included: outputs for which it is equal may share a spool.
	delivery []string
	mapping  []string // those of the mapping that are set, key=value
}

// OptionError says what is wrong with one option, and how to fix it.
type OptionError = meter.OptionError

// option is one row of the README's tables.
type option struct {
	key     string
	value   string // the default; "" is none
	example string
	// set checks the value and stores it; its error says what was wanted. Not called for "".
	set func(c *Config, value string) error
}

// defaultGzipLevel is the cheapest on the curve of time against bytes: compression is the largest part of
// what a record costs, and the bytes cost next to nothing. A million meter records of an access log
// (210 MB, klauspost/compress 1.20): level 1 0.44 s and 15.7 MB, 3 0.54 s and 15.6 MB, 5 0.68 s and
// 13.7 MB, 6 0.87 s and 12.9 MB. BenchmarkLevels repeats it.
const defaultGzipLevel = 1

// largestPut is S3's bound for an object that is put in one request (5 GiB), which this output never exceeds.
const largestPut = 5e9

// DefaultStoreDir is the default of store_dir: where systemd keeps a unit's state (StateDirectory=), or else where Fluent Bit's
// packages keep theirs. No other user may write there, and it outlives a restart of the machine.
var DefaultStoreDir = defaultStoreDir(os.Getenv("STATE_DIRECTORY"))

func defaultStoreDir(state string) string {
	first, _, _ := strings.Cut(state, ":")
	return filepath.Join(cmp.Or(first, "/var/lib/fluent-bit"), "amberflo")
}

// options are all but those of the mapping, which belong to meter.Compile.
var options = []option{
	{"bucket", "", "183-amberflo", func(c *Config, v string) error { c.Bucket.Bucket = v; return nil }},
	{"region", "", "us-west-2", func(c *Config, v string) error { c.Bucket.Region = v; return nil }},
	{"endpoint", "", "http://127.0.0.1:9000", func(c *Config, v string) error {
		c.Bucket.Endpoint = v
		c.Bucket.PathStyle = true
		return nil
	}},
	{"force_path_style", "", "on", func(c *Config, v string) (err error) { c.Bucket.PathStyle, err = parseBool(v); return }},
	{"role_arn", "", "arn:aws:iam::123456789012:role/metering", func(c *Config, v string) error { c.Bucket.RoleARN = v; return nil }},
	{"external_id", "", "", func(c *Config, v string) error { c.Bucket.ExternalID = v; return nil }},
	{"sts_endpoint", "", "https://sts.us-west-2.amazonaws.com", func(c *Config, v string) error { c.Bucket.STSEndpoint = v; return nil }},
	{"profile", "", "billing", func(c *Config, v string) error { c.Bucket.Profile = v; return nil }},
	{"compression", "gzip", "gzip", oneOf(func(c *Config, v string) {
		if c.GzipLevel = defaultGzipLevel; v == "none" {
			c.GzipLevel = 0
		}
	}, "gzip", "none")},
	{"compression_level", "", "1", func(c *Config, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 9 {
			return errors.New("a number from 1 (fast) to 9 (small)")
		}
		if c.GzipLevel == 0 {
			return errors.New("no level with compression none")
		}
		c.GzipLevel = n
		return nil
	}},
	{"s3_key_format", "ingest/amberdata/%m-%d-%Y/$UUID.gz", "ingest/amberdata/%m-%d-%Y/$UUID.gz", func(c *Config, v string) (err error) {
		c.Key, err = parseKeyFormat(v, c.GzipLevel > 0)
		return
	}},
	{"canned_acl", "bucket-owner-full-control", "bucket-owner-full-control", func(c *Config, v string) error {
		if c.Bucket.ACL = v; v == "none" {
			c.Bucket.ACL = ""
		}
		return nil
	}},
	{"storage_class", "", "STANDARD_IA", func(c *Config, v string) error { c.Bucket.StorageClass = v; return nil }},
	{"server_side_encryption", "", "aws:kms", func(c *Config, v string) error { c.Bucket.SSE = v; return nil }},
	{"ssekms_key_id", "", "", func(c *Config, v string) error { c.Bucket.KMSKeyID = v; return nil }},
	{"tagging", "", "team=billing&env=prod", func(c *Config, v string) error { c.Bucket.Tagging = v; return nil }},
	{"startup_check", "probe", "probe", oneOf(func(c *Config, v string) { c.StartupCheck = v }, "probe", "put", "off")},
	{"format", "ndjson", "ndjson", oneOf(func(c *Config, v string) { c.JSONArray = v == "json_array" }, "ndjson", "json_array")},
	{"total_file_size", "50M", "50M", func(c *Config, v string) (err error) {
		if c.TotalFileSize, err = parseSize(v); err == nil && c.TotalFileSize > largestPut {
			err = errors.New("at most 5G, as much as S3 takes in one request")
		}
		return
	}},
	{"max_records", "0", "1000", func(c *Config, v string) (err error) { c.MaxRecords, err = parseCount(v, 0, math.MaxInt32); return }},
	{"upload_timeout", "1m", "1m", func(c *Config, v string) (err error) { c.UploadTimeout, err = parseDuration(v); return }},
	{"upload_concurrency", "2", "2", func(c *Config, v string) (err error) { c.UploadConcurrent, err = parseCount(v, 1, 64); return }},
	{"store_dir", DefaultStoreDir, "/var/lib/fluent-bit/amberflo", func(c *Config, v string) (err error) {
		if strings.HasPrefix(v, "~") {
			return errors.New("a path in full: a ~ is for a shell")
		}
		c.StoreDir, err = filepath.Abs(v)
		return
	}},
	{"store_dir_limit_size", "10G", "10G", func(c *Config, v string) (err error) { c.StoreDirLimit, err = parseSize(v); return }},
	{"rejected_limit_size", "1G", "1G", func(c *Config, v string) (err error) { c.RejectedLimit, err = parseSize(v); return }},
	{"rejected_overflow", "retry", "retry", oneOf(func(c *Config, v string) { c.DropRejects = v == "drop" }, "retry", "drop")},
	{"failure_reports", "on", "on", func(c *Config, v string) (err error) { c.Reports, err = parseBool(v); return }},
	{"failure_reports_prefix", "failed-requests/", "failed-requests/", func(c *Config, v string) error { c.ReportsPrefix = strings.TrimLeft(v, "/"); return nil }},
	{"failure_reports_window", "1h", "1h", func(c *Config, v string) (err error) { c.ReportsWindow, err = parseDuration(v); return }},
	{"sent_retention", "", "30d", func(c *Config, v string) (err error) {
		if c.SentRetention, err = parseDuration(v); err == nil && c.Reports && c.SentRetention < c.ReportsWindow {
			err = fmt.Errorf("at least failure_reports_window (%s), in which a verdict may come", c.ReportsWindow)
		}
		return
	}},
	{"events_per_hour_limit", "1000000", "1000000", func(c *Config, v string) error {
		n, err := parseCount(v, 0, math.MaxInt32)
		c.EventsLimit = int64(n)
		return err
	}},
	{"shutdown_timeout", "10s", "10s", func(c *Config, v string) (err error) { c.ShutdownTimeout, err = parseDuration(v); return }},
}

// mapping are the options of "How a log becomes a meter".
var mapping = []string{"customer_id", "meter_api_name", "meter_value", "meters", "meter_time", "meter_time_format",
	"unique_id", "dimensions", "payload", "unmatched", "absent", "negative_values", "only_if", "long_dimensions", "meter_time_window", "meter_time_outside",
	"aggregate", "aggregate_bucket"}

// Keys returns the names of all options: those of the delivery, and those of the mapping.
func Keys() (ofDelivery, ofMapping []string) {
	for _, o := range options {
		ofDelivery = append(ofDelivery, o.key)
	}
	return ofDelivery, slices.Clone(mapping)
}

// Load reads and checks the section of a host. The error
// joins an *OptionError for each option that is wrong, missing or misspelt. The bucket is opened too, since only
// the AWS SDK knows whether it finds a region; that makes no request.
func Load(ctx context.Context, host Host) (*Config, *bucket.Bucket, error) {
	c, found := Check(host.Option)
	if !host.KnowsOptions {
		ofDelivery, ofMapping := Keys()
		found = append(watch.Misspelt(slices.Concat(ofDelivery, ofMapping), host.Option), found...)
	}
	wrong := mistakes(found)
	var errs []error
	c.Bucket.ContentType = c.contentType()
	b, err := bucket.Open(ctx, c.Bucket)
	var ofS3 *bucket.OptionError
	if errors.As(err, &ofS3) {
		wrong.add(ofBucket(ofS3))
	} else if err != nil {
		errs = append(errs, err)
	}
	for _, m := range wrong {
		errs = append(errs, m)
	}
	if len(errs) > 0 {
		if b != nil {
			b.Close()
		}
		return nil, nil, errors.Join(errs...)
	}
	c.Bucket.Region, c.endpoint = b.Region(), b.Endpoint()
	return c, b, nil
}

// mistakes are one for each option at most.
type mistakes []*OptionError

// add adds e if it is the first of its option.
func (m *mistakes) add(e *OptionError) {
	if !slices.ContainsFunc(*m, func(other *OptionError) bool { return other.Key == e.Key }) {
		*m = append(*m, e)
	}
}

func ofBucket(e *bucket.OptionError) *OptionError {
	got := "nothing"
	if e.Got != "" {
		got = strconv.Quote(e.Got)
	}
	return &OptionError{Key: e.Option, Want: e.Want, Got: got, Example: e.Example}
}

// Check is Load without the bucket: it needs nothing of the machine. It returns the Config beside its
// mistakes; Config.Rules is nil if one of them concerns the mapping.
func Check(get func(key string) string) (*Config, []*OptionError) {
	c := &Config{GzipLevel: defaultGzipLevel} // where compression is wrong, the key is judged as for gzip
	var wrong mistakes
	option := func(key string) string { return strings.TrimSpace(get(key)) }
	for _, key := range mapping {
		if v := option(key); v != "" {
			c.mapping = append(c.mapping, fmt.Sprintf("%s=%q", key, v))
		}
	}
	for _, o := range options {
		v := cmp.Or(option(o.key), o.value)
		c.delivery = append(c.delivery, v)
		if v == "" {
			continue
		}
		if err := o.set(c, v); err != nil {
			e := &OptionError{Key: o.key, Want: err.Error(), Got: strconv.Quote(v), Example: o.example}
			if errors.Is(err, errNoGz) {
				e.Example = strings.TrimSuffix(v, ".gz") + ".json"
			}
			wrong.add(e)
		}
	}
	for _, e := range c.Bucket.Check() {
		wrong.add(ofBucket(e))
	}
	rules, ofMapping := meter.Compile(meter.Options{
		CustomerID: option("customer_id"), MeterAPIName: option("meter_api_name"), MeterValue: option("meter_value"),
		Meters: option("meters"), MeterTime: option("meter_time"), MeterTimeFormat: option("meter_time_format"),
		UniqueID: option("unique_id"), Dimensions: option("dimensions"), Payload: option("payload"), Unmatched: option("unmatched"),
		Absent: option("absent"), NegativeValues: option("negative_values"), OnlyIf: option("only_if"), LongDimensions: option("long_dimensions"),
		MeterTimeWindow: option("meter_time_window"), MeterTimeOutside: option("meter_time_outside"),
		Aggregate: option("aggregate"), AggregateBucket: option("aggregate_bucket"),
	})
	for _, e := range ofMapping {
		wrong.add(e)
	}
	c.Rules = rules
	return c, wrong
}

// lacksZone tells if a meter_time_format is a layout of which nothing says in what zone its times are.
func lacksZone(format string) bool {
	says := func(zone string) bool { return strings.Contains(format, zone) }
	return says("%") && !slices.ContainsFunc([]string{"%z", "%s", "Z", "UTC", "GMT", "+00"}, says)
}

// unjoin gives the errors that errors.Join has put together, err alone, or none for nil.
func unjoin(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// describe is what of the configuration in effect is no default, and the most wanted of the rest, for one log line at
// start. It holds no secret.
func (c *Config) describe() string {
	b := &strings.Builder{}
	fmt.Fprintf(b, "bucket=%s region=%s", c.Bucket.Bucket, c.Bucket.Region)
	if c.endpoint != "" { // only Load knows it
		fmt.Fprintf(b, " endpoint=%s", c.endpoint)
	}
	fmt.Fprintf(b, " store_dir=%s", c.StoreDir)
	for i, o := range options {
		switch {
		case slices.Contains([]string{"bucket", "region", "endpoint", "store_dir", "external_id"}, o.key):
		case c.delivery[i] != o.value, o.key == "s3_key_format", o.key == "upload_timeout":
			v := c.delivery[i]
			if strings.ContainsFunc(v, unicode.IsControl) {
				v = strconv.Quote(v)
			}
			fmt.Fprintf(b, " %s=%s", o.key, v)
		}
	}
	for _, m := range c.mapping {
		fmt.Fprintf(b, " %s", m)
	}
	if c.Rules != nil {
		if names, bucket := c.Rules.Aggregate(); names != "" {
			fmt.Fprintf(b, " (adds up the records of %s in buckets of %s, which is right for meters of Amberflo's type sum only)", names, bucket)
		}
	}
	return b.String()
}

// Spool is what objects are and where they wait; its Log is not set.
func (c *Config) Spool() spool.Options {
	return spool.Options{
		Dir: c.StoreDir, Object: object.Options{
			Key: c.Key.key, Hash: c.Key.hashed(), JSONArray: c.JSONArray, GzipLevel: c.GzipLevel, MaxRecords: c.MaxRecords,
		},
		MaxBytes: c.TotalFileSize, MaxAge: c.UploadTimeout, Limit: c.StoreDirLimit, RejectLimit: c.RejectedLimit, Retention: c.SentRetention,
	}
}

func (c *Config) contentType() string {
	switch {
	case c.GzipLevel > 0:
		return "application/gzip"
	case c.JSONArray:
		return "application/json"
	}
	return "application/x-ndjson"
}

func oneOf(set func(*Config, string), values ...string) func(*Config, string) error {
	return func(c *Config, v string) error {
		if v = strings.ToLower(v); !slices.Contains(values, v) {
			return errors.New(strings.Join(values, " or "))
		}
		set(c, v)
		return nil
	}
}

// parseBool takes what Fluent Bit takes.
func parseBool(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "on", "true", "yes":
		return true, nil
	case "off", "false", "no":
		return false, nil
	}
	return false, errors.New("on or off")
}

func parseCount(v string, least, most int) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("a whole number from %d to %d", least, most)
	}
	return n, nil
}

// parseSize reads bytes with Fluent Bit's suffixes, which are powers of 1,000 (flb_utils_size_to_bytes).
func parseSize(v string) (int64, error) {
	want := errors.New("a size such as 500K, 50M or 10G")
	number := strings.TrimRight(strings.ToUpper(v), "KMGB")
	unit, ok := map[string]float64{"": 1, "K": 1e3, "KB": 1e3, "M": 1e6, "MB": 1e6, "G": 1e9, "GB": 1e9}[strings.ToUpper(v[len(number):])]
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !ok || !(n*unit >= 1 && n*unit <= 1<<62) {
		return 0, want
	}
	return int64(n * unit), nil
}

// ParseSize reads a size as the options have it.
func ParseSize(v string) (int64, error) { return parseSize(v) }

func parseDuration(v string) (time.Duration, error) {
	d, ok := meter.ParseDuration(v)
	if !ok {
		return 0, errors.New("a duration such as 30s or 5m")
	}
	return d, nil
}
