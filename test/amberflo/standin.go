// Package amberflo plays Amberflo's side of S3 ingestion on any S3 endpoint: it reads the bucket as
// its owner, checks every record, discards what it has seen before, adds up the usage and writes
// failure reports. It is the oracle of the end-to-end tests and shares no code with the plugin.
//
// What it demands is what Amberflo documents (docs.amberflo.io/docs/s3-ingestion, its record schema
// and its deduplication) and what Amberflo's own Python client validates. Where those leave a
// question open it takes the strict side, so that a test fails rather than a real bill.
package amberflo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Options configure a Standin. Endpoint, Bucket and Credentials are required.
type Options struct {
	Endpoint    string // such as http://127.0.0.1:7070; the bucket is addressed path-style
	Region      string // us-east-1 if empty
	Credentials aws.CredentialsProvider
	Bucket      string

	Prefix     string   // only keys that begin with it are read
	Meters     []string // the meters that are defined; nil allows any
	Dimensions []string // the bill is split by these as well
	Rule       Rule     // which records are one

	// RefuseWhole lets one bad record refuse its object; otherwise the good ones count.
	RefuseWhole bool
	// VerdictDelay passes between taking an object and writing the report of its refusal.
	VerdictDelay  time.Duration
	ReportsPrefix string // failed-requests/ if empty; never read as usage
	Spelling      Spelling

	Every time.Duration        // pause between the rounds of Run; 1s if zero
	Logf  func(string, ...any) // what Run has to say; nil discards it
	Now   func() time.Time     // time.Now if nil
	// Each is called for every record that counts, before deduplication, in order. It must not call
	// the Standin.
	Each func(key string, r Record)
}

// Standin reads one bucket. What it knows is kept in memory only: a new one reads the whole bucket
// again. All methods are safe for concurrent use.
type Standin struct {
	opt    Options
	client *s3.Client
	round  sync.Mutex // one pass over the bucket at a time

	mu      sync.Mutex // guards the rest
	meters  map[string]bool
	taken   map[string]string // key -> ETag of the version that was taken last
	objects []Object
	pending []verdict
	ledger  ledger
}

// verdict is a refusal whose report is not written yet.
type verdict struct {
	object   int // index in Standin.objects
	due      time.Time
	problems []Problem
}

// Object is one version of one object as it was taken in.
type Object struct {
	Key     string `json:"key"`
	ETag    string `json:"etag"`
	Size    int    `json:"size"`              // bytes as stored
	Members int    `json:"members,omitempty"` // gzip members; 0 if not compressed
	Format  string `json:"format,omitempty"`  // ndjson or json_array
	Records int    `json:"records"`           // as they stand in the object, good or not
	Refused int    `json:"refused"`           // of these, those that do not count
	// Duplicates counts the records equal in every attribute to an earlier one, here or elsewhere.
	Duplicates int    `json:"duplicates"`
	Reason     string `json:"reason,omitempty"` // the first line of its failure report
	Report     string `json:"report,omitempty"` // the report's key, once it is written
	First      string `json:"first,omitempty"`  // the first record, as it stands in the object
}

// Summary says what one pass over the bucket did.
type Summary struct {
	Objects, Records, Refused, Duplicates int      // newly taken in
	Reports                               []string // keys of the failure reports written
	Pending                               int      // refused objects whose report is not due or failed
}

// New returns a stand-in that has read nothing yet. It starts no goroutine and opens no connection.
func New(opt Options) *Standin {
	opt.Region = cmp.Or(opt.Region, "us-east-1")
	opt.ReportsPrefix = cmp.Or(opt.ReportsPrefix, "failed-requests/")
	opt.Every = cmp.Or(opt.Every, time.Second)
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Logf == nil {
		opt.Logf = func(string, ...any) {}
	}
	s := &Standin{
		opt: opt,
		client: s3.New(s3.Options{
			BaseEndpoint: aws.String(opt.Endpoint),
			Region:       opt.Region,
			Credentials:  opt.Credentials,
			UsePathStyle: true,
		}),
		taken:  map[string]string{},
		ledger: newLedger(opt.Dimensions, opt.Rule),
	}
	if opt.Meters != nil {
		s.meters = map[string]bool{}
		s.Define(opt.Meters...)
	}
	return s
}

// Define adds meters to those that are known. It has no effect if Options.Meters was nil.
func (s *Standin) Define(meters ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.meters == nil {
		return
	}
	for _, m := range meters {
		s.meters[m] = true
	}
}

// Read takes in everything that is in the bucket now and not taken yet, and writes no report.
func (s *Standin) Read(ctx context.Context) (Summary, error) {
	s.round.Lock()
	defer s.round.Unlock()
	return s.read(ctx)
}

