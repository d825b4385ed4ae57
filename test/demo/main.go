// Command demo is the main job, start to end, on this machine: an access log goes through the plugin
// into a real S3 server that takes nothing without the required ACL, and comes out as a bill. It exits
// with 1 if the bill is not what the log says, to the last unit.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/amberflo"
	"out_amberflo/test/fluentbit"
	"out_amberflo/test/s3server"
)

// lines is what the demo logs; one in 100 cannot be metered.
var lines = accesslog.Options{Lines: 6000, Seed: 7, Bad: 0.01, Odd: 0.01, Start: time.Now().Add(-time.Hour).UTC()}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "amberflo-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	server, err := s3server.Start(ctx, s3server.Options{ReadReports: true})
	if err != nil {
		return err
	}
	defer server.Stop()
	h, err := newHost(dir, server)
	if err != nil {
		return err
	}
	fmt.Printf("bucket   s3://%s on versitygw at %s; its owner lets the writer put with the ACL\n"+
		"         bucket-owner-full-control only, and read failure reports\nhost     %s\n", server.Bucket, server.Endpoint, h.name)

	truth, err := h.deliver(ctx, "first", lines, h.section("$api"))
	if err != nil {
		return err
	}
	standin := amberflo.New(amberflo.Options{
		Endpoint: server.Endpoint, Region: server.Region, Bucket: server.Bucket, Meters: metersOf(truth),
		Credentials: credentials.NewStaticCredentialsProvider(server.Owner.AccessKey, server.Owner.SecretKey, ""),
	})
	if _, err := standin.Round(ctx); err != nil {
		return err
	}
	objects, bill := standin.Objects(), standin.Bill()
	fmt.Println("\nobjects in the bucket, read as its owner:")
	if err := amberflo.WriteObjects(os.Stdout, objects); err != nil {
		return err
	}
	if len(objects) > 0 {
		fmt.Printf("\na record as it stands in the object:\n%s\n", objects[0].First)
	}
	fmt.Println("\nthe bill, added up by a reader that plays Amberflo:")
	if err := amberflo.WriteBill(os.Stdout, bill); err != nil {
		return err
	}
	rejected, err := showRejects(filepath.Join(dir, "spool", "rejected"))
	if err != nil {
		return err
	}
	if err := check(truth, bill, rejected); err != nil {
		return err
	}
	fmt.Printf("\nThe bill is what the log says, to the last unit: %d records metered, %d set aside, none lost, none counted twice.\n", truth.Metered, rejected)
	return refuseAndResend(ctx, h, standin, truth)
}

// refuseAndResend is the second act: a meter that Amberflo does not know yet.
func refuseAndResend(ctx context.Context, h *host, standin *amberflo.Standin, truth accesslog.Truth) error {
	fmt.Print("\n--- Then 300 lines for two outputs that share a spool: the meters above, and a new one, ExportReport, which nobody has\n" +
		"    defined at Amberflo. It takes one half of the object, and refuses the other.\n\n")
	log := accesslog.Options{Lines: 300, Seed: 8, Start: time.Now().Add(-time.Minute).UTC()}
	known, err := h.deliver(ctx, "second", log, h.section("$api"), h.section("ExportReport"))
	if err != nil {
		return err
	}
	log.Meter = "ExportReport" // the same log, metered by the other output
	unknown, err := accesslog.WriteLines(io.Discard, log)
	if err != nil {
		return err
	}
	if _, err := standin.Round(ctx); err != nil {
		return err
	}
	fmt.Println("\nAmberflo writes a failure report into the bucket, which the plugin finds:")
	waiting, err := h.start(ctx)
	if err != nil {
		return err
	}
	defer waiting.stop()
	if err := waiting.until(ctx, "Amberflo refused an object"); err != nil {
		return err
	}
	waiting.show()
	fmt.Println("\nmeterctl ls")
	if err := h.meterctl(ctx, "ls"); err != nil {
		return err
	}
	standin.Define("ExportReport")
	fmt.Println("\nThe meter is defined, and one command sends the object again. meterctl resend --all")
	if err := h.meterctl(ctx, "resend", "--all"); err != nil {
		return err
	}
	if err := waiting.stop(); err != nil {
		return err
	}
	if _, err := standin.Round(ctx); err != nil {
		return err
	}
	truth.Bill = addUp(truth.Bill, known.Bill, unknown.Bill)
	bill := standin.Bill()
	if bill.Refused != unknown.Metered || bill.Duplicates != known.Metered {
		return fmt.Errorf("want %d records refused the first time and %d discarded the second, got %d and %d",
			unknown.Metered, known.Metered, bill.Refused, bill.Duplicates)
	}
	bill.Refused, bill.Duplicates = 0, 0
	if err := check(truth, bill, truth.Rejected()); err != nil {
		return err
	}
	fmt.Printf("\nThe %d records of ExportReport are on the bill. The other %d came a second time, and Amberflo discarded them by their ids.\n"+
		"The bill is again what the logs say, to the last unit.\n", unknown.Metered, known.Metered)
	return nil
}

