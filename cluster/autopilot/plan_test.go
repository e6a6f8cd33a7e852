package autopilot_test

import (
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster/autopilot"
)

var (
	start    = time.Unix(1000, 0)
	settings = autopilot.Settings{Trailing: 10, Stable: 2 * time.Second, Contact: time.Second}
)

// newcomer is level with the leader (index 100) and answers right now.
func newcomer(at time.Time, change func(*autopilot.Server)) autopilot.Server {
	s := autopilot.Server{ID: "new", Match: 95, LastAck: at, Promotable: true}
	if change != nil {
		change(&s)
	}
	return s
}

// TestPromotion walks through seconds: each step is what the newcomer looks
// like half a second later.
func TestPromotion(t *testing.T) {
	level := func(*autopilot.Server) {}
	behind := func(s *autopilot.Server) { s.Match = 89 }
	edge := func(s *autopilot.Server) { s.Match = 90 }
	silent := func(s *autopilot.Server) { s.LastAck = s.LastAck.Add(-1001 * time.Millisecond) }
	unfit := func(s *autopilot.Server) { s.Promotable = false }
	fresh := func(s *autopilot.Server) { s.Match = 0 }
	voter := func(s *autopilot.Server) { s.Voter = true }

	f := func(want int, steps ...func(*autopilot.Server)) {
		t.Helper()
		var history autopilot.History
		for i, step := range steps {
			now := start.Add(time.Duration(i) * 500 * time.Millisecond)
			var due *autopilot.Promote
			history, due = autopilot.Plan(settings, history, autopilot.View{
				Now: now, LastIndex: 100, Servers: []autopilot.Server{newcomer(now, step)},
			})
			if (due != nil) != (i == want) {
				t.Fatalf("step %d: due is %v, want it at step %d", i, due, want)
			}
			if due != nil {
				return
			}
		}
	}
	const never = -1
	f(4, level, level, level, level, level)
	f(4, edge, level, edge, level, level)
	f(7, level, level, behind, level, level, level, level, level)
	f(7, level, level, silent, level, level, level, level, level)
	f(never, behind, behind, behind, behind, behind, behind)
	f(never, fresh, fresh, fresh, fresh, fresh, fresh)
	f(never, voter, voter, voter, voter, voter, voter)
	f(6, unfit, unfit, unfit, unfit, unfit, unfit, level) // it has been level all the time
}

// TestOneAtATime: of several, the one that has waited longest, then by name.
func TestOneAtATime(t *testing.T) {
	history := autopilot.History{"b": start, "a": start, "c": start.Add(-time.Second)}
	now := start.Add(5 * time.Second)
	var servers []autopilot.Server
	for _, id := range []string{"a", "b", "c"} {
		servers = append(servers, newcomer(now, func(s *autopilot.Server) { s.ID = id }))
	}
	for _, want := range []string{"c", "a", "b"} {
		_, due := autopilot.Plan(settings, history, autopilot.View{Now: now, LastIndex: 100, Servers: servers})
		if due == nil || due.ID != want {
			t.Fatalf("due %v, want %s", due, want)
		}
		for i := range servers {
			servers[i].Voter = servers[i].Voter || servers[i].ID == want
		}
	}
}
