package page

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"out_amberflo/cmd/meterctl/ledger"
	"out_amberflo/cmd/meterctl/show"
)

// chart is a drawing of bars, one for each span, and the table of the same numbers.
type chart struct {
	ID, Title, Text string
	Width, Height   int
	Bars            []bar
	Ticks           []tick
	Labels          []tick
	Legend          []legend
	Head            []string
	Rows            [][]string
}

type bar struct {
	X, Y, W, H string
	Colour     int
	Text       string
}

type tick struct{ X, Y, Text string }

type legend struct {
	Colour int
	Name   string
}

// The drawing's measures.
const (
	chartWidth  = 760
	chartHeight = 220
	chartLeft   = 70
	chartTop    = 12
	chartFoot   = 40
)

// draw draws the values of a meter; others is how many customers are in the last row of s, 0 if none.
func (u *usage) draw(meter, id string, names []string, others int, s series) *chart {
	if len(s.spans) == 0 {
		return nil
	}
	c := &chart{ID: id, Width: chartWidth, Height: chartHeight, Title: meter + " over time",
		Text: fmt.Sprintf("%s in each %s, from %s on; the same numbers are in the table below", meter, u.widthText(), show.Time(u.spanStart(s.spans[0])))}
	rows := slices.Clone(names)
	if others > 0 {
		rows = append(rows, othersText(others))
	}
	for i, name := range rows {
		c.Legend = append(c.Legend, legend{min(i, apart), name})
	}
	c.Head = append([]string{"begin (UTC)"}, rows...)
	highest := 0.0
	for column := range s.spans {
		height := 0.0
		for row := range s.values {
			height += max(0, approximate(s.values[row][column]))
		}
		highest = max(highest, height)
	}
	highest = roundUp(highest)
	plot := float64(chartHeight - chartTop - chartFoot)
	step := float64(chartWidth-chartLeft-10) / float64(len(s.spans))
	fixed := func(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }
	for column, span := range s.spans {
		start := u.spanStart(span).Format("01-02 15:04")
		if widths[u.width] >= 24*time.Hour {
			start = u.spanStart(span).Format("2006-01-02")
		}
		x, y := chartLeft+step*float64(column), float64(chartHeight-chartFoot)
		cells := []string{u.spanStart(span).Format("2006-01-02 15:04")}
		for row, name := range rows {
			v := s.values[row][column]
			text := show.Thousands(ledger.ValueText(v))
			cells = append(cells, text)
			if h := max(0, approximate(v)); h > 0 && highest > 0 {
				h *= plot / highest
				y -= h
				c.Bars = append(c.Bars, bar{fixed(x + step*0.1), fixed(y), fixed(step * 0.8), fixed(max(h, 0.5)), min(row, apart), name + ", " + start + ": " + text})
			}
		}
		c.Rows = append(c.Rows, cells)
		if every := (len(s.spans) + 5) / 6; column%every == 0 {
			c.Labels = append(c.Labels, tick{fixed(x + step/2), strconv.Itoa(chartHeight - chartFoot + 18), start})
		}
	}
	for i := range 3 {
		v := highest * float64(i) / 2
		c.Ticks = append(c.Ticks, tick{strconv.Itoa(chartLeft), fixed(float64(chartHeight-chartFoot) - plot*float64(i)/2), axisText(v)})
	}
	return c
}

// roundUp is the next number of 1, 2, 4 or 8 and zeros.
func roundUp(v float64) float64 {
	if v <= 0 {
		return 0
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, digit := range []float64{1, 2, 4, 8} {
		if v <= digit*power {
			return digit * power
		}
	}
	return 10 * power
}

// axisText is a round number, short.
func axisText(v float64) string {
	unit := 0
	units := []string{"", "k", "M", "G", "T", "P", "E"}
	for v >= 1000 && unit < len(units)-1 {
		v, unit = v/1000, unit+1
	}
	return strings.TrimSpace(strconv.FormatFloat(v, 'g', 3, 64) + " " + units[unit])
}
