package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/plugin"
	"out_amberflo/plugin/disk"
	"out_amberflo/plugin/repair"
)

// split divides an object that waits.
func (a *app) split() *cobra.Command {
	var at place
	most := int64(0)
	cmd := &cobra.Command{
		Use: "split [flags] KEY", Short: "divide an object that is too large for the server; Fluent Bit has to be stopped", GroupID: acts, DisableFlagsInUseLine: true,
		Long:              "split divides an object of outbox/ that is too large for the server, in halves or in objects of --size. The next start sends them.",
		Annotations:       exits("0  done\n2  the command was not carried out"),
		ValidArgsFunction: completeFiles(&at, disk.Outbox),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("want one key, got %s; meterctl ls --long lists outbox/", gotWords(args))
			}
			found, err := at.find()
			if err != nil {
				return err
			}
			n, err := repair.Split(found.dir, strings.TrimPrefix(args[0], disk.Outbox+"/"), most)
			if err != nil {
				return found.explain(err)
			}
			fmt.Fprintf(a.out, "%s is %d objects now; the next start sends them\n", show.Plain(args[0]), n)
			return nil
		},
	}
	at.flags(cmd)
	cmd.Flags().Func("size", "divide it in objects of `SIZE` each before compression, such as 5M (default: in halves)", func(v string) (err error) {
		if most, err = plugin.ParseSize(v); err != nil {
			err = errors.New("want " + err.Error())
		}
		return err
	})
	return cmd
}
