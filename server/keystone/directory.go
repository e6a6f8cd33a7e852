package keystone

import (
	"context"
	"encoding/json"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/wire"
)

// findProjects answers GET /v3/projects and GET /v3/auth/projects: the
// projects of the caller's account, or the one of a name. The name is the
// region's, by which SDKs find the project's id.
func findProjects(ctx context.Context, x *exchange) (any, error) {
	p, err := x.identify(ctx)
	if err != nil {
		return nil, err
	}
	root, query := x.call.Root, x.rc.QueryArgs()
	var found []*state.Project
	switch name := string(query.Peek("name")); {
	case query.Has("domain_id") && string(query.Peek("domain_id")) != p.DomainID:
	case name != "":
		if project, ok := root.ProjectByName(p.DomainID, name); ok {
			found = append(found, project)
		}
	default:
		found = root.ProjectsOf(p.DomainID)
	}
	reply := wire.ProjectsReply{Projects: []wire.Project{}, Links: wire.PageLinks{Self: x.URL + "/v3/projects"}}
	for _, project := range found {
		reply.Projects = append(reply.Projects, x.projectOf(project))
	}
	return reply, nil
}

// findDomains answers GET /v3/auth/domains: the caller's account.
func findDomains(ctx context.Context, x *exchange) (any, error) {
	p, err := x.identify(ctx)
	if err != nil {
		return nil, err
	}
	reply := wire.DomainsReply{Domains: []wire.Domain{}, Links: wire.PageLinks{Self: x.URL + "/v3/auth/domains"}}
	domain, ok := x.call.Root.Domain(p.DomainID)
	if name := string(x.rc.QueryArgs().Peek("name")); ok && (name == "" || name == domain.Name) {
		reply.Domains = append(reply.Domains, x.domainOf(domain))
	}
	return reply, nil
}

// version is the only one there is.
func (a *API) version() wire.IdentityVersion {
	return wire.IdentityVersion{
		ID: "v3.6", Status: "stable", Updated: "2016-04-04T00:00:00Z",
		Links:      []wire.VersionLink{{Href: a.URL + "/v3/", Rel: "self"}},
		MediaTypes: []map[string]string{{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}},
	}
}

// Version answers GET /v3. It asks for no credentials.
func (a *API) Version(rc *fasthttp.RequestCtx) {
	writeDocument(rc, wire.IdentityVersionReply{Version: a.version()})
}

func writeDocument(rc *fasthttp.RequestCtx, reply any) {
	body, err := json.Marshal(reply)
	if err != nil {
		body = nil // of a struct of texts: cannot be
	}
	rc.SetContentType("application/json")
	rc.SetBody(body)
}
