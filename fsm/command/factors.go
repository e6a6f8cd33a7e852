package command

// The second factors of users: one-time codes by the time (RFC 6238).

// CodeStep is how long a code is good for, and what time steps are counted in,
// in ms (RFC 6238 §5.2).
const CodeStep = 30_000

// The kinds of write of this file.
const (
	TypeEnrolAuthenticator   Type = 130
	TypeConfirmAuthenticator Type = 131
	TypeSpendCode            Type = 132
	TypeRemoveAuthenticator  Type = 133
)

var factorRows = []row{
	{TypeEnrolAuthenticator, "enrol-authenticator", 1, body[EnrolAuthenticator]},
	{TypeConfirmAuthenticator, "confirm-authenticator", 1, body[ConfirmAuthenticator]},
	{TypeSpendCode, "spend-code", 1, body[SpendCode]},
	{TypeRemoveAuthenticator, "remove-authenticator", 1, body[RemoveAuthenticator]},
}

// EnrolAuthenticator gives the caller a second factor, which counts for nothing
// before it is confirmed; another one that was not is forgotten.
type EnrolAuthenticator struct {
	UserID string `cbor:"1,keyasint"`
	ID     string `cbor:"2,keyasint"` // drawn by the answering node
	Sealed []byte `cbor:"3,keyasint"` // the secret, under root-seal
}

// ConfirmAuthenticator has the second factor that was handed out count, instead
// of the one before. Fenced: the password alone gets no token any more.
type ConfirmAuthenticator struct {
	UserID string `cbor:"1,keyasint"`
	ID     string `cbor:"2,keyasint"`
	Step   int64  `cbor:"3,keyasint"` // time step of the code that was shown
}

// SpendCode takes one code of a user who logs in: none of its time step or of
// an earlier one is taken again.
type SpendCode struct {
	UserID string `cbor:"1,keyasint"`
	ID     string `cbor:"2,keyasint"` // of the second factor
	Step   int64  `cbor:"3,keyasint"`
}

// RemoveAuthenticator takes the second factor from a user, and ends every
// token of theirs. Fenced.
type RemoveAuthenticator struct {
	UserID string `cbor:"1,keyasint"`
	// Of the caller's own by a code: the second factor and the code's time step.
	// Empty: by the permission to do so.
	ID   string `cbor:"2,keyasint,omitempty"`
	Step int64  `cbor:"3,keyasint,omitempty"`
}

func (EnrolAuthenticator) Type() Type   { return TypeEnrolAuthenticator }
func (ConfirmAuthenticator) Type() Type { return TypeConfirmAuthenticator }
func (SpendCode) Type() Type            { return TypeSpendCode }
func (RemoveAuthenticator) Type() Type  { return TypeRemoveAuthenticator }
