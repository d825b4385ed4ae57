// Command s3server runs a local S3 server with a bucket as Amberflo grants it, for trying the
// plugin by hand. It prints the environment to use as shell lines and runs until SIGTERM or SIGINT.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"out_amberflo/test/s3server"
)

func main() {
	var o s3server.Options
	flag.StringVar(&o.Dir, "dir", "", "directory of the server, kept (default: a temporary one, removed at the end)")
	flag.StringVar(&o.Bucket, "bucket", "", "bucket (default 183-amberflo)")
	flag.StringVar(&o.Region, "region", "", "region (default us-west-2)")
	flag.StringVar(&o.Listen, "listen", "", "IPv4 address and port (default: a free port of 127.0.0.1)")
	flag.StringVar(&o.AccessLog, "access-log", "", "file for one line per request")
	flag.BoolVar(&o.ReadReports, "reports", false, "let the writer list and get below failed-requests/")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "want flags only, got %q\n", flag.Args())
		os.Exit(2)
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(o s3server.Options) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	s, err := s3server.Start(ctx, o)
	if err != nil {
		return err
	}
	env := append(s.Env(s.Writer),
		"S3_ENDPOINT="+s.Endpoint,
		"S3_BUCKET="+s.Bucket,
		"S3_DIR="+s.Dir,
		"OWNER_ACCESS_KEY_ID="+s.Owner.AccessKey,
		"OWNER_SECRET_ACCESS_KEY="+s.Owner.SecretKey)
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		fmt.Printf("export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
	}
	select {
	case <-ctx.Done():
	case <-s.Done():
	}
	return s.Stop()
}
