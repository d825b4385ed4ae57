package e2e

import (
	"fmt"
	"maps"
	"math"
	"strings"
	"syscall"
	"testing"
	"time"

	"out_amberflo/plugin"
	"out_amberflo/test/accesslog"
	"out_amberflo/test/amberflo"
	"out_amberflo/test/fault"
	"out_amberflo/test/fluentbit"
	"out_amberflo/test/logbook"
)

// metricsServer lets Fluent Bit serve its metrics and returns their address.
func (b *bench) metricsServer() string {
	port := fluentbit.Port(b)
	b.service = append(b.service, "HTTP_Server On", "HTTP_Listen 127.0.0.1", "HTTP_Port "+port)
	return fluentbit.MetricsURL(port)
}

// scrape gives the plugin's series by "name output label"; label may be empty.
func (b *bench) scrape(url string) map[string]float64 {
	b.Helper()
	all, err := fluentbit.Metrics(url)
	if err != nil {
		b.Log(err) // not there yet
	}
	found := map[string]float64{}
	for _, s := range all {
		found[strings.TrimSpace(s.Name+" "+s.Output+" "+s.Label)] = s.Value
	}
	return found
}

// untilCounted waits until each of the counters has its value, and fails with those that have not.
func (b *bench) untilCounted(url string, want map[string]float64) map[string]float64 {
	b.Helper()
	var got map[string]float64
	for deadline := time.Now().Add(45 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		got = b.scrape(url)
		wrong := map[string]float64{}
		for name, v := range want {
			if g, known := got[name]; !known || g != v {
				wrong[name] = g
			}
		}
		if len(wrong) == 0 {
			return got
		}
		if time.Now().After(deadline) {
			b.Fatalf("counters %v, want of them %v; all: %v", wrong, want, got)
		}
	}
}

func TestTheCountersSayWhatTheBucketHolds(t *testing.T) {
	t.Parallel()
	b := newBench(t, realFluentBit)
	b.allowReports()
	proxy := b.behind(fault.Options{Rate: 1, Modes: []fault.Mode{fault.Unavailable}})
	url := b.metricsServer()
	in, truth := accessLog(t, accesslog.Options{Lines: 3000, Seed: 21, Bad: 0.1, Odd: 0.1}, accesslog.Chunks{Records: 100})
	p := b.start(in, b.section(append(accessMapping, "startup_check off", "max_records 500", "upload_timeout 3s", "failure_reports_window 1h", "store_dir_limit_size 100M")...))

	// While nothing arrives: all waits, the tries are counted.
	waiting := b.untilCounted(url, map[string]float64{
		"accepted_records_total amberflo.0":             float64(truth.Metered),
		"waiting_records amberflo.0":                    0,
		"uploaded_objects_total amberflo.0":             0,
		"last_upload_timestamp_seconds amberflo.0":      0,
		"upload_failures_total amberflo.0 wrong_region": 0,
		"panics_total amberflo.0":                       0,
		"spool_limit_bytes amberflo.0":                  100e6,
		"redelivered_chunks_total amberflo.0":           0,
		"damaged_chunks_total amberflo.0":               0,
		"ignored_records_total amberflo.0":              0,
		"deferred_chunks_total amberflo.0":              0,
		"failed_bytes amberflo.0":                       0,
		"rejected_limit_bytes amberflo.0":               1e9,
	})
	if size := float64(b.size("outbox")); waiting["waiting_bytes amberflo.0"] != size || waiting["spool_bytes amberflo.0"] < size {
		t.Errorf("%v bytes wait in a spool of %v, want %v", waiting["waiting_bytes amberflo.0"], waiting["spool_bytes amberflo.0"], size)
	}
	if n := len(b.spool("outbox")); waiting["waiting_objects amberflo.0"] != float64(n) || n*500 < truth.Metered {
		t.Errorf("%v objects of at most 500 records wait, %d are in the outbox, for %d records", waiting["waiting_objects amberflo.0"], n, truth.Metered)
	}
	b.until("a failure to be counted and the oldest to get older", func() bool {
		got := b.scrape(url)
		return got["upload_failures_total amberflo.0 unavailable"] > 0 && got["oldest_waiting_seconds amberflo.0"] > 1
	})

	// When S3 takes them, the counters say what it holds.
	proxy.SetRate(0)
	b.untilBilled(truth.Metered)
	b.wantBill(truth.Bill)
	objects := b.objects()
	bytes := 0
	for _, o := range objects {
		bytes += len(o)
	}
	want := map[string]float64{
		"sealed_objects_total amberflo.0":   float64(len(objects)),
		"uploaded_objects_total amberflo.0": float64(len(objects)),
		"uploaded_bytes_total amberflo.0":   float64(bytes),
		"waiting_objects amberflo.0":        0,
		"waiting_bytes amberflo.0":          0,
		"oldest_waiting_seconds amberflo.0": 0,
		"failed_objects_total amberflo.0":   0,
		"rejected_bytes amberflo.0":         float64(b.size("rejected")),
	}
	for reason, n := range b.rejectedBy() {
		want["rejected_records_total amberflo.0 "+reason] = float64(n)
	}
	got := b.untilCounted(url, want)
	if at := got["last_upload_timestamp_seconds amberflo.0"]; math.Abs(at-float64(time.Now().Unix())) > 30 {
		t.Errorf("last upload at %v, want now", at)
	}
	if n := b.rejectedBy(); len(n) == 0 {
		t.Error("no record was rejected")
	}
	// Each series of plugin.Metrics stands there, and no other.
	series := maps.Clone(got)
	for _, m := range plugin.Metrics {
		for _, value := range append(m.Values, "")[:max(len(m.Values), 1)] {
			name := strings.TrimSpace(m.Name + " amberflo.0 " + value)
			if _, known := series[name]; !known {
				t.Errorf("no series %s", name)
			}
			delete(series, name)
		}
	}
	if len(series) > 0 {
		t.Errorf("series that are not in plugin.Metrics: %v", series)
	}

	// Amberflo takes none of it, which no one sees before the next start.
	p.stop()
	s := b.server.Standin(amberflo.Options{RefuseWhole: true, Meters: []string{}})
	if _, err := s.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	p = b.start(input{}, b.section()) // what waits for its verdict is looked for at once
	b.untilCounted(url, map[string]float64{"failed_objects_total amberflo.0": float64(len(objects)), "failed_bytes amberflo.0": float64(bytes)})
	p.stop()
}

