package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"out_amberflo/cmd/meterctl/ledger"
	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/cmd/meterctl/store"
)

// status tells on one screen how a spool is.
func (a *app) status() *cobra.Command {
	var at place
	var watch, quick, asJSON bool
	every := 5 * time.Second
	times := 0
	cmd := &cobra.Command{
		Use: "status [flags]", Short: "how it is: what waits, the last upload, what needs somebody", GroupID: looks, DisableFlagsInUseLine: true,
		Long: `status tells on one screen what waits and since when, when the last upload was, how full the spool is, what was rejected and
why, and which commands are to be given. With -c CONF it knows the limits; with --watch it looks again every few seconds,
and tells how fast records come and go.

It looks at the directory only. Why the last upload failed is in Fluent Bit's log and in its metric
fluentbit_amberflo_upload_failures_total; how many records were skipped, in fluentbit_amberflo_ignored_records_total.`,
		Example:           "  meterctl status -c fluent-bit.conf\n  meterctl status --watch --every 10s\n  meterctl status --json -c fluent-bit.conf | jq .attention",
		Annotations:       looked("something needs somebody; the lines at the end say what"),
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every < time.Second {
				return fmt.Errorf("want --every with at least 1s, got %s", every)
			}
			found, err := at.find()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			if watch { // an interrupt ends the wait, a second one whatever it does
				var stop context.CancelFunc
				ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
				context.AfterFunc(ctx, stop)
				defer stop()
			}
			c := &looker{app: a, at: found, quick: quick, counted: map[string]int{}}
			for i := 0; ; i++ {
				s, err := c.look()
				if err != nil {
					return err
				}
				if asJSON {
					err = show.JSON(a.out, s)
				} else {
					if watch && a.seen {
						fmt.Fprint(a.out, "\x1b[H\x1b[2J") // to the top of an empty screen
					} else if i > 0 {
						fmt.Fprintln(a.out)
					}
					err = s.show(a.out)
				}
				if err := errors.Join(err, a.out.Flush()); err != nil {
					return err
				}
				if !watch || i+1 == times {
					return s.verdict()
				}
				select {
				case <-ctx.Done():
					return s.verdict()
				case <-time.After(every):
				}
			}
		},
	}
	at.flags(cmd)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "look again until it is interrupted, and tell rates")
	cmd.Flags().DurationVar(&every, "every", every, "how long --watch waits between two looks, such as 10s")
	cmd.Flags().IntVar(&times, "times", 0, "end --watch after so many looks")
	cmd.Flags().BoolVarP(&quick, "no-count", "n", false, "do not count records, for which compressed objects have to be read")
	jsonFlag(cmd, &asJSON)
	return cmd
}

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
		s.Oldest = optionalTime(at)
	}
	if s.Newest == nil || f.Modified.After(*s.Newest) {
		s.Newest = optionalTime(f.Modified)
	}
}

// fill is how much of a limit is taken.
type fill struct {
	Bytes   int64    `json:"bytes"`
	Limit   *int64   `json:"limit"` // null: not known without -c CONF
	Percent *float64 `json:"percent"`
}

