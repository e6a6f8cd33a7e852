package keystone

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/kms"
)

// The administration of an account: users, groups, policies, access keys,
// projects. Everything is of the caller's account; what is another's is not
// found, as what does not exist.
var (
	CreateProject   = Endpoint{kms.OpCreateProject, 201, admin(createProject)}
	DeleteProject   = Endpoint{kms.OpDeleteProject, 204, admin(deleteProject)}
	ListUsers       = Endpoint{kms.OpListUsers, 200, admin(listUsers)}
	CreateUser      = Endpoint{kms.OpCreateUser, 201, admin(createUser)}
	UpdateUser      = Endpoint{kms.OpUpdateUser, 200, admin(updateUser)}
	DeleteUser      = Endpoint{kms.OpDeleteUser, 204, admin(deleteUser)}
	ListGroups      = Endpoint{kms.OpListGroups, 200, admin(listGroups)}
	CreateGroup     = Endpoint{kms.OpCreateGroup, 201, admin(createGroup)}
	DeleteGroup     = Endpoint{kms.OpDeleteGroup, 204, admin(deleteGroup)}
	ListMembers     = Endpoint{kms.OpListUsers, 200, admin(listMembers)}
	AddMember       = Endpoint{kms.OpAddMember, 204, admin(addMember)}
	RemoveMember    = Endpoint{kms.OpRemoveMember, 204, admin(removeMember)}
	ListPolicies    = Endpoint{kms.OpListPolicies, 200, admin(listPolicies)}
	CreatePolicy    = Endpoint{kms.OpCreatePolicy, 201, admin(createPolicy)}
	UpdatePolicy    = Endpoint{kms.OpUpdatePolicy, 200, admin(updatePolicy)}
	DeletePolicy    = Endpoint{kms.OpDeletePolicy, 200, admin(deletePolicy)}
	AttachPolicy    = Endpoint{kms.OpAttachPolicy, 204, admin(attachPolicy)}
	DetachPolicy    = Endpoint{kms.OpDetachPolicy, 204, admin(detachPolicy)}
	ListAccessKeys  = Endpoint{kms.OpListAccessKeys, 200, admin(listAccessKeys)}
	CreateAccessKey = Endpoint{kms.OpCreateAccessKey, 201, admin(createAccessKey)}
	UpdateAccessKey = Endpoint{kms.OpUpdateAccessKey, 200, admin(updateAccessKey)}
	DeleteAccessKey = Endpoint{kms.OpDeleteAccessKey, 204, admin(deleteAccessKey)}
)

// pageSize is how many records one answer lists; marker is the name after
// which the next page begins.
const pageSize = 1000

// named is a request's or an answer's user, group or project.
type named struct {
	ID          string `json:"id,omitempty"`
	Name        string `json:"name"`
	DomainID    string `json:"domain_id,omitempty"`
	Description string `json:"description"`
	Password    string `json:"password,omitempty"` // in requests only
	Service     string `json:"service,omitempty"`
	Enabled     *bool  `json:"enabled,omitempty"`
}

func newID() string {
	var raw [16]byte
	rand.Read(raw[:])
	return hex.EncodeToString(raw[:])
}

func newText(n int) string {
	raw := make([]byte, n)
	rand.Read(raw)
	return base32.StdEncoding.EncodeToString(raw)[:n]
}

func flag(b bool) *bool { return &b }

// admin has an operation done for those who may do it: nobody else is told
// anything, not even what is wrong with their request.
func admin(do func(ctx context.Context, x *exchange) (any, error)) func(ctx context.Context, x *exchange) (any, error) {
	return func(ctx context.Context, x *exchange) (any, error) {
		if _, err := x.identify(ctx); err != nil {
			return nil, err
		}
		var err error
		if x.account, err = x.Service.ReadAccount(x.call); err != nil {
			return nil, err
		}
		return do(ctx, x)
	}
}

// change proposes a change.
func (x *exchange) change(ctx context.Context, body command.Body, id, name string, meaning ...string) error {
	return x.Service.Administer(ctx, x.call, body, id, name, append([]string{id, name}, meaning...)...)
}

