package keystone

import (
	"context"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// groupOf is a group as administrators read it.
func (x *exchange) groupOf(g *state.Group) wire.Group {
	return wire.Group{
		ID: g.ID, Name: g.Name, DomainID: g.DomainID, Description: g.Description, Links: wire.SelfLinks{Self: x.URL + "/v3/groups/" + g.ID},
	}
}

// findGroup returns a group of the caller's account.
func (x *exchange) findGroup(id string) (*state.Group, error) {
	g, ok := x.call.Root.Group(id)
	if !ok || g.DomainID != x.account {
		return nil, kms.Refuse(kms.KindNotFound, "the account has no such group")
	}
	return g, nil
}

func listGroups(_ context.Context, x *exchange) (any, error) {
	root := x.call.Root
	return page(x, "groups",
		func(after string, limit int) []*state.Group { return root.Groups(x.account, after, limit) },
		func(name string) (*state.Group, bool) { return root.GroupByName(x.account, name) },
		func(g *state.Group) string { return g.Name }, func(g *state.Group) any { return x.groupOf(g) })
}

// listGroupsOf answers GET /v3/users/{user_id}/groups.
func listGroupsOf(_ context.Context, x *exchange) (any, error) {
	u, err := x.findUser(x.path("user_id"))
	if err != nil {
		return nil, err
	}
	x.call.AboutResource(u.ID, u.Name)
	shown := []wire.Group{}
	for _, id := range u.Groups { // few: fsm bounds them
		if g, ok := x.call.Root.Group(id); ok {
			shown = append(shown, x.groupOf(g))
		}
	}
	return map[string]any{"groups": shown, "links": wire.PageLinks{Self: x.URL + string(x.rc.Path())}}, nil
}

func showGroup(_ context.Context, x *exchange) (any, error) {
	g, err := x.findGroup(x.path("group_id"))
	if err != nil {
		return nil, err
	}
	x.call.AboutResource(g.ID, g.Name)
	return wire.GroupReply{Group: x.groupOf(g)}, nil
}

func createGroup(ctx context.Context, x *exchange) (any, error) {
	var req struct {
		Group wire.NewNamed `json:"group"`
	}
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	b := command.CreateGroup{ID: newID(), Name: req.Group.Name, Description: req.Group.Description}
	if err := x.change(ctx, b, "", b.Name, b.Description); err != nil {
		return nil, err
	}
	x.call.AboutResource(b.ID, b.Name)
	return wire.GroupReply{Group: x.groupOf(&state.Group{ID: b.ID, Name: b.Name, DomainID: x.account, Description: b.Description})}, nil
}

func updateGroup(ctx context.Context, x *exchange) (any, error) {
	var req struct {
		Group wire.Changes `json:"group"`
	}
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	old, err := x.findGroup(x.path("group_id"))
	if err != nil {
		return nil, err
	}
	b := command.UpdateGroup{
		ID: old.ID, Name: old.Name, Description: old.Description, KeepName: req.Group.Name == nil, KeepDescription: req.Group.Description == nil,
	}
	set(&b.Name, req.Group.Name)
	set(&b.Description, req.Group.Description)
	if err := x.change(ctx, b, b.ID, b.Name, b.Description); err != nil {
		return nil, err
	}
	return wire.GroupReply{Group: x.groupOf(&state.Group{ID: b.ID, Name: b.Name, DomainID: x.account, Description: b.Description})}, nil
}

func deleteGroup(ctx context.Context, x *exchange) (any, error) {
	id := x.path("group_id")
	return nil, x.change(ctx, command.DeleteGroup{ID: id}, id, "")
}

// listMembers answers GET /v3/groups/{group_id}/users. Pages follow the ids of
// the users, not their names.
func listMembers(_ context.Context, x *exchange) (any, error) {
	g, err := x.findGroup(x.path("group_id"))
	if err != nil {
		return nil, err
	}
	x.call.AboutResource(g.ID, g.Name)
	return page(x, "users",
		func(after string, limit int) []*state.User { return x.call.Root.Members(g.ID, after, limit) }, nil,
		func(u *state.User) string { return u.ID }, func(u *state.User) any { return x.userOf(u) })
}

// checkMember answers HEAD /v3/groups/{group_id}/users/{user_id}.
func checkMember(_ context.Context, x *exchange) (any, error) {
	g, err := x.findGroup(x.path("group_id"))
	if err != nil {
		return nil, err
	}
	u, err := x.findUser(x.path("user_id"))
	if err != nil {
		return nil, err
	}
	x.call.AboutResource(g.ID, g.Name)
	for _, id := range u.Groups {
		if id == g.ID {
			return nil, nil
		}
	}
	return nil, kms.Refuse(kms.KindNotFound, "the user is not in the group")
}

func addMember(ctx context.Context, x *exchange) (any, error) {
	group, user := x.path("group_id"), x.path("user_id")
	x.call.Asked().Text("user_id", user)
	return nil, x.change(ctx, command.AddMember{GroupID: group, UserID: user}, group, "", user)
}

func removeMember(ctx context.Context, x *exchange) (any, error) {
	group, user := x.path("group_id"), x.path("user_id")
	x.call.Asked().Text("user_id", user)
	return nil, x.change(ctx, command.RemoveMember{GroupID: group, UserID: user}, group, "", user)
}
