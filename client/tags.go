package client

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/raftkms/raftkms/server/wire"
)

// Tags returns the tags of a key, named by id or alias/NAME.
func (c *Client) Tags(ctx context.Context, key string) (map[string]string, error) {
	id, err := c.idOf(ctx, key)
	if err != nil {
		return nil, err
	}
	var reply wire.TagsReply
	if err := c.callBy(ctx, how{method: http.MethodGet, verb: id + "/tags"}, again, struct{}{}, &reply); err != nil {
		return nil, err
	}
	tags := make(map[string]string, len(reply.Tags))
	for _, tag := range reply.Tags {
		tags[tag.Key] = tag.Value
	}
	return tags, nil
}

// SetTags adds tags to a key, or gives those that it has another value.
func (c *Client) SetTags(ctx context.Context, key string, tags map[string]string) error {
	request := wire.TagsActionRequest{Action: "create"}
	for name, value := range tags {
		request.Tags = append(request.Tags, wire.Tag{Key: name, Value: value})
	}
	return c.changeTags(ctx, key, request)
}

// RemoveTags takes tags from a key. Those that it does not have are passed over.
func (c *Client) RemoveTags(ctx context.Context, key string, names ...string) error {
	request := wire.TagsActionRequest{Action: "delete"}
	for _, name := range names {
		request.Tags = append(request.Tags, wire.Tag{Key: name})
	}
	return c.changeTags(ctx, key, request)
}

func (c *Client) changeTags(ctx context.Context, key string, request wire.TagsActionRequest) error {
	id, err := c.idOf(ctx, key)
	if err != nil {
		return err
	}
	slices.SortFunc(request.Tags, func(a, b wire.Tag) int { return strings.Compare(a.Key, b.Key) })
	return c.callBy(ctx, how{method: http.MethodPost, verb: id + "/tags/action"}, once, request, nil)
}

// idOf returns the id of a key: a path has no room for alias/NAME.
func (c *Client) idOf(ctx context.Context, key string) (string, error) {
	if !strings.ContainsAny(key, "/:?#%") {
		return key, nil
	}
	described, err := c.DescribeKey(ctx, key)
	return described.ID, err
}

// FindTagged returns the keys, at most limit (1 to 1000) after skipping
// offset, that have every tag with one of its values (none: any value), newest
// first, and how many there are in all.
func (c *Client) FindTagged(ctx context.Context, tags map[string][]string, offset, limit int) ([]Key, int, error) {
	request := wire.FindTaggedRequest{Action: "filter", Limit: wire.Int(int64(limit)), Offset: wire.Int(int64(offset))}
	for name, values := range tags {
		request.Tags = append(request.Tags, wire.ValuesTag{Key: name, Values: append([]string{}, values...)})
	}
	slices.SortFunc(request.Tags, func(a, b wire.ValuesTag) int { return strings.Compare(a.Key, b.Key) })
	var reply wire.FindTaggedReply
	if err := c.call(ctx, "resource_instances/action", again, request, &reply); err != nil {
		return nil, 0, err
	}
	keys := make([]Key, len(reply.Resources))
	for i, r := range reply.Resources {
		key, err := readKey(r.ResourceDetail)
		if err != nil {
			return nil, 0, err
		}
		keys[i] = key
	}
	return keys, reply.TotalCount, nil
}

// Quota is how much a project has of something and may have.
type Quota struct {
	Type  string `json:"type"` // CMK, grant_per_CMK or tag_per_CMK
	Used  int    `json:"used"` // per key: of the key that has most
	Quota int    `json:"quota"`
}

// Quotas returns the quotas of the project.
func (c *Client) Quotas(ctx context.Context) ([]Quota, error) {
	var reply wire.QuotasReply
	if err := c.callBy(ctx, how{method: http.MethodGet, verb: "user-quotas"}, again, struct{}{}, &reply); err != nil {
		return nil, err
	}
	return readQuotas(reply), nil
}

// SetQuotas sets quotas by their type, of the project or of another one, and
// returns all of them. It takes an administrator of the system.
func (c *Client) SetQuotas(ctx context.Context, projectID string, quotas map[string]int) ([]Quota, error) {
	request := wire.SetQuotasRequest{TargetProjectID: projectID}
	for kind, quota := range quotas {
		request.Resources = append(request.Resources, wire.QuotaResource{Type: kind, Quota: wire.Int(int64(quota))})
	}
	slices.SortFunc(request.Resources, func(a, b wire.QuotaResource) int { return strings.Compare(a.Type, b.Type) })
	var reply wire.QuotasReply
	if err := c.callBy(ctx, how{method: http.MethodPut, verb: "user-quotas"}, once, request, &reply); err != nil {
		return nil, err
	}
	return readQuotas(reply), nil
}

func readQuotas(reply wire.QuotasReply) []Quota {
	all := make([]Quota, len(reply.Quotas.Resources))
	for i, q := range reply.Quotas.Resources {
		all[i] = Quota{Type: q.Type, Used: q.Used, Quota: int(q.Quota.Value)}
	}
	return all
}
