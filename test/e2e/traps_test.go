package e2e

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/amberflo"
	"out_amberflo/test/encode"
	"out_amberflo/test/fluentbit"
	"out_amberflo/test/logbook"
)

func TestFluentBitsDaemonIsToldWhyItDoesNotStart(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		args []string // of Fluent Bit
		line string   // in [SERVICE]
	}{
		{"by -d", []string{"-d"}, "Flush 1"},
		{"by Daemon On", nil, "Daemon On"},
		{"with a log file", []string{"-d", "-l", "LOG"}, "Flush 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, realFluentBit)
			// With a second output, which Fluent Bit exits without having started it: into Go, if nothing is in front.
			conf := "[SERVICE]\n    " + test.line + "\n[INPUT]\n    Name dummy\n" + b.section() + b.section("store_dir "+b.path("other"))
			args := []string{fluentBit, "-e", b.plugin, "-c", b.write("conf", []byte(conf))}
			for _, a := range test.args {
				args = append(args, strings.Replace(a, "LOG", b.path("log-file"), 1))
			}
			began := time.Now()
			p := b.execute("log", nil, args...)
			p.wait() // for the daemon too: it has our end of the log
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %s to end", took)
			}
			const why = "not started: want Fluent Bit in the foreground, got its daemon mode (-d, Daemon On)"
			b.wantLog(p.Log.String(), "[error] [output:amberflo]", why, "set Daemon Off")
			if content := b.files(b.path())["log-file"]; len(test.args) > 1 && logbook.Count(content, why) != 1 {
				t.Errorf("the log file does not tell:\n%s", content)
			}
		})
	}
}

func TestAHostThatOffersTooLittleIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, bundledHost)
	if out, err := exec.Command("gcc", "-Wall", "-Wextra", "-Werror", "-o", b.path("poor"), "testdata/poor.c", "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	cmd := exec.Command(b.path("poor"), b.plugin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if want := "init 0 0 0 0 0\nflush 2 2 2\nexit 1 1\n"; err != nil || string(out) != want {
		t.Errorf("got %q, %v, want %q; stderr:\n%s", out, err, want, &stderr)
	}
	if n := logbook.Count(stderr.String(), "[error] [output:amberflo] not started: want a program with Fluent Bit's interface"); n != 5 {
		t.Errorf("%d lines that say why, want 5:\n%s", n, &stderr)
	}
	if strings.Contains(stderr.String(), "panic") {
		t.Errorf("it came to a panic:\n%s", &stderr)
	}
}

func TestEveryFluentBitsEventsAndDefinitionsAreUnderstood(t *testing.T) {
	t.Parallel()
	const ext = "\xd7\x00\x69\xa7\xc0\x2c\x05\x4e\x08\x40"
	event := func(header any) []byte {
		return encode.Value(nil, []any{header, encode.Wide{Value: record{"customerId", "acme", "meterApiName", "ApiCalls", "meterValue", 2}}})
	}
	formats := []struct {
		name  string
		event []byte
	}{
		{"time, metadata and record", event([]any{encode.Raw(ext), record{}})},
		{"time and record", event(encode.Raw(ext))},
		{"a whole number as time", event(0x69a7c02c)},
		{"a float as time", event(1772535852.089)},
	}
	for _, abi := range []string{"2.1", "4.2.3", "5.1.1"} {
		for _, threads := range []string{"1", "4"} {
			t.Run("of "+abi+" with "+threads+" threads", func(t *testing.T) {
				t.Parallel()
				b := newBench(t, bundledHost)
				b.args = []string{"--abi", abi, "--threads", threads, "--scribble"}
				var in input
				for _, f := range formats {
					in.chunks = encode.Frame(in.chunks, tag, bytes.Repeat(f.event, 25))
				}
				b.run(in, b.section())
				b.wantUsage(map[string]string{"ApiCalls": "100 200"})
				if found := b.rejected(); len(found) > 0 {
					t.Errorf("rejected: %+v", found)
				}
				b.wantDelivered()
			})
		}
	}
}

