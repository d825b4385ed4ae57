// Command bench measures what an output costs: the whole process of Fluent Bit with the null output,
// its own s3 output and this plugin, alternating, on one access log, into a real S3 server on loopback.
// Where there is no Fluent Bit it measures the plugin alone, in the bundled host.
//
// CPU is user and system time of the process; what an output costs is the median of its difference to the
// null output in the same round. The plugin runs twice: a line for each record, and with aggregate. The log's time begins at
// this hour: one outside of meter_time_window would cost more.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/klauspost/compress/gzip"

	"out_amberflo/test/accesslog"
	"out_amberflo/test/fluentbit"
	"out_amberflo/test/s3server"
)

var (
	lines     = flag.Int("lines", 1_000_000, "records of the access log")
	rounds    = flag.Int("rounds", 5, "measured runs of each output, after one that does not count; 1: that one alone")
	backlog   = flag.Int("backlog", 0, "objects that wait in the outbox, with no S3 to take them")
	plot      = flag.String("plot", "", "write a plot of the CPU times to this SVG file")
	customers = flag.Int("customers", 12, "customers of the access log, of which the n-th has 1/n of the first one's records")
	without   = flag.String("without", "", "what not to run, with commas between: host, s3, amberflo")
	alone     = flag.Bool("host", false, "measure the plugin alone even where there is a Fluent Bit")
)

// access is the log that all of them read.
var access = accesslog.Options{Start: time.Now().Truncate(time.Hour)}

func runs(name string) bool { return !slices.Contains(strings.Split(*without, ","), name) }

func main() {
	flag.Parse()
	access.Lines, access.Customers = *lines, *customers
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one scene for all runs.
type bench struct {
	dir, root, fluentBit string
	server               *s3server.Server
}

// sample is one run.
type sample struct{ cpu, wall, peak float64 } // seconds, seconds, MB

func run(ctx context.Context) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	b := &bench{root: root}
	if b.fluentBit, err = fluentbit.Program(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "amberflo-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if b.server, err = s3server.Start(ctx, s3server.Options{}); err != nil {
		return err
	}
	defer b.server.Stop()
	for _, more := range []string{"", aggregate} {
		if !runs("host") {
			break
		}
		if err := b.host(ctx, more); err != nil {
			return err
		}
	}
	if b.fluentBit == "" || *alone {
		return nil
	}
	return b.compare(ctx)
}

// aggregate is the option with which the plugin runs once more.
const aggregate = "aggregate *"

// section is the [OUTPUT] of the workload, with one more option if that is not empty.
func (b *bench) section(endpoint, more string) string {
	return fluentbit.Section("OUTPUT", more, "Name amberflo", "Match *", "bucket "+b.server.Bucket, "region "+b.server.Region, "endpoint "+endpoint,
		"store_dir "+filepath.Join(b.dir, "spool"), "shutdown_timeout 60s", "customer_id $tenant", "meter_api_name $api", "meter_value $bytes",
		"dimensions method, status", "Workers 1", "Retry_Limit no_limits")
}

