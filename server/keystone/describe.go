package keystone

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/wire"
)

// describe says what a token says, as a client reads it.
func (x *exchange) describe(t *iam.Token, user *state.User, domain *state.Domain) wire.TokenReply {
	body := wire.TokenBody{
		ExpiresAt: instant(t.Expires), IssuedAt: instant(t.Issued), Methods: methods(t.Methods), Roles: []wire.NameOrID{},
		User: wire.TokenUser{ID: user.ID, Name: user.Name, Domain: wire.NameOrID{ID: domain.ID, Name: domain.Name}},
	}
	project := ""
	switch t.Scope {
	case iam.ScopeProject:
		p, _ := x.call.Root.Project(t.ScopeID) // there: the token stands
		project = p.ID
		body.Project = &wire.TokenProject{NameOrID: wire.NameOrID{ID: p.ID, Name: p.Name}, Domain: wire.NameOrID{ID: domain.ID, Name: domain.Name}}
	case iam.ScopeDomain:
		body.Domain = &wire.NameOrID{ID: domain.ID, Name: domain.Name}
	}
	bindings := slices.Clone(user.Roles)
	for _, id := range user.Groups {
		if group, ok := x.call.Root.Group(id); ok {
			bindings = append(bindings, group.Roles...)
		}
	}
	seen := map[string]bool{}
	for _, binding := range bindings {
		if (binding.ProjectID == "" || binding.ProjectID == project) && !seen[binding.Role] {
			seen[binding.Role] = true
			body.Roles = append(body.Roles, wire.NameOrID{ID: binding.Role, Name: x.policyName(binding.Role)})
		}
	}
	if !x.rc.QueryArgs().Has("nocatalog") && t.Scope != iam.Unscoped {
		body.Catalog = x.catalog(project)
	}
	return wire.TokenReply{Token: body}
}

func methods(m uint8) []string {
	var names []string
	if m&iam.MethodPassword != 0 {
		names = append(names, "password")
	}
	if m&iam.MethodToken != 0 {
		names = append(names, "token")
	}
	if m&iam.MethodTOTP != 0 {
		names = append(names, "totp")
	}
	return names
}

// instant writes a time as the identity service does.
func instant(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000000Z") }

// madeID gives what has no id of its own the same one everywhere.
func madeID(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// catalog lists the services, with the project's id where it belongs into
// their addresses. Clients of one family look for kms and put the project
// behind it by themselves, those of the other for kmsv1.
func (x *exchange) catalog(project string) []wire.CatalogEntry {
	region := x.call.Root.Cluster().Region
	entry := func(kind, name, path string, regions ...string) wire.CatalogEntry {
		e := wire.CatalogEntry{ID: madeID("service", kind), Name: name, Type: kind}
		for _, r := range regions {
			e.Endpoints = append(e.Endpoints, wire.Endpoint{
				ID: madeID("endpoint", kind, r), Region: r, RegionID: r, Interface: "public", URL: x.URL + path,
			})
		}
		return e
	}
	scoped := ""
	if project != "" {
		scoped = "/" + project
	}
	return []wire.CatalogEntry{
		entry("kms", "kms", "/v1.0", region),
		entry("kmsv1", "kmsv1", "/v1.0"+scoped, region),
		entry("cts", "cts", "/v1.0"+scoped, region),
		entry("identity", "keystone", "/v3", "*", region),
	}
}

// showCatalog answers GET /v3/auth/catalog. A signature says nothing of a
// project, so it gets the one that it names, or the account's first region's.
func showCatalog(ctx context.Context, x *exchange) (any, error) {
	p, err := x.identify(ctx)
	if err != nil {
		return nil, err
	}
	project := p.ProjectID
	if !p.Confined {
		named, ok := x.call.Root.Project(string(x.rc.Request.Header.Peek("X-Project-Id")))
		if !ok || named.DomainID != p.DomainID {
			named, ok = x.call.Root.ProjectByName(p.DomainID, x.call.Root.Cluster().Region)
		}
		if ok {
			project = named.ID
		}
	}
	return wire.CatalogReply{Catalog: x.catalog(project), Links: wire.PageLinks{Self: x.URL + "/v3/auth/catalog"}}, nil
}
