package export

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftkms/raftkms/server/audit"
)

// Bounds of a batch, and waits.
const (
	maxLines  = 1000
	maxBytes  = 1 << 20
	lookEvery = 500 * time.Millisecond // while there is nothing new
	minPause  = 500 * time.Millisecond // after a failure; it doubles
	maxPause  = time.Minute
	keepEvery = time.Second // the place goes to disk, while there is more to send
)

// sink takes traces away. It is used by one goroutine, but for reopen.
type sink interface {
	// send returns nil when the receiver has all of the lines. After an error
	// they are sent again, all of them.
	send(ctx context.Context, lines []audit.Line) error
	// reopen has files opened anew.
	reopen()
	close()
}

// tooLarge is an error of a receiver that may take a smaller batch.
type tooLarge struct{ error }

// laterError is an error of a receiver that says when to come again.
type laterError struct {
	error
	after time.Duration
}

// Unwrap returns the error.
func (l *laterError) Unwrap() error { return l.error }

// Set is all sinks of a node. It is safe for concurrent use.
type Set struct {
	log       *audit.Log
	exporters []*exporter
	tasks     sync.WaitGroup
	stop      context.CancelFunc
}

// Options is what the sinks of a node share.
type Options struct {
	// Dir is where their places are kept, made where it is missing.
	Dir    string
	NodeID string
	Log    *audit.Log
	Logger *slog.Logger
}

// Open makes the sinks, and reads how far they have come. Nothing is sent before
// Start. Its errors are about the configuration and the directory.
func Open(o Options, configs []Config) (*Set, error) {
	s := &Set{log: o.Log}
	if len(configs) == 0 {
		return s, nil
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of the exports' places: %w", err)
	}
	for _, c := range configs {
		if err := c.Check(); err != nil {
			return nil, fmt.Errorf("the export %q: %w", c.Name, err)
		}
		for _, other := range s.exporters {
			if other.cfg.Name == c.Name {
				return nil, fmt.Errorf("the export %q is there twice", c.Name)
			}
		}
		if c.Timeout == 0 {
			c.Timeout = defaultTimeout
		}
		e := &exporter{cfg: c, path: filepath.Join(o.Dir, c.Name+".position"), log: o.Log, logger: o.Logger.With("export", c.Name), sink: newSink(c, o.NodeID)}
		if err := e.begin(); err != nil {
			return nil, fmt.Errorf("the export %q: %w", c.Name, err)
		}
		e.moved = s.tell
		s.exporters = append(s.exporters, e)
	}
	s.tell()
	return s, nil
}

func newSink(c Config, nodeID string) sink {
	switch c.Kind {
	case Syslog:
		return newSyslog(c, nodeID)
	case Webhook:
		return newWebhook(c, nodeID)
	case OTLP:
		return newOTLP(c, nodeID)
	default:
		return newLines(c)
	}
}

// Start begins to send.
func (s *Set) Start() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	for _, e := range s.exporters {
		s.tasks.Go(func() { e.run(ctx) })
	}
}

// Stop ends sending, and returns when everything has ended, or ctx.
func (s *Set) Stop(ctx context.Context) error {
	if s.stop == nil {
		return nil
	}
	s.stop()
	done := make(chan struct{})
	go func() {
		s.tasks.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the exports of traces to end: %w", context.Cause(ctx))
	}
}

// Reopen has files opened anew before the next line is written to them.
func (s *Set) Reopen() {
	for _, e := range s.exporters {
		e.sink.reopen()
	}
}

// Exported is the sequence up to which every sink has taken every line; any is
// false when there is no sink.
func (s *Set) Exported() (above uint64, any bool) {
	for i, e := range s.exporters {
		if at := e.above.Load(); i == 0 || at < above {
			above = at
		}
	}
	return above, len(s.exporters) > 0
}

// tell has the log know what it may not remove because of its age yet.
func (s *Set) tell() {
	if above, any := s.Exported(); any {
		s.log.Exported(above + 1)
	}
}

// Stats is how a sink fares.
type Stats struct {
	Name       string
	Above      uint64  // the place
	Lag        uint64  // lines that wait
	LagSeconds float64 // for how long the first of them has
	Sent       uint64  // lines that were taken
	Errors     uint64  // attempts that failed
	Lost       uint64  // lines that were removed before they were taken
}

// Stats returns how the sinks fare, in the order of the configuration.
func (s *Set) Stats() []Stats {
	all := make([]Stats, len(s.exporters))
	for i, e := range s.exporters {
		all[i] = e.stats()
	}
	return all
}

// exporter is one sink at work.
type exporter struct {
	cfg    Config
	path   string
	log    *audit.Log
	logger *slog.Logger
	sink   sink
	moved  func() // is called when a place is on disk

	at    position      // of run alone
	dirty bool          // at is not on disk yet; of run alone
	kept  time.Time     // when a place was put on disk; of run alone
	taken atomic.Uint64 // at.Above, for others
	above atomic.Uint64 // the place on disk
	// waiting is since when (Unix ms) the first line that was not taken has been
	// there; 0: none is.
	waiting            atomic.Int64
	sent, errors, lost atomic.Uint64
}

func (e *exporter) stats() Stats {
	s := Stats{Name: e.cfg.Name, Above: e.taken.Load(), Sent: e.sent.Load(), Errors: e.errors.Load(), Lost: e.lost.Load()}
	if end := e.log.Durable(); end > s.Above {
		s.Lag = end - s.Above
	}
	if since := e.waiting.Load(); s.Lag > 0 && since > 0 {
		s.LagSeconds = max(0, time.Since(time.UnixMilli(since)).Seconds())
	}
	return s
}

