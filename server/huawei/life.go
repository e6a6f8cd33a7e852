package huawei

import (
	"context"
	"math"
	"strconv"

	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// UpdateKeyAlias is update-key-alias: the key's own name.
var UpdateKeyAlias = endpoint(kms.OpUpdateKeyAlias, func(ctx context.Context, x *exchange, req *wire.UpdateKeyAliasRequest) (reply wire.KeyAliasReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	if err := checkAlias(req.KeyAlias); err != nil {
		return reply, err
	}
	key, err := x.RenameKey(ctx, x.call, ref, req.KeyAlias)
	if err != nil {
		return reply, err
	}
	reply.KeyInfo.KeyID, reply.KeyInfo.KeyAlias = key.ID, key.Name
	return reply, nil
})

// UpdateKeyDescription is update-key-description.
var UpdateKeyDescription = endpoint(kms.OpUpdateKeyDescription, func(ctx context.Context, x *exchange, req *wire.UpdateKeyDescriptionRequest) (reply wire.KeyDescriptionReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	if req.KeyDescription == nil {
		return reply, missing("key_description")
	}
	if err := checkDescription(*req.KeyDescription); err != nil {
		return reply, err
	}
	key, err := x.UpdateDescription(ctx, x.call, ref, *req.KeyDescription)
	if err != nil {
		return reply, err
	}
	reply.KeyInfo.KeyID, reply.KeyInfo.KeyDescription = key.ID, key.Description
	return reply, nil
})

// ScheduleKeyDeletion is schedule-key-deletion.
var ScheduleKeyDeletion = endpoint(kms.OpScheduleKeyDeletion, func(ctx context.Context, x *exchange, req *wire.ScheduleDeletionRequest) (reply wire.DeletionReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	days := req.PendingDays
	switch {
	case !days.Set:
		return reply, missing("pending_days")
	case days.Value < 0 || days.Value > math.MaxInt16: // the service knows how long a key waits
		return reply, invalid("pending_days", "must be 7 to 1096")
	}
	key, err := x.ScheduleDeletion(ctx, x.call, ref, int(days.Value))
	if err != nil {
		return reply, err
	}
	return wire.DeletionReply{KeyID: key.ID, KeyState: stateText(key.State)}, nil
})

// CancelKeyDeletion is cancel-key-deletion.
var CancelKeyDeletion = endpoint(kms.OpCancelKeyDeletion, func(ctx context.Context, x *exchange, req *wire.KeyRequest) (reply wire.DeletionReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	key, err := x.CancelDeletion(ctx, x.call, ref)
	if err != nil {
		return reply, err
	}
	return wire.DeletionReply{KeyID: key.ID, KeyState: stateText(key.State)}, nil
})

// EnableDeletionProtection is enable-key-deletion-protection, an extension.
var EnableDeletionProtection = endpoint(kms.OpEnableDeletionProtection, func(ctx context.Context, x *exchange, req *wire.KeyRequest) (wire.EmptyReply, error) {
	return x.protect(ctx, req, true)
})

// DisableDeletionProtection is disable-key-deletion-protection, an extension.
var DisableDeletionProtection = endpoint(kms.OpDisableDeletionProtection, func(ctx context.Context, x *exchange, req *wire.KeyRequest) (wire.EmptyReply, error) {
	return x.protect(ctx, req, false)
})

func (x *exchange) protect(ctx context.Context, req *wire.KeyRequest, on bool) (reply wire.EmptyReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	_, err = x.ProtectKey(ctx, x.call, ref, on)
	return reply, err
}

// The days between two rotations that the dialect takes.
const (
	leastRotationDays = 30
	mostRotationDays  = 365
)

// EnableKeyRotation is enable-key-rotation: once a year, until that is changed.
var EnableKeyRotation = endpoint(kms.OpEnableKeyRotation, func(ctx context.Context, x *exchange, req *wire.KeyRequest) (reply wire.EmptyReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	return reply, x.EnableRotation(ctx, x.call, ref, mostRotationDays)
})

// UpdateRotationInterval is update-key-rotation-interval.
var UpdateRotationInterval = endpoint(kms.OpUpdateRotationInterval, func(ctx context.Context, x *exchange, req *wire.RotationIntervalRequest) (reply wire.EmptyReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	days := req.RotationInterval
	switch {
	case !days.Set:
		return reply, missing("rotation_interval")
	case days.Value < leastRotationDays || days.Value > mostRotationDays:
		return reply, invalid("rotation_interval", "must be 30 to 365 days")
	}
	return reply, x.SetRotationInterval(ctx, x.call, ref, uint32(days.Value))
})

// DisableKeyRotation is disable-key-rotation.
var DisableKeyRotation = endpoint(kms.OpDisableKeyRotation, func(ctx context.Context, x *exchange, req *wire.KeyRequest) (reply wire.EmptyReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	return reply, x.DisableRotation(ctx, x.call, ref)
})

// GetKeyRotationStatus is get-key-rotation-status. It answers for every key:
// clients ask it before they delete one.
var GetKeyRotationStatus = endpoint(kms.OpGetRotationStatus, func(ctx context.Context, x *exchange, req *wire.KeyRequest) (reply wire.RotationStatusReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	key, err := x.RotationStatus(ctx, x.call, ref)
	if err != nil {
		return reply, err
	}
	return wire.RotationStatusReply{
		KeyRotationEnabled: key.RotationDays != 0,
		RotationInterval:   int(key.RotationDays),
		LastRotationTime:   timeText(key.LastRotation),
		NumberOfRotations:  int(key.Rotations),
	}, nil
})

// RotateOnDemand is rotate-on-demand.
var RotateOnDemand = endpoint(kms.OpRotateOnDemand, func(ctx context.Context, x *exchange, req *wire.KeyRequest) (reply wire.EmptyReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	_, err = x.RotateKey(ctx, x.call, ref)
	return reply, err
})

// ListKeyVersions is list-key-versions, an extension.
var ListKeyVersions = endpoint(kms.OpListKeyVersions, func(ctx context.Context, x *exchange, req *wire.ListVersionsRequest) (reply wire.ListVersionsReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	query := kms.ListVersionsRequest{Key: ref, Limit: defaultLimit}
	if query.Limit, err = pageLimit(req.Limit); err != nil {
		return reply, err
	}
	if marker := req.Marker; marker.Set {
		if marker.Value < 1 || marker.Value > math.MaxInt32 {
			return reply, invalid("marker", "must be the next_marker of the page before")
		}
		query.Before = uint32(marker.Value)
	}
	page, err := x.ListVersions(ctx, x.call, query)
	if err != nil {
		return reply, err
	}
	reply = wire.ListVersionsReply{KeyID: page.Key.ID, Versions: make([]wire.KeyVersion, len(page.Versions)), Truncated: "false", Total: page.Total}
	for i, v := range page.Versions {
		reply.Versions[i] = wire.KeyVersion{Version: int(v.Number), CreationDate: timeText(v.Created), Primary: v.Primary, LastUsedDate: timeText(v.LastUsed)}
	}
	if page.Next > 0 {
		reply.NextMarker, reply.Truncated = strconv.Itoa(int(page.Next)), "true"
	}
	return reply, nil
})

// pageLimit is the size of a page that was asked for: up to 2000, of which at
// most 1000 are given.
func pageLimit(limit wire.FlexInt) (int, error) {
	switch {
	case !limit.Set:
		return defaultLimit, nil
	case limit.Value < 1 || limit.Value > maxLimit:
		return 0, invalid("limit", "must be 1 to 2000")
	default:
		return min(int(limit.Value), largestPage), nil
	}
}
