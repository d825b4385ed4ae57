package host

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"out_amberflo/test/fluentbit"
)

// patience is how long what takes a moment may take.
const patience = 30 * time.Second

func TestAfterAKillExactlyTheRestIsDelivered(t *testing.T) {
	b := newBench(t)
	args := []string{"-e", toyPlugin, "-p", "sleep=10", "--threads", "2", "--ack-file", b.path("acks"), "--skip-acked", b.path("acks")}
	const n = 30
	for i := range n {
		args = append(args, b.write(fmt.Sprintf("chunk%02d", i), strings.Repeat("x", i)))
	}
	p := b.start(nil, hostProgram, args...)
	b.must(p.Until(patience, "a few acknowledgements", func() bool { return len(b.read("acks")) >= 5 }))
	p.Kill()

	before := len(b.read("acks"))
	r := b.run(args[2:]...)
	r.want(t, 0, map[string]float64{"skipped": float64(before), "ok": float64(n - before)})
	acks := b.read("acks")
	slices.Sort(acks)
	if acks = slices.Compact(acks); len(acks) != n {
		t.Errorf("%d different acknowledgements, want %d", len(acks), n)
	}
	for i := range n {
		if want := fmt.Sprintf("%d app.log %d", i, i); !slices.Contains(acks, want) {
			t.Errorf("no acknowledgement %q", want)
		}
	}
	b.run(args[2:]...).want(t, 0, map[string]float64{"skipped": n, "ok": 0})
}

func TestAChunkForTwoOutputsIsAcknowledgedWhenBothHaveIt(t *testing.T) {
	b := newBench(t)
	conf := b.write("conf", "[OUTPUT]\n Name amberflo\n Match *\n[OUTPUT]\n Name amberflo\n Match *\n answer ${ANSWER}\n")
	chunk := b.write("chunk", "c")
	for _, test := range []struct {
		answer string
		acks   int
	}{{"0", 0}, {"1", 1}} {
		b.env = []string{"ANSWER=" + test.answer}
		r := b.run("-c", conf, "--ack-file", b.path("acks"), chunk)
		r.want(t, 0, map[string]float64{"chunks": 1})
		if got := len(b.read("acks")); got != test.acks {
			t.Errorf("second output answers %s: %d acknowledgements, want %d", test.answer, got, test.acks)
		}
	}
}

func TestAnAckFileOfOtherInputIsRefused(t *testing.T) {
	b := newBench(t)
	r := b.run("--skip-acked", b.write("acks", "0 app.log 9\n"), b.write("chunk", "c"))
	r.want(t, 1, nil)
	if want := "chunk 0 has 9 bytes there, 1 here"; !strings.Contains(r.stderr, want) {
		t.Errorf("got %q, want it to hold %q", r.stderr, want)
	}
	r = b.run("--skip-acked", b.write("acks", "zero\n"), b.path("chunk"))
	r.want(t, 1, nil)
}

func TestSIGTERMStopsFeedingAndExits(t *testing.T) {
	b := newBench(t)
	var summary bytes.Buffer
	p := b.start(&summary, hostProgram, "-e", toyPlugin, "-p", "sleep=10", "--repeat", "1000000", b.write("chunk", "c"))
	b.must(p.Until(patience, "the first flushes", func() bool { return len(b.read("calls")) > 5 }))
	b.must(p.Stop(patience))
	calls := b.read("calls")
	want := []string{"preexit 0", "exit toy running=0 most=1", "unregister"}
	if got := calls[len(calls)-3:]; !slices.Equal(got, want) {
		t.Errorf("last calls %q, want %q", got, want)
	}
	if said := summary.String(); strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "chunks=") {
		t.Errorf("summary %q", said)
	}
}

const threeOutputs = `[SERVICE]
    Flush       0.2
    Grace       1
    Hot_Reload  On
[INPUT]
    Name        dummy
    Tag         app.log
[OUTPUT]
    Name        amberflo
    Match       *
    id          one
    show        ${TOY_UNSET}x
    Workers     1
[OUTPUT]
    Name        amberflo
    Match       *
    id          two
    fail        ${TOY_FAIL}
[OUTPUT]
    Name        amberflo
    Match       *
    id          three
`

