package admin

import (
	"context"
	"net/http"

	"github.com/raftkms/raftkms/server/wire"
)

// VerifyRoots has a node prove its root keys, in one step of some seconds; the
// caller goes on with Next until it is empty.
func (s *Socket) VerifyRoots(ctx context.Context, r wire.VerifyRootsRequest) (wire.VerifyRootsReply, error) {
	var reply wire.VerifyRootsReply
	return reply, s.call(ctx, http.MethodPost, wire.AdminPathVerifyRoots, r, &reply)
}

// BackUpRoots has the node back up its root keys. The shares in the reply are
// told this once.
func (s *Socket) BackUpRoots(ctx context.Context, r wire.BackUpRootsRequest) (wire.BackUpRootsReply, error) {
	var reply wire.BackUpRootsReply
	return reply, s.call(ctx, http.MethodPost, wire.AdminPathBackUpRoots, r, &reply)
}

// RotateRoots takes a step of a rotation of the root keys.
func (s *Socket) RotateRoots(ctx context.Context, r wire.RotateRootsRequest) (wire.RotateRootsReply, error) {
	var reply wire.RotateRootsReply
	return reply, s.call(ctx, http.MethodPost, wire.AdminPathRotateRoots, r, &reply)
}

// CopyRoots brings the root keys of a node with two HSMs to the one that lacks them.
func (s *Socket) CopyRoots(ctx context.Context, r wire.CopyRootsRequest) (wire.CopyRootsReply, error) {
	var reply wire.CopyRootsReply
	return reply, s.call(ctx, http.MethodPost, wire.AdminPathCopyRoots, r, &reply)
}
