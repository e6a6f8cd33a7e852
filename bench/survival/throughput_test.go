package survival

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
)

// As many writes are made as were asked for, whoever makes them, and one that
// fails is an error.
func TestRate(t *testing.T) {
	var calls atomic.Int64
	got, err := rate(t.Context(), 7, 100, func(context.Context) error {
		calls.Add(1)
		return nil
	})
	if err != nil || got <= 0 || calls.Load() != 100 {
		t.Errorf("%f a second, %d calls, %v", got, calls.Load(), err)
	}
	calls.Store(0)
	_, err = rate(t.Context(), 7, 100, func(context.Context) error {
		if calls.Add(1) == 50 {
			return errors.New("no leader")
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "a write failed: no leader") {
		t.Errorf("%d calls, %v", calls.Load(), err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := rate(ended, 7, 100, func(context.Context) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("measured after the end: %v", err)
	}
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	f := func(a, b []float64, want float64) {
		t.Helper()
		if got := over(a, b); got != want {
			t.Errorf("%v over %v: %f, not %f", a, b, got, want)
		}
	}
	f([]float64{20, 60, 10}, []float64{10, 20, 10}, 2) // a machine that is twice as slow for a while
	f([]float64{20, 60}, []float64{10, 20}, 2.5)
	f([]float64{1}, []float64{4}, 0.25)
}
