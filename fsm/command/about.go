package command

import "github.com/raftkms/raftkms/fsm/state"

// AboutKey is a body that says which key it is about. Apply authorises the
// caller on that very key: a body of a user's command that has a KeyID says so here.
type AboutKey interface {
	Body
	AboutKey() (keyID string)
}

// AboutNewKey is a body that makes a key. Apply authorises the caller on what
// the key will be, which has no id yet.
type AboutNewKey interface {
	Body
	AboutNewKey() state.Key
}

// AboutNewKey implements [AboutNewKey].
func (b CreateKey) AboutNewKey() state.Key {
	return state.Key{ProjectID: b.ProjectID, Name: b.Name, Spec: b.Spec, Usage: b.Usage, Origin: b.Origin}
}

// AboutNewKey implements [AboutNewKey].
func (b CreateDefaultKey) AboutNewKey() state.Key {
	return state.Key{ProjectID: b.ProjectID, Name: b.Service + "/default", Spec: state.SpecAES256, Usage: state.UsageEncryptDecrypt, Origin: state.OriginKMS}
}

func (b EnableKey) AboutKey() string           { return b.KeyID }
func (b DisableKey) AboutKey() string          { return b.KeyID }
func (b RenameKey) AboutKey() string           { return b.KeyID }
func (b UpdateDescription) AboutKey() string   { return b.KeyID }
func (b ScheduleDeletion) AboutKey() string    { return b.KeyID }
func (b CancelDeletion) AboutKey() string      { return b.KeyID }
func (b ProtectKey) AboutKey() string          { return b.KeyID }
func (b CreateAlias) AboutKey() string         { return b.KeyID }
func (b DeleteAliases) AboutKey() string       { return b.KeyID }
func (b AssociateAlias) AboutKey() string      { return b.KeyID }
func (b EnableRotation) AboutKey() string      { return b.KeyID }
func (b SetRotationInterval) AboutKey() string { return b.KeyID }
func (b DisableRotation) AboutKey() string     { return b.KeyID }
func (b RotateKey) AboutKey() string           { return b.KeyID }
