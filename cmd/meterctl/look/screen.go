package look

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/plugin/disk"
)

// Screen writes a screen for people.
func (s *Status) Screen(w io.Writer) error {
	fmt.Fprintf(w, "%s at %s\n\n", show.Plain(s.StoreDir), s.Time.Format("2006-01-02 15:04:05 UTC"))
	t := show.Table(w)
	row := func(label, text string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", label, fmt.Sprintf(text, args...)) }
	of := func(name string) string {
		st := s.by[name]
		if st.Files == 0 {
			return "nothing"
		}
		records := "records not counted"
		if st.Records != nil {
			records = show.Count(*st.Records) + " records"
			if *st.Records == 1 {
				records = "1 record"
			}
		}
		return fmt.Sprintf("%s in %s, %s", records, show.Number(st.Files, "file"), show.Bytes(st.Bytes))
	}
	since := func(name string) string {
		if at := s.by[name].Oldest; at != nil {
			return ", since " + show.Ago(*at)
		}
		return ""
	}
	row("open", "%s%s", of(disk.Open), since(disk.Open))
	if s.by[disk.Sealing].Files > 0 {
		row("sealing", "%s%s", of(disk.Sealing), since(disk.Sealing))
	}
	row("waiting", "%s%s", of(disk.Outbox), since(disk.Outbox))
	switch {
	case s.LastUpload != nil && s.by[disk.Sent].Files > 0:
		row("last upload", "%s; in sent/, for Amberflo's verdict or an audit: %s", show.Ago(*s.LastUpload), of(disk.Sent))
	case s.LastUpload != nil:
		row("last upload", "%s; sent/ keeps nothing: the verdicts are over, or failure_reports is off", show.Ago(*s.LastUpload))
	case s.by[disk.Outbox].Files == 0:
		row("last upload", "nothing waits, and sent/ keeps nothing: the verdicts are over, or failure_reports is off")
	default:
		row("last upload", "not known: sent/ is empty")
	}
	if s.LastFailure != nil {
		row("last failure", "%s", s.failure())
	}
	row("failed", "%s%s", of(disk.Failed), since(disk.Failed))
	row("rejected", "%s%s", of(disk.Rejected), since(disk.Rejected))
	if s.by[disk.Damaged].Files > 0 {
		row("damaged", "%s in %s", show.Bytes(s.by[disk.Damaged].Bytes), show.Number(s.by[disk.Damaged].Files, "file"))
	}
	full := func(f Fill, option string) string {
		if f.Limit == nil {
			return show.Bytes(f.Bytes) + "; -c CONF tells the limit"
		}
		return fmt.Sprintf("%.1f %% of %s (%s)", *f.Percent, show.Bytes(*f.Limit), option)
	}
	row("spool full", "%s", full(s.Spool, "store_dir_limit_size"))
	row("rejected full", "%s", full(s.Rejected, "rejected_limit_size"))
	if s.Rates != nil {
		skipped := ""
		if s.Rates.SkippedRecords != nil {
			skipped = fmt.Sprintf(", %.1f records/s are skipped", *s.Rates.SkippedRecords)
		}
		row("rates", "%.1f records/s come in, %.1f records/s go out (%.2f objects/s, %s/s)%s", s.Rates.AcceptedRecords, s.Rates.UploadedRecords, s.Rates.UploadedObjects, show.Bytes(int64(s.Rates.UploadedBytes)), skipped)
	}
	for _, o := range s.Outputs {
		for i, line := range o.lines() {
			label := ""
			if i == 0 {
				label = show.Cut(o.Output.Output, 40)
			}
			row(label, "%s", line)
		}
	}
	if s.LastDone != nil {
		row("by hand", "%s of %s, %s", show.Plain(s.LastDone.Action), show.Cut(s.LastDone.Key, 80), show.Ago(s.LastDone.Time))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(s.Rejects) > 0 {
		fmt.Fprintln(w, "\nrejected, by reason")
		t := show.Table(w)
		for _, r := range s.Rejects {
			var keys []string
			for _, key := range r.Example {
				keys = append(keys, show.Cut(key, 40))
			}
			fmt.Fprintf(t, "  %s\t%s\tby %s, tag %s\tone has the keys %s\n", show.Cut(r.Reason, 40), show.Count(r.Records), cmp.Or(show.Cut(strings.Join(r.Outputs, ", "), 60), "(not known)"),
				cmp.Or(show.Cut(r.Tag, 40), "(not known)"), cmp.Or(strings.Join(keys, " "), "(not known)"))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(s.Failed) > 0 {
		fmt.Fprintln(w, "\nfailed, the longest there first")
		for _, f := range s.Failed {
			fmt.Fprintf(w, "  %s, %s: %s\n", show.Cut(f.Key, 120), show.Ago(*f.Since), show.Cut(cmp.Or(f.Reason, "no reason is known"), 160))
		}
	}
	if len(s.Attention) == 0 {
		fmt.Fprintln(w, "\nnothing needs anybody")
		return nil
	}
	fmt.Fprintln(w, "\nneeds somebody")
	for _, text := range s.Attention {
		fmt.Fprintln(w, "  "+text)
	}
	return nil
}
