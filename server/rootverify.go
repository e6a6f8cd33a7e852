package server

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// callVerifyRoots has a member prove what its module holds, and opens.
const callVerifyRoots = "root.verify"

const (
	// verifyStep is how long one step looks at records, and verifyStepLimit how
	// long it may take with what a slow device has begun.
	verifyStep      = 3 * time.Second
	verifyStepLimit = time.Minute
	verifyBatch     = 256
	// verifyFailures is how many records that do not open one step names.
	verifyFailures = 100
)

// verifyRoots asks the node that the operator means.
func (s *Server) verifyRoots(ctx context.Context, req wire.VerifyRootsRequest) (*wire.VerifyRootsReply, error) {
	m := s.member.Load()
	if m == nil {
		return nil, errNoCluster
	}
	if req.Every < 0 {
		return nil, errors.New("one record of how many? The number is 1 or more")
	}
	if req.NodeID == "" || req.NodeID == s.cfg.NodeID {
		return s.verifyRootsHere(ctx, m, req)
	}
	if err := m.service.Current(ctx); err != nil {
		return nil, err
	}
	if _, known := s.machine.State().Node(req.NodeID); !known {
		return nil, fmt.Errorf("the cluster has no node %q", req.NodeID)
	}
	body, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("encoding the request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, verifyStepLimit)
	defer cancel()
	raw, err := m.node.Call(ctx, req.NodeID, callVerifyRoots, body)
	if err != nil {
		return nil, fmt.Errorf("node %s cannot be asked: %w", req.NodeID, err)
	}
	reply := new(wire.VerifyRootsReply)
	if err := json.Unmarshal(raw, reply); err != nil {
		return nil, fmt.Errorf("reading the answer of node %s: %w", req.NodeID, err)
	}
	return reply, nil
}

// answerVerifyRoots takes a step for another member.
func (s *Server) answerVerifyRoots(ctx context.Context, m *member, body []byte) ([]byte, error) {
	var req wire.VerifyRootsRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, refuseRemote("the request to verify the root keys cannot be read")
	}
	reply, err := s.verifyRootsHere(ctx, m, req)
	if err != nil {
		return nil, refuseRemote("%s", err)
	}
	return json.Marshal(reply)
}

// verifyRootsHere takes one step, on a state that holds all that was
// acknowledged before.
func (s *Server) verifyRootsHere(ctx context.Context, m *member, req wire.VerifyRootsRequest) (*wire.VerifyRootsReply, error) {
	ctx, cancel := context.WithTimeout(ctx, verifyStepLimit)
	defer cancel()
	after, err := parseSealedPlace(req.After)
	if err != nil {
		return nil, err
	}
	if err := m.service.Current(ctx); err != nil {
		return nil, err
	}
	root := s.machine.State()
	c := root.Cluster()
	if c == nil {
		return nil, errStateUnknown
	}
	p := &rootProof{server: s, member: m, root: root, every: max(req.Every, 1), reply: &wire.VerifyRootsReply{
		NodeID: s.cfg.NodeID, RootGeneration: c.RootGeneration, Index: root.Applied(), Total: root.SealedCount(),
	}}
	if !m.roots.held() {
		p.reply.Problem = "its module was not given the root keys yet"
		return p.reply, nil
	}
	canary, err := hsm.DecodeCanary(c.Canary)
	if err == nil {
		err = canary.Verify(ctx, s.cfg.Module)
	}
	if err != nil {
		p.reply.Problem = err.Error()
		return p.reply, nil
	}
	p.reply.Holds = true
	if err := p.step(ctx, after); err != nil {
		return nil, fmt.Errorf("the module of node %s cannot be asked further: %w", s.cfg.NodeID, err)
	}
	return p.reply, nil
}

// rootProof is one step of a verification.
type rootProof struct {
	server *Server
	member *member
	root   *state.Root
	every  int
	reply  *wire.VerifyRootsReply
}

