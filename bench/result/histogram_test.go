package result_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	hdrhistogram "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/raftkms/raftkms/bench/result"
)

// TestAHistogramOfAnotherSizeIsRefused: what decoding allocates is up to the header.
func TestAHistogramOfAnotherSizeIsRefused(t *testing.T) {
	f := func(lowest, highest int64, digits int, ok bool) {
		t.Helper()
		h := hdrhistogram.New(lowest, highest, digits)
		if err := h.RecordValue(highest / 2); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(result.NewHistogram(h))
		if err != nil {
			t.Fatal(err)
		}
		var back result.Histogram
		if err := json.Unmarshal(text, &back); (err == nil) != ok || (!ok && !strings.Contains(err.Error(), "digits")) {
			t.Errorf("%d to %d with %d digits: %v", lowest, highest, digits, err)
		}
	}
	f(1000, 60e9, 3, true)
	f(1, 3600e9, 3, true)
	f(1, 3600e9+1, 3, false)
	f(1, 1e9, 5, false)
	f(1, math.MaxInt64, 1, false)

	var empty result.Histogram
	if err := json.Unmarshal([]byte(`{}`), &empty); err != nil || empty.Count() != 0 || empty.At(50) != 0 {
		t.Errorf("an empty one: %v", err)
	}
	if err := json.Unmarshal([]byte(`{"hdr_v2":"`+strings.Repeat("A", 1<<20)+`"}`), &empty); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a long one: %v", err)
	}
}

// FuzzRead: whatever is read, reading ends with an error or with a result that
// can be written and worked with.
func FuzzRead(f *testing.F) {
	h := hdrhistogram.New(1000, 60e9, 3)
	_ = h.RecordValue(5e6)
	histogram, err := json.Marshal(result.NewHistogram(h))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"version":1,"series":[{"connections":1,"rounds":[{"elapsed_ns":1000,"calls":1,"latencies":` + string(histogram) + `,"server":{"cpu_ns":5,"alloc_objects":2}}]}]}`))
	f.Add([]byte(`{"version":1,"series":[{"connections":1,"rounds":[{"elapsed_ns":1,"open_loop":{"planned":5,"unsent":5}}]}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := result.Read(strings.NewReader(string(text)))
		if err != nil {
			return
		}
		for i := range r.Series {
			p := &r.Series[i]
			p.Throughput()
			p.Latency(99)
			p.CPUPerRequest()
			p.AllocsPerRequest()
			p.Latencies()
			p.Errors()
			p.Bottlenecks()
		}
		back, err := result.Read(strings.NewReader(written(t, r)))
		if err != nil {
			t.Fatalf("what was read and written is not read again: %v", err)
		}
		if !back.Series[0].Same(&r.Series[0]) || back.Series[0].Name() != r.Series[0].Name() {
			t.Errorf("%+v has become %+v", r.Series[0], back.Series[0])
		}
	})
}
