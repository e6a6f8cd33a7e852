package keystone

import (
	"context"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// userOf is a user as administrators read it.
func (x *exchange) userOf(u *state.User) wire.User {
	shown := wire.User{
		ID: u.ID, Name: u.Name, DomainID: u.DomainID, Description: u.Description, Service: u.Service, Enabled: u.Enabled,
		HasPassword: u.PasswordHash != "", Links: wire.SelfLinks{Self: x.URL + "/v3/users/" + u.ID},
	}
	shown.HasMFA = x.factorOf(u) != nil
	if u.LockedUntil > x.now() {
		shown.LockedUntil = isoTime(u.LockedUntil)
	}
	return shown
}

// findUser returns a user of the caller's account.
func (x *exchange) findUser(id string) (*state.User, error) {
	u, ok := x.call.Root.User(id)
	if !ok || u.DomainID != x.account {
		return nil, kms.Refuse(kms.KindNotFound, "the account has no such user")
	}
	return u, nil
}

func listUsers(_ context.Context, x *exchange) (any, error) {
	root := x.call.Root
	return page(x, "users",
		func(after string, limit int) []*state.User { return root.Users(x.account, after, limit) },
		func(name string) (*state.User, bool) { return root.UserByName(x.account, name) },
		func(u *state.User) string { return u.Name }, func(u *state.User) any { return x.userOf(u) })
}

func showUser(_ context.Context, x *exchange) (any, error) {
	u, err := x.findUser(x.path("user_id"))
	if err != nil {
		return nil, err
	}
	x.call.AboutResource(u.ID, u.Name)
	return wire.UserReply{User: x.userOf(u)}, nil
}

func createUser(ctx context.Context, x *exchange) (any, error) {
	var req struct {
		User struct {
			wire.NewNamed
			Password wire.SecretString `json:"password"`
			Service  string            `json:"service"`
			Enabled  *bool             `json:"enabled"`
		} `json:"user"`
	}
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	asked, hash := req.User, ""
	if asked.Password != "" {
		var err error
		if hash, err = x.hash(ctx, string(asked.Password)); err != nil {
			return nil, err
		}
	}
	b := command.CreateUser{
		ID: newID(), Name: asked.Name, Description: asked.Description, PasswordHash: hash, Service: asked.Service,
		Disabled: asked.Enabled != nil && !*asked.Enabled,
	}
	if err := x.change(ctx, b, "", b.Name, b.Description, b.Service, meaningOf(asked.Enabled)); err != nil {
		return nil, err
	}
	x.call.AboutResource(b.ID, b.Name)
	return wire.UserReply{User: x.userOf(&state.User{
		ID: b.ID, Name: b.Name, DomainID: x.account, Description: b.Description, Service: b.Service, Enabled: !b.Disabled, PasswordHash: hash,
	})}, nil
}

// updateUser changes a user. A password comes by itself: it ends every session
// of the user, and takes a permission of its own.
func updateUser(ctx context.Context, x *exchange) (any, error) {
	var req struct {
		User struct {
			wire.Changes
			Password *wire.SecretString `json:"password"`
		} `json:"user"`
	}
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	old, err := x.findUser(x.path("user_id"))
	if err != nil {
		return nil, err
	}
	asked := req.User.Changes
	if given := req.User.Password; given != nil {
		if asked != (wire.Changes{}) {
			return nil, &refusal{400, "IAM.0011", "A password is changed by a request that changes nothing else."}
		}
		return wire.UserReply{User: x.userOf(old)}, x.givePassword(ctx, old, string(*given))
	}
	b := command.UpdateUser{
		ID: old.ID, Name: old.Name, Description: old.Description, Enabled: old.Enabled,
		KeepEnabled: asked.Enabled == nil, KeepName: asked.Name == nil, KeepDescription: asked.Description == nil,
	}
	set(&b.Name, asked.Name)
	set(&b.Description, asked.Description)
	x.setEnabled(&b.Enabled, asked.Enabled)
	if err := x.change(ctx, b, b.ID, b.Name, b.Description, meaningOf(asked.Enabled)); err != nil {
		return nil, err
	}
	changed := *old
	changed.Name, changed.Description, changed.Enabled = b.Name, b.Description, b.Enabled
	return wire.UserReply{User: x.userOf(&changed)}, nil
}

func deleteUser(ctx context.Context, x *exchange) (any, error) {
	id := x.path("user_id")
	return nil, x.change(ctx, command.DeleteUser{ID: id}, id, "")
}

// setPassword answers PUT /v3/users/{user_id}/password: an administrator gives
// a user another password or, with an empty one, none.
func setPassword(ctx context.Context, x *exchange) (any, error) {
	var req wire.PasswordRequest
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	u, err := x.findUser(x.path("user_id"))
	if err != nil {
		return nil, err
	}
	return nil, x.givePassword(ctx, u, string(req.User.Password))
}

func (x *exchange) givePassword(ctx context.Context, u *state.User, password string) error {
	hash := ""
	if password != "" {
		var err error
		if hash, err = x.hash(ctx, password); err != nil {
			return err
		}
	}
	x.call.Asked().Flag("password", hash != "")
	return x.change(ctx, command.SetPassword{UserID: u.ID, Hash: hash}, u.ID, u.Name, x.requestID)
}

// unlockUser answers POST /v3/users/{user_id}/unlock: a lock after too many
// wrong passwords ends before its time.
func unlockUser(ctx context.Context, x *exchange) (any, error) {
	u, err := x.findUser(x.path("user_id"))
	if err != nil {
		return nil, err
	}
	if err := x.change(ctx, command.UnlockUser{UserID: u.ID}, u.ID, u.Name); err != nil {
		return nil, err
	}
	return nil, nil
}
