package load_test

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/raftkms/raftkms/bench/load"
)

func TestMain(m *testing.M) {
	// fasthttp ends these by itself, some seconds after the last connection.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*HostClient).connsCleaner"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*TCPDialer).tcpAddrsClean"))
}

// TestEveryCallIsCounted runs on the test's own clock, so that the numbers are exact.
func TestEveryCallIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made atomic.Uint64
		broken := errors.New("broken")
		var reports []load.Progress
		report, err := load.Run(context.Background(), load.Config{
			Workers: 4, Warmup: time.Second, Duration: 10 * time.Second, Interval: 3 * time.Second,
			Progress: func(p load.Progress) { reports = append(reports, p) },
		}, func(_ context.Context, worker int) error {
			time.Sleep(10 * time.Millisecond)
			made.Add(1)
			if worker == 3 {
				return broken
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if made.Load() != 4*1100 || report.Calls != 3*1000 || report.Errors != 1000 {
			t.Errorf("%d calls made, %d counted, %d errors", made.Load(), report.Calls, report.Errors)
		}
		if !errors.Is(report.FirstError, broken) {
			t.Errorf("first error is %v", report.FirstError)
		}
		if report.Elapsed != 10*time.Second || report.Rate() != 300 {
			t.Errorf("%v elapsed, rate %v", report.Elapsed, report.Rate())
		}
		if got := report.Latency(99); got < 10*time.Millisecond || got > 10*time.Millisecond+20*time.Microsecond {
			t.Errorf("p99 is %v", got)
		}
		if n := report.Latencies.TotalCount(); n != 3000 {
			t.Errorf("%d latencies recorded", n)
		}
		if len(reports) != 3 {
			t.Fatalf("%d progress reports", len(reports))
		}
		if p := reports[2]; p.Elapsed != 9*time.Second || p.Of != 10*time.Second || p.Rate < 299 || p.Rate > 301 {
			t.Errorf("last progress is %+v", p)
		}
	})
}

func TestAnEndedContextEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		report, err := load.Run(ctx, load.Config{Workers: 2, Duration: time.Hour}, func(ctx context.Context, _ int) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(300 * time.Millisecond):
				return nil
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if report.Calls != 6 || report.Errors != 0 || report.Elapsed != time.Second {
			t.Errorf("%d calls, %d errors in %v", report.Calls, report.Errors, report.Elapsed)
		}
	})
}

func TestRunRefusesNonsense(t *testing.T) {
	f := func(cfg load.Config) {
		t.Helper()
		if _, err := load.Run(context.Background(), cfg, func(context.Context, int) error { return nil }); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
	f(load.Config{Workers: 0, Duration: time.Second})
	f(load.Config{Workers: 1})
	f(load.Config{Workers: 1, Duration: time.Second, Warmup: -1})
	f(load.Config{Workers: 1, Duration: time.Second, Rate: -1})
	f(load.Config{Workers: 1, Duration: time.Second, Rate: math.NaN()})
	f(load.Config{Workers: 1, Duration: time.Second, Rate: math.Inf(1)})
	f(load.Config{Workers: 1, Duration: time.Second, Rate: 2 * load.MaxRate})
	f(load.Config{Workers: 1, Duration: time.Second, Rate: 0.5})
}
