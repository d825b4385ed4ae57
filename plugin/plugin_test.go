package plugin

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/meter"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/spool"
	"out_amberflo/test/encode"
	"out_amberflo/test/logbook"
)

// No test looks for credentials outside of this machine.
func TestMain(m *testing.M) {
	_ = os.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	os.Exit(m.Run())
}

// capture is a host that keeps the log.
type capture struct{ book logbook.Book }

func (c *capture) host(kv ...string) Host {
	return Host{
		Name:   "amberflo.0",
		Option: section(append(kv, "bucket", "b", "region", "us-west-2", "endpoint", "http://127.0.0.1:1", "shutdown_timeout", "100ms", "startup_check", "off")...),
		Log: func(level slog.Level, line string) bool {
			_, err := fmt.Fprintln(&c.book, level, line)
			return err == nil
		},
		Publish: func([]float64) {},
	}
}

func (c *capture) log() string { return strings.TrimSuffix(c.book.String(), "\n") }

func started(t *testing.T, c *capture, kv ...string) *Instance {
	t.Helper()
	p, err := Start(t.Context(), c.host(kv...))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// events encodes a chunk.
func events(_ *testing.T, records ...any) (chunk []byte) {
	for _, r := range records {
		chunk = encode.Event(chunk, time.Unix(1700000000, 0), nil, r)
	}
	return chunk
}

// delivered reads what waits for its upload after a stop, sealed or, on a busy machine, not yet.
func delivered(t *testing.T, dir string) (records []map[string]any) {
	t.Helper()
	files, err := repair.Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Dir != "outbox" && f.Dir != "sealing" && f.Dir != "open" {
			continue
		}
		if _, problems, err := repair.Records(dir, f, func(line []byte) error {
			var r map[string]any
			err := json.Unmarshal(line, &r)
			records = append(records, r)
			return err
		}); err != nil || len(problems) > 0 {
			t.Fatal(err, problems)
		}
	}
	return records
}

func TestAFlushKeepsEachPartOfAChunk(t *testing.T) {
	c, dir := &capture{}, t.TempDir()
	p := started(t, c, "store_dir", dir)
	good := map[string]any{"customerId": "acme", "meterApiName": "Api", "meterValue": 3}
	data := events(t, good, map[string]any{"no": "customer"}, 17, good)
	damaged := append(data[:len(data):len(data)], 0xc1, 'x')
	if err := p.Flush("app", damaged); err != nil {
		t.Fatal(err)
	}
	if v := p.values(); v[0] != 2 {
		t.Errorf("got %v records counted, want 2", v[0])
	}
	p.Stop()

	if got := delivered(t, dir); len(got) != 2 || got[0]["customerId"] != "acme" || got[0]["uniqueId"] == got[1]["uniqueId"] {
		t.Errorf("got %v, want two records with ids of their own", got)
	}
	kept, err := filepath.Glob(filepath.Join(dir, "damaged", "*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("got %v, %v, want one damaged file", kept, err)
	}
	if b, err := os.ReadFile(kept[0]); err != nil || string(b) != "\xc1x" {
		t.Errorf("got %q, %v kept, want the bytes as they came", b, err)
	}
	rejected := rejects(t, dir)
	if len(rejected) != 2 || rejected[0].Reason != "no_customer" || rejected[1].Reason != "not_an_event" {
		t.Fatalf("got %+v, want the two rejects", rejected)
	}
	if raw := rejected[0].Chunk; len(raw) == 0 || !bytes.Contains(data, raw) || rejected[0].Tag != "app" {
		t.Errorf("got %q: want the event as it came", raw)
	}
	for _, want := range []string{"damaged", "reason=no_customer", "reason=not_an_event"} {
		if strings.Count(c.log(), want) == 0 {
			t.Errorf("the log lacks %q:\n%s", want, c.log())
		}
	}
}

// rejects reads what was rejected, moved to rejected/ at a stop or, on a busy machine, not yet.
func rejects(t *testing.T, dir string) (all []Reject) {
	t.Helper()
	files, err := repair.Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Dir != "rejected" {
			continue
		}
		if _, problems, err := repair.Records(dir, f, func(line []byte) error {
			var r Reject
			err := json.Unmarshal(line, &r)
			all = append(all, r)
			return err
		}); err != nil || len(problems) > 0 {
			t.Fatal(err, problems)
		}
	}
	return all
}

