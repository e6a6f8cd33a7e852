package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raftkms/raftkms/bench/survival"
)

func TestRatiosAreOfTheSameRound(t *testing.T) {
	f := func(a, b []float64, want spread) {
		t.Helper()
		if got := over(a, b); got != want {
			t.Errorf("%v over %v: %+v", a, b, got)
		}
	}
	f([]float64{20, 60, 10}, []float64{10, 20, 10}, spread{2, 1, 3}) // a machine that is twice as slow for a while
	f([]float64{20, 60}, []float64{10, 20}, spread{2.5, 2, 3})
	f([]float64{1}, []float64{4}, spread{0.25, 0.25, 0.25})
	values := []float64{3, 1, 2}
	if m := survival.Median(values); m != 2 || values[0] != 3 {
		t.Errorf("median %v of %v", m, values)
	}
}

func TestBytesOfATrace(t *testing.T) {
	dir := t.TempDir()
	if _, err := traceBytes(dir); err == nil {
		t.Error("a node without traces has some")
	}
	audit := filepath.Join(dir, "audit")
	if err := os.Mkdir(audit, 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(audit, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("traces-00000000000000000001.jsonl", strings.Repeat("x", 999)+"\n")
	put("traces-00000000000000000002.jsonl", "123\n12345\n"+strings.Repeat("\n", 4096))
	if n, err := traceBytes(dir); n != 6 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	put("traces-00000000000000000003.jsonl", "\n\n")
	if _, err := traceBytes(dir); err == nil {
		t.Error("a segment of nothing has a trace")
	}
}

func TestTheAppenderPutsOnDiskWhatItSays(t *testing.T) {
	dir := t.TempDir()
	a, err := newAppender(dir, 10)
	if err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			for range 10 {
				if err := a.append(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	got, err := os.ReadFile(a.file.Name())
	if err != nil || !bytes.Equal(got, bytes.Repeat([]byte("xxxxxxxxx\n"), 200)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := a.file.Close(); err != nil { // a disk that fails
		t.Fatal(err)
	}
	if a.append() == nil {
		t.Error("what is on no disk is said to be")
	}
	a.file, err = os.OpenFile(a.file.Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestRatiosThatCannotBeMeasured(t *testing.T) {
	f := func(change func(r *ratios), want string) {
		t.Helper()
		r := ratios{
			cluster: clusterOptions{module: "soft"}, nodes: 3, keys: 100, rounds: 5,
			effort: effort{workers: 64, duration: time.Second},
		}
		change(&r)
		err := r.check()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f(func(*ratios) {}, "")
	f(func(r *ratios) { r.cluster.module = "hard" }, `--module "hard"`)
	f(func(r *ratios) { r.nodes = 1 }, "--nodes 1")
	f(func(r *ratios) { r.keys = 1 }, "--keys 1")
	f(func(r *ratios) { r.rounds = 0 }, "--rounds 0")
	f(func(r *ratios) { r.effort.workers = 0 }, "--workers 0")
	f(func(r *ratios) { r.effort.duration = 0 }, "--duration")
}
