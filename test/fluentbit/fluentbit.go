// Package fluentbit finds and runs the real Fluent Bit, or the bundled host in its place, for tests and tools, and reads the
// plugin's series among its metrics.
package fluentbit

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// Missing says why there is no Program.
const Missing = "no fluent-bit on PATH or in FLUENT_BIT"

// Program returns the program that FLUENT_BIT names, else fluent-bit on PATH. Where there is none it returns "", and an
// error only if FLUENT_BIT names something that cannot be run.
func Program() (path string, err error) {
	named := os.Getenv("FLUENT_BIT")
	path, err = exec.LookPath(cmp.Or(named, "fluent-bit"))
	if err == nil {
		return path, nil
	}
	if named == "" {
		return "", nil
	}
	return "", fmt.Errorf("FLUENT_BIT: want a program, got %q: %w", named, err)
}

// FreePort returns a port of the loopback on which nobody listens now. Fluent Bit does not tell which port the kernel chose
// for it.
func FreePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

// MetricsURL returns where a Fluent Bit whose HTTP_Port is port tells its metrics.
func MetricsURL(port string) string { return "http://127.0.0.1:" + port + "/api/v2/metrics/prometheus" }

// Series is one of the plugin's series.
type Series struct {
	Name   string // without fluentbit_amberflo_
	Output string // e.g. amberflo.0
	Label  string // the value of its label beside the output's name, "" without one
	Value  float64
}

var sample = regexp.MustCompile(`^fluentbit_amberflo_(\w+)\{name="([^"]*)"(?:,\w+="([^"]*)")?\} (\S+)$`)

// Metrics reads the plugin's series from a MetricsURL.
func Metrics(url string) (all []Series, err error) {
	answer, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		m := sample.FindStringSubmatch(strings.TrimSpace(lines.Text()))
		if m == nil {
			continue
		}
		value, err := strconv.ParseFloat(m[4], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", url, lines.Text(), err)
		}
		all = append(all, Series{m[1], m[2], m[3], value})
	}
	return all, lines.Err()
}
