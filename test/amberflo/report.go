package amberflo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// URI is a spelling of the <original uri> in failed-requests/<date>/<original uri>.reason.txt,
// of which Amberflo's documents give no example.
type URI string

// The spellings of the original URI; the empty one is WholeKey.
const (
	WholeKey URI = "key"  // ingest/amberdata/06-07-2022/<uuid>.gz
	BaseName URI = "name" // <uuid>.gz
	S3URI    URI = "s3"   // s3://<bucket>/ingest/amberdata/06-07-2022/<uuid>.gz
)

// Spelling says how the key of a failure report is written.
type Spelling struct {
	Date   string // layout of package time; 01-02-2006 if empty
	URI    URI
	DropGz bool // without the object's .gz
}

// Problem is why one record, or a whole object, was refused.
type Problem struct {
	Record   int // position in the object, from 1; 0 means the object as a whole
	UniqueID string
	Why      string
}

// String is the problem's line in a failure report.
func (p Problem) String() string {
	switch {
	case p.Record == 0:
		return p.Why
	case p.UniqueID == "":
		return fmt.Sprintf("record %d: %s", p.Record, p.Why)
	default:
		return fmt.Sprintf("record %d, uniqueId %s: %s", p.Record, p.UniqueID, p.Why)
	}
}

// ReportKey returns the key of the failure report on the object that was refused at that time.
func (s *Standin) ReportKey(object string, at time.Time) string {
	uri := object
	switch s.opt.Spelling.URI {
	case BaseName:
		uri = path.Base(object)
	case S3URI:
		uri = "s3://" + s.opt.Bucket + "/" + object
	}
	if s.opt.Spelling.DropGz {
		uri = strings.TrimSuffix(uri, ".gz")
	}
	date := at.UTC().Format(cmp.Or(s.opt.Spelling.Date, "01-02-2006"))
	return s.opt.ReportsPrefix + date + "/" + uri + ".reason.txt"
}

// headline is the first line of a report, which must tell the story alone.
func headline(o Object, problems []Problem) string {
	switch {
	case problems[0].Record == 0:
		return "object not taken: " + problems[0].Why
	case o.Refused > len(problems):
		return fmt.Sprintf("object with %d records not taken for %d bad ones; %s", o.Records, len(problems), problems[0])
	default:
		return fmt.Sprintf("%d of %d records rejected; %s", len(problems), o.Records, problems[0])
	}
}

// reportLines bounds a report on an object in which everything is wrong.
const reportLines = 1000

func reportText(o Object, problems []Problem) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nobject: %s\ntaken in: %d of %d records\n", o.Reason, o.Key, o.Records-o.Refused, o.Records)
	for _, p := range problems[:min(len(problems), reportLines)] {
		fmt.Fprintln(&b, p)
	}
	if more := len(problems) - reportLines; more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	return b.String()
}

// report writes what is due and returns the keys. A report that could not be written stays pending.
func (s *Standin) report(ctx context.Context) ([]string, error) {
	now := s.opt.Now()
	s.mu.Lock()
	pending := slices.Clone(s.pending)
	s.mu.Unlock()

	var keys []string
	var errs []error
	written := map[int]bool{}
	for _, v := range pending {
		if now.Before(v.due) {
			continue
		}
		s.mu.Lock()
		obj := s.objects[v.object]
		s.mu.Unlock()
		key := s.ReportKey(obj.Key, now)
		_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
			Bucket:      aws.String(s.opt.Bucket),
			Key:         aws.String(key),
			Body:        strings.NewReader(reportText(obj, v.problems)),
			ContentType: aws.String("text/plain; charset=utf-8"),
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("put %s: %w", key, err))
			continue
		}
		keys = append(keys, key)
		written[v.object] = true
		s.mu.Lock()
		s.objects[v.object].Report = key
		s.mu.Unlock()
	}
	s.mu.Lock()
	s.pending = slices.DeleteFunc(s.pending, func(v verdict) bool { return written[v.object] })
	s.mu.Unlock()
	return keys, errors.Join(errs...)
}