func TestAnyNumberOfWorkersDeliversTheSame(t *testing.T) {
	t.Parallel()
	in, truth := accessLog(t, accesslog.Options{Lines: 3000, Seed: 12, Bad: 0.05}, accesslog.Chunks{Records: 50})
	for _, workers := range []string{"0", "1", "4"} {
		t.Run(workers, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, realFluentBit)
			log := b.run(in, b.section(append(accessMapping, "Workers "+workers)...))
			b.wantBill(truth.Bill)
			b.wantRejected(truth)
			b.wantDelivered()
			if n := logbook.Count(log, "[ info] [output:amberflo:amberflo.0] worker #"); (n > 0) != (workers != "0") {
				t.Errorf("%d lines of workers that start, with Workers %s", n, workers)
			}
		})
	}
}

func TestAConfigurationInYAMLDoesTheSame(t *testing.T) {
	t.Parallel()
	b := newBench(t, realFluentBit)
	in, truth := accessLog(t, accesslog.Options{Lines: 1000, Seed: 13, Bad: 0.05}, accesslog.Chunks{Records: 50})
	b.write("input", in.lines)
	conf := fmt.Sprintf(`service:
  flush: 0.2
  parsers_file: %s
pipeline:
  inputs:
    - name: tail
      path: %s
      tag: %s
      parser: json
      read_from_head: on
      exit_on_eof: on
  outputs:
    - name: amberflo
      match: '*'
      bucket: %s
      region: %s
      endpoint: %s
      store_dir: %s
      customer_id: $tenant
      meter_api_name: $api
      meter_value: $bytes
      dimensions: method, status
      workers: 2
      retry_limit: no_limits
`, b.write("parsers.conf", []byte(fluentbit.Parsers)), b.path("input"), tag, b.server.Bucket, b.server.Region, b.endpoint, b.path("spool"))
	p := b.execute("log", nil, fluentBit, "-e", b.plugin, "-c", b.write("conf.yaml", []byte(conf)))
	p.finish()
	b.wantBill(truth.Bill)
	b.wantRejected(truth)
	b.wantDelivered()
}

// TestAPanicIsCaughtCountedAndNothingIsLost provokes one in each goroutine that works on what was accepted.
func TestAPanicIsCaughtCountedAndNothingIsLost(t *testing.T) {
	for _, test := range []struct{ point, where string }{
		{"offered:1", "flush"},
		{"sealed:1", "sealing"},
		{"uploaded:1", "uploading"},
		{"reason-written:1", "looking for failure reports"},
	} {
		t.Run("in "+test.where, func(t *testing.T) {
			both(t, func(t *testing.T, b *bench) {
				file, err := buildCrashing()
				if err != nil {
					t.Fatal(err)
				}
				b.allowReports()
				b.plugin, b.env = file, []string{"AMBERFLO_PANIC=" + test.point}
				section := b.section("upload_timeout 200ms", "max_records 100", "shutdown_timeout 1s")
				if test.where == "looking for failure reports" {
					b.run(counted(300, 20), section)
					s := b.server.Standin(amberflo.Options{RefuseWhole: true, Meters: []string{}})
					sum, err := s.Round(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					p := b.start(input{}, section)
					b.until("every refused object to be in failed/", func() bool { return len(b.spool("failed")) == 2*sum.Objects })
					b.wantPanic(p.stop(), test.where)
					return
				}
				p := b.start(counted(300, 20), section)
				p.await("internal error (bug), please report it: panic in " + test.where)
				b.untilBilled(300)
				b.wantPanic(p.stop(), test.where)
				b.env = nil
				b.run(input{}, section)
				b.wantCounted(300)
				b.wantDelivered()
			})
		})
	}
}

// wantPanic wants it told once, with its stack, and counted where the host shows counters.
func (b *bench) wantPanic(log, where string) {
	b.Helper()
	if n := logbook.Count(log, "[error] [output:amberflo:amberflo.0]", "internal error (bug), please report it: panic in "+where+": provoked at"); n != 1 {
		b.Errorf("%d lines that tell of the panic, want 1; log:\n%s", n, log)
	}
	b.wantLog(log, "[error] [output:amberflo:amberflo.0]", "disk.Crash")
	if b.program == bundledHost {
		b.wantLog(log, "[ info] [output:amberflo:amberflo.0] counters", " panics_total=1")
	}
}
