package admin

import (
	"context"
	"net/http"

	"github.com/raftkms/raftkms/server/wire"
)

// VerifyTraces has nodes check their trace logs.
func (s *Socket) VerifyTraces(ctx context.Context, r wire.VerifyTracesRequest) (wire.VerifyTracesReply, error) {
	var reply wire.VerifyTracesReply
	return reply, s.call(ctx, http.MethodPost, wire.AdminPathVerifyTraces, r, &reply)
}

// TraceKeys returns the public keys of every node's checkpoints.
func (s *Socket) TraceKeys(ctx context.Context) (wire.TraceKeysReply, error) {
	var reply wire.TraceKeysReply
	return reply, s.call(ctx, http.MethodGet, wire.AdminPathTraceKeys, nil, &reply)
}
