package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"out_amberflo/test/amberflo"
	"out_amberflo/test/encode"
	"out_amberflo/test/fault"
	"out_amberflo/test/fluentbit"
)

// overHTTP lets Fluent Bit take events over HTTP and keep them on disk until an output has them.
func (b *bench) overHTTP() (url string) {
	port := fluentbit.Port(b)
	b.inputs = []string{"Name http", "Listen 127.0.0.1", "Port " + port, "Tag " + tag, "storage.type filesystem"}
	b.service = append(b.service, "storage.path "+b.path("fluent-bit"), "storage.sync normal", "storage.backlog.mem_limit 50M")
	return "http://127.0.0.1:" + port + "/"
}

// poster posts numbered events, a JSON array at a time, as fast as they are taken.
type poster struct {
	url    string
	events int // of one post
	pause  time.Duration
	of     func(n int) []any // the records that stand for an event; nil: that of wantAllOnce

	mu       sync.Mutex // guards the rest
	next     int
	accepted []int // first event of each post that was answered 201
	unknown  []int // first event of each post without an answer
	refused  string
}

// post goes on until done is closed.
func (p *poster) post(done <-chan struct{}) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for {
		select {
		case <-done:
			return
		case <-time.After(p.pause):
		}
		p.mu.Lock()
		first := p.next
		p.next += p.events
		p.mu.Unlock()
		var list []any
		for n := first; n < first+p.events; n++ {
			if p.of != nil {
				list = append(list, p.of(n)...)
				continue
			}
			list = append(list, record{"customerId", "acme", "meterApiName", "ApiCalls", "meterValue", n, "dimensions", record{"n", fmt.Sprint(n)}})
		}
		answer, err := client.Post(p.url, "application/json", bytes.NewReader(appendJSON(nil, list)))
		if err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
		}
		p.mu.Lock()
		switch {
		case err == nil && answer.StatusCode == http.StatusCreated:
			p.accepted = append(p.accepted, first)
		case err == nil:
			p.refused = answer.Status
			p.unknown = append(p.unknown, first)
		default:
			p.unknown = append(p.unknown, first)
		}
		p.mu.Unlock()
	}
}

func (p *poster) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.accepted)
}

// wantAllOnce wants each accepted event exactly once, and none twice, counted on raw objects.
func (b *bench) wantAllOnce(p *poster) {
	b.Helper()
	seen := map[string][]string{}
	s := b.reader(func(key string, r amberflo.Record) {
		n := r.Dimensions["n"]
		seen[n] = append(seen[n], key+" "+r.UniqueID)
	})
	if _, err := s.Read(b.Context()); err != nil {
		b.Fatal(err)
	}
	for _, first := range p.accepted {
		for n := first; n < first+p.events; n++ {
			if len(seen[fmt.Sprint(n)]) == 0 {
				b.Errorf("LOST: event %d (of the post %d…%d) is in no object; %s", n, first, first+p.events-1, b.whereabouts(n))
				break
			}
		}
	}
	for n, places := range seen {
		if len(places) > 1 {
			b.Errorf("DOUBLED: event %s is in %q", n, places)
		}
	}
	if bill := s.Bill(); bill.Duplicates+bill.Conflicts+bill.Refused+bill.RefusedObjects > 0 {
		b.Errorf("want no duplicates, conflicts or refusals, got %+v", bill)
	}
	if len(p.accepted) == 0 || p.refused != "" {
		b.Errorf("%d posts accepted, one answered %q", len(p.accepted), p.refused)
	}
}

// whereabouts looks for an event that is missing in the bucket.
func (b *bench) whereabouts(n int) string {
	b.Helper()
	var found []string
	for _, dir := range []string{"spool", "fluent-bit"} {
		for name, content := range b.files(b.path(dir)) {
			if bytes.Contains([]byte(content), []byte(fmt.Sprintf(`"n":"%d"`, n))) || bytes.Contains([]byte(content), encode.String([]byte("\xa1n"), fmt.Sprint(n))) {
				found = append(found, filepath.Join(dir, name))
			}
		}
	}
	if found == nil {
		return "nor is it in the spool or in Fluent Bit's storage"
	}
	slices.Sort(found)
	return fmt.Sprintf("it is in %q", found)
}