// addUp adds bills by customer and meter.
func addUp(bills ...[]accesslog.Line) (sum []accesslog.Line) {
	for _, bill := range bills {
		for _, l := range bill {
			i := slices.IndexFunc(sum, func(s accesslog.Line) bool { return s.Customer == l.Customer && s.Meter == l.Meter })
			if i < 0 {
				sum = append(sum, l)
				continue
			}
			a, _ := new(big.Rat).SetString(sum[i].Usage)
			b, _ := new(big.Rat).SetString(l.Usage)
			sum[i].Events += l.Events
			sum[i].Usage = amberflo.Decimal(a.Add(a, b))
		}
	}
	return sum
}

func metersOf(t accesslog.Truth) (meters []string) {
	for _, l := range t.Bill {
		if !slices.Contains(meters, l.Meter) {
			meters = append(meters, l.Meter)
		}
	}
	return meters
}

// host runs the plugin: Fluent Bit, or the bundled host where there is none.
type host struct {
	name, program, dir string
	fluentBit          bool
	root               string
	server             *s3server.Server
}

func newHost(dir string, server *s3server.Server) (*host, error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	program, err := fluentbit.Program()
	if err != nil {
		return nil, err
	}
	h := &host{dir: dir, root: root, server: server, program: program}
	if h.fluentBit = h.program != ""; h.fluentBit {
		h.name = "Fluent Bit: " + h.program
	} else {
		h.program = filepath.Join(root, "bin", "amberflo-host")
		h.name = "the bundled one, because there is " + fluentbit.Missing
	}
	parsers := "[PARSER]\n    Name json\n    Format json\n    Time_Key time\n    Time_Format %Y-%m-%dT%H:%M:%S.%LZ\n"
	return h, os.WriteFile(filepath.Join(dir, "parsers.conf"), []byte(parsers), 0o600)
}

// section is what a user writes.
func (h *host) section(meter string) string {
	return fmt.Sprintf(`[OUTPUT]
    Name            amberflo
    Match           *
    bucket          %s
    region          %s
    endpoint        %s
    store_dir       %s
    customer_id     $tenant
    meter_api_name  %s
    meter_value     $bytes
    dimensions      method, status, region
    Workers         1
    Retry_Limit     no_limits
`, h.server.Bucket, h.server.Region, h.server.Endpoint, filepath.Join(h.dir, "spool"), meter)
}

// command is the host with an [INPUT] and that [OUTPUT].
func (h *host) command(ctx context.Context, input, output string, args ...string) (*exec.Cmd, error) {
	conf := filepath.Join(h.dir, "demo.conf")
	text := fmt.Sprintf("[SERVICE]\n    Flush 0.2\n    Grace 5\n    Parsers_File %s\n\n%s\n%s", filepath.Join(h.dir, "parsers.conf"), input, output)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, h.program, append([]string{"-e", filepath.Join(h.root, "out_amberflo.so"), "-c", conf}, args...)...)
	cmd.Env = append(os.Environ(), h.server.Env(h.server.Writer)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd, nil
}

// deliver writes a log, sends it through the plugin and returns what the bill must be.
func (h *host) deliver(ctx context.Context, name string, opt accesslog.Options, sections ...string) (accesslog.Truth, error) {
	input := filepath.Join(h.dir, name+".log")
	var truth accesslog.Truth
	var cmd *exec.Cmd
	var err error
	output := strings.Join(sections, "\n")
	if h.fluentBit {
		if truth, err = writeTo(input, func(w *bufio.Writer) (accesslog.Truth, error) { return accesslog.WriteLines(w, opt) }); err == nil {
			cmd, err = h.command(ctx, fmt.Sprintf("[INPUT]\n    Name tail\n    Path %s\n    Tag app.access\n    Parser json\n    Read_from_Head on\n    Exit_On_Eof on\n", input), output)
		}
	} else {
		truth, err = writeTo(input, func(w *bufio.Writer) (accesslog.Truth, error) {
			return accesslog.WriteChunks(w, opt, accesslog.Chunks{Records: 500})
		})
		if err == nil {
			cmd, err = h.command(ctx, "", output, "-")
		}
		if err == nil {
			cmd.Stdin, err = os.Open(input)
		}
	}
	if err != nil {
		return truth, err
	}
	fmt.Printf("log      %d lines of %d customers, of which %d cannot be metered\n\n%s\n", truth.Lines, 12, truth.Rejected(), output)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return truth, fmt.Errorf("%s: %w\n%s", cmd.Path, err, said.String())
	}
	fmt.Printf("It ran for %s, and the plugin said:\n", time.Since(began).Round(10*time.Millisecond))
	showLog(said.String())
	return truth, nil
}

