package plugin

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"out_amberflo/plugin/object"
)

// section is a getter of options, as the host has it.
func section(kv ...string) func(string) string {
	return func(key string) string {
		for i := 0; i < len(kv); i += 2 {
			if kv[i] == key {
				return kv[i+1]
			}
		}
		return ""
	}
}

func TestBucketAndRegionAreTheWholeConfigurationOfRecordsThatAreMeters(t *testing.T) {
	c, b, err := Load(t.Context(), Host{Option: section("bucket", "183-amberflo", "region", "us-west-2")})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	if c.Bucket.ACL != "bucket-owner-full-control" || c.Bucket.PathStyle || c.GzipLevel != 1 || c.JSONArray ||
		c.TotalFileSize != 50e6 || c.MaxRecords != 0 || c.UploadTimeout != time.Minute || c.UploadConcurrent != 2 ||
		c.StoreDir != DefaultStoreDir || c.StoreDirLimit != 10e9 || c.RejectedLimit != 1e9 ||
		c.ShutdownTimeout != 10*time.Second || c.StartupCheck != "probe" || !c.Reports || c.ReportsWindow != time.Hour {
		t.Errorf("the defaults are not the documented ones: %+v", c)
	}
}

func TestBlanksAroundAnOptionDoNotCount(t *testing.T) {
	c, b, err := Load(t.Context(), Host{Option: section("bucket", " b ", "region", "us-west-2\n", "payload", "record ", "format", "ndjson\t")})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	if got := c.describe(); !strings.HasPrefix(got, "bucket=b region=us-west-2 ") || len(c.Rules.Keys()) != 0 {
		t.Errorf("got %s", got)
	}
}

