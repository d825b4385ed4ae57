package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

var shells = []string{"bash", "zsh", "fish"}

// completion writes what makes a shell complete commands, flags, and the files of the spool.
func (a *app) completion() *cobra.Command {
	return &cobra.Command{
		Use: "completion {bash | zsh | fish}", Short: "the completion for a shell", GroupID: others, DisableFlagsInUseLine: true,
		Long: `completion writes a script that makes a shell complete commands, flags, and the files of a spool. The packages install it.

  bash   source <(meterctl completion bash)      with bash-completion
  zsh    meterctl completion zsh >"${fpath[1]}/_meterctl"
  fish   meterctl completion fish >~/.config/fish/completions/meterctl.fish`,
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch strings.Join(args, " ") {
			case "bash":
				return root.GenBashCompletionV2(a.out, true)
			case "zsh":
				return root.GenZshCompletion(a.out)
			case "fish":
				return root.GenFishCompletion(a.out, true)
			}
			return fmt.Errorf("want one of %s, got %s", strings.Join(shells, ", "), gotWords(args))
		},
	}
}
