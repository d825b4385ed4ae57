package conf

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"out_amberflo/test/amberflo"
	"out_amberflo/test/encode"
	"out_amberflo/test/fault"
	"out_amberflo/test/fluentbit"
)

// properties of a vehicle, as capability and property; those of doors are lists of values.
var properties = [][2]string{{"diagnostics", "odometer"}, {"doors", "positions"}, {"charging", "battery_level"}}

// vehicleUse makes n messages of three vehicles, and the bill that follows from them.
func vehicleUse(n int) (list []any, bill []amberflo.Line) {
	events := map[[3]string]int{}
	for i := range n {
		vin, of := fmt.Sprintf("TESTVIN%010d", i%3), properties[i*i%7%3]
		value := func(second int) any {
			return map[string]any{"data": map[string]any{"value": json.Number(fmt.Sprint(i))},
				"timestamp": time.Date(2026, 11, 20, 10, 0, second, i*1e6, time.FixedZone("", 3600)).Format(time.RFC3339Nano)}
		}
		found := value(i % 60)
		if of[0] == "doors" {
			found = []any{found, value((i + 7) % 60)}
		}
		list = append(list, map[string]any{
			"message_id": fmt.Sprintf("%064x", i), "version": json.Number("1"), "vin": vin, "capability": of[0], "property": of[1],
			"data": map[string]any{of[0]: map[string]any{of[1]: found}},
		})
		events[[3]string{vin, of[0], of[1]}]++
	}
	for k, n := range events {
		bill = append(bill, amberflo.Line{Customer: k[0], Meter: "VehicleDataMessages", Events: n, Usage: fmt.Sprint(n),
			Dimensions: map[string]string{"vin": k[0], "capability": k[1], "property": k[2]}})
	}
	return list, bill
}

func TestAVehicleMessageThatIsDeliveredTwiceIsBilledOnce(t *testing.T) {
	const conf = "high-mobility-metering.conf"
	sent, bill := vehicleUse(600)
	t.Run("through the host", func(t *testing.T) {
		t.Parallel()
		s := newSite(t)
		var chunks [][]byte
		for round := range 2 {
			for part := range slices.Chunk(sent, 250-round) { // not the same chunks again
				var chunk []byte
				for _, m := range part {
					chunk = encode.Event(chunk, time.Now(), nil, m)
				}
				chunks = append(chunks, chunk)
			}
		}
		if _, err := s.viaHost(conf, "vehicle.data", chunks...); err != nil {
			t.Fatal(err)
		}
		checkBilledOnce(s, len(sent), bill)
	})
	t.Run("posted to Fluent Bit", func(t *testing.T) {
		fluentbit.Needed(t)
		t.Parallel()
		s := newSite(t)
		parts := slices.Collect(slices.Chunk(append(slices.Clone(sent), sent...), 200))
		s.viaFluentBit(conf, 2*len(sent), func() error {
			for len(parts) > 0 {
				body, err := json.Marshal(parts[0])
				if err != nil {
					t.Fatal(err)
				}
				if err := s.post(httpInput, body); err != nil {
					return err
				}
				parts = parts[1:]
			}
			return nil
		})
		checkBilledOnce(s, len(sent), bill)
	})
}

func checkBilledOnce(s *site, messages int, want []amberflo.Line) {
	t := s.t
	t.Helper()
	bill := s.bill("vin", "capability", "property")
	for _, diff := range amberflo.Diff(want, bill.Lines) {
		t.Errorf("bill: %s", diff)
	}
	if bill.Billed != messages || bill.Duplicates != messages || bill.Conflicts+bill.Refused+bill.WithoutID != 0 {
		t.Errorf("want %d records billed, as many duplicates and nothing else, got %+v", messages, bill)
	}
}

func TestNothingIsStoredBeforeTheTestFile(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	proxy, err := fault.Start(fault.Options{Target: s.server.Endpoint})
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	s.server.Endpoint = proxy.URL
	if _, err := s.viaHost("high-mobility-delivery.conf", "vehicle.data", encode.Event(nil, time.Now(), nil, messages(1)[0])); err != nil {
		t.Fatal(err)
	}
	var put []string
	for _, r := range proxy.Requests() {
		if r.Method == http.MethodPut && r.Status == http.StatusOK {
			put = append(put, strings.TrimPrefix(r.Path, "/"+s.server.Bucket+"/"))
		}
	}
	if len(put) != 2 || put[0] != startupCheckKey || !vehicleKey.MatchString(put[1]) {
		t.Errorf("stored %q, want %s and then an object", put, startupCheckKey)
	}
}
