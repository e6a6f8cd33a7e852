package admin

import (
	"context"
	"net/http"

	"github.com/raftkms/raftkms/server/wire"
)

// CA returns how far a rotation of the cluster's CA has come.
func (s *Socket) CA(ctx context.Context) (wire.CAStatus, error) {
	var reply wire.CAStatus
	return reply, s.call(ctx, http.MethodGet, wire.AdminPathCA, nil, &reply)
}

// RotateCA takes a step of a rotation of the cluster's CA: rotate, use, finish or
// abort; it returns how far all nodes are then.
func (s *Socket) RotateCA(ctx context.Context, step string) (wire.CAStatus, error) {
	var reply wire.CAStatus
	return reply, s.call(ctx, http.MethodPost, wire.AdminPathCA, wire.CARequest{Step: step}, &reply)
}
