package spool_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/gzip"

	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/disk/disktest"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/spool"
	"out_amberflo/plugin/tally"
)

var (
	modelSeed  = flag.Uint64("spool.seed", 0, "repeat the model test with this seed; 0: others each time")
	modelSteps = flag.Int("spool.steps", 150, "operations of a run of the model test")
	modelFor   = flag.Duration("spool.for", 3*time.Second, "how long the model test runs")
)

// chunk is one of Fluent Bit's. Those of equal source are equal in every byte.
type chunk struct {
	source uint64
	chunkIs
	life int // of the process, in which it was made

	due      bool // to be offered
	acked    bool
	at       time.Time // when it was acknowledged
	recorded bool      // Fluent Bit knows that for good: it does not come again
	void     bool      // never offered again, and no answer is known
}

// chunkIs is what a chunk holds.
type chunkIs struct {
	names   []string
	ids     bool     // the records bring unique ids of their own
	rejects []string // names of what cannot be metered
	summed  bool     // the records are said to be sums, and with them are
	sums    []sum    // partial lines
	damaged bool
}

// sum is a partial line: records of 0.1 each, of a customer, some seconds behind sumsFrom.
type sum struct{ customer, records, second int }

// name is that of a partial line's records, by customer and minute.
func (x sum) name() string { return fmt.Sprintf("sum %d %d", x.customer, x.second/60) }

// model is Fluent Bit before a spool and a bucket behind it.
type model struct {
	t     *testing.T
	rand  *rand.Rand
	disk  *disktest.Disk
	spool *spool.Spool
	opt   spool.Options
	log   []string

	faults   float64 // while operations are random
	life     int
	chunks   []*chunk
	bucket   map[string][]byte
	keepSent bool
	drops    bool            // rejects that have no room
	dropped  map[uint64]bool // of which chunks, or their twins: nobody can tell them apart after a crash
	deaths   int
	most     int // records in any object
}

func TestModel(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	deaths, runs := 0, 0
	for began := time.Now(); ; seed++ {
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("repeat with: go test ./plugin/spool -run TestModel -spool.seed=%d -spool.steps=%d", seed, *modelSteps)
				}
			}()
			m := newModel(t, seed)
			m.run(*modelSteps)
			deaths += m.deaths
		})
		runs++
		if t.Failed() || *modelSeed != 0 || time.Since(began) > *modelFor {
			break
		}
	}
	t.Logf("%d runs, %d deaths of the process", runs, deaths)
}

type randReader struct{ *rand.ChaCha8 }

func newModel(t *testing.T, seed uint64) *model {
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24), byte(seed >> 32), byte(seed >> 40), byte(seed >> 48), byte(seed >> 56)})
	uuid.SetRand(randReader{source})
	t.Cleanup(func() { uuid.SetRand(nil) })
	r := rand.New(source)
	o := testOptions("")
	o.MaxBytes = int64(200 + r.IntN(3000))
	o.MaxAge = time.Minute
	if r.IntN(3) == 0 {
		o.Limit = int64(3000 + r.IntN(20000))
	}
	if r.IntN(3) == 0 {
		o.RejectLimit = int64(100 + r.IntN(1000))
	}
	o.Object.Key = func(s object.Sealed) string { return s.Opened.Format("ingest/15-04/") + s.ID.String() }
	m := &model{
		t: t, rand: r, opt: o, bucket: make(map[string][]byte), keepSent: r.IntN(3) == 0, drops: r.IntN(2) == 0, dropped: make(map[uint64]bool),
		disk: disktest.New(t, r), faults: []float64{0, 0.02, 0.1}[r.IntN(3)],
	}
	m.note("%d bytes, limit %d, faults %v", o.MaxBytes, o.Limit, m.faults)
	m.configure()
	m.open()
	return m
}

func (m *model) note(format string, args ...any) {
	m.log = append(m.log, time.Now().Format("15:04:05.000000000 ")+fmt.Sprintf(format, args...))
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	if *modelSeed != 0 {
		m.t.Log("\n" + strings.Join(m.log, "\n"))
	}
	m.t.Fatalf(format, args...)
}

