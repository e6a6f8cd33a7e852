package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// progress draws a bar of what was written to it, on a terminal only.
type progress struct {
	out   io.Writer // nil: nobody watches
	name  string
	size  int64 // -1: not known
	count int64
	start time.Time
	drawn time.Time
}

// redraw is how often the bar changes.
const redraw = 100 * time.Millisecond

func newProgress(out io.Writer, name string, size int64) *progress {
	p := &progress{name: name, size: size, start: time.Now()}
	if file, ok := out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		p.out = out
	}
	return p
}

// Write counts; it never fails.
func (p *progress) Write(data []byte) (int, error) {
	p.count += int64(len(data))
	if now := time.Now(); p.out != nil && now.Sub(p.drawn) >= redraw {
		p.drawn = now
		p.draw(now)
	}
	return len(data), nil
}

func (p *progress) draw(now time.Time) {
	const width = 30
	mebibytes := float64(p.count) / (1 << 20)
	rate := mebibytes / max(now.Sub(p.start).Seconds(), 0.001)
	if p.size <= 0 {
		fmt.Fprintf(p.out, "\r%s %.1f MiB, %.1f MiB/s\x1b[K", p.name, mebibytes, rate)
		return
	}
	done := min(1, float64(p.count)/float64(p.size))
	filled := int(done * width)
	fmt.Fprintf(p.out, "\r%s [%s%s] %3.0f %% %.1f MiB/s\x1b[K", p.name, strings.Repeat("#", filled), strings.Repeat(".", width-filled), done*100, rate)
}

// done leaves the line to whoever writes next.
func (p *progress) done() {
	if p.out != nil && !p.drawn.IsZero() {
		p.draw(time.Now())
		fmt.Fprintln(p.out)
	}
}
