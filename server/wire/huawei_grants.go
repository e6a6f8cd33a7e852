package wire

import "strconv"

// CreateGrantRequest is the body of create-grant.
type CreateGrantRequest struct {
	Sequenced
	KeyID                string   `json:"key_id"`
	GranteePrincipal     string   `json:"grantee_principal"`
	GranteePrincipalType string   `json:"grantee_principal_type,omitempty"` // user or domain; empty: user
	Operations           []string `json:"operations"`
	Name                 string   `json:"name,omitempty"`
	RetiringPrincipal    string   `json:"retiring_principal,omitempty"`
}

func (r *CreateGrantRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "grantee_principal":
		return setText(&r.GranteePrincipal, name, raw)
	case "grantee_principal_type":
		return setText(&r.GranteePrincipalType, name, raw)
	case "operations":
		return setTexts(&r.Operations, name, raw)
	case "name":
		return setText(&r.Name, name, raw)
	case "retiring_principal":
		return setText(&r.RetiringPrincipal, name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// EndGrantRequest is the body of revoke-grant and retire-grant.
type EndGrantRequest struct {
	Sequenced
	KeyID   string `json:"key_id"`
	GrantID string `json:"grant_id"`
}

func (r *EndGrantRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "grant_id":
		return setText(&r.GrantID, name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// ListGrantsRequest is the body of list-grants and, without a key, of
// list-retirable-grants.
type ListGrantsRequest struct {
	Sequenced
	KeyID  string  `json:"key_id,omitempty"`
	Limit  FlexInt `json:"limit,omitzero"`
	Marker FlexInt `json:"marker,omitzero"`
}

func (r *ListGrantsRequest) member(name, raw []byte) error {
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

// CreateGrantReply answers create-grant.
type CreateGrantReply struct {
	GrantID string `json:"grant_id"` // 64 hex digits
}

// AppendJSON implements [Reply].
func (r CreateGrantReply) AppendJSON(dst []byte) []byte {
	return append(appendMember(append(dst, '{'), "grant_id", r.GrantID), '}')
}

// Grant is leave to use a key, as lists show it.
type Grant struct {
	KeyID                string   `json:"key_id"`
	GrantID              string   `json:"grant_id"`
	GranteePrincipal     string   `json:"grantee_principal"`
	GranteePrincipalType string   `json:"grantee_principal_type"` // user or domain
	Operations           []string `json:"operations"`
	IssuingPrincipal     string   `json:"issuing_principal"`
	CreationDate         string   `json:"creation_date"` // Unix milliseconds
	Name                 string   `json:"name"`
	RetiringPrincipal    string   `json:"retiring_principal"`
}

// ListGrantsReply answers list-grants and list-retirable-grants.
type ListGrantsReply struct {
	Grants     []Grant `json:"grants"`
	NextMarker string  `json:"next_marker"` // empty on the last page
	Truncated  string  `json:"truncated"`   // "true" or "false"
	Total      int     `json:"total"`
}

// AppendJSON implements [Reply].
func (r ListGrantsReply) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"grants":[`...)
	for i := range r.Grants {
		dst = r.Grants[i].appendTo(appendComma(dst, i))
	}
	dst = appendMember(append(dst, ']'), "next_marker", r.NextMarker)
	dst = appendMember(dst, "truncated", r.Truncated)
	return append(strconv.AppendInt(appendName(dst, "total"), int64(r.Total), 10), '}')
}

func (g *Grant) appendTo(dst []byte) []byte {
	dst = appendMember(append(dst, '{'), "key_id", g.KeyID)
	dst = appendMember(dst, "grant_id", g.GrantID)
	dst = appendMember(dst, "grantee_principal", g.GranteePrincipal)
	dst = appendMember(dst, "grantee_principal_type", g.GranteePrincipalType)
	dst = append(appendName(dst, "operations"), '[')
	for i, op := range g.Operations {
		dst = AppendString(appendComma(dst, i), op)
	}
	dst = appendMember(append(dst, ']'), "issuing_principal", g.IssuingPrincipal)
	dst = appendMember(dst, "creation_date", g.CreationDate)
	dst = appendMember(dst, "name", g.Name)
	return append(appendMember(dst, "retiring_principal", g.RetiringPrincipal), '}')
}
