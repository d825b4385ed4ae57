package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"out_amberflo/test/amberflo"
)

// usageLog is a log whose records come to many sums. A quarter of its customers stand in a field of their own, and two of its
// meters come up late.
type usageLog []struct {
	at                                  time.Time
	customer, field, meter, value, code string
}

func newUsageLog(records int) (log usageLog, in input) {
	log = make(usageLog, records)
	from := time.Now().UTC().Truncate(time.Hour).Add(-time.Duration(records/2) * time.Millisecond) // an hour ends in its middle
	var chunks [][]event
	for n := range log {
		r := &log[n]
		r.at, r.customer, r.field, r.code = from.Add(time.Duration(n)*time.Millisecond), fmt.Sprint("c", n%7), "tenant", fmt.Sprint(200+n%3)
		if n%4 == 3 {
			r.field = "account"
		}
		switch {
		case n > records*5/6 && n%7 == 0:
			r.meter = "Newest"
		case n > records*2/3 && n%3 == 0:
			r.meter = "New"
		default:
			r.meter = "Bytes"
		}
		r.value = []string{"0.1", fmt.Sprintf("%d.%02d", n, n%97), "-0.35", fmt.Sprint(n)}[n/7%4]
		if n%100 == 9 {
			r.value = "9007199254740993" // it passes, by itself
		}
		if n%100 == 0 {
			chunks = append(chunks, nil)
		}
		chunks[n/100] = append(chunks[n/100], event{r.at, record{"code", r.code, r.field, r.customer, "api", r.meter, "bytes", r.value, "n", n}})
	}
	return log, logged(chunks...)
}

// sums adds up the records whose customer is in that field, of both without one.
func (l usageLog) sums(field string, bucket time.Duration) usages {
	u := usages{}
	for _, r := range l {
		if field == "" || r.field == field {
			u.must(u.add(r.customer, r.meter, map[string]string{"code": r.code}, r.at.UnixMilli(), bucket, r.value, 1))
		}
	}
	return u
}

var usageMapping = []string{"customer_id $tenant", "meter_api_name $api", "meter_value $bytes", "negative_values accept", "dimensions code",
	"aggregate *", "aggregate_bucket 1s", "max_records 60", "sent_retention 2h"}

// bill is what meterctl bill makes of the spool by the hour, and of it what Amberflo did not take.
func (b *bench) bill() (billed, failed usages) {
	b.Helper()
	type sum struct {
		Records int64
		Usage   string
	}
	var got struct {
		Rows []struct {
			Customer, Meter string
			Hour            time.Time
			Dimensions      map[string]string
			sum
			Failed *sum
		}
		Problems []any
	}
	if err := json.Unmarshal([]byte(b.meterctl("bill", "--json", "--by", "customer,hour,code")), &got); err != nil || len(got.Problems) > 0 {
		b.Fatalf("%v, %v", err, got.Problems)
	}
	billed, failed = usages{}, usages{}
	for _, r := range got.Rows {
		if r.Records > 0 {
			billed.must(billed.add(r.Customer, r.Meter, r.Dimensions, r.Hour.UnixMilli(), time.Hour, r.Usage, r.Records))
		}
		if r.Failed != nil {
			failed.must(failed.add(r.Customer, r.Meter, r.Dimensions, r.Hour.UnixMilli(), time.Hour, r.Failed.Usage, r.Failed.Records))
		}
	}
	return billed, failed
}

// invoiced is what Amberflo's bill says: usage alone.
func invoiced(s *amberflo.Standin) usages {
	u := usages{}
	for _, l := range s.Bill().Lines {
		u.must(u.add(l.Customer, l.Meter, l.Dimensions, 0, time.Hour, l.Usage, 0))
	}
	return u
}

// usage leaves times and the number of records out.
func (u usages) usage() usages {
	all := usages{}
	for key, x := range u {
		key.bucket = 0
		all.plus(usages{key: {value: x.value}})
	}
	return all
}

// failed lists the objects of failed/.
func (b *bench) failed() []string {
	b.Helper()
	return slices.DeleteFunc(names(b.spool("failed")), func(name string) bool { return filepath.Ext(name) != ".gz" })
}

// refused lets Amberflo judge all that is in the bucket, and the plugin read the verdicts.
func (b *bench) refused(s *amberflo.Standin, section string) *process {
	b.Helper()
	sum, err := s.Round(b.Context())
	if err != nil || len(sum.Reports) == 0 || len(sum.Reports) == sum.Objects {
		b.Fatalf("%v; %+v, want reports on some of the objects", err, sum)
	}
	p := b.start(input{}, section)
	b.until(fmt.Sprintf("%d objects in failed/", len(sum.Reports)), func() bool { return len(b.failed()) == len(sum.Reports) })
	return p
}

