// Amberflo-standin plays Amberflo's side of an S3 bucket: see package amberflo.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"out_amberflo/test/amberflo"
)

const usage = `amberflo-standin reads a bucket as its owner and adds up the bill, as Amberflo would.
It is a test tool. Credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.

  amberflo-standin -endpoint URL -bucket NAME          reads, writes failure reports, until SIGTERM
  amberflo-standin -endpoint URL -bucket NAME -once    reads what is there, prints it, writes nothing

`

func main() {
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)
	log.SetPrefix("amberflo-standin: ")
	ok, err := run()
	if err != nil {
		log.Fatal(err)
	}
	if !ok {
		os.Exit(1)
	}
}

func run() (ok bool, err error) {
	var opt amberflo.Options
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.StringVar(&opt.Endpoint, "endpoint", os.Getenv("AWS_ENDPOINT_URL"), "S3 endpoint `URL`; AWS_ENDPOINT_URL")
	flag.StringVar(&opt.Region, "region", cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), "us-east-1"), "AWS_REGION")
	flag.StringVar(&opt.Bucket, "bucket", "", "bucket `name`")
	flag.StringVar(&opt.Prefix, "prefix", "", "read only keys that begin with it")
	meters := flag.String("meters", "", "comma-separated meters that are known; empty: all are")
	dimensions := flag.String("dimensions", "", "comma-separated dimensions by which to split the bill")
	flag.BoolVar(&opt.RefuseWhole, "refuse-whole", false, "an object with one bad record is not taken; otherwise the good ones count")
	flag.DurationVar(&opt.VerdictDelay, "verdict-delay", 0, "time from taking an object to the report that it was not taken")
	flag.StringVar(&opt.ReportsPrefix, "reports-prefix", "failed-requests/", "where failure reports go")
	flag.StringVar(&opt.Spelling.Date, "report-date", "01-02-2006", "date in a report's key, as a Go `layout`")
	uri := flag.String("report-uri", "key", "object in a report's key: key, name or s3")
	flag.BoolVar(&opt.Spelling.DropGz, "report-drop-gz", false, "leave .gz out of a report's key")
	flag.DurationVar(&opt.Every, "every", 0, "pause between rounds (default 1s)")
	once := flag.Bool("once", false, "read what is there now, print it and stop")
	reports := flag.Bool("reports", false, "with -once: write the failure reports too, without delay")
	asJSON := flag.Bool("json", false, "print JSON instead of tables")
	record := flag.Bool("record", false, "print the first record of the first object too")
	expect := flag.String("expect", "", "compare the bill with the one in this `file` of accesslog -truth; exit 1 if they differ")
	flag.Parse()

	if opt.Endpoint == "" || opt.Bucket == "" || flag.NArg() > 0 {
		flag.Usage()
		return false, fmt.Errorf("want -endpoint and -bucket and no arguments, got %q, %q and %q", opt.Endpoint, opt.Bucket, flag.Args())
	}
	switch opt.Spelling.URI = amberflo.URI(*uri); opt.Spelling.URI {
	case amberflo.WholeKey, amberflo.BaseName, amberflo.S3URI:
	default:
		return false, fmt.Errorf("-report-uri: want key, name or s3, got %q", *uri)
	}
	id, secret := os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY")
	if id == "" || secret == "" {
		return false, fmt.Errorf("want AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, got none")
	}
	opt.Credentials = credentials.NewStaticCredentialsProvider(id, secret, os.Getenv("AWS_SESSION_TOKEN"))
	opt.Meters, opt.Dimensions = list(*meters), list(*dimensions)
	opt.Logf = log.Printf

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if *reports {
		opt.VerdictDelay = 0
	}
	s := amberflo.New(opt)
	switch {
	case *once && *reports:
		_, err = s.Round(ctx)
	case *once:
		_, err = s.Read(ctx)
	default:
		s.Run(ctx)
	}
	if err != nil {
		return false, err
	}
	if err := print(s, *asJSON, *record); err != nil {
		return false, err
	}
	if *expect == "" {
		return true, nil
	}
	return compare(*expect, s.Bill())
}

func print(s *amberflo.Standin, asJSON, record bool) error {
	objects, bill := s.Objects(), s.Bill()
	if asJSON {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		return out.Encode(struct {
			Objects []amberflo.Object `json:"objects"`
			amberflo.Bill
		}{objects, bill})
	}
	if err := amberflo.WriteObjects(os.Stdout, objects); err != nil {
		return err
	}
	if record && len(objects) > 0 {
		fmt.Printf("\nfirst record of %s:\n%s\n", objects[0].Key, objects[0].First)
	}
	fmt.Println()
	return amberflo.WriteBill(os.Stdout, bill)
}

func compare(file string, got amberflo.Bill) (bool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return false, err
	}
	var want amberflo.Bill
	if err := json.Unmarshal(data, &want); err != nil {
		return false, fmt.Errorf("read %s: %w", file, err)
	}
	diff := amberflo.Diff(want.Lines, got.Lines)
	for _, line := range diff {
		log.Printf("bill differs: %s", line)
	}
	return len(diff) == 0, nil
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	parts := strings.Split(s, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}
