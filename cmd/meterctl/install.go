package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// parts are the files of the plugin-only image, beside meterctl itself: the output, and what loads and configures it.
var parts = []string{"out_amberflo.so", "meterctl", "plugins.conf", "firelens.conf", "amberflo-parsers.conf"}

// install copies the parts that lie beside this program into a directory that a container of Fluent Bit shares. It is for
// images without a shell. Each file is whole under its name at any time, so that it may run beside a Fluent Bit.
func (a *app) install() *cobra.Command {
	return &cobra.Command{
		Use: "install DIRECTORY", Short: "copy the output and what lies beside this program, for containers", GroupID: others, DisableFlagsInUseLine: true,
		Long: `install copies the output and what lies beside this program to DIRECTORY, for containers of Fluent Bit that share it
(docker/README.md). It is the entry point of the plugin-only image.`,
		Annotations: exits("0  done\n2  the command was not carried out"),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return fmt.Errorf("want the directory to copy to, such as /amberflo, got %q", args)
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			return copyParts(a.out, filepath.Dir(self), args[0])
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
}

func copyParts(w io.Writer, from, to string) error {
	if _, err := os.Stat(filepath.Join(from, parts[0])); err != nil {
		return fmt.Errorf("install: want %s beside meterctl, as in the plugin-only image: %w", parts[0], err)
	}
	for _, name := range parts {
		err := copyFile(filepath.Join(from, name), filepath.Join(to, name))
		if errors.Is(err, os.ErrNotExist) && name != parts[0] {
			continue // an archive of a release has no firelens.conf
		}
		if err != nil {
			return fmt.Errorf("install: %w", err)
		}
		fmt.Fprintln(w, "installed", filepath.Join(to, name))
	}
	return nil
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Dir(to)); err != nil {
		return fmt.Errorf("want a directory to copy to: %v", err) // not as an error that says that from is missing
	}
	target, err := os.CreateTemp(filepath.Dir(to), ".installing-")
	if err != nil {
		return err
	}
	defer os.Remove(target.Name())
	_, err = io.Copy(target, source)
	if err := errors.Join(err, target.Chmod(info.Mode().Perm()|0o444), target.Close()); err != nil {
		return err
	}
	return os.Rename(target.Name(), to)
}
