package conf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"out_amberflo/test/encode"
	"out_amberflo/test/fluentbit"
)

const appID = "9FBBEDED80595912588FF4FF"

// vehicleKey is High Mobility's documented form: <app-id>/<version>/<year>/<month>/<day>/<time>-<hash>.json,
// for example 9FBBEDED80595912588FF4FF/level13/2022/11/18/14-11-23-699000000-c0d010d5.json.
var vehicleKey = regexp.MustCompile(`^[0-9A-F]{24}/level13/(\d{4}/\d\d/\d\d/\d\d-\d\d-\d\d)-\d{9}-[0-9a-f]{8}\.json$`)

// messages makes n messages, all different.
func messages(n int) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = map[string]any{
			"message_id": fmt.Sprintf("%064x", i), "version": json.Number("1"), "vin": fmt.Sprintf("TESTVIN%010d", i%7),
			"capability": "diagnostics", "property": "odometer",
			"data": map[string]any{"diagnostics": map[string]any{"odometer": map[string]any{
				"data":      map[string]any{"unit": "kilometers", "value": json.Number(fmt.Sprintf("%d.25", 50000+i))},
				"timestamp": "2026-11-20T10:00:00.250Z",
			}}},
		}
	}
	return list
}

func TestVehicleDataIsDeliveredAsDocumented(t *testing.T) {
	const conf = "high-mobility-delivery.conf"
	sent := messages(2500)
	t.Run("through the host", func(t *testing.T) {
		t.Parallel()
		s, began := newSite(t), time.Now()
		var chunks [][]byte
		for part := range slices.Chunk(sent, 300) {
			var chunk []byte
			for _, m := range part {
				chunk = encode.Event(chunk, time.Now(), nil, m)
			}
			chunks = append(chunks, chunk)
		}
		if _, err := s.viaHost(conf, "vehicle.data", chunks...); err != nil {
			t.Fatal(err)
		}
		checkVehicleObjects(s, sent, began)
	})
	t.Run("posted to Fluent Bit", func(t *testing.T) {
		fluentbit.Needed(t)
		t.Parallel()
		s, began := newSite(t), time.Now()
		parts := slices.Collect(slices.Chunk(sent, 500))
		s.viaFluentBit(conf, len(sent), func() error {
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
		checkVehicleObjects(s, sent, began)
	})
}

func checkVehicleObjects(s *site, sent []any, began time.Time) {
	t := s.t
	t.Helper()
	// The object that was opened first is first by key too: time stands before the hash.
	var sizes []int
	var got []any
	for _, o := range s.objects() {
		m := vehicleKey.FindStringSubmatch(o.key)
		if m == nil || !strings.HasPrefix(o.key, appID+"/") {
			t.Errorf("key %s, want one like %s", o.key, vehicleKey)
			continue
		}
		at, err := time.Parse("2006/01/02/15-04-05", m[1])
		if err != nil || at.Before(began.Truncate(time.Second)) || at.After(time.Now()) {
			t.Errorf("key %s: want the time at which it was opened, between %s and now", o.key, began.UTC())
		}
		sizes = append(sizes, len(o.records))
		for _, raw := range o.records {
			got = append(got, decode(t, raw))
		}
	}
	if slices.Max(sizes) > 1000 || len(sizes) > 2*len(sent)/1000 { // an object ends where the next chunk would not fit
		t.Errorf("messages per object %v, want at most 1000, and few objects", sizes)
	}
	if len(got) != len(sent) {
		t.Fatalf("%d messages, want %d", len(got), len(sent))
	}
	for i := range sent {
		if !reflect.DeepEqual(got[i], sent[i]) {
			t.Fatalf("message %d\n got %v\nwant %v", i, got[i], sent[i])
		}
	}
	if body, err := s.server.Get(t.Context(), startupCheckKey); err != nil || len(body) == 0 {
		t.Errorf("the test file is not there: %v", err)
	}
}

func TestVehicleDataDeliveryDoesNotStartWithoutItsTestFile(t *testing.T) {
	const conf = "high-mobility-delivery.conf"
	refused := func(t *testing.T) *site {
		t.Helper()
		s := newSite(t)
		if err := s.server.SetPolicy(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		return s
	}
	check := func(t *testing.T, s *site, said string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("it started without the right to put")
		}
		for _, want := range []string{"not started: startup_check put: ", startupCheckKey, "grant s3:PutObject"} {
			if !strings.Contains(said, want) {
				t.Errorf("want %q in what it says, got:\n%s", want, said)
			}
		}
		if objects := s.objects(); len(objects) != 0 {
			t.Errorf("%d objects, want none", len(objects))
		}
	}
	t.Run("through the host", func(t *testing.T) {
		t.Parallel()
		s := refused(t)
		said, err := s.viaHost(conf, "vehicle.data", encode.Event(nil, time.Now(), nil, messages(1)[0]))
		check(t, s, said, err)
	})
	t.Run("in Fluent Bit", func(t *testing.T) {
		fluentbit.Needed(t)
		t.Parallel()
		s := refused(t)
		p := s.start(fluentbit.Needed(t), "-e", built(t, "out_amberflo.so"), "-c", s.install(conf))
		err := p.Succeeded(patience)
		check(t, s, p.Log.String(), err)
	})
}

// Objects that are opened within one chunk have equal times unless the spool sees to it, and equal
// hashes if the messages are equal: their keys would be the same.
func TestEqualMessagesGoIntoObjectsOfTheirOwn(t *testing.T) {
	s := newSite(t)
	event := encode.Event(nil, time.Now(), nil, messages(1)[0])
	if _, err := s.viaHost("high-mobility-delivery.conf", "vehicle.data", bytes.Repeat(event, 2000)); err != nil {
		t.Fatal(err)
	}
	if got, want := s.delivered(), 2000; got != want {
		t.Errorf("%d messages in the bucket, want %d", got, want)
	}
}