func TestTheStartSaysWhatIsNoDefault(t *testing.T) {
	c, wrong := Check(section("bucket", "b", "region", "r-1", "store_dir", "spool/../x", "customer_id", "tenant", "meters", "A=1, B=$b", "max_records", "0", "external_id", "hush", "role_arn", "arn:aws:iam::1:role/r"))
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	dir, err := filepath.Abs("x")
	if err != nil {
		t.Fatal(err)
	}
	want := "bucket=b region=r-1 store_dir=" + dir + " role_arn=arn:aws:iam::1:role/r s3_key_format=ingest/amberdata/%m-%d-%Y/$UUID.gz upload_timeout=1m " +
		`customer_id="tenant" meters="A=1, B=$b"`
	if got := c.describe(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestBoundsOfOptions(t *testing.T) {
	for _, o := range []struct{ key, value, want string }{
		{"total_file_size", "5G", ""}, {"total_file_size", "5.1G", "at most 5G"},
		{"upload_concurrency", "64", ""}, {"upload_concurrency", "65", "a whole number from 1 to 64"},
		{"store_dir", "~/spool", "a path in full"},
	} {
		_, wrong := Check(section("bucket", "b", o.key, o.value))
		if o.want == "" != (len(wrong) == 0) || o.want != "" && !strings.Contains(wrong[0].Error(), o.key+": want "+o.want) {
			t.Errorf("%s %s: got %v, want %q", o.key, o.value, wrong, o.want)
		}
	}
}

func TestSentObjectsAreKeptAtLeastUntilTheirVerdict(t *testing.T) {
	for _, o := range []struct {
		set  []string
		want string
		kept time.Duration
	}{
		{nil, "", 0},
		{[]string{"failure_reports_window", "2d"}, "", 0},
		{[]string{"sent_retention", "30d"}, "", 720 * time.Hour},
		{[]string{"sent_retention", "1h"}, "", time.Hour},
		{[]string{"sent_retention", "10m", "failure_reports", "off"}, "", 10 * time.Minute},
		{[]string{"sent_retention", "59m"}, `sent_retention: want at least failure_reports_window (1h0m0s), in which a verdict may come, got "59m", for example: sent_retention 30d`, 0},
		{[]string{"sent_retention", "10m", "failure_reports_window", "5m"}, "", 10 * time.Minute},
		{[]string{"sent_retention", "30"}, `sent_retention: want a duration such as 30s or 5m, got "30", for example: sent_retention 30d`, 0},
		{[]string{"events_per_hour_limit", "many"}, `events_per_hour_limit: want a whole number from 0 to 2147483647, got "many", for example: events_per_hour_limit 1000000`, 0},
	} {
		c, wrong := Check(section(append(o.set, "bucket", "b")...))
		if o.want != "" {
			if len(wrong) != 1 || wrong[0].Error() != o.want {
				t.Errorf("%q: got %v, want %s", o.set, wrong, o.want)
			}
			continue
		}
		if len(wrong) > 0 || c.Spool().Retention != o.kept || c.EventsLimit != 1_000_000 {
			t.Errorf("%q: got %v and %s, want %s", o.set, wrong, c.Spool().Retention, o.kept)
		}
		if said := strings.Contains(c.describe(), " sent_retention="); said != (o.kept > 0) {
			t.Errorf("%q: the start says %s", o.set, c.describe())
		}
	}
}

func TestTheRegionOfTheEnvironmentIsSaid(t *testing.T) {
	t.Setenv("AWS_REGION", "eu-west-2")
	c, b, err := Load(t.Context(), Host{Option: section("bucket", "b")})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	if got := c.describe(); !strings.HasPrefix(got, "bucket=b region=eu-west-2 ") {
		t.Errorf("got %s", got)
	}
}

func TestEveryMistakeIsNamedAtOnceWithWantGotAndExample(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	_, _, err := Load(t.Context(), Host{Option: section(
		"upload_timeout", "30", "compression", "zip", "total_file_size", "5X", "max_records", "-1", "failure_reports", "maybe",
		"canned_acl", "mine", "storage_class", "COLD", "server_side_encryption", "rot13", "s3_key_format", "static.gz",
		"startup_check", "yes", "meter_value", "$a[", "endpoint", "example.com")})
	if err == nil {
		t.Fatal("want an error")
	}
	for _, want := range []string{
		`bucket: want the name of the bucket that Amberflo supplied, got nothing, for example: bucket 183-amberflo`,
		`upload_timeout: want a duration such as 30s or 5m, got "30", for example: upload_timeout 1m`,
		`compression: want gzip or none, got "zip"`,
		`total_file_size: want a size such as`,
		`max_records: want a whole number from 0 to 2147483647, got "-1"`,
		`failure_reports: want on or off, got "maybe"`,
		`canned_acl: want`, `storage_class: want`, `server_side_encryption: want`, `endpoint: want`, `region: want`,
		`s3_key_format: want $UUID, or both %N and $HASH`,
		`startup_check: want probe or put or off, got "yes"`,
		"meter_value: want", "\n    $a[\n",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in\n%v", want, err)
		}
	}
}

func TestNoNumberIsNoSizeAndNoTime(t *testing.T) {
	for _, v := range []string{"nan", "NaN", "inf", "nanG", "0", "-1", ""} {
		if n, err := parseSize(v); err == nil {
			t.Errorf("size %q: got %d", v, n)
		}
		if d, err := parseDuration(v + "d"); err == nil {
			t.Errorf("time %q: got %s", v+"d", d)
		}
	}
}

func TestSizesAndTimesAreReadAsFluentBitReadsThem(t *testing.T) {
	for value, want := range map[string]int64{"1": 1, "5k": 5e3, "50M": 50e6, "1.5G": 15e8, "2GB": 2e9, "0": 0, "": 0, "5X": 0, "M": 0, "-1": 0, "KM": 0, "1KM": 0} {
		if got, err := parseSize(value); got != want || (err == nil) != (want > 0) {
			t.Errorf("size %q: got %d, %v, want %d", value, got, err, want)
		}
	}
	for value, want := range map[string]time.Duration{"30s": 30 * time.Second, "5m": 5 * time.Minute, "1h": time.Hour, "2d": 48 * time.Hour,
		"1m30s": 90 * time.Second, "250ms": 250 * time.Millisecond, "30": 0, "": 0, "-1s": 0, "d": 0, "0s": 0} {
		if got, err := parseDuration(value); got != want || (err == nil) != (want > 0) {
			t.Errorf("duration %q: got %s, %v, want %s", value, got, err, want)
		}
	}
}

func TestAKeyIsMadeOfTheTimeTheUUIDAndTheContent(t *testing.T) {
	o := object.Sealed{
		ID:     uuid.MustParse("0190a6e0-0000-7000-8000-000000000001"),
		Opened: time.Date(2022, 11, 18, 14, 11, 23, 699000000, time.FixedZone("", 7200)),
		Sum:    [32]byte{0xc0, 0xd0, 0x10, 0xd5, 0xff},
	}
	for _, c := range []struct {
		format string
		gzip   bool
		want   string
	}{
		{"ingest/amberdata/%m-%d-%Y/$UUID.gz", true, "ingest/amberdata/11-18-2022/0190a6e0-0000-7000-8000-000000000001.gz"},
		{"/a/$UUID.gz", true, "a/0190a6e0-0000-7000-8000-000000000001.gz"},
		{"9FBB/level13/%Y/%m/%d/%H-%M-%S-%N-$HASH.json", false, "9FBB/level13/2022/11/18/12-11-23-699000000-c0d010d5.json"},
		{"100%%/$UUID", false, "100%/0190a6e0-0000-7000-8000-000000000001"},
	} {
		k, err := parseKeyFormat(c.format, c.gzip)
		if err != nil {
			t.Errorf("%s: %v", c.format, err)
			continue
		}
		if got := k.key(o); got != c.want {
			t.Errorf("%s: got %s, want %s", c.format, got, c.want)
		}
	}
}

func TestAKeyFormatThatCouldLoseAnObjectDoesNotStart(t *testing.T) {
	for format, want := range map[string]string{
		"logs/%Y/$INDEX-$UUID.gz": "only $UUID and $HASH",
		"logs/$TAG/$UUID.gz":      "only $UUID and $HASH",
		"logs/%Y.gz":              "no object overwrites another",
		"logs/$HASH.gz":           "no object overwrites another",
		"logs/%N.gz":              "no object overwrites another",
		"logs/%%N-$HASH.gz":       "no object overwrites another",
		"logs/%Q/$UUID.gz":        "strftime",
		"logs/$UUID.gz/%":         "strftime",
		"logs//$UUID.gz":          "without empty",
		"../$UUID.gz":             "without empty",
		"//$UUID.gz":              "without empty",
		"x/.retry-$UUID.gz":       "begins with no point",
		strings.Repeat("x", 150) + "/%N-$HASH.gz": "at most 142 bytes",
		"logs/$UUID":                           "ending .gz",
		"a\x00/$UUID.gz":                       "control characters",
		strings.Repeat("x", 180) + "/$UUID.gz": "at most 179 bytes",
	} {
		if _, err := parseKeyFormat(format, true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", format, err, want)
		}
	}
	if _, err := parseKeyFormat("a/$UUID.reason.txt", false); err == nil {
		t.Error("want no start with the ending of reasons")
	}
	if _, err := parseKeyFormat("a/$UUID.gz", false); err == nil {
		t.Error("want no start with .gz without gzip")
	}
}

func TestEveryOptionHasAnExampleThatItAccepts(t *testing.T) {
	for _, o := range options {
		for _, v := range []string{o.value, o.example} {
			if v == "" {
				continue
			}
			if err := o.set(&Config{GzipLevel: 6}, v); err != nil {
				t.Errorf("%s %s: want it accepted, got %v", o.key, v, err)
			}
		}
	}
	var keys []string
	for _, o := range options {
		keys = append(keys, o.key)
	}
	slices.Sort(keys)
	if len(slices.Compact(keys)) != len(options) {
		t.Error("an option stands twice")
	}
}

func TestHelpHasEveryOptionWithItsDefault(t *testing.T) {
	ofDelivery, ofMapping := Keys()
	want := slices.Concat(ofDelivery, ofMapping)
	var got []string
	for _, o := range Options() {
		got = append(got, o.Key)
		if !strings.HasSuffix(o.Help, ".") || !slices.Contains([]string{"string", "integer", "boolean", "size", "time"}, o.Kind) {
			t.Errorf("%+v: want a sentence, and a kind that help knows", o)
		}
		for _, row := range options {
			if row.key == o.Key && row.value != "" && row.value != o.Default {
				t.Errorf("%s: help says %s, the default is %s", o.Key, o.Default, row.value)
			}
		}
		if _, found := Check(section(o.Key, o.Default)); slices.ContainsFunc(found, func(e *OptionError) bool { return e.Key == o.Key && o.Default != "" }) {
			t.Errorf("%s: %s, the default of help, is not taken", o.Key, o.Default)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
