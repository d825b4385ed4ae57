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
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/amberflo"
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

	server, err := s3server.Start(ctx, s3server.Options{})
	if err != nil {
		return err
	}
	defer server.Stop()
	fmt.Printf("bucket      s3://%s on versitygw at %s; its owner lets the writer put, with the ACL bucket-owner-full-control only\n", server.Bucket, server.Endpoint)

	truth, err := deliver(ctx, dir, server)
	if err != nil {
		return err
	}
	standin := amberflo.New(amberflo.Options{
		Endpoint: server.Endpoint, Region: server.Region, Bucket: server.Bucket,
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
	return check(truth, bill, rejected)
}

// deliver writes the log, sends it through the plugin and returns what the bill must be.
func deliver(ctx context.Context, dir string, server *s3server.Server) (accesslog.Truth, error) {
	root, err := os.Getwd()
	if err != nil {
		return accesslog.Truth{}, err
	}
	plugin := filepath.Join(root, "out_amberflo.so")
	bit := os.Getenv("FLUENT_BIT")
	if bit == "" {
		bit, _ = exec.LookPath("fluent-bit")
	}
	output := fmt.Sprintf(`
[OUTPUT]
    Name            amberflo
    Match           *
    bucket          %s
    region          %s
    endpoint        %s
    store_dir       %s
    customer_id     $tenant
    meter_api_name  $api
    meter_value     $bytes
    dimensions      method, status, region
    Workers         1
    Retry_Limit     no_limits
`, server.Bucket, server.Region, server.Endpoint, filepath.Join(dir, "spool"))

	conf, input := filepath.Join(dir, "demo.conf"), filepath.Join(dir, "access.log")
	var truth accesslog.Truth
	var cmd *exec.Cmd
	if bit != "" {
		if truth, err = writeTo(input, func(w *bufio.Writer) (accesslog.Truth, error) { return accesslog.WriteLines(w, lines) }); err != nil {
			return truth, err
		}
		parsers := filepath.Join(dir, "parsers.conf")
		err = os.WriteFile(parsers, []byte("[PARSER]\n    Name json\n    Format json\n    Time_Key time\n    Time_Format %Y-%m-%dT%H:%M:%S.%LZ\n"), 0o600)
		output = fmt.Sprintf("[SERVICE]\n    Flush 0.2\n    Grace 5\n    Parsers_File %s\n\n[INPUT]\n    Name tail\n    Path %s\n    Tag app.access\n    Parser json\n    Read_from_Head on\n    Exit_On_Eof on\n",
			parsers, input) + output
		cmd = exec.CommandContext(ctx, bit, "-e", plugin, "-c", conf)
		fmt.Printf("host        Fluent Bit: %s\n", bit)
	} else {
		if truth, err = writeTo(input, func(w *bufio.Writer) (accesslog.Truth, error) {
			return accesslog.WriteChunks(w, lines, accesslog.Chunks{Records: 500})
		}); err != nil {
			return truth, err
		}
		cmd = exec.CommandContext(ctx, filepath.Join(root, "bin", "amberflo-host"), "-e", plugin, "-c", conf, "-")
		if cmd.Stdin, err = os.Open(input); err != nil {
			return truth, err
		}
		fmt.Println("host        the bundled one, because no fluent-bit is on PATH or in FLUENT_BIT")
	}
	if err != nil {
		return truth, err
	}
	if err := os.WriteFile(conf, []byte(output), 0o600); err != nil {
		return truth, err
	}
	fmt.Printf("log         %d lines of %d customers, of which %d cannot be metered\noutput      %s\n", truth.Lines, 12, truth.Rejected(),
		strings.ReplaceAll(strings.TrimSpace(output[strings.Index(output, "[OUTPUT]"):]), "\n", "\n            "))
	cmd.Env = append(os.Environ(), server.Env(server.Writer)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return truth, fmt.Errorf("%s: %w\n%s", cmd.Path, err, said.String())
	}
	fmt.Printf("ran for     %s; the plugin said:\n", time.Since(began).Round(10*time.Millisecond))
	for line := range strings.Lines(said.String()) {
		if strings.Contains(line, "[output:amberflo") && !strings.Contains(line, "worker #") {
			fmt.Print("            ", line)
		}
	}
	return truth, nil
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
	files, err := filepath.Glob(filepath.Join(dir, "*.ndjson"))
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
	fmt.Printf("\nThe bill is what the log says, to the last unit: %d records metered, %d set aside, none lost, none counted twice.\n", truth.Metered, rejected)
	return nil
}
