package huawei

import (
	"context"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// What there are quotas of. Tags, and the grants of all keys together, are
// extensions.
const (
	quotaKeys   = "CMK"
	quotaGrants = "grant_per_CMK"
	quotaTags   = "tag_per_CMK"
	quotaTotal  = "grant_per_project"
)

// UserInstances is GET user-instances: how many keys there are.
var UserInstances = endpoint(kms.OpCountKeys, func(ctx context.Context, x *exchange, _ *wire.NoRequest) (reply wire.InstancesReply, err error) {
	n, err := x.CountKeys(ctx, x.call)
	return wire.InstancesReply{InstanceNum: n}, err
})

// UserQuotas is GET user-quotas.
var UserQuotas = endpoint(kms.OpGetQuotas, func(ctx context.Context, x *exchange, _ *wire.NoRequest) (reply wire.QuotasReply, err error) {
	usage, err := x.Quotas(ctx, x.call, maxTags)
	if err != nil {
		return reply, err
	}
	return quotasReply(usage), nil
})

// SetUserQuotas is PUT user-quotas, an extension: the quotas of a project, for
// an administrator of the system. What is not named stays as it is.
var SetUserQuotas = endpoint(kms.OpSetQuotas, func(ctx context.Context, x *exchange, req *wire.SetQuotasRequest) (reply wire.QuotasReply, err error) {
	body := command.SetQuotas{ProjectID: req.TargetProjectID}
	if len(req.Resources) == 0 {
		return reply, missing("resources")
	}
	for _, q := range req.Resources {
		into, most := &body.Keys, int64(fsm.MaxKeyQuota)
		switch q.Type {
		case quotaKeys:
		case quotaGrants:
			into, most = &body.Grants, fsm.MaxGrantQuota
		case quotaTags:
			into, most = &body.Tags, fsm.MaxTags
		case quotaTotal:
			into, most = &body.TotalGrants, fsm.MaxTotalGrantQuota
		default:
			return reply, refuse("KMS.2301", "The type of a quota must be CMK, grant_per_CMK, tag_per_CMK or grant_per_project.")
		}
		switch {
		case *into != nil:
			return reply, refuse("KMS.2302", "A type of quota is named twice.")
		case !q.Quota.Set || q.Quota.Value < 0 || q.Quota.Value > most:
			return reply, refuse("KMS.2303", "The quota of "+q.Type+" is out of bounds.")
		}
		value := uint32(q.Quota.Value)
		*into = &value
	}
	usage, err := x.SetQuotas(ctx, x.call, body, maxTags)
	if err != nil {
		return reply, err
	}
	return quotasReply(usage), nil
}).with(nil, map[string]string{"resources": "KMS.2305"})

func quotasReply(u kms.Usage) (reply wire.QuotasReply) {
	reply.Quotas.Resources = []wire.QuotaResource{
		{Type: quotaKeys, Used: u.Keys, Quota: wire.Int(int64(u.Quotas.Keys))},
		{Type: quotaGrants, Used: u.Grants, Quota: wire.Int(int64(u.Quotas.Grants))},
		{Type: quotaTags, Used: u.Tags, Quota: wire.Int(int64(u.Quotas.Tags))},
		{Type: quotaTotal, Used: u.TotalGrants, Quota: wire.Int(int64(u.Quotas.TotalGrants))},
	}
	return reply
}
