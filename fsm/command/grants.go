package command

import "github.com/raftkms/raftkms/fsm/state"

// Grants: leave to use one key, given to a user or to an account.

// The kinds of write of this file.
const (
	TypeCreateGrant Type = 55
	TypeRevokeGrant Type = 56
	TypeRetireGrant Type = 57
)

var grantRows = []row{
	{TypeCreateGrant, "create-grant", 1, body[CreateGrant]},
	{TypeRevokeGrant, "revoke-grant", 1, body[RevokeGrant]},
	{TypeRetireGrant, "retire-grant", 1, body[RetireGrant]},
}

// CreateGrant gives somebody leave to use a key. It only adds.
type CreateGrant struct {
	GrantID    string           `cbor:"1,keyasint"` // drawn by the answering node
	KeyID      string           `cbor:"2,keyasint"` // of whatever project
	Grantee    string           `cbor:"3,keyasint"` // a user's id, or an account's
	ToAccount  bool             `cbor:"4,keyasint"` // whether Grantee is an account
	Operations state.GrantedOps `cbor:"5,keyasint"`
	Retiring   string           `cbor:"6,keyasint"` // who may retire it besides; empty: nobody
	Name       string           `cbor:"7,keyasint"`
}

// RevokeGrant ends a grant, by who looks after the key or made the grant. Fenced.
type RevokeGrant struct {
	ProjectID string `cbor:"1,keyasint"` // of the key
	KeyID     string `cbor:"2,keyasint"`
	GrantID   string `cbor:"3,keyasint"`
}

// RetireGrant ends a grant, by who made it, has it or was named in it. Fenced.
type RetireGrant RevokeGrant

// AboutGrant is a body that says which grant it ends. Apply authorises the
// caller on that very grant.
type AboutGrant interface {
	Body
	AboutGrant() (grantID string)
}

func (CreateGrant) Type() Type { return TypeCreateGrant }
func (RevokeGrant) Type() Type { return TypeRevokeGrant }
func (RetireGrant) Type() Type { return TypeRetireGrant }

// AboutKey implements [AboutKey].
func (b CreateGrant) AboutKey() string { return b.KeyID }

// AboutKey implements [AboutKey].
func (b RevokeGrant) AboutKey() string { return b.KeyID }

// AboutKey implements [AboutKey].
func (b RetireGrant) AboutKey() string { return b.KeyID }

// AboutGrant implements [AboutGrant].
func (b RevokeGrant) AboutGrant() string { return b.GrantID }

// AboutGrant implements [AboutGrant].
func (b RetireGrant) AboutGrant() string { return b.GrantID }

// Scope implements [Scoped].
func (b RevokeGrant) Scope() (projectID, keyID string) { return b.ProjectID, b.KeyID }

// Scope implements [Scoped].
func (b RetireGrant) Scope() (projectID, keyID string) { return b.ProjectID, b.KeyID }
