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

// ProjectTags returns the tags of all keys of the project, with the values that
// each has.
func (c *Client) ProjectTags(ctx context.Context) (map[string][]string, error) {
	var reply wire.ProjectTagsReply
	if err := c.callBy(ctx, how{method: http.MethodGet, verb: "tags"}, again, struct{}{}, &reply); err != nil {
		return nil, err
	}
	tags := make(map[string][]string, len(reply.Tags))
	for _, tag := range reply.Tags {
		tags[tag.Key] = tag.Values
	}
	return tags, nil
}

// KeySearch says which keys are looked for: those that all of its fields fit.
type KeySearch struct {
	// Tags are what a key must have: every one, with one of its values; no
	// values: any. At most 20 of 20.
	Tags map[string][]string
	Name string // a part of the key's name
}

// FindKeys returns the keys of a search, at most limit (1 to 1000) after
// skipping offset, newest first, and how many there are in all.
func (c *Client) FindKeys(ctx context.Context, s KeySearch, offset, limit int) ([]Key, int, error) {
	request := s.request("filter")
	request.Limit, request.Offset = wire.Int(int64(limit)), wire.Int(int64(offset))
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

// CountFound returns how many keys a search finds.
func (c *Client) CountFound(ctx context.Context, s KeySearch) (int, error) {
	var reply wire.FindTaggedReply
	if err := c.call(ctx, "resource_instances/action", again, s.request("count"), &reply); err != nil {
		return 0, err
	}
	return reply.TotalCount, nil
}

func (s *KeySearch) request(action string) wire.FindTaggedRequest {
	request := wire.FindTaggedRequest{Action: action}
	for name, values := range s.Tags {
		request.Tags = append(request.Tags, wire.ValuesTag{Key: name, Values: append([]string{}, values...)})
	}
	slices.SortFunc(request.Tags, func(a, b wire.ValuesTag) int { return strings.Compare(a.Key, b.Key) })
	if s.Name != "" {
		request.Matches = []wire.Tag{{Key: "resource_name", Value: s.Name}}
	}
	return request
}

// CountKeys returns how many keys the project has, default master keys not
// counted.
func (c *Client) CountKeys(ctx context.Context) (int, error) {
	var reply wire.InstancesReply
	if err := c.callBy(ctx, how{method: http.MethodGet, verb: "user-instances"}, again, struct{}{}, &reply); err != nil {
		return 0, err
	}
	return reply.InstanceNum, nil
}

// Quota is how much a project has of something and may have.
type Quota struct {
	Type  string `json:"type"` // CMK, grant_per_CMK, tag_per_CMK or grant_per_project
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
