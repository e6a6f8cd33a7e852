package command

import "github.com/raftkms/raftkms/fsm/policy"

// Who may do what: accounts, projects, users, groups, policies, access keys.
// All but the commands about accounts are about the caller's own.

// The kinds of write of this file.
const (
	TypeCreateAccount   Type = 90
	TypeUpdateAccount   Type = 91
	TypeDeleteAccount   Type = 92
	TypeCreateProject   Type = 93
	TypeUpdateProject   Type = 94
	TypeDeleteProject   Type = 95
	TypeCreateUser      Type = 96
	TypeUpdateUser      Type = 97
	TypeDeleteUser      Type = 98
	TypeSetPassword     Type = 99
	TypeCreateGroup     Type = 100
	TypeUpdateGroup     Type = 101
	TypeDeleteGroup     Type = 102
	TypeAddMember       Type = 103
	TypeRemoveMember    Type = 104
	TypeCreatePolicy    Type = 105
	TypeUpdatePolicy    Type = 106
	TypeDeletePolicy    Type = 107
	TypeAttachPolicy    Type = 108
	TypeDetachPolicy    Type = 109
	TypeCreateAccessKey Type = 110
	TypeUpdateAccessKey Type = 111
	TypeDeleteAccessKey Type = 112
)

var accountRows = []row{
	{TypeCreateAccount, "create-account", 1, body[CreateAccount]},
	{TypeUpdateAccount, "update-account", 1, body[UpdateAccount]},
	{TypeDeleteAccount, "delete-account", 1, body[DeleteAccount]},
	{TypeCreateProject, "create-project", 1, body[CreateProject]},
	{TypeUpdateProject, "update-project", 1, body[UpdateProject]},
	{TypeDeleteProject, "delete-project", 1, body[DeleteProject]},
	{TypeCreateUser, "create-user", 1, body[CreateUser]},
	{TypeUpdateUser, "update-user", 1, body[UpdateUser]},
	{TypeDeleteUser, "delete-user", 1, body[DeleteUser]},
	{TypeSetPassword, "set-password", 1, body[SetPassword]},
	{TypeCreateGroup, "create-group", 1, body[CreateGroup]},
	{TypeUpdateGroup, "update-group", 1, body[UpdateGroup]},
	{TypeDeleteGroup, "delete-group", 1, body[DeleteGroup]},
	{TypeAddMember, "add-member", 1, body[AddMember]},
	{TypeRemoveMember, "remove-member", 1, body[RemoveMember]},
	{TypeCreatePolicy, "create-policy", 1, body[CreatePolicy]},
	{TypeUpdatePolicy, "update-policy", 1, body[UpdatePolicy]},
	{TypeDeletePolicy, "delete-policy", 1, body[DeletePolicy]},
	{TypeAttachPolicy, "attach-policy", 1, body[AttachPolicy]},
	{TypeDetachPolicy, "detach-policy", 1, body[DetachPolicy]},
	{TypeCreateAccessKey, "create-access-key", 1, body[CreateAccessKey]},
	{TypeUpdateAccessKey, "update-access-key", 1, body[UpdateAccessKey]},
	{TypeDeleteAccessKey, "delete-access-key", 1, body[DeleteAccessKey]},
}

// CreateAccount makes an account with its first project and its first
// administrator, who has every role that an account other than the system one
// can give.
type CreateAccount struct {
	DomainID     string `cbor:"1,keyasint"` // ids are drawn by the answering node
	Name         string `cbor:"2,keyasint"`
	Description  string `cbor:"3,keyasint"`
	ProjectID    string `cbor:"4,keyasint"` // named like the cluster's region
	UserID       string `cbor:"5,keyasint"`
	UserName     string `cbor:"6,keyasint"`
	PasswordHash string `cbor:"7,keyasint"`
	AccessKeyID  string `cbor:"8,keyasint"`
	SealedSecret []byte `cbor:"9,keyasint"`
}