func TestSumsThatFailAndRecordsThatAreRejectedAreBilledOnceInTheEnd(t *testing.T) {
	for name, whole := range map[string]bool{"Amberflo takes no record of an object": true, "Amberflo takes the good records of an object": false} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, b *bench) {
				b.allowReports()
				log, in := newUsageLog(6000)
				section := b.section(usageMapping...)
				b.run(in, section)
				s := b.server.Standin(amberflo.Options{RefuseWhole: whole, Meters: []string{"Bytes"}, Dimensions: []string{"code"}})
				p := b.refused(s, section)
				billed, failed := b.bill()
				if whole {
					b.wantUsages(billed.usage(), invoiced(s))
				}
				billed.plus(failed)
				b.wantUsages(billed, log.sums("tenant", time.Hour))

				mended := b.section(append(usageMapping, "customer_id $tenant, $account")...)
				conf := b.write("mended.conf", []byte(mended))
				sentAgain := b.failed()
				b.meterctl(append([]string{"resend"}, sentAgain[:(len(sentAgain)+1)/2]...)...)
				b.meterctl("retry-rejected", "-c", conf)
				b.emptied()
				if !p.Kill() {
					t.Fatalf("ended before it was killed; log:\n%s", p.Log.String())
				}
				b.meterctl("resend", "--all")
				b.meterctl("retry-rejected", "-c", conf)
				b.run(input{}, mended)

				s.Define("New")
				p = b.refused(s, mended)
				s.Define("Newest")
				sentAgain = append(sentAgain, b.failed()...)
				p.stop()
				b.meterctl("resend", "--all")
				b.run(input{}, mended)
				if sum, err := s.Round(t.Context()); err != nil || len(sum.Reports) > 0 {
					t.Fatalf("%v; %+v, want no object refused", err, sum)
				}

				// Equal lines are one event, by each reading of the rule.
				raw := b.events()
				once := slices.Compact(slices.Sorted(slices.Values(raw)))
				got, events := b.addUp(time.Second, once)
				b.wantUsages(got, log.sums("", time.Second))
				want := log.sums("", time.Hour)
				b.wantUsages(invoiced(s), want.usage())
				if bill := s.Bill(); bill.Billed != len(events) || bill.Conflicts+bill.WithoutID > 0 || whole != (bill.Duplicates == 0) {
					t.Errorf("got %+v, want each of %d ids once", bill, len(events))
				}
				for _, rule := range []amberflo.Rule{amberflo.LastValue, amberflo.LastEvent} {
					s := b.server.Standin(amberflo.Options{Rule: rule, Dimensions: []string{"code"}})
					if _, err := s.Read(t.Context()); err != nil {
						t.Fatal(err)
					}
					if rule == amberflo.LastValue {
						b.wantUsages(invoiced(s), want.usage())
					} else if n := len(events) - s.Bill().Billed; n > 0 {
						t.Logf("by the rule that ids do not count in, %d of %d events replace others", n, len(events))
					}
				}
				billed, failed = b.bill()
				b.wantUsages(billed, want)
				if len(failed)+len(b.failed())+len(b.rejected()) > 0 {
					t.Errorf("left: %v in failed/, %d lines in rejected/", b.failed(), len(b.rejected()))
				}
				b.wantDelivered()
				b.meterctl("check")
				t.Logf("%d records in %d events, which came %d times; %d objects sent again", got.records(), len(events), len(raw), len(sentAgain))
			})
		})
	}
}

// What Amberflo has taken for good is kept, and says what it came to.
func TestSumsThatAreKeptForAnAuditAreTheBill(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		b.allowReports()
		log, in := newUsageLog(1000)
		section := b.section(append(usageMapping, "customer_id $tenant, $account", "failure_reports_window 1s")...)
		b.run(in, section)
		kept := func() (objects, forGood int) {
			if err := filepath.WalkDir(b.path("spool", "sent"), func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				objects++
				if st, err := d.Info(); err == nil && st.Mode().Perm() == 0o400 {
					forGood++
				}
				return nil
			}); err != nil && !os.IsNotExist(err) {
				b.Fatal(err)
			}
			return objects, forGood
		}
		want := len(b.objects())
		for range 2 {
			p := b.start(input{}, section)
			b.until(fmt.Sprintf("%d objects to be kept for good", want), func() bool { _, n := kept(); return n == want })
			p.ready()
			if !p.Kill() {
				t.Fatalf("ended before it was killed; log:\n%s", p.Log.String())
			}
		}
		billed, failed := b.bill()
		b.wantUsages(billed, log.sums("", time.Hour))
		got, events := b.delivered(time.Second)
		b.wantUsages(got, log.sums("", time.Second))
		if n, _ := kept(); n != want || len(failed) > 0 {
			t.Errorf("%d objects kept, want %d; in failed/: %v", n, want, failed)
		}
		var cat strings.Builder
		for key := range b.spool("sent") {
			cat.WriteString(b.meterctl("cat", key))
		}
		if n := strings.Count(cat.String(), "\n"); n != len(events) {
			t.Errorf("meterctl cat prints %d events, want %d", n, len(events))
		}
		b.meterctl("check")
	})
}
