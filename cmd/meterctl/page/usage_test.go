package page

import (
	"fmt"
	"testing"

	"out_amberflo/cmd/meterctl/ledger"
)

func TestUsageWidensItsSpansAndLosesNothing(t *testing.T) {
	u := newUsage()
	d := &ledger.Reader{}
	for i := range 3000 {
		r, unlike := d.Parse([]byte(fmt.Sprintf(`{"customerId":"c%d","meterApiName":"M","meterValue":0.1,"meterTimeInMillis":%d,"records":2}`, i%7, -5_000_000+int64(i)*3_333_333)))
		if unlike != "" {
			t.Fatal(unlike)
		}
		u.add(r)
	}
	all := ledger.Sum{}
	for _, s := range u.cells {
		all.AddSum(s)
	}
	if ledger.ValueText(all.Value) != "300" || all.Records != 6000 || len(u.spans) > mostSpans || u.widthText() != "7 days" {
		t.Errorf("got %s of %d records in %d spans of %s", ledger.ValueText(all.Value), all.Records, len(u.spans), u.widthText())
	}
	s := u.seriesOf(u.meters(), 3)[0]
	of := ledger.Sum{}.Value
	for _, row := range s.values {
		for _, v := range row {
			of = of.Add(v)
		}
	}
	if ledger.ValueText(of) != "300" || len(s.values) != 4 {
		t.Errorf("the chart has %s in %d rows", ledger.ValueText(of), len(s.values))
	}
}

func TestAnAxisHasShortNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.5: "0.5", 400: "400", 2000: "2 k", 4e16: "40 P", 1e18: "1 E", 1e25: "1e+07 E"} {
		if got := axisText(v); got != want {
			t.Errorf("%v: got %q, want %q", v, got, want)
		}
	}
}
