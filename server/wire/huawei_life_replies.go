package wire

import "strconv"

// EmptyReply answers what returns nothing: clients want an object all the same.
type EmptyReply struct{}

// AppendJSON implements [Reply].
func (EmptyReply) AppendJSON(dst []byte) []byte { return append(dst, "{}"...) }

// KeyAliasReply answers update-key-alias.
type KeyAliasReply struct {
	KeyInfo struct {
		KeyID    string `json:"key_id"`
		KeyAlias string `json:"key_alias"`
	} `json:"key_info"`
}

// AppendJSON implements [Reply].
func (r KeyAliasReply) AppendJSON(dst []byte) []byte {
	dst = appendMember(append(dst, `{"key_info":{`...), "key_id", r.KeyInfo.KeyID)
	return append(appendMember(dst, "key_alias", r.KeyInfo.KeyAlias), "}}"...)
}

// KeyDescriptionReply answers update-key-description.
type KeyDescriptionReply struct {
	KeyInfo struct {
		KeyID          string `json:"key_id"`
		KeyDescription string `json:"key_description"`
	} `json:"key_info"`
}

// AppendJSON implements [Reply].
func (r KeyDescriptionReply) AppendJSON(dst []byte) []byte {
	dst = appendMember(append(dst, `{"key_info":{`...), "key_id", r.KeyInfo.KeyID)
	return append(appendMember(dst, "key_description", r.KeyInfo.KeyDescription), "}}"...)
}

// DeletionReply answers schedule-key-deletion and cancel-key-deletion, which
// have no key_info around it.
type DeletionReply struct {
	KeyID    string `json:"key_id"`
	KeyState string `json:"key_state"`
}

// AppendJSON implements [Reply].
func (r DeletionReply) AppendJSON(dst []byte) []byte {
	dst = appendMember(append(dst, '{'), "key_id", r.KeyID)
	return append(appendMember(dst, "key_state", r.KeyState), '}')
}

// RotationStatusReply answers get-key-rotation-status.
type RotationStatusReply struct {
	KeyRotationEnabled bool   `json:"key_rotation_enabled"`
	RotationInterval   int    `json:"rotation_interval"`  // days; 0 while it is off
	LastRotationTime   string `json:"last_rotation_time"` // Unix milliseconds, or empty
	NumberOfRotations  int    `json:"number_of_rotations"`
}

// AppendJSON implements [Reply].
func (r RotationStatusReply) AppendJSON(dst []byte) []byte {
	dst = strconv.AppendBool(append(dst, `{"key_rotation_enabled":`...), r.KeyRotationEnabled)
	dst = strconv.AppendInt(appendName(dst, "rotation_interval"), int64(r.RotationInterval), 10)
	dst = appendMember(dst, "last_rotation_time", r.LastRotationTime)
	return append(strconv.AppendInt(appendName(dst, "number_of_rotations"), int64(r.NumberOfRotations), 10), '}')
}

// AliasInfo is an alias as its endpoints show it. Times are RFC 3339.
type AliasInfo struct {
	DomainID   string `json:"domain_id"`
	KeyID      string `json:"key_id"`
	Alias      string `json:"alias"` // as it was given
	AliasURN   string `json:"alias_urn"`
	CreateTime string `json:"create_time"`
	UpdateTime string `json:"update_time"`
}

// AppendJSON implements [Reply].
func (a AliasInfo) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	for _, m := range [...]struct{ name, value string }{
		{"domain_id", a.DomainID}, {"key_id", a.KeyID}, {"alias", a.Alias}, {"alias_urn", a.AliasURN},
		{"create_time", a.CreateTime}, {"update_time", a.UpdateTime},
	} {
		dst = appendMember(dst, m.name, m.value)
	}
	return append(dst, '}')
}

// PageInfo ends a page of aliases.
type PageInfo struct {
	NextMarker   string `json:"next_marker"`
	CurrentCount int    `json:"current_count"`
}

// ListAliasesReply answers GET aliases: one object, or for the vendor's SDKs,
// which follow another text of the reference, a list of one.
type ListAliasesReply struct {
	Aliases  []AliasInfo `json:"aliases"`
	PageInfo PageInfo    `json:"page_info"`

	InList bool `json:"-"`
}

// AppendJSON implements [Reply].
func (r ListAliasesReply) AppendJSON(dst []byte) []byte {
	if r.InList {
		dst = append(dst, '[')
	}
	dst = append(dst, `{"aliases":[`...)
	for i := range r.Aliases {
		dst = r.Aliases[i].AppendJSON(appendComma(dst, i))
	}
	dst = appendMember(append(dst, `],"page_info":{`...), "next_marker", r.PageInfo.NextMarker)
	dst = append(strconv.AppendInt(appendName(dst, "current_count"), int64(r.PageInfo.CurrentCount), 10), "}}"...)
	if r.InList {
		dst = append(dst, ']')
	}
	return dst
}

// KeyVersion is one version of a key. Times are Unix milliseconds.
type KeyVersion struct {
	Version      int    `json:"version"`
	CreationDate string `json:"creation_date"`
	Primary      bool   `json:"primary"`        // encrypts
	LastUsedDate string `json:"last_used_date"` // some minutes behind; empty: not that anybody knew
}

// ListVersionsReply answers list-key-versions, newest first.
type ListVersionsReply struct {
	KeyID      string       `json:"key_id"`
	Versions   []KeyVersion `json:"versions"`
	NextMarker string       `json:"next_marker"`
	Truncated  string       `json:"truncated"` // true or false
	Total      int          `json:"total"`
}

// AppendJSON implements [Reply].
func (r ListVersionsReply) AppendJSON(dst []byte) []byte {
	dst = appendMember(append(dst, '{'), "key_id", r.KeyID)
	dst = append(dst, `,"versions":[`...)
	for i, v := range r.Versions {
		dst = strconv.AppendInt(append(appendComma(dst, i), `{"version":`...), int64(v.Version), 10)
		dst = appendMember(dst, "creation_date", v.CreationDate)
		dst = strconv.AppendBool(appendName(dst, "primary"), v.Primary)
		dst = append(appendMember(dst, "last_used_date", v.LastUsedDate), '}')
	}
	dst = append(dst, ']')
	dst = appendMember(dst, "next_marker", r.NextMarker)
	dst = appendMember(dst, "truncated", r.Truncated)
	return append(strconv.AppendInt(appendName(dst, "total"), int64(r.Total), 10), '}')
}
