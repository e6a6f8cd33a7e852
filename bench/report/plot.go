package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The size of a plot, in the units of its own coordinates, and of its margins.
const (
	plotWidth, plotHeight = 640.0, 360.0
	left, right           = 70.0, 32.0
	top, bottom           = 14.0, 48.0
	colours               = 8 // that the page has
)

// value is a measured place: the median, and how far the rounds lay apart.
type value struct {
	x, y, low, high float64
}

// line is the values of one name.
type line struct {
	name   string
	values []value
	bare   bool // without a mark at each value
}

// axis maps values to places.
type axis struct {
	log      bool
	from, to float64 // of the values
	low, top float64 // of the places
}

func (a axis) at(v float64) float64 {
	from, to := a.from, a.to
	if a.log {
		v, from, to = math.Log(v), math.Log(from), math.Log(to)
	}
	if to == from {
		return (a.low + a.top) / 2
	}
	return a.low + (v-from)/(to-from)*(a.top-a.low)
}

// tick is a place with a text.
type tick struct {
	At   float64
	Text string
}

// Plot is one drawing, laid out: the template only writes it down.
type Plot struct {
	Title, Note      string
	XLabel, YLabel   string
	Width, Height    float64
	Left, Right      float64 // of the area of the values
	Top, Bottom      float64
	MiddleX, MiddleY float64
	X, Y             []tick
	Lines            []drawn
}

// drawn is a line as it is drawn.
type drawn struct {
	Name   string
	Colour int
	Dashed bool
	Points string // of the polyline
	Marks  []mark
}

// mark is one value, with the rounds' range.
type mark struct {
	X, Y, Low, High float64
	Text            string
}

// chart is what a plot is made of.
type chart struct {
	title, note    string
	xLabel, yLabel string
	xLog, yLog     bool
	xTicks         []tick // At is a value here; nil: chosen
	yText          func(float64) string
	lines          []line
}

// draw lays a chart out; ok is false if there is nothing to draw.
func (c chart) draw() (p Plot, ok bool) {
	x := axis{log: c.xLog, low: left, top: plotWidth - right, from: math.Inf(1), to: math.Inf(-1)}
	y := axis{log: c.yLog, low: plotHeight - bottom, top: top, from: math.Inf(1), to: math.Inf(-1)}
	for i := range c.lines {
		c.lines[i].values = slices.DeleteFunc(slices.Clone(c.lines[i].values), func(v value) bool {
			return c.xLog && v.x <= 0 || c.yLog && v.low <= 0 || math.IsNaN(v.y) || math.IsInf(v.high, 0)
		})
		for _, v := range c.lines[i].values {
			x.from, x.to = min(x.from, v.x), max(x.to, v.x)
			y.from, y.to = min(y.from, v.low), max(y.to, v.high)
		}
	}
	if x.from > x.to {
		return p, false
	}
	for _, t := range c.xTicks {
		x.from, x.to = min(x.from, t.At), max(x.to, t.At)
	}
	var yValues []float64
	if y.log {
		y.from, y.to, yValues = decades(y.from, y.to)
	} else {
		y.from = 0
		y.to, yValues = steps(y.to)
	}
	p = Plot{
		Title: c.title, Note: c.note, XLabel: c.xLabel, YLabel: c.yLabel, Width: plotWidth, Height: plotHeight,
		Left: left, Right: plotWidth - right, Top: top, Bottom: plotHeight - bottom,
		MiddleX: (left + plotWidth - right) / 2, MiddleY: (top + plotHeight - bottom) / 2,
	}
	for _, t := range c.xTicks {
		p.X = append(p.X, tick{round(x.at(t.At)), t.Text})
	}
	for _, v := range yValues {
		p.Y = append(p.Y, tick{round(y.at(v)), c.yText(v)})
	}
	for i, l := range c.lines {
		if len(l.values) == 0 {
			continue
		}
		p.Lines = append(p.Lines, l.draw(i, x, y, c.yText))
	}
	return p, true
}

func (l line) draw(number int, x, y axis, text func(float64) string) drawn {
	d := drawn{Name: l.name, Colour: number % colours, Dashed: number/colours%2 == 1}
	var points []string
	for _, v := range l.values {
		at := mark{X: round(x.at(v.x)), Y: round(y.at(v.y)), Low: round(y.at(v.low)), High: round(y.at(v.high)), Text: l.name + ": " + text(v.y)}
		points = append(points, fmt.Sprintf("%v,%v", at.X, at.Y))
		if !l.bare {
			d.Marks = append(d.Marks, at)
		}
	}
	d.Points = strings.Join(points, " ")
	return d
}

// round keeps places short in the file.
func round(v float64) float64 { return math.Round(10*v) / 10 }

// decades are the places of a logarithmic axis: 1, 2 and 5 of each power of
// ten, or the powers alone if there are many.
func decades(from, to float64) (low, high float64, values []float64) {
	first, last := int(math.Floor(math.Log10(from))), int(math.Ceil(math.Log10(to)))
	if first == last {
		last++
	}
	within := []float64{1, 2, 5}
	if last-first > 3 {
		within = within[:1]
	}
	for power := first; power <= last; power++ {
		for _, digit := range within {
			values = append(values, digit*math.Pow10(power))
		}
	}
	// The axis goes from the last place below all values to the first above.
	for len(values) > 2 && values[1] <= from {
		values = values[1:]
	}
	for len(values) > 2 && values[len(values)-2] >= to {
		values = values[:len(values)-1]
	}
	return values[0], values[len(values)-1], values
}

// steps are round places from 0 to above the highest value.
func steps(highest float64) (top float64, values []float64) {
	if highest <= 0 {
		highest = 1
	}
	step := math.Pow10(int(math.Floor(math.Log10(highest))))
	for _, part := range []float64{5, 2, 1} {
		if highest/(step/part) <= 6 {
			step /= part
			break
		}
	}
	n := math.Ceil(highest / step)
	for i := range int(n) + 1 {
		values = append(values, float64(i)*step)
	}
	return n * step, values
}

// count is a number of things, short: 12.5k.
func count(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 3, 64) + "M"
	case v >= 1e3:
		return strconv.FormatFloat(v/1e3, 'g', 3, 64) + "k"
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// seconds is a time, short: 1.25 ms.
func seconds(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 1:
		return strconv.FormatFloat(v, 'g', 3, 64) + " s"
	case v >= 1e-3:
		return strconv.FormatFloat(1e3*v, 'g', 3, 64) + " ms"
	}
	return strconv.FormatFloat(1e6*v, 'g', 3, 64) + " µs"
}