// compare runs the outputs in turn.
func (b *bench) compare(ctx context.Context) error {
	input := filepath.Join(b.dir, "access.log")
	if err := write(input, func(w io.Writer) error {
		_, err := accesslog.WriteLines(w, access)
		return err
	}); err != nil {
		return err
	}
	parsers := filepath.Join(b.dir, "parsers.conf")
	if err := os.WriteFile(parsers, []byte(fluentbit.Parsers), 0o600); err != nil {
		return err
	}
	service := fluentbit.Section("SERVICE", "Flush 1", "Grace 60", "Log_Level error", "Parsers_File "+parsers) +
		fluentbit.Section("INPUT", append(fluentbit.Tail(input, "app.access"), "Exit_On_Eof on")...)
	outputs := []output{
		{"null", "[OUTPUT]\n    Name null\n    Match *\n"},
		{"s3", fmt.Sprintf("[OUTPUT]\n    Name s3\n    Match *\n    bucket %s\n    region %s\n    endpoint %s\n    tls off\n    s3_key_format /ingest/amberdata/%%m-%%d-%%Y/$UUID.gz\n"+
			"    use_put_object on\n    compression gzip\n    canned_acl bucket-owner-full-control\n    total_file_size 50M\n    upload_timeout 1m\n    store_dir %s\n",
			b.server.Bucket, b.server.Region, b.server.Endpoint, filepath.Join(b.dir, "s3"))},
		{"amberflo", b.section(b.server.Endpoint, "")},
		{summed, b.section(b.server.Endpoint, aggregate)},
	}
	outputs = slices.DeleteFunc(outputs, func(o output) bool { return !runs(o.name) })
	samples := map[string][]sample{}
	made := map[string]stored{}
	for round := range *rounds + 1 {
		if *rounds == 1 && round == 0 { // that of a long log
			continue
		}
		for _, o := range outputs {
			conf := filepath.Join(b.dir, "fluent-bit.conf")
			if err := os.WriteFile(conf, []byte(service+o.section), 0o600); err != nil {
				return err
			}
			before, err := b.server.Objects(ctx)
			if err != nil {
				return err
			}
			s, _, err := b.measure(ctx, b.fluentBit, "", "-e", filepath.Join(b.root, "out_amberflo.so"), "-c", conf)
			if err != nil {
				return err
			}
			if round == *rounds {
				if made[o.name], err = b.since(ctx, before); err != nil {
					return err
				}
			}
			if round > 0 {
				samples[o.name] = append(samples[o.name], s)
			}
			fmt.Printf("\rround %d of %d: %-20s", round, *rounds, o.name)
			for _, dir := range []string{"spool", "s3"} {
				if err := os.RemoveAll(filepath.Join(b.dir, dir)); err != nil {
					return err
				}
			}
		}
	}
	// Differences and ratios within a round: the machine's speed drifts from one to the next.
	null := median(samples["null"])
	above := func(name string) []float64 {
		v := make([]float64, len(samples[name]))
		for i, s := range samples[name] {
			v[i] = s.cpu - samples["null"][i].cpu
		}
		return v
	}
	ratio := func(name, of string) float64 {
		v := above(name)
		for i, other := range above(of) {
			v[i] /= other
		}
		slices.Sort(v)
		return medianOf(v)
	}
	fmt.Printf("\r%d records, %d alternating runs each, medians (CPU: least to most)\n", *lines, *rounds)
	t := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "output\tCPU s\tabove null\tof s3\tpeak MB\tabove null\twall s\tstored MB\tobjects\tlines\tkeys")
	var bars []bar
	for _, o := range outputs {
		m := median(samples[o.name])
		cpu := column(samples[o.name], func(s sample) float64 { return s.cpu })
		costs, share := above(o.name), "-"
		slices.Sort(costs)
		if strings.HasPrefix(o.name, "amberflo") && runs("s3") {
			share = fmt.Sprintf("1/%.1f", 1/ratio(o.name, "s3"))
		}
		in := made[o.name]
		fmt.Fprintf(t, "%s\t%.2f (%.2f to %.2f)\t%.2f\t%s\t%.0f\t%.0f\t%.1f\t%.3f\t%d\t%d\t%d\n", o.name, m.cpu, cpu[0], cpu[len(cpu)-1],
			medianOf(costs), share, m.peak, m.peak-null.peak, m.wall, float64(in.bytes)/1e6, in.objects, in.lines, in.keys)
		bars = append(bars, bar{o.name, (null.cpu + medianOf(costs)) / float64(*lines) * 1e6, null.cpu / float64(*lines) * 1e6})
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if in, sums := made["amberflo"], made[summed]; runs("amberflo") {
		fmt.Printf("with %s the output costs %.2f of what it costs without; %.0f times fewer events, %.0f times fewer bytes\n", aggregate,
			ratio(summed, "amberflo"), float64(in.lines)/float64(sums.lines), float64(in.bytes)/float64(sums.bytes))
	}
	if *plot != "" {
		return drawPlot(*plot, bars)
	}
	return nil
}

// output is one that is compared: its name and its [OUTPUT].
type output struct{ name, section string }

// summed is the name of the plugin's second run.
const summed = "amberflo, " + aggregate

// stored is what a run put into the bucket.
type stored struct {
	objects, lines, keys int // keys: by which the lines can be added up
	bytes                int64
}

