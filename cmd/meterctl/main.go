// Command meterctl is the operator's tool for the spool of out_amberflo: what waits, whether it is whole, what is in it, and
// what to do with what Amberflo did not take. It works beside a running Fluent Bit. Before that, it looks at a pipeline, and
// shows what bills a configuration makes of the lines of a log.
//
// Each verb is a file with a constructor, and a row in (*app).root. What they ask of the spool goes through package store; meter
// records are read and added up in package ledger.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"out_amberflo/cmd/meterctl/show"
	"out_amberflo/plugin"
)

// errProblems ends a command that found something, and said so.
var errProblems = errors.New("problems found")

// The exit statuses.
const (
	exitProblems = 1
	exitFailed   = 2
)

func main() {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(os.Stderr, "meterctl: internal error (bug): %v; report it with these lines and what meterctl version says\n%s", r, debug.Stack())
			os.Exit(exitFailed)
		}
	}()
	err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	switch {
	case err == nil:
	case errors.Is(err, errProblems):
		os.Exit(exitProblems)
	default:
		fmt.Fprintln(os.Stderr, "meterctl:", err)
		os.Exit(exitFailed)
	}
}

// app is one call of meterctl. What a verb finds goes to out, all else to notes.
type app struct {
	in    io.Reader
	out   *bufio.Writer
	seen  bool // out is a terminal
	notes io.Writer
}

// run carries out a command line.
func run(args []string, in io.Reader, out, notes io.Writer) error {
	a := &app{in: in, out: bufio.NewWriter(out), seen: show.IsTerminal(out), notes: notes}
	root := a.root()
	root.SetArgs(verbFirst(root, args))
	root.SetOut(a.out)
	root.SetErr(notes)
	cmd, err := root.ExecuteC()
	if err != nil && !errors.Is(err, errProblems) && cmd != root && !strings.HasPrefix(err.Error(), cmd.Name()+":") {
		err = fmt.Errorf("%s: %w", cmd.Name(), err)
	}
	return errors.Join(err, a.out.Flush())
}

// progress begins to tell of what may take long. The caller ends it.
func (a *app) progress(what string, total int64) *show.Progress {
	return show.NewProgress(a.notes, what, total)
}

// jsonFlag adds --json.
func jsonFlag(cmd *cobra.Command, to *bool) {
	cmd.Flags().BoolVar(to, "json", false, "write JSON, for programs: sizes in bytes, times in RFC 3339")
}

// The groups in which help lists the verbs.
const (
	looks   = "looks"
	acts    = "acts"
	configs = "configs"
	others  = "others"
)

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "meterctl",
		Short: "look into the spool of the Fluent Bit output amberflo, and act on it",
		Long: `meterctl looks into the spool of the Fluent Bit output amberflo, sends again what Amberflo did not take or what could not be
metered, and looks at configurations before they go live. All of it works beside a running Fluent Bit, except split.`,
		Example: `  meterctl status -c /etc/fluent-bit/fluent-bit.conf
  meterctl map -c fluent-bit.conf app.log
  meterctl report --store-dir /var/lib/fluent-bit/amberflo -o report.html`,
		Version:               plugin.Version,
		Args:                  cobra.ArbitraryArgs,
		DisableFlagsInUseLine: true,
		SilenceErrors:         true,
		SilenceUsage:          true,
		Annotations: exits("0  nothing wrong was found (warnings alone are not)\n" +
			"1  a problem was found, and named: a damaged file, an object or a record that waits for somebody, a mistake in CONF\n" +
			"2  the command was not carried out: the command line is wrong, or a file could not be read or written"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				cmd.SetOut(a.notes)
				return errors.Join(cmd.Help(), errors.New("want a command, got none"))
			}
			return unknownVerb(cmd, args[0])
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetVersionTemplate(versionText())
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpTemplate(helpTemplate)
	root.SetFlagErrorFunc(flagError)
	root.AddGroup(&cobra.Group{ID: looks, Title: "Look into a spool:"}, &cobra.Group{ID: acts, Title: "Act on it:"},
		&cobra.Group{ID: configs, Title: "Before it goes live:"}, &cobra.Group{ID: others, Title: "Also:"})
	root.AddCommand(
		a.status(), a.ls(), a.check(), a.cat(), a.bill(), a.report(),
		a.retryRejected(), a.resend(), a.drop(), a.rescue(), a.split(),
		a.checkConfig(), a.mapVerb(),
		a.install(), a.completion(), a.man(), a.version(),
	)
	root.SetHelpCommand(helpVerb())
	root.InitDefaultHelpCmd()
	return root
}

