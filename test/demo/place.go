package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/amberflo"
	"out_amberflo/test/fluentbit"
	"out_amberflo/test/s3server"
)

// patience is how long a program may take for what takes seconds.
const patience = 2 * time.Minute

// demo is what all its parts share: a directory, a bucket, and the program that loads the plugin.
type demo struct {
	dir              string
	server           *s3server.Server
	program          string // Fluent Bit, or the bundled host
	fluentBit        bool
	plugin, meterctl string
}

func open(ctx context.Context) (d *demo, err error) {
	d = &demo{}
	d.plugin, err = fluentbit.Built("out_amberflo.so")
	if err == nil {
		d.meterctl, err = fluentbit.Built("bin/meterctl")
	}
	if err == nil {
		d.program, err = fluentbit.Program()
	}
	name := "Fluent Bit"
	if d.fluentBit = d.program != ""; err == nil && !d.fluentBit {
		name = "the bundled host (" + fluentbit.Missing + ")"
		d.program, err = fluentbit.Built("bin/amberflo-host")
	}
	if err == nil {
		d.dir, err = os.MkdirTemp("", "amberflo-demo-")
	}
	if err != nil {
		return nil, err
	}
	fmt.Printf("An access log becomes a bill: %s with the plugin, and an S3 server.\nIt takes some 10 s and less than 10 MB in %s, and no network.\n\n", name, d.dir)
	err = step("starting the S3 server, with a bucket as Amberflo grants it", func() error {
		d.server, err = s3server.Start(ctx, s3server.Options{ReadReports: true})
		return err
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(d.dir))
	}
	detail("the bucket s3://%s at %s, whose owner lets the writer put with the ACL bucket-owner-full-control only, and read failure reports\n",
		d.server.Bucket, d.server.Endpoint)
	return d, nil
}

func (d *demo) close() {
	_ = d.server.Stop()
	if !*keep {
		_ = os.RemoveAll(d.dir)
	}
}

// place is a spool, and the part of the bucket that it fills.
type place struct {
	*demo
	name, dir, spool string
	standin          *amberflo.Standin
	byRule           [2]*amberflo.Standin // those of the rules after the first
}

// place makes a place whose keys begin with its name; ingest is where the plugin delivers by default. No meter is defined.
func (d *demo) place(name string) *place {
	dir := filepath.Join(d.dir, name)
	p := &place{demo: d, name: name, dir: dir, spool: filepath.Join(dir, "spool"), standin: d.server.Standin(amberflo.Options{Prefix: name + "/", Meters: []string{}})}
	for i, rule := range []amberflo.Rule{amberflo.LastValue, amberflo.LastEvent} {
		p.byRule[i] = d.server.Standin(amberflo.Options{Prefix: name + "/", Rule: rule})
	}
	return p
}

// section is what a user writes, and more lines.
func (p *place) section(meter string, more ...string) string {
	if p.name != "ingest" {
		more = append(more, "s3_key_format "+p.name+"/amberdata/%m-%d-%Y/$UUID.gz")
	}
	return fluentbit.Section("OUTPUT", append([]string{"Name amberflo", "Match *", "bucket " + p.server.Bucket, "region " + p.server.Region,
		"endpoint " + p.server.Endpoint, "store_dir " + p.spool, "customer_id $tenant", "meter_api_name " + meter, "meter_value $bytes",
		"dimensions method, status, region", "Workers 1", "Retry_Limit no_limits"}, more...)...)
}