// configure sets what may change from one start to the next.
func (m *model) configure() {
	o := &m.opt
	o.Object.JSONArray, o.Object.GzipLevel, o.Object.MaxRecords = m.rand.IntN(3) == 0, m.rand.IntN(2)*6, 0
	o.MinBlock = []int{1, 200, 1 << 20}[m.rand.IntN(3)]
	if m.rand.IntN(2) == 0 {
		o.Object.MaxRecords = 1 + m.rand.IntN(12)
	}
	if m.most = max(m.most, o.Object.MaxRecords); o.Object.MaxRecords == 0 {
		m.most = math.MaxInt
	}
	m.note("%d records, array %v, gzip %d, blocks from %d bytes", o.Object.MaxRecords, o.Object.JSONArray, o.Object.GzipLevel, o.MinBlock)
}

// open starts a process.
func (m *model) open() {
	m.disk.Faults = m.faults
	for try := 0; ; try++ {
		o := m.opt
		o.Dir, o.Disk = m.disk.Root, m.disk.Dir()
		s, err := spool.Open(o)
		if m.disk.Next != nil {
			if err == nil {
				_ = s.Close()
			}
			m.reborn()
			continue
		}
		if err == nil {
			m.spool, m.disk.Faults = s, m.faults
			m.spool.KeepSent(m.keepSent)
			m.note("opened: %+v", s.Journal().Held())
			return
		}
		m.note("open: %v", err)
		if m.disk.Faults == 0 {
			m.fail("open: %v", err)
		}
		m.disk.Faults /= 4 // it does a lot at once
		if m.disk.Faults < 0.001 {
			m.disk.Faults = 0
		}
	}
}

// reborn goes on with what the next process finds.
func (m *model) reborn() {
	if left := disktest.OpenFiles(m.t, m.disk.Root); len(left) > m.disk.Files() {
		m.fail("left open: %v", left)
	}
	old := m.disk
	m.disk = old.Next
	old.Close()
	_ = os.RemoveAll(old.Root)
	m.note("---- died, power cut: %v", old.Power)
	m.deaths++
	m.again(false)
}

// again is a start of Fluent Bit: what it has not recorded comes again.
func (m *model) again(stopped bool) {
	if m.life++; m.rand.IntN(8) == 0 {
		m.configure()
	}
	recorded := make(map[uint64]bool)
	for _, c := range m.chunks {
		recorded[c.source] = recorded[c.source] || c.recorded
	}
	for _, c := range m.chunks {
		switch {
		case c.recorded || c.void:
		case !stopped && c.due && recorded[c.source]:
			// The spool cannot tell it from its twin, which was accepted just before: not asked for.
			c.void, c.due, c.acked = true, false, false
		default:
			c.due = true
		}
	}
}

// lived ends the process if it died in the operation before, and tells whether it lives.
func (m *model) lived() bool {
	if m.disk.Next == nil {
		return true
	}
	_ = m.spool.Close()
	m.reborn()
	m.open()
	return false
}

func (m *model) run(steps int) {
	for range steps {
		if m.rand.IntN(8) == 0 {
			m.disk.Fuse, m.disk.Power = 1+m.rand.IntN(40), m.rand.IntN(2) == 0
		}
		switch m.rand.IntN(20) {
		default:
			m.offer(1 + m.rand.IntN(3))
		case 0, 1, 2, 3:
			_, err := m.spool.Seal(context.Background())
			m.note("seal: %v", err)
		case 4, 5, 6, 7:
			m.upload()
		case 8:
			m.sleep([]time.Duration{time.Second, 20 * time.Second, 70 * time.Second, 11 * time.Minute}[m.rand.IntN(4)])
		case 9:
			if m.rand.IntN(3) == 0 {
				m.stop()
			}
		case 10:
			m.retry(0.4)
		}
		m.lived()
	}
	m.end()
}

