package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/raftkms/raftkms/server/wire"
)

// Who may do what, as administrators see it.
type (
	// User is a user of the account.
	User = wire.User
	// Group is users who share policies.
	Group = wire.Group
	// Project is a project of the account.
	Project = wire.Project
	// Account is a tenant of the cluster.
	Account = wire.Domain
	// NewAccount is an account that was just made, with the secrets of its
	// first administrator, which are told this once.
	NewAccount = wire.CreateAccountReply
	// AccessKey is an access key; its secret is told once, when it is made.
	AccessKey = wire.Credential
	// MFADevice is a user's second factor; its seed is told once, when it is handed out.
	MFADevice = wire.MFADevice
	// Assignment says where a policy holds, and for whom.
	Assignment = wire.Assignment
	// Policy is a policy of the account or of the system.
	Policy = wire.Policy
	// Explanation says whether a user may do something, and why.
	Explanation = wire.Explanation
	// Changes are what is to change; what is nil stays.
	Changes = wire.Changes
)

// Identities administers who may do what: in the caller's account and, for
// those of the first account who may, the accounts themselves.
type Identities struct{ c *Client }

// Identities returns the administration of who may do what.
func (c *Client) Identities() Identities { return Identities{c} }

// at is a path of segments below /v3, or of another root.
func at(segments ...string) string {
	path := ""
	for _, segment := range segments {
		path += "/" + segment
	}
	return path
}

const (
	identityRoot   = "v3"
	policyRoot     = "v3.0/OS-ROLE/roles"
	credentialRoot = "v3.0/OS-CREDENTIAL/credentials"
	mfaRoot        = "v3.0/OS-MFA"
)

func (i Identities) ask(ctx context.Context, path string, query url.Values, reply any) error {
	return i.c.callBy(ctx, how{method: http.MethodGet, path: path, query: query}, again, struct{}{}, reply)
}

func (i Identities) change(ctx context.Context, method, path string, request, reply any) error {
	if request == nil {
		request = struct{}{}
	}
	return i.c.callBy(ctx, how{method: method, path: path}, once, request, reply)
}

// all follows the pages of a list; name, where it is given, asks for that one.
func all[T any](ctx context.Context, i Identities, path, member, name string, query url.Values) ([]T, error) {
	list := []T{}
	if query == nil {
		query = url.Values{}
	}
	if name != "" {
		query.Set("name", name)
	}
	for {
		var page map[string]json.RawMessage
		if err := i.ask(ctx, path, query, &page); err != nil {
			return nil, err
		}
		var some []T
		var links wire.PageLinks
		if err := json.Unmarshal(page[member], &some); err != nil {
			return nil, err
		}
		if text, ok := page["links"]; ok {
			if err := json.Unmarshal(text, &links); err != nil {
				return nil, err
			}
		}
		list = append(list, some...)
		if links.Next == nil {
			return list, nil
		}
		next, err := url.Parse(*links.Next)
		if err != nil {
			return nil, err
		}
		query.Set("marker", next.Query().Get("marker"))
	}
}

// Users lists the users of the account; of a name only that one.
func (i Identities) Users(ctx context.Context, name string) ([]User, error) {
	return all[User](ctx, i, at(identityRoot, "users"), "users", name, nil)
}

// User returns a user by id.
func (i Identities) User(ctx context.Context, id string) (User, error) {
	var reply wire.UserReply
	err := i.ask(ctx, at(identityRoot, "users", id), nil, &reply)
	return reply.User, err
}

// CreateUser makes a user; without a password only access keys and others who
// vouch for it stand for it.
func (i Identities) CreateUser(ctx context.Context, u wire.NewUser) (User, error) {
	var reply wire.UserReply
	err := i.change(ctx, http.MethodPost, at(identityRoot, "users"), map[string]wire.NewUser{"user": u}, &reply)
	return reply.User, err
}