// since reads what is in the bucket and was not there before.
func (b *bench) since(ctx context.Context, before []s3server.Object) (made stored, err error) {
	known := map[string]bool{}
	for _, o := range before {
		known[o.Key] = true
	}
	keys := map[string]bool{}
	after, err := b.server.Objects(ctx)
	for _, o := range after {
		if err != nil || known[o.Key] {
			continue
		}
		made.objects++
		made.bytes += o.Size
		var body []byte
		if body, err = b.server.Get(ctx, o.Key); err != nil {
			continue
		}
		var text *gzip.Reader
		if text, err = gzip.NewReader(bytes.NewReader(body)); err != nil {
			continue
		}
		in := bufio.NewScanner(text)
		for in.Scan() {
			made.lines++
			head, rest, _ := bytes.Cut(in.Bytes(), []byte(`,"meterValue":`))
			if _, at, ok := bytes.Cut(rest, []byte(`"meterTimeInMillis":`)); ok {
				at, _, _ = bytes.Cut(at, []byte(","))
				millis, _ := strconv.ParseInt(string(at), 10, 64)
				keys[fmt.Sprint(string(head), millis/(15*time.Minute).Milliseconds())] = true
			}
		}
		err = in.Err()
	}
	made.keys = len(keys)
	return made, err
}

// host measures the plugin alone: on one core, fsync, compression and upload included.
func (b *bench) host(ctx context.Context, more string) error {
	input := filepath.Join(b.dir, "access.chunks")
	if err := write(input, func(w io.Writer) error {
		_, err := accesslog.WriteChunks(w, access, accesslog.Chunks{})
		return err
	}); err != nil {
		return err
	}
	endpoint := b.server.Endpoint
	if *backlog > 0 {
		endpoint = "http://127.0.0.1:1"
	}
	conf := filepath.Join(b.dir, "host.conf")
	if err := os.WriteFile(conf, []byte(strings.Replace(b.section(endpoint, more), "shutdown_timeout 60s", "shutdown_timeout "+cmp.Or(map[bool]string{true: "1s"}[*backlog > 0], "60s"), 1)), 0o600); err != nil {
		return err
	}
	program := filepath.Join(b.root, "bin", "amberflo-host")
	type summary struct {
		CPU   float64 `json:"cpu_s"`
		Read  float64 `json:"read_cpu_s"`
		OK    float64 `json:"ok"`
		Peak  float64 `json:"peak_rss_mib"`
		P50   float64 `json:"flush_p50_ms"`
		P99   float64 `json:"flush_p99_ms"`
		First float64 `json:"first_flush_s"`
	}
	var samples []sample
	var flushes []summary
	before, err := b.server.Objects(ctx)
	if err != nil {
		return err
	}
	for round := range *rounds + 1 {
		if err := b.fill(); err != nil {
			return err
		}
		s, out, err := b.measure(ctx, "taskset", input, "-c", "0", program, "-e", filepath.Join(b.root, "out_amberflo.so"), "-c", conf, "--json", "-")
		if err != nil {
			return err
		}
		var sum summary
		if err := json.Unmarshal(out, &sum); err != nil {
			return fmt.Errorf("the host's summary: %w", err)
		}
		if round > 0 {
			samples, flushes = append(samples, s), append(flushes, sum)
		}
		if err := os.RemoveAll(filepath.Join(b.dir, "spool")); err != nil {
			return err
		}
	}
	m := median(samples)
	of := func(get func(summary) float64) float64 {
		return medianOf(column(flushes, get))
	}
	made, err := b.since(ctx, before)
	if err != nil {
		return err
	}
	size := 100_000 // with a backlog nothing is stored
	if made.bytes > 0 {
		size = max(1, int(float64(made.bytes)/float64(*rounds+1)/flushes[0].OK))
	}
	bare50, bare99, err := b.bare(size)
	if err != nil {
		return err
	}
	read := of(func(s summary) float64 { return s.Read })
	rate := "no upload"
	if *backlog == 0 {
		rate = fmt.Sprintf("%.2f M records/s, %.2f without the time in which the host reads the chunks", float64(*lines)/m.wall/1e6, float64(*lines)/(m.wall-read)/1e6)
	}
	fmt.Printf("the plugin alone%s, in the host on one core, %d records, %d objects waiting, medians of %d runs:\n"+
		"  %s; %.2f CPU s in all, %.2f of them the host's reading; peak %.0f MiB\n"+
		"  a flush of a chunk of 2 MB: p50 %.1f ms, p99 %.1f ms; a bare write and fsync of %d bytes, which it adds to the object: p50 %.1f ms, p99 %.1f ms\n"+
		"  %.0f ms from the start to the first flush\n\n",
		strings.TrimSuffix(", "+more, ", "), *lines, *backlog, *rounds, rate, m.cpu, read, of(func(s summary) float64 { return s.Peak }),
		of(func(s summary) float64 { return s.P50 }), of(func(s summary) float64 { return s.P99 }), size, bare50, bare99,
		of(func(s summary) float64 { return s.First * 1000 }))
	return nil
}