// Round is Read followed by the failure reports that are due. What could not be read or written is
// tried again in the next round; the error joins all that went wrong.
func (s *Standin) Round(ctx context.Context) (Summary, error) {
	s.round.Lock()
	defer s.round.Unlock()
	sum, err := s.read(ctx)
	reports, reportErr := s.report(ctx)
	sum.Reports = reports
	s.mu.Lock()
	sum.Pending = len(s.pending)
	s.mu.Unlock()
	return sum, errors.Join(err, reportErr)
}

// Run makes a round every Options.Every until ctx ends, and then returns. Errors are logged once
// until they change.
func (s *Standin) Run(ctx context.Context) {
	tick := time.NewTicker(s.opt.Every)
	defer tick.Stop()
	last := ""
	for {
		sum, err := s.Round(ctx)
		if ctx.Err() != nil {
			return
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != last && text != "" {
			s.opt.Logf("round: %s", text)
		}
		last = text
		if sum.Objects > 0 {
			s.opt.Logf("took %d objects with %d records: %d rejected, %d duplicates", sum.Objects, sum.Records, sum.Refused, sum.Duplicates)
		}
		for _, key := range sum.Reports {
			s.opt.Logf("wrote %s", key)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Objects returns what was taken in, by key and then in the order in which it was taken.
func (s *Standin) Objects() []Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	objects := slices.Clone(s.objects)
	slices.SortStableFunc(objects, func(a, b Object) int { return strings.Compare(a.Key, b.Key) })
	return objects
}

// Bill returns the usage so far.
func (s *Standin) Bill() Bill {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ledger.bill()
}

func (s *Standin) read(ctx context.Context) (Summary, error) {
	var sum Summary
	var errs []error
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{
		Bucket: aws.String(s.opt.Bucket), Prefix: aws.String(s.opt.Prefix),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return sum, errors.Join(append(errs, fmt.Errorf("list %s: %w", s.opt.Bucket, err))...)
		}
		for _, o := range page.Contents {
			key := aws.ToString(o.Key)
			if strings.HasPrefix(key, s.opt.ReportsPrefix) || strings.HasSuffix(key, "/") || s.has(key, aws.ToString(o.ETag)) {
				continue
			}
			obj, err := s.fetch(ctx, key)
			var gone *types.NoSuchKey
			switch {
			case errors.As(err, &gone):
			case err != nil:
				errs = append(errs, err)
			default:
				sum.Objects++
				sum.Records += obj.Records
				sum.Refused += obj.Refused
				sum.Duplicates += obj.Duplicates
			}
		}
	}
	return sum, errors.Join(errs...)
}

func (s *Standin) has(key, etag string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	have, ok := s.taken[key]
	return ok && have == etag
}

func (s *Standin) fetch(ctx context.Context, key string) (Object, error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(s.opt.Bucket), Key: aws.String(key)})
	if err != nil {
		return Object{}, fmt.Errorf("get %s: %w", key, err)
	}
	body, err := io.ReadAll(out.Body)
	out.Body.Close()
	if err != nil {
		return Object{}, fmt.Errorf("read %s: %w", key, err)
	}
	return s.take(Object{Key: key, ETag: aws.ToString(out.ETag), Size: len(body)}, body), nil
}

// take judges the object's records and enters those that count.
func (s *Standin) take(obj Object, body []byte) Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken[obj.Key] = obj.ETag

	content, err := unpack(obj.Key, body)
	obj.Members, obj.Format, obj.Records = content.members, content.format, len(content.records)
	var problems []Problem
	var good []Record
	if err != nil {
		problems = []Problem{{Why: err.Error()}}
		obj.Refused = obj.Records
	}
	if len(content.records) > 0 {
		obj.First = string(content.records[0])
	}
	if err == nil {
		good, problems = s.judge(content.records)
		obj.Refused = len(problems)
		if len(problems) > 0 && s.opt.RefuseWhole {
			good, obj.Refused = nil, obj.Records
		}
	}
	for _, r := range good {
		if s.opt.Each != nil {
			s.opt.Each(obj.Key, r)
		}
		if s.ledger.enter(r) {
			obj.Duplicates++
		}
	}
	s.ledger.refused += obj.Refused
	if len(problems) > 0 {
		s.ledger.refusedObjects++
		obj.Reason = headline(obj, problems)
		s.pending = append(s.pending, verdict{
			object: len(s.objects), due: s.opt.Now().Add(s.opt.VerdictDelay), problems: problems,
		})
	}
	s.objects = append(s.objects, obj)
	return obj
}

func (s *Standin) judge(raws [][]byte) (good []Record, problems []Problem) {
	good = make([]Record, 0, len(raws))
	for i, raw := range raws {
		r, why := parseRecord(raw)
		if len(why) == 0 && s.meters != nil {
			for _, q := range r.Usage {
				if !s.meters[q.Meter] {
					why = append(why, fmt.Sprintf("meterApiName: unknown meter %q", q.Meter))
				}
			}
		}
		if len(why) > 0 {
			problems = append(problems, Problem{Record: i + 1, UniqueID: r.UniqueID, Why: strings.Join(why, "; ")})
			continue
		}
		good = append(good, r)
	}
	return good, problems
}
