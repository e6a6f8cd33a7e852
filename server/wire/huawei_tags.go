package wire

// Requests about tags and quotas.

// Most elements of a list that are looked at; a dialect's own limits are lower.
const maxElements = 1024

// Tag is a label on a key.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func (t *Tag) member(name, raw []byte) error {
	switch string(name) {
	case "key":
		return setText(&t.Key, name, raw)
	case "value":
		return setText(&t.Value, name, raw)
	}
	return nil
}

// ValuesTag is a tag's name with several values.
type ValuesTag struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
}

func (t *ValuesTag) member(name, raw []byte) error {
	switch string(name) {
	case "key":
		return setText(&t.Key, name, raw)
	case "values":
		return setTexts(&t.Values, name, raw)
	}
	return nil
}

// TagRequest is the body of POST {key_id}/tags.
type TagRequest struct {
	Sequenced
	Tag *Tag `json:"tag"` // nil: absent
}

func (r *TagRequest) member(name, raw []byte) error {
	if string(name) == "tag" {
		if isAbsent(raw) {
			return nil
		}
		r.Tag = new(Tag)
		return setObject(r.Tag, name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// TagsActionRequest is the body of POST {key_id}/tags/action.
type TagsActionRequest struct {
	Sequenced
	Action string `json:"action"` // create or delete
	Tags   []Tag  `json:"tags"`
}

func (r *TagsActionRequest) member(name, raw []byte) error {
	switch string(name) {
	case "action":
		return setText(&r.Action, name, raw)
	case "tags":
		return setObjects[Tag](&r.Tags, name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// NoRequest is the body of a call that has no members: an empty one, or {}.
type NoRequest struct{ Sequenced }

// FindTaggedRequest is the body of POST resource_instances/action.
type FindTaggedRequest struct {
	Sequenced
	Action  string      `json:"action"` // filter or count
	Limit   FlexInt     `json:"limit,omitzero"`
	Offset  FlexInt     `json:"offset,omitzero"`
	Tags    []ValuesTag `json:"tags,omitempty"`    // a key must have every one, with one of the values
	Matches []Tag       `json:"matches,omitempty"` // of resource_name
}

func (r *FindTaggedRequest) member(name, raw []byte) error {
	switch string(name) {
	case "action":
		return setText(&r.Action, name, raw)
	case "limit":
		return r.Limit.set(name, raw)
	case "offset":
		return r.Offset.set(name, raw)
	case "tags":
		return setObjects[ValuesTag](&r.Tags, name, raw)
	case "matches":
		return setObjects[Tag](&r.Matches, name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// SetQuotasRequest is the body of PUT user-quotas, an extension.
type SetQuotasRequest struct {
	Sequenced
	TargetProjectID string          `json:"target_project_id,omitempty"` // empty: the project of the path
	Resources       []QuotaResource `json:"resources"`
}

func (r *SetQuotasRequest) member(name, raw []byte) error {
	switch string(name) {
	case "target_project_id":
		return setText(&r.TargetProjectID, name, raw)
	case "resources":
		return setObjects[QuotaResource](&r.Resources, name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// QuotaResource is how much there is of something and how much may be.
type QuotaResource struct {
	Type  string  `json:"type"` // CMK, grant_per_CMK, tag_per_CMK or grant_per_project
	Used  int     `json:"used"`
	Quota FlexInt `json:"quota"`
}

func (q *QuotaResource) member(name, raw []byte) error {
	switch string(name) {
	case "type":
		return setText(&q.Type, name, raw)
	case "quota":
		return q.Quota.set(name, raw)
	}
	return nil // used is for answers
}

// setObject takes an object whose members the taker knows. Its errors name the
// member that holds the object.
func setObject(taker members, name, raw []byte) error {
	if raw[0] != '{' {
		return &MemberError{string(name), notObject}
	}
	s := scanner{data: raw}
	if err := s.object(1, taker); err != nil {
		return &MemberError{string(name), notObject}
	}
	return nil
}

// setObjects takes a list of such objects.
func setObjects[T any, P interface {
	*T
	members
}](into *[]T, name, raw []byte) error {
	if isAbsent(raw) {
		return nil
	}
	*into = []T{}
	return eachElement(name, raw, func(element []byte) error {
		var t T
		if err := setObject(P(&t), name, element); err != nil {
			return err
		}
		*into = append(*into, t)
		return nil
	})
}

// eachElement hands over the elements of a list that is known to be well formed.
func eachElement(name, raw []byte, take func(element []byte) error) error {
	if raw[0] != '[' {
		return &MemberError{string(name), notList}
	}
	s := scanner{data: raw, at: 1}
	if s.space(); s.take(']') {
		return nil
	}
	for n := 0; ; n++ {
		s.space()
		start := s.at
		if err := s.value(1); err != nil {
			return err
		}
		if n == maxElements {
			return &MemberError{string(name), notList}
		}
		if err := take(raw[start:s.at]); err != nil {
			return err
		}
		if s.space(); s.take(']') {
			return nil
		}
		s.at++ // a comma: the list is well formed
	}
}
