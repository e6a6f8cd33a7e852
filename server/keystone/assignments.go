package keystone

import (
	"context"
	"slices"
	"strings"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// Where policies hold. A path names the policy, a user or a group, and a
// project or, with the account's id, the account and all of its projects.

func (x *exchange) binding() command.Binding {
	return command.Binding{UserID: x.path("user_id"), GroupID: x.path("group_id"), Policy: x.path("role_id"), ProjectID: x.path("project_id")}
}

func (x *exchange) bind(ctx context.Context, body command.Body, b command.Binding) error {
	if err := x.checkPlace(); err != nil {
		return err
	}
	x.call.Asked().Text("user_id", b.UserID)
	x.call.Asked().Text("group_id", b.GroupID)
	x.call.Asked().Text("project_id", b.ProjectID)
	return x.Service.Administer(ctx, x.call, body, b.Policy, "", b.UserID, b.GroupID, b.Policy, b.ProjectID)
}

// checkPlace asks whether the account or the project of the path is the caller's.
func (x *exchange) checkPlace() error {
	if id := x.path("project_id"); id != "" {
		_, err := x.findProject(id)
		return err
	}
	if x.path("domain_id") != x.account {
		return kms.Refuse(kms.KindNotFound, "there is no such account")
	}
	return nil
}

func attachPolicy(ctx context.Context, x *exchange) (any, error) {
	b := x.binding()
	return nil, x.bind(ctx, command.AttachPolicy{Binding: b}, b)
}

func detachPolicy(ctx context.Context, x *exchange) (any, error) {
	b := x.binding()
	return nil, x.bind(ctx, command.DetachPolicy{Binding: b}, b)
}

// attached returns what holds for the user or the group of the path.
func (x *exchange) attached() ([]state.RoleBinding, error) {
	if err := x.checkPlace(); err != nil {
		return nil, err
	}
	if id := x.path("user_id"); id != "" {
		u, err := x.findUser(id)
		if err != nil {
			return nil, err
		}
		x.call.AboutResource(u.ID, u.Name)
		return u.Roles, nil
	}
	g, err := x.findGroup(x.path("group_id"))
	if err != nil {
		return nil, err
	}
	x.call.AboutResource(g.ID, g.Name)
	return g.Roles, nil
}

// listAttached answers GET of the roles of a user or a group in a project or
// the account.
func listAttached(_ context.Context, x *exchange) (any, error) {
	bindings, err := x.attached()
	if err != nil {
		return nil, err
	}
	shown := []shownPolicy{}
	for _, b := range bindings {
		if p, err := x.findPolicy(b.Role); err == nil && b.ProjectID == x.path("project_id") {
			shown = append(shown, p)
		}
	}
	return map[string]any{"roles": shown, "links": wire.PageLinks{Self: x.URL + string(x.rc.Path())}}, nil
}

// checkAttached answers HEAD of one role of a user or a group.
func checkAttached(_ context.Context, x *exchange) (any, error) {
	bindings, err := x.attached()
	if err != nil {
		return nil, err
	}
	if slices.Contains(bindings, state.RoleBinding{Role: x.path("role_id"), ProjectID: x.path("project_id")}) {
		return nil, nil
	}
	return nil, kms.Refuse(kms.KindNotFound, "the policy does not hold there")
}

// holder is a user or a group with what holds for it.
type holder struct {
	place    string // in the order of lists: users by name, then groups by name
	user     *state.User
	group    *state.Group
	bindings []state.RoleBinding
}

// The places of users and groups.
const (
	userPlace  = "0user "
	groupPlace = "1group "
)

// holders lists up to limit users and groups of the account after a place.
func (x *exchange) holders(after string, limit int) []holder {
	root, all := x.call.Root, []holder{}
	if !strings.HasPrefix(after, groupPlace) {
		for _, u := range root.Users(x.account, strings.TrimPrefix(after, userPlace), limit) {
			all = append(all, holder{place: userPlace + u.Name, user: u, bindings: u.Roles})
		}
		after = ""
	}
	for _, g := range root.Groups(x.account, strings.TrimPrefix(after, groupPlace), limit-len(all)) {
		all = append(all, holder{place: groupPlace + g.Name, group: g, bindings: g.Roles})
	}
	return all
}

// listAssignments answers GET /v3/role_assignments: which policies hold for
// whom and where, of the whole account or as the query narrows it. A page is of
// users and groups; those for which nothing is listed are left out.
func listAssignments(_ context.Context, x *exchange) (any, error) {
	limit := pageSize / 10 // of holders, each with up to 64 bindings
	var of []holder
	var next *string
	switch user, group := x.query("user.id"), x.query("group.id"); {
	case user != "":
		u, err := x.findUser(user)
		if err != nil {
			return nil, err
		}
		of = append(of, holder{user: u, bindings: u.Roles})
	case group != "":
		g, err := x.findGroup(group)
		if err != nil {
			return nil, err
		}
		of = append(of, holder{group: g, bindings: g.Roles})
	default:
		if of = x.holders(x.query("marker"), limit); len(of) == limit {
			next = x.following(of[limit-1].place)
		}
	}
	reply := wire.AssignmentsReply{Assignments: []wire.Assignment{}, Links: wire.PageLinks{Self: x.URL + string(x.rc.Path()), Next: next}}
	role, project := x.query("role.id"), x.query("scope.project.id")
	for _, h := range of {
		for _, b := range h.bindings {
			if role != "" && role != b.Role || project != "" && project != b.ProjectID {
				continue
			}
			reply.Assignments = append(reply.Assignments, x.assignment(h, b))
		}
	}
	return reply, nil
}

// assignment is a binding as clients read it.
func (x *exchange) assignment(h holder, b state.RoleBinding) wire.Assignment {
	a := wire.Assignment{Role: wire.NameOrID{ID: b.Role, Name: x.policyName(b.Role)}}
	if h.user != nil {
		a.User = &wire.NameOrID{ID: h.user.ID, Name: h.user.Name}
	} else {
		a.Group = &wire.NameOrID{ID: h.group.ID, Name: h.group.Name}
	}
	if b.ProjectID == "" {
		a.Scope.Domain = &wire.NameOrID{ID: x.account}
		a.Scope.Inherited = "projects"
	} else {
		a.Scope.Project = &wire.NameOrID{ID: b.ProjectID}
		if p, ok := x.call.Root.Project(b.ProjectID); ok {
			a.Scope.Project.Name = p.Name
		}
	}
	return a
}

// policyName is the name of what bindings name by an id.
func (x *exchange) policyName(bound string) string {
	if p, ok := x.call.Root.Policy(bound); ok {
		return p.Name
	}
	return bound
}
