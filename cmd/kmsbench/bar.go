package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/raftkms/raftkms/bench/load"
)

// bar shows how far a whole run is, on a terminal; nothing is drawn elsewhere.
type bar struct {
	out    io.Writer
	rounds int // in all
	done   int
}

// barWidth is that of the bar itself, in columns.
const barWidth = 24

// draw shows a round that is under way.
func (b *bar) draw(what string, p load.Progress) {
	part := min(1, p.Elapsed.Seconds()/max(p.Of.Seconds(), 1e-9))
	share := (float64(b.done) + part) / float64(max(b.rounds, 1))
	full := min(barWidth, int(share*barWidth))
	left := time.Duration(float64(p.Of) * (float64(b.rounds-b.done) - part)).Round(time.Second)
	fmt.Fprintf(b.out, "\r[%s%s] %3.0f %% %s %.0f/s", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), 100*share, what, p.Rate)
	if p.Errors > 0 {
		fmt.Fprintf(b.out, ", %d errors", p.Errors)
	}
	fmt.Fprintf(b.out, ", %s left\x1b[K", left)
}

// clear takes the bar away.
func (b *bar) clear() { fmt.Fprint(b.out, "\r\x1b[K") }
