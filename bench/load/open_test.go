package load_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftkms/raftkms/bench/load"
)

// open runs an open loop on the test's own clock, so that the numbers are exact.
func open(t *testing.T, cfg load.Config, call load.Call) *load.Report {
	t.Helper()
	if cfg.Sleep == nil {
		cfg.Sleep = time.Sleep
	}
	report, err := load.Run(context.Background(), cfg, call)
	if err != nil {
		t.Fatal(err)
	}
	if started := report.Calls + report.Errors; started+report.Unsent != report.Planned {
		t.Errorf("%d calls were planned, %d started, %d are said to be unsent", report.Planned, started, report.Unsent)
	}
	return report
}

func TestAnOpenLoopKeepsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made atomic.Uint64
		var last atomic.Int64
		begin := time.Now()
		report := open(t, load.Config{Workers: 4, Rate: 100, Warmup: time.Second, Duration: 10 * time.Second}, func(context.Context, int) error {
			last.Store(int64(time.Since(begin)))
			made.Add(1)
			time.Sleep(5 * time.Millisecond)
			return nil
		})
		if made.Load() != 1100 || report.Calls != 1000 || report.Planned != 1000 || report.Waited != 0 || report.RateError() != nil {
			t.Errorf("%d calls made; %+v, %v", made.Load(), report, report.RateError())
		}
		// The warm-up's last call has ended 5 ms after its time, so 995 ms after the start.
		if got := time.Duration(last.Load()); got != 995*time.Millisecond+9990*time.Millisecond {
			t.Errorf("the last call was %s after the first", got)
		}
		for _, percentile := range []float64{0.1, 50, 100} {
			if got := report.Latency(percentile); got < 5*time.Millisecond || got > 5*time.Millisecond+10*time.Microsecond {
				t.Errorf("p%v is %s", percentile, got)
			}
		}
		if n, late := report.Lateness.TotalCount(), time.Duration(report.Lateness.Max()); n != 1000 || late > 2*time.Microsecond {
			t.Errorf("%d calls started late by up to %s", n, late)
		}
	})
}

// TestAStallIsInTheLatencies: while the service stands still for a second, the
// calls of that second have to wait, though none of them was on its way.
func TestAStallIsInTheLatencies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		number := 0
		report := open(t, load.Config{Workers: 1, Rate: 100, Duration: 10 * time.Second}, func(context.Context, int) error {
			if number++; number == 500 {
				time.Sleep(time.Second)
			}
			time.Sleep(time.Millisecond)
			return nil
		})
		if report.Calls != 1000 || report.RateError() != nil {
			t.Errorf("%d calls, %v", report.Calls, report.RateError())
		}
		// 100 calls come in that second; as it ends, one is served each millisecond while one comes each 10 ms.
		if report.Waited < 105 || report.Waited > 115 {
			t.Errorf("%d calls waited", report.Waited)
		}
		if got := report.Latency(50); got > 1100*time.Microsecond {
			t.Errorf("p50 is %s", got)
		}
		// About 11 of 100 calls have waited, evenly from nothing to a second; one in a thousand had the second itself.
		if got := report.Latency(95); got < 400*time.Millisecond || got > 600*time.Millisecond {
			t.Errorf("p95 is %s", got)
		}
		if got := time.Duration(report.Lateness.Max()); got > 2*time.Microsecond {
			t.Errorf("the generator is blamed for %s", got)
		}
	})
}

func TestAServiceThatIsTooSlowIsSaidSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inFlight, most atomic.Int64
		report := open(t, load.Config{Workers: 2, Rate: 100, Duration: 10 * time.Second}, func(context.Context, int) error {
			most.Store(max(most.Load(), inFlight.Add(1)))
			defer inFlight.Add(-1)
			time.Sleep(100 * time.Millisecond)
			return nil
		})
		// 20 a second, for 10 s and the second of grace.
		if report.Calls < 218 || report.Calls > 222 || most.Load() != 2 {
			t.Errorf("%d calls, at most %d at once", report.Calls, most.Load())
		}
		if err := report.RateError(); err == nil || !strings.Contains(err.Error(), "all connections were busy") {
			t.Errorf("got %v", err)
		}
		if report.Latency(100) < 8*time.Second {
			t.Errorf("the longest latency is %s", report.Latency(100))
		}
	})
}

