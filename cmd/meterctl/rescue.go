package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/repair"
	"out_amberflo/plugin/spool"
)

// rescue delivers what can be read of damaged objects.
func (a *app) rescue() *cobra.Command {
	var at place
	var all bool
	cmd := &cobra.Command{
		Use: "rescue [flags] KEY...", Short: "send what can be read of objects that the disk has damaged", GroupID: acts, DisableFlagsInUseLine: true,
		Long: `rescue sends the whole segments of objects in damaged/outbox/ under fresh keys; their records keep their uniqueId. The damaged
object stays, as <file>.rescued, and ` + spool.AuditLog + ` says what is lost.`,
		Annotations:       exits("0  done\n2  the command was not carried out, or not all of it"),
		ValidArgsFunction: completeFiles(&at, disk.Damaged),
		RunE: func(_ *cobra.Command, keys []string) error {
			if len(keys) == 0 {
				return errors.New("want keys, got none; meterctl ls --long lists damaged/outbox/")
			}
			found, err := at.find()
			if err != nil {
				return err
			}
			for _, key := range keys {
				key = strings.TrimPrefix(strings.TrimPrefix(key, disk.Damaged+"/"), disk.Outbox+"/")
				records, err := repair.Rescue(found.dir, key, all)
				if err != nil {
					return found.explain(err)
				}
				fmt.Fprintf(a.out, "%s: %s sent; %s says what is lost\n", show.Plain(key), show.Number(records, "record", " is", " are"), spool.AuditLog)
			}
			fmt.Fprintln(a.out, takenUp)
			return nil
		},
	}
	at.flags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "also send an object of which all can be read and nobody can say which record is wrong")
	return cmd
}
