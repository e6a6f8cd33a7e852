package wire

import (
	"net/url"
	"strconv"
)

// Requests about the life of a key: names, deletion, rotation.

// UpdateKeyAliasRequest is the body of update-key-alias.
type UpdateKeyAliasRequest struct {
	Sequenced
	KeyID    string `json:"key_id"`
	KeyAlias string `json:"key_alias"`
}

func (r *UpdateKeyAliasRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "key_alias":
		return setText(&r.KeyAlias, name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// UpdateKeyDescriptionRequest is the body of update-key-description. The
// description may be empty, but not missing.
type UpdateKeyDescriptionRequest struct {
	Sequenced
	KeyID          string  `json:"key_id"`
	KeyDescription *string `json:"key_description"`
}

func (r *UpdateKeyDescriptionRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "key_description":
		if isNull(raw) {
			return nil
		}
		r.KeyDescription = new(string)
		return setText(r.KeyDescription, name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// ScheduleDeletionRequest is the body of schedule-key-deletion.
type ScheduleDeletionRequest struct {
	Sequenced
	KeyID       string  `json:"key_id"`
	PendingDays FlexInt `json:"pending_days"`
}

func (r *ScheduleDeletionRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "pending_days":
		return r.PendingDays.set(name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// RotationIntervalRequest is the body of update-key-rotation-interval.
type RotationIntervalRequest struct {
	Sequenced
	KeyID            string  `json:"key_id"`
	RotationInterval FlexInt `json:"rotation_interval"` // days
}

func (r *RotationIntervalRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "rotation_interval":
		return r.RotationInterval.set(name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// ListVersionsRequest is the body of list-key-versions, an extension.
type ListVersionsRequest struct {
	Sequenced
	KeyID  string  `json:"key_id"`
	Limit  FlexInt `json:"limit,omitzero"`
	Marker FlexInt `json:"marker,omitzero"`
}

func (r *ListVersionsRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "limit":
		return r.Limit.set(name, raw)
	case "marker":
		return r.Marker.set(name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// CreateAliasRequest is the body of POST aliases.
type CreateAliasRequest struct {
	Sequenced
	KeyID string `json:"key_id"`
	Alias string `json:"alias"`
}

func (r *CreateAliasRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "alias":
		return setText(&r.Alias, name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// AssociateAliasRequest is the body of POST alias/associate.
type AssociateAliasRequest struct {
	Sequenced
	Alias       string `json:"alias"`
	TargetKeyID string `json:"target_key_id"`
}

func (r *AssociateAliasRequest) member(name, raw []byte) error {
	switch string(name) {
	case "alias":
		return setText(&r.Alias, name, raw)
	case "target_key_id":
		return setText(&r.TargetKeyID, name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// DeleteAliasesRequest is the body of DELETE aliases.
type DeleteAliasesRequest struct {
	Sequenced
	KeyID   string   `json:"key_id"`
	Aliases []string `json:"aliases"`
}

func (r *DeleteAliasesRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "aliases":
		return setTexts(&r.Aliases, name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// ListAliasesRequest is the query of GET aliases.
type ListAliasesRequest struct {
	Sequenced
	KeyID  string  `json:"key_id"`
	Limit  FlexInt `json:"limit"`
	Marker string  `json:"marker"`
}

func (r *ListAliasesRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "limit":
		return r.Limit.set(name, raw)
	case "marker":
		return setText(&r.Marker, name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// Query returns the request as a query string.
func (r *ListAliasesRequest) Query() string {
	query := url.Values{}
	if r.KeyID != "" {
		query.Set("key_id", r.KeyID)
	}
	if r.Limit.Set {
		query.Set("limit", strconv.FormatInt(r.Limit.Value, 10))
	}
	if r.Marker != "" {
		query.Set("marker", r.Marker)
	}
	return query.Encode()
}

// maxTexts is how many strings a list in a request holds at most.
const maxTexts = 1000

// setTexts takes a list of strings.
func setTexts(into *[]string, name, raw []byte) error {
	if isAbsent(raw) {
		return nil
	}
	if raw[0] != '[' {
		return &MemberError{string(name), notTexts}
	}
	s := scanner{data: raw, at: 1}
	list := []string{}
	for {
		if s.space(); s.take(']') {
			*into = list
			return nil
		}
		start := s.at
		if err := s.value(1); err != nil {
			return err
		}
		var text string
		if raw[start] != '"' || len(list) == maxTexts {
			return &MemberError{string(name), notTexts}
		}
		if err := setText(&text, name, raw[start:s.at]); err != nil {
			return err
		}
		list = append(list, text)
		s.space()
		s.take(',')
	}
}

const notTexts = "must be a list of at most 1000 strings"
