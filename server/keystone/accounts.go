package keystone

import (
	"context"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

func listAccounts(_ context.Context, x *exchange) (any, error) {
	root := x.call.Root
	return page(x, "domains", root.Domains, root.DomainByName,
		func(d *state.Domain) string { return d.Name }, func(d *state.Domain) any { return x.domainOf(d) })
}

// domainOf is an account as clients read it.
func (x *exchange) domainOf(d *state.Domain) wire.Domain {
	return wire.Domain{
		ID: d.ID, Name: d.Name, Description: d.Description, Enabled: d.Enabled, Links: wire.SelfLinks{Self: x.URL + "/v3/domains/" + d.ID},
	}
}

func showAccount(_ context.Context, x *exchange) (any, error) {
	d, ok := x.call.Root.Domain(x.path("domain_id"))
	if !ok {
		return nil, kms.Refuse(kms.KindNotFound, "there is no such account")
	}
	x.call.AboutResource(d.ID, d.Name)
	return wire.DomainReply{Domain: x.domainOf(d)}, nil
}

// createAccount makes an account with a project, named like the cluster's
// region, and an administrator whose secrets are told this once.
func createAccount(ctx context.Context, x *exchange) (any, error) {
	var req wire.CreateAccountRequest
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	asked := req.Domain
	first := wire.NewAdministrator{ID: newID(), Name: asked.Administrator.Name, Access: newText(20), Secret: wire.SecretString(newText(40))}
	if first.Name == "" {
		first.Name = "admin"
	}
	password := string(asked.Administrator.Password)
	if password == "" {
		password = newText(24)
		first.Password = wire.SecretString(password)
	}
	hash, err := x.hash(ctx, password)
	if err != nil {
		return nil, err
	}
	sealed, err := x.SealSecret(ctx, x.call.Root, first.Access, []byte(first.Secret))
	if err != nil {
		return nil, err
	}
	b := command.CreateAccount{
		DomainID: newID(), Name: asked.Name, Description: asked.Description, ProjectID: newID(),
		UserID: first.ID, UserName: first.Name, PasswordHash: hash, AccessKeyID: first.Access, SealedSecret: sealed,
	}
	if err := x.change(ctx, b, "", b.Name, b.Description, b.UserName); err != nil {
		return nil, err
	}
	x.call.AboutResource(b.DomainID, b.Name)
	return wire.CreateAccountReply{
		Domain:        x.domainOf(&state.Domain{ID: b.DomainID, Name: b.Name, Description: b.Description, Enabled: true}),
		Project:       wire.NameOrID{ID: b.ProjectID, Name: x.call.Root.Cluster().Region},
		Administrator: first,
	}, nil
}

// hash hashes a new password.
func (x *exchange) hash(ctx context.Context, password string) (string, error) {
	if err := iam.CheckNew(password); err != nil {
		return "", err
	}
	return x.Passwords.Hash(ctx, password)
}

func updateAccount(ctx context.Context, x *exchange) (any, error) {
	var req struct {
		Domain wire.Changes `json:"domain"`
	}
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	body := command.UpdateAccount{DomainID: x.path("domain_id"), Name: "unknown", KeepEnabled: req.Domain.Enabled == nil, KeepName: req.Domain.Name == nil, KeepDescription: req.Domain.Description == nil}
	if old, ok := x.call.Root.Domain(body.DomainID); ok {
		body.Name, body.Description, body.Enabled = old.Name, old.Description, old.Enabled
	}
	set(&body.Name, req.Domain.Name)
	set(&body.Description, req.Domain.Description)
	x.setEnabled(&body.Enabled, req.Domain.Enabled)
	if err := x.change(ctx, body, body.DomainID, body.Name, body.Description, meaningOf(req.Domain.Enabled)); err != nil {
		return nil, err
	}
	return wire.DomainReply{Domain: x.domainOf(&state.Domain{ID: body.DomainID, Name: body.Name, Description: body.Description, Enabled: body.Enabled})}, nil
}

// meaningOf is a switch in what a request says.
func meaningOf(on *bool) string {
	switch {
	case on == nil:
		return ""
	case *on:
		return "on"
	default:
		return "off"
	}
}

func deleteAccount(ctx context.Context, x *exchange) (any, error) {
	id := x.path("domain_id")
	return nil, x.change(ctx, command.DeleteAccount{DomainID: id}, id, "")
}

// projectOf is a project as clients read it.
func (x *exchange) projectOf(p *state.Project) wire.Project {
	return wire.Project{
		ID: p.ID, Name: p.Name, DomainID: p.DomainID, ParentID: p.DomainID, Description: p.Description, Enabled: p.Enabled,
		Links: wire.SelfLinks{Self: x.URL + "/v3/projects/" + p.ID},
	}
}

// findProject returns a project of the caller's account.
func (x *exchange) findProject(id string) (*state.Project, error) {
	p, ok := x.call.Root.Project(id)
	if !ok || p.DomainID != x.account {
		return nil, kms.Refuse(kms.KindNotFound, "the account has no such project")
	}
	return p, nil
}

func showProject(_ context.Context, x *exchange) (any, error) {
	p, err := x.findProject(x.path("project_id"))
	if err != nil {
		return nil, err
	}
	x.call.AboutResource(p.ID, p.Name)
	return wire.ProjectReply{Project: x.projectOf(p)}, nil
}

func createProject(ctx context.Context, x *exchange) (any, error) {
	var req struct {
		Project wire.NewNamed `json:"project"`
	}
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	b := command.CreateProject{ID: newID(), Name: req.Project.Name, Description: req.Project.Description}
	if err := x.change(ctx, b, "", b.Name, b.Description); err != nil {
		return nil, err
	}
	x.call.AboutResource(b.ID, b.Name)
	return wire.ProjectReply{Project: x.projectOf(&state.Project{ID: b.ID, Name: b.Name, DomainID: x.account, Description: b.Description, Enabled: true})}, nil
}

func updateProject(ctx context.Context, x *exchange) (any, error) {
	var req struct {
		Project wire.Changes `json:"project"`
	}
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	old, err := x.findProject(x.path("project_id"))
	if err != nil {
		return nil, err
	}
	if name := req.Project.Name; name != nil && *name != old.Name {
		return nil, &refusal{400, "IAM.0011", "A project keeps its name: clients know it as the region's."}
	}
	body := command.UpdateProject{ID: old.ID, Description: old.Description, Enabled: old.Enabled, KeepEnabled: req.Project.Enabled == nil, KeepDescription: req.Project.Description == nil}
	set(&body.Description, req.Project.Description)
	x.setEnabled(&body.Enabled, req.Project.Enabled)
	if err := x.change(ctx, body, body.ID, old.Name, body.Description, meaningOf(req.Project.Enabled)); err != nil {
		return nil, err
	}
	changed := *old
	changed.Description, changed.Enabled = body.Description, body.Enabled
	return wire.ProjectReply{Project: x.projectOf(&changed)}, nil
}

func deleteProject(ctx context.Context, x *exchange) (any, error) {
	id := x.path("project_id")
	return nil, x.change(ctx, command.DeleteProject{ID: id}, id, "")
}
