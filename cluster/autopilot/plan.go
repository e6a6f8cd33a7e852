// Package autopilot decides which changes of members are due. It is a pure
// function of what the leader sees ([Plan]); the leader carries it out.
//
// What it promises: a node gets a vote only once its log has been level with
// the leader's for a while; at most one change is asked for at a time.
//
// What it never does: remove a node, or look at a clock.
package autopilot

import (
	"slices"
	"strings"
	"time"
)

// Settings are the thresholds of a plan.
type Settings struct {
	Trailing uint64        // a member this many entries behind is still level with the leader
	Stable   time.Duration // how long it must have been level before it gets a vote
	Contact  time.Duration // a member that was silent for longer is not level
}

// Server is a member as the leader sees it.
type Server struct {
	ID         string
	Voter      bool
	Match      uint64    // its log equals the leader's up to here
	LastAck    time.Time // when it last answered
	Promotable bool      // nothing but its log speaks against a vote
}

// View is what the leader sees at one moment.
type View struct {
	Now       time.Time
	LastIndex uint64 // of the leader's log
	Servers   []Server
}

// History is since when each member without a vote has been level with the
// leader. It belongs to one term; a new leader begins with an empty one.
type History map[string]time.Time

// Promote asks that a member be given a vote.
type Promote struct{ ID string }

// Plan returns the history that follows from the view and the promotion that
// is due, nil when none is. It changes none of its arguments.
func Plan(s Settings, before History, v View) (History, *Promote) {
	after := make(History, len(before))
	var due []string
	for _, server := range v.Servers {
		if server.Voter || !s.level(server, v) {
			continue
		}
		since, ok := before[server.ID]
		if !ok {
			since = v.Now
		}
		after[server.ID] = since
		if server.Promotable && v.Now.Sub(since) >= s.Stable {
			due = append(due, server.ID)
		}
	}
	if len(due) == 0 {
		return after, nil
	}
	// The one that has waited longest, by name among equals.
	first := slices.MinFunc(due, func(a, b string) int {
		if c := after[a].Compare(after[b]); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	return after, &Promote{ID: first}
}

func (s Settings) level(server Server, v View) bool {
	return server.Match > 0 && server.Match+s.Trailing >= v.LastIndex && v.Now.Sub(server.LastAck) <= s.Contact
}