func showLog(text string) {
	for line := range strings.Lines(text) {
		if strings.Contains(line, "[output:amberflo") && !strings.Contains(line, "worker #") {
			fmt.Print("  ", line)
		}
	}
}

// running is a host that waits for input.
type running struct {
	cmd   *exec.Cmd
	stdin io.Closer
	mu    sync.Mutex
	said  strings.Builder
	ended chan error
	once  sync.Once
	err   error
}

func (r *running) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.said.Write(b)
}

func (h *host) start(ctx context.Context) (*running, error) {
	cmd, err := h.command(ctx, "[INPUT]\n    Name tail\n    Path "+filepath.Join(h.dir, "nothing.log")+"\n", h.section("$api"))
	if err != nil {
		return nil, err
	}
	r := &running{cmd: cmd, ended: make(chan error, 1)}
	if !h.fluentBit {
		cmd.Args = append(cmd.Args, "-")
		if r.stdin, err = cmd.StdinPipe(); err != nil {
			return nil, err
		}
	}
	cmd.Stdout, cmd.Stderr = r, r
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { r.ended <- cmd.Wait() }()
	return r, nil
}

// until waits for a line of the log.
func (r *running) until(ctx context.Context, text string) error {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		r.mu.Lock()
		found := strings.Contains(r.said.String(), text)
		r.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("the log did not say %q:\n%s", text, r.said.String())
}

func (r *running) show() {
	r.mu.Lock()
	defer r.mu.Unlock()
	showLog(r.said.String())
}

func (r *running) stop() error {
	r.once.Do(func() {
		_ = r.cmd.Process.Signal(syscall.SIGTERM)
		if r.err = <-r.ended; r.err != nil {
			r.err = fmt.Errorf("stop: %w\n%s", r.err, r.said.String())
		}
	})
	return r.err
}

func (h *host) meterctl(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(h.root, "bin", "meterctl"), append([]string{"--store-dir", filepath.Join(h.dir, "spool")}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

func writeTo(path string, write func(*bufio.Writer) (accesslog.Truth, error)) (accesslog.Truth, error) {
	f, err := os.Create(path)
	if err != nil {
		return accesslog.Truth{}, err
	}
	w := bufio.NewWriter(f)
	truth, err := write(w)
	return truth, errors.Join(err, w.Flush(), f.Close())
}

// showRejects prints the reasons and one line of each, and returns how many records were set aside.
func showRejects(dir string) (int, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.ndjson"))
	if err != nil {
		return 0, err
	}
	count, detail, total := map[string]int{}, map[string]string{}, 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(text)) {
			var r struct{ Reason, Detail string }
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				return 0, fmt.Errorf("%s: %w", name, err)
			}
			count[r.Reason]++
			detail[r.Reason] = r.Detail
			total++
		}
	}
	fmt.Println("\nset aside in rejected/, each with its record:")
	for _, reason := range slices.Sorted(maps.Keys(count)) {
		fmt.Printf("%6d  %-12s %s\n", count[reason], reason, detail[reason])
	}
	return total, nil
}

func check(truth accesslog.Truth, bill amberflo.Bill, rejected int) error {
	want := make([]amberflo.Line, 0, len(truth.Bill))
	for _, l := range truth.Bill {
		want = append(want, amberflo.Line{Customer: l.Customer, Meter: l.Meter, Events: l.Events, Usage: l.Usage})
	}
	diff := amberflo.Diff(want, bill.Lines)
	if rejected != truth.Rejected() {
		diff = append(diff, fmt.Sprintf("set aside: want %d records, got %d", truth.Rejected(), rejected))
	}
	if bill.Duplicates+bill.Conflicts+bill.Refused > 0 {
		diff = append(diff, fmt.Sprintf("want no duplicates, conflicts or refusals, got %d, %d, %d", bill.Duplicates, bill.Conflicts, bill.Refused))
	}
	if len(diff) > 0 {
		return fmt.Errorf("the bill is not what the log says:\n  %s", strings.Join(diff, "\n  "))
	}
	return nil
}