func (x *exchange) marker() string { return string(x.rc.QueryArgs().Peek("marker")) }

func createProject(ctx context.Context, x *exchange) (any, error) {
	var req struct {
		Project named `json:"project"`
	}
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	p := req.Project
	p.ID, p.Enabled = newID(), flag(true)
	return map[string]named{"project": p}, x.change(ctx, command.CreateProject{ID: p.ID, Name: p.Name, Description: p.Description}, "", p.Name, p.Description)
}

func deleteProject(ctx context.Context, x *exchange) (any, error) {
	id := x.path("project_id")
	return nil, x.change(ctx, command.DeleteProject{ID: id}, id, "")
}

func listUsers(_ context.Context, x *exchange) (any, error) {
	return map[string]any{"users": showUsers(x.call.Root.Users(x.account, x.marker(), pageSize))}, nil
}

func showUsers(users []*state.User) []named {
	shown := make([]named, 0, len(users))
	for _, u := range users {
		shown = append(shown, named{ID: u.ID, Name: u.Name, DomainID: u.DomainID, Description: u.Description, Service: u.Service, Enabled: flag(u.Enabled)})
	}
	return shown
}

func createUser(ctx context.Context, x *exchange) (any, error) {
	var req struct {
		User named `json:"user"`
	}
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	u, hash := req.User, ""
	if u.Password != "" {
		if err := iam.CheckNew(u.Password); err != nil {
			return nil, err
		}
		var err error
		if hash, err = x.Passwords.Hash(ctx, u.Password); err != nil {
			return nil, err
		}
	}
	disabled := u.Enabled != nil && !*u.Enabled
	body := command.CreateUser{ID: newID(), Name: u.Name, Description: u.Description, PasswordHash: hash, Service: u.Service, Disabled: disabled}
	u.ID, u.Password, u.Enabled = body.ID, "", flag(!disabled)
	return map[string]named{"user": u}, x.change(ctx, body, "", u.Name, u.Description, u.Service)
}

func updateUser(ctx context.Context, x *exchange) (any, error) {
	var req struct {
		User struct {
			Name, Description *string
			Enabled           *bool
		} `json:"user"`
	}
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	body := command.UpdateUser{ID: x.path("user_id"), Name: "unknown"}
	if old, ok := x.call.Root.User(body.ID); ok {
		body.Name, body.Description, body.Enabled = old.Name, old.Description, old.Enabled
	}
	set(&body.Name, req.User.Name)
	set(&body.Description, req.User.Description)
	set(&body.Enabled, req.User.Enabled)
	if err := x.change(ctx, body, body.ID, body.Name, body.Description); err != nil {
		return nil, err
	}
	return map[string]named{"user": {ID: body.ID, Name: body.Name, Description: body.Description, Enabled: flag(body.Enabled)}}, nil
}

// set takes what a request gives.
func set[T any](to, given *T) {
	if given != nil {
		*to = *given
	}
}

func deleteUser(ctx context.Context, x *exchange) (any, error) {
	id := x.path("user_id")
	return nil, x.change(ctx, command.DeleteUser{ID: id}, id, "")
}

func listGroups(_ context.Context, x *exchange) (any, error) {
	shown := []named{}
	for _, g := range x.call.Root.Groups(x.account, x.marker(), pageSize) {
		shown = append(shown, named{ID: g.ID, Name: g.Name, DomainID: g.DomainID, Description: g.Description})
	}
	return map[string]any{"groups": shown}, nil
}

func createGroup(ctx context.Context, x *exchange) (any, error) {
	var req struct {
		Group named `json:"group"`
	}
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	g := req.Group
	g.ID = newID()
	return map[string]named{"group": g}, x.change(ctx, command.CreateGroup{ID: g.ID, Name: g.Name, Description: g.Description}, "", g.Name, g.Description)
}

func deleteGroup(ctx context.Context, x *exchange) (any, error) {
	id := x.path("group_id")
	return nil, x.change(ctx, command.DeleteGroup{ID: id}, id, "")
}

