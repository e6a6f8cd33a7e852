package state

// RevokedToken is a token that ended before its time.
type RevokedToken struct {
	ID      string `cbor:"1,keyasint"` // 32 lower-case hex digits
	UserID  string `cbor:"2,keyasint"`
	Expires int64  `cbor:"3,keyasint"` // it would have ended by itself then, and is forgotten
	Fence   uint64 `cbor:"4,keyasint"`
}

// Access is when an access key was used last. It is no part of the access
// key's record, which stays the very same while nothing about the key changes.
type Access struct {
	AccessKeyID string `cbor:"1,keyasint"`
	Last        int64  `cbor:"2,keyasint"` // as nodes saw it, batched: up to six minutes behind
}

// The kinds of provider.
const (
	ProviderCA   uint8 = 1 // signs client certificates
	ProviderOIDC uint8 = 2 // issues bearer tokens
)

// Provider is somebody outside who is believed about users of one account.
type Provider struct {
	ID          string `cbor:"1,keyasint"` // its name
	Kind        uint8  `cbor:"2,keyasint"`
	DomainID    string `cbor:"3,keyasint"`
	ByName      bool   `cbor:"4,keyasint"` // a name without a binding is the user's of that name
	Certificate []byte `cbor:"5,keyasint"` // DER; ProviderCA: it signs clients'; ProviderOIDC: it signs the issuer's, empty: the system's CAs do
	Issuer      string `cbor:"6,keyasint"` // ProviderOIDC, like the rest
	Audience    string `cbor:"7,keyasint"`
	UserClaim   string `cbor:"8,keyasint"`
	KeySet      []byte `cbor:"9,keyasint"` // JWKS document; empty: fetched from the issuer
	Created     int64  `cbor:"10,keyasint"`
	Fence       uint64 `cbor:"11,keyasint"`
	GroupsClaim string `cbor:"12,keyasint,omitempty"` // names groups of the account that the user is in as well; empty: none
}

// Binding says which user a provider's name is.
type Binding struct {
	ProviderID string `cbor:"1,keyasint"`
	Name       string `cbor:"2,keyasint"`
	UserID     string `cbor:"3,keyasint"`
	Fence      uint64 `cbor:"4,keyasint"`
}

// RevokedToken returns the revocation of that token.
func (v *View) RevokedToken(id string) (*RevokedToken, bool) { return byID(&v.revoked, id) }

// RevokedCount returns how many revocations are kept.
func (v *View) RevokedCount() int { return v.revokedCount }

// OldestRevoked returns the revocation that is forgotten next.
func (v *View) OldestRevoked() (*RevokedToken, bool) {
	_, id, ok := v.revokedOrder.first()
	if !ok {
		return nil, false
	}
	return v.RevokedToken(id)
}

// Access returns when the access key was used last.
func (v *View) Access(accessKeyID string) (*Access, bool) { return byID(&v.accesses, accessKeyID) }

// Provider returns the client CA or OIDC issuer of that name.
func (v *View) Provider(id string) (*Provider, bool) { return byID(&v.providers, id) }

// Providers returns all client CAs and OIDC issuers, by name, in a new slice.
func (v *View) Providers() []*Provider {
	return records(v.providers.all())
}

// Binding returns which user that name of a provider is.
func (v *View) Binding(providerID, name string) (*Binding, bool) {
	var space [keySpace]byte
	return v.bindings.get(appendNameKey(space[:0], providerID, name))
}

// Bindings returns the bindings of a provider, by name, in a new slice.
func (v *View) Bindings(providerID string) []*Binding {
	return records(v.bindings.under(appendNameKey(nil, providerID, "")))
}

// PutRevokedToken writes a revocation. A token is revoked once.
func (x *Txn) PutRevokedToken(t *RevokedToken) {
	put(x, TableRevokedToken, &x.revoked, []byte(t.ID), t)
	x.revokedOrder.insert(appendTimeKey(nil, t.Expires, t.ID), t.ID)
	x.revokedCount++
}

// DeleteRevokedToken forgets a revocation.
func (x *Txn) DeleteRevokedToken(t *RevokedToken) {
	remove(x, TableRevokedToken, &x.revoked, []byte(t.ID), t)
	x.revokedOrder.remove(appendTimeKey(nil, t.Expires, t.ID))
	x.revokedCount--
}

// PutAccess writes when an access key was used last.
func (x *Txn) PutAccess(a *Access) { put(x, TableAccess, &x.accesses, []byte(a.AccessKeyID), a) }

// PutProvider writes a client CA or an OIDC issuer.
func (x *Txn) PutProvider(p *Provider) { put(x, TableProvider, &x.providers, []byte(p.ID), p) }

// DeleteProvider removes one.
func (x *Txn) DeleteProvider(p *Provider) { remove(x, TableProvider, &x.providers, []byte(p.ID), p) }

// PutBinding writes which user a provider's name is.
func (x *Txn) PutBinding(b *Binding) {
	put(x, TableBinding, &x.bindings, appendNameKey(nil, b.ProviderID, b.Name), b)
}

// DeleteBinding removes that.
func (x *Txn) DeleteBinding(b *Binding) {
	remove(x, TableBinding, &x.bindings, appendNameKey(nil, b.ProviderID, b.Name), b)
}

// ProjectsOf returns all projects of a domain, by name, in a new slice.
func (v *View) ProjectsOf(domainID string) []*Project {
	var all []*Project
	for _, id := range v.projectNames.under(appendNameKey(nil, domainID, "")) {
		p, _ := v.Project(id)
		all = append(all, p)
	}
	return all
}
