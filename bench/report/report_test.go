package report_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	hdrhistogram "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/raftkms/raftkms/bench/report"
	"github.com/raftkms/raftkms/bench/result"
)

// run has a point for all combinations of two settings each, with as many calls
// per second as their product.
func run() *result.Result {
	r := &result.Result{
		Tool: "kmsbench 1", Machine: result.Machine{Cores: 2, CPU: "<b>fast</b>"}, Target: result.Target{Kind: "raftkms", Local: true},
		Settings: result.Settings{Operation: "create-datakey", Duration: time.Second, Rounds: 2},
	}
	for _, connections := range []int{1, 8} {
		for _, nodes := range []int{1, 3} {
			for _, keys := range []int{1, 100} {
				for _, latency := range []time.Duration{0, time.Millisecond} {
					p := result.Point{Connections: connections, Nodes: nodes, Keys: keys, DeviceLatency: latency}
					for _, more := range []int{0, 5} {
						p.Rounds = append(p.Rounds, round(100*connections*nodes+more))
					}
					r.Series = append(r.Series, p)
				}
			}
		}
	}
	return r
}

func round(calls int) result.Round {
	h := hdrhistogram.New(1000, 60e9, 3)
	for i := range calls {
		_ = h.RecordValue(int64(i+1) * 1e6)
	}
	cpu, allocs := time.Duration(calls)*20*time.Microsecond, 18*float64(calls)
	latencies := result.NewHistogram(h)
	return result.Round{
		Elapsed: time.Second, Calls: uint64(calls), Latencies: latencies, Server: &result.Server{CPU: &cpu, Allocs: &allocs},
		Nodes: []result.Node{{Name: "a:1", Calls: uint64(calls), Latencies: latencies}, {Name: "b:1"}},
	}
}

func page(t *testing.T, runs ...report.Run) string {
	t.Helper()
	var out bytes.Buffer
	if err := report.Write(&out, runs); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestThePageHoldsItAll(t *testing.T) {
	r := run()
	r.Series[0].Rounds[0].Errors = 7
	r.Series[0].Rounds[0].Kinds = map[string]uint64{"503 <script>": 7}
	r.Series[0].Rounds[1].Generator = result.Generator{Bottleneck: true, Reason: "it had no more to give"}
	text := page(t, report.Run{Name: "first", Result: r}, report.Run{Name: "second", Result: run()})
	for _, want := range []string{
		"Latency by percentile", "Throughput against connections", "Throughput against nodes", "Server CPU per request against nodes",
		"Throughput against the latency of the HSM", "Server CPU per request against keys in use", "The generator or its machine was the bottleneck.",
		"first, 1 connection, 1 node, 1 key: it had no more to give", "503 &lt;script&gt;", "&lt;b&gt;fast&lt;/b&gt;", "20 µs", "100.0 %", "18.0", "a:1",
		"first: 1 node, 1 key, device &#43; 1ms", "100 – 105",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, never := range []string{"<script", "http:", "https:", "url(", "@import", "NaN", "Inf", "ZgotmplZ", "%!"} {
		if strings.Contains(text, never) {
			t.Errorf("the page holds %q", never)
		}
	}
	if strings.Contains(page(t, report.Run{Name: "second", Result: run()}), "bottleneck.</strong>") {
		t.Error("a generator is blamed that was not the bottleneck")
	}
}

// TestThePlotsAreDrawnWithinTheirBounds reads the drawings as XML.
func TestThePlotsAreDrawnWithinTheirBounds(t *testing.T) {
	text := page(t, report.Run{Name: "one", Result: run()})
	plots := regexp.MustCompile(`(?s)<svg viewBox="0 0 640 360".*?</svg>`).FindAllString(text, -1)
	if len(plots) != 6 {
		t.Fatalf("%d plots", len(plots))
	}
	for _, plot := range plots {
		lines, decoder := 0, xml.NewDecoder(strings.NewReader(plot))
		for {
			token, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			element, ok := token.(xml.StartElement)
			if !ok || element.Name.Local != "polyline" {
				continue
			}
			lines++
			for _, attribute := range element.Attr {
				if attribute.Name.Local != "points" {
					continue
				}
				for point := range strings.FieldsSeq(attribute.Value) {
					var x, y float64
					if _, err := fmt.Sscanf(point, "%f,%f", &x, &y); err != nil || x < 70 || x > 608 || y < 14 || y > 312 {
						t.Errorf("a line goes to %s, %v", point, err)
					}
				}
			}
		}
		if lines == 0 {
			t.Error("a plot has no line")
		}
	}
}

// TestALineGoesUpWithItsValues: eight times the calls stand eight times as high.
func TestALineGoesUpWithItsValues(t *testing.T) {
	r := run()
	r.Series = []result.Point{r.Series[0], r.Series[8]} // 1 and 8 connections
	text := page(t, report.Run{Name: "one", Result: r})
	_, text, _ = strings.Cut(text, "<h3>Throughput against connections</h3>")
	heights := regexp.MustCompile(`<circle class="c0" cx="[\d.]+" cy="([\d.]+)"`).FindAllStringSubmatch(text, -1)
	if len(heights) != 2 {
		t.Fatalf("%d marks", len(heights))
	}
	var high [2]float64
	for i, match := range heights {
		y, err := strconv.ParseFloat(match[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		high[i] = 312 - y
	}
	want := 802.5 / 102.5 // the medians of two rounds each
	if got := high[1] / high[0]; got < 0.99*want || got > 1.01*want {
		t.Errorf("%v stands %v times as high, not %v", high, got, want)
	}
}