func listMembers(_ context.Context, x *exchange) (any, error) {
	group, ok := x.call.Root.Group(x.path("group_id"))
	if !ok || group.DomainID != x.account {
		return nil, kms.Refuse(kms.KindNotFound, "the account has no such group")
	}
	return map[string]any{"users": showUsers(x.call.Root.Members(group.ID, x.marker(), pageSize))}, nil
}

func addMember(ctx context.Context, x *exchange) (any, error) {
	group, user := x.path("group_id"), x.path("user_id")
	return nil, x.change(ctx, command.AddMember{GroupID: group, UserID: user}, group, "", user)
}

func removeMember(ctx context.Context, x *exchange) (any, error) {
	group, user := x.path("group_id"), x.path("user_id")
	return nil, x.change(ctx, command.RemoveMember{GroupID: group, UserID: user}, group, "", user)
}

// shownPolicy is a policy in the wrapper of the vendor's API.
type shownPolicy struct {
	ID          string       `json:"id"` // of a system policy: its name
	DisplayName string       `json:"display_name"`
	Type        string       `json:"type"` // AX: system or of the account
	Description string       `json:"description"`
	DomainID    string       `json:"domain_id,omitempty"`
	Policy      wireDocument `json:"policy"`
}

func listPolicies(_ context.Context, x *exchange) (any, error) {
	shown := []shownPolicy{}
	if x.marker() == "" {
		for _, p := range policy.SystemPolicies() {
			shown = append(shown, shownPolicy{ID: p.Name, DisplayName: p.Name, Type: "AX", Description: p.Description, Policy: showDocument(&p.Document)})
		}
	}
	for _, p := range x.call.Root.Policies(x.account, x.marker(), pageSize) {
		shown = append(shown, shownPolicy{ID: p.ID, DisplayName: p.Name, Type: "AX", Description: p.Description, DomainID: p.DomainID, Policy: showDocument(&p.Document)})
	}
	return map[string]any{"roles": shown}, nil
}

func (x *exchange) policyBody() (name, description string, d policy.Document, err error) {
	var req struct {
		Role struct {
			DisplayName string          `json:"display_name"`
			Description string          `json:"description"`
			Policy      json.RawMessage `json:"policy"`
		} `json:"role"`
	}
	if err := x.decode(&req); err != nil {
		return "", "", d, err
	}
	if d, err = parseDocument(req.Role.Policy); err != nil {
		return "", "", d, &refusal{400, "IAM.0011", err.Error() + "."}
	}
	return req.Role.DisplayName, req.Role.Description, d, nil
}

func createPolicy(ctx context.Context, x *exchange) (any, error) {
	name, description, d, err := x.policyBody()
	if err != nil {
		return nil, err
	}
	b := command.CreatePolicy{ID: newID(), Name: name, Description: description, Document: d}
	shown := shownPolicy{ID: b.ID, DisplayName: name, Type: "AX", Description: description, Policy: showDocument(&d)}
	return map[string]any{"role": shown}, x.change(ctx, b, "", name, description)
}

func updatePolicy(ctx context.Context, x *exchange) (any, error) {
	name, description, d, err := x.policyBody()
	if err != nil {
		return nil, err
	}
	b := command.UpdatePolicy{ID: x.path("role_id"), Name: name, Description: description, Document: d}
	shown := shownPolicy{ID: b.ID, DisplayName: name, Type: "AX", Description: description, Policy: showDocument(&d)}
	return map[string]any{"role": shown}, x.change(ctx, b, b.ID, name, description)
}

func deletePolicy(ctx context.Context, x *exchange) (any, error) {
	id := x.path("role_id")
	return nil, x.change(ctx, command.DeletePolicy{ID: id}, id, "")
}

// binding reads an assignment from the path: the policy, to a user or a group,
// in a project or, with the account's id, in the account and all its projects.
func (x *exchange) binding() command.Binding {
	return command.Binding{UserID: x.path("user_id"), GroupID: x.path("group_id"), Policy: x.path("role_id"), ProjectID: x.path("project_id")}
}

