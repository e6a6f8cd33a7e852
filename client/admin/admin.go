// Package admin speaks to a node's local admin socket: it starts clusters,
// makes join tokens, joins, approves roots and asks for the status. Whoever
// can open the socket is the node's operator; there are no credentials.
package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/server/wire"
)

// timeout bounds one call. A node gives itself two minutes, and is to say what has
// become of a change before nobody listens any more.
const timeout = 2*time.Minute + 10*time.Second

// maxReplyBytes bounds what is read of a reply.
const maxReplyBytes = 4 << 20

// Refusal is a node's own "no", with its reason.
type Refusal struct {
	Status  int    // HTTP status
	Message string // one sentence: what was refused, why, what to do
}

// Error returns the node's sentence.
func (r *Refusal) Error() string { return r.Message }

// Is reports whether it is [client.ErrUnavailable] or [client.ErrOutcomeUnknown].
func (r *Refusal) Is(cause error) bool {
	switch cause {
	case client.ErrUnavailable:
		return r.Status == http.StatusServiceUnavailable
	case client.ErrOutcomeUnknown:
		return r.Status == http.StatusGatewayTimeout
	}
	return false
}

// Socket is the admin socket of one node. It is safe for concurrent use.
type Socket struct {
	path string
	http *http.Client
}

// Open prepares calls to the socket at path; nothing is dialled yet.
func Open(path string) *Socket {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &Socket{path: path, http: &http.Client{
		Timeout:   timeout,
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
	}}
}

// Init starts a new cluster on the node.
func (s *Socket) Init(ctx context.Context, r wire.InitRequest) (wire.InitReply, error) {
	var reply wire.InitReply
	return reply, s.call(ctx, http.MethodPost, wire.AdminPathInit, r, &reply)
}

// JoinToken makes a token that admits one node, valid for lifetime (0: 1 h).
func (s *Socket) JoinToken(ctx context.Context, lifetime time.Duration) (wire.JoinTokenReply, error) {
	var reply wire.JoinTokenReply
	r := wire.JoinTokenRequest{LifetimeSeconds: int(lifetime / time.Second)}
	return reply, s.call(ctx, http.MethodPost, wire.AdminPathJoinToken, r, &reply)
}

// Join has a node without a cluster join the one that made the token.
func (s *Socket) Join(ctx context.Context, token string) error {
	return s.call(ctx, http.MethodPost, wire.AdminPathJoin, wire.JoinRequest{Token: token}, nil)
}

// Status returns what the node knows of itself and its cluster.
func (s *Socket) Status(ctx context.Context) (wire.StatusReply, error) {
	var reply wire.StatusReply
	return reply, s.call(ctx, http.MethodGet, wire.AdminPathStatus, nil, &reply)
}

// ApproveRoots lets the root set go to another node.
func (s *Socket) ApproveRoots(ctx context.Context, r wire.ApproveRootsRequest) error {
	return s.call(ctx, http.MethodPost, wire.AdminPathApproveRoots, r, nil)
}

// Doctor has the node examine its module. The reply is the report in JSON.
func (s *Socket) Doctor(ctx context.Context) (json.RawMessage, error) {
	var reply json.RawMessage
	return reply, s.call(ctx, http.MethodPost, wire.AdminPathDoctor, struct{}{}, &reply)
}

// Remove takes a node out of the cluster, for good, and returns when it is out.
func (s *Socket) Remove(ctx context.Context, nodeID string) error {
	return s.call(ctx, http.MethodPost, wire.AdminPathRemove, wire.NodeRequest{NodeID: nodeID}, nil)
}

// Promote lets a standby have a vote and returns when it has one.
func (s *Socket) Promote(ctx context.Context, nodeID string) error {
	return s.call(ctx, http.MethodPost, wire.AdminPathPromote, wire.NodeRequest{NodeID: nodeID}, nil)
}

// Demote takes the vote from a voter, which goes on serving.
func (s *Socket) Demote(ctx context.Context, nodeID string) error {
	return s.call(ctx, http.MethodPost, wire.AdminPathDemote, wire.NodeRequest{NodeID: nodeID}, nil)
}

// TransferLeadership hands leadership to a voter; an empty nodeID leaves the
// choice to the leader.
func (s *Socket) TransferLeadership(ctx context.Context, nodeID string) (wire.TransferReply, error) {
	var reply wire.TransferReply
	return reply, s.call(ctx, http.MethodPost, wire.AdminPathTransfer, wire.NodeRequest{NodeID: nodeID}, &reply)
}

// VerifyErasure has the nodes look for what is left of a deleted key.
func (s *Socket) VerifyErasure(ctx context.Context, keyID string) (wire.VerifyErasureReply, error) {
	var reply wire.VerifyErasureReply
	return reply, s.call(ctx, http.MethodPost, wire.AdminPathVerifyErasure, wire.VerifyErasureRequest{KeyID: keyID}, &reply)
}

// call does one request; a nil reply is not decoded.
func (s *Socket) call(ctx context.Context, method, path string, request, reply any) error {
	var body io.Reader
	if request != nil {
		text, err := json.Marshal(request)
		if err != nil {
			return fmt.Errorf("encoding the request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://admin"+path, body)
	if err != nil {
		return fmt.Errorf("preparing the request: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := s.http.Do(r)
	if err != nil {
		return s.unreachable(r, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxReplyBytes))
	if err != nil {
		return s.unreachable(r, err)
	}
	if answer.StatusCode >= 400 {
		return refusal(r, answer.StatusCode, text)
	}
	if reply == nil {
		return nil
	}
	if err := json.Unmarshal(text, reply); err != nil {
		return fmt.Errorf("reading the answer of the admin socket: %w", err)
	}
	return nil
}

// unreachable says which socket did not answer, without net/http's URL. What was
// to be changed may have been, once the node had the request.
func (s *Socket) unreachable(r *http.Request, err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return fmt.Errorf("opening the admin socket %s (is kmsd running?): %w", s.path, op.Err)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if changes(r) {
		err = fmt.Errorf("%w: %w", client.ErrOutcomeUnknown, err)
	}
	return fmt.Errorf("calling the admin socket %s: %w", s.path, err)
}

// changes says whether a request may change something.
func changes(r *http.Request) bool {
	switch r.URL.Path {
	case wire.AdminPathDoctor, wire.AdminPathVerifyRoots, wire.AdminPathVerifyErasure, wire.AdminPathVerifyTraces, wire.AdminPathCheckBackup:
		return false
	case wire.AdminPathRestore:
		return r.URL.Query().Has(wire.RestoreConfirm)
	}
	return r.Method != http.MethodGet
}

// refusal is what a node answered instead of doing it. Where nothing was to be
// changed, an outcome that is not known is none.
func refusal(r *http.Request, status int, text []byte) error {
	if status == http.StatusGatewayTimeout && !changes(r) {
		status = http.StatusServiceUnavailable
	}
	var body wire.AdminError
	if err := json.Unmarshal(text, &body); err != nil || body.Error == "" {
		body.Error = fmt.Sprintf("the node answered with status %d and no reason", status)
	}
	return &Refusal{Status: status, Message: body.Error}
}
