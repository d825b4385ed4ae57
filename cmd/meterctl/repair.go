package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"out_amberflo/plugin"
	"out_amberflo/plugin/repair"
)

// rescue delivers what can be read of damaged objects.
func rescue(w io.Writer, dir string, args []string) error {
	all := false
	if len(args) > 0 && (args[0] == "-all" || args[0] == "--all") {
		all, args = true, args[1:]
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return errors.New("rescue: want keys, or -all and keys; meterctl ls -l lists damaged/outbox/")
	}
	for _, key := range args {
		for _, room := range []string{"damaged/", "outbox/"} {
			key = strings.TrimPrefix(key, room)
		}
		records, err := repair.Rescue(dir, key, all)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s: %d records go out; failed/audit.ndjson says what is lost\n", key, records)
	}
	fmt.Fprintln(w, "a running plugin takes them up within 15 seconds, otherwise the next start does")
	return nil
}

// split divides an object that waits.
func split(w io.Writer, dir string, args []string) error {
	flags := flag.NewFlagSet("split", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	most := int64(0)
	flags.Func("size", "", func(v string) (err error) {
		most, err = plugin.ParseSize(v)
		return err
	})
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return errors.New("split: want a key, then -size SIZE if not in halves; meterctl ls -l lists outbox/")
	}
	if err := flags.Parse(args[1:]); err != nil || flags.NArg() > 0 {
		return errors.New("split: want one key, then -size and a size such as 5M")
	}
	n, err := repair.Split(dir, strings.TrimPrefix(args[0], "outbox/"), most)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s is %d objects now; the next start sends them\n", args[0], n)
	return nil
}