func (b *bench) rejectedBy() map[string]int {
	b.Helper()
	by := map[string]int{}
	for _, r := range b.rejected() {
		by[r.Reason]++
	}
	return by
}

func TestTheSumOfTheCountersOfSeveralOutputsIsRight(t *testing.T) {
	t.Parallel()
	b := newBench(t, realFluentBit)
	url := b.metricsServer()
	shared, apart := b.section("upload_timeout 300ms"), b.section("upload_timeout 300ms", "store_dir "+b.path("apart"), "Alias apart", "s3_key_format apart/$UUID.gz")
	p := b.start(counted(200, 20), shared, shared, apart)
	b.untilBilled(600)
	got := b.untilCounted(url, map[string]float64{
		"accepted_records_total amberflo.0": 200, "accepted_records_total amberflo.1": 200, "accepted_records_total apart": 200,
		"waiting_objects amberflo.0": 0, "uploaded_objects_total amberflo.1": 0, "waiting_objects apart": 0,
	})
	objects := b.objects()
	uploaded := got["uploaded_objects_total amberflo.0"] + got["uploaded_objects_total amberflo.1"] + got["uploaded_objects_total apart"]
	if uploaded != float64(len(objects)) {
		t.Errorf("%v objects counted, %d in the bucket; counters %v", uploaded, len(objects), got)
	}
	p.stop()
}

func TestWithoutMetricsTheCountersStandInTheLog(t *testing.T) {
	t.Parallel()
	b := newBench(t, bundledHost)
	in, truth := accessLog(t, accesslog.Options{Lines: 1000, Seed: 22, Bad: 0.1}, accesslog.Chunks{Records: 50})
	log := b.run(in, b.section(accessMapping...))
	_, content := b.one(b.objects())
	words := []string{"[ info] [output:amberflo:amberflo.0] counters", fmt.Sprintf(" accepted_records_total=%d ", truth.Metered),
		" sealed_objects_total=1 ", " uploaded_objects_total=1 ", fmt.Sprintf(" uploaded_bytes_total=%d ", len(content))}
	for reason, n := range b.rejectedBy() {
		words = append(words, fmt.Sprintf(" rejected_records_total{%s}=%d", reason, n))
	}
	b.wantLog(log, words...)
}

func TestTheOutputsOwnLogLevelHolds(t *testing.T) {
	t.Parallel()
	bad := logged([]event{{eventTime, record{"no", "customer"}}, {eventTime, record{"customerId", "acme", "meterApiName", "a", "meterValue", 1}}})
	for _, test := range []struct {
		level                 string
		starts, warns, errors int
		service               string
	}{
		{"debug", 1, 1, 1, "info"},
		{"info", 1, 1, 1, "error"},
		{"warn", 0, 1, 1, "info"},
		{"error", 0, 0, 1, "info"},
		{"off", 0, 0, 0, "info"},
	} {
		t.Run(test.level+" in a service of "+test.service, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, realFluentBit)
			b.behind(fault.Options{Rate: 1, Modes: []fault.Mode{fault.Unavailable}})
			b.service = []string{"log_level " + test.service}
			p := b.launch(bad, true, []string{b.section("log_level "+test.level, "startup_check off", "max_records 1", "shutdown_timeout 1s")})
			b.until("both records to be on disk", func() bool { return len(b.spool("outbox")) == 1 && len(b.spool("rejected")) > 0 })
			if test.errors > 0 {
				p.await("[error]", "upload failed")
			}
			p.signal(syscall.SIGTERM)
			p.wait()
			log := p.Log.String()
			for words, want := range map[string]int{"[ info] [output:amberflo:amberflo.0] started": test.starts, "a record was rejected": test.warns} {
				if n := logbook.Count(log, words); n != want {
					t.Errorf("%d lines with %q, want %d; log:\n%s", n, words, want, log)
				}
			}
			if n := logbook.Count(log, "upload failed"); (n > 0) != (test.errors > 0) {
				t.Errorf("%d lines of failed uploads; log:\n%s", n, log)
			}
			for line := range strings.Lines(log) {
				if strings.Contains(line, `"no":"customer"`) && !strings.Contains(line, "debug") {
					t.Errorf("a record in the log: %s", line)
				}
			}
		})
	}
}