func (m *model) newChunk() *chunk {
	if n := len(m.chunks); n > 0 && m.rand.IntN(10) == 0 {
		if c := m.chunks[n-1]; c.life == m.life && !c.void {
			twin := &chunk{source: c.source, chunkIs: c.chunkIs, life: m.life, due: true}
			m.chunks = append(m.chunks, twin)
			return twin
		}
	}
	c := &chunk{source: uint64(len(m.chunks)), life: m.life, due: true}
	c.ids, c.damaged, c.summed = m.rand.IntN(8) == 0, m.rand.IntN(10) == 0, m.rand.IntN(4) == 0
	for i := range m.rand.IntN(14) {
		c.names = append(c.names, fmt.Sprintf("%d.%d", c.source, i))
	}
	for range m.rand.IntN(8) {
		if c.summed && !c.ids {
			c.sums = append(c.sums, sum{m.rand.IntN(3), 1 + m.rand.IntN(9), m.rand.IntN(180)})
		}
	}
	for i := range m.rand.IntN(4) * m.rand.IntN(2) {
		c.rejects = append(c.rejects, fmt.Sprintf("%d.r%d", c.source, i))
	}
	m.chunks = append(m.chunks, c)
	return c
}

func (c *chunk) begin(s *spool.Spool) (*journal.Tx, error) {
	tx, err := s.Begin(journal.Source{Length: 1, Hash: c.source}, 2*len(c.names)+len(c.sums)+2*len(c.rejects))
	if err != nil {
		return nil, err
	}
	prefix, first := tx.IDs()
	lines := linesOf(prefix, first, c.names)
	if c.ids {
		lines = regexp.MustCompile(regexp.QuoteMeta(prefix)+"[0-9]+").ReplaceAll(lines, []byte("own"))
	}
	records := len(c.names)
	for i, x := range c.sums {
		at := sumsFrom + int64(x.second)*1000
		lines = fmt.Appendf(lines, `{"customerId":"%d","meterApiName":"m","meterValue":%d.%d,"meterTimeInMillis":%d,"uniqueId":"%s%d"`,
			x.customer, x.records/10, x.records%10, at, prefix, first+len(c.names)+i)
		lines = tally.AppendMembers(lines, int64(x.records), at, at+999)
		records += x.records
	}
	tx.Append(append(tx.Lines(), lines...), len(c.names)+len(c.sums))
	if c.summed {
		tx.Summed(time.Minute, records)
	}
	for _, name := range c.rejects {
		tx.Reject(fmt.Appendf(nil, "{\"name\":%q,\"uniqueId\":%q}\n", name, tx.RejectID()))
	}
	if c.damaged {
		tx.Damage(fmt.Append(nil, "damage of ", c.source))
	}
	return tx, nil
}

// offer flushes some chunks at once, new ones and such as were refused or come again.
func (m *model) offer(n int) {
	var these []*chunk
	for _, c := range m.chunks {
		if c.due && m.rand.IntN(2) == 0 && len(these) < n {
			these = append(these, c)
		}
	}
	for len(these) < n {
		these = append(these, m.newChunk())
	}
	m.flush(these)
}

// flush has all of them begun before any is written, and all written before any is synced.
func (m *model) flush(these []*chunk) {
	type flight struct {
		*chunk
		tx *journal.Tx
	}
	answer := func(c *chunk, how string, err error) {
		m.note("chunk %d, %d records, %d rejects, %s: %v", c.source, len(c.names), len(c.rejects), how, err)
		if m.disk.Next == nil { // else the answer is lost
			c.acked, c.due, c.at = err == nil, err != nil, time.Now()
		}
	}
	var flights []flight
	for _, c := range these {
		tx, err := c.begin(m.spool)
		switch {
		case errors.Is(err, journal.ErrAccepted):
			answer(c, "again", nil)
		case err != nil:
			answer(c, "not begun", err)
		default:
			flights = append(flights, flight{c, tx})
		}
	}
	written := flights[:0]
	for _, f := range flights {
		err := f.tx.Write()
		if errors.Is(err, journal.ErrRejectsFull) && m.drops {
			f.tx.DropRejects()
			m.note("chunk %d: rejects dropped", f.source)
			m.dropped[f.source] = true
			err = f.tx.Write()
		}
		if err != nil {
			answer(f.chunk, "not written", err)
			continue
		}
		written = append(written, f)
	}
	flights = written
	m.rand.Shuffle(len(flights), func(i, j int) { flights[i], flights[j] = flights[j], flights[i] })
	for _, f := range flights {
		answer(f.chunk, "written", f.tx.Sync())
	}
}

