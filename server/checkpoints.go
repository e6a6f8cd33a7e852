package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
)

// Every node tells the others how far its trace log goes and what it holds, in
// signed words: straight to every peer, which keeps them on its disk also while
// the cluster has no leader, and into the replicated state. A log that is cut,
// edited, put into another order or replaced as a whole contradicts them.
//
//   - A node that joins has no checkpoint until it has written and published; a
//     log belongs to the node from its first line on, and has an id of its own.
//   - Of a node that was removed the checkpoints stay in the state, so that its
//     disk can still be checked. When a node of that name joins again, with a new
//     log, those from before it was admitted are those of another log, and do
//     not count against it.
//   - A backup holds checkpoints that are older than the log of a node that kept
//     its files: they fit it. A node of the new generation that starts empty is
//     one that joins.

const (
	callKeepCheckpoint = "traces.keep-checkpoint"
	// keepPause is how often a peer's checkpoints are kept at most.
	keepPause = 3 * time.Second
	// keepTimeout bounds the wait for a peer.
	keepTimeout = 2 * time.Second
	// maxSteps is how many proofs of growth go with a checkpoint: a peer that has
	// missed fewer needs no other.
	maxSteps = 16
)

// publisher publishes the checkpoints of this node, and keeps those of others.
type publisher struct {
	server *Server
	member *member
	events *events // of the server
	copies *audit.Copies

	next   uint64       // what was published last goes up to here
	told   bool         // that the log is not the one that was published
	linked bool         // what was published before the start was looked for
	steps  []audit.Step // prove how the log has grown, the newest last

	mu   sync.Mutex
	kept map[string]time.Time // peer → when a checkpoint of it was last kept
	// known are the checkpoints of each peer's logs that go furthest, and doubted
	// which log of it was found to contradict one.
	known   map[string]furthest
	doubted map[string]audit.Hash
	// grown is the newest checkpoint of each peer that is proved to hold what was
	// known before; unproved is what still waits for its proof.
	grown    map[string]audit.Checkpoint
	unproved map[string]unproved
	proving  chan struct{} // has room for one
}

func newPublisher(s *Server, m *member) (*publisher, error) {
	copies, err := audit.OpenCopies(s.cfg.AuditDir)
	if err != nil {
		return nil, err
	}
	s.traces.Published(0) // what nobody else has heard of does not leave because of its age
	return &publisher{server: s, member: m, events: s.events, copies: copies, kept: make(map[string]time.Time),
		known: make(map[string]furthest), doubted: make(map[string]audit.Hash),
		grown: make(map[string]audit.Checkpoint), unproved: make(map[string]unproved), proving: make(chan struct{}, 1)}, nil
}

// traceOrigin names the trace log of a node in its checkpoints.
func (m *member) traceOrigin(nodeID string) string {
	return audit.Origin(uuid.UUID(m.clusterID).String(), nodeID)
}

// run publishes what was written since it last did.
func (p *publisher) run(ctx context.Context, now int64) error {
	s := p.server
	c, step, ok := s.traces.NextCheckpoint(ctx, p.member.traceOrigin(s.cfg.NodeID))
	if step.Size > 0 { // also when nothing is published of it: the next step begins where it ends
		p.steps = append(p.steps[max(0, len(p.steps)-maxSteps+1):], step)
	}
	if !ok || !p.member.roots.held() {
		return nil
	}
	p.compare(c)
	if c.Next() == p.next {
		return nil
	}
	if err := p.member.service.Healthy(); err != nil { // a signature takes a nonce from that generator
		return fmt.Errorf("signing the traces of this node: %w", err)
	}
	signed, err := s.signCheckpoint(ctx, c)
	if err != nil {
		return err
	}
	signed.Kept = now
	if err := p.copies.Keep(s.cfg.NodeID, signed); err != nil {
		return err
	}
	p.link(ctx, c)
	signed.Grown = p.steps
	p.tellPeers(ctx, signed)
	err = p.member.service.PublishCheckpoint(ctx, command.PublishCheckpoint{
		NodeID: s.cfg.NodeID, From: c.From, Size: c.Size, Key: signed.Key, Note: []byte(signed.Note),
	})
	if err != nil {
		return err
	}
	p.next = c.Next()
	s.traces.Published(c.Next())
	return nil
}