func TestOutputsWithEqualDeliveryShareAStoreDirAndOthersAreToldSo(t *testing.T) {
	c, dir := &capture{}, t.TempDir()
	first := started(t, c, "store_dir", dir)
	second := started(t, c, "store_dir", dir, "upload_timeout", "1m", "customer_id", "$who", "meter_api_name", "Calls", "meter_value", "1")
	_, err := Start(t.Context(), c.host("store_dir", dir, "total_file_size", "1M"))
	var wrong *OptionError
	if !errors.As(err, &wrong) || wrong.Key != "store_dir" || !strings.Contains(wrong.Want, "total_file_size") {
		t.Errorf("got %v, want an error of store_dir that names total_file_size", err)
	}
	chunk := events(t, map[string]any{"customerId": "a", "who": "b", "meterApiName": "Api", "meterValue": 1})
	for _, p := range []*Instance{first, second} { // one chunk, for two outputs: both count
		if err := p.Flush("app", chunk); err != nil {
			t.Fatal(err)
		}
	}
	first.Stop()
	if err := second.Flush("app", chunk); err != nil {
		t.Errorf("the second output goes on when the first has stopped: %v", err)
	}
	second.Stop()
	customers := map[string]int{}
	for _, r := range delivered(t, dir) {
		customers[fmt.Sprint(r["customerId"])]++
	}
	if customers["a"] != 1 || customers["b"] != 2 {
		t.Errorf("got %v, want a once and b twice", customers)
	}
	started(t, c, "store_dir", dir, "total_file_size", "1M").Stop() // free again
}