// start starts the program with an [INPUT] and [OUTPUT] sections. The bundled host, which has no inputs, gets stdin and hostArgs.
func (p *place) start(ctx context.Context, stdin *os.File, input []string, output string, hostArgs ...string) (*fluentbit.Process, error) {
	conf, parsers := filepath.Join(p.dir, "demo.conf"), filepath.Join(p.dir, "parsers.conf")
	text := fluentbit.Section("SERVICE", "Flush 0.2", "Grace 5", "storage.path "+filepath.Join(p.dir, "fluent-bit"), "Parsers_File "+parsers) +
		fluentbit.Section("INPUT", append(input, "storage.type filesystem")...) + output
	if err := errors.Join(os.WriteFile(parsers, []byte(fluentbit.Parsers), 0o600), os.WriteFile(conf, []byte(text), 0o600)); err != nil {
		return nil, err
	}
	args := []string{"-e", p.plugin, "-c", conf}
	if !p.fluentBit {
		args = append(args, hostArgs...)
	}
	cmd := exec.CommandContext(ctx, p.program, args...)
	cmd.Env = append(os.Environ(), p.server.Env(p.server.Writer)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if stdin != nil {
		cmd.Stdin = stdin
	}
	return fluentbit.Start(cmd)
}

// meter sends a log through the plugin and returns what the bill must be.
func (p *place) meter(ctx context.Context, name string, opt accesslog.Options, sections ...string) (truth accesslog.Truth, err error) {
	var program *fluentbit.Process
	err = step(fmt.Sprintf("metering %s (%d lines)", name, opt.Lines), func() error {
		if err := os.MkdirAll(p.dir, 0o700); err != nil {
			return err
		}
		log, err := os.Create(filepath.Join(p.dir, fmt.Sprintf("%d.log", opt.Lines)))
		if err != nil {
			return err
		}
		defer log.Close()
		if p.fluentBit {
			truth, err = accesslog.WriteLines(log, opt)
		} else if truth, err = accesslog.WriteChunks(log, opt, accesslog.Chunks{Records: 500}); err == nil {
			_, err = log.Seek(0, 0)
		}
		if err == nil {
			program, err = p.start(ctx, log, append(fluentbit.Tail(log.Name(), "app.access"), "Exit_On_Eof on"), strings.Join(sections, ""), "-")
		}
		if err == nil {
			err = program.Succeeded(patience)
		}
		return err
	})
	if err == nil {
		detail("%s\n", strings.Join(sections, ""))
		showLog(program.Log)
	}
	return truth, err
}

// result is what is in a place's part of the bucket, read as its owner.
type result struct {
	bill    amberflo.Bill
	byRule  [2]amberflo.Bill // with other rules of which records are one, see amberflo.Rule
	objects []amberflo.Object
	bytes   int // of all objects, as they are stored
	failed  int // objects that Amberflo did not take, or not all of
}

// read adds up what Amberflo makes of the bucket.
func (p *place) read(ctx context.Context) (r result, err error) {
	err = step("reading the bucket as Amberflo does", func() error {
		_, err := p.standin.Round(ctx)
		for i, s := range p.byRule {
			_, readErr := s.Read(ctx)
			err = errors.Join(err, readErr)
			r.byRule[i] = s.Bill()
		}
		return err
	})
	r.objects, r.bill = p.standin.Objects(), p.standin.Bill()
	for _, o := range r.objects {
		r.bytes += o.Size
		if o.Refused > 0 {
			r.failed++
		}
	}
	if err == nil && len(r.objects) == 0 {
		err = errors.New("want an object in the bucket, got none")
	}
	if err == nil && *verbose {
		detail("a record as it stands in the object:\n%s\n", r.objects[0].First)
		err = errors.Join(amberflo.WriteObjects(os.Stdout, r.objects), amberflo.WriteBill(os.Stdout, r.bill))
	}
	return r, err
}

// meterctlOn runs meterctl on the spool, and gives what it prints.
func (p *place) meterctlOn(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, p.meterctl, append([]string{"--store-dir", p.spool}, args...)...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("meterctl %s: %w\n%s%s", strings.Join(args, " "), err, out, said.String())
	}
	return out, nil
}

// run runs meterctl on the spool, and shows what it prints.
func (p *place) run(ctx context.Context, args ...string) error {
	out, err := p.meterctlOn(ctx, args...)
	if err == nil {
		detail("meterctl %s\n%s", strings.Join(args, " "), out)
	}
	return err
}

// bill is that of meterctl: the lines have the records that events stand for.
func (p *place) bill(ctx context.Context) (lines []amberflo.Line, events int, err error) {
	out, err := p.meterctlOn(ctx, "bill", "--json")
	if err != nil {
		return nil, 0, err
	}
	var bill struct {
		Rows []struct {
			Customer, Meter, Usage string
			Events, Records        int
		}
	}
	if err := json.Unmarshal(out, &bill); err != nil {
		return nil, 0, fmt.Errorf("meterctl bill --json: %w", err)
	}
	for _, r := range bill.Rows {
		lines = append(lines, amberflo.Line{Customer: r.Customer, Meter: r.Meter, Events: r.Records, Usage: r.Usage})
		events += r.Events
	}
	return lines, events, p.run(ctx, "bill", "--by", "meter")
}

// reject is a line of rejected/.
type reject struct{ Reason, Detail string }

func (p *place) rejected() (all []reject, err error) {
	files, err := filepath.Glob(filepath.Join(p.spool, "rejected", "*", "*.ndjson"))
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		for d := json.NewDecoder(bufio.NewReader(f)); d.More(); {
			var r reject
			if err := d.Decode(&r); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			all = append(all, r)
		}
	}
	return all, err
}
