// Package look tells how a spool is: what waits, how full it is, and what needs somebody.
package look

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"out_amberflo/cmd/meterctl/ledger"
	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/cmd/meterctl/store"
	"out_amberflo/plugin"
	"out_amberflo/plugin/disk"
)

// stage is what lies in one directory.
type stage struct {
	Directory string     `json:"directory"`
	Files     int        `json:"files"`
	Records   *int       `json:"records"` // null: not counted
	Bytes     int64      `json:"bytes"`
	Oldest    *time.Time `json:"oldest"`
	Newest    *time.Time `json:"newest"`
}

func (s *stage) add(f store.File, records int) {
	s.Files++
	s.Bytes += f.Bytes
	if s.Records != nil {
		*s.Records += records
	}
	if at := store.Began(f); s.Oldest == nil || at.Before(*s.Oldest) {
		s.Oldest = show.OptionalTime(at)
	}
	if s.Newest == nil || f.Modified.After(*s.Newest) {
		s.Newest = show.OptionalTime(f.Modified)
	}
}

// Fill is how much of a limit is taken.
type Fill struct {
	Bytes   int64    `json:"bytes"`
	Limit   *int64   `json:"limit"` // null: not known without -c CONF
	Percent *float64 `json:"percent"`
}

func filledTo(bytes, limit int64) Fill {
	f := Fill{Bytes: bytes}
	if limit > 0 {
		percent := float64(bytes*1000/limit) / 10
		f.Limit, f.Percent = &limit, &percent
	}
	return f
}

// rates are what came and went between two looks.
type rates struct {
	Seconds         float64 `json:"seconds"`
	AcceptedRecords float64 `json:"accepted_records_per_second"`
	UploadedObjects float64 `json:"uploaded_objects_per_second"`
	UploadedRecords float64 `json:"uploaded_records_per_second"`
	UploadedBytes   float64 `json:"uploaded_bytes_per_second"`
	// SkippedRecords is null where no output that ran all the while says how many.
	SkippedRecords *float64 `json:"skipped_records_per_second"`
}

// failedObject is one that Amberflo did not take.
type failedObject struct {
	Key     string     `json:"key"`
	Records *int       `json:"records"`
	Since   *time.Time `json:"since"`
	Reason  string     `json:"reason"`
}

// mostFailed bounds the failed objects that are named.
const mostFailed = 5

// Status is how a spool is at one time.
type Status struct {
	StoreDir   string     `json:"store_dir"`
	Time       time.Time  `json:"time"`
	Stages     []*stage   `json:"directories"`
	LastUpload *time.Time `json:"last_upload"` // null: nothing is in sent/, and no output says when
	// LastFailure is null where no output says of one.
	LastFailure *plugin.UploadFailure `json:"last_failure"`
	Spool       Fill                  `json:"spool"`
	Rejected    Fill                  `json:"rejected"`
	Rejects     []*ledger.Rejects     `json:"rejects"`
	Failed      []failedObject        `json:"failed"`          // the longest there first; some of them
	Skipped     *int                  `json:"skipped_records"` // of all outputs; null: none says it
	Outputs     []*output             `json:"outputs"`
	LastDone    *store.Audited        `json:"last_done_by_hand"`
	Rates       *rates                `json:"rates"`
	Attention   []string              `json:"attention"`

	by    map[string]*stage
	known bool // the limits are
	late  time.Duration

	failing *output // whose LastFailure is
}

// Looker looks at a spool again and again.
type Looker struct {
	Dir    string
	List   func() ([]store.File, error)
	Notes  io.Writer      // for progress
	Quick  bool           // records are not counted
	Config *plugin.Config // of the output; nil: limits are not known

	// Now is time.Now where it is nil.
	Now func() time.Time

	counted map[string]int // records by path and size: a file that has not grown is not read again
	before  *glance
}

// glance is what a look leaves for the next one.
type glance struct {
	at      time.Time
	waiting map[string]store.File // outbox/, by key
	records int                   // in open/, sealing/ and outbox/
	skipped map[string]float64    // by run of an output
}

func (c *Looker) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

func (c *Looker) count(f store.File) (int, error) {
	if c.Quick {
		return 0, nil
	}
	// An object keeps its records wherever it goes; what a log holds of rejects grows with the log, which has another path.
	id := fmt.Sprintf("%s %d", f.Key(), f.Bytes)
	if n, seen := c.counted[id]; seen && f.Dir != disk.Rejected {
		return n, nil
	}
	n, _, gone, err := store.Records(c.Dir, f, nil)
	if !gone {
		if c.counted == nil {
			c.counted = map[string]int{}
		}
		c.counted[id] = n
	}
	return n, err
}

