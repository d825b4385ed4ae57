package amberflo

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteObjects prints a table of objects in the order given.
func WriteObjects(w io.Writer, objects []Object) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "object\tbytes\tformat\trecords\trejected\tduplicates")
	for _, o := range objects {
		format := o.Format
		if o.Members > 0 {
			format = strings.TrimSpace(format + " gzip")
		}
		fmt.Fprintf(tw, "%s\t%d\t%s\t%d\t%d\t%d\n", o.Key, o.Size, format, o.Records, o.Refused, o.Duplicates)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, o := range objects {
		if o.Reason != "" {
			if _, err := fmt.Fprintf(w, "rejected %s: %s\n", o.Key, o.Reason); err != nil {
				return err
			}
		}
	}
	return nil
}

// WriteBill prints the bill as a table, and below it what was read in one line.
func WriteBill(w io.Writer, b Bill) error {
	split := false
	for _, l := range b.Lines {
		split = split || len(l.Dimensions) > 0
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(customer, meter, dimensions string, events, usage any) {
		if split {
			meter += "\t" + dimensions
		}
		fmt.Fprintf(tw, "%s\t%s\t%v\t%v\n", customer, meter, events, usage)
	}
	row("customer", "meter", "dimensions", "events", "usage")
	for _, l := range b.Lines {
		row(l.Customer, l.Meter, l.dimensions(), l.Events, l.Usage)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d records in the bucket: %d billed, %d rejected, %d duplicates discarded, %d with a uniqueId used before, %d without one\n",
		b.Records, b.Billed, b.Refused, b.Duplicates, b.Conflicts, b.WithoutID)
	return err
}