// UpdateUser changes a user. One that is disabled is refused on every node
// when this returns, and so are its access keys and tokens.
func (i Identities) UpdateUser(ctx context.Context, id string, c Changes) (User, error) {
	var reply wire.UserReply
	err := i.change(ctx, http.MethodPatch, at(identityRoot, "users", id), map[string]Changes{"user": c}, &reply)
	return reply.User, err
}

// SetPassword gives a user another password, or with an empty one none. Every
// token of the user ends.
func (i Identities) SetPassword(ctx context.Context, id, password string) error {
	var r wire.PasswordRequest
	r.User.Password = wire.SecretString(password)
	return i.change(ctx, http.MethodPut, at(identityRoot, "users", id, "password"), r, nil)
}

// ChangePassword is for the caller's own password.
func (i Identities) ChangePassword(ctx context.Context, id, old, password string) error {
	var r wire.PasswordRequest
	r.User.Original, r.User.Password = wire.SecretString(old), wire.SecretString(password)
	return i.change(ctx, http.MethodPost, at(identityRoot, "users", id, "password"), r, nil)
}

// UnlockUser ends a lock after too many wrong passwords.
func (i Identities) UnlockUser(ctx context.Context, id string) error {
	return i.change(ctx, http.MethodPost, at(identityRoot, "users", id, "unlock"), nil, nil)
}

// EnrolMFA hands the caller a second factor, which counts once it is bound. It
// takes a token that was got by a password.
func (i Identities) EnrolMFA(ctx context.Context, userID, name string) (MFADevice, error) {
	var r wire.MFADeviceRequest
	r.Device.Name, r.Device.UserID = name, userID
	var reply wire.MFADeviceReply
	err := i.change(ctx, http.MethodPost, at(mfaRoot, "virtual-mfa-devices"), r, &reply)
	return reply.Device, err
}

// BindMFA has the caller's second factor count, by a code of it: from then on
// the password alone gets no token.
func (i Identities) BindMFA(ctx context.Context, userID, serial, code string) error {
	return i.change(ctx, http.MethodPut, at(mfaRoot, "mfa-devices", "bind"), wire.MFABinding{UserID: userID, SerialNumber: serial, First: wire.SecretString(code)}, nil)
}

// UnbindMFA takes the caller's own second factor away, by a code of it. Every
// token of the caller ends.
func (i Identities) UnbindMFA(ctx context.Context, userID, code string) error {
	return i.change(ctx, http.MethodPut, at(mfaRoot, "mfa-devices", "unbind"), wire.MFABinding{UserID: userID, Code: wire.SecretString(code)}, nil)
}

// MFA returns a user's second factor.
func (i Identities) MFA(ctx context.Context, userID string) (MFADevice, error) {
	var reply wire.MFADeviceReply
	err := i.ask(ctx, at(mfaRoot, "users", userID, "virtual-mfa-device"), nil, &reply)
	return reply.Device, err
}

// ResetMFA takes a second factor away that a user has lost. Every token of the
// user ends.
func (i Identities) ResetMFA(ctx context.Context, userID string) error {
	return i.c.callBy(ctx, how{method: http.MethodDelete, path: at(mfaRoot, "virtual-mfa-devices"), query: url.Values{"user_id": {userID}}}, once, struct{}{}, nil)
}

// DeleteUser removes a user with its access keys.
func (i Identities) DeleteUser(ctx context.Context, id string) error {
	return i.change(ctx, http.MethodDelete, at(identityRoot, "users", id), nil, nil)
}

// Groups lists the groups of the account; of a name only that one.
func (i Identities) Groups(ctx context.Context, name string) ([]Group, error) {
	return all[Group](ctx, i, at(identityRoot, "groups"), "groups", name, nil)
}

// GroupsOf lists the groups of a user.
func (i Identities) GroupsOf(ctx context.Context, userID string) ([]Group, error) {
	return all[Group](ctx, i, at(identityRoot, "users", userID, "groups"), "groups", "", nil)
}