// exits is what help says of a command's exit status.
func exits(text string) map[string]string { return map[string]string{"exits": text} }

// looked is the exit status of a command that looks for problems.
func looked(found string) map[string]string {
	return exits("0  nothing wrong was found\n1  " + found + "\n2  the command was not carried out")
}

// done is the exit status of a command that changes something.
func done() map[string]string {
	return exits("0  done, or with --dry-run: can be done\n2  the command was not carried out, or not all of it")
}

func unknownVerb(root *cobra.Command, verb string) error {
	near := ""
	if list := root.SuggestionsFor(verb); len(list) > 0 {
		near = "did you mean " + strings.Join(list, " or ") + "? "
	}
	return fmt.Errorf("want a command, got %q; %smeterctl --help lists them", verb, near)
}

// flagError names the flag that was meant, and where all of them are explained.
func flagError(cmd *cobra.Command, err error) error {
	hint := cmd.CommandPath() + " --help explains the flags"
	for _, word := range strings.FieldsFunc(err.Error(), func(r rune) bool { return r == ' ' || r == '\'' || r == '"' }) {
		name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if strings.HasPrefix(word, "-") && !strings.HasPrefix(word, "--") && len(name) > 1 && cmd.Flags().Lookup(name) != nil {
			return fmt.Errorf("want --%s, got -%s; %s", name, name, hint)
		}
	}
	return fmt.Errorf("%w; %s", err, hint)
}

// gotWords are the words of a command line, for people.
func gotWords(args []string) string {
	if len(args) == 0 {
		return "none"
	}
	return fmt.Sprintf("%q", strings.Join(args, " "))
}

// verbFirst moves the verb to the front, so that its flags may stand anywhere: what stands alone before a word may be a switch,
// or a flag whose value the word is, and only the verb knows.
func verbFirst(root *cobra.Command, args []string) []string {
	for i, word := range args {
		if word == "--" || word == cobra.ShellCompRequestCmd || word == cobra.ShellCompNoDescRequestCmd {
			break
		}
		cmd, _, err := root.Find([]string{word})
		if err != nil || cmd == root || strings.HasPrefix(word, "-") || i > 0 && takesValue(cmd, args[i-1]) {
			continue
		}
		return append(append([]string{word}, args[:i]...), args[i+1:]...)
	}
	return args
}

// takesValue tells if a word of the command line is a flag that waits for the next one.
func takesValue(cmd *cobra.Command, word string) bool {
	if len(word) < 2 || word[0] != '-' || strings.Contains(word, "=") {
		return false
	}
	flag := cmd.Flags().Lookup(strings.TrimPrefix(word, "--"))
	if word[1] != '-' {
		flag = cmd.Flags().ShorthandLookup(word[len(word)-1:])
	}
	return flag != nil && flag.NoOptDefVal == ""
}

func helpVerb() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "explain a command", GroupID: others, DisableFlagsInUseLine: true,
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, _ string) (names []string, _ cobra.ShellCompDirective) {
			for _, sub := range cmd.Root().Commands() {
				names = append(names, sub.Name())
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			of := cmd.Root()
			if len(args) > 0 {
				found, _, err := of.Find(args[:1])
				if err != nil || found == of {
					return unknownVerb(of, args[0])
				}
				of = found
			}
			of.InitDefaultHelpFlag()
			of.InitDefaultVersionFlag()
			return of.Help()
		},
	}
}

const (
	helpTemplate = `{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}

{{end}}{{.UsageString}}`
	usageTemplate = `Usage:
  {{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND [flags]{{else}}{{.UseLine}}{{end}}
{{- if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{range $group := .Groups}}

{{.Title}}{{range $cmds}}{{if (and (eq .GroupID $group.ID) .IsAvailableCommand)}}
  {{rpad .Name .NamePadding}}  {{.Short}}{{end}}{{end}}{{end}}{{end}}
{{- if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}
{{- if .HasExample}}

Examples:
{{.Example}}{{end}}
{{- with .Annotations.exits}}

Exit status:
{{range (lines .)}}  {{.}}
{{end}}{{else}}
{{end}}
{{- if .HasAvailableSubCommands}}
meterctl COMMAND --help explains a command.
{{end}}`
)

func init() {
	cobra.AddTemplateFunc("lines", func(text string) []string { return strings.Split(text, "\n") })
}
