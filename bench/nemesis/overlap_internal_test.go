package nemesis

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/raftkms/raftkms/bench/history"
)

// draws calls f with many plans of a kind.
func draws(kind Kind, f func(a Action, spells []spell)) {
	s := NewSchedule(1, 5*time.Second, kind)
	for range 300 {
		a := s.Next()
		f(a, plan(a, 3))
	}
}

func TestPlansOverlap(t *testing.T) {
	for _, kind := range OverlapKinds() {
		draws(kind, func(a Action, spells []spell) {
			if diff := cmp.Diff(fmt.Sprint(spells), fmt.Sprint(plan(a, 3))); diff != "" {
				t.Fatalf("%+v has two plans: %s", a, diff)
			}
			lap, late := 0, time.Duration(0)
			for i, s := range spells {
				if s.begin < 0 || s.end < s.begin || s.end > 2*a.Length || i > 0 && s.begin < spells[i-1].begin {
					t.Errorf("%+v: %+v is out of bounds or of order", a, s)
				}
				for _, earlier := range spells[:i] {
					if s.begin < earlier.end && s.how != handingOn {
						lap++
					}
				}
				late = max(late, s.await)
			}
			if lap == 0 && kind != ReturnChange {
				t.Errorf("%+v: nothing overlaps in %+v", a, spells)
			}
			if late > a.Length {
				t.Errorf("%+v awaits a leader for %s", a, late)
			}
		})
	}
}

// Which of two begins first, and which ends first, leads through different states.
func TestEitherBeginsAndEitherEndsFirst(t *testing.T) {
	for _, kind := range []Kind{PauseCut, CutPaused} {
		orders := make(map[string]int)
		draws(kind, func(_ Action, spells []spell) {
			if spells[0].begin == spells[1].begin || spells[0].end == spells[1].end {
				t.Errorf("%s: two edges are one in %+v", kind, spells)
			}
			orders[fmt.Sprint(spells[0].how.cuts(), spells[0].end < spells[1].end)]++
		})
		if len(orders) != 4 {
			t.Errorf("%s: only the orders %v", kind, orders)
		}
	}
	short, back := 0, 0
	draws(InTurn, func(a Action, spells []spell) {
		for i, s := range spells[1:] {
			if s.begin >= spells[i].end {
				t.Errorf("%+v: a leader goes after the last one is back: %+v", a, spells)
			}
		}
		if last := len(spells) - 1; spells[last].end < spells[last-1].end {
			back++
		}
		if len(spells) == 2 {
			short++
		}
	})
	if back == 0 || back == 300 || short == 0 || short == 300 {
		t.Errorf("of 300 changes %d have two leaders, in %d the last one comes back first", short, back)
	}
}

func TestTooFewAreLeftButSome(t *testing.T) {
	counts := make(map[int]int)
	s := NewSchedule(1, 5*time.Second, KillMajority)
	for range 100 {
		a := s.Next()
		spells := plan(a, 5)
		counts[len(spells)]++
		for _, s := range spells {
			if s.begin >= a.Length/2 || s.end < a.Length/2 {
				t.Errorf("%+v: not all are down in the middle of %+v", a, spells)
			}
		}
	}
	if len(counts) != 2 || counts[3] == 0 || counts[4] == 0 {
		t.Errorf("of five nodes there are down, how often: %v", counts)
	}
}

// cutLinks knows what is cut.
type cutLinks struct {
	*Network
	cut map[string]bool
}

func (l *cutLinks) Cut(from, to string)  { l.cut[from+">"+to] = true; l.Network.Cut(from, to) }
func (l *cutLinks) Mend(from, to string) { delete(l.cut, from+">"+to); l.Network.Mend(from, to) }

// What one spell does stays when another ends that does it, too.
func TestASpellEndsByItself(t *testing.T) {
	starter := NewStarter()
	t.Cleanup(starter.Close)
	links := &cutLinks{NewNetwork(func(*net.TCPAddr) string { return "" }), make(map[string]bool)}
	t.Cleanup(links.Close)
	n := &Nemesis{Links: links, Recorder: history.NewRecorder(), Leader: func(context.Context) string { return "a" }}
	for _, id := range []string{"a", "b", "c"} {
		p := starter.NewProcess(id, filepath.Join(t.TempDir(), "log"), os.Args[0], "child", "wait")
		n.Processes = append(n.Processes, p)
		t.Cleanup(func() {
			if err := p.Kill(); err != nil {
				t.Error(err)
			}
		})
	}
	p := &play{Nemesis: n, spells: []played{
		{spell: spell{how: cutOff}, node: 0}, {spell: spell{how: deafened}, node: 1},
		{spell: spell{how: killed}, node: 2}, {spell: spell{how: paused}, node: 2},
	}}
	f := func(processes, cut string, on ...int) {
		t.Helper()
		for i := range p.spells {
			p.spells[i].on = slices.Contains(on, i)
		}
		if err := p.reconcile(); err != nil {
			t.Fatal(err)
		}
		got := ""
		for deadline := time.Now().Add(30 * time.Second); got != processes && time.Now().Before(deadline); {
			got = ""
			for _, p := range n.Processes {
				text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
				switch {
				case p.PID() == 0:
					got += "-"
				case err == nil && strings.Contains(string(text), "State:\tT"):
					got += "T"
				default:
					got += "R"
				}
			}
		}
		var is []string
		for link := range links.cut {
			is = append(is, link)
		}
		slices.Sort(is)
		if got != processes || strings.Join(is, " ") != cut {
			t.Errorf("with %v on processes are %s, want %s; cut are %v, want %s", on, got, processes, is, cut)
		}
	}
	f("RRR", "")
	f("RRR", "a>b a>c b>a c>a", 0)
	f("RRT", "a>b a>c b>a c>a c>b", 0, 1, 3)
	f("RR-", "a>b c>b", 1, 2, 3)
	f("RRT", "a>b c>b", 1, 3) // started, it is still paused
	f("RRR", "")
	p.spells[0].on = true
	for whom, want := range map[whom]int{leading: 2, other: 2, anyone: 2, theFirst: 0} { // a leads, and is away
		if got := p.whom(t.Context(), spell{whom: whom, pick: 2}); got != want {
			t.Errorf("%d meets %d, want %d", whom, got, want)
		}
	}
	p.spells[0].on = false
	for whom, want := range map[whom]int{leading: 0, other: 1, anyone: 0} {
		if got := p.whom(t.Context(), spell{whom: whom, pick: 0}); got != want {
			t.Errorf("while all are there %d meets %d, want %d", whom, got, want)
		}
	}
}
