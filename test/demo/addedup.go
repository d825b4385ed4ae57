package main

import (
	"context"
	"fmt"
	"strings"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/amberflo"
)

// twice is one log billed twice, record by record and added up.
type twice struct {
	records, events int // that Amberflo gets
	each, added     result
}

// addUpAgain has the first log metered once more, into a place of its own, and checks that both bills are the log's: Amberflo's
// by every rule of which records are one that its documents can mean, but the last, and that of meterctl.
func addUpAgain(ctx context.Context, each *place, got result, log accesslog.Truth) (t twice, err error) {
	p := each.place("added-up")
	again, err := p.meter(ctx, "the access log once more, added up", first, p.section("$api", "aggregate *", "aggregate_bucket 15m"))
	if err != nil {
		return t, err
	}
	for _, l := range again.Bill {
		p.standin.Define(l.Meter)
	}
	t.each = got
	if t.added, err = p.read(ctx); err != nil {
		return t, err
	}
	t.records = log.Metered
	want := linesOf(log)
	var diff []string
	for _, of := range []struct {
		place *place
		is    result
	}{{each, t.each}, {p, t.added}} {
		for _, bill := range []amberflo.Bill{of.is.bill, of.is.byRule[0]} {
			diff = append(diff, amberflo.Diff(usageOf(want), usageOf(bill.Lines))...)
		}
		lines, events, err := of.place.bill(ctx)
		if err != nil {
			return t, err
		}
		diff = append(diff, amberflo.Diff(want, lines)...)
		if t.events = events; events != of.is.bill.Billed {
			diff = append(diff, fmt.Sprintf("want the %d events that Amberflo has from meterctl bill, got %d", of.is.bill.Billed, events))
		}
	}
	rejected, err := p.rejected()
	if err != nil {
		return t, err
	}
	if b := t.added.bill; b.Duplicates+b.Conflicts+b.Refused > 0 || len(rejected) != log.Rejected() {
		diff = append(diff, fmt.Sprintf("want %d rejected records, and no duplicates, conflicts or events that Amberflo does not take, got %d, %d, %d, %d",
			log.Rejected(), len(rejected), b.Duplicates, b.Conflicts, b.Refused))
	}
	if t.events >= t.records {
		diff = append(diff, fmt.Sprintf("want fewer events than the %d records, got %d", t.records, t.events))
	}
	if len(diff) > 0 {
		return t, fmt.Errorf("record by record and added up, the bill is not what the log says:\n  %s", strings.Join(diff, "\n  "))
	}
	return t, nil
}

// linesOf is what logs are to be billed.
func linesOf(logs ...accesslog.Truth) (lines []amberflo.Line) {
	for _, log := range logs {
		for _, l := range log.Bill {
			lines = append(lines, amberflo.Line{Customer: l.Customer, Meter: l.Meter, Events: l.Events, Usage: l.Usage})
		}
	}
	return lines
}

// usageOf is a bill without the number of events.
func usageOf(lines []amberflo.Line) (usage []amberflo.Line) {
	for _, l := range lines {
		usage = append(usage, amberflo.Line{Customer: l.Customer, Meter: l.Meter, Usage: l.Usage})
	}
	return usage
}
