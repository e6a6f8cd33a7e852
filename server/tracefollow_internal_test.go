package server

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
)

// following follows the logs of nodes as followTraces does.
type following struct {
	*nodes
	server *Server
	at     string
	shown  []string
}

// page reads one page and adds it to what was shown.
func (f *following) page(limit int) kms.TracePage {
	f.t.Helper()
	newest := f.at == ""
	at := followed{Above: make(map[string]uint64), Since: 1}
	if !newest {
		var err error
		if at, err = parseFollowed(f.at); err != nil {
			f.t.Fatal(err)
		}
	}
	var answers []nodeFollowed
	for _, id := range []string{"n1", "n2", "n3"} {
		a := nodeFollowed{node: id, err: errors.New("down")}
		if !f.down[id] {
			ask := followAsk{Query: audit.Query{Limit: limit, MaxBytes: maxSearchReply, Except: "followTraces"}, Newest: newest, Above: at.Above[id]}
			a.followAnswer, a.err = followLog(f.t.Context(), f.logs[id], ask)
		}
		answers = append(answers, a)
	}
	page, err := f.server.followedPage(answers, at, kms.TraceQuery{Query: audit.Query{Limit: limit}}, newest)
	if err != nil {
		f.t.Fatal(err)
	}
	if len(page.Traces) > limit || len(page.Damaged) > 0 {
		f.t.Fatalf("%d traces, damaged %v", len(page.Traces), page.Damaged)
	}
	for _, trace := range page.Traces {
		f.shown = append(f.shown, trace.RequestID)
	}
	f.at = page.Marker
	return page
}

func (f *following) append(node string, n int, at int64, name string) {
	f.t.Helper()
	r := audit.Record{TraceName: name, Rating: audit.RatingNormal, RequestID: fmt.Sprintf("%s-%d", node, n), NodeID: node, Time: time.UnixMilli(at), RecordTime: time.UnixMilli(at), Code: "200"}
	if err := f.logs[node].Append(f.t.Context(), &r); err != nil {
		f.t.Fatal(err)
	}
}

// Whatever is written between, and whichever nodes are down, every trace that
// comes after the first page is shown once, those of a node in their order.
func TestFollowingLeavesNothingOut(t *testing.T) {
	logs := make(map[string]*audit.Log)
	f := &following{nodes: &nodes{t: t, logs: logs, down: make(map[string]bool)}, server: &Server{machine: fsm.New()}}
	dirs := make(map[string]string)
	reopen := func(id string) {
		t.Helper()
		if log := logs[id]; log != nil {
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		if logs[id], err = audit.OpenConfig(audit.Config{Dir: dirs[id], NodeID: id, SegmentSize: 4 << 10, Reserve: 8 << 10, RetentionAge: 1 << 60}); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"n1", "n2", "n3"} {
		dirs[id] = t.TempDir()
		reopen(id)
	}
	t.Cleanup(func() {
		for _, log := range logs {
			if err := log.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	count := map[string]int{}
	clock := int64(1_700_000_000_000)
	write := func(id string) {
		clock += rand.Int64N(5) - 1 // clocks go back, too
		f.append(id, count[id], clock, "createDataKey")
		count[id]++
		f.append(id, -1, clock, "followTraces")
	}
	for range 40 {
		write([]string{"n1", "n2"}[rand.IntN(2)])
	}
	f.down["n3"] = true
	if page := f.page(10); len(page.Traces) != 10 || !slices.Equal(page.Missing, []string{"n3"}) {
		t.Fatalf("the first page has %d traces, missing %v", len(page.Traces), page.Missing)
	}
	skipped := map[string]int{"n1": -1, "n2": -1, "n3": 0}
	for _, id := range f.shown {
		node, number, _ := strings.Cut(id, "-")
		if skipped[node] < 0 {
			var err error
			if skipped[node], err = strconv.Atoi(number); err != nil {
				t.Fatal(err)
			}
		}
	}
	for node, first := range skipped {
		if first < 0 { // the newest ten were all of the other one
			skipped[node] = count[node]
		}
	}
	for round := range 60 {
		for range rand.IntN(8) {
			write([]string{"n1", "n2", "n3"}[rand.IntN(3)])
		}
		f.down["n2"] = round%7 == 3
		f.down["n3"] = round < 20
		if round%11 == 5 {
			reopen("n1") // it was started again
		}
		f.page(5)
	}
	clear(f.down)
	for range 100 {
		if len(f.page(5).Traces) == 0 {
			break
		}
	}
	next := skipped
	for _, id := range f.shown {
		node, number, _ := strings.Cut(id, "-")
		if want := fmt.Sprint(next[node]); number != want {
			t.Fatalf("%s is shown, and %s-%s comes next", id, node, want)
		}
		next[node]++
	}
	for node, n := range count {
		if next[node] != n {
			t.Errorf("%s: %d traces were shown of %d", node, next[node], n)
		}
	}
}

// A page that is asked for with a marker of something else is refused.
func TestMarkersOfFollowing(t *testing.T) {
	f := func(text string, ok bool) {
		t.Helper()
		_, err := parseFollowed(text)
		if (err == nil) != ok || err != nil && kms.KindOf(err) != kms.KindInvalid {
			t.Errorf("%q: %v", text, err)
		}
	}
	good := followed{Above: map[string]uint64{"n1": 7}, Since: 1}.text()
	f(good, true)
	f(good[:len(good)-2], false)
	f("!", false)
	f("AAAA", false)
	f(strings.Repeat("A", 10_000), false)
	f(traceMarker{Below: map[string]uint64{"n1": 7}, Recorded: 5}.text(), false)
}
