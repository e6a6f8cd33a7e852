package server

import (
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
)

// A peer's checkpoint is compared with those that this node knows, of its own
// disk and of the state: a node whose log was cut or replaced while it was down
// says so itself (publisher.compare), unless it is made not to.

// furthest are, of the logs of one node, the checkpoints that go furthest. A
// node has one log.
type furthest map[audit.Hash]audit.Checkpoint

// maxLogs bounds the logs of one node that are remembered.
const maxLogs = 8

func (f furthest) add(c audit.Checkpoint) {
	if kept, is := f[c.Log]; is && kept.Next() >= c.Next() || !is && len(f) == maxLogs {
		return
	}
	f[c.Log] = c
}

// against tells whether a checkpoint contradicts one of these.
func (f furthest) against(c audit.Checkpoint) (how string, known audit.Checkpoint, does bool) {
	for _, known = range f {
		if how, does = c.Contradicts(known); does {
			return how, known, true
		}
	}
	return "", known, false
}

// doubt tells whether a checkpoint contradicts what is known of its node's log.
// The first time, it says so in the log, in a trace and in the metrics.
func (p *publisher) doubt(peer string, c audit.Checkpoint, steps []audit.Step) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known[peer] == nil {
		p.known[peer] = p.furthestKnown(peer)
	}
	how, known, contradicts := p.known[peer].against(c)
	if contradicts && known.Log != c.Log { // it may have been removed and admitted anew meanwhile
		p.known[peer] = p.furthestKnown(peer)
		how, known, contradicts = p.known[peer].against(c)
	}
	if !contradicts {
		how, known = p.grows(peer, c, steps)
		contradicts = how != ""
	}
	p.known[peer].add(c)
	return contradicts && p.tell(peer, how, c, known)
}

// tell says that a peer's checkpoint does not fit, once of a log; p.mu is held.
// It returns whether it did.
func (p *publisher) tell(peer, how string, c, known audit.Checkpoint) bool {
	if p.doubted[peer] == c.Log {
		return false
	}
	p.doubted[peer] = c.Log
	p.server.metrics.doubts.Inc()
	message := "the checkpoint that node " + peer + " sends of its traces does not fit: " + how
	p.server.cfg.Logger.Error(message + "; see kmsctl audit verify --node " + peer)
	p.events.note(kms.OpDoubtTraces, func(call *kms.Call) {
		call.AboutResource(peer, "")
		call.Asked().Number("through", int64(c.Next()-1))
		call.Asked().Number("known_through", int64(known.Next()-1))
		call.Remark(audit.RatingIncident, message)
	})
	return true
}

// furthestKnown reads what is kept here or in the state of a peer's logs since
// the peer was admitted; p.mu is held. What was kept before is perhaps of another
// node of that name.
func (p *publisher) furthestKnown(peer string) furthest {
	var admitted int64
	if node, known := p.server.machine.State().Node(peer); known {
		admitted = node.Created
	}
	found := make(furthest)
	all, err := p.server.knownCheckpoints(peer, audit.Hash{})
	if err != nil {
		p.server.cfg.Logger.Warn("reading the checkpoints that the cluster has of a peer's traces", "peer", peer, "error", err)
	}
	for _, c := range all {
		found.add(c)
	}
	copies, err := p.copies.Of(peer)
	if err != nil {
		p.server.cfg.Logger.Warn("reading the checkpoints that are kept of a peer's traces", "peer", peer, "error", err)
	}
	for i := range copies {
		c, err := copies[i].Open()
		if err == nil && c.Origin == p.member.traceOrigin(peer) && copies[i].Kept > admitted {
			found.add(c)
		}
	}
	return found
}