// UpdateAccount sets what can be changed of an account. What it is to keep stays
// as it is where this is applied: the proposer may not have seen the last change.
type UpdateAccount struct {
	DomainID        string `cbor:"1,keyasint"`
	Name            string `cbor:"2,keyasint"`
	Description     string `cbor:"3,keyasint"`
	Enabled         bool   `cbor:"4,keyasint"`
	KeepEnabled     bool   `cbor:"5,keyasint,omitempty"`
	KeepName        bool   `cbor:"6,keyasint,omitempty"`
	KeepDescription bool   `cbor:"7,keyasint,omitempty"`
}

// DeleteAccount removes an account without keys, and all that is in it.
type DeleteAccount struct {
	DomainID string `cbor:"1,keyasint"`
}

// CreateProject makes a project in the caller's account.
type CreateProject struct {
	ID          string `cbor:"1,keyasint"`
	Name        string `cbor:"2,keyasint"`
	Description string `cbor:"3,keyasint"`
}

// UpdateProject sets what can be changed of a project. Its name never changes:
// clients know it as the region's.
type UpdateProject struct {
	ID              string `cbor:"1,keyasint"`
	Description     string `cbor:"2,keyasint"`
	Enabled         bool   `cbor:"3,keyasint"`
	KeepEnabled     bool   `cbor:"4,keyasint,omitempty"` // see [UpdateAccount]
	KeepDescription bool   `cbor:"5,keyasint,omitempty"`
}

// DeleteProject removes a project without keys.
type DeleteProject struct {
	ID string `cbor:"1,keyasint"`
}

// CreateUser makes a user in the caller's account. Fenced: a certificate that
// names another user, too, is believed no more.
type CreateUser struct {
	ID           string `cbor:"1,keyasint"`
	Name         string `cbor:"2,keyasint"`
	Description  string `cbor:"3,keyasint"`
	PasswordHash string `cbor:"4,keyasint"`
	Service      string `cbor:"5,keyasint,omitempty"` // see state.User
	Disabled     bool   `cbor:"6,keyasint,omitempty"`
}

// UpdateUser sets what can be changed of a user. Fenced: it may disable it.
type UpdateUser struct {
	ID              string `cbor:"1,keyasint"`
	Name            string `cbor:"2,keyasint"`
	Description     string `cbor:"3,keyasint"`
	Enabled         bool   `cbor:"4,keyasint"`
	KeepEnabled     bool   `cbor:"5,keyasint,omitempty"` // see [UpdateAccount]
	KeepName        bool   `cbor:"6,keyasint,omitempty"`
	KeepDescription bool   `cbor:"7,keyasint,omitempty"`
}

// DeleteUser removes a user with its access keys. Fenced.
type DeleteUser struct {
	ID string `cbor:"1,keyasint"`
}

// SetPassword gives a user another password, or with an empty hash none. Fenced.
type SetPassword struct {
	UserID string `cbor:"1,keyasint"`
	Hash   string `cbor:"2,keyasint"`
}

// CreateGroup makes a group without members or bindings. Fenced: a token that
// names it may name too many now.
type CreateGroup struct {
	ID          string `cbor:"1,keyasint"`
	Name        string `cbor:"2,keyasint"`
	Description string `cbor:"3,keyasint"`
}

// UpdateGroup sets what can be changed of a group. Fenced: tokens name groups.
type UpdateGroup struct {
	ID              string `cbor:"1,keyasint"`
	Name            string `cbor:"2,keyasint"`
	Description     string `cbor:"3,keyasint"`
	KeepName        bool   `cbor:"4,keyasint,omitempty"` // see [UpdateAccount]
	KeepDescription bool   `cbor:"5,keyasint,omitempty"`
}

// DeleteGroup removes a group; its members lose what it gave them. Fenced.
type DeleteGroup struct {
	ID string `cbor:"1,keyasint"`
}

// AddMember puts a user into a group. Fenced: the group may deny.
type AddMember struct {
	GroupID string `cbor:"1,keyasint"`
	UserID  string `cbor:"2,keyasint"`
}

// RemoveMember takes a user out of a group. Fenced.
type RemoveMember struct {
	GroupID string `cbor:"1,keyasint"`
	UserID  string `cbor:"2,keyasint"`
}

