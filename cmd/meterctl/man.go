package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"out_amberflo/plugin"
)

// man writes the manual page of the packages. All of it comes from the commands, so that it says what they do.
func (a *app) man() *cobra.Command {
	return &cobra.Command{
		Use: "man", Short: "the manual page, for man(1)", Hidden: true, DisableFlagsInUseLine: true, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return writeManual(a.out, cmd.Root()) },
	}
}

func writeManual(w io.Writer, root *cobra.Command) error {
	m := &manual{}
	m.line(`.TH METERCTL 1 "" "out_amberflo %s"`, roff(plugin.Version))
	m.line(".SH NAME\nmeterctl \\- %s", roff(root.Short))
	m.line(".SH SYNOPSIS\n.B meterctl\nCOMMAND [flags]")
	m.line(".SH DESCRIPTION")
	m.text(root.Long)
	m.line(".SH COMMANDS")
	for _, cmd := range root.Commands() {
		if !cmd.IsAvailableCommand() && cmd.Name() != "help" {
			continue
		}
		m.line(".SS meterctl %s", roff(cmd.Use))
		long := cmd.Long
		if long == "" {
			long = cmd.Short + "."
		}
		m.text(long)
		m.flags(cmd)
		if cmd.Example != "" {
			m.line(".PP\nExamples:")
			m.verbatim(cmd.Example)
		}
		if text := cmd.Annotations["exits"]; text != "" {
			m.line(".PP\nExit status:")
			m.verbatim(text)
		}
	}
	m.line(".SH EXIT STATUS")
	m.verbatim(root.Annotations["exits"])
	m.line(".SH ENVIRONMENT\n.TP\n.B %s\nthe spool, where neither \\-\\-store\\-dir nor \\-\\-config names one", storeDirVariable)
	m.line(".TP\n.B FLUENT_BIT\nthe program that \\-\\-through\\-fluent\\-bit runs, instead of the fluent\\-bit of the PATH")
	m.line(".SH EXAMPLES")
	m.verbatim(root.Example)
	_, err := io.WriteString(w, m.b.String())
	return err
}

// manual is a page in the language of man(7).
type manual struct{ b strings.Builder }

func (m *manual) line(format string, args ...any) { fmt.Fprintf(&m.b, format+"\n", args...) }

// text writes paragraphs; those that are indented stay as they are.
func (m *manual) text(text string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if strings.HasPrefix(paragraph, "  ") {
			m.verbatim(paragraph)
			continue
		}
		if i > 0 {
			m.line(".PP")
		}
		m.line("%s", roff(paragraph))
	}
}

func (m *manual) verbatim(text string) { m.line(".PP\n.nf\n%s\n.fi", roff(text)) }

func (m *manual) flags(cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		kind, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if kind != "" {
			name += " " + kind
		}
		m.line(".TP\n.B %s\n%s", roff(name), roff(usage))
	})
}

// roff escapes what man(7) would read as its own.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	var lines []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "")
}
