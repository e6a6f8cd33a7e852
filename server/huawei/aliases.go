package huawei

import (
	"context"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// sdkAgent begins the User-Agent of the vendor's SDKs, which want the list of
// aliases in a list; everybody else wants it as it is.
const sdkAgent = "huaweicloud-usdk-"

// awsAliases begins names that the AWS-style dialect keeps for services.
const awsAliases = aliasPrefix + "aws/"

// CreateAlias is POST aliases.
var CreateAlias = endpoint(kms.OpCreateAlias, func(ctx context.Context, x *exchange, req *wire.CreateAliasRequest) (reply wire.AliasInfo, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	if err := checkNewAlias(req.Alias); err != nil {
		return reply, err
	}
	alias, err := x.CreateAlias(ctx, x.call, ref, req.Alias)
	if err != nil {
		return reply, err
	}
	return x.aliasInfo(alias), nil
}).answering(fasthttp.StatusCreated)

// AssociateAlias is POST alias/associate.
var AssociateAlias = endpoint(kms.OpAssociateAlias, func(ctx context.Context, x *exchange, req *wire.AssociateAliasRequest) (reply wire.AliasInfo, err error) {
	if req.TargetKeyID == "" {
		return reply, missing("target_key_id")
	}
	ref, err := x.keyRef(req.TargetKeyID)
	if err != nil {
		return reply, err
	}
	switch {
	case req.Alias == "":
		return reply, missing("alias")
	case !isAlias(req.Alias):
		return reply, invalid("alias", aliasRule)
	}
	alias, err := x.AssociateAlias(ctx, x.call, req.Alias, ref)
	if err != nil {
		return reply, err
	}
	return x.aliasInfo(alias), nil
})

// DeleteAliases is DELETE aliases.
var DeleteAliases = endpoint(kms.OpDeleteAliases, func(ctx context.Context, x *exchange, req *wire.DeleteAliasesRequest) (reply wire.EmptyReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	if len(req.Aliases) == 0 {
		return reply, missing("aliases")
	}
	for _, alias := range req.Aliases {
		if !isAlias(alias) {
			return reply, invalid("aliases", aliasRule+", each")
		}
	}
	return reply, x.DeleteAliases(ctx, x.call, ref, req.Aliases)
}).answering(fasthttp.StatusNoContent)

// ListAliases is GET aliases.
var ListAliases = endpoint(kms.OpListAliases, func(ctx context.Context, x *exchange, req *wire.ListAliasesRequest) (reply wire.ListAliasesReply, err error) {
	query := kms.ListAliasesRequest{After: req.Marker}
	if req.KeyID != "" {
		if query.Key, err = x.keyRef(req.KeyID); err != nil {
			return reply, err
		}
	}
	if query.Limit, err = pageLimit(req.Limit); err != nil {
		return reply, err
	}
	if req.Marker != "" && !isAlias(req.Marker) {
		return reply, invalid("marker", "must be the next_marker of the page before")
	}
	page, err := x.ListAliases(ctx, x.call, query)
	if err != nil {
		return reply, err
	}
	reply = wire.ListAliasesReply{
		Aliases:  make([]wire.AliasInfo, len(page.Aliases)),
		PageInfo: wire.PageInfo{NextMarker: page.Next, CurrentCount: len(page.Aliases)},
		InList:   strings.HasPrefix(x.agent, sdkAgent),
	}
	for i, alias := range page.Aliases {
		reply.Aliases[i] = x.aliasInfo(alias)
	}
	return reply, nil
})

const aliasRule = "must have 1 to 255 characters out of a-z, A-Z, 0-9, colon, slash, underscore and hyphen"

// checkNewAlias checks what an alias may be called, with alias/ in front or without.
func checkNewAlias(alias string) error {
	switch {
	case alias == "":
		return missing("alias")
	case !isAlias(alias) || alias == aliasPrefix:
		return invalid("alias", aliasRule)
	case strings.HasSuffix(alias, defaultSuffix) || strings.HasPrefix(alias, awsAliases):
		return invalid("alias", "must not end with "+defaultSuffix+" nor begin with "+awsAliases+", which are for the keys of services")
	}
	return nil
}

// aliasInfo is an alias as the wire shows it.
func (x *exchange) aliasInfo(alias *state.Alias) wire.AliasInfo {
	return wire.AliasInfo{
		DomainID:   x.caller.DomainID,
		KeyID:      alias.KeyID,
		Alias:      alias.Name,
		AliasURN:   "kms:" + x.region() + ":" + x.caller.DomainID + ":alias:" + state.PlainName(alias.Name),
		CreateTime: time.UnixMilli(alias.Created).UTC().Format(time.RFC3339),
		UpdateTime: time.UnixMilli(alias.Updated).UTC().Format(time.RFC3339),
	}
}
