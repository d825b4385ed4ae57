package e2e

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"out_amberflo/plugin"
	"out_amberflo/test/logbook"
)

// CASES B3, B4, and a key that stands twice.
func TestFluentBitRefusesWhatIsNoOption(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, classic, yaml, want string }{
		{"an unknown key", "dimension plan=$plan", "dimension: plan=$plan", "unknown configuration property 'dimension'"},
		{"a key that is nothing like one", "colour red", "colour: red", "unknown configuration property 'colour'"},
		{"a key twice", "customer_id a\n    customer_id b", "", "configuration property 'customer_id' is set 2 times"},
		{"a list", "", "dimensions: [region, plan=$plan]", "configuration property 'dimensions' is set 2 times"},
	} {
		for form, text := range map[string]string{"classic": test.classic, "yaml": test.yaml} {
			if text == "" {
				continue
			}
			t.Run(test.name+", "+form, func(t *testing.T) {
				t.Parallel()
				b := newBench(t, realFluentBit)
				name, conf := "conf.conf", "[INPUT]\n    Name dummy\n"+b.section(text)
				if form == "yaml" {
					name, conf = "conf.yaml", fmt.Sprintf("pipeline:\n  inputs:\n    - name: dummy\n  outputs:\n    - name: amberflo\n      match: '*'\n      bucket: %s\n      region: us-east-1\n      endpoint: %s\n      store_dir: %s\n      %s\n",
						b.server.Bucket, b.endpoint, b.path("spool"), text)
				}
				for _, more := range [][]string{nil, {"--dry-run"}} {
					p := b.execute("log", nil, append([]string{fluentBit, "-e", b.plugin, "-c", b.write(name, []byte(conf))}, more...)...)
					b.wantLog(p.notStarted(), test.want)
				}
			})
		}
	}
}

func TestAHotReloadWithAnUnknownKeyLeavesTheOldPipelineRunning(t *testing.T) {
	t.Parallel()
	b := newBench(t, realFluentBit)
	b.service = []string{"Hot_Reload On"}
	p := b.start(oneRecord, b.section())
	p.await("started", "bucket=")
	b.write("run1.conf", []byte("[SERVICE]\n    Hot_Reload On\n[INPUT]\n    Name dummy\n"+b.section("dimension plan=$plan")))
	p.signal(syscall.SIGHUP)
	p.await("unknown configuration property 'dimension'")
	b.until("the record of the old pipeline", func() bool { return b.opened() > 0 || len(b.objects()) > 0 })
	p.stop()
	b.wantDelivered()
}

func TestFluentBitsHelpExplainsEveryOption(t *testing.T) {
	t.Parallel()
	b := newBench(t, realFluentBit)
	out, err := exec.Command(fluentBit, "-e", b.plugin, "-o", "amberflo", "-h").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out = bytes.ReplaceAll(out, []byte("\x1b[0m"), nil)
	for _, o := range plugin.Options() {
		if !strings.Contains(string(out), "\n"+o.Key+" ") {
			t.Errorf("-h does not list %s", o.Key)
		}
	}
}

// CASES B5. Without the limit lifted, Fluent Bit gives a chunk up after its second try.
func TestNoChunkIsDroppedThoughRetryLimitIsNotSet(t *testing.T) {
	t.Parallel()
	b := newBench(t, realFluentBit)
	b.inputs = []string{"Name dummy", "Tag app", `Dummy {"customerId":"a","meterApiName":"m","meterValue":1}`, "Rate 5"}
	p := b.start(input{}, b.section("Retry_Limit", "store_dir_limit_size 1"))
	p.await("started", "Retry_Limit=no_limits")
	p.await("a chunk cannot be accepted now", "times=32")
	if log := p.stop(); logbook.Count(log, "cannot be retried") > 0 {
		t.Errorf("a chunk was given up:\n%s", log)
	}
}

// What a host does not export for Retry_Limit is told.
func TestWhereRetryLimitCannotBeSetIsTold(t *testing.T) {
	t.Parallel()
	b := newBench(t, bundledHost)
	log := b.run(oneRecord, b.section())
	b.wantLog(log, "[ warn]", "Retry_Limit cannot be set from here")
}

// test/host has the same with valgrind, without Go.
func TestOptionsAreOfferedToAHostThatHasRoomForThem(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		abi, entries string
		n            int
	}{{"2.1", "96", 0}, {"4.2.3", "96", 0}, {"5.1.1", "0", 0}, {"5.1.1", "96", len(plugin.Options())}, {"5.1.1", "104", len(plugin.Options())}} {
		t.Run(test.abi+" with entries of "+test.entries, func(t *testing.T) {
			t.Parallel()
			out, err := exec.Command(hostProgram, "-e", pluginFile, "--abi", test.abi, "--entries", test.entries, "--options").Output()
			if err != nil {
				t.Fatal(err)
			}
			if got := bytes.Count(out, []byte("\n")); got != test.n {
				t.Errorf("%d options, want %d:\n%s", got, test.n, out)
			}
			for _, o := range plugin.Options() {
				if test.n > 0 && !bytes.Contains(out, []byte(" "+o.Key+" = "+o.Default+": "+o.Help+"\n")) {
					t.Errorf("want %s with its default and help, got\n%s", o.Key, out)
				}
			}
		})
	}
}