// fill puts objects into the outbox that wait since before the start.
func (b *bench) fill() error {
	dir := filepath.Join(b.dir, "spool", "outbox", "ingest", "amberdata", "01-01-2026")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for i := range *backlog {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%08x-0000-7000-8000-000000000000.gz", i)), []byte("backlog"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// bare writes and syncs as many bytes as a flush of a chunk of 2 MB, without the plugin.
func (b *bench) bare(size int) (p50, p99 float64, err error) {
	f, err := os.Create(filepath.Join(b.dir, "bare"))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	text := make([]byte, size)
	var took []float64
	for range 100 {
		began := time.Now()
		if _, err := f.Write(text); err != nil {
			return 0, 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, 0, err
		}
		took = append(took, float64(time.Since(began).Microseconds())/1000)
	}
	slices.Sort(took)
	return took[50], took[98], nil
}

// measure runs a program to its end, with a file as its standard input unless its name is empty.
func (b *bench) measure(ctx context.Context, program, stdin string, args ...string) (sample, []byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), b.server.Env(b.server.Writer)...)
	var out strings.Builder
	cmd.Stdout = &out
	if stdin != "" {
		f, err := os.Open(stdin)
		if err != nil {
			return sample{}, nil, err
		}
		defer f.Close()
		cmd.Stdin = f
	}
	began := time.Now()
	p, err := fluentbit.Start(cmd)
	if err == nil {
		err = p.Succeeded(time.Hour)
	}
	if err != nil {
		return sample{}, nil, err
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return sample{}, nil, errors.New("no resource usage on this system")
	}
	return sample{
		cpu:  (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(),
		wall: time.Since(began).Seconds(),
		peak: float64(usage.Maxrss) * 1024 / 1e6,
	}, []byte(out.String()), nil
}

func write(path string, do func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(do(f), f.Close())
}

// column gives one figure of all runs, sorted.
func column[T any](s []T, get func(T) float64) []float64 {
	v := make([]float64, len(s))
	for i := range s {
		v[i] = get(s[i])
	}
	slices.Sort(v)
	return v
}

func medianOf(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func median(s []sample) sample {
	return sample{
		cpu:  medianOf(column(s, func(s sample) float64 { return s.cpu })),
		wall: medianOf(column(s, func(s sample) float64 { return s.wall })),
		peak: medianOf(column(s, func(s sample) float64 { return s.peak })),
	}
}

// bar is one output of the plot: CPU seconds per million records, and what of it null costs too.
type bar struct {
	name       string
	cpu, input float64
}

func drawPlot(path string, bars []bar) error {
	most := 0.0
	for _, b := range bars {
		most = max(most, b.cpu)
	}
	const left, width, height, gap = 170.0, 360.0, 34.0, 16.0
	var s strings.Builder
	total := float64(len(bars))*(height+gap) + 70
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 %.0f" font-family="sans-serif" font-size="14">`+"\n", total)
	fmt.Fprintf(&s, `<rect width="640" height="%.0f" fill="white"/>`+"\n", total)
	s.WriteString(`<text x="12" y="26" font-size="15" fill="#222">CPU seconds per million records: reading and parsing (grey), the output (colour)</text>` + "\n")
	for i, b := range bars {
		y := 46 + float64(i)*(height+gap)
		input := min(b.cpu, b.input)
		fmt.Fprintf(&s, `<text x="%.0f" y="%.0f" text-anchor="end" fill="#222">%s</text>`+"\n", left-10, y+height/2+5, b.name)
		fmt.Fprintf(&s, `<rect x="%.0f" y="%.0f" width="%.1f" height="%.0f" fill="#c4c8cc"/>`+"\n", left, y, input/most*width, height)
		fmt.Fprintf(&s, `<rect x="%.1f" y="%.0f" width="%.1f" height="%.0f" fill="%s"/>`+"\n", left+input/most*width, y, (b.cpu-input)/most*width, height,
			map[bool]string{true: "#2f7d5b", false: "#b5523b"}[strings.HasPrefix(b.name, "amberflo")])
		fmt.Fprintf(&s, `<text x="%.1f" y="%.0f" fill="#222">%s</text>`+"\n", left+b.cpu/most*width+8, y+height/2+5, strconv.FormatFloat(b.cpu-input, 'f', 2, 64))
	}
	fmt.Fprintf(&s, `<text x="12" y="%.0f" font-size="12" fill="#555">make bench repeats it; the number is the output's share, the process minus that of null</text>`+"\n</svg>\n", total-10)
	return os.WriteFile(path, []byte(s.String()), 0o644)
}
