// Command plot draws what the counters tell in a real run: Fluent Bit with this plugin and a local S3 server, which
// fails for a while. It writes an SVG of the same figures as conf/grafana-dashboard.json.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"out_amberflo/test/fault"
	"out_amberflo/test/fluentbit"
	"out_amberflo/test/s3server"
)

const (
	lasts      = 90 * time.Second
	failsFrom  = 30 * time.Second
	failsUntil = 60 * time.Second
	every      = 500 * time.Millisecond
)

func main() {
	file := flag.String("o", "docs/counters.svg", "the SVG to write")
	flag.Parse()
	if err := run(*file); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

const conf = `[SERVICE]
    Flush       0.5
    HTTP_Server On
    HTTP_Listen 127.0.0.1
    HTTP_Port   %s
[INPUT]
    Name  dummy
    Tag   app
    Rate  2000
    Dummy {"customerId":"acme","meterApiName":"ApiCalls","meterValue":1,"dimensions":{"region":"eu-west-1"}}
[OUTPUT]
    Name           amberflo
    Match          *
    bucket         %s
    region         %s
    endpoint       %s
    store_dir      %s
    max_records    3000
    upload_timeout 2s
    Workers        1
    Retry_Limit    no_limits
`

// moment is one scrape: the sums of the plugin's series by name, without fluentbit_amberflo_.
type moment struct {
	at     time.Duration
	values map[string]float64
}

func run(file string) (err error) {
	ctx := context.Background()
	program, err := fluentbit.Program()
	if err != nil {
		return err
	}
	if program == "" {
		return errors.New("want Fluent Bit, got " + fluentbit.Missing)
	}
	dir, err := os.MkdirTemp("", "amberflo-plot-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	server, err := s3server.Start(ctx, s3server.Options{Dir: filepath.Join(dir, "s3")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	proxy, err := fault.Start(fault.Options{Target: server.Endpoint, Observe: func(fault.Request) {}})
	if err != nil {
		return err
	}
	defer proxy.Close()
	port, err := fluentbit.FreePort()
	if err != nil {
		return err
	}
	text := fmt.Sprintf(conf, port, server.Bucket, server.Region, proxy.URL, filepath.Join(dir, "spool"))
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(text), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(program, "-e", "./out_amberflo.so", "-c", filepath.Join(dir, "conf"))
	cmd.Env = append(os.Environ(), server.Env(server.Writer)...)
	p, err := fluentbit.Start(cmd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop(time.Minute)) }()
	moments := watch(fluentbit.MetricsURL(port), proxy)
	if len(moments) < int(lasts/every)/2 {
		return fmt.Errorf("want %d scrapes of Fluent Bit, got %d", lasts/every, len(moments))
	}
	return os.WriteFile(file, draw(moments), 0o644)
}

func watch(url string, proxy *fault.Proxy) (moments []moment) {
	start := time.Now()
	tick := time.NewTicker(every)
	defer tick.Stop()
	failing := false
	for at := time.Duration(0); at < lasts; at = time.Since(start) {
		if fails := at > failsFrom && at < failsUntil; fails != failing {
			failing = fails
			rate := 0.0
			if fails {
				rate = 1
			}
			proxy.SetRate(rate, fault.Unavailable)
		}
		if values, err := scrape(url); err == nil && len(values) > 0 {
			moments = append(moments, moment{at, values})
		}
		fmt.Fprintf(os.Stderr, "\rplot: %2.0f of %.0f s", at.Seconds(), lasts.Seconds())
		<-tick.C
	}
	fmt.Fprintln(os.Stderr)
	return moments
}

func scrape(url string) (map[string]float64, error) {
	all, err := fluentbit.Metrics(url)
	values := map[string]float64{}
	for _, series := range all {
		values[series.Name] += series.Value
	}
	return values, err
}