// lifecycle leaves out the flushes, whose order is open.
func lifecycle(calls []string) []string {
	calls = slices.DeleteFunc(slices.Clone(calls), func(s string) bool { return strings.HasPrefix(s, "flush") })
	for i, call := range calls {
		if name, _, ok := strings.Cut(call, " running="); ok {
			calls[i] = name
		}
	}
	return calls
}

var (
	starts = []string{"register", "init one show=x match=", "init two show= match=", "init three show= match=", "prerun 1", "prerun 1", "prerun 1"}
	fails  = []string{"register", "init one show=x match=", "init two show= match=", "preexit 0", "exit one", "preexit 0", "exit without a context", "unregister"}
)

func exits(reload string) []string {
	return []string{"preexit " + reload, "exit one", "preexit " + reload, "exit two", "preexit " + reload, "exit three", "unregister"}
}

func TestAReloadRegistersExitsUnregistersInitialises(t *testing.T) {
	b := newBench(t)
	r := b.run("-c", b.write("conf", threeOutputs), "--threads", "4", "--repeat", "300", "--reload", "2", "-p", "sleep=1", b.write("chunk", "c"))
	r.want(t, 0, map[string]float64{"ok": 900, "reloads": 2})
	want := slices.Clone(starts)
	for range 2 {
		want = slices.Concat(want, []string{"register"}, exits("1"), starts[1:])
	}
	want = append(want, exits("0")...)
	if got := lifecycle(r.calls); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if r.count("exit") != 9 || strings.Contains(strings.Join(r.calls, "\n"), "running=1") {
		t.Errorf("an instance was exited under a flush: %q", r.calls)
	}
}

func TestAFailedInitEndsAsInFluentBit(t *testing.T) {
	b := newBench(t, "TOY_FAIL=yes")
	r := b.run("-c", b.write("conf", threeOutputs), b.write("chunk", "c"))
	r.want(t, 1, nil)
	if got := lifecycle(r.calls); !slices.Equal(got, fails) {
		t.Errorf("got %q\nwant %q", got, fails)
	}
	if want := "[go proxy]: plugin 'amberflo' failed to initialize"; !strings.Contains(r.stderr, want) {
		t.Errorf("got %q, want it to hold %q", r.stderr, want)
	}
}

// The lists above are what Fluent Bit itself does.
func TestFluentBitCallsAPluginInTheSameOrder(t *testing.T) {
	program := fluentbit.Needed(t) // the order was last measured with 5.1.1
	t.Run("through a reload", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		p := b.start(nil, program, "-q", "-e", toyPlugin, "-c", b.write("conf", threeOutputs))
		flushed := func(after string) func() bool {
			return func() bool {
				_, rest, ok := strings.Cut(strings.Join(b.read("calls"), "\n"), after)
				return ok && strings.Contains(rest, "flush three")
			}
		}
		b.must(p.Until(patience, "a flush", flushed("register")))
		_ = p.Cmd.Process.Signal(syscall.SIGHUP)
		b.must(p.Until(patience, "a flush after the reload", flushed("unregister")))
		b.must(p.Stop(patience))
		want := slices.Concat(starts, []string{"register"}, exits("1"), starts[1:], exits("0"))
		if got := lifecycle(b.read("calls")); !slices.Equal(got, want) {
			t.Errorf("got %q\nwant %q", got, want)
		}
	})
	t.Run("when an output fails to start", func(t *testing.T) {
		t.Parallel()
		b := newBench(t, "TOY_FAIL=yes")
		if err := b.start(nil, program, "-q", "-e", toyPlugin, "-c", b.write("conf", threeOutputs)).Succeeded(patience); err == nil {
			t.Error("fluent-bit started")
		}
		if got := lifecycle(b.read("calls")); !slices.Equal(got, fails) {
			t.Errorf("got %q\nwant %q", got, fails)
		}
	})
}
