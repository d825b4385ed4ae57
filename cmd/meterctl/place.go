package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"out_amberflo/cmd/meterctl/pipeline"
	"out_amberflo/cmd/meterctl/store"
	"out_amberflo/plugin"
	"out_amberflo/plugin/disk"
)

// storeDirVariable names the spool where neither --store-dir nor -c does.
const storeDirVariable = "AMBERFLO_STORE_DIR"

// place is which spool a command works on, as its flags say.
type place struct {
	storeDir, conf, output string
}

// flags adds those that name a spool.
func (p *place) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.storeDir, "store-dir", "", "`DIR` of the spool: store_dir of the output (default that of CONF, $"+storeDirVariable+" or "+plugin.DefaultStoreDir+")")
	_ = cmd.MarkFlagDirname("store-dir")
	p.confFlags(cmd)
}

// confFlags adds those that name an output of a configuration.
func (p *place) confFlags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&p.conf, "config", "c", "", "`CONF`, a configuration of Fluent Bit, classic or YAML; it is read with the environment of this command")
	cmd.Flags().StringVar(&p.output, "output", "", "the amberflo output of CONF: its `NAME` in the log such as amberflo.2, its alias, or its number from 0")
}

// spool is a spool and what the configuration says of it.
type spoolPlace struct {
	dir        string
	config     *plugin.Config    // nil without -c
	section    *pipeline.Section // likewise
	guessed    bool              // nobody named dir
	byVariable bool              // storeDirVariable named it
}

// find gives the spool that is meant.
func (p *place) find() (*spoolPlace, error) {
	if p.conf == "" {
		if p.output != "" {
			return nil, fmt.Errorf("want -c CONF beside --output, got none")
		}
		dir := cmp.Or(p.storeDir, os.Getenv(storeDirVariable))
		return &spoolPlace{dir: cmp.Or(dir, plugin.DefaultStoreDir), guessed: dir == "", byVariable: p.storeDir == "" && dir != ""}, nil
	}
	conf, err := readPipeline(p.conf)
	if err != nil {
		return nil, err
	}
	sections := conf.Mine()
	if p.output != "" || len(sections) == 0 {
		section, err := conf.Choose(p.output)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.conf, err)
		}
		sections = []*pipeline.Section{section}
	}
	var found []*spoolPlace
	var dirs []string
	for _, s := range sections {
		config, mistakes := plugin.Check(s.Get)
		at := &spoolPlace{dir: config.StoreDir, config: config, section: s}
		if p.storeDir != "" {
			if abs, err := filepath.Abs(p.storeDir); len(sections) > 1 && (err != nil || abs != config.StoreDir) {
				continue // of another spool
			}
			at.dir = p.storeDir
		} else if err := storeDirOf(conf, s, mistakes); err != nil {
			return nil, err
		}
		if !slices.Contains(dirs, at.dir) {
			dirs = append(dirs, at.dir)
			found = append(found, at)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0: // none of several has that directory
		return &spoolPlace{dir: p.storeDir}, nil
	}
	return nil, fmt.Errorf("want --output NAME or --store-dir DIR, since the outputs of %s have the spools %s; the outputs are %s", p.conf, strings.Join(dirs, ", "), pipeline.Names(sections))
}

// storeDirOf says why the store_dir of an output cannot be known here.
func storeDirOf(conf *pipeline.Pipeline, s *pipeline.Section, mistakes []*plugin.OptionError) error {
	for _, u := range conf.Unset {
		if u.Section == s && u.Key == "store_dir" {
			return fmt.Errorf("%s: store_dir: want a value for ${%s}, got none; set it in the environment, or give --store-dir DIR", u.Place, u.Name)
		}
	}
	for _, m := range mistakes {
		if m.Key == "store_dir" {
			return fmt.Errorf("%s: %w", s.PlaceOf("store_dir"), m)
		}
	}
	return nil
}

// explain adds to an error which flag names another spool.
func (p *spoolPlace) explain(err error) error {
	switch {
	case err != nil && p.guessed:
		return fmt.Errorf("%w; nobody named the spool: set --store-dir DIR, -c CONF or $%s", err, storeDirVariable)
	case errors.Is(err, fs.ErrNotExist) && !isThere(p.dir, disk.Open):
		by := ""
		if p.byVariable {
			by = fmt.Sprintf(" (%s, which $%s names)", p.dir, storeDirVariable)
		}
		return fmt.Errorf("%w%s; Fluent Bit makes it when it first starts; set --store-dir DIR or -c CONF if it is another one", err, by)
	}
	return err
}

func isThere(elements ...string) bool {
	_, err := os.Stat(filepath.Join(elements...))
	return err == nil
}

// files lists what is in the spool.
func (p *spoolPlace) files() ([]store.File, error) {
	files, err := store.Files(p.dir)
	return files, p.explain(err)
}

// failed are the keys of the objects that Amberflo did not take, the longest there first.
func (p *spoolPlace) failed() ([]string, error) {
	keys, err := store.FailedObjects(p.dir)
	return keys, p.explain(err)
}