func (x *exchange) bind(ctx context.Context, body command.Body, b command.Binding) error {
	if b.ProjectID == "" && x.path("domain_id") != x.account {
		return kms.Refuse(kms.KindNotFound, "there is no such account")
	}
	return x.Service.Administer(ctx, x.call, body, b.Policy, "", b.UserID, b.GroupID, b.Policy, b.ProjectID)
}

func attachPolicy(ctx context.Context, x *exchange) (any, error) {
	b := x.binding()
	return nil, x.bind(ctx, command.AttachPolicy{Binding: b}, b)
}

func detachPolicy(ctx context.Context, x *exchange) (any, error) {
	b := x.binding()
	return nil, x.bind(ctx, command.DetachPolicy{Binding: b}, b)
}

// shownKey is an access key; the secret is shown once, when it is made.
type shownKey struct {
	Access      string `json:"access"`
	Secret      string `json:"secret,omitempty"`
	UserID      string `json:"user_id"`
	Status      string `json:"status"` // active or inactive
	Description string `json:"description"`
	CreateTime  string `json:"create_time,omitempty"`
	LastUseTime string `json:"last_use_time,omitempty"`
}

func status(enabled bool) string {
	if enabled {
		return "active"
	}
	return "inactive"
}

func isoTime(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000000Z") }

func listAccessKeys(_ context.Context, x *exchange) (any, error) {
	root, shown := x.call.Root, []shownKey{}
	user, ok := root.User(string(x.rc.QueryArgs().Peek("user_id")))
	if !ok || user.DomainID != x.account {
		return nil, kms.Refuse(kms.KindNotFound, "the account has no such user")
	}
	for _, a := range root.AccessKeysOf(user.ID) {
		k := shownKey{Access: a.ID, UserID: a.UserID, Status: status(a.Enabled), Description: a.Description, CreateTime: isoTime(a.Created)}
		if used, ok := root.Access(a.ID); ok {
			k.LastUseTime = isoTime(used.Last)
		}
		shown = append(shown, k)
	}
	return map[string]any{"credentials": shown}, nil
}

func createAccessKey(ctx context.Context, x *exchange) (any, error) {
	var req struct {
		Credential struct {
			UserID      string `json:"user_id"`
			Description string `json:"description"`
		} `json:"credential"`
	}
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	k := shownKey{Access: newText(20), Secret: newText(40), UserID: req.Credential.UserID, Status: status(true), Description: req.Credential.Description}
	sealed, err := x.SealSecret(ctx, x.call.Root, k.Access, []byte(k.Secret))
	if err != nil {
		return nil, err
	}
	body := command.CreateAccessKey{ID: k.Access, UserID: k.UserID, SealedSecret: sealed, Description: k.Description}
	return map[string]shownKey{"credential": k}, x.change(ctx, body, "", "", k.UserID, k.Description)
}

func updateAccessKey(ctx context.Context, x *exchange) (any, error) {
	var req struct {
		Credential struct {
			Status      *string `json:"status"`
			Description *string `json:"description"`
		} `json:"credential"`
	}
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	body := command.UpdateAccessKey{ID: x.path("access_key")}
	if old, ok := x.call.Root.AccessKey(body.ID); ok {
		body.Description, body.Enabled = old.Description, old.Enabled
	}
	set(&body.Description, req.Credential.Description)
	if s := req.Credential.Status; s != nil {
		body.Enabled = *s == status(true)
		if !body.Enabled && *s != status(false) {
			return nil, &refusal{400, "IAM.0011", "The status is neither active nor inactive."}
		}
	}
	k := shownKey{Access: body.ID, Status: status(body.Enabled), Description: body.Description}
	return map[string]shownKey{"credential": k}, x.change(ctx, body, body.ID, "", k.Status, k.Description)
}

func deleteAccessKey(ctx context.Context, x *exchange) (any, error) {
	id := x.path("access_key")
	return nil, x.change(ctx, command.DeleteAccessKey{ID: id}, id, "")
}