func TestAStoreDirHeldByAnotherIsAClearError(t *testing.T) {
	c, dir := &capture{}, t.TempDir()
	other, err := spool.Open(spool.Options{Dir: dir, MaxBytes: 1, MaxAge: time.Hour, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := Start(t.Context(), c.host("store_dir", dir)); err == nil || !strings.Contains(err.Error(), "in use by process "+fmt.Sprint(os.Getpid())) {
		t.Errorf("got %v, want who holds it", err)
	}
}

func TestRejectsBeyondTheirLimitHoldTheChunkBackUnlessTheUserSaysDrop(t *testing.T) {
	for overflow, accepted := range map[string]bool{"retry": false, "drop": true} {
		t.Run(overflow, func(t *testing.T) {
			c, dir := &capture{}, t.TempDir()
			p := started(t, c, "store_dir", dir, "rejected_limit_size", "10", "rejected_overflow", overflow)
			bad := map[string]any{"x": 1}
			if err := p.Flush("first", events(t, bad)); err != nil { // more than the limit, but alone
				t.Fatal(err)
			}
			err := p.Flush("app", events(t, map[string]any{"customerId": "a", "meterApiName": "m", "meterValue": 1}, bad))
			if (err == nil) != accepted {
				t.Errorf("got %v, want accepted %v", err, accepted)
			}
			p.rejects.mu.Lock()
			if accepted && p.rejects.timer == nil {
				t.Error("nothing will tell how many were dropped")
			}
			p.rejects.mu.Unlock()
			p.Stop()
			if got := len(delivered(t, dir)); (got == 1) != accepted {
				t.Errorf("got %d records, want the good one delivered: %v", got, accepted)
			}
			if said := c.log(); strings.Count(said, "kept in rejected/") != 1 || strings.Contains(said, "rejected records are dropped") != accepted {
				t.Errorf("want it said that they are dropped: %v, and once that one is kept:\n%s", accepted, said)
			}
			if n := p.counts.rejected[meter.NoCustomer].Load(); n != map[bool]int64{false: 1, true: 2}[accepted] {
				t.Errorf("%d rejected records counted, want the second when it is dropped: %v", n, accepted)
			}
			if n := p.counts.dropped.Load(); n != map[bool]int64{false: 0, true: 1}[accepted] {
				t.Errorf("%d dropped records counted, want the second when it is dropped: %v", n, accepted)
			}
			if got := rejects(t, dir); len(got) != 1 || got[0].Tag != "first" {
				t.Errorf("got %+v in rejected/, want the first", got)
			}
		})
	}
}

func TestWhatUnmatchedIgnorePassesOverIsCounted(t *testing.T) {
	c, dir := &capture{}, t.TempDir()
	p := started(t, c, "store_dir", dir, "unmatched", "ignore")
	good := map[string]any{"customerId": "a", "meterApiName": "m", "meterValue": 1}
	if err := p.Flush("app", events(t, good, map[string]any{"x": 1}, map[string]any{"meterValue": 1}, map[string]any{})); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	if n, got := p.counts.ignored.Load(), len(delivered(t, dir)); n != 2 || got != 1 || len(rejects(t, dir)) != 1 {
		t.Errorf("%d records counted, %d delivered, rejects %+v: want 2 ignored, 1 delivered, 1 rejected because it has a value", n, got, rejects(t, dir))
	}
}

func TestAChunkThatIsOfferedAgainIsCountedOnce(t *testing.T) {
	c, dir := &capture{}, t.TempDir()
	p := started(t, c, "store_dir", dir, "store_dir_limit_size", "20K")
	good := map[string]any{"customerId": "a", "meterApiName": "m", "meterValue": 1}
	if err := p.Flush("app", events(t, good)); err != nil {
		t.Fatal(err)
	}
	var many []any
	for range 1000 {
		many = append(many, map[string]any{"customerId": rand.Text(), "meterApiName": "m", "meterValue": 1}) // as long compressed
	}
	large := append(events(t, many...), events(t, map[string]any{"x": 1})...)
	large = append(large, 0xc1)
	for range 3 {
		if err := p.Flush("app", large); !errors.Is(err, journal.ErrFull) {
			t.Fatalf("got %v, want a spool that is full", err)
		}
	}
	if n, m := p.counts.rejected[meter.NoCustomer].Load(), p.counts.damaged.Load(); n != 0 || m != 0 {
		t.Errorf("got %d rejected records and %d damaged chunks counted of a chunk that was not accepted", n, m)
	}
	if n := p.counts.deferred.Load(); n != 3 {
		t.Errorf("%d deferred chunks counted, want each of the 3 times", n)
	}
	if said := c.log(); strings.Contains(said, "kept in rejected/") || strings.Contains(said, "damaged") {
		t.Errorf("told of a chunk that was not accepted:\n%s", said)
	}
	small := append(events(t, map[string]any{"x": 1}), 0xc1)
	if err := p.Flush("app", small); err != nil {
		t.Fatal(err)
	}
	if n, m := p.counts.rejected[meter.NoCustomer].Load(), p.counts.damaged.Load(); n != 1 || m != 1 {
		t.Errorf("got %d rejected records and %d damaged chunks counted, want 1 and 1", n, m)
	}
	p.Stop()
	// By the time that the large one is accepted, its record may map.
	if got := len(rejects(t, dir)); got != 1 {
		t.Errorf("got %d rejects, want that of the chunk that was accepted", got)
	}
}

func TestTheMetricsHaveAValueForEachSeries(t *testing.T) {
	c := &capture{}
	p := started(t, c, "store_dir", t.TempDir())
	series := 0
	for _, m := range Metrics {
		series += max(len(m.Values), 1)
	}
	if got := len(p.values()); got != series {
		t.Errorf("got %d values, want %d", got, series)
	}
	p.logValues(p.values())
	p.Stop()
	if !strings.Contains(c.log(), "counters spool_bytes=") && !strings.Contains(c.log(), "counters ") {
		t.Errorf("want the counters in the log, got\n%s", c.log())
	}
}

func TestNoLogLineHoldsASecretOrACustomersData(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDSECRETID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "verysecretkey")
	c := &capture{}
	p := started(t, c, "store_dir", t.TempDir(), "external_id", "privateexternalid", "role_arn", "arn:aws:iam::123456789012:role/x")
	if err := p.Flush("app", events(t, map[string]any{"customerId": "a", "meterApiName": "m", "meterValue": 1})); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush("app", events(t, map[string]any{"customerId": []any{"hush-inc"}, "meterApiName": "m", "meterValue": 1},
		map[string]any{"customerId": "hush-inc", "meterApiName": "m", "meterValue": "hush, got 7"})); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	if strings.Count(c.log(), "was rejected: it is kept") != 2 {
		t.Errorf("want both rejects said, got\n%s", c.log())
	}
	for _, secret := range []string{"verysecretkey", "privateexternalid", "hush"} {
		if strings.Contains(c.log(), secret) {
			t.Errorf("%s stands in the log:\n%s", secret, c.log())
		}
	}
}

// Machines whose mapping was wrong have the same lines in the same second, and so may have one machine: each is to be billed.
func TestEqualRejectsHaveIDsOfTheirOwn(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir()}
	ids := map[string]bool{}
	for _, dir := range []string{dirs[0], dirs[0], dirs[1]} {
		p := started(t, &capture{}, "store_dir", dir)
		if err := p.Flush("app", events(t, map[string]any{"customer": "a"})); err != nil {
			t.Fatal(err)
		}
		p.Stop()
	}
	for _, dir := range dirs {
		for _, r := range rejects(t, dir) {
			ids[r.ID] = true
		}
	}
	if len(ids) != 3 {
		t.Errorf("got %v, want an id for each of the 3 chunks", ids)
	}
}

