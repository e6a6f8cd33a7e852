package fsmtest

import (
	"encoding/hex"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// Bodies about grants on the key of a name. Grants have names, too.

// GrantID returns the id that this package gives a grant of that name.
func GrantID(name string) string { return hex.EncodeToString(Fingerprint("grant " + name)) }

// CreateGrant is the body that lets a user do something with a key.
func CreateGrant(grant, key, userID string, ops state.GrantedOps) command.CreateGrant {
	return command.CreateGrant{GrantID: GrantID(grant), KeyID: KeyID(key), Grantee: userID, Operations: ops, Name: grant}
}

// RevokeGrant is the body that revokes a grant.
func RevokeGrant(grant, key string) command.RevokeGrant {
	return command.RevokeGrant{ProjectID: ProjectID, KeyID: KeyID(key), GrantID: GrantID(grant)}
}

// RetireGrant is the body that retires a grant.
func RetireGrant(grant, key string) command.RetireGrant {
	return command.RetireGrant(RevokeGrant(grant, key))
}
