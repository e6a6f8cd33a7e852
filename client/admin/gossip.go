package admin

import (
	"context"
	"net/http"

	"github.com/raftkms/raftkms/server/wire"
)

// RotateGossipKey replaces the key of the cluster's gossip.
func (s *Socket) RotateGossipKey(ctx context.Context) (wire.GossipRotation, error) {
	var reply wire.GossipRotation
	return reply, s.call(ctx, http.MethodPost, wire.AdminPathRotateGossip, struct{}{}, &reply)
}
