// Command meterctl is the operator's tool for the spool of out_amberflo: what waits, whether it is
// whole, what is in it, and what to do with what Amberflo refused. It works beside a running Fluent Bit. Before that, it looks
// at a pipeline, and shows what bills a configuration makes of the lines of a log.
package main

import (
	"bufio"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"out_amberflo/plugin"
	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/spool"
)

const usage = `meterctl looks into the spool of the Fluent Bit output amberflo, and sends again what was refused.
All of it works beside a running Fluent Bit, but for split.

    meterctl [-store-dir DIR] ls              what is open, waits, was rejected, is damaged; open/<uuid>.log:rejected is what
                                              a log holds of rejected records
    meterctl [-store-dir DIR] check           read everything; name each problem by file and offset
    meterctl [-store-dir DIR] cat FILE...     the records of a file, one line of JSON each
    meterctl [-store-dir DIR] resend KEY...   send objects that Amberflo refused again, under fresh keys;
                                              resend -all takes all of them
    meterctl [-store-dir DIR] drop KEY -why TEXT   delete one for good; failed/audit.ndjson keeps a note
    meterctl [-store-dir DIR] rescue [-all] KEY...   send what can be read of objects that the disk has damaged, under
                                              fresh keys: their whole segments. -all: also where nobody can
                                              say which record is wrong
    meterctl [-store-dir DIR] split KEY [-size SIZE]   divide an object that is too large for the server, in halves or
                                              to SIZE each before compression; Fluent Bit has to be stopped

    meterctl check-config -c CONF [-sample FILE [-input I]]
                                              what in the whole pipeline of CONF would lose, double or
                                              misbill records, with FILE also what of it fits the log
    meterctl map -c CONF [-output N] [-input I] [-raw | -records] [-through-fluent-bit]
                 [-tag TAG] [-time RFC3339] [-metadata JSON] [-group JSON] [FILE]
                                              what check-config says of the output, then the meter records
                                              that CONF makes of the lines of a log (from FILE or standard
                                              input). They go through the parser of the input; where that
                                              is json, or there is none, a line is a record in JSON.
                                              -records says that all are, -raw that none is. Filters are
                                              applied by -through-fluent-bit only, which runs the pipeline
                                              of CONF in the fluent-bit of the PATH or of $FLUENT_BIT
    meterctl [-store-dir DIR] retry-rejected -c CONF [-output N] [-from NAME] [-since YYYY-MM-DD]
                                              map what is in rejected/ again, by CONF as it is now; what maps
                                              is delivered, the rest stays. It takes what that output has
                                              rejected and still matches, or with -from all that the output
                                              of that name has. Without -store-dir it works in the store_dir
                                              that CONF names
    meterctl install TO                       copy the output and what lies beside this program to the directory TO, for
                                              containers of Fluent Bit (docker/README.md)

DIR is the output's store_dir (default $AMBERFLO_STORE_DIR, or that of the output).
FILE is a path as ls -l prints it, or an object key. ls -n does not count records, which
for compressed objects means reading them. CONF is a configuration of Fluent Bit, classic or YAML;
N is the number of one of its amberflo outputs, from 0, its name as in the log (amberflo.2), or its alias;
I likewise of the inputs whose records reach it. CONF is read with the environment that Fluent Bit would have here.

Exit status: 0 all is well (warnings alone are), 1 ls, check or cat found a problem, a record was rejected, CONF has an
error or map got no samples, 2 the command could not be carried out.
`

// errProblems ends a command that found something, and said so.
var errProblems = errors.New("problems found")

func main() {
	err := run(os.Args[1:], os.Stdout)
	switch {
	case err == nil:
	case errors.Is(err, errProblems):
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "meterctl:", err)
		os.Exit(2)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("meterctl", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	given := flags.String("store-dir", "", "")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			_, err = io.WriteString(out, usage)
			return err
		}
		return fmt.Errorf("%w; meterctl -h tells how", err)
	}
	if flags.NArg() == 0 {
		return errors.New("want a command, got none; meterctl -h lists them")
	}
	verb, rest := flags.Arg(0), flags.Args()[1:]
	dir := cmp.Or(*given, os.Getenv("AMBERFLO_STORE_DIR"), plugin.DefaultStoreDir)
	w := bufio.NewWriter(out)
	var err error
	switch verb {
	case "ls":
		err = list(w, dir, rest)
	case "check":
		err = check(w, dir, rest)
	case "cat":
		err = cat(w, dir, rest)
	case "resend":
		err = resend(w, dir, rest)
	case "drop":
		err = drop(w, dir, rest)
	case "rescue":
		err = rescue(w, dir, rest)
	case "split":
		err = split(w, dir, rest)
	case "map":
		err = mapSamples(os.Stdin, w, os.Stderr, rest)
	case "check-config":
		err = checkConfig(w, rest)
	case "install":
		err = install(w, rest)
	case "retry-rejected":
		err = retryRejected(w, os.Stderr, *given, rest)
	default:
		err = fmt.Errorf("want ls, check, cat, resend, drop, rescue, split, check-config, map, install or retry-rejected, got %q; meterctl -h explains them", verb)
	}
	return errors.Join(err, w.Flush())
}