// begin finds the place to go on from. A place that is damaged, or of another
// log, is put aside, and everything is sent again: twice is better than never.
func (e *exporter) begin() error {
	at, known, err := readPosition(e.path)
	switch {
	case errors.Is(err, errPosition):
		if err := os.Rename(e.path, e.path+".damaged"); err != nil {
			return fmt.Errorf("putting a damaged place aside: %w", err)
		}
		e.logger.Error("the place of this export is damaged, so that all traces that are there are sent again", "file", e.path+".damaged")
	case err != nil:
		return fmt.Errorf("reading an export's place: %w", err)
	case !known && e.cfg.FromNow:
		e.at.Above = e.log.Durable()
		if err := e.at.write(e.path); err != nil {
			return err
		}
	case known && !e.matches(at):
		e.logger.Error("the trace log is not the one that this export has sent before, so that all of it is sent", "above", at.Above)
	case known:
		e.at = at
	}
	e.taken.Store(e.at.Above)
	e.above.Store(e.at.Above)
	return nil
}

// matches tells whether the log is the one that the place was kept for.
func (e *exporter) matches(at position) bool {
	if at.Above == 0 || at.Hash == (audit.Hash{}) {
		return at.Above <= e.log.Durable()
	}
	r, err := e.log.NewReader(nil)
	if err != nil {
		return true
	}
	defer r.Close()
	b, err := r.Read(context.Background(), at.Above-1, 1, 1)
	if errors.Is(err, audit.ErrBehind) {
		return false
	}
	// Where the line is not there any more, nothing says that it was another one.
	return err != nil || len(b.Lines) == 0 || b.Lines[0].Sequence != at.Above || b.Lines[0].Hash == at.Hash
}

// run sends what comes until ctx ends.
func (e *exporter) run(ctx context.Context) {
	defer e.sink.close()
	defer e.keep()
	r, err := e.log.NewReader(nil)
	if err != nil {
		e.logger.Error("this export does not begin", "error", err)
		return
	}
	defer r.Close()
	most := maxLines
	for ctx.Err() == nil {
		b, err := r.Read(ctx, e.at.Above, most, maxBytes)
		switch {
		case errors.Is(err, audit.ErrBehind):
			e.logger.Error("the trace log ends before what this export has sent; it begins again with what is there", "error", err)
			e.at = position{}
			e.taken.Store(0)
			continue
		case err != nil:
			e.errors.Add(1)
			e.logger.Error("reading the trace log for this export", "error", err)
			sleep(ctx, maxPause)
			continue
		}
		e.note(&b)
		if len(b.Lines) > 0 && !e.deliver(ctx, b.Lines, &most) {
			continue
		}
		if b.Above > e.at.Above {
			e.advance(&b)
		}
		if b.Above == b.End {
			e.waiting.Store(0)
			e.keep()
			sleep(ctx, lookEvery)
		}
	}
}

// note counts what a batch says of what is missing.
func (e *exporter) note(b *audit.Batch) {
	if b.Lost > 0 {
		e.lost.Add(b.Lost)
		e.logger.Error("traces were removed before this export has sent them", "lines", b.Lost)
	}
	for _, place := range b.Damaged {
		e.logger.Error("this export passes over traces that are damaged", "place", place)
	}
	if len(b.Lines) > 0 {
		e.waiting.Store(b.Lines[0].RecordTime)
	}
}

// deliver tries until the sink has the lines. It gives up when ctx ends, and
// when a smaller batch may do better.
func (e *exporter) deliver(ctx context.Context, lines []audit.Line, most *int) bool {
	for try := 0; ; try++ {
		limited, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
		err := e.sink.send(limited, lines)
		cancel()
		if err == nil {
			if try > 0 {
				e.logger.Info("this export goes on", "failures", try)
			}
			e.sent.Add(uint64(len(lines)))
			*most = min(maxLines, *most*2)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		e.errors.Add(1)
		if try == 0 || try&(try-1) == 0 { // ever more rarely
			e.logger.Warn("this export waits: the receiver does not take traces", "failures", try+1, "error", err)
		}
		if _, large := errors.AsType[tooLarge](err); large && len(lines) > 1 {
			*most = max(1, len(lines)/2)
			return false
		}
		pause := maxPause
		if try < 7 {
			pause = min(maxPause, minPause<<try)
		}
		pause = pause/2 + rand.N(pause/2)
		if later, says := errors.AsType[*laterError](err); says {
			pause = max(pause, min(later.after, 5*time.Minute))
		}
		sleep(ctx, pause)
	}
}

// advance moves the place. It goes to disk when the export has come to the end,
// and once in a while before: after a crash, what was sent since comes twice.
func (e *exporter) advance(b *audit.Batch) {
	e.at = position{Above: b.Above}
	if n := len(b.Lines); n > 0 && b.Lines[n-1].Sequence == b.Above {
		e.at.Hash = b.Lines[n-1].Hash
	}
	e.dirty = true
	e.taken.Store(b.Above)
	if b.Above == b.End || time.Since(e.kept) >= keepEvery {
		e.keep()
	}
}

// keep puts the place on disk.
func (e *exporter) keep() {
	if !e.dirty {
		return
	}
	e.kept = time.Now()
	if err := e.at.write(e.path); err != nil {
		e.errors.Add(1)
		e.logger.Error("keeping the place of this export", "error", err)
		return
	}
	e.dirty = false
	e.above.Store(e.at.Above)
	e.moved()
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