// Look looks at the spool as it is now.
func (c *Looker) Look() (*Status, error) {
	files, err := c.List()
	if err != nil {
		return nil, err
	}
	s := &Status{StoreDir: c.Dir, Time: time.Now().UTC(), by: map[string]*stage{}, Failed: []failedObject{}, Attention: []string{}, late: 10 * time.Minute}
	for _, name := range disk.Dirs {
		s.by[name] = &stage{Directory: name}
		if !c.Quick {
			s.by[name].Records = new(int)
		}
		s.Stages = append(s.Stages, s.by[name])
	}
	p := show.NewProgress(c.Notes, "count", store.SizeOf(files))
	defer p.End()
	now := &glance{at: c.now(), waiting: map[string]store.File{}}
	for _, f := range files {
		directory := f.Dir
		if !f.HasRecords() || directory == disk.Damaged && store.IsRescued(f) || !store.Counts(f, files) {
			continue
		}
		n := 0
		if in, _ := f.Place(); in != disk.Rejected { // those are read below
			if n, err = c.count(f); err != nil {
				return nil, err
			}
		}
		p.Add(f.Bytes)
		s.by[directory].add(f, n)
		switch directory {
		case disk.Outbox:
			now.waiting[f.Key()] = f
			fallthrough
		case disk.Open, disk.Sealing:
			now.records += n
		case disk.Failed:
			reason, _, _ := strings.Cut(store.ReasonOf(c.Dir, f), "\n")
			object := failedObject{Key: f.Key(), Since: show.OptionalTime(f.Modified), Reason: reason}
			if !c.Quick {
				object.Records = &n
			}
			s.Failed = append(s.Failed, object)
		}
	}
	p.End()
	slices.SortFunc(s.Failed, func(a, b failedObject) int { return a.Since.Compare(*b.Since) })
	s.Failed = s.Failed[:min(len(s.Failed), mostFailed)]
	s.LastUpload = s.by[disk.Sent].Newest
	s.outputs(c.Dir)
	now.skipped = map[string]float64{}
	for _, o := range s.Outputs {
		if o.Runs {
			now.skipped[o.id()] = o.count(ignored)
		}
	}
	var rejectedBytes int64
	var rejects int
	if s.Rejects, rejects, rejectedBytes, err = ledger.ReadRejects(c.Dir, files, c.Notes); err != nil {
		return nil, err
	}
	s.Rejects = append([]*ledger.Rejects{}, s.Rejects...)
	if s.by[disk.Rejected].Records != nil {
		*s.by[disk.Rejected].Records = rejects
	}
	if list := store.ReadAuditLog(c.Dir, 1); len(list) > 0 {
		s.LastDone = &list[0]
	}
	var limit, rejectLimit int64
	if c.Config != nil {
		limit, rejectLimit, s.known = c.Config.StoreDirLimit, c.Config.RejectedLimit, true
		s.late = max(s.late, 3*c.Config.UploadTimeout)
	}
	s.Spool = filledTo(s.by[disk.Open].Bytes+s.by[disk.Sealing].Bytes+s.by[disk.Outbox].Bytes+s.by[disk.Failed].Bytes, limit)
	s.Rejected = filledTo(rejectedBytes, rejectLimit)
	if s.Rates = c.rates(now, files); s.Rates != nil {
		if n, known := s.skippedSince(c.before); known {
			n /= s.Rates.Seconds
			s.Rates.SkippedRecords = &n
		}
	}
	c.before = now
	s.needs()
	return s, nil
}

// rates compares two looks. What was sealed and uploaded between them is not seen where nothing is kept in sent/.
func (c *Looker) rates(now *glance, files []store.File) *rates {
	if c.before == nil || c.Quick {
		return nil
	}
	seconds := now.at.Sub(c.before.at).Seconds()
	r := &rates{Seconds: seconds}
	var objects, records, bytes float64
	uploaded := func(f store.File) {
		n, _ := c.count(f)
		objects, records, bytes = objects+1, records+float64(n), bytes+float64(f.Bytes)
	}
	seen := map[string]bool{}
	for _, f := range files {
		if d := f.Dir; d == disk.Sent && f.HasRecords() && f.Modified.After(c.before.at) {
			seen[f.Key()] = true
			uploaded(f)
		} else if d == disk.Failed || d == disk.Damaged {
			seen[f.Key()] = true
		}
	}
	for key, f := range c.before.waiting {
		if _, waits := now.waiting[key]; !waits && !seen[key] {
			uploaded(f)
		}
	}
	r.UploadedObjects, r.UploadedRecords, r.UploadedBytes = objects/seconds, records/seconds, bytes/seconds
	r.AcceptedRecords = max(0, float64(now.records-c.before.records)+records) / seconds
	return r
}

// needs notes what needs somebody.
func (s *Status) needs() {
	note := func(format string, args ...any) { s.Attention = append(s.Attention, fmt.Sprintf(format, args...)) }
	if oldest := s.by[disk.Outbox].Oldest; oldest != nil && time.Since(*oldest) > s.late {
		cause := "Fluent Bit's log has the line upload failed, with the cause"
		if s.lastsNow() != nil {
			cause = "the last failure: " + s.failure()
		}
		note("uploads fail or lag: the oldest object waits since %s; %s", show.Ago(*oldest), cause)
	} else if f := s.lastsNow(); f != nil && f.NeedsYou && f.Failures > 1 {
		note("uploads fail, which does not pass by itself: %s", s.failure())
	}
	if n := s.by[disk.Failed].Files; n > 0 {
		note("Amberflo did not take %s: fix the cause, then meterctl resend --all", show.Number(n, "object"))
	}
	if n := s.by[disk.Damaged].Files; n > 0 {
		note("%s in damaged/: meterctl check says what can be read", show.Number(n, "file", " is", " are"))
	}
	if len(s.Rejects) > 0 {
		total := 0
		for _, r := range s.Rejects {
			total += r.Records
		}
		note("%s could not be metered and wait: fix the application or the mapping, then meterctl retry-rejected -c CONF", show.Number(total, "record"))
	}
	for _, of := range []struct {
		name, option string
		is           Fill
	}{{"the spool", "store_dir_limit_size", s.Spool}, {"rejected/", "rejected_limit_size", s.Rejected}} {
		if of.is.Percent != nil && *of.is.Percent >= 80 {
			note("%s is %.1f %% full: at %s chunks stay with Fluent Bit", of.name, *of.is.Percent, of.option)
		}
	}
}
