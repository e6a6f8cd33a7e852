package cluster

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	metrics "github.com/hashicorp/go-metrics/compat"
	"pgregory.net/rapid"
)

var discard = slog.New(slog.DiscardHandler)

// TestAppliedIndex: whoever waits is woken exactly when the index is reached,
// and those who give up leave nothing behind.
func TestAppliedIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a appliedIndex
		wants := rapid.SliceOfN(rapid.Uint64Range(0, 20), 1, 20).Draw(t, "waiters")
		steps := rapid.SliceOf(rapid.Uint64Range(0, 25)).Draw(t, "steps")
		giveUp := rapid.SliceOfN(rapid.Bool(), len(wants), len(wants)).Draw(t, "who gives up")
		stopped := make(chan struct{})
		results := make([]error, len(wants))
		var waiting sync.WaitGroup
		for i, want := range wants {
			ctx, cancel := context.WithCancel(context.Background())
			if giveUp[i] {
				cancel()
			}
			waiting.Go(func() {
				defer cancel()
				results[i] = a.wait(ctx, stopped, want)
			})
		}
		for _, step := range steps {
			a.advance(step)
		}
		reached := slices.Max(append(steps, 0))
		close(stopped)
		waiting.Wait()
		for i, err := range results {
			switch {
			case err == nil && wants[i] > reached:
				t.Fatalf("%d was reported as reached at %d", wants[i], reached)
			case err != nil && !errors.Is(err, ErrStopped) && !(giveUp[i] && errors.Is(err, context.Canceled)):
				t.Fatalf("waiting for %d: %v", wants[i], err)
			}
		}
		if a.load() != reached || len(a.waiting) != 0 {
			t.Fatalf("at %d with %d waiting, want %d with none", a.load(), len(a.waiting), reached)
		}
	})
}

// TestRounds: a caller gets a round that began after its call.
func TestRounds(t *testing.T) {
	var started uint64
	var mu sync.Mutex
	gate := make(chan struct{})
	r := &rounds{
		begin: func() (func(), bool) { return func() {}, true },
		run: func() (uint64, error) {
			mu.Lock()
			started++
			n := started
			mu.Unlock()
			<-gate
			return n, nil
		},
	}
	results := make(chan uint64, 10)
	join := func() {
		n, err := r.join(context.Background())
		if err != nil {
			t.Errorf("joining: %v", err)
		}
		results <- n
	}
	go join()
	gate <- struct{}{} // the first round runs and ends
	if n := <-results; n != 1 {
		t.Fatalf("round %d", n)
	}
	go join()
	for { // the second round runs ...
		mu.Lock()
		n := started
		mu.Unlock()
		if n == 2 {
			break
		}
	}
	for range 5 { // ... when five more callers come
		go join()
	}
	for {
		r.mu.Lock()
		queued := r.next != nil
		r.mu.Unlock()
		if queued {
			break
		}
	}
	gate <- struct{}{}
	if n := <-results; n != 2 {
		t.Fatalf("round %d", n)
	}
	go func() { // one more round for the five, perhaps two if some were late
		for range 5 {
			select {
			case gate <- struct{}{}:
			case <-t.Context().Done():
			}
		}
	}()
	for range 5 {
		if n := <-results; n < 3 {
			t.Fatalf("a caller that came during round 2 was served by round %d", n)
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	blocked := &rounds{begin: r.begin, run: func() (uint64, error) { <-t.Context().Done(); return 0, nil }}
	if _, err := blocked.join(ended); !errors.Is(err, context.Canceled) {
		t.Fatalf("a caller that gave up: %v", err)
	}
}

// TestRaftLogger: levels, arguments and lazily formatted ones arrive.
func TestRaftLogger(t *testing.T) {
	var out strings.Builder
	l := newRaftLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})), "raft")
	l.Debug("hidden")
	l.With("a", 1).Warn("seen", "b", hclog.Fmt("%d-%d", 2, 3))
	got := out.String()
	if strings.Contains(got, "hidden") || !strings.Contains(got, `level=WARN msg=seen from=raft a=1 b=2-3`) {
		t.Fatal(got)
	}
	if l.IsDebug() || !l.IsInfo() || l.GetLevel() != hclog.Info {
		t.Fatal("the level is not the handler's")
	}
}

// TestSink: raft's metrics reach the function.
func TestSink(t *testing.T) {
	var mu sync.Mutex
	var got []string
	sink := Sink(func(kind MetricKind, key []string, _ float32, _ []MetricLabel) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, strings.Join(append([]string{[]string{"counter", "gauge", "sample"}[kind]}, key...), "."))
	})
	if err := sink.install(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Sink(func(MetricKind, []string, float32, []MetricLabel) {}).install() })
	metrics.IncrCounter([]string{"raft", "apply"}, 1)
	metrics.SetGauge([]string{"raft", "peers"}, 3)
	metrics.AddSample([]string{"raft", "commitTime"}, 1)
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{"counter.raft.apply", "gauge.raft.peers", "sample.raft.commitTime"} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s in %v", want, got)
		}
	}
}
