package wire

import "strconv"

// TagsReply answers GET {key_id}/tags.
type TagsReply struct {
	Tags         []Tag `json:"tags"`
	ExistTagsNum int   `json:"existTagsNum"`
	SysTags      []Tag `json:"sys_tags"` // of the system; none here
}

// AppendJSON implements [Reply].
func (r TagsReply) AppendJSON(dst []byte) []byte {
	dst = appendTags(append(dst, `{"tags":`...), r.Tags)
	dst = strconv.AppendInt(appendName(dst, "existTagsNum"), int64(r.ExistTagsNum), 10)
	return append(appendTags(appendName(dst, "sys_tags"), r.SysTags), '}')
}

func appendTags(dst []byte, tags []Tag) []byte {
	dst = append(dst, '[')
	for i, t := range tags {
		dst = appendMember(append(appendComma(dst, i), '{'), "key", t.Key)
		dst = append(appendMember(dst, "value", t.Value), '}')
	}
	return append(dst, ']')
}

// ProjectTagsReply answers GET tags.
type ProjectTagsReply struct {
	Tags []ValuesTag `json:"tags"`
}

// AppendJSON implements [Reply].
func (r ProjectTagsReply) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"tags":[`...)
	for i, t := range r.Tags {
		dst = appendMember(append(appendComma(dst, i), '{'), "key", t.Key)
		dst = append(appendName(dst, "values"), '[')
		for j, value := range t.Values {
			dst = AppendString(appendComma(dst, j), value)
		}
		dst = append(dst, "]}"...)
	}
	return append(dst, "]}"...)
}

// TaggedKey is a key as a search for tags finds it.
type TaggedKey struct {
	ResourceID     string    `json:"resource_id"`
	ResourceDetail KeyDetail `json:"resource_detail"`
	ResourceName   string    `json:"resource_name"`
	Tags           []Tag     `json:"tags"`
}

// FindTaggedReply answers POST resource_instances/action. Resources is nil
// when only the count was asked for.
type FindTaggedReply struct {
	Resources  []TaggedKey `json:"resources,omitempty"`
	TotalCount int         `json:"total_count"`
}

// AppendJSON implements [Reply].
func (r FindTaggedReply) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	if r.Resources != nil {
		dst = append(appendName(dst, "resources"), '[')
		for i := range r.Resources {
			k := &r.Resources[i]
			dst = appendMember(append(appendComma(dst, i), '{'), "resource_id", k.ResourceID)
			dst = k.ResourceDetail.appendTo(appendName(dst, "resource_detail"))
			dst = appendMember(dst, "resource_name", k.ResourceName)
			dst = append(appendTags(appendName(dst, "tags"), k.Tags), '}')
		}
		dst = append(dst, ']')
	}
	return append(strconv.AppendInt(appendName(dst, "total_count"), int64(r.TotalCount), 10), '}')
}

// InstancesReply answers GET user-instances.
type InstancesReply struct {
	InstanceNum int `json:"instance_num"` // keys of the project, default master keys not counted
}

// AppendJSON implements [Reply].
func (r InstancesReply) AppendJSON(dst []byte) []byte {
	return append(strconv.AppendInt(append(dst, `{"instance_num":`...), int64(r.InstanceNum), 10), '}')
}

// QuotasReply answers GET and PUT user-quotas.
type QuotasReply struct {
	Quotas struct {
		Resources []QuotaResource `json:"resources"`
	} `json:"quotas"`
}

// AppendJSON implements [Reply].
func (r QuotasReply) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"quotas":{"resources":[`...)
	for i, q := range r.Quotas.Resources {
		dst = appendMember(append(appendComma(dst, i), '{'), "type", q.Type)
		dst = strconv.AppendInt(appendName(dst, "used"), int64(q.Used), 10)
		dst = append(strconv.AppendInt(appendName(dst, "quota"), q.Quota.Value, 10), '}')
	}
	return append(dst, "]}}"...)
}
