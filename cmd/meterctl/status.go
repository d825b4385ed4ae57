package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"out_amberflo/cmd/meterctl/look"
	"out_amberflo/cmd/meterctl/show"
)

// status tells on one screen how a spool is.
func (a *app) status() *cobra.Command {
	var at place
	var watch, quick, asJSON bool
	every := 5 * time.Second
	times := 0
	cmd := &cobra.Command{
		Use: "status [flags]", Short: "how it is: what waits, the last upload and its failure, what needs somebody", GroupID: looks, DisableFlagsInUseLine: true,
		Long: `status tells on one screen what waits and since when, when the last upload was, how full the spool is, what was rejected and
why, and which commands are to be given. With -c CONF it knows the limits; with --watch it looks again every few seconds,
and tells how fast records come and go.

It looks at the directory only, and needs no HTTP server of Fluent Bit. Each output keeps a file in status/ there, which it
writes at most every 5 seconds and only when something has changed: why the last upload failed and when the next is tried,
and what was accepted, skipped and rejected since the start. Of an output whose process has ended, it is what it said last.`,
		Example:           "  meterctl status -c fluent-bit.conf\n  meterctl status --watch --every 10s\n  meterctl status --json -c fluent-bit.conf | jq .attention",
		Annotations:       looked("something needs somebody; the lines at the end say what"),
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every < time.Second {
				return fmt.Errorf("want --every with at least 1s, got %s", every)
			}
			found, err := at.find()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			if watch { // an interrupt ends the wait, a second one whatever it does
				var stop context.CancelFunc
				ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
				context.AfterFunc(ctx, stop)
				defer stop()
			}
			c := a.looker(found, quick)
			for i := 0; ; i++ {
				s, err := c.Look()
				if err != nil {
					return err
				}
				if asJSON {
					err = show.JSON(a.out, s)
				} else {
					if watch && a.seen {
						fmt.Fprint(a.out, "\x1b[H\x1b[2J") // to the top of an empty screen
					} else if i > 0 {
						fmt.Fprintln(a.out)
					}
					err = s.Screen(a.out)
				}
				if err := errors.Join(err, a.out.Flush()); err != nil {
					return err
				}
				if !watch || i+1 == times {
					return needs(s)
				}
				select {
				case <-ctx.Done():
					return needs(s)
				case <-time.After(every):
				}
			}
		},
	}
	at.flags(cmd)
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "look again until it is interrupted, and tell rates")
	cmd.Flags().DurationVar(&every, "every", every, "how long --watch waits between two looks, such as 10s")
	cmd.Flags().IntVar(&times, "times", 0, "end --watch after so many looks")
	cmd.Flags().BoolVarP(&quick, "no-count", "n", false, "do not count records, for which compressed objects have to be read")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// looker looks at a spool.
func (a *app) looker(at *spoolPlace, quick bool) *look.Looker {
	return &look.Looker{Dir: at.dir, List: at.files, Notes: a.notes, Quick: quick, Config: at.config}
}

// needs is the exit status of what needs somebody.
func needs(s *look.Status) error {
	if len(s.Attention) > 0 {
		return errProblems
	}
	return nil
}
