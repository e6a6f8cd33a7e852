package state

// Authenticator is a user's second factor: what makes one-time codes by the
// time (RFC 6238). Its secret is sealed under root-seal, bound to its id.
type Authenticator struct {
	UserID    string `cbor:"1,keyasint"`
	ID        string `cbor:"2,keyasint,omitempty"` // 32 lower-case hex digits; empty: none counts yet
	Sealed    []byte `cbor:"3,keyasint,omitempty"`
	Step      int64  `cbor:"4,keyasint,omitempty"` // time step of the newest code that was taken; none up to it is taken again
	Confirmed int64  `cbor:"5,keyasint,omitempty"` // Unix ms; since when it counts

	// One that was handed out and counts once a code of it was shown.
	NextID     string `cbor:"6,keyasint,omitempty"`
	NextSealed []byte `cbor:"7,keyasint,omitempty"`
	Fence      uint64 `cbor:"8,keyasint,omitempty"`
}

// Authenticator returns the second factor of a user.
func (v *View) Authenticator(userID string) (*Authenticator, bool) {
	return byID(&v.authenticators, userID)
}

// PutAuthenticator writes the second factor of a user.
func (x *Txn) PutAuthenticator(a *Authenticator) {
	put(x, TableAuthenticator, &x.authenticators, []byte(a.UserID), a)
}

// DeleteAuthenticator removes it.
func (x *Txn) DeleteAuthenticator(a *Authenticator) {
	remove(x, TableAuthenticator, &x.authenticators, []byte(a.UserID), a)
}
