package survival

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// Line is one figure and what it should be.
type Line struct {
	What   string // what was measured
	Got    string
	Bound  string // what is to be reached; empty: the figure is there to compare with
	Missed bool   // it was not
}

// at makes a line of a figure that should be at most as large as its bound.
func at[T int | float64 | time.Duration](what, format string, got, bound T) Line {
	return Line{What: what, Got: fmt.Sprintf(format, got), Bound: "at most " + fmt.Sprintf(format, bound), Missed: got > bound}
}

// atLeast makes a line of a figure that should be at least as large as its bound.
func atLeast[T int | float64 | time.Duration](what, format string, got, bound T) Line {
	return Line{What: what, Got: fmt.Sprintf(format, got), Bound: "at least " + fmt.Sprintf(format, bound), Missed: got < bound}
}

// none makes a line of something that should not happen.
func none(what string, times, outOf int) Line {
	return Line{What: what, Got: fmt.Sprintf("%d of %d", times, outOf), Bound: "0", Missed: times > 0}
}

// beside makes a line of a figure that only explains others.
func beside(what, got string) Line { return Line{What: what, Got: got} }

// Print writes lines as a table and returns how many bounds were missed.
func Print(w io.Writer, lines []Line) (missed int, err error) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		verdict := ""
		switch {
		case l.Missed:
			verdict = "MISSED"
			missed++
		case l.Bound != "":
			verdict = "holds"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", l.What, l.Got, l.Bound, verdict)
	}
	return missed, table.Flush()
}

// quantile is the smallest of the durations that a share of them does not
// exceed. There must be some.
func quantile(of []time.Duration, share float64) time.Duration {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[max(0, min(len(sorted)-1, int(share*float64(len(sorted))+0.999999)-1))]
}

// round shortens a duration to what is worth reading.
func round(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