// retry maps what was rejected again, in a process of its own, which may die alone. Some stays.
func (m *model) retry(stays float64) {
	o := m.opt
	o.Dir, o.Disk = m.disk.Root, m.disk.Beside()
	if stays > 0 && m.rand.IntN(3) == 0 {
		disktest.Dying(o.Disk, m.rand.IntN(30))
	}
	n, err := repair.Retry(o, "", func(line []byte) ([]byte, bool) {
		if m.rand.Float64() < stays {
			return nil, true
		}
		return append(line[:len(line):len(line)], '\n'), false
	})
	m.note("retry: %d objects, %v", n, err)
	if stays == 0 && err != nil {
		m.fail("retry: %v", err)
	}
}

// upload takes an object to the bucket, or fails, or does not know.
func (m *model) upload() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	obj, err := m.spool.Take(ctx, m.rand.IntN(2) == 0)
	if err != nil {
		return
	}
	outcome := m.rand.IntN(4)
	if outcome > 0 {
		f, err := m.spool.Read(obj)
		if err != nil {
			m.fail("an object is gone: %v", err)
		}
		b, err := io.ReadAll(f)
		_ = f.Close()
		if err != nil || int64(len(b)) != obj.Size {
			m.fail("read %d bytes of %d: %v", len(b), obj.Size, err)
		}
		if was, known := m.bucket[obj.Key]; known && !bytes.Equal(was, b) {
			m.fail("object %s has other bytes than before", obj.Key)
		}
		m.bucket[obj.Key] = b
	}
	if outcome < 2 {
		m.spool.Return(obj, time.Time{})
	} else {
		err = m.spool.Sent(obj)
	}
	m.note("upload %s, outcome %d: %v", obj.Key, outcome, err)
}

// sleep lets time pass. What was acknowledged is recorded after a while, mostly at once; what comes
// again does so before long.
func (m *model) sleep(d time.Duration) {
	if d > 20*time.Second {
		for _, c := range slices.Clone(m.chunks) {
			if c.due && c.life < m.life {
				m.flush([]*chunk{c})
				if !m.lived() {
					return
				}
			}
		}
	}
	m.note("sleep %s", d)
	time.Sleep(d)
	for _, c := range m.chunks {
		if c.acked && !c.due && (time.Since(c.at) > 20*time.Second || m.rand.IntN(10) > 0) {
			c.recorded = true
		}
	}
}

// stop is a clean stop and a start.
func (m *model) stop() {
	for _, c := range m.chunks { // it stops when it has recorded all answers
		c.recorded = c.recorded || c.acked && !c.due
	}
	ctx, cancel := context.WithCancel(context.Background())
	if m.rand.IntN(3) == 0 {
		cancel()
	}
	err := m.spool.Drain(ctx)
	cancel()
	m.note("---- stop: %v", err)
	if m.disk.Next != nil {
		return
	}
	if err := m.spool.Close(); err != nil {
		m.fail("close: %v", err)
	}
	if left := disktest.OpenFiles(m.t, m.disk.Root); len(left) > m.disk.Files() {
		m.fail("left open: %v", left)
	}
	m.again(err == nil)
	m.open()
}

