package result_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/bench/load"
	"github.com/raftkms/raftkms/bench/result"
)

// measured is a result of a real load run, on a clock of its own.
func measured(t *testing.T, rate float64) (*result.Result, *load.Report) {
	t.Helper()
	var r *result.Result
	var report *load.Report
	synctest.Test(t, func(t *testing.T) {
		var err error
		report, err = load.Run(context.Background(), load.Config{
			Workers: 2, Duration: 10 * time.Second, Rate: rate, Sleep: time.Sleep,
			NodeOf: func(worker int) string { return []string{"a:1", "b:1"}[worker] },
		}, func(_ context.Context, worker int) error {
			time.Sleep(time.Duration(worker+1) * 10 * time.Millisecond)
			if worker == 1 && time.Now().Second()%2 == 1 {
				return errors.New("broken")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		round := result.NewRound(report)
		cpu, allocs := 3*time.Second, 1500.0
		round.Server = &result.Server{CPU: &cpu, Allocs: &allocs}
		round.Generator = result.JudgeGenerator(&round, report, result.Used{Cores: 2, Generator: time.Second, Servers: cpu})
		r = &result.Result{
			Tool: "test 1", Started: time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC), Machine: result.ThisMachine(),
			Target:   result.Target{Kind: "raftkms", Module: "soft", Level: "SOFTWARE", Local: true},
			Settings: result.Settings{Operation: "create-datakey", Duration: 10 * time.Second, Rounds: 1},
			Series:   []result.Point{{Connections: 2, Nodes: 2, Keys: 1, Rate: rate, Rounds: []result.Round{round}}},
		}
	})
	return r, report
}

func written(t *testing.T, r *result.Result) string {
	t.Helper()
	var text bytes.Buffer
	if err := r.Write(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, rate := range []float64{0, 100} {
		r, report := measured(t, rate)
		text := written(t, r)
		back, err := result.Read(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if again := written(t, back); again != text {
			t.Errorf("what is read is written differently: %s", cmp.Diff(text, again))
		}
		p := back.Series[0]
		for _, percentile := range []float64{1, 50, 99, 100} {
			if got, want := p.Latencies().At(percentile), report.Latency(percentile); got != want || want == 0 {
				t.Errorf("p%v is %s, was %s", percentile, got, want)
			}
		}
		if got := p.Throughput().Median; got != report.Rate() {
			t.Errorf("%v calls/s, were %v", got, report.Rate())
		}
		if cpu, ok := p.CPUPerRequest(); !ok || cpu.Median < 3.0/float64(report.Calls)-1e-8 || cpu.Median > 3.0/float64(report.Calls) {
			t.Errorf("CPU per request is %+v, %v", cpu, ok)
		}
		if objects, bytes, ok := p.AllocsPerRequest(); !ok || objects.Median != 1500/float64(report.Calls) || bytes.Median != 0 {
			t.Errorf("allocations per request are %+v and %+v, %v", objects, bytes, ok)
		}
		if n, kinds := p.Errors(); n != report.Errors || kinds[load.KindOther] != n || n == 0 {
			t.Errorf("%d errors, %v", n, kinds)
		}
		if len(p.Rounds[0].Nodes) != 2 || (p.Rounds[0].Open == nil) != (rate == 0) {
			t.Errorf("%+v", p.Rounds[0])
		}
	}
}

// TestSpread: the median lies between the middle two.
func TestSpread(t *testing.T) {
	r, _ := measured(t, 0)
	p := r.Series[0]
	for _, d := range []time.Duration{40, 5, 20} {
		round := p.Rounds[0]
		round.Elapsed = d * time.Second
		p.Rounds = append(p.Rounds, round)
	}
	calls := float64(p.Rounds[0].Calls)
	want := result.Spread{Median: (calls/10 + calls/20) / 2, Low: calls / 40, High: calls / 5}
	// The first round took a call more than its ten seconds.
	got := p.Throughput()
	if got.Low != want.Low || got.High != want.High || got.Median < 0.99*want.Median || got.Median > want.Median {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if n := p.Latencies().Count(); n != 4*int64(calls) {
		t.Errorf("%d latencies in four rounds of %v", n, calls)
	}
}

func TestTheGeneratorIsJudged(t *testing.T) {
	r, report := measured(t, 0)
	machine := 0.0
	f := func(own, servers time.Duration, want bool, reason string) {
		t.Helper()
		round := r.Series[0].Rounds[0]
		round.Elapsed = 10 * time.Second
		g := result.JudgeGenerator(&round, report, result.Used{Cores: 2, Generator: own, Servers: servers, Machine: machine})
		if g.Bottleneck != want || !strings.Contains(g.Reason, reason) || g.CPU != own {
			t.Errorf("%s and %s: %+v", own, servers, g)
		}
	}
	f(2*time.Second, 0, false, "the generator took 10 % of 2 cores")
	f(17*time.Second, 0, true, "no more to give")
	f(10*time.Second, 9*time.Second, true, "the machine was full")
	f(5*time.Second, 9*time.Second, false, "the servers on the same machine 45 %")
	machine = 0.75
	f(5*time.Second, 9*time.Second, false, "everything together 75 %")
	machine = 0.95 // others use it, too
	f(5*time.Second, 9*time.Second, true, "everything together 95 %: the machine was full, so that the throughput is that of all together")
	f(5*time.Second, 0, true, "the generator did not get what it could have used")

	open := func(sleep func(time.Duration), call time.Duration) result.Generator {
		var g result.Generator
		synctest.Test(t, func(t *testing.T) {
			report, err := load.Run(context.Background(), load.Config{Workers: 4, Rate: 10, Duration: 10 * time.Second, Sleep: sleep},
				func(context.Context, int) error { time.Sleep(call); return nil })
			if err != nil {
				t.Fatal(err)
			}
			round := result.NewRound(report)
			g = result.JudgeGenerator(&round, report, result.Used{Cores: 2, Generator: time.Second})
		})
		return g
	}
	if g := open(time.Sleep, time.Millisecond); g.Bottleneck {
		t.Errorf("a generator in time is blamed: %+v", g)
	}
	if g := open(func(d time.Duration) { time.Sleep(d + 20*time.Millisecond) }, time.Millisecond); !g.Bottleneck || !strings.Contains(g.Reason, "late by") {
		t.Errorf("a late generator is not blamed: %+v", g)
	}
	if g := open(func(time.Duration) { time.Sleep(time.Minute) }, time.Millisecond); !g.Bottleneck || !strings.Contains(g.Reason, "cannot generate the rate") {
		t.Errorf("a generator that stands still is not blamed: %+v", g)
	}
	if g := open(time.Sleep, 10*time.Second); g.Bottleneck {
		t.Errorf("the generator is blamed for a slow service: %+v", g)
	}
}

// TestWhatIsNoResultIsRefused changes a good file in one place each.
func TestWhatIsNoResultIsRefused(t *testing.T) {
	r, _ := measured(t, 100)
	good := written(t, r)
	var form map[string]any
	if err := json.Unmarshal([]byte(good), &form); err != nil {
		t.Fatal(err)
	}
	f := func(text, want string) {
		t.Helper()
		if _, err := result.Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	replace := func(old, new, want string) {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("there is no %s", old)
		}
		f(strings.Replace(good, old, new, 1), want)
	}
	f("", "no JSON of kmsbench")
	f("[]", "no JSON of kmsbench")
	f("{}", "names no version")
	f(`{"version":2,"series":"of another form"}`, "version 2: the version is not one that this program reads (it reads version 1)")
	f(`{"version":1}`, "holds no measurement")
	f(good[:len(good)/2], "no JSON of kmsbench")
	replace(`"tool"`, `"tol"`, "unknown field")
	replace(`"connections": 2`, `"connections": 0`, "point 1: a number is out of range")
	replace(`"rate": 100`, `"rate": 1e300`, "out of range")
	replace(`"calls": `, `"calls": 1`, "do not fit")
	replace(`"elapsed_ns": `, `"elapsed_ns": -`, "the time that it took is out of range")
	replace(`"duration_ns": `, `"duration_ns": -`, "a setting is negative")
	replace(`"planned": `, `"planned": 0, "unsent": 5, "x": `, "unknown field")
	replace(`"hdr_v2": "`, `"hdr_v2": "!`, "reading a histogram")
	replace(`"hdr_v2": "`, `"hdr_v2": "AAAA`, "reading a histogram")
	if _, err := result.Read(strings.NewReader(`{"version":7}`)); !errors.Is(err, result.ErrVersion) {
		t.Errorf("another version is refused with %v", err)
	}
	if _, err := result.Read(strings.NewReader(strings.Repeat(" ", result.MaxBytes+1))); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a huge file is refused with %v", err)
	}
	if _, err := result.ReadFile(t.TempDir() + "/none"); err == nil {
		t.Error("a file that is not there is read")
	}
	if err := new(result.Result).Write(&bytes.Buffer{}); err == nil {
		t.Error("an empty result is written")
	}
}
