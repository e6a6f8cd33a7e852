package main

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestClustersThatCannotBeMeasured(t *testing.T) {
	f := func(change func(c *clusterBench), want string) {
		t.Helper()
		c := clusterBench{pairs: 1, frozen: 1, deaths: 1, handovers: 1, writes: 64, rounds: 1, keys: 1000, each: time.Second}
		c.figures = c.names()
		change(&c)
		err := c.check()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f(func(*clusterBench) {}, "")
	f(func(c *clusterBench) { c.keys = 0 }, "")
	f(func(c *clusterBench) { c.figures = []string{"writes"} }, "")
	f(func(c *clusterBench) { c.deaths = 0 }, "every number of times")
	f(func(c *clusterBench) { c.writes = 63 }, "--writes 63")
	f(func(c *clusterBench) { c.rounds = 0 }, "--rounds 0")
	f(func(c *clusterBench) { c.keys = 999 }, "--keys 999")
	f(func(c *clusterBench) { c.keys = -1 }, "--keys -1")
	f(func(c *clusterBench) { c.each = 0 }, "--duration 0s")
	f(func(c *clusterBench) { c.figures = nil }, "--figures names none")
	f(func(c *clusterBench) { c.figures = []string{"fence"} }, `no "fence", only fences, messages`)
	f(func(c *clusterBench) { c.figures = []string{"snapshots"} }, "need keys")
}

// figure is a line that is printed: a pattern of what comes before the bound. Each
// number that it catches must be more than nothing; the first one is what the bound is of.
type figure struct{ pattern, bound string }

// Every figure is printed, is more than nothing, and says whether what is to be
// reached is; nothing is left behind. Snapshots are missing, since one is made
// once a minute, at most.
func TestClusterFigures(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	cmd := exec.Command("kmsbench", "cluster", "--kmsd", buildKMSD(t), "--port", strconv.Itoa(freePort(t)),
		"--pairs", "5", "--frozen", "1", "--deaths", "1", "--handovers", "1", "--duration", "500ms",
		"--writes", "64", "--rounds", "1", "--keys", "1000", "--figures", "fences,messages,handovers,frozen,deaths,writes,keys,memory")
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, &problems)
	}
	lines := strings.Split(string(out), "\n")
	missed := 0
	for _, f := range []figure{
		{`fenced / unfenced write through the leader, median of 5  NUMBER`, "at most 1.50"},
		{`  each  TIME / TIME`, ""},
		{`fenced / unfenced write through another node, median of 5  NUMBER`, "at most 1.50"},
		{`  each  TIME / TIME`, ""},
		{`messages between nodes that a data key causes  -?\d+\.\d+`, `0 \(below 0.005\)`},
		{`  in 500ms with COUNT and with COUNT data keys  COUNT and COUNT`, ""},
		{`data keys refused while leadership is handed on  \d+ of COUNT`, "0"},
		{`writes refused while leadership is handed on  \d+ of COUNT`, "0"},
		{`the longest write while leadership is handed on, of 1 times  TIME`, "at most 250ms"},
		{`  median of the longest of each  TIME`, ""},
		{`a fence with one node frozen, longest of 1  TIME`, "at most 3s"},
		{`a write is accepted after a leader's death, median of 1  TIME`, "at most 1.2s"},
		{`  and its 99th percentile  TIME`, "at most 3s"},
		{`a fence takes longer than that after a leader's death, at most  TIME`, "at most 3s"},
		{`data keys refused meanwhile to a client that knows all nodes  \d+ of COUNT`, "0"},
		{`cluster\.Propose / raft's Apply alone, 512 bytes, 64 proposers, median of 1  NUMBER`, "at least 0.80"},
		{`  each a second  COUNT / COUNT`, ""},
		{`the full path through the leader, 64 connections, writes a second  COUNT`, ""},
		{`  over cluster\.Propose, over raft's Apply alone  NUMBER, NUMBER`, ""},
		{`the full path through all nodes, 64 connections, writes a second  COUNT`, ""},
		{`  over cluster\.Propose, over raft's Apply alone  NUMBER, NUMBER`, ""},
		{`  it is create-key: HTTP, TLS, signature, permission, module, proposal, trace  module soft, level SOFTWARE`, ""},
		{`restart of a node with 1000 keys, until it is ready  TIME`, "at most 10s"},
		{`  of all 3 nodes at once on this machine  TIME`, ""},
		{`a page of 100 keys among 1000 / among 200  NUMBER`, "at most 2.00"},
		{`  each  TIME / TIME`, ""},
		{`memory of node-1  NUMBER GB`, ""},
		{`memory of node-2  NUMBER GB`, ""},
		{`memory of node-3  NUMBER GB`, ""},
	} {
		at := f.find(lines)
		if at < 0 {
			t.Errorf("there is no line %q, or not in its place", f.pattern)
			continue
		}
		if f.judged(t, lines[at]) == "MISSED" {
			missed++
		}
		lines = lines[at+1:]
	}
	if want := strconv.Itoa(missed) + " figures are not what is to be reached"; missed > 0 && !strings.Contains(string(out), want) {
		t.Errorf("%q is not said", want)
	}
	if left, err := os.ReadDir(os.TempDir()); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if t.Failed() {
		t.Logf("%s%s", out, &problems)
	}
}

// find is the place of the first line that shows the figure; -1: none does.
func (f figure) find(lines []string) int {
	for i, line := range lines {
		if f.match(line) != nil {
			return i
		}
	}
	return -1
}

// match is the line in parts: the numbers, and what is said of the bound.
func (f figure) match(line string) []string {
	words := strings.NewReplacer("NUMBER", `(\d+\.\d+)`, "TIME", `([\d.]+(?:µs|ms|s))`, "COUNT", `(\d+)`, "  ", ` {2,}`)
	pattern := "^" + words.Replace(f.pattern)
	if f.bound != "" {
		pattern += ` {2,}` + f.bound + ` {2,}(holds|MISSED)`
	}
	return regexp.MustCompile(pattern + ` *$`).FindStringSubmatch(line)
}

// judged checks the numbers of a line and what it says of its bound, and returns that.
func (f figure) judged(t *testing.T, line string) string {
	t.Helper()
	numbers := f.match(line)[1:]
	verdict := ""
	if f.bound != "" {
		numbers, verdict = numbers[:len(numbers)-1], numbers[len(numbers)-1]
	}
	for _, n := range numbers {
		if value(t, n) <= 0 {
			t.Errorf("%q has a figure that is nothing", line)
		}
	}
	words := strings.Fields(f.bound)
	if len(words) != 3 || words[0] != "at" { // no bound of the number that stands before it
		return verdict
	}
	got, bound := value(t, numbers[0]), value(t, words[2])
	if got < bound && (verdict == "holds") != (words[1] == "most") || got > bound && (verdict == "holds") != (words[1] == "least") {
		t.Errorf("%q does not judge as it says", line)
	}
	return verdict
}

// value is a number, or the seconds of a time.
func value(t *testing.T, text string) float64 {
	t.Helper()
	if took, err := time.ParseDuration(text); err == nil {
		return took.Seconds()
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Errorf("%q is no figure", text)
	}
	return n
}
