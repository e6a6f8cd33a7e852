// Package autopilot decides which changes of members are due. It is a pure
// function of what the leader sees ([Plan]); the leader carries it out.
//
// What it promises: a node gets a vote only once its log has been level with
// the leader's for a while; a voter that is silent for long loses its vote only
// where the cluster then bears the loss of one voter more; at most one change is
// asked for at a time, and a vote is given before one is taken.
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
	Dead     time.Duration // a voter that the leader has seen silent for that long is dead; 0: none ever is
}

// Server is a member as the leader sees it.
type Server struct {
	ID         string
	Voter      bool
	Match      uint64    // its log equals the leader's up to here
	LastAck    time.Time // when it last answered; of the leader itself, now
	Promotable bool      // nothing but its log speaks against a vote
}

// View is what the leader sees at one moment.
type View struct {
	Now       time.Time
	LastIndex uint64 // of the leader's log
	Servers   []Server
}

// History is what the leader has seen of its members before. It belongs to one
// term; a new leader begins with an empty one.
type History struct {
	Level  map[string]time.Time // since when a member without a vote has been level
	Silent map[string]time.Time // since when the leader has seen a voter silent
}

// Change asks that a member be given a vote, or that its vote be taken.
type Change struct {
	ID   string
	Vote bool
}

// Plan returns the history that follows from the view and the change that is
// due, nil when none is. It changes none of its arguments.
func Plan(s Settings, before History, v View) (History, *Change) {
	after := History{Level: make(map[string]time.Time), Silent: make(map[string]time.Time)}
	var level, dead []string
	voters, answering := 0, 0
	for _, server := range v.Servers {
		// What counts is how long the leader has watched: one that slept itself, or
		// has just been elected, has heard of nobody for long.
		heard := v.Now.Sub(server.LastAck) <= s.Contact
		switch {
		case !server.Voter && server.Match > 0 && server.Match+s.Trailing >= v.LastIndex && heard:
			after.Level[server.ID] = since(before.Level, server.ID, v.Now)
			if server.Promotable && v.Now.Sub(after.Level[server.ID]) >= s.Stable {
				level = append(level, server.ID)
			}
		case server.Voter && heard:
			answering++
		case server.Voter:
			after.Silent[server.ID] = since(before.Silent, server.ID, v.Now)
			if s.Dead > 0 && v.Now.Sub(after.Silent[server.ID]) >= s.Dead {
				dead = append(dead, server.ID)
			}
		}
		if server.Voter {
			voters++
		}
	}
	switch {
	case len(level) > 0:
		return after, &Change{ID: longest(level, after.Level), Vote: true}
	case len(dead) > 0 && voters%2 == 0 && answering > voters/2:
		// Of an even number of voters one makes the majority larger, and not the
		// number of those that may fail. So nothing is lost by taking a vote, and
		// where the dead one has been replaced, one more may fail again.
		return after, &Change{ID: longest(dead, after.Silent)}
	default:
		return after, nil
	}
}

// since is when something began that is so now.
func since(before map[string]time.Time, id string, now time.Time) time.Time {
	if at, ok := before[id]; ok {
		return at
	}
	return now
}

// longest is the one of which something has been so the longest, by name among
// equals.
func longest(ids []string, since map[string]time.Time) string {
	return slices.MinFunc(ids, func(a, b string) int {
		if c := since[a].Compare(since[b]); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
}