// killedWhilePosting kills Fluent Bit at random instants, and then lets it deliver all that it has.
func (b *bench) killedWhilePosting(poster *poster, stop func(), section string, random *rand.Rand) {
	b.Helper()
	for range *fluentBitKills {
		p := b.start(input{}, section)
		poster.await(b, 1)
		time.Sleep(time.Duration(random.IntN(1200)) * time.Millisecond) // the instant is the point
		if !p.Kill() {
			b.Fatalf("ended before it was killed; log:\n%s", p.Log.String())
		}
	}
	p := b.start(input{}, section)
	poster.await(b, 1)
	stop()
	b.handedOver()
	p.stop()
	b.wantDelivered()
	b.meterctl("check")
}

func TestFluentBitKilledAtRandomInstantsLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 4} {
		t.Run(fmt.Sprintf("with %d workers", workers), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, realFluentBit)
			poster, stop := b.posting(10, nil)
			defer stop()
			b.behind(fault.Options{Rate: 0.5, Seed: *seed})
			section := b.section(fmt.Sprintf("Workers %d", workers), "total_file_size 30K", "upload_timeout 300ms", "upload_concurrency 4", "shutdown_timeout 30s")
			b.killedWhilePosting(poster, stop, section, rand.New(rand.NewPCG(*seed, uint64(workers))))
			b.wantAllOnce(poster)
			t.Logf("%d kills, %d events accepted, %d posts without an answer, %d objects", *fluentBitKills, poster.events*len(poster.accepted), len(poster.unknown), len(b.objects()))
		})
	}
}

// summing makes events that come to the same few keys over and over, and says what they come to. Records that are added up cannot be
// told apart in the bucket: a post brings two events with ids of their own, which are delivered as they are. Fluent Bit may keep
// the beginning of a post that it was killed in: the first of them alone.
type summing struct {
	posted int // events of a post
	bucket time.Duration
}

const summingFrom = int64(1795291200000) // a full hour

func (s summing) customer(n int) string { return fmt.Sprint("c", n/s.posted%20) }

// event is the n-th one, of the hundred of n.
func (s summing) event(n int) (list []any) {
	mark := func(what string) record {
		return record{"customerId", "posts", "meterApiName", "Posts", "meterValue", 1, "meterTimeInMillis", summingFrom, "uniqueId", fmt.Sprint(what, n/s.posted*s.posted)}
	}
	if n%s.posted == 0 {
		list = append(list, record{"customerId", "c0", "meterApiName", "Bytes", "meterValue", "many", "post", n}, mark("first of "))
	}
	dimensions := record{"a", fmt.Sprint(n % 2), "b", "x"}
	if n%5 == 0 {
		dimensions = record{"b", "x", "a", fmt.Sprint(n % 2)}
	}
	list = append(list, record{"customerId", s.customer(n), "meterApiName", "Bytes", "meterValue", s.value(n), "meterTimeInMillis", s.at(n), "dimensions", dimensions})
	if n%s.posted == s.posted-1 {
		list = append(list, mark("last of "))
	}
	return list
}

func (s summing) value(n int) string { return fmt.Sprintf("%d.%02d", n%1000, n%97) }
func (s summing) at(n int) int64     { return summingFrom + int64(n)*7919%180_000 } // three minutes, their borders too

// of adds the first events of a post up.
func (s summing) of(first, events int) usages {
	u := usages{}
	for n := first; n < first+events; n++ {
		u.must(u.add(s.customer(n), "Bytes", map[string]string{"a": fmt.Sprint(n % 2), "b": "x"}, s.at(n), s.bucket, s.value(n), 1))
	}
	return u
}

// kept finds out how many events there are of posts that Fluent Bit was killed in: as many as leave nothing of got.
func (s summing) kept(got usages, torn []int) bool {
	if len(torn) == 0 {
		return len(got) == 0
	}
	for events := range s.posted + 1 {
		if rest, ok := got.without(s.of(torn[0], events)); ok && s.kept(rest, torn[1:]) {
			return true
		}
	}
	return false
}

func TestFluentBitKilledWhileItAddsUpLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 4} {
		t.Run(fmt.Sprintf("with %d workers", workers), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, realFluentBit)
			s := summing{posted: 100, bucket: time.Minute}
			poster, stop := b.posting(s.posted, s.event)
			defer stop()
			b.behind(fault.Options{Rate: 0.5, Seed: *seed})
			section := b.section(fmt.Sprintf("Workers %d", workers), "total_file_size 5K", "upload_timeout 300ms", "upload_concurrency 4", "shutdown_timeout 30s",
				"aggregate *", "aggregate_bucket "+s.bucket.String())
			b.killedWhilePosting(poster, stop, section, rand.New(rand.NewPCG(*seed, uint64(workers))))

			got, events := b.delivered(s.bucket)
			whole, torn := map[int]bool{}, map[int]bool{}
			for _, e := range events {
				what, of, _ := strings.Cut(e.UniqueID, " of ")
				n, err := strconv.Atoi(of)
				if err != nil {
					continue
				}
				switch what {
				case "first":
					torn[n] = true
				case "last":
					whole[n] = true
				}
			}
			want := usages{}
			for first := range whole {
				delete(torn, first)
				want.must(want.add("posts", "Posts", nil, summingFrom, s.bucket, "2", 2))
				want.plus(s.of(first, s.posted))
			}
			for range torn {
				want.must(want.add("posts", "Posts", nil, summingFrom, s.bucket, "1", 1))
			}
			for _, first := range poster.accepted {
				if !whole[first] {
					t.Errorf("LOST: events of the post %d; %s", first, b.whereabouts(first))
				}
			}
			byCustomer := map[string][]int{}
			for first := range torn {
				byCustomer[s.customer(first)] = append(byCustomer[s.customer(first)], first)
			}
			for customer, torn := range byCustomer {
				rest, ok := got.of(customer).without(want.of(customer))
				if !ok || !s.kept(rest, torn) {
					t.Errorf("%s: want all of its posts, and the beginnings of %d", customer, torn)
				}
				got, want = got.not(customer), want.not(customer)
			}
			b.wantUsages(got, want)
			rejected := map[int]int{}
			for _, r := range b.rejected() {
				var of struct{ Post int }
				if err := json.Unmarshal(r.Record, &of); err != nil {
					t.Fatal(err)
				}
				rejected[of.Post]++
			}
			for first := range whole {
				if rejected[first] != 1 {
					t.Errorf("the reject of the post %d is there %d times", first, rejected[first])
				}
			}
			t.Logf("%d kills, %d posts accepted, %d without an answer, %d of these whole and %d in part, %d records in %d events, %d objects",
				*fluentBitKills, len(poster.accepted), len(poster.unknown), len(whole)-len(poster.accepted), len(torn), want.records(), len(events), len(b.objects()))
		})
	}
}

// A chunk is known by the name of its output, and not by the order in which they start.
func TestTwoOutputsOfASpoolMayChangePlacesAfterAKill(t *testing.T) {
	t.Parallel()
	b := newBench(t, realFluentBit)
	file, err := buildCrashing()
	if err != nil {
		t.Fatal(err)
	}
	b.plugin = file
	poster, stop := b.posting(10, nil)
	defer stop()
	options := []string{"total_file_size 30K", "upload_timeout 300ms", "shutdown_timeout 30s"}
	outputs := []string{b.section(append(options, "Alias first")...), b.section(append(options, "Alias second", "meter_api_name Second")...)}
	for range 4 {
		for _, point := range []string{"frame-synced:7", "frame-synced:12"} {
			b.env = []string{"AMBERFLO_CRASH=" + point}
			p := b.start(input{}, outputs...)
			if p.wait(); !p.Kill() {
				t.Fatalf("want it to die at %s; log:\n%s", point, p.Log.String())
			}
			slices.Reverse(outputs)
		}
	}
	b.env = nil
	url := b.metricsServer()
	p := b.start(input{}, outputs...)
	poster.await(b, 1)
	stop()
	b.handedOver()
	b.until("a chunk that came again to be counted", func() bool {
		got := b.scrape(url)
		return got["redelivered_chunks_total first"]+got["redelivered_chunks_total second"] > 0
	})
	p.stop()
	seen := map[string]int{}
	s := b.reader(func(_ string, r amberflo.Record) { seen[r.Dimensions["n"]+" of "+r.Usage[0].Meter]++ })
	if _, err := s.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, first := range poster.accepted {
		for n := first; n < first+poster.events; n++ {
			for _, meter := range []string{"ApiCalls", "Second"} {
				if name := fmt.Sprintf("%d of %s", n, meter); seen[name] != 1 {
					t.Fatalf("event %s is there %d times", name, seen[name])
				}
			}
		}
	}
	for name, n := range seen {
		if n > 1 {
			t.Fatalf("event %s is there %d times", name, n)
		}
	}
	b.wantDelivered()
}
