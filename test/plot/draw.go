package main

import (
	"bytes"
	"fmt"
)

// graph is one frame: a question, and the series that answer it.
type graph struct {
	title  string
	series []series
}

type series struct {
	label, color string
	value        func(m, before moment) float64
}

func level(name string) func(m, _ moment) float64 {
	return func(m, _ moment) float64 { return m.values[name] }
}

// rate is a counter's growth in a second since the moment before.
func rate(name string) func(m, before moment) float64 {
	return func(m, before moment) float64 {
		if m.at == before.at {
			return 0
		}
		return (m.values[name] - before.values[name]) / (m.at - before.at).Seconds()
	}
}

const blue, orange, red = "#1f6fb2", "#d9730d", "#c0392b"

var graphs = []graph{
	{"How much is metered? Records a second", []series{{"accepted", blue, rate("accepted_records_total")}}},
	{"Does the bucket get all of it? Objects", []series{
		{"sealed", orange, level("sealed_objects_total")}, {"uploaded", blue, level("uploaded_objects_total")}}},
	{"What waits? Objects", []series{{"waiting", blue, level("waiting_objects")}}},
	{"For how long? Age of the oldest, seconds", []series{{"oldest", blue, level("oldest_waiting_seconds")}}},
	{"Why do uploads fail? Tries that failed", []series{{"unavailable", red, level("upload_failures_total")}}},
	{"How much of the disk do they take? Bytes", []series{{"waiting", blue, level("waiting_bytes")}}},
}

const (
	graphWide, graphHigh = 360, 130
	left, top, gap       = 70, 60, 46
	smooth               = 4 // moments that a rate looks back: counters are set once a second
)

// draw makes an SVG of the graphs, two in a row; the time in which S3 failed is shaded.
func draw(moments []moment) []byte {
	var b bytes.Buffer
	wide := 2*(graphWide+left) + 20
	high := top + (len(graphs)+1)/2*(graphHigh+gap)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", wide, high)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/><text x="14" y="22" font-size="14" font-weight="bold">The counters of a real run of %.0f seconds; S3 answers 503 in the shaded part</text>`+"\n", wide, high, lasts.Seconds())
	for i, g := range graphs {
		g.draw(&b, moments, left+i%2*(graphWide+left), top+i/2*(graphHigh+gap))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (g graph) draw(b *bytes.Buffer, moments []moment, x0, y0 int) {
	most := 0.0
	lines := make([][]float64, len(g.series))
	for i, s := range g.series {
		for k, m := range moments {
			v := s.value(m, moments[max(k-smooth, 0)])
			lines[i] = append(lines[i], v)
			most = max(most, v)
		}
	}
	most = niceAbove(most)
	x := func(seconds float64) float64 { return float64(x0) + seconds/lasts.Seconds()*graphWide }
	y := func(v float64) float64 { return float64(y0+graphHigh) - v/most*graphHigh }
	fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#f6e3e0"/>`+"\n",
		x(failsFrom.Seconds()), y0, x(failsUntil.Seconds())-x(failsFrom.Seconds()), graphHigh)
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", x0, y0-8, g.title)
	for _, part := range []float64{0, 0.5, 1} {
		fmt.Fprintf(b, `<path d="M%d %.1fh%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#555">%s</text>`+"\n",
			x0, y(most*part), graphWide, x0-6, y(most*part)+4, short(most*part))
	}
	for seconds := 0.0; seconds <= lasts.Seconds(); seconds += 30 {
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#555">%.0f s</text>`+"\n", x(seconds), y0+graphHigh+14, seconds)
	}
	for i, s := range g.series {
		fmt.Fprintf(b, `<path fill="none" stroke="%s" stroke-width="1.5" d="`, s.color)
		for k, v := range lines[i] {
			fmt.Fprintf(b, "%c%.1f %.1f", "ML"[min(k, 1)], x(moments[k].at.Seconds()), y(v))
		}
		fmt.Fprintf(b, `"/>`+"\n"+`<text x="%d" y="%d" text-anchor="end" fill="%s">%s</text>`+"\n", x0+graphWide, y0-8-12*(len(g.series)-1-i), s.color, s.label)
	}
}

// niceAbove is the next of 1, 2 and 5 times a power of ten.
func niceAbove(v float64) float64 {
	for power := 1.0; ; power *= 10 {
		for _, n := range []float64{1, 2, 5} {
			if n*power >= v {
				return n * power
			}
		}
	}
}

func short(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%gM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%gk", v/1e3)
	}
	return fmt.Sprintf("%g", v)
}
