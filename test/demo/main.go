// Command demo is the main job, start to end, on this machine: an access log goes through the plugin
// into a real S3 server that takes nothing without the required ACL, and comes out as a bill. It exits
// with 1 if the bill is not what the log says, to the last unit.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/amberflo"
	"out_amberflo/test/fluentbit"
)

var (
	verbose = flag.Bool("v", false, "show the configuration, what the plugin logs, each object and the whole bill")
	keep    = flag.Bool("keep", false, "keep the spool, and say what to try on it")
)

// The logs of the demo: of the first, one line in 100 cannot be metered and one is odd, of the second none. The first begins with
// an hour, so that its records lie in as many buckets whenever the demo runs.
var (
	first  = accesslog.Options{Lines: 6000, Seed: 7, Bad: 0.01, Odd: 0.01, Start: time.Now().Add(-time.Hour).Truncate(time.Hour).UTC()}
	second = accesslog.Options{Lines: 300, Seed: 8, Start: time.Now().Add(-time.Minute).UTC()}
)

// newMeter is a meter that nobody has defined at Amberflo.
const newMeter = "ExportReport"

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	d, err := open(ctx)
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = errors.New("interrupted, and all that it started has ended")
		}
		if err != nil && d != nil && *keep {
			err = fmt.Errorf("%w; what there is, is kept in %s", err, d.dir)
		}
	}()
	if err != nil {
		return err
	}
	defer d.close()
	p := d.place("ingest")
	log, err := p.meter(ctx, "an access log", first, p.section("$api"))
	if err != nil {
		return err
	}
	for _, l := range log.Bill {
		p.standin.Define(l.Meter)
	}
	got, err := p.read(ctx)
	if err != nil {
		return err
	}
	rejected, err := p.rejected()
	if err != nil {
		return err
	}
	if err := check(got.bill, log.Rejected(), rejected, log); err != nil {
		return err
	}

	again, err := addUpAgain(ctx, p, got, log)
	if err != nil {
		return err
	}
	known, unknown, err := failAndResend(ctx, p)
	if err != nil {
		return err
	}
	all, err := p.read(ctx)
	if err != nil {
		return err
	}
	if all.bill.Refused != unknown.Metered || all.bill.Duplicates != known.Metered {
		return fmt.Errorf("want %d records that Amberflo did not take the first time and %d that it discarded the second, got %d and %d",
			unknown.Metered, known.Metered, all.bill.Refused, all.bill.Duplicates)
	}
	billed := all.bill
	billed.Refused, billed.Duplicates = 0, 0
	if err := check(billed, log.Rejected(), rejected, log, known, unknown); err != nil {
		return err
	}

	page := filepath.Join(filepath.Dir(d.meterctl), "demo-report.html")
	if err := p.run(ctx, "report", "-o", page); err != nil {
		return err
	}

	showLargest(billed)
	fmt.Println()
	show("in", "%v lines: an access log of %v, then one of %v for two outputs that share a spool", first.Lines+second.Lines, first.Lines, second.Lines)
	show("metered", "%v records, each exactly once; the %v of the first log in %v object of %v bytes", log.Metered+known.Metered+unknown.Metered, log.Metered, len(got.objects), got.bytes)
	show("rejected", "%v lines that cannot be metered, kept with their reason: %v", len(rejected), reasons(rejected))
	show("failed", "%v object with %v records, half of them of a meter that Amberflo did not know, "+newMeter, all.failed, known.Metered+unknown.Metered)
	show("resent", "that object, by one command: %v records are billed, and Amberflo discarded the other %v by their ids", unknown.Metered, known.Metered)
	show("added up", "the first log again with aggregate: %v records in %v events, %v bytes instead of %v; both bills are equal, and equal to the log",
		again.records, again.events, again.added.bytes, again.each.bytes)
	show("dedup", "if Amberflo told events apart by customer, meter, time and dimensions alone, %v records would be lost, and %v of the events added up",
		again.each.byRule[1].Duplicates, again.added.byRule[1].Duplicates)
	show("bill", "what the logs say, to the last unit: %v customers, %v meters, %v records", len(addUp(billed.Lines, customer)), len(addUp(billed.Lines, meter)), billed.Billed)
	show("page", "%v shows it in a browser: usage, rejects, objects on their way", page)
	if *keep {
		fmt.Printf("\nThe spool is kept in %s. Try\n", p.spool)
		for _, args := range []string{"bill", "check", "cat " + got.objects[0].Key + " | head -3"} {
			fmt.Printf("    %s --store-dir %s %s\n", d.meterctl, p.spool, args)
		}
	}
	return nil
}

// failAndResend has a second log metered by two outputs that share a spool, of which one has a meter that Amberflo does not
// know yet. It returns what each is to be billed.
func failAndResend(ctx context.Context, p *place) (known, unknown accesslog.Truth, err error) {
	log := second
	log.Meter = newMeter // the same log, metered by the other output
	if unknown, err = accesslog.WriteLines(io.Discard, log); err != nil {
		return known, unknown, err
	}
	known, err = p.meter(ctx, "a second log, with a meter that Amberflo does not know", second, p.section("$api"), p.section(newMeter))
	if err != nil {
		return known, unknown, err
	}
	if _, err := p.standin.Round(ctx); err != nil {
		return known, unknown, err
	}
	waiting, err := p.start(ctx, nil, fluentbit.Tail(filepath.Join(p.dir, "nothing.log"), "app.access"), p.section("$api"), "--wait", "10m", "-")
	if err != nil {
		return known, unknown, err
	}
	if err := step("waiting until the plugin finds Amberflo's failure report", func() error {
		return waiting.Until(patience, "an object in failed/ and the reason beside it", func() bool {
			files, _ := filepath.Glob(filepath.Join(p.spool, "failed", p.name, "*", "*", "*"))
			return len(files) == 2
		})
	}); err != nil {
		return known, unknown, err
	}
	if err := p.run(ctx, "ls"); err != nil {
		return known, unknown, err
	}
	p.standin.Define(newMeter)
	if err := p.run(ctx, "resend", "--all"); err != nil {
		return known, unknown, err
	}
	err = step("sending the object again, now that the meter is defined", func() error { return waiting.Stop(patience) })
	showLog(waiting.Log)
	return known, unknown, err
}

// check wants a bill and rejected records that are what the logs say.
func check(bill amberflo.Bill, bad int, rejected []reject, logs ...accesslog.Truth) error {
	diff := amberflo.Diff(addUp(linesOf(logs...), func(l amberflo.Line) amberflo.Line { return l }), bill.Lines)
	if len(rejected) != bad {
		diff = append(diff, fmt.Sprintf("rejected: want %d records, got %d", bad, len(rejected)))
	}
	if bill.Duplicates+bill.Conflicts+bill.Refused > 0 {
		diff = append(diff, fmt.Sprintf("want no duplicates, conflicts or records that Amberflo does not take, got %d, %d, %d", bill.Duplicates, bill.Conflicts, bill.Refused))
	}
	if len(diff) > 0 {
		return fmt.Errorf("the bill is not what the log says:\n  %s", strings.Join(diff, "\n  "))
	}
	return nil
}
