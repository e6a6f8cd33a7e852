package huawei

import (
	"context"
	"math"
	"strconv"
	"strings"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// The types of grantee.
const (
	granteeUser   = "user"
	granteeDomain = "domain"

	maxPrincipal = 64 // characters of an id
)

// CreateGrant is create-grant.
var CreateGrant = endpoint(kms.OpCreateGrant, func(ctx context.Context, x *exchange, req *wire.CreateGrantRequest) (reply wire.CreateGrantReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	asked := kms.CreateGrantRequest{Key: ref, Grantee: req.GranteePrincipal, Retiring: req.RetiringPrincipal, Name: req.Name}
	if asked.Operations, err = grantedOps(req.Operations); err != nil {
		return reply, err
	}
	switch {
	case req.GranteePrincipal == "":
		return reply, missing("grantee_principal")
	case !isPrincipal(req.GranteePrincipal):
		return reply, invalid("grantee_principal", "must be the id of a user or of an account")
	case req.RetiringPrincipal != "" && !isPrincipal(req.RetiringPrincipal):
		return reply, invalid("retiring_principal", "must be the id of a user or of an account")
	case req.Name != "" && !isAlias(req.Name): // the pattern is the same
		return reply, invalid("name", "must have 1 to 255 characters out of a-z, A-Z, 0-9, colon, slash, underscore and hyphen")
	}
	switch req.GranteePrincipalType {
	case "", granteeUser:
	case granteeDomain:
		asked.ToAccount = true
	default:
		return reply, invalid("grantee_principal_type", "must be user or domain")
	}
	reply.GrantID, err = x.CreateGrant(ctx, x.call, asked)
	return reply, err
}).with(nil, map[string]string{"grantee_principal": "KMS.2402", "retiring_principal": "KMS.2402"})

// grantedOps takes the names of operations; naming one twice says nothing more.
func grantedOps(names []string) (ops state.GrantedOps, err error) {
	if len(names) == 0 {
		return 0, missing("operations")
	}
	for _, name := range names {
		op := state.GrantedOp(name)
		if op == 0 {
			return 0, invalid("operations", "must be a list of operations that grants can allow: "+strings.Join(state.GrantAll.Names(), ", "))
		}
		ops |= op
	}
	return ops, nil
}

// isPrincipal is the pattern ^[a-zA-Z0-9]{1,64}$.
func isPrincipal(id string) bool {
	for i := range len(id) {
		if !isAlphanumeric(id[i]) {
			return false
		}
	}
	return 1 <= len(id) && len(id) <= maxPrincipal
}

// RevokeGrant is revoke-grant.
var RevokeGrant = endpoint(kms.OpRevokeGrant, func(ctx context.Context, x *exchange, req *wire.EndGrantRequest) (wire.EmptyReply, error) {
	return x.endGrant(ctx, req, x.RevokeGrant)
}).with(nil, grantIDCodes)

// RetireGrant is retire-grant.
var RetireGrant = endpoint(kms.OpRetireGrant, func(ctx context.Context, x *exchange, req *wire.EndGrantRequest) (wire.EmptyReply, error) {
	return x.endGrant(ctx, req, x.RetireGrant)
}).with(nil, grantIDCodes)

var grantIDCodes = map[string]string{"grant_id": "KMS.2501"}

func (x *exchange) endGrant(ctx context.Context, req *wire.EndGrantRequest, end func(ctx context.Context, c *kms.Call, ref, grantID string) error) (reply wire.EmptyReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	id := strings.ToLower(req.GrantID)
	switch {
	case id == "":
		return reply, missing("grant_id")
	case !isGrantID(id):
		return reply, invalid("grant_id", "must have 64 hexadecimal digits")
	}
	return reply, end(ctx, x.call, ref, id)
}

func isGrantID(id string) bool {
	for i := range len(id) {
		if c := id[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(id) == 64
}

// ListGrants is list-grants: the grants on a key, the oldest first.
var ListGrants = endpoint(kms.OpListGrants, func(ctx context.Context, x *exchange, req *wire.ListGrantsRequest) (reply wire.ListGrantsReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	after, limit, err := grantsPage(req)
	if err != nil {
		return reply, err
	}
	page, err := x.ListGrants(ctx, x.call, ref, after, limit)
	if err != nil {
		return reply, err
	}
	return grantsReply(page), nil
})

// ListRetirableGrants is list-retirable-grants: those that the caller may
// retire, on whatever key, the oldest first.
var ListRetirableGrants = endpoint(kms.OpListRetirableGrants, func(ctx context.Context, x *exchange, req *wire.ListGrantsRequest) (reply wire.ListGrantsReply, err error) {
	after, limit, err := grantsPage(req)
	if err != nil {
		return reply, err
	}
	page, err := x.ListRetirableGrants(ctx, x.call, after, limit)
	if err != nil {
		return reply, err
	}
	return grantsReply(page), nil
})

// grantsPage is where a page begins, and its size.
func grantsPage(req *wire.ListGrantsRequest) (after uint64, limit int, err error) {
	if limit, err = pageLimit(req.Limit); err != nil {
		return 0, 0, err
	}
	if marker := req.Marker; marker.Set {
		if marker.Value < 0 || marker.Value == math.MaxInt64 {
			return 0, 0, invalid("marker", "must be the next_marker of the page before")
		}
		after = uint64(marker.Value)
	}
	return after, limit, nil
}

func grantsReply(page kms.GrantPage) wire.ListGrantsReply {
	reply := wire.ListGrantsReply{Grants: make([]wire.Grant, len(page.Grants)), Truncated: "false", Total: page.Total}
	for i, g := range page.Grants {
		kind := granteeUser
		if g.ToAccount {
			kind = granteeDomain
		}
		reply.Grants[i] = wire.Grant{
			KeyID: g.KeyID, GrantID: g.ID, GranteePrincipal: g.Grantee, GranteePrincipalType: kind, Operations: g.Operations.Names(),
			IssuingPrincipal: g.Issuer, CreationDate: timeText(g.Created), Name: g.Name, RetiringPrincipal: g.Retiring,
		}
	}
	if page.Next != 0 {
		reply.NextMarker, reply.Truncated = strconv.FormatUint(page.Next, 10), "true"
	}
	return reply
}
