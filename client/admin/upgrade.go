package admin

import (
	"context"
	"net/http"

	"github.com/raftkms/raftkms/server/wire"
)

// Upgrade returns how far a rolling upgrade has come.
func (s *Socket) Upgrade(ctx context.Context) (wire.UpgradeStatus, error) {
	var reply wire.UpgradeStatus
	return reply, s.call(ctx, http.MethodGet, wire.AdminPathUpgrade, nil, &reply)
}

// RaiseLevel takes the cluster to a higher feature level, for good; 0 is the
// highest that all nodes know.
func (s *Socket) RaiseLevel(ctx context.Context, level uint32) (wire.UpgradeStatus, error) {
	var reply wire.UpgradeStatus
	return reply, s.call(ctx, http.MethodPost, wire.AdminPathUpgrade, wire.RaiseLevelRequest{Level: level}, &reply)
}
