package wire

// VersionsReply answers GET /.
type VersionsReply struct {
	Versions []VersionInfo `json:"versions"`
}

// VersionReply answers GET /v1.0.
type VersionReply struct {
	Version VersionInfo `json:"version"`
}

// VersionInfo is one version of the API.
type VersionInfo struct {
	ID         string        `json:"id"`
	Links      []VersionLink `json:"links"`
	Version    string        `json:"version"` // the newest microversion; empty: none
	Status     string        `json:"status"`  // CURRENT
	Updated    string        `json:"updated"` // RFC 3339
	MinVersion string        `json:"min_version"`
}

// VersionLink says where a version of the API is.
type VersionLink struct {
	Href string `json:"href"`
	Rel  string `json:"rel"`
}

// AppendJSON implements [Reply].
func (r VersionsReply) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"versions":[`...)
	for i := range r.Versions {
		dst = r.Versions[i].appendTo(appendComma(dst, i))
	}
	return append(dst, "]}"...)
}

// AppendJSON implements [Reply].
func (r VersionReply) AppendJSON(dst []byte) []byte {
	return append(r.Version.appendTo(append(dst, `{"version":`...)), '}')
}

func (v *VersionInfo) appendTo(dst []byte) []byte {
	dst = appendMember(append(dst, '{'), "id", v.ID)
	dst = append(appendName(dst, "links"), '[')
	for i, link := range v.Links {
		dst = appendMember(append(appendComma(dst, i), '{'), "href", link.Href)
		dst = append(appendMember(dst, "rel", link.Rel), '}')
	}
	dst = append(dst, ']')
	dst = appendMember(dst, "version", v.Version)
	dst = appendMember(dst, "status", v.Status)
	dst = appendMember(dst, "updated", v.Updated)
	return append(appendMember(dst, "min_version", v.MinVersion), '}')
}
