package fsm

import (
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// The bounds of how old a state may be in the available mode, in ms.
const (
	minMaxAge = 5 * 1000 // less would be over before a lost leader is replaced
	maxMaxAge = 60 * 1000
)

// What is added to a bound of one node's clock to be the bound of everybody's: a
// clock may be a tenth slower, and that of the next leader behind by as much as
// leaders' clocks may differ (ms).
const (
	slowClock   = 8 // one part of so many
	clocksApart = 10 * 1000
)

// setConsistency changes what uses of keys are answered from.
func setConsistency(c *call, b command.SetConsistency) (any, *Refusal) {
	switch {
	case b.Mode > state.ConsistencyAvailable:
		return nil, refuse(CodeInvalid, "there is no such consistency")
	case b.Mode == state.ConsistencyAvailable && (b.MaxAge < minMaxAge || b.MaxAge > maxMaxAge):
		return nil, refuse(CodeInvalid, "a state that answers may be %d to %d ms old", minMaxAge, maxMaxAge)
	case b.Mode != state.ConsistencyAvailable && b.MaxAge != 0:
		return nil, refuse(CodeInvalid, "only in the available mode a state may be old")
	}
	cluster := *c.Cluster()
	if cluster.Consistency == state.ConsistencyAvailable {
		cluster.StaleUntil = max(cluster.StaleUntil, c.Now()+cluster.MaxAge+cluster.MaxAge/slowClock+clocksApart)
	}
	cluster.Consistency, cluster.MaxAge, cluster.Fence = b.Mode, b.MaxAge, c.index
	c.PutCluster(&cluster)
	return struct{}{}, nil
}