// Members lists the users in a group.
func (i Identities) Members(ctx context.Context, groupID string) ([]User, error) {
	return all[User](ctx, i, at(identityRoot, "groups", groupID, "users"), "users", "", nil)
}

// CreateGroup makes a group.
func (i Identities) CreateGroup(ctx context.Context, g wire.NewNamed) (Group, error) {
	var reply wire.GroupReply
	err := i.change(ctx, http.MethodPost, at(identityRoot, "groups"), map[string]wire.NewNamed{"group": g}, &reply)
	return reply.Group, err
}

// UpdateGroup changes a group's name or description.
func (i Identities) UpdateGroup(ctx context.Context, id string, c Changes) (Group, error) {
	var reply wire.GroupReply
	err := i.change(ctx, http.MethodPatch, at(identityRoot, "groups", id), map[string]Changes{"group": c}, &reply)
	return reply.Group, err
}

// DeleteGroup removes a group.
func (i Identities) DeleteGroup(ctx context.Context, id string) error {
	return i.change(ctx, http.MethodDelete, at(identityRoot, "groups", id), nil, nil)
}

// AddMember puts a user into a group.
func (i Identities) AddMember(ctx context.Context, groupID, userID string) error {
	return i.change(ctx, http.MethodPut, at(identityRoot, "groups", groupID, "users", userID), nil, nil)
}

// RemoveMember takes a user out of a group.
func (i Identities) RemoveMember(ctx context.Context, groupID, userID string) error {
	return i.change(ctx, http.MethodDelete, at(identityRoot, "groups", groupID, "users", userID), nil, nil)
}

// Projects lists the projects of the account; of a name only that one.
func (i Identities) Projects(ctx context.Context, name string) ([]Project, error) {
	return all[Project](ctx, i, at(identityRoot, "projects"), "projects", name, nil)
}

// CreateProject makes a project. Clients know its name as a region's.
func (i Identities) CreateProject(ctx context.Context, p wire.NewNamed) (Project, error) {
	var reply wire.ProjectReply
	err := i.change(ctx, http.MethodPost, at(identityRoot, "projects"), map[string]wire.NewNamed{"project": p}, &reply)
	return reply.Project, err
}

// UpdateProject changes a project's description, or disables it.
func (i Identities) UpdateProject(ctx context.Context, id string, c Changes) (Project, error) {
	var reply wire.ProjectReply
	err := i.change(ctx, http.MethodPatch, at(identityRoot, "projects", id), map[string]Changes{"project": c}, &reply)
	return reply.Project, err
}

// DeleteProject removes a project without keys.
func (i Identities) DeleteProject(ctx context.Context, id string) error {
	return i.change(ctx, http.MethodDelete, at(identityRoot, "projects", id), nil, nil)
}

// Accounts lists the accounts of the cluster; of a name only that one.
func (i Identities) Accounts(ctx context.Context, name string) ([]Account, error) {
	return all[Account](ctx, i, at(identityRoot, "domains"), "domains", name, nil)
}

// CreateAccount makes an account with a project and an administrator.
func (i Identities) CreateAccount(ctx context.Context, r wire.CreateAccountRequest) (NewAccount, error) {
	var reply NewAccount
	err := i.change(ctx, http.MethodPost, at(identityRoot, "domains"), r, &reply)
	return reply, err
}

// UpdateAccount changes an account. One that is disabled is refused on every
// node when this returns.
func (i Identities) UpdateAccount(ctx context.Context, id string, c Changes) (Account, error) {
	var reply wire.DomainReply
	err := i.change(ctx, http.MethodPatch, at(identityRoot, "domains", id), map[string]Changes{"domain": c}, &reply)
	return reply.Domain, err
}

// DeleteAccount removes an account without keys, and all that is in it.
func (i Identities) DeleteAccount(ctx context.Context, id string) error {
	return i.change(ctx, http.MethodDelete, at(identityRoot, "domains", id), nil, nil)
}
