package main

import (
	"cmp"
	"fmt"
	"maps"
	"math/big"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"out_amberflo/test/amberflo"
	"out_amberflo/test/logbook"
)

// step does something and shows meanwhile that it lives.
func step(what string, do func() error) error {
	fmt.Print(what, " ")
	began, done := time.Now(), make(chan error, 1)
	go func() { done <- do() }()
	for tick := time.Tick(time.Second); ; {
		select {
		case err := <-done:
			fmt.Println(map[bool]string{true: fmt.Sprintf("%.1f s", time.Since(began).Seconds()), false: "failed"}[err == nil])
			return err
		case <-tick:
			fmt.Print(".")
		}
	}
}

// detail shows what only -v asks for.
func detail(format string, args ...any) {
	if *verbose {
		fmt.Printf("\n"+format, args...)
	}
}

// showLog shows what the plugin said, with -v.
func showLog(log *logbook.Book) {
	detail("the plugin's log:\n")
	for line := range strings.Lines(log.String()) {
		if *verbose && strings.Contains(line, "[output:amberflo") && !strings.Contains(line, "worker #") {
			fmt.Print("  ", line)
		}
	}
}

// show shows a line of the summary. Numbers get commas.
func show(about, format string, args ...any) {
	for i, arg := range args {
		args[i] = commas(fmt.Sprint(arg))
	}
	fmt.Printf("%-10s"+format+"\n", append([]any{about}, args...)...)
}

// commas groups the digits of a whole number; anything else stays as it is.
func commas(s string) string {
	if strings.Trim(s, "0123456789") == "" {
		for i := len(s) - 3; i > 0; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
	}
	return s
}

// addUp adds the lines of a bill that a key makes equal.
func addUp(lines []amberflo.Line, key func(amberflo.Line) amberflo.Line) (sums []amberflo.Line) {
	for _, l := range lines {
		k := key(l)
		i := slices.IndexFunc(sums, func(s amberflo.Line) bool { return s.Customer == k.Customer && s.Meter == k.Meter })
		if i < 0 {
			sums = append(sums, amberflo.Line{Customer: k.Customer, Meter: k.Meter, Events: l.Events, Usage: l.Usage})
			continue
		}
		a, _ := new(big.Rat).SetString(sums[i].Usage)
		b, _ := new(big.Rat).SetString(l.Usage)
		sums[i].Events += l.Events
		sums[i].Usage = amberflo.Decimal(a.Add(a, b))
	}
	return sums
}

func customer(l amberflo.Line) amberflo.Line { return amberflo.Line{Customer: l.Customer} }
func meter(l amberflo.Line) amberflo.Line    { return amberflo.Line{Meter: l.Meter} }

// showLargest shows the customers with most records.
func showLargest(bill amberflo.Bill) {
	all := addUp(bill.Lines, customer)
	slices.SortFunc(all, func(a, b amberflo.Line) int { return b.Events - a.Events })
	fmt.Println("\nthe largest customers, all meters together:")
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "customer\trecords\tusage (bytes)\t")
	for _, l := range all[:min(5, len(all))] {
		fmt.Fprintf(t, "%s\t%s\t%s\t\n", l.Customer, commas(fmt.Sprint(l.Events)), commas(l.Usage))
	}
	_ = t.Flush()
	fmt.Println("The large sums are no mistake: one line in 100 is odd on purpose. It has its bytes as a string, or more of them than a double\n" +
		"can count (2^53), or quotes and other scripts, and is billed to the last byte.")
}

// reasons counts them, with the most frequent first, and shows each with an example under -v.
func reasons(all []reject) string {
	count, example := map[string]int{}, map[string]string{}
	for _, r := range all {
		count[r.Reason]++
		example[r.Reason] = r.Detail
	}
	names := slices.SortedFunc(maps.Keys(count), func(a, b string) int { return cmp.Or(count[b]-count[a], strings.Compare(a, b)) })
	for i, name := range names {
		if *verbose {
			fmt.Printf("          %s: %s\n", name, example[name])
		}
		names[i] = fmt.Sprint(count[name], " ", name)
	}
	return strings.Join(names, ", ")
}
