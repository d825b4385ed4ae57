package e2e

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// keyForm is ingest/amberdata/MM-DD-YYYY/<uuid>.gz.
var keyForm = regexp.MustCompile(`^ingest/amberdata/(\d\d-\d\d-20\d\d)/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.gz$`)

// one gives the only object there is.
func (b *bench) one(objects map[string]string) (key, content string) {
	b.Helper()
	if len(objects) != 1 {
		b.Fatalf("%d objects, want 1: %q", len(objects), names(objects))
	}
	for key, content = range objects {
	}
	return key, content
}

// idOf is the uuid in a key of the documented form.
func (b *bench) idOf(key string) string {
	b.Helper()
	m := keyForm.FindStringSubmatch(key)
	if m == nil {
		b.Fatalf("key %q, want ingest/amberdata/MM-DD-YYYY/<uuid>.gz", key)
	}
	day, err := time.Parse("01-02-2006", m[1])
	if age := time.Since(day); err != nil || age < 0 || age > 48*time.Hour {
		b.Errorf("key %q: want today's date in UTC", key)
	}
	return m[2]
}

func TestAnObjectHoldsTheEventsByteForByte(t *testing.T) {
	samples := []struct {
		record record
		want   metered
	}{
		{record{"tenant", "acme", "api", "Get", "bytes", 17, "method", "GET", "status", 200},
			metered{customer: "acme", meter: "Get", value: "17", dimensions: record{"method", "GET", "status", "200", "source", "edge"}}},
		{record{"tenant", "a \"b\" \\c\té世😀</>&", "api", "Get", "bytes", int64(9007199254740993), "method", "PUT"},
			metered{customer: "a \"b\" \\c\té世😀</>&", meter: "Get", value: "9007199254740993", dimensions: record{"method", "PUT", "source", "edge"}}},
		{record{"tenant", 4711, "api", "Put", "bytes", -0.125, "method", "", "status", nil},
			metered{customer: "4711", meter: "Put", value: "-0.125", dimensions: record{"source", "edge"}}},
		{record{"tenant", "acme", "api", "Put", "bytes", "12.50", "method", true, "status", record{"code", 1}},
			metered{customer: "acme", meter: "Put", value: "12.50", dimensions: record{"method", "true", "source", "edge"}}},
	}
	both(t, func(t *testing.T, b *bench) {
		var chunks [][]event
		var want []metered
		for n := range 200 {
			if n%5 == 0 {
				chunks = append(chunks, nil)
			}
			s := samples[n%len(samples)]
			at := eventTime.Add(time.Duration(n) * 37 * time.Millisecond)
			chunks[n/5] = append(chunks[n/5], event{at, s.record})
			s.want.millis = at.UnixMilli()
			want = append(want, s.want)
		}
		b.run(logged(chunks...), b.section("customer_id $tenant", "meter_api_name $api", "meter_value $bytes", "negative_values accept", "dimensions method, status, source=edge"))

		key, content := b.one(b.objects())
		id := b.idOf(key)
		var text strings.Builder
		for n, m := range want {
			m.id = fmt.Sprintf("%s-%d", id, n)
			text.WriteString(m.json() + "\n")
		}
		wantLines, gotLines := strings.Split(text.String(), "\n"), strings.Split(b.plain(key, content), "\n")
		for n := range max(len(wantLines), len(gotLines)) {
			if n >= len(wantLines) || n >= len(gotLines) {
				t.Fatalf("%d lines, want %d", len(gotLines), len(wantLines))
			}
			if wantLines[n] != gotLines[n] {
				t.Fatalf("line %d\n got %s\nwant %s", n, gotLines[n], wantLines[n])
			}
		}
		if mtime := content[4:8]; mtime != "\x00\x00\x00\x00" {
			t.Errorf("time %x in the gzip header, want none: equal records make equal bytes", mtime)
		}
		head, err := b.server.Client(b.server.Owner).HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &b.server.Bucket, Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		if head.ContentEncoding != nil && *head.ContentEncoding != "" || *head.ContentType != "application/gzip" {
			t.Errorf("Content-Encoding %v, Content-Type %q: want none and application/gzip, or readers undo gzip twice", head.ContentEncoding, *head.ContentType)
		}
		s := b.amberflo()
		if o := s.Objects()[0]; o.Members != 1 || o.Records != len(want) || o.Refused != 0 || s.Bill().Billed != len(want) {
			t.Errorf("Amberflo reads %+v, want one gzip member and %d records that count", o, len(want))
		}
		b.wantDelivered()
	})
}

// documented is in the form of the example in Amberflo's page on S3 ingestion: records that need no mapping.
const documented = `[
 {"customerId":"123","meterApiName":"ApiCalls-From-S3","meterValue":5,"meterTimeInMillis":1772600706909,"uniqueId":"4d9a2e60-0001","dimensions":{"region":"us-west-2","customerType":"Tech"}},
 {"customerId":"123","meterApiName":"ApiCalls-From-S3","meterValue":1.5,"meterTimeInMillis":1772600707000,"uniqueId":"4d9a2e60-0002","dimensions":{"region":"us-east-1","customerType":"Tech"}},
 {"customerId":"456","meterApiName":"TypeScript-ApiCalls","meterValue":12,"meterTimeInMillis":1772600707001,"uniqueId":"4d9a2e60-0003"}]`

