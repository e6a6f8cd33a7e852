package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/raftkms/raftkms/server/audit"
)

// That a peer's log still holds what it held, and has only grown, its
// checkpoints alone do not say: a node that makes its log anew, and signs that,
// would be believed. So proofs of growth go with them, from the checkpoints
// before (audit.Step); whoever has missed more than these cover asks the node for
// one, which reads its log for it.

// callProveTraces has a node prove that its log has grown: proofRequest → proofReply.
const callProveTraces = "traces.prove"

const (
	// proveTimeout bounds the making of a proof that is read from the log.
	proveTimeout = 30 * time.Second
	// provePatience is how long a peer that goes on sending checkpoints may owe a proof.
	provePatience = 10 * time.Minute
)

// proofRequest asks for the growth of a log from its first Size lines up to a
// checkpoint of it.
type proofRequest struct {
	Checkpoint audit.Checkpoint `json:"checkpoint"`
	Size       uint64           `json:"size"`
}

// proofReply is the proof, or why there is none.
type proofReply struct {
	Step    audit.Step `json:"step"`
	Problem string     `json:"problem,omitempty"`
}

// unproved is a checkpoint of a peer that waits for its proof.
type unproved struct {
	newest audit.Checkpoint
	since  time.Time
}

// grows tells how a checkpoint does not fit the one that is proved of the
// peer's log, if it does not; p.mu is held.
func (p *publisher) grows(peer string, c audit.Checkpoint, steps []audit.Step) (how string, from audit.Checkpoint) {
	from, is := p.grown[peer]
	if !is || from.Log != c.Log {
		if from, is = p.known[peer][c.Log]; !is {
			from = c
		}
		p.grown[peer] = from
		delete(p.unproved, peer)
	}
	if c.Next() <= from.Next() {
		return "", from // late; where it ends at the same place, it was compared
	}
	was := from.Words()
	late := p.unproved[peer]
	switch err := c.Grew(from, steps); {
	case err == nil:
	case c.From != from.From:
		how = fmt.Sprintf("its tree begins anew at sequence %d, so nothing proves that it still holds the lines of %s", c.From, was)
	case errors.Is(err, audit.ErrForked):
		how = "it does not hold the lines of " + was
	case !late.since.IsZero() && time.Since(late.since) > provePatience:
		how = "the node does not prove that its log still holds the lines of " + was
	default:
		if late.since.IsZero() {
			late.since = time.Now()
		}
		p.unproved[peer] = unproved{newest: c, since: late.since}
		return "", from
	}
	p.grown[peer] = c
	delete(p.unproved, peer)
	return how, from
}

// proveLate asks peers for the proofs that did not come with their checkpoints.
func (p *publisher) proveLate(ctx context.Context, _ int64) error {
	p.mu.Lock()
	waiting := maps.Clone(p.unproved)
	p.mu.Unlock()
	for peer, late := range waiting {
		p.mu.Lock()
		from := p.grown[peer]
		p.mu.Unlock()
		reply, err := p.askProof(ctx, peer, proofRequest{Checkpoint: late.newest, Size: from.Size})
		if err != nil {
			p.server.cfg.Logger.Debug("asking for the proof of a peer's traces", "peer", peer, "error", err)
			continue // it is away; grows says when it is no more, and owes the proof
		}
		if reply.Problem != "" {
			p.server.cfg.Logger.Warn("a peer cannot prove that its trace log has only grown; kmsctl audit verify --node NODE can",
				"peer", peer, "from_sequence", from.Next(), "to_sequence", late.newest.Next()-1, "problem", reply.Problem)
			p.mu.Lock()
			p.grown[peer] = late.newest
			delete(p.unproved, peer)
			p.mu.Unlock()
			continue
		}
		p.doubt(peer, late.newest, []audit.Step{reply.Step})
	}
	return nil
}

func (p *publisher) askProof(ctx context.Context, peer string, req proofRequest) (reply proofReply, err error) {
	body, err := json.Marshal(req)
	if err != nil {
		return reply, fmt.Errorf("encoding a request for a proof: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, proveTimeout+keepTimeout)
	defer cancel()
	answer, err := p.member.node.Call(ctx, peer, callProveTraces, body)
	if err != nil {
		return reply, err
	}
	if err := json.Unmarshal(answer, &reply); err != nil {
		return reply, fmt.Errorf("decoding a proof: %w", err)
	}
	return reply, nil
}

// answerProof proves to a peer that this node's log has grown. One proof is made
// at a time, since it reads the log.
func (p *publisher) answerProof(ctx context.Context, _ string, body []byte) ([]byte, error) {
	var req proofRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, refuseRemote("the request for a proof cannot be decoded")
	}
	select {
	case p.proving <- struct{}{}:
		defer func() { <-p.proving }()
	default:
		return nil, refuseRemote("another proof is being made: ask again")
	}
	ctx, cancel := context.WithTimeout(ctx, proveTimeout)
	defer cancel()
	var reply proofReply
	var err error
	if reply.Step, err = p.server.traces.Prove(ctx, req.Checkpoint, req.Size); err != nil {
		reply.Problem = err.Error()
	}
	return json.Marshal(reply)
}
