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