func TestTheDocumentedRecordsArriveEqualInEveryField(t *testing.T) {
	var want []map[string]any
	if err := json.Unmarshal([]byte(documented), &want); err != nil {
		t.Fatal(err)
	}
	var events []event
	for _, w := range want {
		var r record
		for _, key := range []string{"meterApiName", "dimensions", "customerId", "meterTimeInMillis", "uniqueId", "meterValue"} {
			switch v := w[key].(type) {
			case nil:
			case map[string]any:
				r = append(r, key, record{"customerType", v["customerType"], "region", v["region"]})
			case float64:
				if v == float64(int64(v)) {
					r = append(r, key, int64(v))
				} else {
					r = append(r, key, v)
				}
			default:
				r = append(r, key, v)
			}
		}
		events = append(events, event{eventTime, r})
	}
	both(t, func(t *testing.T, b *bench) {
		b.run(logged(events), b.section())
		key, content := b.one(b.objects())
		b.idOf(key)
		got := make([]map[string]any, 0, len(want))
		for line := range strings.Lines(b.plain(key, content)) {
			var r map[string]any
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			got = append(got, r)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
	})
}

func TestWithoutTheACLNothingIsTakenUntilThePolicyAllowsIt(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		p := b.start(oneRecord, b.section("canned_acl none", "upload_timeout 200ms"))
		p.await("upload failed, nothing is lost", "kind=denied", "AccessDenied", "canned_acl bucket-owner-full-control if the bucket's policy demands it")
		key, waiting := b.one(b.spool("outbox"))
		b.idOf(key)
		if there := b.objects(); len(there) > 0 {
			t.Fatalf("in the bucket without the ACL: %q", names(there))
		}
		policy := fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": [%q]}, "Action": "s3:PutObject", "Resource": "arn:aws:s3:::%s/*"}]}`,
			b.server.Writer.AccessKey, b.server.Bucket)
		if err := b.server.SetPolicy(t.Context(), policy); err != nil {
			t.Fatal(err)
		}
		p.await("upload succeeded after")
		p.stop()
		gotKey, got := b.one(b.objects())
		if gotKey != key || got != waiting {
			t.Errorf("delivered %s, %d bytes; want the very object that waited, %s, %d bytes", gotKey, len(got), key, len(waiting))
		}
		b.wantDelivered()
	})
}

// oneRecord needs no mapping.
var oneRecord = logged([]event{{eventTime, record{"customerId", "acme", "meterApiName", "ApiCalls", "meterValue", 3}}})

func TestWhatACauseKeepsBackIsDeliveredOnceItIsMended(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		spoil func(b *bench) (section []string)
		words []string
	}{
		{"a wrong secret", func(b *bench) []string {
			b.credentials.SecretKey = "not-" + b.credentials.SecretKey
			return nil
		}, []string{"kind=credentials", "SignatureDoesNotMatch (403)", "the secret key is not the access key's"}},
		{"an unknown access key", func(b *bench) []string {
			b.credentials.AccessKey = "AKIDNOBODY"
			return nil
		}, []string{"kind=credentials", "InvalidAccessKeyId (403)"}},
		{"a missing bucket", func(b *bench) []string { return []string{"bucket 184-amberflo"} },
			[]string{"kind=no_bucket", "NoSuchBucket (404)", "check bucket and endpoint: there is no bucket 184-amberflo there"}},
		{"a wrong region", func(b *bench) []string { return []string{"region eu-west-1"} },
			[]string{"kind=wrong_region", "the bucket is in us-west-2: set region us-west-2"}},
		{"an endpoint that cannot be reached", func(b *bench) []string { return []string{"endpoint http://127.0.0.1:1"} },
			[]string{"kind=unreachable", "connection refused", "check that http://127.0.0.1:1 can be reached from here"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			both(t, func(t *testing.T, b *bench) {
				p := b.start(oneRecord, b.section(append(test.spoil(b), "upload_timeout 100ms", "shutdown_timeout 1s")...))
				p.await(append([]string{"[error]", "upload failed, nothing is lost, will be tried again"}, test.words...)...)
				p.await(append([]string{"[ warn]", "startup_check probe: uploads would fail now"}, test.words[1:]...)...)
				key, waiting := b.one(b.spool("outbox"))
				log := p.stop()
				b.wantLog(log, "stopped with objects waiting: the next start on this store_dir sends them", "objects=1")
				b.wantNoSecret(log)
				if there := b.objects(); len(there) > 0 {
					t.Errorf("in the bucket already: %q", names(there))
				}

				b.credentials = b.server.Writer
				p = b.start(input{}, b.section())
				b.arrived(1)
				p.stop()
				gotKey, got := b.one(b.objects())
				if gotKey != key || got != waiting {
					t.Errorf("delivered %s, %d bytes; want the object that waited, %s, %d bytes", gotKey, len(got), key, len(waiting))
				}
				if bill := b.amberflo().Bill(); bill.Billed != 1 || bill.Lines[0].Usage != "3" {
					t.Errorf("bill %+v, want the one record", bill)
				}
				b.wantDelivered()
			})
		})
	}
}

func (b *bench) wantNoSecret(log string) {
	b.Helper()
	for _, secret := range []string{b.credentials.SecretKey, b.server.Writer.SecretKey, b.server.Owner.SecretKey} {
		if strings.Contains(log, secret) {
			b.Errorf("a secret in the log:\n%s", log)
		}
	}
}