// CreatePolicy makes a custom policy, which is bound nowhere yet.
type CreatePolicy struct {
	ID          string          `cbor:"1,keyasint"`
	Name        string          `cbor:"2,keyasint"`
	Description string          `cbor:"3,keyasint"`
	Document    policy.Document `cbor:"4,keyasint"`
}

// UpdatePolicy sets what can be changed of a policy. Fenced.
type UpdatePolicy struct {
	ID          string          `cbor:"1,keyasint"`
	Name        string          `cbor:"2,keyasint"`
	Description string          `cbor:"3,keyasint"`
	Document    policy.Document `cbor:"4,keyasint"`
}

// DeletePolicy removes a policy that is bound nowhere. Fenced.
type DeletePolicy struct {
	ID string `cbor:"1,keyasint"`
}

// Binding says that a policy holds for a user or a group.
type Binding struct {
	UserID    string `cbor:"1,keyasint,omitempty"` // one of the two
	GroupID   string `cbor:"2,keyasint,omitempty"`
	Policy    string `cbor:"3,keyasint"`           // name of a system policy or id of a custom one
	ProjectID string `cbor:"4,keyasint,omitempty"` // empty: the account and every project of it
}

// AttachPolicy makes a binding. Fenced: the policy may deny.
type AttachPolicy struct {
	Binding Binding `cbor:"1,keyasint"`
}

// DetachPolicy takes a binding away. Fenced.
type DetachPolicy struct {
	Binding Binding `cbor:"1,keyasint"`
}

// CreateAccessKey gives a user one more access key.
type CreateAccessKey struct {
	ID           string `cbor:"1,keyasint"` // the AK
	UserID       string `cbor:"2,keyasint"`
	SealedSecret []byte `cbor:"3,keyasint"`
	Description  string `cbor:"4,keyasint"`
}

// UpdateAccessKey sets what can be changed of an access key. Fenced: it may
// disable it.
type UpdateAccessKey struct {
	ID              string `cbor:"1,keyasint"`
	Description     string `cbor:"2,keyasint"`
	Enabled         bool   `cbor:"3,keyasint"`
	KeepEnabled     bool   `cbor:"4,keyasint,omitempty"` // see [UpdateAccount]
	KeepDescription bool   `cbor:"5,keyasint,omitempty"`
}

// DeleteAccessKey removes an access key. Fenced.
type DeleteAccessKey struct {
	ID string `cbor:"1,keyasint"`
}

func (CreateAccount) Type() Type   { return TypeCreateAccount }
func (UpdateAccount) Type() Type   { return TypeUpdateAccount }
func (DeleteAccount) Type() Type   { return TypeDeleteAccount }
func (CreateProject) Type() Type   { return TypeCreateProject }
func (UpdateProject) Type() Type   { return TypeUpdateProject }
func (DeleteProject) Type() Type   { return TypeDeleteProject }
func (CreateUser) Type() Type      { return TypeCreateUser }
func (UpdateUser) Type() Type      { return TypeUpdateUser }
func (DeleteUser) Type() Type      { return TypeDeleteUser }
func (SetPassword) Type() Type     { return TypeSetPassword }
func (CreateGroup) Type() Type     { return TypeCreateGroup }
func (UpdateGroup) Type() Type     { return TypeUpdateGroup }
func (DeleteGroup) Type() Type     { return TypeDeleteGroup }
func (AddMember) Type() Type       { return TypeAddMember }
func (RemoveMember) Type() Type    { return TypeRemoveMember }
func (CreatePolicy) Type() Type    { return TypeCreatePolicy }
func (UpdatePolicy) Type() Type    { return TypeUpdatePolicy }
func (DeletePolicy) Type() Type    { return TypeDeletePolicy }
func (AttachPolicy) Type() Type    { return TypeAttachPolicy }
func (DetachPolicy) Type() Type    { return TypeDetachPolicy }
func (CreateAccessKey) Type() Type { return TypeCreateAccessKey }
func (UpdateAccessKey) Type() Type { return TypeUpdateAccessKey }
func (DeleteAccessKey) Type() Type { return TypeDeleteAccessKey }
