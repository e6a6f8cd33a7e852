package result_test

import (
	"testing"
	"time"

	"github.com/raftkms/raftkms/bench/result"
)

// point has a round of a calls-per-second each.
func point(connections, nodes int, rates ...int) result.Point {
	p := result.Point{Connections: connections, Nodes: nodes, Keys: 1}
	for _, rate := range rates {
		cpu := time.Second
		p.Rounds = append(p.Rounds, result.Round{Elapsed: time.Second, Calls: uint64(rate), Server: &result.Server{CPU: &cpu}})
	}
	return p
}

func TestCompare(t *testing.T) {
	f := func(a, b result.Point, ratio float64, throughput, cpu result.Verdict) {
		t.Helper()
		compared, onlyA, onlyB := result.Compare(&result.Result{Series: []result.Point{a}}, &result.Result{Series: []result.Point{b}})
		if len(compared) != 1 || len(onlyA)+len(onlyB) != 0 {
			t.Fatalf("%d compared, %d and %d not", len(compared), len(onlyA), len(onlyB))
		}
		c := compared[0]
		if c.Throughput.Median != ratio || c.Throughput.Verdict != throughput || c.CPU.Verdict != cpu || c.Latencies[0].Verdict != result.Missing {
			t.Errorf("%+v", c)
		}
	}
	f(point(8, 1, 100, 110, 120), point(8, 1, 200, 220, 240), 2, result.More, result.Less)
	f(point(8, 1, 200, 220, 240), point(8, 1, 100, 110, 120), 0.5, result.Less, result.More)
	f(point(8, 1, 100, 200, 300), point(8, 1, 150, 200, 250), 1, result.Noise, result.Noise)
	f(point(8, 1, 100, 100, 100), point(8, 1, 200), 2, result.Unclear, result.Unclear)
	f(point(8, 1, 100, 100, 100), point(8, 3, 200, 200, 200), 2, result.More, result.Less) // another service has other nodes
	f(point(8, 1, 100, 100, 100), point(8, 1, 0, 0, 0), 0, result.Missing, result.Missing)

	a := &result.Result{Series: []result.Point{point(1, 1, 1), point(8, 1, 1), point(8, 3, 1)}}
	b := &result.Result{Series: []result.Point{point(8, 5, 1), point(8, 3, 1), point(64, 1, 1)}}
	compared, onlyA, onlyB := result.Compare(a, b)
	if len(compared) != 1 || compared[0].A.Nodes != 3 || compared[0].B.Nodes != 3 {
		t.Errorf("compared: %+v", compared)
	}
	if len(onlyA) != 2 || len(onlyB) != 2 {
		t.Errorf("left over: %d and %d", len(onlyA), len(onlyB))
	}

	r := compared[0].Throughput
	if r.Low != 1 || r.High != 1 {
		t.Errorf("%+v", r)
	}
	wide, _, _ := result.Compare(&result.Result{Series: []result.Point{point(1, 1, 100, 200)}}, &result.Result{Series: []result.Point{point(1, 1, 100, 400)}})
	if r := wide[0].Throughput; r.Low != 0.5 || r.High != 4 {
		t.Errorf("%+v", r)
	}
}
