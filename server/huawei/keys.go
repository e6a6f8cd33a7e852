package huawei

import (
	"context"
	"math"
	"strconv"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// Page sizes of list-keys: clients ask for up to 2000 and get at most 1000.
const (
	maxLimit     = 2000
	largestPage  = 1000
	allSpecs     = "ALL"
	defaultLimit = largestPage
)

// CreateKey is create-key.
var CreateKey = endpoint(kms.OpCreateKey, func(ctx context.Context, x *exchange, req *wire.CreateKeyRequest) (reply wire.CreateKeyReply, err error) {
	if err := checkAlias(req.KeyAlias); err != nil {
		return reply, err
	}
	if err := checkDescription(req.KeyDescription); err != nil {
		return reply, err
	}
	key, err := x.CreateKey(ctx, x.call, kms.CreateKeyRequest{
		Name:        req.KeyAlias,
		Description: req.KeyDescription,
		Spec:        req.KeySpec,
		Usage:       req.KeyUsage,
		Origin:      req.Origin,
		Level:       req.ProtectionLevel,
		Protected:   bool(req.DeletionProtection),
	})
	if err != nil {
		return reply, err
	}
	reply.KeyInfo.KeyID, reply.KeyInfo.DomainID = key.ID, key.DomainID
	return reply, nil
})

// DescribeKey is describe-key.
var DescribeKey = endpoint(kms.OpDescribeKey, func(ctx context.Context, x *exchange, req *wire.KeyRequest) (reply wire.DescribeKeyReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	key, err := x.DescribeKey(ctx, x.call, ref)
	if err != nil {
		return reply, err
	}
	reply.KeyInfo = x.detail(key)
	return reply, nil
})

// EnableKey is enable-key. A key in any other state than Disabled is "not disabled".
var EnableKey = endpoint(kms.OpEnableKey, func(ctx context.Context, x *exchange, req *wire.KeyRequest) (wire.KeyStateReply, error) {
	return x.changeState(ctx, req, x.EnableKey)
}).with(map[kms.Kind]string{
	kms.KindKeyPendingDeletion: "KMS.1201",
	kms.KindKeyPendingImport:   "KMS.1201",
}, nil)

// DisableKey is disable-key. A key in any other state than Enabled is "not enabled".
var DisableKey = endpoint(kms.OpDisableKey, func(ctx context.Context, x *exchange, req *wire.KeyRequest) (wire.KeyStateReply, error) {
	return x.changeState(ctx, req, x.DisableKey)
}).with(map[kms.Kind]string{
	kms.KindKeyPendingDeletion: "KMS.1301",
	kms.KindKeyDisabled:        "KMS.1301",
}, nil)

// ListKeys is list-keys.
var ListKeys = endpoint(kms.OpListKeys, func(ctx context.Context, x *exchange, req *wire.ListKeysRequest) (reply wire.ListKeysReply, err error) {
	query, err := listQuery(req)
	if err != nil {
		return reply, err
	}
	page, err := x.ListKeys(ctx, x.call, query)
	if err != nil {
		return reply, err
	}
	reply = wire.ListKeysReply{
		Keys:       make([]string, len(page.Keys)),
		KeyDetails: make([]wire.KeyDetail, len(page.Keys)),
		Truncated:  "false",
		Total:      page.Total,
	}
	for i, key := range page.Keys {
		reply.Keys[i], reply.KeyDetails[i] = key.ID, x.detail(key)
	}
	if page.Next > 0 {
		reply.NextMarker, reply.Truncated = strconv.Itoa(page.Next), "true"
	}
	return reply, nil
})

// listQuery checks the parameters of list-keys.
func listQuery(req *wire.ListKeysRequest) (query kms.ListKeysRequest, err error) {
	if query.Limit, err = pageLimit(req.Limit); err != nil {
		return query, err
	}
	if marker := req.Marker; marker.Set {
		if marker.Value < 0 || marker.Value > math.MaxInt32 {
			return query, invalid("marker", "must be the next_marker of the page before")
		}
		query.Offset = int(marker.Value)
	}
	switch s := req.KeyState; {
	case s == "":
	case len(s) == 1 && '1' <= s[0] && s[0] <= '5':
		query.State = state.KeyState(s[0] - '0')
	default:
		return query, invalid("key_state", "must be 1 to 5")
	}
	switch {
	case req.KeySpec == "" || req.KeySpec == allSpecs:
	case fsm.Usages(req.KeySpec) != nil:
		query.Spec = req.KeySpec
	default:
		return query, invalid("key_spec", "must be a key spec or "+allSpecs)
	}
	return query, nil
}

// changeState is enable-key and disable-key.
func (x *exchange) changeState(ctx context.Context, req *wire.KeyRequest,
	change func(ctx context.Context, c *kms.Call, ref string) (*state.Key, error)) (reply wire.KeyStateReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	key, err := change(ctx, x.call, ref)
	if err != nil {
		return reply, err
	}
	reply.KeyInfo.KeyID, reply.KeyInfo.KeyState = key.ID, stateText(key.State)
	return reply, nil
}

// detail is a key as the wire shows it.
func (x *exchange) detail(key *state.Key) wire.KeyDetail {
	d := wire.KeyDetail{
		KeyID:                  key.ID,
		DomainID:               key.DomainID,
		KeyAlias:               key.Name,
		Realm:                  x.region(),
		KeySpec:                key.Spec,
		KeyUsage:               key.Usage,
		KeyDescription:         key.Description,
		CreationDate:           strconv.FormatInt(key.Created, 10),
		ScheduledDeletionDate:  timeText(key.Deletion),
		KeyState:               stateText(key.State),
		DefaultKeyFlag:         "0",
		KeyType:                "1",
		ExpirationTime:         timeText(key.MaterialExpires),
		Origin:                 key.Origin,
		KeyRotationEnabled:     strconv.FormatBool(key.RotationDays != 0),
		SysEnterpriseProjectID: "0",
		KeystoreID:             "0",
		ProtectionLevel:        hsm.Level(key.Level).String(),
		DeletionProtection:     strconv.FormatBool(key.Protected),
	}
	if key.Default {
		d.DefaultKeyFlag = "1"
	}
	return d
}

func stateText(s state.KeyState) string { return strconv.Itoa(int(s)) }

// timeText is a time in Unix milliseconds as the wire has it; empty when it is not set.
func timeText(ms int64) string {
	if ms == 0 {
		return ""
	}
	return strconv.FormatInt(ms, 10)
}
