package nemesis

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Of five nodes two are cut off from three, with the leader on either side, as the
// seed has it and as the fault says.
func TestTheLeaderIsInEitherHalf(t *testing.T) {
	n := &Nemesis{Leader: func(context.Context) string { return "d" }}
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		n.Processes = append(n.Processes, new(Starter).NewProcess(id, ""))
	}
	halves := func(seed uint64) (all []string) {
		s := NewSchedule(seed, time.Second, SplitHalves, Bridge, PowerMinority)
		for range 150 {
			a := s.Next()
			met, where := n.victims(t.Context(), a)
			few := ""
			for _, p := range met {
				few += p.ID()
			}
			want := "d leads in the larger half"
			if strings.Contains(few, "d") {
				want = "d leads in the smaller half"
			}
			if len(few) != 2 || where != want {
				t.Fatalf("%s meets %s, and says %q, want %q", a.Kind, few, where, want)
			}
			if a.Kind != PowerMinority {
				n.severed(t, a, met)
			}
			all = append(all, few)
		}
		return all
	}
	first := halves(1)
	if diff := cmp.Diff(first, halves(1)); diff != "" {
		t.Errorf("the same seed: -first+second\n%s", diff)
	}
	inside := 0
	for _, few := range first {
		if strings.Contains(few, "d") {
			inside++
		}
	}
	if inside < len(first)/3 || inside > 2*len(first)/3 {
		t.Errorf("of %d times the leader was in the smaller half %d times", len(first), inside)
	}
	for _, want := range []string{"de", "ea", "ab", "bc"} {
		if !slices.Contains(first, want) {
			t.Errorf("%s were never the smaller half", want)
		}
	}
	n.Leader = func(context.Context) string { return "" }
	if _, where := n.victims(t.Context(), Action{Kind: SplitHalves}); where != "who leads is not known" {
		t.Errorf("without a leader it says %q", where)
	}
}

// severed: no link is left between some nodes and the others, but for those of a
// bridge.
func (n *Nemesis) severed(t *testing.T, a Action, some []*Process) {
	t.Helper()
	links := &cutLinks{NewNetwork(func(*net.TCPAddr) string { return "" }), make(map[string]bool)}
	defer links.Close()
	n.Links = links
	if err := n.cut(t.Context(), a, some); err != nil {
		t.Fatal(err)
	}
	want := 2 * len(some) * (len(n.Processes) - len(some))
	if a.Kind == Bridge {
		want -= 2 * len(some)
	}
	inside := func(id string) bool {
		return slices.ContainsFunc(some, func(p *Process) bool { return p.ID() == id })
	}
	for link := range links.cut {
		if from, to, _ := strings.Cut(link, ">"); inside(from) == inside(to) {
			t.Errorf("%s cuts %s", a.Kind, link)
		}
	}
	if len(links.cut) != want {
		t.Errorf("%s cuts %d directions, want %d", a.Kind, len(links.cut), want)
	}
}
