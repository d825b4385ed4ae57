// Accesslog writes a test log and the bill that follows from it: see package accesslog.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"out_amberflo/test/accesslog"
)

const usage = `accesslog writes a company's API access log, the same for the same flags, and the bill that
follows from it. It is a test tool.

  accesslog -lines 5000 -bad 0.01 -truth truth.json > access.log
  accesslog -lines 5000 -bad 0.01 -truth truth.json -format chunks > access.chunks

`

func main() {
	log.SetFlags(0)
	log.SetPrefix("accesslog: ")
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() (err error) {
	var opt accesslog.Options
	var chunks accesslog.Chunks
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.IntVar(&opt.Lines, "lines", 5000, "number of records")
	flag.IntVar(&opt.Customers, "customers", 12, "number of customers")
	flag.Uint64Var(&opt.Seed, "seed", 1, "another seed gives another log")
	start := flag.String("start", "", "RFC 3339 `time` of the first record, or now; a fixed one if empty")
	flag.Float64Var(&opt.Bad, "bad", 0, "share of records that cannot be metered")
	flag.Float64Var(&opt.Odd, "odd", 0, "share of records that are unusual but good")
	flag.StringVar(&opt.Meter, "meter", "$api", "meter_api_name of the mapping: $api or a literal; only the truth depends on it")
	flag.StringVar(&opt.Value, "value", "$bytes", "meter_value of the mapping: $bytes, $duration or 1; only the truth depends on it")
	flag.BoolVar(&opt.MeterTime, "meter-time", false, "the mapping has meter_time $time; only the truth depends on it")
	format := flag.String("format", "json", "json (lines) or chunks (framed msgpack for the test host)")
	flag.StringVar(&chunks.Tag, "tag", "app.access", "tag of the chunks")
	flag.IntVar(&chunks.Records, "chunk-records", 0, "records in a chunk; 0: about 2 MB")
	output := flag.String("o", "", "write to this `file` instead of the standard output")
	truthFile := flag.String("truth", "", "write the expected bill to this `file`, as JSON")
	flag.Parse()

	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("want no arguments, got %q", flag.Args())
	case *start == "now":
		opt.Start = time.Now()
	case *start != "":
		if opt.Start, err = time.Parse(time.RFC3339Nano, *start); err != nil {
			return fmt.Errorf("-start: want an RFC 3339 time or now, got %q", *start)
		}
	}
	var w io.Writer = os.Stdout
	if *output != "" {
		f, createErr := os.Create(*output)
		if createErr != nil {
			return createErr
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		w = f
	}
	var truth accesslog.Truth
	switch *format {
	case "json":
		truth, err = accesslog.WriteLines(w, opt)
	case "chunks":
		truth, err = accesslog.WriteChunks(w, opt, chunks)
	default:
		err = fmt.Errorf("-format: want json or chunks, got %q", *format)
	}
	if err != nil || *truthFile == "" {
		return err
	}
	data, err := json.MarshalIndent(truth, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(*truthFile, append(data, '\n'), 0o644)
}