// list prints a line per room, or with -l a line per file.
func list(w io.Writer, dir string, args []string) error {
	flags := flag.NewFlagSet("ls", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	long := flags.Bool("l", false, "")
	quick := flags.Bool("n", false, "")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("ls: %w; it takes -l and -n, and -store-dir DIR stands before ls", err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("ls: want -l or -n, or nothing, got %q; -store-dir DIR stands before ls", flags.Arg(0))
	}
	files, err := repair.Files(dir)
	if err != nil {
		return err
	}
	type total struct {
		files, records int
		bytes          int64
		oldest         time.Time
	}
	bad := 0
	totals := map[string]*total{}
	for _, room := range disk.Dirs {
		totals[room] = &total{}
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	if *long {
		fmt.Fprintln(t, "FILE\tBYTES\tRECORDS\tAGE")
	} else {
		fmt.Fprintln(t, "ROOM\tFILES\tBYTES\tRECORDS\tOLDEST")
	}
	for _, f := range files {
		n := 0
		if !*quick {
			var problems []repair.Problem
			if n, problems, err = repair.Records(dir, f, nil); errors.Is(err, os.ErrNotExist) {
				continue // sealed or sent meanwhile
			} else if err != nil {
				return err
			}
			bad += len(problems)
		}
		if *long {
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", f.Path, f.Bytes, records(n, *quick), age(f.Modified))
		}
		sum := totals[f.Dir]
		if f.HasRecords() {
			sum.files++
		}
		sum.bytes += f.Bytes
		sum.records += n
		if sum.oldest.IsZero() || f.Modified.Before(sum.oldest) {
			sum.oldest = f.Modified
		}
	}
	if !*long {
		for _, room := range disk.Dirs {
			sum := totals[room]
			fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\n", room, sum.files, sum.bytes, records(sum.records, *quick), age(sum.oldest))
		}
	}
	if bad > 0 {
		fmt.Fprintf(t, "%d problems: meterctl check names them\n", bad)
		return errors.Join(t.Flush(), errProblems)
	}
	return t.Flush()
}

func records(n int, unknown bool) string {
	if unknown {
		return "-"
	}
	return fmt.Sprint(n)
}

func age(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return time.Since(t).Round(time.Second).String()
}

// check reads every file to its end.
func check(w io.Writer, dir string, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("check: want nothing behind it, got %q; -store-dir DIR stands before check", args[0])
	}
	files, err := repair.Files(dir)
	if err != nil {
		return err
	}
	total, bad := 0, 0
	for _, f := range files {
		n, problems, err := repair.Records(dir, f, nil)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			problems = append(problems, repair.Problem{File: f.Path, What: err.Error()})
		}
		total += n
		if f.Dir == "damaged" && len(problems) == 0 && !strings.HasSuffix(f.Path, ".torn") && !strings.HasSuffix(f.Path, spool.RescuedSuffix) {
			problems = append(problems, repair.Problem{File: f.Path, What: fmt.Sprintf("%d bytes that could not be read were kept here", f.Bytes)})
		}
		for _, p := range problems {
			fmt.Fprintln(w, p)
			bad++
		}
	}
	fmt.Fprintf(w, "%d files, %d records, %d problems\n", len(files), total, bad)
	if bad > 0 {
		return errProblems
	}
	return nil
}

// cat prints the records of files.
func cat(w io.Writer, dir string, names []string) error {
	if len(names) == 0 {
		return errors.New("cat: want a file, got none; meterctl ls -l lists them")
	}
	files, err := repair.Files(dir)
	if err != nil {
		return err
	}
	bad := 0
	for _, name := range names {
		f, ok := find(files, dir, name)
		if !ok {
			return fmt.Errorf("cat: want a file of %s, got %q; meterctl ls -l lists them", dir, name)
		}
		if !f.HasRecords() {
			return fmt.Errorf("cat: want a file of records, got %s: look into it as it is", f.Path)
		}
		_, problems, err := repair.Records(dir, f, func(line []byte) error {
			_, err := fmt.Fprintf(w, "%s\n", line)
			return err
		})
		if err != nil {
			return err
		}
		for _, p := range problems {
			fmt.Fprintln(os.Stderr, "meterctl:", p)
			bad++
		}
	}
	if bad > 0 {
		return errProblems
	}
	return nil
}

// find takes a path below dir, a path that leads into dir, or an object key.
func find(files []repair.File, dir, name string) (repair.File, bool) {
	within, err := filepath.Rel(dir, name)
	for _, f := range files {
		if f.Path == name || f.Key() == name || f.Dir+"/"+f.Key() == name || err == nil && f.Path == within {
			return f, true
		}
	}
	return repair.File{}, false
}

// resend hands refused objects back for delivery.
func resend(w io.Writer, dir string, args []string) error {
	keys := args
	if len(args) == 1 && (args[0] == "-all" || args[0] == "--all") {
		refused, err := repair.Failed(dir)
		if err != nil {
			return err
		}
		keys = nil
		for _, obj := range refused {
			keys = append(keys, obj.Key)
		}
	} else if len(args) == 0 {
		return errors.New("resend: want keys or -all, got nothing; meterctl ls -l lists failed/")
	}
	for _, key := range keys {
		fresh, err := repair.Resend(dir, strings.TrimPrefix(key, "failed/"))
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s goes out again as %s\n", key, fresh)
	}
	fmt.Fprintf(w, "%d objects; a running plugin takes them up within 15 seconds, otherwise the next start does\n", len(keys))
	return nil
}

// drop deletes one refused object for good.
func drop(w io.Writer, dir string, args []string) error {
	flags := flag.NewFlagSet("drop", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	why := flags.String("why", "", "")
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return errors.New("drop: want a key and -why TEXT; meterctl ls -l lists failed/")
	}
	key := strings.TrimPrefix(args[0], "failed/")
	if err := flags.Parse(args[1:]); err != nil || flags.NArg() > 0 {
		return errors.New("drop: want one key, then -why TEXT in quotes")
	}
	if err := repair.Drop(dir, key, *why); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s is deleted; failed/audit.ndjson says why\n", key)
	return nil
}