func filledTo(bytes, limit int64) fill {
	f := fill{Bytes: bytes}
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

// statusOf is how a spool is at one time.
type statusOf struct {
	StoreDir   string            `json:"store_dir"`
	Time       time.Time         `json:"time"`
	Stages     []*stage          `json:"directories"`
	LastUpload *time.Time        `json:"last_upload"` // null: nothing is in sent/
	Spool      fill              `json:"spool"`
	Rejected   fill              `json:"rejected"`
	Rejects    []*ledger.Rejects `json:"rejects"`
	Failed     []failedObject    `json:"failed"` // the longest there first; some of them
	Skipped    *int              `json:"skipped_records"`
	LastDone   *store.Audited    `json:"last_done_by_hand"`
	Rates      *rates            `json:"rates"`
	Attention  []string          `json:"attention"`

	by    map[string]*stage
	known bool // the limits are
	late  time.Duration
}

func (s *statusOf) verdict() error {
	if len(s.Attention) > 0 {
		return errProblems
	}
	return nil
}

// looker looks at a spool again and again.
type looker struct {
	app     *app
	at      *spoolPlace
	quick   bool
	counted map[string]int // records by path and size: a file that has not grown is not read again
	before  *glance
}

// glance is what a look leaves for the next one.
type glance struct {
	at      time.Time
	waiting map[string]store.File // outbox/, by key
	records int                   // in open/, sealing/ and outbox/
}

func (c *looker) count(f store.File) (int, error) {
	if c.quick {
		return 0, nil
	}
	// An object keeps its records wherever it goes; what a log holds of rejects grows with the log, which has another path.
	id := fmt.Sprintf("%s %d", f.Key(), f.Bytes)
	if n, seen := c.counted[id]; seen && f.Dir != store.Rejected {
		return n, nil
	}
	n, _, gone, err := store.Records(c.at.dir, f, nil)
	if !gone {
		c.counted[id] = n
	}
	return n, err
}

func (c *looker) look() (*statusOf, error) {
	files, err := c.at.files()
	if err != nil {
		return nil, err
	}
	s := &statusOf{StoreDir: c.at.dir, Time: time.Now().UTC(), by: map[string]*stage{}, Failed: []failedObject{}, Attention: []string{}, late: 10 * time.Minute}
	for _, name := range store.Directories() {
		s.by[name] = &stage{Directory: name}
		if !c.quick {
			s.by[name].Records = new(int)
		}
		s.Stages = append(s.Stages, s.by[name])
	}
	p := c.app.progress("count", store.SizeOf(files))
	defer p.End()
	now := &glance{at: time.Now(), waiting: map[string]store.File{}}
	for _, f := range files {
		directory := f.Dir
		if !f.HasRecords() || directory == store.Damaged && store.IsRescued(f) || store.CountsTwice(f, files) {
			continue
		}
		n := 0
		if directory != store.Rejected { // those are read below
			if n, err = c.count(f); err != nil {
				return nil, err
			}
		}
		p.Add(f.Bytes)
		s.by[directory].add(f, n)
		switch directory {
		case store.Outbox:
			now.waiting[f.Key()] = f
			fallthrough
		case store.Open, store.Sealing:
			now.records += n
		case store.Failed:
			reason, _, _ := strings.Cut(store.ReasonOf(c.at.dir, f), "\n")
			object := failedObject{Key: f.Key(), Since: optionalTime(f.Modified), Reason: reason}
			if !c.quick {
				object.Records = &n
			}
			s.Failed = append(s.Failed, object)
		}
	}
	p.End()
	slices.SortFunc(s.Failed, func(a, b failedObject) int { return a.Since.Compare(*b.Since) })
	s.Failed = s.Failed[:min(len(s.Failed), mostFailed)]
	s.LastUpload = s.by[store.Sent].Newest
	var rejectedBytes int64
	var rejects int
	if s.Rejects, rejects, rejectedBytes, err = ledger.ReadRejects(c.at.dir, files, c.app.notes); err != nil {
		return nil, err
	}
	s.Rejects = append([]*ledger.Rejects{}, s.Rejects...)
	if s.by[store.Rejected].Records != nil {
		*s.by[store.Rejected].Records = rejects
	}
	if list := store.ReadAuditLog(c.at.dir, 1); len(list) > 0 {
		s.LastDone = &list[0]
	}
	var limit, rejectLimit int64
	if c.at.config != nil {
		limit, rejectLimit, s.known = c.at.config.StoreDirLimit, c.at.config.RejectedLimit, true
		s.late = max(s.late, 3*c.at.config.UploadTimeout)
	}
	s.Spool = filledTo(s.by[store.Open].Bytes+s.by[store.Sealing].Bytes+s.by[store.Outbox].Bytes+s.by[store.Failed].Bytes, limit)
	s.Rejected = filledTo(rejectedBytes, rejectLimit)
	s.Rates = c.rates(now, files)
	c.before = now
	s.look()
	return s, nil
}

// rates compares two looks. What was sealed and uploaded between them is not seen where nothing is kept in sent/.
func (c *looker) rates(now *glance, files []store.File) *rates {
	if c.before == nil || c.quick {
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
		if d := f.Dir; d == store.Sent && f.HasRecords() && f.Modified.After(c.before.at) {
			seen[f.Key()] = true
			uploaded(f)
		} else if d == store.Failed || d == store.Damaged {
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

// look notes what needs somebody.
func (s *statusOf) look() {
	note := func(format string, args ...any) { s.Attention = append(s.Attention, fmt.Sprintf(format, args...)) }
	if oldest := s.by[store.Outbox].Oldest; oldest != nil && time.Since(*oldest) > s.late {
		note("uploads fail or lag: the oldest object waits since %s; Fluent Bit's log has the line upload failed, with the cause", show.Ago(*oldest))
	}
	if n := s.by[store.Failed].Files; n > 0 {
		note("Amberflo did not take %s: fix the cause, then meterctl resend --all", show.Number(n, "object"))
	}
	if n := s.by[store.Damaged].Files; n > 0 {
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
		is           fill
	}{{"the spool", "store_dir_limit_size", s.Spool}, {"rejected/", "rejected_limit_size", s.Rejected}} {
		if of.is.Percent != nil && *of.is.Percent >= 80 {
			note("%s is %.1f %% full: at %s chunks stay with Fluent Bit", of.name, *of.is.Percent, of.option)
		}
	}
}
