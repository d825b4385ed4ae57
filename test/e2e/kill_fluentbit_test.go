package e2e

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
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

func TestFluentBitKilledAtRandomInstantsLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 4} {
		t.Run(fmt.Sprintf("with %d workers", workers), func(t *testing.T) {
			t.Parallel()
			b := newBench(t, realFluentBit)
			poster, stop := b.posting()
			defer stop()
			b.behind(fault.Options{Rate: 0.5, Seed: *seed})
			section := b.section(fmt.Sprintf("Workers %d", workers), "total_file_size 30K", "upload_timeout 300ms", "upload_concurrency 4", "shutdown_timeout 30s")
			random := rand.New(rand.NewPCG(*seed, uint64(workers)))
			for range *fluentBitKills {
				p := b.start(input{}, section)
				poster.await(b, 1)
				time.Sleep(time.Duration(random.IntN(1200)) * time.Millisecond) // the instant is the point
				if !p.Kill() {
					t.Fatalf("ended before it was killed; log:\n%s", p.Log.String())
				}
			}
			p := b.start(input{}, section)
			poster.await(b, 1)
			stop()
			b.handedOver()
			p.stop()
			b.wantAllOnce(poster)
			b.wantDelivered()
			b.meterctl("check")
			t.Logf("%d kills, %d events accepted, %d posts without an answer, %d objects", *fluentBitKills, poster.events*len(poster.accepted), len(poster.unknown), len(b.objects()))
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
	poster, stop := b.posting()
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
