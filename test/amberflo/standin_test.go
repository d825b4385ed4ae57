package amberflo

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const day = "ingest/amberdata/06-07-2022/"

func record(customer, meter, value, id string) string {
	return fmt.Sprintf(`{"customerId":%q,"meterApiName":%q,"meterValue":%s,"meterTimeInMillis":1654611288000,"uniqueId":%q,"dimensions":{"method":"GET"}}`, customer, meter, value, id) + "\n"
}

func round(t *testing.T, s *Standin) Summary {
	t.Helper()
	sum, err := s.Round(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func wantBill(t *testing.T, s *Standin, want ...Line) {
	t.Helper()
	if got := s.Bill().Lines; !slices.EqualFunc(got, want, func(a, b Line) bool { return reflect.DeepEqual(a, b) }) {
		t.Errorf("got bill %+v, want %+v", got, want)
	}
}

func TestRoundAddsUpWhatArrives(t *testing.T) {
	b, opt := newBucket(t)
	s := New(opt)
	b.put(day+"1.gz", gzipped(t, record("acme", "ApiCalls", "1", "1-0")+record("acme", "ApiCalls", "0.1", "1-1")))
	b.put(day+"2", "["+record("acme", "ApiCalls", "0.2", "2-0")+","+record("birch", "BytesOut", "9007199254740993", "2-1")+"]")
	b.put(day, "")
	b.put("failed-requests/06-07-2022/x.reason.txt", "not for us")
	if sum := round(t, s); sum.Objects != 2 || sum.Records != 4 || sum.Refused != 0 {
		t.Errorf("got %+v, want 2 objects of 4 records", sum)
	}
	b.put(day+"3", record("birch", "BytesOut", "9007199254740993", "3-0"))
	if sum := round(t, s); sum.Objects != 1 || sum.Records != 1 {
		t.Errorf("got %+v, want the one new object", sum)
	}
	if sum := round(t, s); sum.Objects != 0 {
		t.Errorf("got %+v, want nothing new", sum)
	}
	wantBill(t, s,
		Line{Customer: "acme", Meter: "ApiCalls", Events: 3, Usage: "1.3"},
		Line{Customer: "birch", Meter: "BytesOut", Events: 2, Usage: "18014398509481986"})

	var got []string
	for _, o := range s.Objects() {
		got = append(got, fmt.Sprintf("%s %d %s %d", o.Key, o.Members, o.Format, o.Records))
	}
	want := []string{day + "1.gz 1 ndjson 2", day + "2 0 json_array 2", day + "3 0 ndjson 1"}
	if !slices.Equal(got, want) {
		t.Errorf("got objects %q, want %q", got, want)
	}
	if first := s.Objects()[0].First + "\n"; first != record("acme", "ApiCalls", "1", "1-0") {
		t.Errorf("got first record %s", first)
	}
}

func TestDuplicates(t *testing.T) {
	for _, tc := range []struct {
		name, again                           string
		duplicates, conflicts, withoutID, sum int
	}{
		{"an equal record is discarded", record("acme", "A", "1", "u"), 1, 0, 0, 1},
		{"equal but for the order of keys, too", `{"uniqueId":"u","dimensions":{"method":"GET"},"meterTimeInMillis":1654611288000,"meterValue":1,"meterApiName":"A","customerId":"acme"}`, 1, 0, 0, 1},
		{"equal but for the spelling of the value, too", record("acme", "A", "1.0", "u"), 1, 0, 0, 1},
		{"equal but for a key outside the schema, too", strings.Replace(record("acme", "A", "1", "u"), "{", `{"x":1,`, 1), 1, 0, 0, 1},
		{"another uniqueId counts", record("acme", "A", "1", "v"), 0, 0, 0, 2},
		{"another value under the same uniqueId counts and is told", record("acme", "A", "2", "u"), 0, 1, 0, 3},
		{"another time under the same uniqueId counts and is told", strings.Replace(record("acme", "A", "1", "u"), "288000", "288001", 1), 0, 1, 0, 2},
		{"another dimension under the same uniqueId counts and is told", strings.Replace(record("acme", "A", "1", "u"), "GET", "PUT", 1), 0, 1, 0, 2},
		{"without uniqueId it counts", strings.Replace(record("acme", "A", "1", "u"), `"uniqueId":"u",`, "", 1), 0, 0, 1, 2},
		{"twice without uniqueId counts once", strings.Repeat(strings.Replace(record("acme", "A", "1", "u"), `"uniqueId":"u",`, "", 1), 2), 1, 0, 1, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, opt := newBucket(t)
			raw := 0
			opt.Each = func(string, Record) { raw++ }
			s := New(opt)
			b.put(day+"1", record("acme", "A", "1", "u"))
			b.put(day+"2", tc.again)
			round(t, s)
			bill := s.Bill()
			if bill.Duplicates != tc.duplicates || bill.Conflicts != tc.conflicts || bill.WithoutID != tc.withoutID {
				t.Errorf("got %+v, want %d duplicates, %d conflicts, %d without id", bill, tc.duplicates, tc.conflicts, tc.withoutID)
			}
			if bill.Records != bill.Billed+bill.Duplicates || raw != bill.Records {
				t.Errorf("got %d records seen one by one and %+v, want the sums to agree", raw, bill)
			}
			if got := s.Objects()[1].Duplicates; got != tc.duplicates {
				t.Errorf("got %d duplicates in the second object, want %d", got, tc.duplicates)
			}
			if want := fmt.Sprint(tc.sum); bill.Lines[0].Usage != want {
				t.Errorf("got usage %s, want %s", bill.Lines[0].Usage, want)
			}
		})
	}
}

func TestWhichRecordsAreOne(t *testing.T) {
	first := record("acme", "A", "1", "u")
	for name, test := range map[string]struct {
		again string
		want  [3]string // by rule: the usage, and how many are duplicates
	}{
		"an equal one":      {first, [3]string{"1 1", "1 1", "1 1"}},
		"another value":     {record("acme", "A", "2.5", "u"), [3]string{"3.5 0", "2.5 1", "2.5 1"}},
		"another id":        {record("acme", "A", "2.5", "v"), [3]string{"3.5 0", "3.5 0", "2.5 1"}},
		"another time":      {strings.Replace(first, "288000", "288001", 1), [3]string{"2 0", "2 0", "2 0"}},
		"another dimension": {strings.Replace(first, "GET", "PUT", 1), [3]string{"2 0", "2 0", "2 0"}},
	} {
		for rule, want := range test.want {
			b, opt := newBucket(t)
			opt.Rule = Rule(rule)
			s := New(opt)
			b.put(day+"1", first+test.again)
			round(t, s)
			if bill := s.Bill(); fmt.Sprint(bill.Lines[0].Usage, " ", bill.Duplicates) != want || bill.Lines[0].Events != bill.Billed {
				t.Errorf("%s by rule %d: got %+v, want %s", name, rule, bill, want)
			}
		}
	}
}

func TestAnObjectStoredAgainIsTakenOnlyIfItChanged(t *testing.T) {
	b, opt := newBucket(t)
	s := New(opt)
	b.put(day+"1", record("acme", "A", "1", "u"))
	round(t, s)
	b.put(day+"1", record("acme", "A", "1", "u"))
	if sum := round(t, s); sum.Objects != 0 {
		t.Errorf("same bytes: got %+v, want nothing new", sum)
	}
	b.put(day+"1", record("acme", "A", "1", "u")+record("acme", "A", "1", "v"))
	if sum := round(t, s); sum.Objects != 1 || sum.Duplicates != 1 {
		t.Errorf("other bytes: got %+v, want 1 object with 1 duplicate", sum)
	}
}

func TestValuesAndDimensionsOnTheBill(t *testing.T) {
	b, opt := newBucket(t)
	opt.Dimensions = []string{"status", "method"}
	s := New(opt)
	b.put(day+"1", strings.Replace(record("acme", "A", "1", "u"), `"meterApiName":"A","meterValue":1`, `"values":{"B":2,"A":1}`, 1)+
		strings.Replace(record("acme", "A", "5", "v"), "GET", "PUT", 1))
	round(t, s)
	get, put := map[string]string{"method": "GET"}, map[string]string{"method": "PUT"}
	wantBill(t, s,
		Line{Customer: "acme", Meter: "A", Dimensions: get, Events: 1, Usage: "1"},
		Line{Customer: "acme", Meter: "A", Dimensions: put, Events: 1, Usage: "5"},
		Line{Customer: "acme", Meter: "B", Dimensions: get, Events: 1, Usage: "2"})
}

func TestARefusedObjectIsReportedAndBilledOnceWhenItComesAgain(t *testing.T) {
	known, unknown := record("acme", "A", "1", "u-0"), record("acme", "B", "2", "u-1")
	for _, whole := range []bool{false, true} {
		t.Run(fmt.Sprintf("refuse whole %v", whole), func(t *testing.T) {
			b, opt := newBucket(t)
			opt.Meters, opt.RefuseWhole = []string{"A"}, whole
			opt.Now = func() time.Time { return time.Date(2022, 6, 7, 23, 0, 0, 0, time.UTC) }
			s := New(opt)
			b.put(day+"1.gz", gzipped(t, known+unknown))
			sum := round(t, s)
			const report = "failed-requests/06-07-2022/" + day + "1.gz.reason.txt"
			if !slices.Equal(sum.Reports, []string{report}) || sum.Pending != 0 || s.Objects()[0].Report != report {
				t.Fatalf("got %+v and %+v, want the report %s", sum, s.Objects(), report)
			}
			text := b.get(report)
			for _, want := range []string{"record 2, uniqueId u-1: ", `unknown meter "B"`, "object: " + day + "1.gz\n"} {
				if !strings.Contains(text, want) {
					t.Errorf("got report %q, want %q in it", text, want)
				}
			}
			half := []Line{{Customer: "acme", Meter: "A", Events: 1, Usage: "1"}}
			if whole {
				half = nil
			}
			wantBill(t, s, half...)

			s.Define("B")
			b.put(day+"2.gz", gzipped(t, known+unknown))
			if sum := round(t, s); len(sum.Reports) != 0 || sum.Refused != 0 {
				t.Errorf("got %+v, want the object that came again to be taken", sum)
			}
			wantBill(t, s,
				Line{Customer: "acme", Meter: "A", Events: 1, Usage: "1"},
				Line{Customer: "acme", Meter: "B", Events: 1, Usage: "2"})
		})
	}
}

func TestAnObjectThatCannotBeReadIsRefusedAsAWhole(t *testing.T) {
	b, opt := newBucket(t)
	s := New(opt)
	b.put(day+"1", gzipped(t, record("acme", "A", "1", "u")))
	sum := round(t, s)
	if len(sum.Reports) != 1 || s.Bill().RefusedObjects != 1 {
		t.Fatalf("got %+v, want one refused object", sum)
	}
	if text := b.get(sum.Reports[0]); !strings.HasPrefix(text, "object not taken: key does not end in .gz") {
		t.Errorf("got report %q", text)
	}
	wantBill(t, s)
}

func TestReportKey(t *testing.T) {
	at := time.Date(2022, 6, 8, 1, 0, 0, 0, time.FixedZone("", 2*3600))
	for _, tc := range []struct {
		name string
		in   Spelling
		want string
	}{
		{"as documented", Spelling{}, "failed-requests/06-07-2022/" + day + "u.gz.reason.txt"},
		{"ISO date", Spelling{Date: time.DateOnly}, "failed-requests/2022-06-07/" + day + "u.gz.reason.txt"},
		{"the tail of the key", Spelling{URI: BaseName}, "failed-requests/06-07-2022/u.gz.reason.txt"},
		{"no .gz", Spelling{DropGz: true}, "failed-requests/06-07-2022/" + day + "u.reason.txt"},
		{"the URI with bucket", Spelling{URI: S3URI}, "failed-requests/06-07-2022/s3://b/" + day + "u.gz.reason.txt"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := New(Options{Bucket: "b", Spelling: tc.in})
			if got := s.ReportKey(day+"u.gz", at); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestReportsWaitForTheirDelayAndForTheBucket(t *testing.T) {
	b, opt := newBucket(t)
	now := time.Date(2022, 6, 7, 12, 0, 0, 0, time.UTC)
	opt.Now, opt.VerdictDelay = func() time.Time { return now }, time.Minute
	s := New(opt)
	b.put(day+"1", "{}")
	if sum := round(t, s); len(sum.Reports) != 0 || sum.Pending != 1 {
		t.Fatalf("at once: got %+v, want a pending report", sum)
	}
	now = now.Add(time.Minute)
	b.answer(func(r *http.Request) int {
		if r.Method == http.MethodPut {
			return http.StatusForbidden
		}
		return 0
	})
	if sum, err := s.Round(t.Context()); err == nil || sum.Pending != 1 {
		t.Fatalf("put forbidden: got %+v and error %v, want the report to stay pending", sum, err)
	}
	b.answer(nil)
	if sum := round(t, s); len(sum.Reports) != 1 || sum.Pending != 0 {
		t.Fatalf("put allowed: got %+v, want the report", sum)
	}
	if sum := round(t, s); len(sum.Reports) != 0 {
		t.Errorf("afterwards: got %+v, want no second report", sum)
	}
}

func TestReadWritesNothing(t *testing.T) {
	b, opt := newBucket(t)
	s := New(opt)
	b.put(day+"1", "{}")
	if sum, err := s.Read(t.Context()); err != nil || sum.Refused != 1 {
		t.Fatalf("got %+v, error %v", sum, err)
	}
	if keys := b.under("failed-requests/"); len(keys) != 0 {
		t.Errorf("got reports %q, want none", keys)
	}
}

func TestAnObjectThatCannotBeFetchedIsTakenLater(t *testing.T) {
	b, opt := newBucket(t)
	s := New(opt)
	b.put(day+"1", record("acme", "A", "1", "u"))
	b.put(day+"2", record("acme", "A", "1", "v"))
	b.answer(func(r *http.Request) int {
		if strings.HasSuffix(r.URL.Path, "/1") {
			return http.StatusForbidden
		}
		return 0
	})
	if sum, err := s.Round(t.Context()); err == nil || sum.Objects != 1 {
		t.Fatalf("got %+v and error %v, want the other object and an error", sum, err)
	}
	b.answer(nil)
	round(t, s)
	wantBill(t, s, Line{Customer: "acme", Meter: "A", Events: 2, Usage: "2"})
}

func TestRunEndsWithItsContextAndTellsAnErrorOnce(t *testing.T) {
	b, opt := newBucket(t)
	b.put(day+"1", "{}")
	b.answer(func(r *http.Request) int {
		if b.lists < 2 {
			return 0
		}
		return http.StatusForbidden
	})
	ctx, cancel := context.WithCancel(t.Context())
	rounds := 0
	opt.Every = time.Millisecond
	var logged []string
	opt.Logf = func(format string, args ...any) { logged = append(logged, fmt.Sprintf(format, args...)) }
	opt.Now = func() time.Time {
		if rounds++; rounds > 5 {
			cancel()
		}
		return time.Date(2022, 6, 7, 0, 0, 0, 0, time.UTC)
	}
	New(opt).Run(ctx)
	errs := slices.DeleteFunc(slices.Clone(logged), func(s string) bool { return !strings.HasPrefix(s, "round: ") })
	if len(errs) != 1 {
		t.Errorf("got log %q, want the error once", logged)
	}
	if !slices.Contains(logged, "took 1 objects with 1 records: 1 rejected, 0 duplicates") {
		t.Errorf("got log %q, want what was taken", logged)
	}
}

func TestTables(t *testing.T) {
	b, opt := newBucket(t)
	opt.Dimensions = []string{"method"}
	s := New(opt)
	b.put(day+"1.gz", gzipped(t, record("acme", "ApiCalls", "1", "u")+"7"))
	b.put(day+"2", record("acme", "ApiCalls", "1", "u"))
	round(t, s)
	var out strings.Builder
	if err := WriteObjects(&out, s.Objects()); err != nil {
		t.Fatal(err)
	}
	if err := WriteBill(&out, s.Bill()); err != nil {
		t.Fatal(err)
	}
	size := len(b.get(day + "1.gz"))
	want := fmt.Sprintf(`object                            bytes  format       records  rejected  duplicates
ingest/amberdata/06-07-2022/1.gz  %-5d  ndjson gzip  2        1         0
ingest/amberdata/06-07-2022/2     142    ndjson       1        0         1
rejected ingest/amberdata/06-07-2022/1.gz: 1 of 2 records rejected; record 2: want a JSON object, got 7
customer  meter     dimensions  events  usage
acme      ApiCalls  method=GET  1       1
3 records in the bucket: 1 billed, 1 rejected, 1 duplicates discarded, 0 with a uniqueId used before, 0 without one
`, size)
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDiff(t *testing.T) {
	want := []Line{{Customer: "a", Meter: "A", Events: 1, Usage: "1"}, {Customer: "b", Meter: "A", Events: 1, Usage: "1"}}
	got := []Line{{Customer: "b", Meter: "A", Events: 2, Usage: "1"}, {Customer: "c", Meter: "A", Events: 1, Usage: "1"}}
	if d := Diff(want, want); d != nil {
		t.Errorf("equal bills: got %q", d)
	}
	if d := Diff(want, got); len(d) != 3 {
		t.Errorf("got %q, want a line missing, one that differs and one too many", d)
	}
}