// step looks at records until its time is over.
func (p *rootProof) step(ctx context.Context, after state.SealedPlace) error {
	if after.Table == 0 {
		if err := p.traceKey(ctx); err != nil {
			return err
		}
	}
	for begun := time.Now(); ; {
		// The place is moved by what was looked at, also where it held nothing.
		records, last, more := p.root.NextSealed(after, verifyBatch)
		for _, record := range records {
			if p.every > 1 && rand.IntN(p.every) > 0 {
				continue
			}
			if err := p.record(ctx, record); err != nil {
				return err
			}
		}
		p.reply.Passed += verifyBatch
		if after = last; !more {
			p.reply.Passed = min(p.reply.Passed, p.reply.Total)
			return nil
		}
		if time.Since(begun) > verifyStep || len(p.reply.Failures) >= verifyFailures {
			p.reply.Next = formatSealedPlace(after)
			return nil
		}
	}
}

// record proves all that one record holds.
func (p *rootProof) record(ctx context.Context, record state.SealedRecord) error {
	var err error
	sealed := func(what, purpose, id string, b []byte) {
		if len(b) == 0 || err != nil {
			return
		}
		err = p.note(what, id, func() error {
			secret, err := p.member.seal.open(ctx, purpose, id, b)
			clear(secret)
			return err
		})
	}
	switch r := record.(type) {
	case *state.Cluster:
		sealed("ca-key", sealCAKey, r.ID, r.SealedCAKey)
		sealed("ca-key", sealCAKey, r.ID, r.SealedCAKeyNext)
		sealed("gossip-key", sealGossipKey, r.ID, r.SealedGossip)
		sealed("gossip-key", sealGossipKey, r.ID, r.SealedGossipOther)
	case *state.AccessKey:
		sealed("access-key", sealAccessKey, r.ID, r.SealedSecret)
	case *state.Authenticator:
		sealed("second-factor", sealFactor, r.ID, r.Sealed)
		sealed("second-factor", sealFactor, r.NextID, r.NextSealed)
	case *state.Key:
		if len(r.Fingerprint) > 0 {
			err = p.note("fingerprint", r.ID, func() error { return p.member.service.ProveFingerprint(ctx, r) })
		}
		for _, pair := range r.ImportPairs {
			if pair.Ended() || err != nil {
				continue
			}
			err = p.note("import", r.ID, func() error { return p.member.service.ProveImportPair(ctx, r, pair) })
		}
	case *state.Version:
		key, ok := p.root.Key(r.KeyID)
		if !ok {
			return fmt.Errorf("version %d belongs to no key: %s", r.Number, r.KeyID)
		}
		err = p.note("version", fmt.Sprintf("%s/%d", r.KeyID, r.Number), func() error { return p.member.service.ProveVersion(ctx, key, r) })
	default:
		return fmt.Errorf("%T is not known to depend on the root keys", record)
	}
	return err
}

// traceKey proves the pair that signs this node's checkpoints, which no state holds.
func (p *rootProof) traceKey(ctx context.Context) error {
	k, err := p.server.loadTraceKey(ctx)
	if err != nil {
		return err
	}
	return p.note("trace-key", p.server.cfg.NodeID, func() error {
		loaded, err := p.server.cfg.Module.Load(ctx, k.wrapped())
		if err != nil {
			return err
		}
		return loaded.Close()
	})
}

// note counts what opens and names what does not. That the module does not
// answer says nothing about a record, and ends the step.
func (p *rootProof) note(what, id string, open func() error) error {
	err := open()
	switch {
	case err == nil:
		p.reply.Opened++
		return nil
	case errors.Is(err, hsm.ErrUnavailable), errors.Is(err, hsm.ErrPIN), errors.Is(err, hsm.ErrFull),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	}
	if refused, is := errors.AsType[*kms.Error](err); is && refused.Err != nil {
		err = refused.Err
	}
	p.reply.Failures = append(p.reply.Failures, wire.RootKeyFailure{What: what, ID: id, Problem: err.Error()})
	return nil
}

// A place in the walk over what is sealed, as an operator's tool hands it back.

func formatSealedPlace(place state.SealedPlace) string {
	return fmt.Sprintf("%d:%s", place.Table, hex.EncodeToString(place.Key))
}

func parseSealedPlace(text string) (place state.SealedPlace, err error) {
	if text == "" {
		return place, nil
	}
	table, key, found := strings.Cut(text, ":")
	if found {
		_, err = fmt.Sscanf(table, "%d", &place.Table)
	}
	if err == nil {
		place.Key, err = hex.DecodeString(key)
	}
	if !found || err != nil || len(text) > 1024 {
		return place, errors.New("this is no place at which a verification stopped")
	}
	return place, nil
}
