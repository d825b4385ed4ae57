// Package e2e runs the built plugin end to end: loaded by the bundled host, and by Fluent Bit where it is
// installed, into a real S3 server that takes nothing without the ACL, through a proxy that makes S3 fail.
// What must come out is computed here, by code that the plugin does not share.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"out_amberflo/test/fluentbit"
)

var (
	kills          = flag.Int("e2e.kills", 50, "how often the kill test kills the bundled host")
	fluentBitKills = flag.Int("e2e.fluent-bit-kills", 5, "how often the kill test kills Fluent Bit, for each number of workers")
	seed           = flag.Uint64("e2e.seed", 1, "what decides when a kill test kills and which requests fail")
)

var (
	root        string // of the repository
	pluginFile  string
	hostProgram string
	meterctl    string
	fluentBit   string // "" where there is none
)

// Most tests wait most of the time: for an fsync, a back-off, an age.
const parallel = "6"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := findBuilt(); err != nil {
		fmt.Fprintln(os.Stderr, "end to end:", err)
		os.Exit(1)
	}
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "test.parallel" })
	if !set {
		_ = flag.Set("test.parallel", parallel)
	}
	os.Exit(m.Run())
}

// findBuilt finds what make builds; nothing is built here, so that a test never runs against a plugin of
// other flags than the one that is shipped.
func findBuilt() error {
	var err error
	for name, file := range map[string]*string{"out_amberflo.so": &pluginFile, "bin/amberflo-host": &hostProgram, "bin/meterctl": &meterctl} {
		if *file, err = fluentbit.Built(name); err != nil {
			return err
		}
	}
	root = filepath.Dir(pluginFile)
	fluentBit, err = fluentbit.Program()
	return err
}
