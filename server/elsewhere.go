package server

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/huawei"
	"github.com/raftkms/raftkms/server/kms"
)

// Another node's module or state. A node whose module is gone still knows who asks
// and what the state says, and one whose state is too old to answer from still
// knows who asks; it sends the request, with the id of the credential that it has
// seen proved, to a peer. The peer knows the sender by mutual TLS, waits for
// current state, looks the credential up, authorises, and does the call as one of
// its own. Plaintext so crosses the cluster port, and nothing else. The node that
// answers the client writes the trace.

const (
	callForward    = "kms.forward"
	callOpenSecret = "secret.open"
	// callForwardOnce is callForward for a request with an idempotency token. A peer
	// whose version would not heed the token does not know the call.
	callForwardOnce = "kms.forward-once"

	// forwardTimeout bounds one peer's attempt.
	forwardTimeout = 6 * time.Second
	// strandedTimeout is that of a peer which waits for nothing.
	strandedTimeout = 1500 * time.Millisecond
)

// elsewhere has a peer answer a request, the one that could last time first.
func (s *Server) elsewhere(m *member) huawei.Elsewhere {
	return func(ctx context.Context, f *huawei.Forwarded) (huawei.Outcome, error) {
		body, err := cbor.Marshal(f)
		if err != nil {
			return huawei.Outcome{}, fmt.Errorf("encoding a request for another node: %w", err)
		}
		defer clear(body)
		var out huawei.Outcome
		method, each := callForward, forwardTimeout
		if f.Stranded {
			each = strandedTimeout
		}
		if f.Token != "" {
			method = callForwardOnce
		}
		err = s.askPeers(ctx, m, each, method, body, f.Changes, func(reply []byte) (again bool, err error) {
			defer clear(reply)
			out = huawei.Outcome{}
			if err := cbor.Unmarshal(reply, &out); err != nil || out.Status == 0 {
				return true, fmt.Errorf("decoding the answer of another node: %w", errors.Join(err, errNoAnswer))
			}
			return out.Status == fasthttp.StatusServiceUnavailable, nil
		})
		switch {
		case err != nil:
		case f.Stranded:
			m.sentOn.state.Add(1)
		default:
			m.sentOn.module.Add(1)
		}
		return out, err
	}
}

// sentOn counts the requests that peers have answered, by what this node lacked.
type sentOn struct{ module, state atomic.Uint64 }

var errNoAnswer = errors.New("no node answered")

// askPeers calls one peer after the other, each for so long at most, until one has
// answered for good. With changes it stops when a peer may have done what it was asked.
func (s *Server) askPeers(ctx context.Context, m *member, each time.Duration, method string, body []byte, changes bool, take func(reply []byte) (again bool, err error)) error {
	peers, err := s.peers(ctx, m)
	if err != nil {
		return err
	}
	failed := errNoAnswer
	for _, peer := range peers {
		attempt, cancel := context.WithTimeout(ctx, each)
		reply, err := m.node.Call(attempt, peer, method, body)
		cancel()
		again := true
		if err == nil {
			again, err = take(reply)
		}
		switch {
		case !again:
			m.goodPeer.Store(&peer)
			return err
		case changes && errors.Is(err, cluster.ErrOutcomeUnknown):
			return &kms.Error{Kind: kms.KindOutcomeUnknown, Message: "the change may or may not have been made: ask for its state before trying again", Err: err}
		case ctx.Err() != nil:
			return errors.Join(ctx.Err(), err)
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// peers are the other members, the one that answered last time first.
func (s *Server) peers(ctx context.Context, m *member) ([]string, error) {
	members, err := m.node.Members(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's configuration: %w", err)
	}
	var ids []string
	good := m.goodPeer.Load()
	for _, member := range members {
		switch {
		case member.ID == s.cfg.NodeID:
		case good != nil && *good == member.ID:
			ids = append([]string{member.ID}, ids...)
		default:
			ids = append(ids, member.ID)
		}
	}
	return ids, nil
}

// trusted says whether an operator has let the root keys go to a node. It is
// then believed about who asks for what, as it could do anything by itself. A
// join token alone admits a node to replication, and to nothing else.
func (s *Server) trusted(nodeID string) bool { return trustedIn(s.machine.State(), nodeID) }

func trustedIn(root *state.Root, nodeID string) bool {
	node, ok := root.Node(nodeID)
	return ok && node.RootsApproved != 0
}

func errNotTrusted(nodeID string) error {
	return refuseRemote("node %s was not given the root keys", nodeID)
}

// answerForwarded does a request that a member sent on. Whether the member is
// believed is asked once more of the state that the request is answered from: this
// node's own may not know yet that the member was removed.
func (s *Server) answerForwarded(ctx context.Context, m *member, peer string, body []byte) ([]byte, error) {
	if !s.trusted(peer) {
		clear(body)
		return nil, errNotTrusted(peer)
	}
	var f huawei.Forwarded
	err := cbor.Unmarshal(body, &f)
	clear(body)
	defer clear(f.Body)
	if err != nil {
		return nil, refuseRemote("the forwarded request cannot be decoded")
	}
	uri := fasthttp.AcquireURI()
	defer fasthttp.ReleaseURI(uri)
	if err := uri.Parse(nil, []byte(f.URI)); err != nil {
		return nil, refuseRemote("the forwarded request's path cannot be read")
	}
	r, values := m.table.find(f.Method, string(uri.Path()))
	if f.Stranded {
		if err := m.service.HasState(); err != nil {
			return nil, refuseRemote("%s", err)
		}
	}
	if r == nil || len(f.Body) > r.body {
		return nil, refuseRemote("this node does not know the forwarded request's endpoint")
	}
	var out huawei.Outcome
	refused := false
	believed := func(root *state.Root) bool {
		refused = !trustedIn(root, peer)
		return !refused
	}
	r.handler(ctx, incoming{rc: new(fasthttp.RequestCtx), requestID: f.RequestID, path: values, forwarded: &f, believed: believed, outcome: &out})
	defer clear(out.Body)
	if refused {
		return nil, errNotTrusted(peer)
	}
	return cbor.Marshal(out)
}

// openAccessKey opens a secret key: by this node's module, or, while that does
// not serve, by a peer's.
func (s *Server) openAccessKey(m *member) func(ctx context.Context, ak *state.AccessKey) ([]byte, error) {
	return func(ctx context.Context, ak *state.AccessKey) ([]byte, error) {
		secret, err := m.seal.openAccessKey(ctx, ak)
		if err == nil || !kms.ModuleGone(err) {
			return secret, err
		}
		asked := s.askPeers(ctx, m, forwardTimeout, callOpenSecret, []byte(ak.ID), false, func(reply []byte) (bool, error) {
			secret = reply
			return len(reply) == 0, nil
		})
		if asked != nil {
			return nil, errors.Join(err, asked)
		}
		return secret, nil
	}
}

// answerOpenSecret opens an access key's secret for a member whose module is
// gone. It goes only to one that was given the roots, and could open it itself.
func (s *Server) answerOpenSecret(ctx context.Context, m *member, peer string, body []byte) ([]byte, error) {
	if err := m.service.Current(ctx); err != nil {
		return nil, err
	}
	if !s.trusted(peer) {
		return nil, errNotTrusted(peer)
	}
	ak, ok := s.machine.State().AccessKey(string(body))
	if !ok {
		return nil, refuseRemote("there is no such access key")
	}
	return m.seal.openAccessKey(ctx, ak)
}