// After a crash, what one output has accepted must not count as what another one is still to get.

func TestAChunkIsKnownByItsOutputItsTagAndItsBytes(t *testing.T) {
	p, other := &Instance{name: "a", number: 0}, &Instance{name: "b", number: 0}
	same := p.source(7, "app", []byte("chunk"))
	if same != p.source(7, "app", []byte("chunk")) {
		t.Error("the same chunk has two identities")
	}
	for what, source := range map[string]journal.Source{
		"another output":  other.source(7, "app", []byte("chunk")),
		"another tag":     p.source(7, "app2", []byte("chunk")),
		"other bytes":     p.source(7, "app", []byte("chunj")),
		"another spool":   p.source(8, "app", []byte("chunk")),
		"of other length": p.source(7, "app", []byte("chunk\x00")),
	} {
		if source == same || source.Hash == same.Hash {
			t.Errorf("%s: the same identity", what)
		}
	}
	if moved := (&Instance{name: "a", number: 3}).source(7, "app", []byte("chunk")); moved != same {
		t.Error("an output that starts after others knows its chunks by another identity")
	}
	if same.Length != 5 {
		t.Errorf("length %d, want 5", same.Length)
	}
}

// Fluent Bit was killed, and is started with this version.
func TestAChunkThatAnEarlierVersionAcceptedIsCountedOnce(t *testing.T) {
	dir := t.TempDir()
	s, err := spool.Open(spool.Options{Dir: dir, MaxBytes: 1 << 20, MaxAge: time.Hour, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	chunk := events(t, map[string]any{"customerId": "a", "meterApiName": "Api", "meterValue": 1})
	salt, err := s.Salt()
	if err != nil {
		t.Fatal(err)
	}
	tx, err := s.Begin((&Instance{number: 0}).formerSource(salt, "app", chunk), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tx.Commit(), s.Close()); err != nil {
		t.Fatal(err)
	}
	p := started(t, &capture{}, "store_dir", dir)
	for range 2 { // the second is another chunk
		if err := p.Flush("app", chunk); err != nil {
			t.Fatal(err)
		}
	}
	p.Stop()
	if again, records := p.counts.redelivered.Load(), p.counts.records.Load(); again != 1 || records != 1 {
		t.Errorf("%d chunks recognised and %d records counted, want 1 and 1", again, records)
	}
}

func TestLinesBecomeRareThoughGoodAndBadChunksAlternate(t *testing.T) {
	c := &capture{}
	p := started(t, c, "store_dir", t.TempDir(), "rejected_limit_size", "10")
	for i := range 200 {
		record := map[string]any{"x": i}
		if i%2 == 1 {
			record = map[string]any{"customerId": "a", "meterApiName": "m", "meterValue": i}
		}
		if err := p.Flush("app", events(t, record)); err != nil && i%2 == 1 {
			t.Fatal(err)
		}
	}
	p.Stop()
	if n := strings.Count(c.log(), "a chunk cannot be accepted now") + strings.Count(c.log(), "chunks are accepted again"); n < 2 || n > 16 {
		t.Errorf("%d lines for 99 failures of one cause:\n%s", n, c.log())
	}
}

func TestNoExternalIDIsInTheErrorOfAnotherOutput(t *testing.T) {
	c, dir := &capture{}, t.TempDir()
	p := started(t, c, "store_dir", dir, "external_id", "privateexternalid", "role_arn", "arn:aws:iam::123456789012:role/x")
	defer p.Stop()
	host := c.host("store_dir", dir, "external_id", "other", "role_arn", "arn:aws:iam::123456789012:role/x")
	_, err := Start(t.Context(), host)
	LogError(host, err)
	if err == nil || !strings.Contains(err.Error(), "another external_id") || strings.Contains(c.log(), "privateexternalid") {
		t.Errorf("got %v, log:\n%s", err, c.log())
	}
}

func TestWithoutFailureReportsNothingIsKeptForAVerdict(t *testing.T) {
	dir := t.TempDir()
	sent := filepath.Join(dir, "sent", "ingest", "11111111-1111-4111-8111-111111111111.gz")
	if err := errors.Join(os.MkdirAll(filepath.Dir(sent), 0o700), os.WriteFile(sent, []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	p := started(t, &capture{}, "store_dir", dir, "failure_reports", "off")
	p.Stop()
	if _, err := os.Stat(sent); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want what an earlier start kept removed", err)
	}
}

func TestAnotherCauseIsSaidAtOnce(t *testing.T) {
	c := &capture{}
	p := &Instance{log: newLogger(c.host())}
	for range 1000 {
		p.failed(journal.ErrFull)
	}
	before := c.book.Count()
	p.failed(errors.New("EIO"))
	if c.book.Count() != before+1 || before != 10 {
		t.Errorf("%d lines of a full spool, then %d; want 10, and the disk's failure said at once:\n%s", before, c.book.Count()-before, c.log())
	}
}

// Two outputs, several flushes at once, small events that give many records each, objects that fill up in between.
func TestEachRecordOfFlushesAtOnceHasAnIDOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	options := []string{"store_dir", dir, "customer_id", "acme", "meters", "A=1, B=1, C=1, D=1, E=1, F=1, G=1, H=1, I=1", "max_records", "1000"}
	outputs := []*Instance{started(t, &capture{}, options...), started(t, &capture{}, options...)}
	var flushes sync.WaitGroup
	want := 0
	for n := range 6 {
		for i := range 30 {
			want += 9 * (1 + (n+i)%50)
		}
		flushes.Go(func() {
			for i := range 30 {
				chunk := bytes.Repeat([]byte("\x92\xce\x69\x1f\x00\x00\x80"), 1+(n+i)%50)
				if err := outputs[n%2].Flush(fmt.Sprintf("app.%d.%d", n, i), chunk); err != nil {
					t.Error(err)
				}
			}
		})
	}
	flushes.Wait()
	for _, p := range outputs {
		p.Stop()
	}
	ids := map[any]bool{}
	records := delivered(t, dir)
	for _, r := range records {
		ids[r["uniqueId"]] = true
	}
	if len(records) != want || len(ids) != want {
		t.Errorf("got %d records with %d ids, want %d", len(records), len(ids), want)
	}
}
