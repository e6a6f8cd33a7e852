package command

// How users prove who they are: lock-out, passwords, tokens, and the client
// CAs and OIDC issuers that vouch for users.

// The kinds of write of this file.
const (
	TypeLockUser       Type = 120
	TypeUnlockUser     Type = 121
	TypeChangePassword Type = 122
	TypeRevokeToken    Type = 123
	TypeAddProvider    Type = 124
	TypeRemoveProvider Type = 125
	TypeBindIdentity   Type = 126
	TypeUnbindIdentity Type = 127
	TypeRecordAccess   Type = 128
	TypeForgetRevoked  Type = 129
)

var identityRows = []row{
	{TypeLockUser, "lock-user", 1, body[LockUser]},
	{TypeUnlockUser, "unlock-user", 1, body[UnlockUser]},
	{TypeChangePassword, "change-password", 1, body[ChangePassword]},
	{TypeRevokeToken, "revoke-token", 1, body[RevokeToken]},
	{TypeAddProvider, "add-provider", 1, body[AddProvider]},
	{TypeRemoveProvider, "remove-provider", 1, body[RemoveProvider]},
	{TypeBindIdentity, "bind-identity", 1, body[BindIdentity]},
	{TypeUnbindIdentity, "unbind-identity", 1, body[UnbindIdentity]},
	{TypeRecordAccess, "record-access", 1, body[RecordAccess]},
	{TypeForgetRevoked, "forget-revoked", 1, body[ForgetRevoked]},
}

// Via says by what kind of credential a user has proved who they are.
type Via uint8

// The kinds of credential.
const (
	ViaAccessKey Via = 0 // CredentialID: the access key
	ViaToken     Via = 1 // CredentialID: the token's id
	ViaProvider  Via = 2 // CredentialID: the client CA or OIDC issuer that vouches for the user
)

// LockUser has a user's password refused until an instant: too many attempts
// with a wrong one. What the user has proved already stays proved.
type LockUser struct {
	UserID string `cbor:"1,keyasint"`
	Until  int64  `cbor:"2,keyasint"` // Unix ms
}

// UnlockUser ends a lock before its time.
type UnlockUser struct {
	UserID string `cbor:"1,keyasint"`
}

// ChangePassword gives the caller another password, and ends every token of
// theirs. Fenced.
type ChangePassword struct {
	UserID       string `cbor:"1,keyasint"`
	PasswordHash string `cbor:"2,keyasint"` // argon2id, PHC string form
	Epoch        uint64 `cbor:"3,keyasint"` // of the user's credentials, when the old password was checked
}

// RevokeToken ends one token. Fenced.
type RevokeToken struct {
	TokenID string `cbor:"1,keyasint"` // 32 lower-case hex digits
	UserID  string `cbor:"2,keyasint"` // whose it is
	Expires int64  `cbor:"3,keyasint"` // Unix ms; it would have ended by itself then
}

// AddProvider has the cluster believe a client CA or an OIDC issuer about
// users of one account, or changes what is believed. Fenced.
type AddProvider struct {
	ID          string `cbor:"1,keyasint"` // its name
	Kind        uint8  `cbor:"2,keyasint"` // state.ProviderCA or state.ProviderOIDC
	DomainID    string `cbor:"3,keyasint"` // the account of its users
	ByName      bool   `cbor:"4,keyasint"` // a name without a binding is the user's of that name
	Certificate []byte `cbor:"5,keyasint"` // DER; the client CA, or what an OIDC issuer's own certificate is verified with, empty: the system's CAs
	Issuer      string `cbor:"6,keyasint"` // https URL; OIDC
	Audience    string `cbor:"7,keyasint"`
	UserClaim   string `cbor:"8,keyasint"`
	KeySet      []byte `cbor:"9,keyasint"`            // JWKS document; empty: fetched from the issuer
	GroupsClaim string `cbor:"10,keyasint,omitempty"` // names groups of the account that the user is in as well; empty: none
}

// RemoveProvider has the cluster believe a client CA or an OIDC issuer no
// longer, and drops its bindings. Fenced.
type RemoveProvider struct {
	ID string `cbor:"1,keyasint"`
}

// BindIdentity says which user a name in a provider's certificates or tokens
// is. Fenced: the name may have been another user's.
type BindIdentity struct {
	ProviderID string `cbor:"1,keyasint"`
	Name       string `cbor:"2,keyasint"` // uri:…, dns:…, email:… of a certificate; the value of the user claim
	UserID     string `cbor:"3,keyasint"`
}

// UnbindIdentity takes that back. Fenced.
type UnbindIdentity struct {
	ProviderID string `cbor:"1,keyasint"`
	Name       string `cbor:"2,keyasint"`
}

// RecordAccess says when access keys were used last, as one node has seen it.
type RecordAccess struct {
	Uses []Access `cbor:"1,keyasint"`
}

// Access is the last use of one access key.
type Access struct {
	AccessKeyID string `cbor:"1,keyasint"`
	Last        int64  `cbor:"2,keyasint"` // Unix ms
}

// ForgetRevoked drops revocations of tokens that have ended by themselves, the
// oldest first, as many as one command may. A token that has ended stays ended.
type ForgetRevoked struct {
	Through int64 `cbor:"1,keyasint"` // Unix ms; of tokens that ended by then
}

func (LockUser) Type() Type       { return TypeLockUser }
func (UnlockUser) Type() Type     { return TypeUnlockUser }
func (ChangePassword) Type() Type { return TypeChangePassword }
func (RevokeToken) Type() Type    { return TypeRevokeToken }
func (AddProvider) Type() Type    { return TypeAddProvider }
func (RemoveProvider) Type() Type { return TypeRemoveProvider }
func (BindIdentity) Type() Type   { return TypeBindIdentity }
func (UnbindIdentity) Type() Type { return TypeUnbindIdentity }
func (RecordAccess) Type() Type   { return TypeRecordAccess }
func (ForgetRevoked) Type() Type  { return TypeForgetRevoked }
