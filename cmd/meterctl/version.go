package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/plugin"
)

func versionText() string {
	return fmt.Sprintf("meterctl %s (out_amberflo), %s %s/%s\n", plugin.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// version tells which one this is.
func (a *app) version() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version [flags]", Short: "the version of this program", GroupID: others, DisableFlagsInUseLine: true, Args: noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return show.JSON(a.out, map[string]string{"version": plugin.Version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
			}
			_, err := a.out.WriteString(versionText())
			return err
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}
