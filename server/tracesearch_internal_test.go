package server

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// nodes are trace logs of nodes, asked as searchTraces asks them.
type nodes struct {
	t    *testing.T
	logs map[string]*audit.Log
	down map[string]bool
	left string // a node that is no member any more
}

func (n *nodes) page(q kms.TraceQuery) kms.TracePage {
	n.t.Helper()
	marker, err := parseTraceMarker(q.Marker)
	if err != nil {
		n.t.Fatal(err)
	}
	members := slices.DeleteFunc([]string{"n1", "n2", "n3"}, func(id string) bool { return id == n.left })
	answers := marker.left(members)
	for _, id := range members {
		own, ask := marker.queryOf(id, q.Query)
		if !ask {
			continue
		}
		a := nodeAnswer{node: id}
		if n.down[id] {
			a.err = errors.New("down")
		} else if a.Answer, err = n.logs[id].Search(n.t.Context(), own); err != nil {
			n.t.Fatal(err)
		}
		answers = append(answers, a)
	}
	page, err := mergeTraces(answers, marker, q.Limit, q.ProjectID)
	if err != nil {
		n.t.Fatal(err)
	}
	return page
}

func (n *nodes) all(q kms.TraceQuery) (all []wire.Trace) {
	n.t.Helper()
	for range 1000 {
		page := n.page(q)
		if len(page.Traces) > q.Limit {
			n.t.Fatalf("%d traces on a page of %d", len(page.Traces), q.Limit)
		}
		all = append(all, page.Traces...)
		if page.Marker == "" {
			return all
		}
		q.Marker = page.Marker
	}
	n.t.Fatal("there is no last page")
	return nil
}

// Every trace of every node comes once, and in the order of time where clocks
// were right, whatever the size of a page and whatever is recorded meanwhile.
func TestTracesOfAllNodes(t *testing.T) {
	const each = 60
	n := &nodes{t: t, logs: make(map[string]*audit.Log), down: make(map[string]bool)}
	base := time.UnixMilli(1700000000000)
	record := func(id string, i int, at time.Time) {
		t.Helper()
		if err := n.logs[id].Append(t.Context(), &audit.Record{TraceName: "createKey", RequestID: fmt.Sprint(id, "-", i), Time: at, RecordTime: at}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"n1", "n2", "n3"} {
		log, err := audit.OpenConfig(audit.Config{Dir: t.TempDir(), NodeID: id, Sync: audit.SyncInterval, SegmentSize: 8 << 10, Reserve: 8 << 10})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = log.Close() })
		n.logs[id] = log
		at := base
		for i := range each {
			at = at.Add(time.Duration(rand.IntN(50)) * time.Millisecond)
			record(id, i, at)
		}
	}
	for _, limit := range []int{1, 7, 50, 200} {
		all := n.all(kms.TraceQuery{Query: audit.Query{Limit: limit}})
		seen := make(map[string]bool)
		for i, trace := range all {
			if i > 0 && trace.RecordTime > all[i-1].RecordTime {
				t.Fatalf("limit %d: trace %d is newer than the one before it", limit, i)
			}
			seen[trace.RequestID] = true
		}
		if len(all) != 3*each || len(seen) != 3*each {
			t.Errorf("limit %d: %d traces, %d of them different", limit, len(all), len(seen))
		}
	}
	// What comes between two pages moves nothing; a clock that went back neither.
	first := n.page(kms.TraceQuery{Query: audit.Query{Limit: 100}})
	record("n1", 1000, base.Add(time.Hour))
	record("n2", 1001, base.Add(-time.Hour))
	rest := n.all(kms.TraceQuery{Query: audit.Query{Limit: 100}, Marker: first.Marker})
	if len(first.Traces)+len(rest) != 3*each {
		t.Errorf("%d and %d traces", len(first.Traces), len(rest))
	}
	// A node that is down is named, and what it has comes when it is back.
	n.down["n2"] = true
	first = n.page(kms.TraceQuery{Query: audit.Query{Limit: 20}})
	if strings.Join(first.Missing, " ") != "n2" || len(first.Traces) != 20 {
		t.Errorf("missing %v, %d traces", first.Missing, len(first.Traces))
	}
	n.down["n2"] = false
	before, newer := 0, 0
	for _, trace := range n.all(kms.TraceQuery{Query: audit.Query{Limit: 20}, Marker: first.Marker}) {
		if strings.HasPrefix(trace.RequestID, "n2") {
			before++
			if trace.RecordTime > first.Traces[19].RecordTime {
				newer++
			}
		}
	}
	if before == 0 || newer > 0 {
		t.Errorf("%d traces of the node that came back, %d newer than the page before", before, newer)
	}
	// A node that left the cluster before it had said all is named, on every page.
	n.left = "n3"
	for marker, pages := first.Marker, 0; marker != "" && pages < 1000; pages++ {
		page := n.page(kms.TraceQuery{Query: audit.Query{Limit: 20}, Marker: marker})
		if strings.Join(page.Missing, " ") != "n3" {
			t.Fatalf("missing %v after node n3 has left", page.Missing)
		}
		marker = page.Marker
	}
	n.left = ""
	// A page that ends because one node has more to say goes on where it ended.
	if all := n.all(kms.TraceQuery{Query: audit.Query{Limit: 200, MaxBytes: 600}}); len(all) != 3*each+2 {
		t.Errorf("%d traces", len(all))
	}
}

func TestTraceMarkers(t *testing.T) {
	m := traceMarker{Below: map[string]uint64{"n1": 7, "n2": 0}, Recorded: 5}
	if got, err := parseTraceMarker(m.text()); err != nil || got.Below["n1"] != 7 || got.Recorded != 5 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, wrong := range []string{"x", "919c82d4-8046-4722-9094-35c3c6524cff", m.text() + "A", m.text()[1:], "ogGiYm00A2J0AA0CA0", "ogGiYm00A2J0AA0CAw\n", "oA", strings.Repeat("A", 100000), "null"} {
		if _, err := parseTraceMarker(wrong); !errors.Is(err, errMarker) {
			t.Errorf("%.20q: %v", wrong, err)
		}
	}
}

func FuzzTraceMarker(f *testing.F) {
	f.Add(traceMarker{Below: map[string]uint64{"n1": 7, "n2": 0}, Recorded: 5}.text())
	f.Fuzz(func(t *testing.T, text string) {
		if m, err := parseTraceMarker(text); err == nil && text != "" && m.text() != text {
			t.Errorf("%q was read as %q", text, m.text())
		}
	})
}

func FuzzFollowedMarker(f *testing.F) {
	f.Add(followed{Above: map[string]uint64{"n1": 7, "n2": 0}, Since: 5, Late: []string{"n2"}}.text())
	f.Add(traceMarker{Below: map[string]uint64{"n1": 7, "n2": 0}, Recorded: 5}.text())
	f.Fuzz(func(t *testing.T, text string) {
		at, err := parseFollowed(text)
		if err == nil && at.text() != text {
			t.Errorf("%q was read as %q", text, at.text())
		}
		if _, other := parseTraceMarker(text); err == nil && text != "" && other == nil {
			t.Errorf("%q is a marker of both", text)
		}
	})
}
