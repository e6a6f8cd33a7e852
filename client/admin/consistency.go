package admin

import (
	"context"
	"net/http"

	"github.com/raftkms/raftkms/server/wire"
)

// Consistency returns what uses of keys are answered from.
func (s *Socket) Consistency(ctx context.Context) (wire.Consistency, error) {
	var reply wire.Consistency
	return reply, s.call(ctx, http.MethodGet, wire.AdminPathConsistency, nil, &reply)
}

// SetConsistency changes it for the whole cluster and returns when every node
// follows it.
func (s *Socket) SetConsistency(ctx context.Context, to wire.Consistency) (wire.Consistency, error) {
	var reply wire.Consistency
	return reply, s.call(ctx, http.MethodPost, wire.AdminPathConsistency, to, &reply)
}
