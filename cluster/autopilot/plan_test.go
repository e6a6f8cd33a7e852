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
			var due *autopilot.Change
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
	history := autopilot.History{Level: map[string]time.Time{"b": start, "a": start, "c": start.Add(-time.Second)}}
	now := start.Add(5 * time.Second)
	var servers []autopilot.Server
	for _, id := range []string{"a", "b", "c"} {
		servers = append(servers, newcomer(now, func(s *autopilot.Server) { s.ID = id }))
	}
	for _, want := range []string{"c", "a", "b"} {
		_, due := autopilot.Plan(settings, history, autopilot.View{Now: now, LastIndex: 100, Servers: servers})
		if due == nil || due.ID != want || !due.Vote {
			t.Fatalf("due %v, want %s", due, want)
		}
		for i := range servers {
			servers[i].Voter = servers[i].Voter || servers[i].ID == want
		}
	}
}

// TestDeadVoters: who is silent for long loses its vote where the cluster is the
// better for it, and never otherwise. A letter is a voter: A answers, d is dead;
// n is level and has no vote, s is silent and has none.
func TestDeadVoters(t *testing.T) {
	settings := settings
	settings.Dead = time.Minute
	f := func(members, want string) {
		t.Helper()
		var history autopilot.History
		var due *autopilot.Change
		for second := 0; second <= 60; second += 5 {
			if due != nil {
				t.Fatalf("%s: %v is due after %d s already", members, due, second-5)
			}
			now := start.Add(time.Duration(second) * time.Second)
			v := autopilot.View{Now: now, LastIndex: 100}
			for i, kind := range members {
				server := autopilot.Server{ID: string(kind) + string(rune('0'+i)), Voter: kind == 'A' || kind == 'd', Match: 100, LastAck: now}
				if kind == 'd' || kind == 's' {
					server.LastAck = start.Add(-time.Hour) // before this leader began to look
				}
				v.Servers = append(v.Servers, server)
			}
			history, due = autopilot.Plan(settings, history, v)
		}
		got := ""
		if due != nil && !due.Vote {
			got = due.ID
		}
		if got != want {
			t.Errorf("%s: %q loses its vote, want %q", members, got, want)
		}
	}
	f("AAA", "")
	f("AAd", "") // one more may not fail either way, and it may come back
	f("AAdn", "")
	f("AAAd", "d3") // replaced
	f("AAAAd", "")
	f("AAAAdd", "d4")
	f("AAAdd", "")
	f("AAdd", "") // no majority: nothing can be decided
	f("Ad", "")
	f("AAAs", "")
	f("", "")
}

// TestSilenceIsWatched: what a leader did not watch does not count: its own
// sleep, and what was before a voter answered again.
func TestSilenceIsWatched(t *testing.T) {
	settings := settings
	settings.Dead = time.Minute
	var history autopilot.History
	look := func(second int, lastAck int) *autopilot.Change {
		now := start.Add(time.Duration(second) * time.Second)
		v := autopilot.View{Now: now, LastIndex: 100}
		for _, id := range []string{"a", "b", "c"} {
			v.Servers = append(v.Servers, autopilot.Server{ID: id, Voter: true, LastAck: now})
		}
		v.Servers = append(v.Servers, autopilot.Server{ID: "d", Voter: true, LastAck: start.Add(time.Duration(lastAck) * time.Second)})
		var due *autopilot.Change
		history, due = autopilot.Plan(settings, history, v)
		return due
	}
	f := func(second, lastAck int, want bool) {
		t.Helper()
		if due := look(second, lastAck); (due != nil) != want {
			t.Fatalf("after %d s, heard of at %d s: %v is due", second, lastAck, due)
		}
	}
	f(0, 0, false)
	f(600, 0, false) // the leader has slept for ten minutes
	f(659, 0, false)
	f(659, 659, false)
	f(661, 659, false)
	f(720, 659, false)
	f(721, 659, true)
	settings.Dead = 0
	f(5000, 659, false)
}
