package server

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/kms"
)

// What a node asks a peer about tokens while its own module does not serve. It
// is answered to nodes that were given the roots, and could do it themselves.
const (
	callSealToken  = "token.seal"  // what a token says → its seal
	callOpenToken  = "token.open"  // a seal → what the token says
	callTokenCheck = "token.check" // a generation of the roots (4 bytes, big endian) → the key of its tokens' check
)

// tokenCheckLabel begins what the module makes the key of the tokens' check
// of; no record's binding begins so (see hsm.Binding).
const tokenCheckLabel = "raftkms token check v1\x00"

// tokenSeals makes and opens the seals of tokens: with this node's module, or,
// while that does not serve, with a peer's. It implements [iam.Seals].
type tokenSeals struct {
	server *Server
	member *member
}

// SealToken implements [iam.Seals].
func (t *tokenSeals) SealToken(ctx context.Context, root *state.Root, token []byte) ([]byte, error) {
	return t.here(ctx, callSealToken, root, token)
}

// OpenToken implements [iam.Seals].
func (t *tokenSeals) OpenToken(ctx context.Context, root *state.Root, sealed []byte) ([]byte, error) {
	return t.here(ctx, callOpenToken, root, sealed)
}

// TokenCheck implements [iam.Seals].
func (t *tokenSeals) TokenCheck(ctx context.Context, root *state.Root, generation uint32) ([]byte, error) {
	return t.here(ctx, callTokenCheck, root, binary.BigEndian.AppendUint32(nil, generation))
}

// here does it with this node's module, or asks.
func (t *tokenSeals) here(ctx context.Context, call string, root *state.Root, input []byte) ([]byte, error) {
	output, err := t.member.seal.aboutTokens(ctx, call, root, input)
	if err == nil || !kms.ModuleGone(err) {
		return output, err
	}
	asked := t.server.askPeers(ctx, t.member, forwardTimeout, call, input, false, func(reply []byte) (bool, error) {
		output = reply
		return len(reply) == 0, nil
	})
	if asked != nil {
		return nil, errors.Join(err, asked)
	}
	return output, nil
}

// answerAboutTokens does it for a member whose module is gone.
func (s *Server) answerAboutTokens(ctx context.Context, m *member, call, peer string, input []byte) ([]byte, error) {
	if err := m.service.Current(ctx); err != nil {
		return nil, err
	}
	if !s.trusted(peer) {
		return nil, errNotTrusted(peer)
	}
	return m.seal.aboutTokens(ctx, call, s.machine.State(), input)
}

// aboutTokens does what a call says with the module.
func (s *sealer) aboutTokens(ctx context.Context, call string, root *state.Root, input []byte) ([]byte, error) {
	c := root.Cluster()
	switch call {
	case callSealToken:
		return s.seal(ctx, hsm.RootGeneration(c.RootGeneration), sealToken, c.ID, input)
	case callOpenToken:
		return s.open(ctx, sealToken, c.ID, input)
	default:
		if len(input) != 4 || !c.TakesRoots(binary.BigEndian.Uint32(input)) {
			return nil, refuseRemote("no tokens are under these root keys")
		}
		generation := hsm.RootGeneration(binary.BigEndian.Uint32(input))
		return s.module.Under(generation).MAC(ctx, []byte(tokenCheckLabel+c.ID))
	}
}
