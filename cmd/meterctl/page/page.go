// Package page is one page of HTML: what a spool has used, and how it is.
package page

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"

	"out_amberflo/cmd/meterctl/store"
)

// Page is what the template shows. All names in it are for people: see show.Short.
type Page struct {
	Style    template.CSS
	Policy   string // for the Content-Security-Policy
	Version  string
	Of       string // a directory, or files
	Written  string
	From, To string // of the meter times
	Spool    bool   // and not files

	Total     shownSum
	Customers string
	MeterSum  string
	Meters    []*shownMeter
	More      []shownMeterSum // those without a chart
	Rest      int             // meters that have no line at all

	Way       []shownStage
	Objects   []shownObject
	Unlisted  int
	Failed    []shownObject
	Unfailed  int
	Rejects   []shownRejects
	Rejected  string
	Problems  []store.Found
	Unnamed   int
	Unusable  string
	Missed    int
	Attention []string
	Fills     []Fill

	usage *usage
}

type shownSum struct{ Value, Events, Records string }

type shownMeterSum struct {
	Name, Customers string
	shownSum
}

type shownMeter struct {
	shownMeterSum
	ID     string // of the section, made of a number
	Top    []shownCustomer
	Others *shownCustomer
	Chart  *chart
}

type shownCustomer struct {
	Name, Share string
	Colour      int
	shownSum
}

type shownStage struct{ Name, What, Objects, Events, Records, Size, Since string }

type shownObject struct{ Key, Where, Events, Records, Size, Since, Reason string }

// shownRejects are those of one reason, with the names of the outputs and of the fields of an example.
type shownRejects struct {
	Reason          string
	Records         int
	From, Tag, Keys string
}

// Fill says how full something is.
type Fill struct{ Name, Text, Percent string }

var (
	//go:embed report.html
	pageText string
	//go:embed report.css
	pageStyle string

	pageTemplate = template.Must(template.New("report").Parse(pageText))
)

// Write writes the page. Its policy allows that one style sheet, and nothing else.
func Write(w io.Writer, p *Page) error {
	digest := sha256.Sum256([]byte(pageStyle))
	p.Style = template.CSS(pageStyle)
	p.Policy = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'; base-uri 'none'; form-action 'none'"
	return pageTemplate.Execute(w, p)
}

// WriteFile writes the page whole, or leaves what was there. Only its owner may read it.
func WriteFile(to string, p *Page) error {
	f, err := os.CreateTemp(filepath.Dir(to), ".report-")
	if err != nil {
		return fmt.Errorf("want -o with a file that can be written: %w", err)
	}
	defer os.Remove(f.Name())
	if err := errors.Join(Write(f, p), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), to)
}