// end delivers all and compares.
func (m *model) end() {
	m.faults, m.disk.Faults, m.disk.Fuse, m.opt.Limit, m.opt.RejectLimit = 0, 0, 0, 0, 0
	for range 2 { // a log that could not be read is looked at again at the next start
		_ = m.spool.Close()
		m.again(false)
		m.open()
		for _, c := range m.chunks {
			if c.due {
				m.flush([]*chunk{c})
				if !c.acked {
					m.fail("chunk %d is not accepted on a sound disk", c.source)
				}
			}
			c.recorded = c.recorded || c.acked
		}
		if _, err := m.spool.Seal(context.Background()); err != nil {
			m.fail("seal: %v", err)
		}
	}
	time.Sleep(time.Hour + 1) // nothing is expected any more
	if err := m.spool.Drain(context.Background()); err != nil {
		m.fail("drain: %v", err)
	}
	m.retry(0)
	if err := m.spool.Publish(); err != nil {
		m.fail("publish: %v", err)
	}
	for m.spool.Waiting() > 0 {
		time.Sleep(time.Minute)
		m.upload()
	}
	if err := m.spool.Close(); err != nil {
		m.fail("close: %v", err)
	}
	m.disk.Close()
	if left := disktest.OpenFiles(m.t, m.disk.Root); len(left) > 0 {
		m.fail("left open: %v", left)
	}
	for _, dir := range []string{disk.Open, disk.Sealing, disk.Outbox, disk.Rejected} {
		if left, _ := os.ReadDir(m.spool.Dir().Path(dir)); len(left) > 0 {
			m.fail("left in %s: %v", dir, left)
		}
	}
	m.compare()
}

func (m *model) compare() {
	least, most := make(map[string]int), make(map[string]int)
	for _, c := range m.chunks {
		for _, name := range slices.Concat(c.names, c.rejects) {
			if c.acked && (!m.dropped[c.source] || !slices.Contains(c.rejects, name)) {
				least[name]++
			}
			most[name]++
		}
		for _, x := range c.sums {
			if c.acked {
				least[x.name()] += x.records
			}
			most[x.name()] += x.records
		}
		if c.acked && c.damaged {
			want := fmt.Sprint("damage of ", c.source)
			if got, err := os.ReadFile(m.spool.Dir().Path(disk.Damaged, journal.Source{Length: 1, Hash: c.source}.DamageFile())); err != nil || string(got) != want {
				m.fail("chunk %d: got %q, %v in damaged/, want %q", c.source, got, err, want)
			}
		}
	}
	got, ids := make(map[string]int), make(map[string]string)
	for key, b := range m.bucket {
		n := 0
		for _, line := range m.lines(key, b) {
			var record struct {
				Name, UniqueID, CustomerID string
				MeterValue                 json.Number
				Records, MeterTimeInMillis int64
			}
			if err := json.Unmarshal([]byte(line), &record); err != nil {
				m.fail("object %s: %v in %q", key, err, line)
			}
			if was, twice := ids[record.UniqueID]; twice && record.UniqueID != "own" {
				m.fail("unique id %s stands twice: in %s and in %s %s", record.UniqueID, was, key, line)
			}
			ids[record.UniqueID] = key + " " + line
			if n++; record.CustomerID == "" {
				got[record.Name]++
				continue
			}
			records := max(record.Records, 1)
			if v, ok := new(big.Rat).SetString(record.MeterValue.String()); !ok || v.Cmp(big.NewRat(records, 10)) != 0 {
				m.fail("object %s: %d records of 0.1 each in %s", key, records, line)
			}
			got[fmt.Sprintf("sum %s %d", record.CustomerID, (record.MeterTimeInMillis-sumsFrom)/60_000)] += int(records)
		}
		if n == 0 || n > m.most {
			m.fail("object %s holds %d records, want 1 to %d", key, n, m.most)
		}
	}
	for name, n := range most {
		if got[name] < least[name] || got[name] > n {
			m.fail("record %s: delivered %d times, accepted %d times, offered %d times", name, got[name], least[name], n)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		m.fail("never offered: %v", got)
	}
}

func (m *model) lines(key string, b []byte) []string {
	if bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		gz, err := gzip.NewReader(bytes.NewReader(b))
		if err == nil {
			b, err = io.ReadAll(gz)
		}
		if err != nil {
			m.fail("object %s: %v", key, err)
		}
	}
	if !bytes.HasPrefix(b, []byte{'['}) {
		return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		m.fail("object %s: %v", key, err)
	}
	lines := make([]string, len(raw))
	for i := range raw {
		lines[i] = string(raw[i])
	}
	return lines
}
