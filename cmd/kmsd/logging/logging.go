// Package logging gives kmsd a logger that cannot hang it: lines go through a
// bounded queue to one writing goroutine. When the sink blocks (a stopped
// terminal, a full pipe) the server goes on, lines are dropped, and their
// number is logged as soon as the sink takes lines again.
//
// It never writes under a lock that a caller of the logger waits for.
package logging

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// queueLines bounds the queue. At 200 bytes a line it holds about 800 KiB.
const queueLines = 4096

// Sink is the queue in front of a writer.
type Sink struct {
	out     io.Writer
	lines   chan []byte
	dropped atomic.Uint64
	done    chan struct{}

	mu     sync.RWMutex // guards closed against a send on a closed channel
	closed bool
}

// NewSink starts the goroutine that writes to out; Close ends it.
func NewSink(out io.Writer) *Sink {
	s := &Sink{out: out, lines: make(chan []byte, queueLines), done: make(chan struct{})}
	go s.run()
	return s
}

// New returns a logger over the sink. level is debug, info, warn or error;
// format is text or json.
func New(sink *Sink, level, format string) (*slog.Logger, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("reading the log level: %w", err)
	}
	options := &slog.HandlerOptions{Level: least}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(sink, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(sink, options)), nil
	default:
		return nil, fmt.Errorf("log format %q is neither text nor json", format)
	}
}

// Write queues one line, or drops and counts it when the queue is full. It
// never blocks and never fails: a log must not decide what a server does.
func (s *Sink) Write(line []byte) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return len(line), nil
	}
	select {
	case s.lines <- bytes.Clone(line):
	default:
		s.dropped.Add(1)
	}
	return len(line), nil
}

// Dropped is the number of lines dropped and not reported yet.
func (s *Sink) Dropped() uint64 { return s.dropped.Load() }

// Close writes what is queued and ends the goroutine. A sink that still blocks
// after patience is left behind, so that a blocked log cannot hang the exit.
func (s *Sink) Close(patience time.Duration) {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.lines)
	}
	s.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
	}
}

func (s *Sink) run() {
	defer close(s.done)
	for line := range s.lines {
		s.emit(line)
	}
}

// emit writes a line and, once that went through, how many were dropped
// meanwhile. A failing sink is not retried: there is nowhere to report it.
func (s *Sink) emit(line []byte) {
	if _, err := s.out.Write(line); err != nil {
		return
	}
	if n := s.dropped.Swap(0); n > 0 {
		_, _ = fmt.Fprintf(s.out, "level=WARN msg=\"log lines were dropped because the log was blocked\" lines=%d\n", n)
	}
}
