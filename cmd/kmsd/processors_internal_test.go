package main

import (
	"log/slog"
	"runtime"
	"testing"
	"time"
)

// Threads are lent once and taken back once, and neither where a call lasts as
// long as both limits allow.
func TestProcessorsAreLentAndTakenBack(t *testing.T) {
	own := runtime.GOMAXPROCS(0)
	more := min(own+4, mostThreads*own)
	defer runtime.SetDefaultGOMAXPROCS()
	var lasts time.Duration
	p := &processors{calls: 4, typical: func() time.Duration { return lasts }, logger: slog.New(slog.DiscardHandler)}
	for _, step := range []struct {
		lasts time.Duration
		want  int
	}{
		{0, own},
		{6 * time.Microsecond, own},
		{slowCall, own},
		{time.Millisecond, more},
		{time.Millisecond, more},
		{fastCall, more},
		{fastCall - 1, own},
		{slowCall, own},
		{slowCall + 1, more},
	} {
		lasts = step.lasts
		p.look()
		if got := runtime.GOMAXPROCS(0); got != step.want {
			t.Fatalf("with calls of %v there are %d processors, want %d", step.lasts, got, step.want)
		}
	}
}
