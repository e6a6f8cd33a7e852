package huawei

import (
	"context"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// The bounds of tags in this dialect, which are lower than the store's.
const (
	maxTags       = 20 // of a key, in a batch, in a search
	maxTagKey     = 36 // characters
	maxTagValue   = 43 // characters
	maxMatch      = 255
	defaultFound  = 10
	largestFound  = 1000
	matchName     = "resource_name"
	actionCreate  = "create"
	actionDelete  = "delete"
	actionFilter  = "filter"
	actionCount   = "count"
	tagCharacters = "letters, digits, hyphens and underscores"
)

// ListTags is GET {key_id}/tags.
var ListTags = endpoint(kms.OpListTags, func(ctx context.Context, x *exchange, _ *wire.NoRequest) (reply wire.TagsReply, err error) {
	ref, err := x.keyRef(x.path.Key)
	if err != nil {
		return reply, err
	}
	tags, err := x.ListTags(ctx, x.call, ref)
	if err != nil {
		return reply, err
	}
	return wire.TagsReply{Tags: wireTags(tags), ExistTagsNum: len(tags)}, nil
})

// CreateTag is POST {key_id}/tags: a tag that is there gets the new value.
var CreateTag = endpoint(kms.OpCreateTag, func(ctx context.Context, x *exchange, req *wire.TagRequest) (reply wire.EmptyReply, err error) {
	ref, err := x.keyRef(x.path.Key)
	if err != nil {
		return reply, err
	}
	if req.Tag == nil {
		return reply, missing("tag")
	}
	tags, err := newTags([]wire.Tag{*req.Tag})
	if err != nil {
		return reply, err
	}
	return reply, x.SetTags(ctx, x.call, ref, tags, maxTags)
}).with(nil, map[string]string{"tag": "KMS.0414"}).answering(fasthttp.StatusNoContent)

// DeleteTag is DELETE {key_id}/tags/{key}.
var DeleteTag = endpoint(kms.OpDeleteTag, func(ctx context.Context, x *exchange, _ *wire.NoRequest) (reply wire.EmptyReply, err error) {
	ref, err := x.keyRef(x.path.Key)
	if err != nil {
		return reply, err
	}
	if err := checkTagKey(x.path.Tag); err != nil {
		return reply, err
	}
	return reply, x.RemoveTags(ctx, x.call, ref, []string{x.path.Tag}, true)
}).answering(fasthttp.StatusNoContent)

// BatchTags is POST {key_id}/tags/action: create or delete. Deleting takes the
// tags that are there, whatever their values.
var BatchTags = endpoint(kms.OpBatchTags, func(ctx context.Context, x *exchange, req *wire.TagsActionRequest) (reply wire.EmptyReply, err error) {
	ref, err := x.keyRef(x.path.Key)
	if err != nil {
		return reply, err
	}
	switch {
	case req.Action == "":
		return reply, missing("action")
	case req.Action != actionCreate && req.Action != actionDelete:
		return reply, invalid("action", "must be create or delete")
	case len(req.Tags) == 0:
		return reply, refuse("KMS.0401", "The list tags is empty.")
	case len(req.Tags) > maxTags:
		return reply, refuse("KMS.0407", "The list tags has more than 20 tags.")
	}
	if req.Action == actionCreate {
		x.call.Rename(kms.OpBatchCreateTags)
		tags, err := newTags(req.Tags)
		if err != nil {
			return reply, err
		}
		return reply, x.SetTags(ctx, x.call, ref, tags, maxTags)
	}
	x.call.Rename(kms.OpBatchDeleteTags)
	names := make([]string, len(req.Tags))
	for i, tag := range req.Tags {
		if err := checkTagKey(tag.Key); err != nil {
			return reply, err
		}
		names[i] = tag.Key
	}
	return reply, x.RemoveTags(ctx, x.call, ref, names, false)
}).with(nil, map[string]string{"tags": "KMS.0412", "action": "KMS.0404"}).answering(fasthttp.StatusNoContent)

// ListProjectTags is GET tags.
var ListProjectTags = endpoint(kms.OpListProjectTags, func(ctx context.Context, x *exchange, _ *wire.NoRequest) (reply wire.ProjectTagsReply, err error) {
	all, err := x.ProjectTags(ctx, x.call)
	if err != nil {
		return reply, err
	}
	reply.Tags = make([]wire.ValuesTag, len(all))
	for i, tag := range all {
		reply.Tags[i] = wire.ValuesTag{Key: tag.Key, Values: tag.Values}
	}
	return reply, nil
})

// FindTagged is POST resource_instances/action: the keys that have every tag,
// or how many they are.
var FindTagged = endpoint(kms.OpFindTagged, func(ctx context.Context, x *exchange, req *wire.FindTaggedRequest) (reply wire.FindTaggedReply, err error) {
	query, err := tagQuery(req)
	if err != nil {
		return reply, err
	}
	page, total, err := x.FindTagged(ctx, x.call, query)
	if err != nil {
		return reply, err
	}
	reply.TotalCount = total
	if req.Action == actionCount {
		return reply, nil
	}
	reply.Resources = make([]wire.TaggedKey, len(page))
	for i, key := range page {
		reply.Resources[i] = wire.TaggedKey{
			ResourceID: key.ID, ResourceDetail: x.detail(key), ResourceName: key.Name, Tags: wireTags(key.Tags),
		}
	}
	return reply, nil
}).with(nil, map[string]string{"tags": "KMS.0414", "matches": "KMS.0415", "offset": "KMS.0417", "action": "KMS.0404"})

// tagQuery checks the parameters of a search. A limit or an offset with count
// says nothing and is passed over.
func tagQuery(req *wire.FindTaggedRequest) (query kms.FindTaggedRequest, err error) {
	switch {
	case req.Action == "":
		return query, missing("action")
	case req.Action != actionFilter && req.Action != actionCount:
		return query, invalid("action", "must be filter or count")
	case len(req.Tags) > maxTags:
		return query, refuse("KMS.0407", "The list tags has more than 20 tags.")
	case len(req.Matches) > 1:
		return query, invalid("matches", "must have one element, of "+matchName)
	}
	for i, tag := range req.Tags {
		if err := checkTagKey(tag.Key); err != nil {
			return query, err
		}
		for _, other := range req.Tags[:i] {
			if other.Key == tag.Key {
				return query, invalid("tags", "must name a tag once")
			}
		}
		if len(tag.Values) > maxTags {
			return query, refuse("KMS.0413", "A tag has more than 20 values.")
		}
		for _, value := range tag.Values {
			if err := checkTagValue(value); err != nil {
				return query, err
			}
		}
		query.Terms = append(query.Terms, state.TagTerm{Key: tag.Key, Values: tag.Values})
	}
	for _, match := range req.Matches {
		switch {
		case match.Key != matchName:
			return query, refuse("KMS.0403", "The key of a match must be "+matchName+".")
		case match.Value == "" || utf8.RuneCountInString(match.Value) > maxMatch:
			return query, refuse("KMS.0402", "The value of a match must have 1 to 255 characters.")
		}
		query.Name = match.Value
	}
	if req.Action == actionCount {
		return query, nil
	}
	query.Limit = defaultFound
	if limit := req.Limit; limit.Set {
		if limit.Value < 1 || limit.Value > largestFound {
			return query, invalid("limit", "must be 1 to 1000")
		}
		query.Limit = int(limit.Value)
	}
	if offset := req.Offset; offset.Set {
		if offset.Value < 0 || offset.Value > math.MaxInt32 {
			return query, invalid("offset", "must be a position in the list")
		}
		query.Offset = int(offset.Value)
	}
	return query, nil
}

// newTags checks tags that are to be set.
func newTags(given []wire.Tag) ([]state.Tag, error) {
	tags := make([]state.Tag, len(given))
	for i, tag := range given {
		if err := checkTagKey(tag.Key); err != nil {
			return nil, err
		}
		if err := checkTagValue(tag.Value); err != nil {
			return nil, err
		}
		for _, other := range given[:i] {
			if other.Key == tag.Key {
				return nil, invalid("tags", "must name a tag once")
			}
		}
		tags[i] = state.Tag{Key: tag.Key, Value: tag.Value}
	}
	return tags, nil
}

func checkTagKey(key string) error {
	switch {
	case key == "":
		return refuse("KMS.0406", "The key of a tag is missing.")
	case utf8.RuneCountInString(key) > maxTagKey:
		return refuse("KMS.0411", "The key of a tag must have at most 36 characters.")
	case !isTagText(key):
		return refuse("KMS.0406", "The key of a tag must be of "+tagCharacters+".")
	}
	return nil
}

func checkTagValue(value string) error {
	switch {
	case utf8.RuneCountInString(value) > maxTagValue:
		return refuse("KMS.0410", "The value of a tag must have at most 43 characters.")
	case !isTagText(value):
		return refuse("KMS.0405", "The value of a tag must be of "+tagCharacters+".")
	}
	return nil
}

// isTagText takes letters and digits of any script.
func isTagText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r == utf8.RuneError || r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}

func wireTags(tags []state.Tag) []wire.Tag {
	all := make([]wire.Tag, len(tags))
	for i, tag := range tags {
		all[i] = wire.Tag{Key: tag.Key, Value: tag.Value}
	}
	return all
}