// link proves, once after a start, that the log has grown from what was
// published last before it.
func (p *publisher) link(ctx context.Context, c audit.Checkpoint) {
	if p.linked {
		return
	}
	p.linked = true
	own, err := p.copies.Of(p.server.cfg.NodeID)
	if err != nil || len(p.steps) > 0 {
		return // peers ask where they have to
	}
	for i := len(own) - 1; i >= 0; i-- {
		before, err := own[i].Open()
		if err != nil || before.Log != c.Log || before.From != c.From || before.Size >= c.Size {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, proveTimeout)
		defer cancel()
		if step, err := p.server.traces.Prove(ctx, c, before.Size); err == nil {
			p.steps = []audit.Step{step}
		}
		return
	}
}

// tellPeers sends a checkpoint to every peer. One that does not answer learns
// it from the state.
func (p *publisher) tellPeers(ctx context.Context, signed audit.Signed) {
	peers, err := p.server.peers(ctx, p.member)
	if err != nil {
		return
	}
	body, err := json.Marshal(signed)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, keepTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, peer := range peers {
		all.Go(func() {
			if _, err := p.member.node.Call(ctx, peer, callKeepCheckpoint, body); err != nil {
				p.server.cfg.Logger.Debug("sending a checkpoint of the traces", "peer", peer, "error", err)
			}
		})
	}
	all.Wait()
}

// answerKeep keeps a peer's checkpoint, which must be of that peer. One that
// contradicts what is known of the peer's log is kept all the same, as evidence.
func (p *publisher) answerKeep(_ context.Context, peer string, body []byte) ([]byte, error) {
	var signed audit.Signed
	if err := json.Unmarshal(body, &signed); err != nil || len(signed.Grown) > maxSteps {
		return nil, refuseRemote("the checkpoint cannot be decoded")
	}
	c, err := signed.Open()
	if err != nil || c.Origin != p.member.traceOrigin(peer) {
		return nil, refuseRemote("this is no checkpoint of the traces of node %s", peer)
	}
	now := time.Now()
	doubt := p.doubt(peer, c, signed.Grown)
	p.mu.Lock()
	often := now.Sub(p.kept[peer]) < keepPause && !doubt
	if !often {
		p.kept[peer] = now
	}
	p.mu.Unlock()
	if often {
		return nil, nil // the next one covers it
	}
	signed.Kept, signed.Grown = now.UnixMilli(), nil
	return nil, p.copies.Keep(peer, signed)
}

// compare looks whether the log is the one of which the state has the newest
// checkpoint, and says so once when it is not: it was cut or replaced while the
// node was down. What exactly is wrong, kmsctl audit verify finds.
func (p *publisher) compare(own audit.Checkpoint) {
	if p.told {
		return
	}
	known, err := p.server.knownCheckpoints(p.server.cfg.NodeID, own.Log)
	if err != nil || len(known) == 0 {
		return
	}
	newest := known[len(known)-1]
	if newest.Log == own.Log && newest.Next() <= own.Next() {
		return
	}
	p.told = true
	message := fmt.Sprintf("the trace log is not the one whose checkpoint of %s the cluster knows: that one went to sequence %d, this one goes to %d",
		time.UnixMilli(newest.Time).UTC().Format(time.RFC3339), newest.Next()-1, own.Next()-1)
	p.server.cfg.Logger.Error(message + "; see kmsctl audit verify")
	p.events.note(kms.OpLoseTraces, func(c *kms.Call) {
		c.AboutResource(p.server.cfg.NodeID, "")
		c.Remark(audit.RatingIncident, message)
	})
}

// knownCheckpoints are those of the state that a node's log has to fit, the
// oldest first: all of that log, and all that the node has published since it
// was admitted, whatever log they are of.
func (s *Server) knownCheckpoints(nodeID string, log audit.Hash) ([]audit.Checkpoint, error) {
	root := s.machine.State()
	traces, ok := root.TraceLog(nodeID)
	if !ok {
		return nil, nil
	}
	var admitted int64
	if node, is := root.Node(nodeID); is {
		admitted = node.Created
	}
	var known []audit.Checkpoint
	var bad error
	for _, kept := range traces.Checkpoints {
		c, err := audit.OpenCheckpoint(kept.Note, kept.Key)
		switch {
		case err != nil:
			bad = errors.Join(bad, err)
		case c.Log == log || kept.Time > admitted:
			known = append(known, c)
		}
	}
	return known, bad
}