// TestAServiceThatStandsStillIsSaidSo: when hardly any call starts, most of those that did have not waited.
func TestAServiceThatStandsStillIsSaidSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report := open(t, load.Config{Workers: 4, Rate: 10, Duration: 10 * time.Second}, func(context.Context, int) error {
			time.Sleep(time.Minute)
			return nil
		})
		if err := report.RateError(); report.Calls != 4 || !report.Busy || err == nil || !strings.Contains(err.Error(), "all connections were busy") {
			t.Errorf("%d calls, %v", report.Calls, err)
		}
	})
}

func TestALateGeneratorIsSaidSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		call := func(context.Context, int) error { time.Sleep(time.Millisecond); return nil }
		late := open(t, load.Config{Workers: 8, Rate: 10, Duration: 10 * time.Second, Sleep: func(d time.Duration) {
			time.Sleep(d + 3*time.Millisecond)
		}}, call)
		if got := time.Duration(late.Lateness.ValueAtPercentile(50)); got < 3*time.Millisecond || got > 4*time.Millisecond {
			t.Errorf("half of the calls were late by %s", got)
		}
		if late.Calls != 100 || late.Waited != 0 || late.RateError() != nil {
			t.Errorf("%d calls, %d waited, %v", late.Calls, late.Waited, late.RateError())
		}
		lost := open(t, load.Config{Workers: 8, Rate: 10, Duration: 10 * time.Second, Sleep: func(time.Duration) {
			time.Sleep(time.Minute)
		}}, call)
		if err := lost.RateError(); err == nil || !strings.Contains(err.Error(), "this machine cannot generate the rate") {
			t.Errorf("got %v after %d calls", err, lost.Calls)
		}
	})
}

func TestAnOpenLoopThatIsEndedHasNothingUnsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 995*time.Millisecond)
		defer cancel()
		report, err := load.Run(ctx, load.Config{Workers: 2, Rate: 100, Duration: time.Hour, Sleep: time.Sleep},
			func(context.Context, int) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if report.Calls != 100 || report.Planned != 100 || report.Unsent != 0 || report.RateError() != nil {
			t.Errorf("%+v", report)
		}
	})
}

func TestAnOpenLoopByTheClockOfTheMachine(t *testing.T) {
	cfg := load.Config{Workers: 8, Rate: 1000, Duration: 300 * time.Millisecond}
	report, err := load.Run(context.Background(), cfg, func(context.Context, int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	// A machine that stands still for a while may leave calls unsent, but no call comes before its time.
	if report.Planned != 300 || report.Calls+report.Unsent != 300 || report.Elapsed < 299*time.Millisecond {
		t.Errorf("%d of %d calls, %d unsent, in %s", report.Calls, report.Planned, report.Unsent, report.Elapsed)
	}
}

func TestErrorsAreCountedByKindAndNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		report := open(t, load.Config{
			Workers: 4, Rate: 100, Duration: 10 * time.Second,
			NodeOf: func(worker int) string { return []string{"b:1", "a:1"}[worker%2] },
		}, func(_ context.Context, worker int) error {
			time.Sleep(time.Millisecond)
			switch worker {
			case 0:
				return &load.StatusError{Node: "b:1", Status: 403, Code: "KMS.0303"}
			case 1:
				return broken
			}
			return nil
		})
		if len(report.Kinds) != 2 || report.Kinds["403 KMS.0303"]+report.Kinds[load.KindOther] != report.Errors || report.Kinds[load.KindOther] == 0 {
			t.Errorf("%d errors: %v", report.Errors, report.Kinds)
		}
		if len(report.Nodes) != 2 || report.Nodes[0].Name != "a:1" || report.Nodes[1].Name != "b:1" {
			t.Fatalf("nodes %+v", report.Nodes)
		}
		for i, kind := range []string{load.KindOther, "403 KMS.0303"} {
			node := report.Nodes[i]
			if node.Errors != report.Kinds[kind] || node.Calls == 0 || node.Latencies.TotalCount() != int64(node.Calls) {
				t.Errorf("%s: %d calls, %d errors, %d latencies", node.Name, node.Calls, node.Errors, node.Latencies.TotalCount())
			}
		}
	})
}
