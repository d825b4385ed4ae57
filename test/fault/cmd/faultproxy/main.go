// Faultproxy stands in front of an S3 endpoint and lets some requests fail, for tests in a shell or in C.
// It prints its URL on standard output and ends on SIGTERM or SIGINT, after a line with what passed.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"out_amberflo/test/fault"
)

func main() {
	var o fault.Options
	flag.StringVar(&o.Target, "target", "", "`URL` of the S3 endpoint behind the proxy (required)")
	flag.StringVar(&o.Listen, "listen", "127.0.0.1:0", "`address` to listen on; port 0 lets the kernel choose")
	flag.Float64Var(&o.Rate, "fail-rate", 0, "share of the requests that fail, 0 to 1")
	flag.Uint64Var(&o.Seed, "seed", 1, "of the random choice")
	flag.StringVar(&o.Region, "region", "", "that a redirect names (default eu-west-1)")
	flag.DurationVar(&o.RetryAfter, "retry-after", 0, "sent with 429 and 503")
	flag.DurationVar(&o.Pause, "pause", 10*time.Millisecond, "between two pieces of a slow body")
	modes := flag.String("modes", "", "comma-separated faults to draw from\n(default "+list(fault.Faults)+"; all: "+list(fault.Modes)+")")
	methods := flag.String("methods", "", "comma-separated methods that can fail (default all)")
	verbose := flag.Bool("v", false, "print each request on standard error")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), "usage: faultproxy -target URL [flags]\n\nWhile it runs: curl -X PUT 'URL/-/faults?rate=1&modes=hang' or '…?script=lost,pass'\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := run(o, *modes, *methods, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "faultproxy:", err)
		os.Exit(1)
	}
}

func run(o fault.Options, modes, methods string, verbose bool) error {
	var err error
	if o.Modes, err = fault.ParseModes(modes); err != nil {
		return err
	}
	if methods != "" {
		can := strings.Split(strings.ToUpper(methods), ",")
		o.Match = func(r *http.Request) bool { return slices.Contains(can, r.Method) }
	}
	var mu sync.Mutex
	count := map[fault.Mode]int{}
	o.Observe = func(r fault.Request) {
		mu.Lock()
		defer mu.Unlock()
		count[r.Mode]++
		if verbose {
			fmt.Fprintln(os.Stderr, r.Mode, r.Status, r.Method, r.Path, r.Size, r.SHA256, r.Err)
		}
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	p, err := fault.Start(o)
	if err != nil {
		return err
	}
	fmt.Println(p.URL)
	<-stop
	p.Close()
	mu.Lock()
	defer mu.Unlock()
	for _, mode := range fault.Modes {
		if count[mode] > 0 {
			fmt.Fprintf(os.Stderr, "%s=%d ", mode, count[mode])
		}
	}
	fmt.Fprintln(os.Stderr)
	return nil
}

func list(modes []fault.Mode) string {
	names := make([]string, len(modes))
	for i, m := range modes {
		names[i] = string(m)
	}
	return strings.Join(names, ",")
}
