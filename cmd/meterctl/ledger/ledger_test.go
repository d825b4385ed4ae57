package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"out_amberflo/cmd/meterctl/store"
	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/journal"
	"out_amberflo/plugin/object"
	"out_amberflo/plugin/spool"
)

// lineOf is a line of customer's, at noon of 2026-11-20.
func lineOf(customer, value string) []byte {
	text, _ := json.Marshal(customer)
	return fmt.Appendf(nil, `{"customerId":%s,"meterApiName":"M","meterValue":%s,"meterTimeInMillis":1795168800000,"records":2}`, text, value)
}

// spoolOf is a spool with an object of one record and a log of one.
func spoolOf(t *testing.T) (string, *spool.Spool) {
	t.Helper()
	dir := t.TempDir()
	var s *spool.Spool
	for i := range 2 {
		var err error
		if s, err = spool.Open(spool.Options{Dir: dir, Object: object.Options{Key: func(s object.Sealed) string { return "ingest/" + s.ID.String() + ".gz" }, GzipLevel: 6},
			MaxBytes: 1 << 20, MaxAge: time.Hour, Limit: 1 << 30, Log: slog.New(slog.DiscardHandler)}); err != nil {
			t.Fatal(err)
		}
		tx, err := s.Begin(journal.Source{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		tx.Append(append(append(tx.Lines(), lineOf("acme", "1")...), '\n'), 1)
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if err := errors.Join(s.Drain(t.Context()), s.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Cleanup(func() { _ = s.Close() })
	return dir, s
}

func TestWhatIsBeingSealedIsAddedUpOnce(t *testing.T) {
	files := []store.File{
		{Dir: disk.Open, Path: "open/0199f1b2-0000-7000-8000-000000000000.log"},
		{Dir: disk.Sealing, Path: "sealing/0199f1b2-0000-7000-8000-000000000000=x.gz"},
		{Dir: disk.Sealing, Path: "sealing/0199f1b2-0000-7000-8000-000000000000@rejected=x.ndjson"},
		{Dir: disk.Sealing, Path: "sealing/0199f1b2-1111-7000-8000-000000000000=y.gz"},
		{Dir: disk.Rejected, Path: "rejected/2026-11-20/x.ndjson"}, {Dir: disk.Failed, Path: "failed/audit.ndjson"},
	}
	l := &Ledger{Files: files}
	var read []string
	for _, f := range files {
		if l.isRead(f) {
			read = append(read, f.Path)
		}
	}
	if want := []string{files[0].Path, files[3].Path}; !slices.Equal(read, want) {
		t.Errorf("got %q, want %q", read, want)
	}
}

// Beside a running plugin, objects move on between the listing and the reading.
func TestWhatMovesMeanwhileIsReadOnce(t *testing.T) {
	dir, s := spoolOf(t)
	files, err := store.Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	s.KeepSent(true)
	obj, err := s.Take(t.Context(), false)
	if err := errors.Join(err, s.Sent(obj)); err != nil {
		t.Fatal(err)
	}
	var read []string
	l := &Ledger{Dir: dir, Notes: io.Discard, List: func() ([]store.File, error) { return store.Files(dir) },
		Files: append(files, store.File{Dir: disk.Open, Path: "open/0199f1b2-0000-7000-8000-000000000000.log"})}
	l.End = func(of *Source) error { read = append(read, of.Directory); return nil }
	if err := l.readSpool(false); err != nil || !slices.Equal(read, []string{disk.Open, disk.Sent}) || l.Missed != 1 {
		t.Errorf("got %v, %q and %d missed, want the log and the object, once, and the log that is gone", err, read, l.Missed)
	}
}

func TestRecordsAreReadWhateverTheirOrder(t *testing.T) {
	d := &Reader{}
	r, unlike := d.Parse([]byte(` { "dimensions" : {"a":"}\"{","b":[1,{"c":"]"}]} , "records":12,"meterValue": -1.50e2 , "uniqueId":"u","meterApiName":"M\u00e9","customerId":"c\\\"x" , "meterTimeInMillis":5 } `))
	if unlike != "" || string(r.Customer) != `c\"x` || string(r.Meter) != "Mé" || ValueText(r.Value) != "-150" || r.Records != 12 || r.Millis != 5 || string(r.Dimensions) != `{"a":"}\"{","b":[1,{"c":"]"}]}` {
		t.Errorf("got %+v, %v", r, unlike)
	}
	for _, line := range []string{`{}`, `[]`, `5`, `{"customerId":5,"meterApiName":"m","meterValue":1}`, `{"customerId":"c","meterApiName":"m","meterValue":"1"}`, `{"customerId":"c","meterValue":1}`, `{"customerId":"c","meterApiName":"m"}`, `{"customerId":"c","meterApiName":"m","meterValue":1}`, `{"customerId":"c","meterApiName":"m","meterValue":1e999,"meterTimeInMillis":1}`} {
		if r, unlike := d.Parse([]byte(line)); unlike == "" {
			t.Errorf("%s: got %+v", line, r)
		}
	}
}

func TestManyRowsTakeNoMoreMemory(t *testing.T) {
	few, many := NewRows(), NewRows()
	few.most = 50
	defer few.Close()
	random := rand.New(rand.NewPCG(1, 2))
	d := &Reader{}
	for range 20_000 {
		customer := fmt.Sprint("c", random.IntN(3000), []string{"", "\x00", "\x00\x01", " "}[random.IntN(4)])
		r, unlike := d.Parse(lineOf(customer, []string{"0.1", "3", "-1e99", "1e-99"}[max(0, random.IntN(60)-56)]))
		if unlike != "" {
			t.Fatal(unlike)
		}
		for _, to := range []*Rows{few, many} {
			of, err := to.Of(appendPart(nil, r.Customer))
			if err != nil {
				t.Fatal(err)
			}
			of.Billed.Add(r)
		}
		if len(few.byKey) > 2*few.most { // some have too many digits to leave
			t.Fatalf("%d rows in memory", len(few.byKey))
		}
	}
	all := func(of *Rows) (text string) {
		last := ""
		if err := of.Each(func(key string, r *Row) error {
			part, rest := cutPart(key)
			if *part <= last || rest != "" {
				t.Errorf("%q follows %q, with %q", *part, last, rest)
			}
			last = *part
			text += fmt.Sprintf("%q %s %d\n", *part, ValueText(r.Billed.Value), r.Billed.Records)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return text
	}
	if a, b := all(few), all(many); a != b || len(few.runs) < 10 || len(a) < 50_000 {
		t.Errorf("%d files; in memory it is\n%.500s\nelse\n%.500s", len(few.runs), b, a)
	}
	if all(few) != all(many) {
		t.Error("the rows can be read once only")
	}
}
